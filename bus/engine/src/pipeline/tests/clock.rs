//! A wall clock that is set between two starts: nothing stalls, dies or is forgotten early.

use std::sync::{Arc, Mutex};

use crate::clock::{Clock, MachineTime};
use edgebus_model::{
    Attempt, AttemptEnd, BusId, Data, DeliveryKey, Event, Lineage, Next, Outcome, Position,
    RetryPolicy, SubscriptionId, Timestamp, delivery,
};
use edgebus_store::memory::MemoryStore;
use edgebus_store::{Append, NewEvent, Settle, SettleEnd, Step, StepOutcome, Store};

const SECOND: u64 = 1_000;
const HOUR: i64 = 3_600_000;
/// In November 2026.
const START: u64 = 1_795_000_000_000;

/// The machine's clocks, in milliseconds: real time, what the wall clock is off by, and the boot.
#[derive(Clone, Copy)]
struct State {
    now: u64,
    off: i64,
    booted: u64,
    boot: u8,
}

/// A store and the clock of the process that has it open.
struct World {
    state: Arc<Mutex<State>>,
    store: MemoryStore,
    clock: Clock,
}

fn clock(state: &Arc<Mutex<State>>, store: &MemoryStore) -> Clock {
    let catalog = store.catalog().unwrap();
    let (read, boot) = (state.clone(), state.lock().unwrap().boot);
    let machine = move || {
        let State {
            now, off, booted, ..
        } = *read.lock().unwrap();
        MachineTime {
            wall_us: now.saturating_add_signed(off) * 1_000,
            boot_us: (now - booted) * 1_000,
        }
    };
    Clock::on(machine, [boot; 16], catalog.newest, catalog.clock.as_ref())
}

impl World {
    fn new() -> Self {
        let state = Arc::new(Mutex::new(State {
            now: START,
            off: 0,
            booted: START - 60 * SECOND,
            boot: 1,
        }));
        let store = MemoryStore::new();
        let clock = clock(&state, &store);
        Self {
            state,
            store,
            clock,
        }
    }

    fn pass(&self, ms: u64) {
        self.state.lock().unwrap().now += ms;
    }

    /// Another process, under a wall clock that is off by `off`, after a second; perhaps another boot.
    fn restart(&mut self, off: i64, reboot: bool) {
        {
            let mut state = self.state.lock().unwrap();
            state.now += SECOND;
            state.off = off;
            if reboot {
                state.boot += 1;
                state.booted = state.now - 500;
            }
        }
        self.store = self.store.reopen();
        self.clock = clock(&self.state, &self.store);
    }

    /// Commits as the writer does.
    fn commit(&self, step: Step) -> StepOutcome {
        let reading = self.clock.reading_due().map(Step::Clock);
        let steps: Vec<Step> = reading.into_iter().chain([step]).collect();
        self.store.commit(&steps).unwrap().pop().unwrap()
    }

    /// Publishes the event `k1`; true if it is a duplicate.
    fn publish(&self) -> bool {
        let event = Event {
            id: "k1".into(),
            source: "/s".into(),
            kind: "t".into(),
            subject: None,
            time: None,
            data_content_type: None,
            data_schema: None,
            extensions: Vec::new(),
            data: Data::Absent,
        };
        let outcome = self.commit(Step::Append(Append {
            bus: BusId(1),
            events: vec![NewEvent {
                event: event.into(),
                lineage: Lineage::default(),
                subscriptions: Vec::new(),
                rules_version: 0,
            }],
            now: self.clock.now(),
        }));
        match outcome {
            StepOutcome::Appended(places) => places[0].duplicate,
            other => panic!("{other:?}"),
        }
    }

    /// What follows a failed attempt of what was accepted then.
    fn failed(&self, accepted_at: Timestamp, attempts_made: u32) -> Next {
        let policy = RetryPolicy {
            attempts_max: 9,
            ..RetryPolicy::default()
        };
        let now = self.clock.now();
        let policy = RetryPolicy {
            age_ms_max: self.clock.reach_ms(now, policy.age_ms_max),
            ..policy
        };
        let ending = AttemptEnd {
            outcome: &Outcome::Retry {
                after_ms: Some(2 * SECOND),
                message: String::new(),
            },
            attempts_made,
            host_failures: 0,
            spared: false,
            age_from: accepted_at,
        };
        delivery::next(ending, &policy, now, 0)
    }
}

/// Both kinds of a restart, under wall clocks that are off by so much.
fn restarts(mut each: impl FnMut(i64, bool)) {
    let ages = [23 * HOUR, 25 * HOUR, 50 * 365 * 24 * HOUR];
    for off in ages.iter().flat_map(|off| [*off, -*off]) {
        each(off, false);
        each(off, true);
    }
}

#[test]
fn a_start_under_another_wall_clock_forgets_nothing() {
    restarts(|off, reboot| {
        let mut world = World::new();
        assert!(!world.publish());
        world.pass(3 * SECOND);
        world.restart(off, reboot);
        assert!(world.publish(), "{off} {reboot}: taken twice");
        world.restart(0, reboot);
        assert!(world.publish(), "{off} {reboot}: taken twice afterwards");
    });
}

#[test]
fn a_start_under_another_wall_clock_kills_no_retry() {
    restarts(|off, reboot| {
        let mut world = World::new();
        world.publish();
        let accepted = world.clock.now();
        world.pass(3 * SECOND);
        for (attempt, off) in [(2, off), (3, 0)] {
            world.restart(off, reboot);
            let next = world.failed(accepted, attempt);
            assert!(matches!(next, Next::Retry(_)), "{off} {reboot}: {next:?}");
            world.publish();
        }
    });
}

#[test]
fn a_start_under_another_wall_clock_stalls_no_retry() {
    restarts(|off, reboot| {
        let mut world = World::new();
        world.publish();
        let accepted = world.clock.now();
        for (attempt, off) in [(1, off), (2, 0), (3, off)] {
            world.restart(off, reboot);
            let Next::Retry(due) = world.failed(accepted, attempt) else {
                panic!("{off} {reboot}: dead");
            };
            // What stands in the store with this due time is due soon after the next start, too.
            world.publish();
            world.restart(0, reboot);
            let mut waited = 0;
            while world.clock.now() < due {
                world.pass(SECOND);
                waited += SECOND;
                assert!(waited <= 5 * SECOND, "{off} {reboot}: it stalls");
            }
        }
    });
}

#[test]
fn the_writer_gives_one_time_to_a_batch() {
    let key = DeliveryKey {
        subscription: SubscriptionId(1),
        replay: 0,
        position: Position(1),
    };
    let settle = Step::Settle(Box::new(Settle {
        key,
        fence: 0,
        attempt: Attempt {
            number: 1,
            started_at: Timestamp(0),
            duration_us: 1,
            outcome: Outcome::Success,
            output: String::new(),
        },
        end: SettleEnd::Dead {
            reason: edgebus_model::DeadReason::Rejected,
            published: None,
        },
        spared: false,
        seen: edgebus_store::Seen::default(),
        now: Timestamp(9),
    }));
    let append = |now| {
        Step::Append(Append {
            bus: BusId(1),
            events: Vec::new(),
            now: Timestamp(now),
        })
    };
    let mut steps = [append(7), settle, append(5)];
    super::super::writer::stamp(&mut steps, &Clock::manual(Timestamp(8), 1));
    for step in &steps {
        let now = match step {
            Step::Append(append) => append.now,
            Step::Settle(settle) => settle.now,
            other => panic!("{other:?}"),
        };
        assert_eq!(now, Timestamp(8));
    }
}
