//! The terminal, shared by traces, builds and errors, so that none writes into another's line.

use std::sync::{Arc, Mutex, PoisonError};

use super::super::output::{self, Progress};

/// Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Screen {
    /// The progress that is shown. A plain mutex, because it is held for the writing of one text.
    busy: Arc<Mutex<Option<Arc<Progress>>>>,
}

impl Screen {
    /// Starts to show progress; [`Screen::rest`] ends it.
    pub(super) fn work(&self) -> Arc<Progress> {
        let progress = Arc::new(Progress::start());
        *self.busy.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress.clone());
        progress
    }

    /// Ends the progress.
    pub(super) fn rest(&self) {
        let busy = self.busy.lock();
        if let Some(progress) = busy.unwrap_or_else(PoisonError::into_inner).take() {
            progress.finish();
        }
    }

    /// Prints on standard output.
    pub(super) fn print(&self, text: &str) {
        let fitted = output::width().map(|width| output::folded(text, usize::from(width), 0));
        self.aside(|| {
            output::print(fitted.as_deref().unwrap_or(text));
        });
    }

    /// Prints on standard error.
    pub(super) fn note(&self, text: &str) {
        self.aside(|| output::note(text));
    }

    fn aside(&self, write: impl FnOnce()) {
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        match &*busy {
            Some(progress) => progress.aside(write),
            None => write(),
        }
    }
}
