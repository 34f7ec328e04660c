//! Tests of a function without a bus: state, configuration, secrets and log in this thread's memory.
//!
//! Make a [`Harness`], call the function as any other, look at what it returned and at the harness. Nothing is
//! rolled back if the function fails, because a test wants to see how far it came.

use std::marker::PhantomData;

use crate::event::FromData;
use crate::host::native::{World, with};
use crate::{Context, Event, Failure, Payload};

/// What the function under test finds on its bus. One is active for each thread; a new one is empty.
#[derive(Debug)]
#[must_use]
pub struct Harness {
    /// The harness belongs to its thread.
    thread: PhantomData<*const ()>,
}

impl Default for Harness {
    fn default() -> Self {
        Self::new()
    }
}

impl Harness {
    /// An empty harness, active for this thread.
    pub fn new() -> Self {
        with(|world| *world = World::default());
        Self {
            thread: PhantomData,
        }
    }

    /// With a value of the manifest's `config`.
    pub fn config(self, key: &str, value: &str) -> Self {
        with(|world| world.config.insert(key.to_owned(), value.to_owned()));
        self
    }

    /// With a secret.
    pub fn secret(self, name: &str, value: &str) -> Self {
        with(|world| world.secrets.insert(name.to_owned(), value.to_owned()));
        self
    }

    /// With a value in the state.
    pub fn with_state(self, key: &str, value: impl Into<Vec<u8>>) -> Self {
        with(|world| world.state.insert(key.to_owned(), value.into()));
        self
    }

    /// The value under `key` in the state.
    #[must_use]
    pub fn state(&self, key: &str) -> Option<Vec<u8>> {
        with(|world| world.state.get(key).cloned())
    }

    /// What the function logged: a line `LEVEL message` for each entry.
    #[must_use]
    pub fn output(&self) -> String {
        with(|world| world.output.clone())
    }
}

/// An event of this `type` with this data.
pub fn event<T>(kind: &str, data: T) -> Event<T> {
    Event {
        id: "1".to_owned(),
        source: "/test".to_owned(),
        kind: kind.to_owned(),
        subject: None,
        time: None,
        data_content_type: Some("application/json".to_owned()),
        data_schema: None,
        extensions: Vec::new(),
        data,
    }
}

/// An event of this `type` whose data is read from JSON, as the bus does it.
///
/// # Errors
/// The rejection that a function on the bus would give.
pub fn event_from_json<T: FromData>(kind: &str, json: &str) -> Result<Event<T>, Failure> {
    let data = T::from_data(Payload::Json(json.as_bytes().to_vec()))?;
    Ok(event(kind, data))
}

/// A context of a first attempt.
#[must_use]
pub fn context() -> Context {
    Context::default()
}
