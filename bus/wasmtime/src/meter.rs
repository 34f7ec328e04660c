//! Measures the processor time of a guest.
//!
//! The clock is the operating system's processor time of the thread that polls the guest. It is read when
//! a poll begins and when it ends, and at each epoch tick that the guest notices. So neither the time that
//! a guest waits for the host counts, nor the time that its thread waits for a processor; what the host
//! does on the guest's behalf within a poll does count.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// One attempt's processor time.
#[derive(Default)]
pub(super) struct Meter {
    used: Duration,
    /// The thread's processor time when the current poll began.
    since: Duration,
}

impl Meter {
    /// A poll of the guest begins on this thread.
    pub(super) fn enter(&mut self) {
        self.since = thread_time();
    }

    /// The poll ends, on the same thread.
    pub(super) fn leave(&mut self) {
        self.used = self.read();
    }

    /// What the guest used so far; only between `enter` and `leave`.
    pub(super) fn read(&self) -> Duration {
        self.used + thread_time().saturating_sub(self.since)
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Both parts are never negative for this clock.
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
