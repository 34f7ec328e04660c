//! Counts and times by name. The bus shows them at `/metrics` with the function's name.
//!
//! ```
//! use edgebus_sdk::metrics;
//! # fn ask(question: &str) -> u32 { 7 }
//!
//! metrics::count("orders", 1);
//! let answer = metrics::timed("lookup", || ask("how many?"));
//! # assert_eq!(answer, 7);
//! ```
//!
//! They are added to the function's totals when the end of the attempt is on stable storage, with the outcome
//! `success` or `failure`. A failed attempt counts too. So each attempt that has ended counts once. For a
//! number that must count each event once, use `outcome="success"`. An attempt that runs again because state
//! has changed does not count. The totals begin at zero when the bus starts, and with each new component of
//! the function.
//!
//! A name has 1 to 64 letters (A to Z), digits and `_`, and does not begin with a digit. A function has at
//! most 64 names. A call with another name, or with one name too many, is not counted, and the attempt goes
//! on. The first time, a line in the attempt's output says so. Never make a name from an event's data,
//! because that would use up the names.

use std::time::{Duration, Instant};

#[cfg(target_family = "wasm")]
use crate::host::guest::bindings::edgebus::function::metrics as host;
#[cfg(not(target_family = "wasm"))]
use native as host;

/// Adds `delta` to the counter `name`.
pub fn count(name: &str, delta: u64) {
    host::count(name, delta);
}

/// Adds one time to those of `name`.
pub fn time(name: &str, time: Duration) {
    host::time(name, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}

/// Runs `work` and adds the time that it takes to those of `name`.
pub fn timed<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = work();
    time(name, started.elapsed());
    done
}

/// The implementation for native tests.
#[cfg(not(target_family = "wasm"))]
mod native {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use crate::host::native::with;
    use crate::testing::Harness;

    #[derive(Default)]
    struct Metrics {
        counts: BTreeMap<String, u64>,
        times: BTreeMap<String, Vec<Duration>>,
    }

    pub(super) fn count(name: &str, delta: u64) {
        with(|Metrics { counts, .. }| {
            let sum = counts.entry(check(name).to_owned()).or_default();
            *sum = sum.saturating_add(delta);
        });
    }

    pub(super) fn time(name: &str, nanoseconds: u64) {
        let time = Duration::from_nanos(nanoseconds);
        with(|Metrics { times, .. }| times.entry(check(name).to_owned()).or_default().push(time));
    }

    /// A name that the bus would drop is a mistake that a test should show, so this panics.
    fn check(name: &str) -> &str {
        let good = |(index, byte): (usize, u8)| {
            byte == b'_' || byte.is_ascii_alphabetic() || (index > 0 && byte.is_ascii_digit())
        };
        assert!(
            (1..=64).contains(&name.len()) && name.bytes().enumerate().all(good),
            "the name of a metric has 1 to 64 letters, digits and `_`, and begins with no digit: `{name}`"
        );
        name
    }

    impl Harness {
        /// What the function has added to the counter `name`.
        #[must_use]
        pub fn counted(&self, name: &str) -> u64 {
            with(|Metrics { counts, .. }| counts.get(name).copied().unwrap_or_default())
        }

        /// The times that the function has added to those of `name`.
        #[must_use]
        pub fn timed(&self, name: &str) -> Vec<Duration> {
            with(|Metrics { times, .. }| times.get(name).cloned().unwrap_or_default())
        }
    }
}
