//! Measures the processor time of a guest.
//!
//! The clock is the operating system's processor time of the thread that polls the guest. It is read when a
//! poll begins and when it ends, and at each epoch tick that the guest notices. So the time in which a guest
//! waits for the host does not count, and neither does the time in which its thread waits for a processor.
//! What the host does for the guest within a poll counts.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The processor time of one attempt.
#[derive(Default)]
pub(super) struct Meter {
    used: Duration,
    /// The thread's processor time when the current poll began.
    since: Duration,
}

impl Meter {
    /// Called when a poll of the guest begins on this thread.
    pub(super) fn enter(&mut self) {
        self.since = thread_time();
    }

    /// Called when the poll ends, on the same thread.
    pub(super) fn leave(&mut self) {
        self.used = self.read();
    }

    /// The processor time that the guest has used so far. Only between `enter` and `leave`.
    pub(super) fn read(&self) -> Duration {
        self.used + thread_time().saturating_sub(self.since)
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // For this clock, both parts are never negative.
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
