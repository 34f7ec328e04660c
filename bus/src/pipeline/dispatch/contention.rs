//! How attempts of one function get along: after a conflict over state they run one by one for a while,
//! and always where the manifest allows one at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Attempts that run one by one after a conflict over state.
const CONTENDED_ATTEMPTS: u32 = 64;

/// How attempts of one function get along.
#[derive(Default)]
pub(in crate::pipeline) struct Contention {
    /// Attempts that still run one by one.
    remaining: AtomicU32,
    /// Whose turn it is.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Contention {
    /// Waits for the function's turn if it is contended, or if `one_by_one` says that only one attempt may
    /// be made at a time. The turn is kept until the settlement is durable: the next attempt then reads
    /// the state that this one wrote.
    pub(in crate::pipeline) async fn enter(
        &self,
        one_by_one: bool,
    ) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        let left = self.remaining.load(Ordering::Relaxed);
        if left == 0 && !one_by_one {
            return None;
        }
        let guard = self.turn.clone().lock_owned().await;
        let _ = self
            .remaining
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        Some(guard)
    }

    pub(super) fn note_conflict(&self) {
        self.remaining.store(CONTENDED_ATTEMPTS, Ordering::Relaxed);
    }
}
