//! The interface of runtimes: a runtime runs components and returns outcomes.
//!
//! What a guest can call is in [`capabilities`], with a file for each capability. This crate knows no store.
//! Each attempt gets a fresh instance, which is dropped after it. Never here: retries, settlement, anything
//! that outlives the attempt.

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
    /// Compiles `component`, or finds it compiled, and checks that it is a function: that it exports a known
    /// handler and imports nothing that the bus doesn't offer. Compiling has a process of its own, and
    /// dropping the future ends it. If several callers prepare the same component, it is compiled once, and
    /// they share one function as long as one of them holds it.
    ///
    /// # Errors
    /// [`Error`] says what is wrong with the component and how to build it correctly.
    fn prepare(
        &self,
        digest: Digest,
        component: Bytes,
    ) -> Call<'_, Result<Arc<dyn Function>, Error>>;
}

/// A compiled function. It can be called any number of times at the same time.
pub trait Function: Send + Sync + 'static {
    /// Runs one attempt in a fresh instance, within `invocation.limits`. Always returns, at the latest when
    /// the wall-clock limit is over. Dropping the future ends the attempt. The guest's calls go to
    /// `capabilities`. What they did stays there, however the attempt ends.
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
    /// What the guest may know about its delivery.
    pub context: Context,
    /// The limits of the attempt.
    pub limits: FunctionLimits,
}

/// What the guest may know about its delivery.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The delivery's id, as the API shows it.
    pub delivery: String,
    /// The same for all attempts of one delivery, and impossible to guess. Pass it on to other services.
    pub idempotency_key: String,
    /// Counts from 1.
    pub attempt: u32,
    /// The function's name.
    pub function: String,
    /// The rule that matched.
    pub rule: String,
    /// The bus.
    pub bus: String,
    /// The event's position in the bus's log.
    pub position: u64,
    /// When the event was accepted, in milliseconds since 1970.
    pub accepted_at_ms: u64,
    /// The replay that the delivery belongs to. The guest reads it through the capability.
    pub replay: Option<replay::Info>,
}

/// The result of an attempt.
#[derive(Clone, Debug)]
pub struct Invoked {
    /// How it ended.
    pub outcome: Outcome,
    /// The events that the function returned. Empty unless it succeeded.
    pub emitted: Vec<Emitted>,
    /// What the function wrote to standard output, standard error and its log, in order. If it is more than
    /// the limit, the beginning and the end.
    pub output: String,
    /// How long the attempt took.
    pub duration: Duration,
}

/// An event that a function emits. The host adds id, source and origin.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Emitted {
    /// `type`. Must not be empty.
    pub kind: String,
    /// The bus to which it goes. `None` is the bus of the handled event.
    pub bus: Option<String>,
    /// `source`. With `None`, the host names the function.
    pub source: Option<String>,
    /// `subject`.
    pub subject: Option<String>,
    /// `datacontenttype`. `None` with data means `application/json`.
    pub data_content_type: Option<String>,
    /// Extension attributes. Those that the host sets are refused.
    pub extensions: Vec<(String, String)>,
    /// The payload.
    pub data: Option<Bytes>,
}

/// Why the host refused a call of a guest.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ServiceError {
    /// The attempt exceeded a limit. It ends with [`Outcome::Limit`], whatever the guest does with the error.
    #[error("{0}")]
    Limit(String),
    /// The store could not answer. The attempt ends with [`Outcome::Host`], whatever the guest does.
    #[error("{0}")]
    Host(String),
    /// State that the attempt has read was changed. The attempt ends with [`Outcome::Conflict`], whatever the
    /// guest does.
    #[error("state that was read has changed")]
    Conflict,
}
