//! The runtime's interface: runs a component, returns outcomes.
//!
//! What a guest may ask of the bus is in [`capabilities`], a file for each capability; this crate knows no
//! store. One fresh instance for each attempt, dropped whole after it. Never here: retries, settlement,
//! anything that outlives the attempt.

#![forbid(unsafe_code)]

pub mod capabilities;
pub mod error;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
#[cfg(any(test, feature = "testing"))]
pub mod fake;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use edgebus_model::{Digest, Event, FunctionLimits, Outcome};

use capabilities::{Capabilities, replay};
pub use error::Error;

/// A boxed future, because the trait is used through `dyn`.
pub type Call<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Compiles components.
pub trait Runtime: Send + Sync + 'static {
    /// Compiles `component` (or finds it compiled) and checks that it is a function: that it exports
    /// a known handler and imports nothing that the bus doesn't offer. Compiling has a process of its own;
    /// dropping the future ends it. The same component, asked for several times, is compiled once, and is
    /// one function as long as anybody has it.
    ///
    /// # Errors
    /// [`Error`] says what the component lacks and how to build it right.
    fn prepare(
        &self,
        digest: Digest,
        component: Bytes,
    ) -> Call<'_, Result<Arc<dyn Function>, Error>>;
}

/// A compiled function, ready to be called any number of times at once.
pub trait Function: Send + Sync + 'static {
    /// Runs one attempt in a fresh instance, within `invocation.limits`; always returns, at the latest
    /// when the wall-clock limit is over. Dropping the future ends the attempt. What the guest asks for, it asks
    /// of `capabilities`; what it did stays there, however the attempt ends.
    fn invoke<'a>(
        &'a self,
        invocation: Invocation,
        capabilities: &'a mut Capabilities<'_>,
    ) -> Call<'a, Invoked>;
}

/// One attempt's input.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The event.
    pub event: Arc<Event>,
    /// What the guest may know of its delivery.
    pub context: Context,
    /// What bounds the attempt.
    pub limits: FunctionLimits,
}

/// What the guest may know of its delivery.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The delivery's id, as the API shows it.
    pub delivery: String,
    /// The same on all attempts of one delivery, and not to be guessed: pass it on to other services.
    pub idempotency_key: String,
    /// Counts from 1.
    pub attempt: u32,
    /// The function's name.
    pub function: String,
    /// The rule that matched.
    pub rule: String,
    /// The bus.
    pub bus: String,
    /// The event's place in it.
    pub position: u64,
    /// When the event was accepted, in milliseconds since 1970.
    pub accepted_at_ms: u64,
    /// The replay that the delivery belongs to; a guest asks for it.
    pub replay: Option<replay::Info>,
}

/// What came of an attempt.
#[derive(Clone, Debug)]
pub struct Invoked {
    /// How it ended.
    pub outcome: Outcome,
    /// Events that the function returned; empty unless it succeeded.
    pub emitted: Vec<Emitted>,
    /// What the function wrote to standard output, standard error and its log, in order; of more than the
    /// limit the beginning and the end.
    pub output: String,
    /// How long the attempt took.
    pub duration: Duration,
}

/// An event that a function emits; the host adds id, source and origin.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Emitted {
    /// `type`; must not be empty.
    pub kind: String,
    /// The bus it goes to; `None` is the bus of the handled event.
    pub bus: Option<String>,
    /// `source`; `None` lets the host name the function.
    pub source: Option<String>,
    /// `subject`.
    pub subject: Option<String>,
    /// `datacontenttype`; `None` with data means `application/json`.
    pub data_content_type: Option<String>,
    /// Extension attributes; those that the host owns are refused.
    pub extensions: Vec<(String, String)>,
    /// The payload.
    pub data: Option<Bytes>,
}

/// Why the host refused a call of a guest.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ServiceError {
    /// A bound of the attempt was passed; the attempt ends with [`Outcome::Limit`], whatever the guest does with the error.
    #[error("{0}")]
    Limit(String),
    /// The store could not answer; the attempt ends with [`Outcome::Host`], whatever the guest does.
    #[error("{0}")]
    Host(String),
    /// State that the attempt has read was changed; the attempt ends with [`Outcome::Conflict`], whatever the guest does.
    #[error("state that was read has changed")]
    Conflict,
}
