//! Progress of a long start. Listening is optional.

use std::sync::Arc;

type Listener = dyn Fn(&'static str, &str) + Send + Sync;

/// Called with a step's name and its progress, as in `("compiling functions", "2 of 5: triage")`.
#[derive(Clone)]
pub struct Progress(Arc<Listener>);

impl Progress {
    /// Tells `listener`.
    pub fn new(listener: impl Fn(&'static str, &str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// Tells nobody.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(|_, _| {})
    }

    /// The step goes on.
    pub fn tell(&self, step: &'static str, detail: &str) {
        (self.0)(step, detail);
    }
}
