//! The threads on which functions run. They serve no HTTP, timers or scheduler.
//!
//! There are two levels, each with as many threads as the machine has processors. An attempt begins on
//! the first level. One that has used more than [`QUANTUM`] of processor time goes on at the second,
//! whose threads have a lower priority at the operating system. So a function that computes for long
//! neither keeps a short one waiting nor takes the processors from HTTP and the writer; on an idle
//! machine it still has them whole. The second level also leaves processors free for what is in progress
//! ([`Foreground`]). This is a feedback queue of two levels (Corbató and others, "An
//! experimental time-sharing system", 1962).
//!
//! Guests give up the thread at each tick of the runtime's epoch, so no attempt holds a thread of the
//! first level for longer than a tick. Never here: which delivery runs (that is the scheduler's), or
//! what becomes of it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use async_task::{Runnable, Task};

use super::context::Context;
use super::foreground::{Foreground, InProgress};
use super::tasks::Executor;
use crate::clock::Clock;

/// Processor time after which an attempt goes on at the second level.
const QUANTUM: Duration = Duration::from_millis(2);
/// What attempts are called in the simulation.
#[cfg(test)]
const ATTEMPT: &str = "attempt";
/// Added to the nice value of the second level's threads: about a ninth of the weight of other threads.
const NICENESS: i32 = 10;

/// Attempts that are ready to run on one level. Its length is bounded by the attempts in flight: each
/// stands in it once at the most.
#[derive(Default)]
struct Level {
    /// A plain mutex around one push or pop; whoever wakes an attempt takes it for a moment.
    ready: Mutex<VecDeque<(Runnable, Option<InProgress>)>>,
    wake: Condvar,
}

impl Level {
    fn ready(&self) -> MutexGuard<'_, VecDeque<(Runnable, Option<InProgress>)>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, runnable: Runnable, in_progress: Option<InProgress>, ended: &AtomicBool) {
        let mut ready = self.ready();
        // Nobody would take it: dropping it lets go of what it holds.
        if ended.load(Ordering::SeqCst) {
            drop(ready);
            drop(runnable);
            return;
        }
        ready.push_back((runnable, in_progress));
        drop(ready);
        self.wake.notify_one();
    }

    /// The next attempt; `None` when the workers end.
    fn next(&self, ended: &AtomicBool) -> Option<(Runnable, Option<InProgress>)> {
        let mut ready = self.ready();
        loop {
            if ended.load(Ordering::SeqCst) {
                return None;
            }
            match ready.pop_front() {
                Some(runnable) => return Some(runnable),
                None => {
                    ready = self
                        .wake
                        .wait(ready)
                        .unwrap_or_else(PoisonError::into_inner)
                }
            }
        }
    }
}

struct Shared {
    first: Level,
    second: Level,
    ended: AtomicBool,
    /// What the second level makes room for; the first level is counted in it.
    foreground: Foreground,
}

/// The threads; dropping it ends them, and attempts that still run are dropped with what they hold.
pub(super) struct Workers {
    shared: Arc<Shared>,
    /// Where there are no threads, attempts are tasks of the simulation.
    executor: Executor,
    clock: Clock,
}

/// What an attempt has used, and on which level it runs.
pub(super) struct Meter {
    clock: Clock,
    used_ns: AtomicU64,
    second: AtomicBool,
    /// When the poll that runs now began; held by the one thread that polls, so never contended.
    polled: Mutex<Option<Instant>>,
}

impl Meter {
    /// Time on a thread so far, in microseconds.
    pub(super) fn used_us(&self) -> u64 {
        let polled = *self.polled.lock().unwrap_or_else(PoisonError::into_inner);
        let running = polled.map_or(Duration::ZERO, |began| self.since(began));
        let before = Duration::from_nanos(self.used_ns.load(Ordering::Relaxed));
        u64::try_from((before + running).as_micros()).unwrap_or(u64::MAX)
    }

    fn since(&self, began: Instant) -> Duration {
        self.clock.instant().saturating_duration_since(began)
    }

    fn polled(&self) -> MutexGuard<'_, Option<Instant>> {
        self.polled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Measures each poll, and tells once when the attempt first gives up its thread before its end.
struct Metered<T> {
    work: Pin<Box<dyn Future<Output = T> + Send>>,
    meter: Arc<Meter>,
    left: Option<Box<dyn FnOnce() + Send>>,
}

impl<T> Future for Metered<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<T> {
        let began = self.meter.clock.instant();
        *self.meter.polled() = Some(began);
        let polled = self.work.as_mut().poll(context);
        *self.meter.polled() = None;
        let took = u64::try_from(self.meter.since(began).as_nanos()).unwrap_or(u64::MAX);
        let used = self.meter.used_ns.fetch_add(took, Ordering::Relaxed) + took;
        if used > u64::try_from(QUANTUM.as_nanos()).unwrap_or(u64::MAX) {
            self.meter.second.store(true, Ordering::Relaxed);
        }
        if polled.is_pending()
            && let Some(left) = self.left.take()
        {
            left();
        }
        polled
    }
}

impl Workers {
    /// Starts the threads; what they run may use the timers of the executor's tokio runtime.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(super) fn start(context: &Context) -> std::io::Result<Self> {
        Self::with(&context.executor, &context.clock, &context.foreground)
    }

    fn with(executor: &Executor, clock: &Clock, foreground: &Foreground) -> std::io::Result<Self> {
        let shared = Shared {
            first: Level::default(),
            second: Level::default(),
            ended: AtomicBool::new(false),
            foreground: foreground.clone(),
        };
        let workers = Self {
            shared: Arc::new(shared),
            executor: executor.clone(),
            clock: clock.clone(),
        };
        #[cfg(test)]
        if let Executor::Simulated(_) = executor {
            return Ok(workers);
        }
        let processors = executor.processors();
        for number in 0..processors {
            workers.thread(&format!("edgebus-guest-{number}"), None)?;
            workers.thread(
                &format!("edgebus-busy-{number}"),
                Some(processors - 1 - number),
            )?;
        }
        Ok(workers)
    }

    /// A thread of the first level, or one of the second that runs while no more than so many processors are needed.
    fn thread(&self, name: &str, beside: Option<usize>) -> std::io::Result<()> {
        let shared = self.shared.clone();
        let timers = match &self.executor {
            Executor::Threads(runtime) => runtime.clone(),
            #[cfg(test)]
            Executor::Simulated(_) => return Ok(()),
        };
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _timers = timers.enter();
                let level = match beside {
                    None => &shared.first,
                    Some(_) => {
                        lower_priority();
                        &shared.second
                    }
                };
                loop {
                    if let Some(needed_max) = beside {
                        shared.foreground.make_room(needed_max);
                    }
                    let Some((runnable, in_progress)) = level.next(&shared.ended) else {
                        return;
                    };
                    // A panic goes to whoever awaits the task; an attempt catches its own before that.
                    runnable.run();
                    drop(in_progress);
                }
            })?;
        Ok(())
    }

    /// Runs `work` on the workers until it or they end; `left` is called once, when it first gives up its
    /// thread before its end.
    pub(super) fn begin<F>(
        &self,
        work: impl FnOnce(Arc<Meter>) -> F,
        left: impl FnOnce() + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        match &self.executor {
            Executor::Threads(_) => self.spawn(work, left).detach(),
            #[cfg(test)]
            Executor::Simulated(simulated) => {
                simulated.detached(ATTEMPT, self.metered(work, left).0);
            }
        }
    }

    /// As [`Workers::begin`]; dropping the task ends the work, and [`Task::detach`] lets it run.
    pub(super) fn spawn<F, T>(
        &self,
        work: impl FnOnce(Arc<Meter>) -> F,
        left: impl FnOnce() + Send + 'static,
    ) -> Task<T>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let (metered, meter) = self.metered(work, left);
        #[cfg(test)]
        if let Executor::Simulated(simulated) = &self.executor {
            return simulated.spawn(ATTEMPT, metered);
        }
        let shared = self.shared.clone();
        let schedule = move |runnable| {
            if meter.second.load(Ordering::Relaxed) {
                shared.second.push(runnable, None, &shared.ended);
            } else {
                let in_progress = shared.foreground.attempt();
                shared
                    .first
                    .push(runnable, Some(in_progress), &shared.ended);
            }
        };
        // A panic goes to whoever awaits the task.
        let (runnable, task) = async_task::Builder::new()
            .propagate_panic(true)
            .spawn(move |()| metered, schedule);
        runnable.schedule();
        task
    }

    fn metered<F, T>(
        &self,
        work: impl FnOnce(Arc<Meter>) -> F,
        left: impl FnOnce() + Send + 'static,
    ) -> (Metered<T>, Arc<Meter>)
    where
        F: Future<Output = T> + Send + 'static,
    {
        let meter = Arc::new(Meter {
            clock: self.clock.clone(),
            used_ns: AtomicU64::new(0),
            second: AtomicBool::new(false),
            polled: Mutex::new(None),
        });
        let metered = Metered {
            work: Box::pin(work(meter.clone())),
            meter: meter.clone(),
            left: Some(Box::new(left)),
        };
        (metered, meter)
    }
}

impl Workers {
    /// Ends the threads after what they are doing at this moment; what waits for them is dropped.
    pub(super) fn end(&self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        for level in [&self.shared.first, &self.shared.second] {
            let left = std::mem::take(&mut *level.ready());
            level.wake.notify_all();
            // Outside of the lock: what an attempt drops may wake another.
            drop(left);
        }
        #[cfg(test)]
        if let Executor::Simulated(simulated) = &self.executor {
            simulated.end_all(ATTEMPT);
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.end();
    }
}

/// Linux keeps a nice value for each thread; elsewhere the thread stays as it is.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::getpriority_process(None)
        .and_then(|nice| rustix::process::setpriority_process(None, nice.saturating_add(NICENESS)))
    {
        tracing::debug!(%error, "the priority of a thread for long attempts can't be lowered");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn started() -> Workers {
        let clock = Clock::system(edgebus_model::Timestamp(0));
        Workers::with(&Executor::threads(), &clock, &Foreground::new(2)).unwrap()
    }

    /// Computes until `until`, giving up the thread at every look, as a guest does at each tick.
    async fn compute(until: impl Fn() -> bool) {
        std::future::poll_fn(|context| {
            let began = Instant::now();
            while began.elapsed() < Duration::from_micros(500) {
                std::hint::spin_loop();
            }
            if until() {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[tokio::test]
    async fn work_that_computes_for_long_leaves_the_first_level() {
        let workers = started();
        let done = Arc::new(AtomicBool::new(false));
        let (told, heard) = mpsc::sync_channel(64);
        for _ in 0..64 {
            let (done, told) = (done.clone(), told.clone());
            let work = |_| async move {
                compute(|| done.load(Ordering::SeqCst)).await;
                let name = std::thread::current().name().unwrap().to_owned();
                told.send(name).unwrap();
            };
            workers.spawn(work, || {}).detach();
        }
        // 64 that compute without end don't keep out one that is short.
        let short = workers.spawn(
            |_| async { std::thread::current().name().unwrap().to_owned() },
            || {},
        );
        assert!(short.await.starts_with("edgebus-guest-"));
        // What is on the first level still is there for its first quantum only.
        let began = Instant::now();
        let again = workers.spawn(|meter| async move { meter.used_us() }, || {});
        assert!(again.await < 1_000_000);
        assert!(began.elapsed() < Duration::from_secs(10));
        done.store(true, Ordering::SeqCst);
        let names: Vec<String> = (0..64).map(|_| heard.recv().unwrap()).collect();
        assert!(names.iter().any(|name| name.starts_with("edgebus-busy-")));
    }

    #[tokio::test]
    async fn the_first_wait_is_told_once_and_a_panic_leaves_the_thread() {
        let workers = started();
        let (told, heard) = mpsc::sync_channel(4);
        let work = |_| async {
            tokio::time::timeout(Duration::from_secs(30), tokio::task::yield_now())
                .await
                .unwrap();
            tokio::task::yield_now().await;
            7
        };
        let task = workers.spawn(work, move || told.send(()).unwrap());
        assert_eq!(task.await, 7);
        assert_eq!(heard.iter().count(), 1);
        let threads = std::thread::available_parallelism().unwrap().get();
        for _ in 0..threads * 2 {
            let task = workers.spawn(|_| async { panic!("injected") }, || {});
            let caught = tokio::spawn(task).await;
            assert!(caught.unwrap_err().is_panic());
        }
        assert_eq!(workers.spawn(|_| async { 1 }, || {}).await, 1);
    }
}
