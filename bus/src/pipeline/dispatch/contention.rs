//! How attempts of one function get along: after a conflict over state they run one by one for a while.

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
    /// Waits for the function's turn if it is contended.
    pub(in crate::pipeline) async fn enter(&self) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        let left = self.remaining.load(Ordering::Relaxed);
        if left == 0 {
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
