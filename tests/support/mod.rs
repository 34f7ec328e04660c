//! What the integration tests stand on: the real binary in a folder of its own, a plain HTTP client,
//! and the guests compiled from source.

pub(crate) mod guests;
pub(crate) mod http;
pub(crate) mod python;
pub(crate) mod server;
