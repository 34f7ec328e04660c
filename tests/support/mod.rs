//! What the integration tests stand on: the real binary in a folder of its own, a plain HTTP client,
//! and the guests compiled from source.

pub mod guests;
pub mod http;
pub mod server;
