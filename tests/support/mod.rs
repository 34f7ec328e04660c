//! What the integration tests stand on: the real binary in a folder of its own, a plain HTTP client,
//! the guests compiled from source, and projects that `edgebus init` makes.

pub(crate) mod bombs;
pub(crate) mod canned;
pub(crate) mod guests;
pub(crate) mod http;
pub(crate) mod project;
pub(crate) mod python;
pub(crate) mod server;

pub(crate) use guests::root;
