//! Support for the integration tests: the real binary in a new folder, a plain HTTP client, guests compiled
//! from source, and projects made by `edgebus init`.

pub(crate) mod bombs;
pub(crate) mod canned;
pub(crate) mod guests;
pub(crate) mod http;
pub(crate) mod project;
pub(crate) mod python;
pub(crate) mod server;

pub(crate) use guests::root;
