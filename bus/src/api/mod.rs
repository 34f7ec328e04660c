//! The HTTP face of a bus.

mod json;
mod problem;
pub mod wire;
