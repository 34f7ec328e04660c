//! The one source of time and random numbers; everything else gets them from here.
//!
//! Wall-clock time is read once, at the start, and run on a monotonic clock from there: a clock that is
//! set back while the process runs never stalls a retry. A start that finds the wall clock behind the
//! newest stored time goes on from the stored time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::model::Timestamp;

/// A source of time and random numbers; cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System {
        wall: Timestamp,
        started: Instant,
    },
    Manual {
        now_ms: Arc<AtomicU64>,
        seed: Arc<AtomicU64>,
    },
}

impl Clock {
    /// The machine's clock, but never before `newest`, the newest time in the store.
    #[must_use]
    pub fn system(newest: Timestamp) -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            });
        Self(Source::System {
            wall: Timestamp(wall).max(newest),
            started: Instant::now(),
        })
    }

    /// A clock that stands at `start` until [`Clock::advance_ms`] moves it, with random numbers from `seed`.
    #[must_use]
    pub fn manual(start: Timestamp, seed: u64) -> Self {
        Self(Source::Manual {
            now_ms: Arc::new(AtomicU64::new(start.0)),
            seed: Arc::new(AtomicU64::new(seed)),
        })
    }

    /// Moves a manual clock forward; a system clock moves by itself and ignores this.
    pub fn advance_ms(&self, ms: u64) {
        if let Source::Manual { now_ms, .. } = &self.0 {
            now_ms.fetch_add(ms, Ordering::SeqCst);
        }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System { wall, started } => {
                wall.plus_ms(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX))
            }
            Source::Manual { now_ms, .. } => Timestamp(now_ms.load(Ordering::SeqCst)),
        }
    }

    /// 64 random bits; not for secrets.
    #[must_use]
    pub fn random(&self) -> u64 {
        match &self.0 {
            Source::System { .. } => rand::random(),
            Source::Manual { seed, .. } => {
                // SplitMix64 (Steele, Lea, Flood, 2014).
                let mut z = seed
                    .fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst)
                    .wrapping_add(0x9E37_79B9_7F4A_7C15);
                z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                z ^ (z >> 31)
            }
        }
    }
}
