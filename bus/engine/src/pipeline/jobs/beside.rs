//! Work of a job that takes its time: it runs beside the loop of the jobs, which asks from time to time whether it has
//! ended.
//!
//! Never here: what the work is.

use std::sync::{Arc, Mutex, PoisonError};

use super::super::tasks::{Executor, Task, caught};

/// Work that goes on, or has ended with a `T`. Dropping it ends the work.
pub(super) struct Beside<T> {
    /// What the work came to. A plain mutex around one value; nothing waits under it.
    ended: Arc<Mutex<Option<T>>>,
    _task: Task<()>,
}

impl<T: Send + 'static> Beside<T> {
    /// Begins the work; `None` from it, and a panic, are replaced by what `panicked` says, unless the bus stops.
    pub(super) fn begin(
        executor: &Executor,
        name: &'static str,
        work: impl Future<Output = Option<T>> + Send + 'static,
        panicked: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        let ended = Arc::new(Mutex::new(None));
        let into = ended.clone();
        let running = async move {
            let done = match caught(work).await {
                // The bus stops: nobody asks any more.
                Some(None) => return,
                Some(Some(done)) => done,
                None => panicked(),
            };
            *into.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        };
        Self {
            ended,
            _task: executor.task(name, running),
        }
    }

    /// What the work came to, once it has ended.
    pub(super) fn take(&self) -> Option<T> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.take()
    }
}
