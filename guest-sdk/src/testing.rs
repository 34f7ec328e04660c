//! Tests of a function without a bus. State, configuration, secrets and log are in the memory of the test's
//! thread.
//!
//! Make a [`Harness`], call the function like any other, and check what it returned and what the harness has.
//! Nothing is rolled back if the function fails, so a test can see how far it got.

use std::marker::PhantomData;

use crate::event::FromData;
use crate::host::native::clear;
use crate::{Context, Event, Failure, Payload};

/// A bus in memory for the function under test. Each thread has one that is active. A new one is empty. The
/// module of each capability adds its methods.
#[derive(Debug)]
#[must_use]
pub struct Harness {
    /// Makes the type neither `Send` nor `Sync`, because a harness belongs to its thread.
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
        clear();
        Self {
            thread: PhantomData,
        }
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
/// The rejection that the function would return on the bus.
pub fn event_from_json<T: FromData>(kind: &str, json: &str) -> Result<Event<T>, Failure> {
    let data = T::from_data(Payload::Json(json.as_bytes().to_vec()))?;
    Ok(event(kind, data))
}

/// A context of a first attempt.
#[must_use]
pub fn context() -> Context {
    Context::default()
}
