//! Passes host calls from a guest to its attempt's driver.
//!
//! A store's data must be `'static`, but the capabilities of an attempt are borrowed. So a host function puts
//! its call here and waits. The driver polls the guest and has the capabilities. When the guest's poll is
//! pending, the driver takes the call, makes it, and polls again. The captured output and the processor time
//! are here too, because they outlive a guest that is stopped. Never here: what a call does (`host`).

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use super::ending::Stop;
use super::meter::Meter;
use super::output::{LastWords, Output};
use edgebus_model::FunctionLimits;
use edgebus_runtime::capabilities::Capabilities;
use edgebus_runtime::{Call, ServiceError};

/// A guest's call. It puts its result where the guest's side reads it.
pub(super) type HostCall =
    Box<dyn for<'c, 'g> FnOnce(&'c mut Capabilities<'g>) -> Call<'c, ()> + Send>;

/// What the guest's host functions and the driver share.
pub(super) struct HostCalls {
    limits: FunctionLimits,
    /// Held only for moments and never across an await. Guest and driver run on one task, so nobody waits for
    /// it.
    inside: Mutex<Inside>,
}

struct Inside {
    call: Option<HostCall>,
    output: Output,
    meter: Meter,
}

impl HostCalls {
    pub(super) fn new(limits: FunctionLimits) -> Self {
        let output_bytes_max = usize::try_from(limits.output_bytes_max).unwrap_or(usize::MAX);
        Self {
            limits,
            inside: Mutex::new(Inside {
                call: None,
                output: Output::new(output_bytes_max),
                meter: Meter::default(),
            }),
        }
    }

    /// The guest's side: passes `call` to the driver, which makes it with the attempt's capabilities, and
    /// waits for the result.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        call: impl for<'c, 'g> FnOnce(&'c mut Capabilities<'g>) -> Call<'c, Result<T, ServiceError>>
        + Send
        + 'static,
    ) -> Result<T, ::wasmtime::Error> {
        let answer = Arc::new(Mutex::new(None));
        let place = Arc::clone(&answer);
        self.inside().call = Some(Box::new(move |capabilities| {
            Box::pin(async move {
                let answer = call(capabilities).await;
                *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
            })
        }));
        let answer = poll_fn(|_| {
            let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
            // The driver polls again as soon as the call is made, so no waker is needed.
            answer.map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        answer.map_err(|error| Stop::from(error).into())
    }

    /// The driver's side: the call that waits, if there is one.
    pub(super) fn take_call(&self) -> Option<HostCall> {
        self.inside().call.take()
    }

    /// Lets `write` add to the output.
    pub(super) fn output(&self, write: impl FnOnce(&mut Output)) {
        write(&mut self.inside().output);
    }

    /// The guest's own message about its end.
    pub(super) fn last_words(&self) -> LastWords {
        self.inside().output.last_words()
    }

    /// The output that is kept with the attempt.
    pub(super) fn take_output(&self) -> String {
        std::mem::take(&mut self.inside().output).finish()
    }

    /// Called when a poll of the guest begins.
    pub(super) fn enter(&self) {
        self.inside().meter.enter();
    }

    /// Called when the poll ends and the guest has not ended.
    pub(super) fn leave(&self) {
        self.inside().meter.leave();
    }

    /// Whether the guest has used all of its processor time. Called when the guest notices a tick.
    pub(super) fn cpu_is_over(&self) -> bool {
        self.inside().meter.read() > Duration::from_millis(self.limits.cpu_ms_max)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
