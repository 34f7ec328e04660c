//! The server during a start: health responds at once and shows progress; everything else gets 503.
//!
//! Never here: what a start does.

use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use super::problem::{Cause, Problem};
use edgebus_engine::bus::Bus;
use edgebus_model::Progress;
use edgebus_model::error::Kind;

/// The bus that a server answers for: one that starts, then the one that runs. Cheap to clone.
#[derive(Clone)]
pub struct Startup(Arc<Inner>);

struct Inner {
    bus: OnceLock<Bus>,
    began: Instant,
    /// The step that the start is at, and how far it is. A plain mutex around two short texts.
    at: Mutex<(&'static str, String)>,
}

impl Default for Startup {
    fn default() -> Self {
        Self(Arc::new(Inner {
            bus: OnceLock::new(),
            began: Instant::now(),
            at: Mutex::new(("starting", String::new())),
        }))
    }
}

impl From<Bus> for Startup {
    fn from(bus: Bus) -> Self {
        let startup = Self::default();
        startup.end(bus);
        startup
    }
}

impl Startup {
    /// Reports the start's progress to `next` too.
    #[must_use]
    pub fn progress(&self, next: Progress) -> Progress {
        let inner = self.0.clone();
        Progress::new(move |step, detail| {
            let at = (step, detail.to_owned());
            *inner.at.lock().unwrap_or_else(PoisonError::into_inner) = at;
            next.tell(step, detail);
        })
    }

    /// The start is done: requests are answered by `bus` from now on.
    pub fn end(&self, bus: Bus) {
        // The first one stays: a server has one bus.
        let _ = self.0.bus.set(bus);
    }

    /// The bus, once it runs.
    pub(super) fn bus(&self) -> Option<&Bus> {
        self.0.bus.get()
    }

    /// How far the start is, in words.
    pub(super) fn words(&self) -> String {
        let at = self.0.at.lock().unwrap_or_else(PoisonError::into_inner);
        let (step, detail) = &*at;
        let detail = if detail.is_empty() {
            String::new()
        } else {
            format!(", {detail}")
        };
        let seconds = self.0.began.elapsed().as_secs();
        format!("the bus is starting: {step}{detail} (for {seconds} s)")
    }

    /// What a request gets that needs the bus.
    pub(super) fn problem(&self) -> Problem {
        Problem::new(Cause::Handle(Kind::Unavailable), self.words())
    }
}

impl Deref for Startup {
    type Target = Bus;

    fn deref(&self) -> &Bus {
        let bus = self.bus();
        bus.expect("no request reaches a handler before the bus runs")
    }
}
