//! edgebus: a serverless event bus for the edge, on WebAssembly.
//!
//! The rooms in reading order: `model` is the vocabulary; `manifest` reads it from YAML; `store` and
//! `runtime` are doors to what is outside; `places` bounds what takes a while; `pipeline` is the way of an event; `bus` is the handle;
//! `api` and `cli` are its faces. `docs/ARCHITECTURE.md` has the map and the import table.

pub mod api;
pub mod assembly;
pub mod bus;
pub mod cli;
pub mod clock;
pub mod error;
pub mod machine;
pub mod manifest;
pub mod model;
pub mod pipeline;
pub mod places;
pub mod runtime;
pub mod settings;
#[cfg(test)]
mod simulation;
pub mod store;
pub mod telemetry;
pub mod view;
