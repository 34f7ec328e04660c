//! What long attempts make room for: publishes and short attempts that are in progress.
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
/// it has a third of a processor at least.
const MAKES_ROOM_MAX: Duration = Duration::from_millis(4);
/// Publishes that need a processor at one time, at the least; on large machines half of the processors.
const PUBLISHES_MIN: usize = 2;

/// Counts the work in progress. Cheap to clone.
#[derive(Clone)]
pub(super) struct Foreground(Arc<Shared>);

struct Shared {
    processors: usize,
    /// Many publishes wait for the disk at one time, and don't need a processor each.
    publishes: AtomicUsize,
    attempts: AtomicUsize,
    /// Busy threads that make room.
    waiting: AtomicUsize,
    lock: Mutex<()>,
    less: Condvar,
}

/// Work in progress until it is dropped.
pub(super) struct InProgress {
    shared: Arc<Shared>,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Publish,
    Attempt,
}

impl Shared {
    fn count(&self, kind: Kind) -> &AtomicUsize {
        match kind {
            Kind::Publish => &self.publishes,
            Kind::Attempt => &self.attempts,
        }
    }

    /// Processors that are needed.
    fn needed(&self) -> usize {
        let publishes = self.publishes.load(Ordering::SeqCst);
        let publishes = publishes.min(PUBLISHES_MIN.max(self.processors / 2));
        publishes + self.attempts.load(Ordering::SeqCst)
    }
}

impl Foreground {
    /// On a machine with so many processors.
    pub(super) fn new(processors: usize) -> Self {
        Self(Arc::new(Shared {
            processors,
            publishes: AtomicUsize::new(0),
            attempts: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            lock: Mutex::new(()),
            less: Condvar::new(),
        }))
    }

    /// A publish is in progress until what it returns is dropped.
    pub(super) fn publish(&self) -> InProgress {
        self.begin(Kind::Publish)
    }

    /// A short attempt is in progress until what it returns is dropped.
    pub(super) fn attempt(&self) -> InProgress {
        self.begin(Kind::Attempt)
    }

    fn begin(&self, kind: Kind) -> InProgress {
        self.0.count(kind).fetch_add(1, Ordering::SeqCst);
        InProgress {
            shared: self.0.clone(),
            kind,
        }
    }

    /// Waits while more than `needed_max` processors are needed, and not for long.
    pub(super) fn make_room(&self, needed_max: usize) {
        self.wait(needed_max, MAKES_ROOM_MAX);
    }

    fn wait(&self, needed_max: usize, wait_max: Duration) {
        let shared = &*self.0;
        let crowded = || shared.needed() > needed_max;
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
        let shared = &*self.shared;
        shared.count(self.kind).fetch_sub(1, Ordering::SeqCst);
        // While all processors are needed nobody goes on.
        if shared.waiting.load(Ordering::SeqCst) > 0 && shared.needed() < shared.processors {
            drop(shared.lock.lock().unwrap_or_else(PoisonError::into_inner));
            shared.less.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_busy_thread_waits_for_work_to_end_and_not_for_ever() {
        let foreground = Foreground::new(4);
        foreground.wait(0, Duration::MAX);
        let (first, second) = (foreground.publish(), foreground.attempt());
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

    #[test]
    fn many_publishes_need_no_processor_each() {
        for (processors, publishes, attempts, needed) in [
            (2, 1, 0, 1),
            (2, 64, 0, 2),
            (16, 64, 0, 8),
            (16, 3, 4, 7),
            (1, 1, 1, 2),
        ] {
            let foreground = Foreground::new(processors);
            let publishes: Vec<_> = (0..publishes).map(|_| foreground.publish()).collect();
            let attempts: Vec<_> = (0..attempts).map(|_| foreground.attempt()).collect();
            assert_eq!(foreground.0.needed(), needed);
            drop((publishes, attempts));
            assert_eq!(foreground.0.needed(), 0);
        }
    }
}
