//! The thread that interrupts busy guests: it raises the engine's epoch every [`TICK`] while attempts run,
//! and sleeps when none runs.
//!
//! It measures nothing. A guest's processor time is read from the thread's own clock (`meter`) when the guest
//! notices that the epoch has changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ::wasmtime::Engine;

/// How long a guest runs before other attempts get the worker.
pub(super) const TICK: Duration = Duration::from_millis(2);
/// How many ticks without an attempt pass before the thread sleeps. Waking it for each of many short attempts
/// would cost more than the ticks.
const IDLE_TICKS_MAX: u32 = 500;

/// What the thread and the attempts share.
#[derive(Default)]
struct State {
    running: AtomicUsize,
    asleep: AtomicBool,
    ended: AtomicBool,
}

/// Owns the thread; dropping it ends the thread.
pub(super) struct Ticker {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

/// A running attempt. Dropped when it ends.
pub(super) struct Running<'a>(&'a State);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ticker {
    /// Starts the thread.
    pub(super) fn start(engine: Engine) -> std::io::Result<Self> {
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let thread = thread::Builder::new()
            .name("epoch".to_owned())
            .spawn(move || tick(&engine, &shared))?;
        Ok(Self {
            state,
            thread: Some(thread),
        })
    }

    /// Keeps raising the epoch until the returned value is dropped.
    pub(super) fn run(&self) -> Running<'_> {
        self.state.running.fetch_add(1, Ordering::SeqCst);
        // The count is raised before `asleep` is read, and the thread does it the other way round. One of the
        // two sees the other's change, so the thread never sleeps while an attempt runs.
        if self.state.asleep.load(Ordering::SeqCst)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
        Running(&self.state)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread can't panic. If it did, there would be nothing to do.
            drop(thread.join());
        }
    }
}

fn tick(engine: &Engine, state: &State) {
    let mut idle = 0;
    while !state.ended.load(Ordering::SeqCst) {
        if idle < IDLE_TICKS_MAX {
            thread::park_timeout(TICK);
            engine.increment_epoch();
        } else {
            state.asleep.store(true, Ordering::SeqCst);
            if state.running.load(Ordering::SeqCst) == 0 && !state.ended.load(Ordering::SeqCst) {
                thread::park();
            }
            state.asleep.store(false, Ordering::SeqCst);
        }
        idle = if state.running.load(Ordering::SeqCst) == 0 {
            idle + 1
        } else {
            0
        };
    }
}
