//! Latencies: histograms of microseconds, and what several connections may write into.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::Failure;

pub(super) fn histogram() -> Result<Histogram<u64>, Failure> {
    // From 1 µs to 100 s with three digits.
    Histogram::new_with_bounds(1, 100_000_000, 3).map_err(|error| Failure::new(error.to_string()))
}

pub(super) fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(
        u64::try_from(latency.as_micros())
            .unwrap_or(u64::MAX)
            .max(1),
    );
}

/// A connection that panicked left no partial value behind.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
