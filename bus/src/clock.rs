//! The one source of time and random numbers; everything else gets them from here.
//!
//! Time is the log's own (`log.rs`): it follows the machine's wall clock, but never jumps and never goes back,
//! across restarts too. Never here: a decision that depends on the time.

mod log;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::time::{ClockId, clock_gettime};

use self::log::LogClock;
use crate::model::{ClockReading, Timestamp};

/// What a reading of the machine's clocks says.
pub(crate) use self::log::Machine;

/// How often a reading is left in the store, in milliseconds: as often at most.
const READING_MS: u64 = 60_000;

/// A source of time and random numbers; cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Machine(Arc<OfMachine>),
    Manual {
        now_ms: Arc<AtomicU64>,
        seed: Arc<AtomicU64>,
    },
}

/// A clock that runs on a machine's.
struct OfMachine {
    machine: Box<dyn Fn() -> Machine + Send + Sync>,
    /// A plain mutex around a few sums; the machine's clocks are read under it, so that nobody is told an earlier
    /// time than another was before.
    log: Mutex<LogClock>,
    /// When the last reading was left, in milliseconds since the machine's boot; 0 is never.
    left_at: AtomicU64,
}

impl OfMachine {
    fn log(&self) -> MutexGuard<'_, LogClock> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for OfMachine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("OfMachine")
    }
}

/// The machine's clocks now.
fn machine() -> Machine {
    let us = |id| {
        let read = clock_gettime(id);
        let seconds = u64::try_from(read.tv_sec).unwrap_or(0);
        let rest = u64::try_from(read.tv_nsec).unwrap_or(0) / 1_000;
        seconds.saturating_mul(1_000_000).saturating_add(rest)
    };
    Machine {
        wall_us: us(ClockId::Realtime),
        // Elsewhere than on Linux nothing says how long the machine slept.
        #[cfg(target_os = "linux")]
        boot_us: us(ClockId::Boottime),
        #[cfg(not(target_os = "linux"))]
        boot_us: us(ClockId::Monotonic),
    }
}

/// Which boot of the machine this is; all zeros if the system does not say.
fn boot() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let known = (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok());
    known.flatten().unwrap_or(0).to_be_bytes()
}

impl Clock {
    /// The machine's clock, but never before `newest`, the newest time in the store.
    #[must_use]
    pub fn system(newest: Timestamp) -> Self {
        Self::continued(newest, None)
    }

    /// The machine's clock as it goes on from what the last process left: never before `newest`, the newest
    /// time in the store.
    #[must_use]
    pub fn continued(newest: Timestamp, last: Option<&ClockReading>) -> Self {
        Self::on(machine, boot(), newest, last)
    }

    /// The clock of a machine that `machine` reads, whose boot is called `boot`.
    pub(crate) fn on(
        machine: impl Fn() -> Machine + Send + Sync + 'static,
        boot: [u8; 16],
        newest: Timestamp,
        last: Option<&ClockReading>,
    ) -> Self {
        let log = Mutex::new(LogClock::start(newest, last, boot, machine()));
        Self(Source::Machine(Arc::new(OfMachine {
            machine: Box::new(machine),
            log,
            left_at: AtomicU64::new(0),
        })))
    }

    /// What is to be left in the store for the next start, once a minute and at first; `None` if it is not time yet.
    #[must_use]
    pub fn reading_due(&self) -> Option<ClockReading> {
        let Source::Machine(own) = &self.0 else {
            return None;
        };
        let mut log = own.log();
        let now = (own.machine)();
        let now_ms = now.boot_us / 1_000;
        let left_at = own.left_at.load(Ordering::Relaxed);
        if left_at != 0 && now_ms.saturating_sub(left_at) < READING_MS {
            return None;
        }
        own.left_at.store(now_ms.max(1), Ordering::Relaxed);
        Some(log.reading(now))
    }

    /// How far back from `now` a window or an age reaches: longer by the times that the machine was off.
    #[must_use]
    pub fn reach_ms(&self, now: Timestamp, window_ms: u64) -> u64 {
        match &self.0 {
            Source::Machine(own) => own.log().reach_ms(now, window_ms),
            Source::Manual { .. } => window_ms,
        }
    }

    /// How far the wall clock has jumped, by a minute or more, since this was last asked, in milliseconds; 0 is
    /// not at all.
    #[must_use]
    pub fn take_jump(&self) -> i64 {
        match &self.0 {
            Source::Machine(own) => own.log().take_jump(),
            Source::Manual { .. } => 0,
        }
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
            Source::Machine(own) => {
                let mut log = own.log();
                log.tell((own.machine)())
            }
            Source::Manual { now_ms, .. } => Timestamp(now_ms.load(Ordering::SeqCst)),
        }
    }

    /// 64 random bits; not for secrets.
    #[must_use]
    pub fn random(&self) -> u64 {
        match &self.0 {
            Source::Machine(_) => rand::random(),
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
