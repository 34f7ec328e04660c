//! The log clock: the time that events are accepted at, due times are set in, and ages count in. It never goes
//! back and never jumps while the bus runs, whatever the machine's wall clock does.
//!
//! It follows the wall clock, but at half to double the speed of the time that really passes (`CLOCK_BOOTTIME`, which
//! goes on while the machine sleeps and which nobody can set). So a wall clock that is put a day ahead or
//! back makes retries come a little early or late, and neither stalls nor kills them. What the clock gains while
//! it catches up is kept as a *gap*, which ages and windows do not count: they go by the time that really passed.
//!
//! What happens at a start depends on what is known of the time since the last reading, which every commit
//! leaves in the store, at most once a minute:
//! - *The machine is still up* (the same boot): the time that has passed is known exactly, and the wall clock is not
//!   asked. This is every restart of the process under a wall clock that was set meanwhile.
//! - *The machine was off*: only the wall clock can say for how long, by the difference from the last reading. It
//!   may be wrong. So the log's time goes on by that difference, and the difference is a gap, too: what was pending or remembered when the machine went off is as old when it comes back. A difference that is
//!   negative, or longer than a year, is not believed; the clock goes on from where it was.
//! - *The store is new*: the wall clock is all there is. `serve` refuses one before 2026.
//!
//! A start never begins before the newest time in the store. Taking `max(stored, wall)` instead, as once was done,
//! let a wall clock that was a day ahead for one start end every age and window at once, and made what was
//! due then wait for a day after the next.
//!
//! Never here: how the machine's clocks are read, or where a reading is kept.

use edgebus_model::reading::{Gap, reach_ms};
use edgebus_model::{ClockReading, Timestamp};

/// The time is moved on by this much or more, in microseconds.
const STEP_US: u64 = 500;
/// A difference between the clocks that is told, in microseconds.
const JUMP_US: u64 = 60_000_000;
/// The longest time off that is believed, in milliseconds.
const OFF_MS_MAX: u64 = 366 * 86_400_000;
/// Gaps that are kept: the two that are next to each other become one.
const GAPS_MAX: usize = 32;
/// The least that is kept as a gap.
const GAIN_MS_MIN: u64 = 1_000;
/// What is gained within this time is one gap, which is not longer than this.
const JOIN_MS: u64 = 3_600_000;
/// A gap is forgotten when it is so old: no window or age is as long.
const GAP_AGE_MS_MAX: u64 = 400 * 86_400_000;

/// The machine's clocks, read together, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MachineTime {
    /// Since 1970.
    pub(crate) wall_us: u64,
    /// Since the machine's boot, time asleep included.
    pub(crate) boot_us: u64,
}

/// The clock at work.
#[derive(Clone, Debug)]
pub(super) struct LogClock {
    log_us: u64,
    /// The machine's clocks when `log_us` was told.
    last: MachineTime,
    /// Which boot this is; all zeros if the system does not say.
    boot: [u8; 16],
    /// In order.
    gaps: Vec<Gap>,
    /// What the clock has gained on the real time and is in no gap yet.
    gained_us: u64,
    /// How far the wall clock has jumped since somebody asked, in milliseconds.
    jumped_ms: i64,
}

fn ms(us: u64) -> u64 {
    us / 1_000
}

impl LogClock {
    /// Begins. `newest` is the newest time in the store, `last` what the last process left there.
    pub(super) fn start(
        newest: Timestamp,
        last: Option<&ClockReading>,
        boot: [u8; 16],
        machine: MachineTime,
    ) -> Self {
        #[cfg(test)]
        let last = last.filter(|_| !injected::is(injected::Bug::WallAtStart));
        let wall = Timestamp(ms(machine.wall_us));
        let boot_ms = ms(machine.boot_us);
        let mut gaps = last.map(|last| last.gaps.clone()).unwrap_or_default();
        let mut jumped_ms = 0;
        let log = match last {
            // A store that was never read with such a clock: its own times, or the wall clock's.
            None => newest.max(wall),
            Some(last) if boot == last.boot && boot != [0; 16] && boot_ms >= last.boot_ms => {
                let passed_ms = boot_ms - last.boot_ms;
                jumped_ms = difference(wall, last.wall.plus_ms(passed_ms));
                newest.max(last.log.plus_ms(passed_ms))
            }
            Some(last) => {
                let went_on = newest.max(last.log);
                let off_ms = wall.ms_since(last.wall);
                let believed = off_ms <= OFF_MS_MAX;
                if !believed || wall < last.wall {
                    jumped_ms = difference(wall, last.wall);
                }
                let back = last.log.plus_ms(if believed { off_ms } else { 0 });
                if back > went_on {
                    gaps.push(Gap {
                        end: back,
                        ms: back.ms_since(went_on),
                    });
                }
                went_on.max(back)
            }
        };
        if jumped_ms.unsigned_abs() < ms(JUMP_US) {
            jumped_ms = 0;
        }
        #[cfg(test)]
        if injected::is(injected::Bug::GapsForgotten) {
            gaps.clear();
        }
        trim(&mut gaps, log);
        Self {
            log_us: log.0.saturating_mul(1_000),
            last: machine,
            boot,
            gaps,
            gained_us: 0,
            jumped_ms,
        }
    }

    /// The time now.
    pub(super) fn tell(&mut self, machine: MachineTime) -> Timestamp {
        let passed_us = machine.boot_us.saturating_sub(self.last.boot_us);
        if passed_us < STEP_US {
            // What the wall clock's last digit gains in so short a time is not worth a gap.
            return Timestamp(ms(self.log_us));
        }
        let expected_us = self.last.wall_us.saturating_add(passed_us);
        if machine.wall_us.abs_diff(expected_us) >= JUMP_US {
            let (wall, expected) = (ms(machine.wall_us), ms(expected_us));
            self.jumped_ms = difference(Timestamp(wall), Timestamp(expected));
        }
        let slowest = self.log_us.saturating_add(passed_us / 2);
        let fastest = self.log_us.saturating_add(passed_us.saturating_mul(2));
        let before_us = self.log_us;
        #[cfg(test)]
        let slowest = if injected::is(injected::Bug::Stands) {
            before_us
        } else {
            slowest
        };
        self.log_us = machine.wall_us.clamp(slowest, fastest);
        let gained_us = (self.log_us - before_us).saturating_sub(passed_us);
        // What a time service corrects, far less than an eighth, is no gain: then the wall clock is right.
        if gained_us > passed_us / 8 {
            self.gain(gained_us);
        }
        self.last = MachineTime {
            wall_us: machine.wall_us,
            // One that went back, which it never should, stops this clock until it is there again.
            boot_us: machine.boot_us.max(self.last.boot_us),
        };
        Timestamp(ms(self.log_us))
    }

    /// Keeps what the clock has gained as a gap, a second or more at a time.
    fn gain(&mut self, us: u64) {
        self.gained_us += us;
        let gained_ms = ms(self.gained_us);
        if gained_ms < GAIN_MS_MIN {
            return;
        }
        self.gained_us -= gained_ms * 1_000;
        let end = Timestamp(ms(self.log_us));
        match self.gaps.last_mut() {
            Some(last) if end.ms_since(last.end) < JOIN_MS && last.ms < JOIN_MS => {
                // What was accepted meanwhile counts as younger by the whole gap, never as older.
                last.end = end;
                last.ms += gained_ms;
            }
            _ => self.gaps.push(Gap { end, ms: gained_ms }),
        }
    }

    /// What the next start needs to know.
    pub(super) fn reading(&mut self, machine: MachineTime) -> ClockReading {
        let log = self.tell(machine);
        trim(&mut self.gaps, log);
        ClockReading {
            log,
            wall: Timestamp(ms(machine.wall_us)),
            boot: self.boot,
            boot_ms: ms(machine.boot_us),
            gaps: self.gaps.clone(),
        }
    }

    /// How far back from `now` a window reaches: longer by the gaps within it.
    pub(super) fn reach_ms(&self, now: Timestamp, window_ms: u64) -> u64 {
        reach_ms(&self.gaps, now, window_ms)
    }

    /// How far the wall clock has jumped, by a minute or more, since this was last asked, in milliseconds; 0
    /// is not at all.
    pub(super) fn take_jump(&mut self) -> i64 {
        std::mem::take(&mut self.jumped_ms)
    }
}

/// How much later `left` is than `right`, in milliseconds.
fn difference(left: Timestamp, right: Timestamp) -> i64 {
    let late = i64::try_from(left.ms_since(right)).unwrap_or(i64::MAX);
    let early = i64::try_from(right.ms_since(left)).unwrap_or(i64::MAX);
    late - early
}

/// Forgets gaps that are too old to count, and makes one of the two that are nearest to each other while there
/// are too many. The sum is kept, so that nothing grows older by it.
fn trim(gaps: &mut Vec<Gap>, now: Timestamp) {
    gaps.retain(|gap| now.ms_since(gap.end) < GAP_AGE_MS_MAX.saturating_add(gap.ms));
    while gaps.len() > GAPS_MAX {
        let pairs = gaps.windows(2).enumerate();
        let nearest = pairs.min_by_key(|(_, pair)| pair[1].end.ms_since(pair[0].end));
        let Some((index, _)) = nearest else { break };
        let first = gaps.remove(index);
        gaps[index].ms = gaps[index].ms.saturating_add(first.ms);
    }
}

/// Injected bugs that the simulation must find. They are active only on the thread that turns them on, and
/// never in a release.
#[cfg(test)]
pub(crate) mod injected {
    use std::cell::Cell;

    /// A bug.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) enum Bug {
        /// A start takes the wall clock's time, whatever the last process left.
        WallAtStart,
        /// Ages and windows count the time that the machine was off.
        GapsForgotten,
        /// The clock waits for a wall clock that is behind.
        Stands,
    }

    thread_local! {
        static INJECTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Turns a bug on, on this thread, or the one that is on off.
    pub(crate) fn inject(bug: Option<Bug>) {
        INJECTED.set(bug);
    }

    pub(super) fn is(bug: Bug) -> bool {
        INJECTED.get() == Some(bug)
    }
}
