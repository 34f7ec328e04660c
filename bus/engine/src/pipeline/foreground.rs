//! What long attempts make room for: publishes, commits and short attempts that are in progress.
//!
//! The operating system lets a thread that computes finish its slice of some milliseconds before one that wakes
//! up gets the processor, whatever their priorities. A publish needs several such wake-ups, so with a busy
//! thread on every processor each of them waits. Here the busy threads leave as many processors free as there
//! is work in progress. Each still has a share, so that long attempts go on under any load. Never here: which
//! attempt is long.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long a busy thread makes room at most before it computes for one tick of the runtime. With a tick of 2 ms
/// it has a fifth of a processor at least.
const MAKES_ROOM_MAX: Duration = Duration::from_millis(8);

/// Counts the work in progress. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Foreground(Arc<Shared>);

#[derive(Default)]
struct Shared {
    in_progress: AtomicUsize,
    /// Busy threads that make room.
    waiting: AtomicUsize,
    lock: Mutex<()>,
    less: Condvar,
}

/// Work in progress until it is dropped.
pub(super) struct InProgress(Arc<Shared>);

impl Foreground {
    /// Counts work until what it returns is dropped.
    pub(super) fn begin(&self) -> InProgress {
        self.0.in_progress.fetch_add(1, Ordering::SeqCst);
        InProgress(self.0.clone())
    }

    /// Waits while more than `in_progress_max` is in progress, and not for long.
    pub(super) fn make_room(&self, in_progress_max: usize) {
        self.wait(in_progress_max, MAKES_ROOM_MAX);
    }

    fn wait(&self, in_progress_max: usize, wait_max: Duration) {
        let shared = &*self.0;
        let crowded = || shared.in_progress.load(Ordering::SeqCst) > in_progress_max;
        if !crowded() {
            return;
        }
        // Raised before the count is looked at again, and work that ends does it the other way round.
        shared.waiting.fetch_add(1, Ordering::SeqCst);
        let lock = shared.lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(
            shared
                .less
                .wait_timeout_while(lock, wait_max, |()| crowded()),
        );
        shared.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.in_progress.fetch_sub(1, Ordering::SeqCst);
        if self.0.waiting.load(Ordering::SeqCst) > 0 {
            drop(self.0.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.0.less.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_busy_thread_waits_for_work_to_end_and_not_for_ever() {
        let foreground = Foreground::default();
        foreground.wait(0, Duration::MAX);
        let (first, second) = (foreground.begin(), foreground.begin());
        // There is a processor for each of them.
        foreground.wait(2, Duration::MAX);
        let waiting = std::thread::spawn({
            let foreground = foreground.clone();
            move || foreground.wait(1, Duration::from_secs(3_600))
        });
        while foreground.0.waiting.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        assert!(!waiting.is_finished());
        drop(second);
        waiting.join().unwrap();
        let began = Instant::now();
        foreground.make_room(0);
        assert!(began.elapsed() >= MAKES_ROOM_MAX);
        drop(first);
        foreground.wait(0, Duration::MAX);
        assert_eq!(foreground.0.waiting.load(Ordering::SeqCst), 0);
    }
}
