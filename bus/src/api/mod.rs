//! The HTTP face of a bus.

mod body;
mod json;
mod problem;
mod serve;
pub mod wire;

pub use serve::Limits;
