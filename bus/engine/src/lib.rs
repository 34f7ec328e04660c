//! The engine: the way of an event from its publish to the end of its deliveries.
//!
//! In reading order: `pipeline` is that way, stage by stage; `bus` is the handle that the faces use; `clock`
//! is the time of the log, `work_limiter` bounds what takes a while, `telemetry` counts. Never here: HTTP, a
//! backend's name.

#![forbid(unsafe_code)]

pub mod bus;
pub mod clock;
pub mod pipeline;
pub mod secrets;
#[cfg(test)]
mod simulation;
pub mod telemetry;
pub mod work_limiter;
