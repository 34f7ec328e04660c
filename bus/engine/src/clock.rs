//! The only source of time, sleeps and random numbers.
//!
//! Time is the log's own (`log.rs`): it follows the machine's wall clock, but never jumps and never goes back,
//! across restarts too. A manual clock advances only when a test or the simulation moves it; so do sleeps on
//! it. Never here: a decision that depends on the time.

mod log;
mod manual;
mod sleep;
#[cfg(test)]
mod tests;

use std::fmt;
#[cfg(test)]
use std::sync::atomic::AtomicI64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use self::log::LogClock;
use self::manual::Manual;
use edgebus_model::{ClockReading, Timestamp};

/// What a reading of the machine's clocks says.
pub(crate) use self::log::MachineTime;
#[cfg(test)]
pub(crate) use self::log::injected;

/// How often a reading is left in the store, in milliseconds: as often at most.
const READING_MS: u64 = 60_000;

pub use self::sleep::{Alarm, Sleep, Ticker};

/// A source of time and random numbers; cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Machine(Arc<MachineClock>),
    Manual(Arc<Manual>),
}

/// A clock that runs on a machine's.
struct MachineClock {
    machine: Box<dyn Fn() -> MachineTime + Send + Sync>,
    /// A plain mutex around a few sums; the machine's clocks are read under it, so that nobody is told an earlier
    /// time than another was before.
    log: Mutex<LogClock>,
    /// When the last reading was left, in milliseconds since the machine's boot; 0 is never.
    left_at: AtomicU64,
    /// Who moves the machine's time and wakes sleepers; `None` on a real machine.
    moved_by: Option<Arc<Manual>>,
}

impl MachineClock {
    fn log(&self) -> MutexGuard<'_, LogClock> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MachineClock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("OfMachine")
    }
}

/// The machine's clocks now.
fn machine() -> MachineTime {
    let us = |id| {
        let read = clock_gettime(id);
        let seconds = u64::try_from(read.tv_sec).unwrap_or(0);
        let rest = u64::try_from(read.tv_nsec).unwrap_or(0) / 1_000;
        seconds.saturating_mul(1_000_000).saturating_add(rest)
    };
    MachineTime {
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
        machine: impl Fn() -> MachineTime + Send + Sync + 'static,
        boot: [u8; 16],
        newest: Timestamp,
        last: Option<&ClockReading>,
    ) -> Self {
        Self::moved(None, machine, boot, newest, last)
    }

    /// The clock of a machine that stands still until the clock is advanced. Its clocks are `machine` at first, and
    /// its wall clock is off by `off_us` from there on, whoever sets that.
    #[cfg(test)]
    pub(crate) fn still(
        (machine, boot, off_us): (MachineTime, [u8; 16], Arc<AtomicI64>),
        newest: Timestamp,
        last: Option<&ClockReading>,
        seed: u64,
    ) -> Self {
        let manual = Arc::new(Manual::new(Timestamp(0), seed));
        let moving = manual.clone();
        let now = move || {
            let (run_us, off_us) = (moving.run_us(), off_us.load(Ordering::Relaxed));
            MachineTime {
                wall_us: (machine.wall_us + run_us).saturating_add_signed(off_us),
                boot_us: machine.boot_us + run_us,
            }
        };
        Self::moved(Some(manual), now, boot, newest, last)
    }

    fn moved(
        moved_by: Option<Arc<Manual>>,
        machine: impl Fn() -> MachineTime + Send + Sync + 'static,
        boot: [u8; 16],
        newest: Timestamp,
        last: Option<&ClockReading>,
    ) -> Self {
        let log = Mutex::new(LogClock::start(newest, last, boot, machine()));
        Self(Source::Machine(Arc::new(MachineClock {
            machine: Box::new(machine),
            log,
            left_at: AtomicU64::new(0),
            moved_by,
        })))
    }

    /// Who moves its time; `None` if it moves by itself.
    fn moved_by(&self) -> Option<&Arc<Manual>> {
        match &self.0 {
            Source::Machine(own) => own.moved_by.as_ref(),
            Source::Manual(manual) => Some(manual),
        }
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
            Source::Manual(_) => window_ms,
        }
    }

    /// How far the wall clock has jumped, by a minute or more, since this was last asked, in milliseconds; 0 is
    /// not at all.
    #[must_use]
    pub fn take_jump(&self) -> i64 {
        match &self.0 {
            Source::Machine(own) => own.log().take_jump(),
            Source::Manual(_) => 0,
        }
    }

    /// A clock that stands at `start` until it is advanced, with random numbers from `seed`.
    #[must_use]
    pub fn manual(start: Timestamp, seed: u64) -> Self {
        Self(Source::Manual(Arc::new(Manual::new(start, seed))))
    }

    /// Moves a manual clock forward; a system clock moves by itself and ignores this.
    pub fn advance_ms(&self, ms: u64) {
        self.advance(Duration::from_millis(ms));
    }

    /// Moves a manual clock forward and wakes whoever has slept enough.
    pub fn advance(&self, time: Duration) {
        if let Some(manual) = self.moved_by() {
            manual.advance(time);
        }
    }

    /// How long it is until the next sleeper of a manual clock has slept enough; `None` if nobody sleeps.
    #[must_use]
    pub fn next_sleeper(&self) -> Option<Duration> {
        self.moved_by()?.next_sleeper()
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::Machine(own) => {
                let mut log = own.log();
                log.tell((own.machine)())
            }
            Source::Manual(manual) => manual.now(),
        }
    }

    /// The time now on the monotonic clock, for measuring.
    #[must_use]
    pub fn instant(&self) -> Instant {
        match self.moved_by() {
            None => Instant::now(),
            Some(manual) => manual.instant(),
        }
    }

    /// 64 random bits; not for secrets.
    #[must_use]
    pub fn random(&self) -> u64 {
        match self.moved_by() {
            None => rand::random(),
            Some(manual) => manual.random(),
        }
    }

    /// Resolves after `time`. On the machine's clock it needs a tokio runtime with timers.
    pub fn sleep(&self, time: Duration) -> Sleep {
        match self.moved_by() {
            None => Sleep::system(time),
            Some(manual) => Sleep::manual(manual.clone(), time),
        }
    }

    /// Ticks at once and then after each `period`.
    #[must_use]
    pub fn ticker(&self, period: Duration) -> Ticker {
        Ticker::new(self.clone(), period)
    }

    /// A sleep that can be set again and again.
    #[must_use]
    pub fn alarm(&self) -> Alarm {
        Alarm::new(self.clone())
    }

    /// What `work` comes to, or `None` if that takes longer than `limit`; then it is dropped.
    pub async fn timeout<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        sleep::timeout(self.sleep(limit), work).await
    }
}
