//! Retention: what is removed, what stays for what is pending, and what is known of it later.

use super::*;
use edgebus_model::{JobId, JobPlace, JobSpec, LetterSelection, Skipped};

/// Everything that was accepted before `before` goes.
fn trim(before: Timestamp) -> Trim {
    Trim {
        bus: BUS,
        accepted_before: before,
        bytes_max: u64::MAX,
        events_max: 1_000,
        expected: None,
        now: before,
    }
}

fn trimmed(subject: &Subject, trim: Trim) -> Trimmed {
    match subject.one(Step::Trim(trim)) {
        StepOutcome::Trimmed(trimmed) => trimmed,
        other => panic!("{other:?}"),
    }
}

fn positions(subject: &Subject) -> Vec<u64> {
    let page = subject.store.events(BUS, Position(0), 100).unwrap();
    page.iter().map(|stored| stored.position.0).collect()
}

fn whole(subject: &Subject) {
    let mut lines = Vec::new();
    subject.store.verify(&mut |line| lines.push(line)).unwrap();
    assert_eq!(lines, Vec::<String>::new());
    assert_eq!(subject.store.corruption().names, Vec::<String>::new());
}

fn dead(key: DeliveryKey, fence: u32) -> Step {
    let reason = DeadReason::Rejected;
    settle(
        key,
        fence,
        fence + 1,
        SettleEnd::Dead {
            reason,
            published: None,
        },
    )
}

fn expire(keys: &[DeliveryKey], died_before: Timestamp) -> Step {
    Step::Expire(Expire {
        keys: keys.to_vec(),
        died_before,
        expected: None,
        now: died_before,
    })
}

#[test]
fn old_events_go_with_all_that_is_theirs() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        for (number, id) in ["a", "b", "c", "d"].into_iter().enumerate() {
            subject.one(append(&[id], &[S1, S2], NOW.plus_ms(number as u64 * 10)));
        }
        for position in 1..=4 {
            subject.one(done(key(S1, position), 0));
            // Attempts that are rows of their own.
            let due_at = NOW;
            subject.one(settle(key(S2, position), 0, 1, SettleEnd::Retry { due_at }));
            let end = SettleEnd::Done(Effects::default());
            subject.one(settle(key(S2, position), 1, 2, end));
        }
        let before = subject.store.bus_counts(BUS).unwrap();
        assert_eq!(subject.store.floor(BUS).unwrap(), Position(1));
        let done = trimmed(&subject, trim(NOW.plus_ms(20)));
        let expected = Trimmed {
            floor: Position(3),
            events: 2,
            bytes: before.bytes / 2,
            kept: 0,
            more: false,
        };
        assert_eq!(done, expected);
        subject.reopen();
        assert_eq!(subject.store.floor(BUS).unwrap(), Position(3));
        assert_eq!(positions(&subject), [3, 4]);
        let counts = subject.store.bus_counts(BUS).unwrap();
        assert_eq!((counts.events, counts.bytes), (2, before.bytes / 2));
        for subscription in [S1, S2] {
            assert_eq!(subject.store.delivery(key(subscription, 1)).unwrap(), None);
            let history = subject.store.settled(subscription, None, 9).unwrap();
            let left: Vec<_> = history
                .iter()
                .map(|own| own.delivery.key.position.0)
                .collect();
            assert_eq!(left, [3, 4]);
        }
        assert_eq!(subject.store.event(BUS, Position(2)).unwrap(), None);
        // Positions never come back.
        assert_eq!(
            subject.one(append(&["e"], &[], NOW)),
            appended(&[(5, false)])
        );
        assert_eq!(
            trimmed(&subject, trim(NOW.plus_ms(1_000))).floor,
            Position(6)
        );
        assert_eq!(positions(&subject), [0_u64; 0]);
        subject.reopen();
        let catalog = subject.store.catalog().unwrap();
        assert_eq!(catalog.buses[0].2, Position(5));
        assert_eq!(catalog.newest, NOW.plus_ms(30));
        assert_eq!(
            subject.one(append(&["f"], &[], NOW)),
            appended(&[(6, false)])
        );
        whole(&subject);
    }
}

#[test]
fn the_oldest_go_until_the_rest_is_small_enough() {
    for subject in Subject::all().map(Subject::with_rules) {
        let ids: Vec<String> = (100..120).map(|id| id.to_string()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        subject.one(append(&ids, &[], NOW));
        let each = subject.store.bus_counts(BUS).unwrap().bytes / 20;
        let size = |bytes_max, events_max| Trim {
            accepted_before: Timestamp(0),
            bytes_max,
            events_max,
            ..trim(NOW)
        };
        assert_eq!(trimmed(&subject, size(20 * each, 100)).events, 0);
        // One that is larger by a byte than what may be goes.
        let done = trimmed(&subject, size(18 * each - 1, 100));
        assert_eq!((done.events, done.more), (3, false));
        let done = trimmed(&subject, size(10 * each, 4));
        assert_eq!((done.events, done.more), (4, true));
        assert_eq!(done.bytes, 4 * each);
        let done = trimmed(&subject, size(10 * each, 100));
        assert_eq!((done.events, done.more), (3, false));
        assert_eq!(done.floor, Position(11));
        let nowhere = Trim {
            bus: BusId(9),
            ..trim(NOW)
        };
        let outcome = subject.one(Step::Trim(nowhere));
        assert!(matches!(outcome, StepOutcome::Denied(_)), "{outcome:?}");
        whole(&subject);
    }
}

#[test]
fn what_is_pending_keeps_its_event_until_it_ends() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a", "b", "c"], &[S1, S2], NOW));
        subject.one(done(key(S1, 1), 0));
        subject.one(done(key(S1, 2), 0));
        subject.one(done(key(S2, 2), 0));
        let due_at = NOW.plus_ms(9);
        subject.one(settle(key(S1, 3), 0, 1, SettleEnd::Retry { due_at }));
        let later = NOW.plus_ms(100);
        let passed = trimmed(&subject, trim(later));
        assert_eq!(
            (passed.floor, passed.events, passed.kept),
            (Position(4), 1, 2)
        );
        subject.reopen();
        assert_eq!(positions(&subject), [1, 3]);
        whole(&subject);
        // What the first one has ended already stays with it.
        assert!(subject.store.delivery(key(S1, 1)).unwrap().is_some());
        // The last one of an event takes it along, however it ends.
        subject.one(done(key(S2, 1), 0));
        assert_eq!(positions(&subject), [3]);
        assert_eq!(subject.store.delivery(key(S1, 1)).unwrap(), None);
        assert_eq!(subject.one(done(key(S2, 1), 0)), StepOutcome::Stale);
        subject.one(done(key(S2, 3), 0));
        assert_eq!(positions(&subject), [3]);
        subject.one(dead(key(S1, 3), 1));
        assert_eq!(positions(&subject), [0_u64; 0]);
        let letters = subject.store.dead_letters(S1, None, 9).unwrap();
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].event.id, "c");
        assert_eq!(letters[0].delivery.attempts.len(), 2);
        let counts = subject.store.bus_counts(BUS).unwrap();
        assert_eq!((counts.events, counts.bytes), (0, 0));
        subject.reopen();
        whole(&subject);
    }
}

#[test]
fn what_was_removed_is_still_a_duplicate() {
    for runs in [1, 63, 64, 65, 200] {
        for mut subject in Subject::all().map(Subject::with_rules) {
            let ids: Vec<String> = (1..=runs).map(|id| id.to_string()).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            subject.one(append(&ids, &[], NOW));
            let done = trimmed(&subject, trim(NOW.plus_ms(1)));
            assert_eq!(done.events, runs);
            let again = |subject: &Subject, more: u64| {
                let first = subject.one(append(&[ids[0], ids[ids.len() - 1]], &[], NOW));
                assert_eq!(first, appended(&[(1, true), (runs, true)]), "{runs} {more}");
                // As any other, it is refused if it says something else.
                let mut new = new_event(ids[0], &[]);
                let mut event = (*new.event).clone();
                event.kind = "other".to_owned();
                new.event = Arc::new(event);
                let outcome = subject.one(Step::Append(Append {
                    bus: BUS,
                    events: vec![new],
                    now: NOW,
                }));
                let first = Some(Position(1));
                let reused = vec![Reused { index: 0, first }];
                assert_eq!(outcome, StepOutcome::IdReused(reused));
            };
            again(&subject, 0);
            subject.reopen();
            again(&subject, 1);
            // The row of the newest ones is written anew when more come, and read together with the log.
            subject.one(append(&["x"], &[], NOW));
            subject.reopen();
            again(&subject, 2);
            let x = subject.one(append(&["x"], &[], NOW));
            assert_eq!(x, appended(&[(runs + 1, true)]));
            subject.one(append(&["y"], &[], NOW));
            trimmed(&subject, trim(NOW.plus_ms(1)));
            subject.reopen();
            let both = subject.one(append(&["x", "y"], &[], NOW));
            assert_eq!(both, appended(&[(runs + 1, true), (runs + 2, true)]));
            whole(&subject);
        }
    }
}

#[test]
fn dead_letters_go_by_their_own_age() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a", "b"], &[S1, S2], NOW));
        for position in 1..=2 {
            let due_at = NOW;
            subject.one(settle(key(S1, position), 0, 1, SettleEnd::Retry { due_at }));
            subject.one(dead(key(S1, position), 1));
            subject.one(done(key(S2, position), 0));
        }
        let died = NOW.plus_ms(5);
        let all = [key(S1, 1), key(S1, 2), key(S2, 1), key(S1, 9)];
        let outcome = subject.one(expire(&all, died));
        assert_eq!(
            outcome,
            StepOutcome::Expired(0),
            "none died before its death"
        );
        let first = &all[..1];
        let outcome = subject.one(expire(first, died.plus_ms(1)));
        assert_eq!(outcome, StepOutcome::Expired(1));
        assert_eq!(subject.store.counts(S1).unwrap().dead, 1);
        subject.reopen();
        // Its event is still there, and nothing is missing.
        assert_eq!(positions(&subject), [1, 2]);
        assert_eq!(subject.store.delivery(key(S1, 1)).unwrap(), None);
        assert_eq!(subject.one(dead(key(S1, 1), 2)), StepOutcome::Stale);
        let history = subject.store.settled(S1, None, 9).unwrap();
        assert_eq!(history, []);
        whole(&subject);
        // The other outlives its event.
        trimmed(&subject, trim(NOW.plus_ms(50)));
        assert_eq!(positions(&subject), [0_u64; 0]);
        let state = subject.store.delivery(key(S1, 2)).unwrap();
        assert!(
            matches!(state, Some(DeliveryState::Dead(letter)) if letter.delivery.attempts.len() == 2)
        );
        whole(&subject);
        let outcome = subject.one(expire(&all, died.plus_ms(1)));
        assert_eq!(outcome, StepOutcome::Expired(1));
        assert_eq!(subject.store.totals().dead, 0);
        subject.reopen();
        assert_eq!(subject.store.delivery(key(S1, 2)).unwrap(), None);
        whole(&subject);
    }
}

#[test]
fn buses_are_apart_and_limits_of_a_step_hold() {
    for subject in Subject::all().map(Subject::with_rules) {
        let side = |ids: &[&str]| {
            let events = ids.iter().map(|id| new_event(id, &[S3]));
            Step::Append(Append {
                bus: SIDE,
                events: events.collect(),
                now: NOW,
            })
        };
        subject.one(append(&["a", "b", "c"], &[], NOW));
        subject.one(side(&["a", "b"]));
        let small = Trim {
            events_max: 2,
            ..trim(NOW.plus_ms(1))
        };
        let first = trimmed(&subject, small);
        assert_eq!(
            (first.events, first.more, first.floor),
            (2, true, Position(3))
        );
        let second = trimmed(&subject, small);
        assert_eq!(
            (second.events, second.more, second.floor),
            (1, false, Position(4))
        );
        let third = trimmed(&subject, small);
        assert_eq!(
            (third.events, third.more, third.floor),
            (0, false, Position(4))
        );
        assert_eq!(subject.store.floor(SIDE).unwrap(), Position(1));
        assert_eq!(subject.store.bus_counts(SIDE).unwrap().events, 2);
        let of_side = Trim { bus: SIDE, ..small };
        let fourth = trimmed(&subject, of_side);
        assert_eq!((fourth.events, fourth.kept), (0, 2));
        subject.one(done(key(S3, 2), 0));
        let page = subject.store.events(SIDE, Position(0), 9).unwrap();
        assert_eq!(page.len(), 1);
        whole(&subject);
    }
}

/// A removal that was planned before another manifest became active removes nothing: it may say to keep more.
#[test]
fn a_removal_of_an_earlier_manifest_removes_nothing() {
    for subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a", "b"], &[S1], NOW));
        subject.one(dead(key(S1, 1), 0));
        subject.one(done(key(S1, 2), 0));
        let later = NOW.plus_ms(50);
        let steps = |expected| {
            let Step::Expire(letters) = expire(&[key(S1, 1)], later) else {
                panic!("it is one")
            };
            [
                Step::Expire(Expire {
                    expected,
                    ..letters
                }),
                Step::Trim(Trim {
                    expected,
                    ..trim(later)
                }),
            ]
        };
        let longer = manifest(
            &["side", "other"],
            &["f", "g"],
            vec![rule("r1", "default", &["f"])],
        );
        let [expire, trim] = steps(Some(1));
        let batch = [Step::ApplyManifest(Box::new(longer)), expire, trim];
        let outcomes = subject.store.commit(&batch).unwrap();
        let applied = StepOutcome::Applied { version: 2 };
        assert_eq!(outcomes, [applied, StepOutcome::Stale, StepOutcome::Stale]);
        assert_eq!(positions(&subject), [1, 2]);
        assert_eq!(subject.store.totals().dead, 1);
        let outcomes = subject.store.commit(&steps(Some(2))).unwrap();
        assert_eq!(outcomes[0], StepOutcome::Expired(1));
        assert_eq!(positions(&subject), [0_u64; 0]);
    }
}

/// Settlement and removal in one batch, in either order, come to the same.
#[test]
fn one_batch_may_pass_and_end_it() {
    for swapped in [false, true] {
        for mut subject in Subject::all().map(Subject::with_rules) {
            subject.one(append(&["a"], &[S1], NOW));
            let mut steps = [done(key(S1, 1), 0), Step::Trim(trim(NOW.plus_ms(1)))];
            if swapped {
                steps.reverse();
            }
            subject.store.commit(&steps).unwrap();
            assert_eq!(positions(&subject), [0_u64; 0]);
            assert_eq!(subject.store.settled(S1, None, 9).unwrap(), []);
            subject.reopen();
            assert_eq!(subject.store.floor(BUS).unwrap(), Position(2));
            whole(&subject);
        }
    }
}

/// A chain that goes on after its first event went is still counted, and the count goes later.
#[test]
fn what_descends_from_a_removed_event_still_counts() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a"], &[S1], NOW));
        let emits = (0..3).map(|id| (BUS, emitted(&format!("e{id}"), key(S1, 1), 1, &[S2])));
        let effects = Effects {
            emits: emits.collect(),
            ..Effects::default()
        };
        subject.one(settle(key(S1, 1), 0, 1, SettleEnd::Done(effects)));
        trimmed(&subject, trim(NOW.plus_ms(10)));
        subject.reopen();
        let from = key(S2, 2);
        let many = |count: u32| Effects {
            emits: (0..count)
                .map(|id| (SIDE, emitted(&format!("f{id}"), key(S1, 1), 2, &[])))
                .collect(),
            ..Effects::default()
        };
        let limit = Lineage::DESCENDANTS_MAX;
        let end = SettleEnd::Done(many(limit - 2));
        let refused = StepOutcome::Refused(DeadReason::FanOutLimit);
        assert_eq!(subject.one(settle(from, 0, 1, end)), refused);
        // An hour later the count goes.
        let hour = 3_600_000;
        for now in [hour + 10, 2 * hour + 10] {
            trimmed(&subject, trim(NOW.plus_ms(now)));
        }
        let end = SettleEnd::Done(many(limit - 2));
        let outcome = subject.one(settle(from, 0, 1, end));
        assert!(matches!(outcome, StepOutcome::Settled(_)), "{outcome:?}");
        whole(&subject);
    }
}

/// A chain that goes on never gets a new budget, and one that has had many events doesn't for long.
#[test]
fn a_budget_does_not_begin_anew_while_the_chain_grows() {
    let hour = 3_600_000;
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a"], &[S1], NOW));
        let emit = |subject: &Subject, from: DeliveryKey, name: &str, count: u32, now: u64| {
            let emits =
                (0..count).map(|id| (BUS, emitted(&format!("{name}{id}"), key(S1, 1), 1, &[S2])));
            let effects = Effects {
                emits: emits.collect(),
                ..Effects::default()
            };
            let Step::Settle(mut end) = settle(from, 0, 1, SettleEnd::Done(effects)) else {
                panic!("it is one")
            };
            end.now = NOW.plus_ms(now);
            subject.one(Step::Settle(end))
        };
        let trims = |subject: &Subject, hours: std::ops::Range<u64>| {
            for at in hours {
                trimmed(subject, trim(NOW.plus_ms(at * hour + 10)));
            }
        };
        emit(&subject, key(S1, 1), "first", 3, 5);
        trims(&subject, 0..2);
        // It grows, and an hour later again.
        let limit = Lineage::DESCENDANTS_MAX;
        emit(&subject, key(S2, 2), "second", 90, hour + hour / 2);
        trims(&subject, 2..3);
        subject.reopen();
        emit(&subject, key(S2, 3), "third", 90, 2 * hour + hour / 3);
        let refused = StepOutcome::Refused(DeadReason::FanOutLimit);
        let over = emit(&subject, key(S2, 4), "over", limit - 182, 3 * hour);
        assert_eq!(over, refused);
        // There are many now, which are remembered for two weeks.
        trims(&subject, 3..9);
        trims(&subject, 13 * 24..13 * 24 + 3);
        let over = emit(&subject, key(S2, 4), "over", limit - 182, 314 * hour);
        assert_eq!(over, refused);
        trims(&subject, 15 * 24..15 * 24 + 3);
        let fits = emit(&subject, key(S2, 4), "over", limit - 182, 363 * hour);
        assert!(matches!(fits, StepOutcome::Settled(_)), "{fits:?}");
        whole(&subject);
    }
}

/// The dead letter of a replay brings its event back as it was accepted, and not as the replay was made.
#[test]
fn a_replay_s_dead_letter_knows_when_its_event_was_accepted() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a"], &[], NOW));
        let start = |spec| {
            Step::StartJob(Box::new(StartJob {
                component: None,
                spec,
                rate: None,
                of: 1,
                now: NOW,
            }))
        };
        subject.one(start(super::deliver::replay()));
        subject.one(start(JobSpec::Redrive(LetterSelection::default())));
        let advance = |subject: &Subject, job: u32, from: JobPlace, effect: JobEffect, now: u64| {
            let advance = Advance {
                job: JobId(job),
                from,
                to: JobPlace::Delivery(key(S2, now)),
                looked: 1,
                skipped: Skipped::default(),
                effects: vec![effect],
                end: None,
                now: NOW.plus_ms(now),
                shadow: None,
            };
            let outcome = subject.one(Step::Advance(Box::new(advance)));
            assert!(
                matches!(&outcome, StepOutcome::Advanced(done) if done.pending.len() == 1),
                "{outcome:?}"
            );
        };
        let deliver = JobEffect::Deliver {
            subscription: S1,
            position: Position(1),
        };
        advance(&subject, 1, JobPlace::Start, deliver, 5_000);
        let own = DeliveryKey {
            replay: 1,
            ..key(S1, 1)
        };
        subject.one(dead(own, 0));
        assert_eq!(trimmed(&subject, trim(NOW.plus_ms(1))).events, 1);
        let mut place = JobPlace::Start;
        // A second death brings it back in the same way.
        for (fence, now) in [(1, 6_000), (3, 7_000)] {
            subject.reopen();
            let letters = subject.store.dead_letters(S1, None, 9).unwrap();
            assert_eq!(letters[0].accepted_at, NOW);
            assert_eq!(letters[0].delivery.accepted_at, NOW.plus_ms(5_000));
            let redrive = JobEffect::Redrive { key: own, fence };
            advance(&subject, 2, place, redrive, now);
            place = JobPlace::Delivery(key(S2, now));
            let event = subject.store.event(BUS, Position(1)).unwrap().unwrap();
            assert_eq!(event.accepted_at, NOW);
            subject.one(dead(own, fence + 1));
            assert_eq!(positions(&subject), [0_u64; 0]);
            whole(&subject);
        }
    }
}

#[test]
fn a_removed_event_comes_back_for_each_dead_letter_that_is_redriven() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a"], &[S1, S2], NOW));
        subject.one(dead(key(S1, 1), 0));
        subject.one(dead(key(S2, 1), 0));
        assert_eq!(trimmed(&subject, trim(NOW.plus_ms(1))).events, 1);
        assert_eq!(positions(&subject), [0_u64; 0]);
        let start = StartJob {
            spec: JobSpec::Redrive(LetterSelection::default()),
            rate: None,
            of: 2,
            component: None,
            now: NOW,
        };
        subject.one(Step::StartJob(Box::new(start)));
        let places = [
            JobPlace::Start,
            JobPlace::Delivery(key(S1, 1)),
            JobPlace::Delivery(key(S2, 1)),
        ];
        for (at, subscription) in [S1, S2].into_iter().enumerate() {
            let redrive = Advance {
                job: JobId(1),
                from: places[at],
                to: places[at + 1],
                looked: 1,
                skipped: Skipped::default(),
                effects: vec![JobEffect::Redrive {
                    key: key(subscription, 1),
                    fence: 1,
                }],
                shadow: None,
                end: None,
                now: NOW.plus_ms(2),
            };
            let outcome = subject.one(Step::Advance(Box::new(redrive)));
            assert!(matches!(outcome, StepOutcome::Advanced(_)), "{outcome:?}");
        }
        subject.reopen();
        let event = subject.store.event(BUS, Position(1)).unwrap().unwrap();
        assert_eq!(*event.event, super::event("a"));
        assert_eq!(event.subscriptions, [S1, S2]);
        whole(&subject);
        // It stays until the last of them has ended.
        subject.one(done(key(S1, 1), 2));
        assert_eq!(positions(&subject), [1]);
        whole(&subject);
        subject.one(done(key(S2, 1), 2));
        assert_eq!(positions(&subject), [0_u64; 0]);
        assert_eq!(subject.store.bus_counts(BUS).unwrap(), BusCounts::default());
        whole(&subject);
    }
}
