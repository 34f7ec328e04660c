//! A manual clock and its sleepers.
//!
//! Its time runs in microseconds from where it was made. Moving it wakes the sleepers whose time has
//! come, in the order of their times and, among equal ones, in the order in which they lay down.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use edgebus_model::Timestamp;

/// The clock itself.
#[derive(Debug)]
pub(super) struct Manual {
    /// The wall-clock time at which it was made.
    start: Timestamp,
    /// What its instants count from.
    made: Instant,
    /// A plain mutex; nobody is woken under it.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How far it has been moved.
    run: Duration,
    seed: u64,
    /// Who sleeps until when; the number tells those apart that sleep until the same time.
    sleepers: BTreeMap<(Duration, u64), Waker>,
    /// Sleepers so far.
    slept: u64,
}

/// One sleep on a manual clock.
#[derive(Debug)]
pub(super) struct Sleeper {
    until: Duration,
    /// Its number, while it stands among the sleepers.
    number: Option<u64>,
}

impl Manual {
    pub(super) fn new(start: Timestamp, seed: u64) -> Self {
        Self {
            start,
            made: Instant::now(),
            state: Mutex::new(State {
                run: Duration::ZERO,
                seed,
                sleepers: BTreeMap::new(),
                slept: 0,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn advance(&self, time: Duration) {
        let mut state = self.state();
        state.run += time;
        // Everybody from here on sleeps longer.
        let run = state.run;
        let later = state.sleepers.split_off(&(run, u64::MAX));
        let woken = std::mem::replace(&mut state.sleepers, later);
        drop(state);
        woken.into_values().for_each(Waker::wake);
    }

    pub(super) fn next_sleeper(&self) -> Option<Duration> {
        let state = self.state();
        let (until, _) = state.sleepers.first_key_value()?.0;
        Some(until.saturating_sub(state.run))
    }

    /// How far it has been moved, in microseconds.
    #[cfg(test)]
    pub(super) fn run_us(&self) -> u64 {
        u64::try_from(self.state().run.as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn now(&self) -> Timestamp {
        let run = self.state().run.as_millis();
        self.start.plus_ms(u64::try_from(run).unwrap_or(u64::MAX))
    }

    pub(super) fn instant(&self) -> Instant {
        self.made + self.state().run
    }

    pub(super) fn random(&self) -> u64 {
        let mut state = self.state();
        // SplitMix64 (Steele, Lea, Flood, 2014).
        state.seed = state.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn sleeper(&self, time: Duration) -> Sleeper {
        Sleeper {
            until: self.state().run.saturating_add(time),
            number: None,
        }
    }

    pub(super) fn poll(&self, sleeper: &mut Sleeper, context: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.run >= sleeper.until {
            sleeper.number = None;
            return Poll::Ready(());
        }
        let number = *sleeper.number.get_or_insert_with(|| {
            state.slept += 1;
            state.slept
        });
        let waker = context.waker().clone();
        let before = state.sleepers.insert((sleeper.until, number), waker);
        drop(state);
        drop(before);
        Poll::Pending
    }

    /// A sleep that was given up leaves no trace.
    pub(super) fn forget(&self, sleeper: &Sleeper) {
        if let Some(number) = sleeper.number {
            let waker = self.state().sleepers.remove(&(sleeper.until, number));
            drop(waker);
        }
    }
}
