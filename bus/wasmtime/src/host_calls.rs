//! Passes host calls from a guest to its attempt's driver.
//!
//! A store's data must be `'static`, and the pipeline's services are borrowed for one attempt. So a host
//! function leaves its call here and waits. The driver polls the guest and has the services: when the guest's
//! poll is pending, it takes the call, answers it, and polls again. The captured output and the processor time
//! are here too, because they outlive a guest that is stopped.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::ending::Stop;
use super::meter::Meter;
use super::output::{LastWords, Output};
use edgebus_model::FunctionLimits;
use edgebus_runtime::ServiceError;

/// A call of a guest.
pub(super) enum HostCall {
    Get(String),
    Set(String, Option<Bytes>),
    Swap(String, Option<Bytes>, Option<Bytes>),
    Increment(String, i64),
    Keys(String, Option<String>, u32),
    Config(String),
    Secret(String),
}

/// The reply to a call.
pub(super) enum HostReply {
    Value(Option<Bytes>),
    Done,
    Swapped(bool),
    Sum(i64),
    Keys(Vec<Vec<u8>>),
    Text(Option<String>),
}

/// What the guest's host functions and the driver share.
pub(super) struct HostCalls {
    limits: FunctionLimits,
    /// Held for moments only, never over an await; guest and driver run on one task, so nobody waits.
    inside: Mutex<Inside>,
}

struct Inside {
    question: Option<HostCall>,
    answer: Option<Result<HostReply, ServiceError>>,
    output: Output,
    meter: Meter,
}

impl HostCalls {
    pub(super) fn new(limits: FunctionLimits) -> Self {
        let output_bytes_max = usize::try_from(limits.output_bytes_max).unwrap_or(usize::MAX);
        Self {
            limits,
            inside: Mutex::new(Inside {
                question: None,
                answer: None,
                output: Output::new(output_bytes_max),
                meter: Meter::default(),
            }),
        }
    }

    /// Asks, and waits for the answer: the guest's side.
    pub(super) async fn ask(&self, question: HostCall) -> Result<HostReply, ::wasmtime::Error> {
        self.inside().question = Some(question);
        let answer = poll_fn(|_| match self.inside().answer.take() {
            Some(answer) => Poll::Ready(answer),
            // The driver polls again as soon as it has answered: no waker is needed.
            None => Poll::Pending,
        })
        .await;
        answer.map_err(|error| Stop::from(error).into())
    }

    /// The open question: the driver's side.
    pub(super) fn question(&self) -> Option<HostCall> {
        self.inside().question.take()
    }

    /// Answers it.
    pub(super) fn answer(&self, answer: Result<HostReply, ServiceError>) {
        self.inside().answer = Some(answer);
    }

    /// Lets `write` add to the output.
    pub(super) fn output(&self, write: impl FnOnce(&mut Output)) {
        write(&mut self.inside().output);
    }

    /// What the guest said of its own end.
    pub(super) fn last_words(&self) -> LastWords {
        self.inside().output.last_words()
    }

    /// The output, as it is kept with the attempt.
    pub(super) fn take_output(&self) -> String {
        std::mem::take(&mut self.inside().output).finish()
    }

    /// A poll of the guest begins.
    pub(super) fn enter(&self) {
        self.inside().meter.enter();
    }

    /// It ended without an end of the guest.
    pub(super) fn leave(&self) {
        self.inside().meter.leave();
    }

    /// The guest noticed a tick: has it had its time?
    pub(super) fn cpu_is_over(&self) -> bool {
        self.inside().meter.read() > Duration::from_millis(self.limits.cpu_ms_max)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
