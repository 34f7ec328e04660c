//! The log clock under wall clocks that are right, ahead, behind, and set meanwhile; within a boot and across boots.

use super::log::{LogClock, MachineTime};
use edgebus_model::{ClockReading, Timestamp};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;
/// In November 2026.
const START: u64 = 1_795_000_000_000;

/// A machine whose real time, wall clock and boot are told by the test.
struct World {
    /// Real time, in milliseconds.
    now: u64,
    /// What the wall clock is off by.
    off: i64,
    boot: u8,
    booted: u64,
    /// The newest time that something was accepted at.
    newest: Timestamp,
    kept: Option<ClockReading>,
    clock: LogClock,
}

fn machine(now: u64, off: i64, booted: u64) -> MachineTime {
    MachineTime {
        wall_us: now.saturating_add_signed(off) * 1_000,
        boot_us: (now - booted) * 1_000,
    }
}

impl World {
    fn new(off: i64) -> Self {
        let first = machine(START, off, START - HOUR);
        Self {
            now: START,
            off,
            boot: 1,
            booted: START - HOUR,
            newest: Timestamp(0),
            kept: None,
            clock: LogClock::start(Timestamp(0), None, [1; 16], first),
        }
    }

    fn machine(&self) -> MachineTime {
        machine(self.now, self.off, self.booted)
    }

    /// The time, as an accepted event gets it.
    fn accept(&mut self) -> Timestamp {
        let told = self.clock.tell(self.machine());
        assert!(told >= self.newest, "{told:?} is before {:?}", self.newest);
        self.newest = told;
        self.kept = Some(self.clock.reading(self.machine()));
        told
    }

    /// Lets time pass with a look at the clock every second.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / SECOND {
            self.now += SECOND;
            self.clock.tell(self.machine());
        }
    }

    /// The process was away for `away` milliseconds.
    fn restart(&mut self, away: u64) {
        self.now += away;
        let boot = [self.boot; 16];
        self.clock = LogClock::start(self.newest, self.kept.as_ref(), boot, self.machine());
    }

    /// So was the machine.
    fn reboot(&mut self, away: u64) {
        self.boot += 1;
        self.booted = self.now + away;
        self.restart(away);
    }

    /// How old what was accepted then is, as windows and ages count.
    fn age(&mut self, accepted: Timestamp) -> u64 {
        let now = self.clock.tell(self.machine());
        let whole = now.ms_since(accepted);
        // The shortest window that it is still in.
        let (mut low, mut high) = (0, whole + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if whole < self.clock.reach_ms(now, middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }
}

/// What the wall clock is off by, before and after.
fn offsets() -> Vec<i64> {
    let signed = |ms: u64| i64::try_from(ms).unwrap();
    let (day, age) = (signed(DAY), signed(50 * YEAR));
    vec![0, day, -day, age, -age, signed(30 * MINUTE), -signed(HOUR)]
}

#[test]
fn no_restart_makes_anything_older_than_the_time_that_passed() {
    for before in offsets() {
        for after in offsets() {
            for reboot in [false, true] {
                let mut world = World::new(before);
                let accepted = world.accept();
                world.pass(10 * SECOND);
                world.accept();
                world.off = after;
                if reboot {
                    world.reboot(5 * MINUTE);
                } else {
                    world.restart(5 * MINUTE);
                }
                let told = world.accept();
                let context = format!("{before} {after} {reboot}");
                let most = 10 * SECOND + 5 * MINUTE + SECOND;
                assert!(world.age(accepted) <= most, "{context}");
                // What was due in two seconds is due four seconds later at the latest.
                world.pass(4 * SECOND);
                assert!(world.accept().ms_since(told) >= 2 * SECOND, "{context}");
                // Ages go by the time that really passed.
                world.pass(10 * MINUTE);
                let age = world.age(accepted);
                let passed = most + 4 * SECOND + 10 * MINUTE;
                assert!(age <= passed + 2 * SECOND, "{context}: {age}");
            }
        }
    }
}

#[test]
fn a_jump_while_it_runs_is_neither_a_stall_nor_a_burst() {
    for after in offsets() {
        let mut world = World::new(0);
        let first = world.accept();
        world.off = after;
        world.pass(10 * SECOND);
        let passed = world.accept().ms_since(first);
        assert!(
            (5 * SECOND..=20 * SECOND).contains(&passed),
            "{after}: {passed}"
        );
        let jump = world.clock.take_jump();
        let told = after.unsigned_abs() >= MINUTE;
        assert_eq!(jump, if told { after } else { 0 });
        assert_eq!(world.clock.take_jump(), 0);
    }
}

#[test]
fn it_comes_back_to_the_wall_clock() {
    for (off, pass) in [(30 * MINUTE, 31 * MINUTE), (HOUR, 61 * MINUTE)] {
        let mut world = World::new(0);
        world.accept();
        world.off = i64::try_from(off).unwrap();
        world.pass(pass);
        assert_eq!(world.accept().0, world.now + off);
        world.off = 0;
        world.pass(2 * pass);
        assert_eq!(world.accept().0, world.now);
    }
}

#[test]
fn a_machine_that_was_off_shows_the_right_time_and_nothing_is_older() {
    let mut world = World::new(0);
    let accepted = world.accept();
    for _ in 0..100 {
        world.reboot(12 * HOUR);
        assert_eq!(world.accept().0, world.now);
        world.pass(10 * SECOND);
        world.accept();
    }
    assert_eq!(world.age(accepted), 100 * 10 * SECOND + 1);
    assert!(world.kept.unwrap().gaps.len() <= 32);
}

#[test]
fn a_machine_without_a_clock_chip_loses_nothing() {
    // It boots 50 years back, and the network sets its clock a minute later.
    let mut world = World::new(0);
    let accepted = world.accept();
    for _ in 0..3 {
        world.off = -i64::try_from(50 * YEAR).unwrap();
        world.reboot(DAY);
        world.pass(MINUTE);
        world.accept();
        world.off = 0;
        world.pass(MINUTE);
        world.accept();
        world.restart(SECOND);
    }
    // It was up for so long.
    let age = world.age(accepted);
    assert!(age <= 3 * (2 * MINUTE + 2 * SECOND), "{age}");
}

#[test]
fn a_start_never_goes_behind_the_store() {
    let newest = Timestamp(START + DAY);
    let last = ClockReading {
        log: Timestamp(START),
        wall: Timestamp(START),
        boot: [1; 16],
        boot_ms: 0,
        gaps: Vec::new(),
    };
    for boot in [[1; 16], [2; 16], [0; 16]] {
        let mut clock = LogClock::start(newest, Some(&last), boot, machine(START, 0, START - HOUR));
        assert!(clock.tell(machine(START + 10, 0, START - HOUR)) >= newest);
    }
}
