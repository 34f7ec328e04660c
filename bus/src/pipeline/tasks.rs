//! Threads and tasks of the pipeline: each has a name, and says what its panic means.
//!
//! A thread or task without which deliveries would stop in silence is *essential*: its panic fails the
//! bus, so that the process exits with 74 and recovers at the next start. Never here: work itself.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::context::Health;

/// Starts an essential thread.
///
/// # Errors
/// The operating system gives no thread.
pub(super) fn essential_thread(
    name: &'static str,
    health: Arc<Health>,
    work: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(format!("edgebus-{name}"))
        .spawn(move || {
            // What the work shares is behind locks that survive a panic, and the process ends after one.
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                health.fail(&format!("the {name} panicked"));
            }
        })
}

/// Starts an essential task on the runtime of the caller.
pub(super) fn essential_task(
    name: &'static str,
    health: Arc<Health>,
    work: impl Future<Output = ()> + Send + 'static,
) {
    let task = tokio::spawn(work);
    tokio::spawn(async move {
        if task.await.is_err_and(|error| error.is_panic()) {
            health.fail(&format!("the {name} panicked"));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_an_essential_task_or_thread_fails_the_bus() {
        let health = Health::new();
        health.started();
        essential_task("planted task", health.clone(), async { panic!("planted") });
        assert_eq!(health.failure().await, "the planted task panicked");
        assert!(!health.live());

        let health = Health::new();
        let thread = essential_thread("planted thread", health.clone(), || panic!("planted"));
        thread.unwrap().join().unwrap();
        assert_eq!(health.failure().await, "the planted thread panicked");
    }
}
