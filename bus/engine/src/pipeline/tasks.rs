//! Loops, tasks and blocking work of the pipeline: what they run on, their names, what their panic means.
//!
//! In production a loop has a thread of its own, tasks run on the tokio runtime and blocking work on its
//! blocking threads. In the simulation all of them are tasks of one seeded executor. Nothing else of the
//! pipeline starts a thread or a task.
//!
//! A loop or task without which deliveries would stop in silence is *essential*: its panic fails the
//! bus, so that the process exits with 74 and recovers at the next start. Never here: work itself.

#[cfg(test)]
pub(crate) mod simulated;

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use super::context::Health;
#[cfg(test)]
use edgebus_store::{Settle, Step, StepOutcome};
#[cfg(test)]
use simulated::{Committed, Simulated};

/// What the pipeline runs on; cheap to clone.
#[derive(Clone)]
pub(crate) enum Executor {
    /// Threads, and a tokio runtime.
    Threads(tokio::runtime::Handle),
    /// One thread, and a seed that says what is next.
    #[cfg(test)]
    Simulated(Simulated),
}

/// Why there is no answer from blocking work.
pub(super) enum Unfinished {
    /// The process is stopping.
    Stopped,
    /// The work panicked.
    Panicked(Box<dyn Any + Send>),
}

/// A loop that was started.
#[must_use = "a loop is joined when the pipeline stops"]
pub(super) enum Loop {
    Thread(JoinHandle<()>),
    #[cfg(test)]
    Simulated(async_task::Task<()>),
}

/// A task that ends when this is dropped. `None` if it panicked or the process stops.
pub(super) struct Task<T>(Running<T>);

enum Running<T> {
    Tokio(tokio::task::JoinHandle<T>),
    #[cfg(test)]
    Simulated(async_task::Task<T, ()>),
}

impl Executor {
    /// The threads of the machine, and the tokio runtime of the caller.
    pub(super) fn threads() -> Self {
        Self::Threads(tokio::runtime::Handle::current())
    }

    /// How many things may compute at the same time.
    pub(super) fn processors(&self) -> usize {
        match self {
            Self::Threads(_) => std::thread::available_parallelism().map_or(2, usize::from),
            #[cfg(test)]
            Self::Simulated(simulated) => simulated.processors(),
        }
    }

    /// Starts an essential loop, on a thread of its own, which it may block.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(super) fn essential_loop(
        &self,
        name: &'static str,
        health: Arc<Health>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<Loop> {
        let work = essential(name, health, work);
        match self {
            Self::Threads(runtime) => {
                let runtime = runtime.clone();
                let thread = std::thread::Builder::new().name(format!("edgebus-{name}"));
                let thread = thread.spawn(move || runtime.block_on(work))?;
                Ok(Loop::Thread(thread))
            }
            #[cfg(test)]
            Self::Simulated(simulated) => Ok(Loop::Simulated(simulated.spawn(name, work))),
        }
    }

    /// Starts an essential task.
    pub(super) fn essential_task(
        &self,
        name: &'static str,
        health: Arc<Health>,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.detached(name, essential(name, health, work));
    }

    /// Starts a task that nobody waits for.
    pub(super) fn detached(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        match self {
            Self::Threads(runtime) => drop(runtime.spawn(work)),
            #[cfg(test)]
            Self::Simulated(simulated) => simulated.detached(name, work),
        }
        // Names are for traces of the simulation.
        let _ = name;
    }

    /// Starts a task that ends, at the latest, when its handle is dropped.
    pub(super) fn task<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        let _ = name;
        Task(match self {
            Self::Threads(runtime) => Running::Tokio(runtime.spawn(work)),
            #[cfg(test)]
            Self::Simulated(simulated) => Running::Simulated(simulated.spawn(name, work)),
        })
    }

    /// Does work that holds up its thread, where that keeps nobody waiting. It is done even if nobody
    /// awaits it.
    pub(super) fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Blocking<T> {
        Blocking(match self {
            Self::Threads(runtime) => Waiting::Tokio(runtime.spawn_blocking(work)),
            #[cfg(test)]
            Self::Simulated(simulated) => Waiting::Simulated(simulated.blocking(work)),
        })
    }

    /// Shows a batch to the simulation: before its commit, and after it with what came of it.
    #[cfg(test)]
    pub(super) fn show_commit(&self, steps: &[Step], done: Option<&Committed>) {
        if let Self::Simulated(simulated) = self {
            simulated.show_commit(steps, done);
        }
    }

    /// Shows the simulation a settlement that never went to the writer, because what its attempt saw has changed.
    #[cfg(test)]
    pub(super) fn show_conflict(&self, settle: &Settle) {
        let step = Step::Settle(Box::new(settle.clone()));
        self.show_commit(&[step], Some(&Ok(vec![StepOutcome::Conflict])));
    }

    /// Waits until loops have ended. A panic has failed the bus already.
    pub(super) async fn join(&self, loops: Vec<Loop>) {
        let mut threads = Vec::with_capacity(loops.len());
        for ending in loops {
            match ending {
                Loop::Thread(thread) => threads.push(thread),
                #[cfg(test)]
                Loop::Simulated(task) => task.await,
            }
        }
        if !threads.is_empty() {
            let joining = move || threads.into_iter().for_each(|thread| drop(thread.join()));
            // If the process is stopping, nobody needs the threads' end.
            let _ = self.blocking(joining).await;
        }
    }
}

impl Loop {
    /// Waits until the loop has ended, on the thread of another loop, which it blocks.
    pub(super) async fn join(self) {
        match self {
            // A panic has failed the bus already.
            Self::Thread(thread) => drop(thread.join()),
            #[cfg(test)]
            Self::Simulated(task) => task.await,
        }
    }
}

async fn essential(name: &'static str, health: Arc<Health>, work: impl Future<Output = ()>) {
    // What the work shares is behind locks that survive a panic, and the process ends after one.
    if caught(work).await.is_none() {
        health.fail(&format!("the {name} panicked"));
    }
}

/// What `work` comes to; `None` if it panicked. The panic drops the rest of the work's own state.
pub(super) async fn caught<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(polled) => polled.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

impl<T> Future for Task<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        match &mut self.0 {
            Running::Tokio(task) => Pin::new(task).poll(context).map(Result::ok),
            #[cfg(test)]
            Running::Simulated(task) => Pin::new(task).poll(context).map(Some),
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        match &self.0 {
            Running::Tokio(task) => task.abort(),
            // Dropping the handle ends the task.
            #[cfg(test)]
            Running::Simulated(_) => {}
        }
    }
}

/// Blocking work that was begun.
pub(super) struct Blocking<T>(Waiting<T>);

enum Waiting<T> {
    Tokio(tokio::task::JoinHandle<T>),
    #[cfg(test)]
    Simulated(tokio::sync::oneshot::Receiver<std::thread::Result<T>>),
}

impl<T> Future for Blocking<T> {
    type Output = Result<T, Unfinished>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Waiting::Tokio(work) => Pin::new(work).poll(context).map(|done| {
                done.map_err(|error| match error.try_into_panic() {
                    Ok(panic) => Unfinished::Panicked(panic),
                    Err(_) => Unfinished::Stopped,
                })
            }),
            #[cfg(test)]
            Waiting::Simulated(work) => Pin::new(work).poll(context).map(|done| match done {
                Ok(Ok(done)) => Ok(done),
                Ok(Err(panic)) => Err(Unfinished::Panicked(panic)),
                Err(_) => Err(Unfinished::Stopped),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_an_essential_task_or_loop_fails_the_bus() {
        let executor = Executor::threads();
        let health = Health::new();
        health.started();
        executor.essential_task("injected task", health.clone(), async {
            panic!("injected")
        });
        assert_eq!(health.failure().await, "the injected task panicked");
        assert!(!health.live());

        let health = Health::new();
        let injected = async { panic!("injected") };
        let thread = executor.essential_loop("injected loop", health.clone(), injected);
        executor.join(vec![thread.unwrap()]).await;
        assert_eq!(health.failure().await, "the injected loop panicked");
    }

    #[tokio::test]
    async fn a_task_ends_with_its_handle() {
        let executor = Executor::threads();
        let (told, heard) = tokio::sync::oneshot::channel::<()>();
        let task = executor.task("waiting", async move {
            let _told = told;
            std::future::pending::<()>().await;
        });
        drop(task);
        assert!(heard.await.is_err());
        assert_eq!(executor.task("ready", async { 7 }).await, Some(7));
        let panicked = executor.blocking(|| assert!(std::hint::black_box(false)));
        assert!(matches!(panicked.await, Err(Unfinished::Panicked(_))));
    }
}
