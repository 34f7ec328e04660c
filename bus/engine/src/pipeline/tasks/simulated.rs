//! An executor of one thread on which a seed decides what is next, on a clock that only it moves.
//!
//! Every loop, task, attempt and piece of blocking work of a simulated pipeline is a task here. A step
//! runs one of those that are ready, drawn by the seed; where none is, the clock goes on to the next
//! sleeper. So a seed is a run: the same tasks in the same order at the same times, summed up in a hash.
//! [`Simulated::crash`] drops everything at once, as the death of a process does.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_task::{Runnable, Task};
use tokio::sync::oneshot;

use crate::clock::Clock;
use edgebus_store::{Error, Step, StepOutcome};

/// What came of a commit.
pub(crate) type Committed = Result<Vec<StepOutcome>, Error>;
/// Sees each batch before its commit, and after it with what came of it.
pub(crate) type Watching = Box<dyn FnMut(&[Step], Option<&Committed>) + Send>;

/// The executor; cheap to clone.
#[derive(Clone)]
pub(crate) struct Simulated(Arc<Shared>);

struct Shared {
    /// The time of the tasks. Its random numbers are the tasks' as well; what is next has others.
    clock: Clock,
    state: Mutex<State>,
    /// Who sees commits.
    watching: Mutex<Option<Watching>>,
}

#[derive(Default)]
struct State {
    seed: u64,
    processors: usize,
    /// Tasks that are ready, in the order of their numbers: several that are woken at once may be woken in
    /// any order (tokio's watch channels draw one).
    ready: Vec<(u64, Runnable)>,
    /// Tasks that nobody waits for: they end with the executor.
    detached: BTreeMap<u64, Task<()>>,
    /// Tasks so far.
    spawned: u64,
    /// Names, by number, for whoever reads the trace.
    names: Vec<&'static str>,
    /// What was done so far, as one number.
    hash: u64,
    steps: u64,
    /// True after the crash: what is spawned is dropped.
    crashed: bool,
    /// Every step in words, if somebody wants to read them.
    trace: Option<Vec<String>>,
}

impl State {
    fn random(&mut self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood, 2014).
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn make_ready(&mut self, number: u64, runnable: Runnable) {
        let place = self.ready.partition_point(|(known, _)| *known < number);
        self.ready.insert(place, (number, runnable));
    }

    fn note(&mut self, word: u64) {
        self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl Simulated {
    pub(crate) fn new(seed: u64, clock: Clock, processors: usize, traced: bool) -> Self {
        let state = State {
            seed,
            processors,
            trace: traced.then(Vec::new),
            ..State::default()
        };
        let state = Mutex::new(state);
        let watching = Mutex::default();
        Self(Arc::new(Shared {
            clock,
            state,
            watching,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watching(&self) -> MutexGuard<'_, Option<Watching>> {
        let watching = self.0.watching.lock();
        watching.unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets somebody see commits.
    pub(crate) fn watch_commits(&self, watching: Watching) {
        *self.watching() = Some(watching);
    }

    pub(super) fn show_commit(&self, steps: &[Step], done: Option<&Committed>) {
        if let Some(watching) = &mut *self.watching() {
            watching(steps, done);
        }
    }

    pub(super) fn processors(&self) -> usize {
        self.state().processors
    }

    /// What was done so far, as one number: the same for the same seed.
    pub(crate) fn hash(&self) -> u64 {
        self.state().hash
    }

    pub(crate) fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Adds something that happened to the hash, and to the trace.
    pub(crate) fn note(&self, word: u64, words: impl FnOnce() -> String) {
        let mut state = self.state();
        state.note(word);
        let (steps, now) = (state.steps, self.0.clock.now());
        if let Some(trace) = &mut state.trace {
            trace.push(format!("{steps:>6} {:>10} ms  {}", now.0, words()));
        }
    }

    /// The steps in words, since this was asked the last time.
    pub(crate) fn take_trace(&self) -> Vec<String> {
        let mut state = self.state();
        state.trace.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn number(&self, name: &'static str) -> u64 {
        let mut state = self.state();
        state.names.push(name);
        state.spawned += 1;
        state.spawned - 1
    }

    /// Starts a task; dropping its handle ends it.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        let number = self.number(name);
        self.spawn_as(number, work)
    }

    fn spawn_as<T: Send + 'static>(
        &self,
        number: u64,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        let shared = Arc::downgrade(&self.0);
        let schedule = move |runnable: Runnable| {
            // Without an executor there is nobody to run it: it is dropped with what it holds.
            if let Some(shared) = shared.upgrade() {
                let own = Self(shared);
                own.state().make_ready(number, runnable);
            }
        };
        let (runnable, task) = async_task::spawn(work, schedule);
        runnable.schedule();
        task
    }

    /// Starts a task that nobody waits for.
    pub(crate) fn detached(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let number = self.number(name);
        let own = Arc::downgrade(&self.0);
        let task = self.spawn_as(number, async move {
            work.await;
            if let Some(shared) = own.upgrade() {
                let task = Self(shared).state().detached.remove(&number);
                // It is over anyway: nothing is left to be ended.
                if let Some(task) = task {
                    task.detach();
                }
            }
        });
        let mut state = self.state();
        if !state.crashed {
            state.detached.insert(number, task);
        }
    }

    /// Does blocking work at a later step, whether or not anybody waits for it.
    pub(super) fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<std::thread::Result<T>> {
        let (told, heard) = oneshot::channel();
        self.detached("blocking work", async move {
            let done = catch_unwind(AssertUnwindSafe(work));
            // Nobody may wait for it.
            let _ = told.send(done);
        });
        heard
    }

    /// Ends all tasks of this name that nobody waits for.
    pub(in crate::pipeline) fn end_all(&self, name: &'static str) {
        let mut state = self.state();
        let State {
            detached, names, ..
        } = &mut *state;
        let named = |number: &u64| {
            usize::try_from(*number).is_ok_and(|number| names.get(number) == Some(&name))
        };
        let ended: Vec<_> = detached.extract_if(.., |number, _| named(number)).collect();
        drop(state);
        drop(ended);
    }

    /// Runs one task that is ready; where none is, lets the clock go on to the next sleeper. False if there
    /// is neither, or the next one sleeps longer than `until`.
    pub(crate) fn step(&self, until: Duration) -> bool {
        let mut state = self.state();
        let ready = state.ready.len() as u64;
        if ready == 0 {
            drop(state);
            let Some(time) = self.0.clock.next_sleeper().filter(|time| *time <= until) else {
                return false;
            };
            self.0.clock.advance(time);
            return true;
        }
        let random = state.random();
        let place = usize::try_from(random % ready).unwrap_or(0);
        let (number, runnable) = state.ready.remove(place);
        state.steps += 1;
        state.note(number);
        let now = self.0.clock.now();
        state.note(now.0);
        let steps = state.steps;
        if state.trace.is_some() {
            let name = usize::try_from(number).ok();
            let name = name.and_then(|number| state.names.get(number).copied());
            let line = format!(
                "{steps:>6} {:>10} ms  run {number} {}",
                now.0,
                name.unwrap_or("?")
            );
            state.trace.get_or_insert_default().push(line);
        }
        drop(state);
        // Work takes time, so that what is due comes between it.
        self.0
            .clock
            .advance(Duration::from_micros((random >> 32) % 40));
        runnable.run();
        true
    }

    /// Drops every task, as the death of a process does; nothing is polled any more.
    pub(crate) fn crash(&self) {
        let mut state = self.state();
        state.crashed = true;
        let detached = std::mem::take(&mut state.detached);
        drop(state);
        drop(self.watching().take());
        // Dropping a handle closes its task; running a closed task drops it.
        drop(detached);
        loop {
            let ready = std::mem::take(&mut self.state().ready);
            if ready.is_empty() {
                return;
            }
            for (_, runnable) in ready {
                drop(runnable);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgebus_model::Timestamp;

    fn run(seed: u64) -> (u64, Vec<usize>) {
        let clock = Clock::manual(Timestamp(0), seed);
        let simulated = Simulated::new(seed, clock.clone(), 2, false);
        let order: Arc<Mutex<Vec<usize>>> = Arc::default();
        for number in 0..8 {
            let (order, clock) = (order.clone(), clock.clone());
            simulated.detached("task", async move {
                clock.sleep(Duration::from_millis(5)).await;
                order.lock().unwrap().push(number);
            });
        }
        while simulated.step(Duration::MAX) {}
        let order = order.lock().unwrap().clone();
        (simulated.hash(), order)
    }

    #[test]
    fn a_seed_is_an_order() {
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert_eq!(run(3).1.len(), 8);
    }

    #[test]
    fn a_crash_drops_everything() {
        let clock = Clock::manual(Timestamp(0), 0);
        let simulated = Simulated::new(0, clock.clone(), 2, false);
        let held = Arc::new(());
        for _ in 0..4 {
            let (held, sleep) = (held.clone(), clock.sleep(Duration::from_secs(1)));
            simulated.detached("task", async move {
                sleep.await;
                drop(held);
            });
        }
        drop(simulated.blocking({
            let held = held.clone();
            move || drop(held)
        }));
        for _ in 0..3 {
            assert!(simulated.step(Duration::ZERO));
        }
        simulated.crash();
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(!simulated.step(Duration::MAX));
    }
}
