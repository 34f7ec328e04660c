//! A client of the HTTP API of edgebus.
//!
//! It speaks HTTP/1.1, in the clear or over TLS, keeps connections open, and is cheap to clone. Requests and
//! answers are the structs of [`api`]. It never repeats a request by itself: after [`Error::Unreachable`] or
//! [`Error::TimedOut`] publish the same event again, and the bus takes it once.
//!
//! The page of the HTTP API, `docs/http-api.md`, begins with an example.
//!
//! Never here: what a command line says, files, retries that nobody asked for.

#![forbid(unsafe_code)]

mod builder;
mod bus;
mod error;
mod follow;
mod refusal;
mod request;
mod routes;
mod sse;

pub use edgebus_api as api;

pub use builder::Builder;
pub use bus::{Bus, STRUCTURED};
pub use error::Error;
pub use follow::{Follow, Followed};
pub use request::{Client, Request, read};
pub use routes::Apply;
pub use sse::Message;

/// The examples of this page are compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/http-api.md")]
struct HttpApi;

#[cfg(test)]
mod tests;
