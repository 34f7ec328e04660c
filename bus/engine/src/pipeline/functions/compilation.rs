//! The compiled form of a component, and what it says of the functions of that component.
//!
//! Never here: compiling.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use edgebus_runtime::Function;

/// Whether a function can be called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Availability {
    /// It can.
    Ready,
    /// Its component is being compiled, or in line for it.
    Compiling,
    /// Its component can't be compiled or read; its deliveries wait.
    Unavailable {
        /// Why, in words.
        reason: String,
    },
}

impl Availability {
    /// One word, as the API and the metric have it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Compiling => "compiling",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    /// Every word, for metrics.
    pub const WORDS: [&'static str; 3] = ["ready", "compiling", "unavailable"];
}

/// The compiled form of one component: not there yet, there, or not to be had.
pub(in crate::pipeline) struct Compilation {
    /// Set once and never taken back, so that looking at it costs nothing.
    function: OnceLock<Arc<dyn Function>>,
    /// Why it is not there, since the last try. A plain mutex around one text.
    failed: Mutex<Option<String>>,
}

impl Compilation {
    /// One that is still to come.
    pub(in crate::pipeline) fn to_come() -> Arc<Self> {
        Arc::new(Self {
            function: OnceLock::new(),
            failed: Mutex::new(None),
        })
    }

    /// One that is there.
    pub(in crate::pipeline) fn done(function: Arc<dyn Function>) -> Arc<Self> {
        let made = Self::to_come();
        made.end(Ok(function));
        made
    }

    /// The compiled component, if it is there.
    pub(in crate::pipeline) fn function(&self) -> Option<&Arc<dyn Function>> {
        self.function.get()
    }

    pub(in crate::pipeline) fn availability(&self) -> Availability {
        if self.function.get().is_some() {
            return Availability::Ready;
        }
        match &*self.failed() {
            None => Availability::Compiling,
            Some(reason) => Availability::Unavailable {
                reason: reason.clone(),
            },
        }
    }

    fn failed(&self) -> MutexGuard<'_, Option<String>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a try came to.
    pub(in crate::pipeline) fn end(&self, result: Result<Arc<dyn Function>, String>) {
        match result {
            // Whoever compiled it first has made the same.
            Ok(function) => drop(self.function.set(function)),
            Err(reason) => *self.failed() = Some(reason),
        }
    }
}
