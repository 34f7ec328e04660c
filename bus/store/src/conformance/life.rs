//! A delivery's life: claims, settlements, retries, dead letters, and effects.

use super::*;

fn pending_row(subject: &Subject, key: DeliveryKey) -> Delivery {
    match subject.store.delivery(key).unwrap() {
        Some(DeliveryState::Pending(row)) => row,
        other => panic!("{key} is {other:?}"),
    }
}

fn effects(writes: &[(&str, Option<&str>)]) -> Effects {
    let value = |text: &str| Bytes::from(text.to_owned());
    Effects {
        writes: writes
            .iter()
            .map(|(key, text)| (key.as_bytes().to_vec(), text.map(value)))
            .collect(),
        ..Effects::default()
    }
}

#[test]
fn success_moves_the_delivery_into_the_history() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a", "b"], &[S1], NOW));
        assert_eq!(
            subject.one(done(key(S1, 1), 0)),
            StepOutcome::Settled(vec![])
        );
        assert_eq!(subject.one(done(key(S1, 1), 0)), StepOutcome::Stale);
        assert_eq!(subject.one(done(key(S1, 1), 1)), StepOutcome::Stale);
        subject.reopen();
        assert_eq!(subject.store.deliveries(S1, None, 9).unwrap().len(), 1);
        let history = subject.store.settled(S1, None, 9).unwrap();
        let expected = Succeeded {
            delivery: Delivery::new(
                Pending {
                    attempts_made: 1,
                    fence: 1,
                    ..Pending::new(key(S1, 1), NOW)
                },
                vec![attempt(1, Outcome::Success)],
            ),
            settled_at: NOW.plus_ms(5),
            emitted: 0,
            discarded: None,
        };
        assert_eq!(history, std::slice::from_ref(&expected));
        let state = subject.store.delivery(key(S1, 1)).unwrap();
        assert_eq!(state, Some(DeliveryState::Succeeded(expected)));
        assert!(
            subject
                .store
                .settled(S1, Some(key(S1, 1)), 9)
                .unwrap()
                .is_empty()
        );
    }
}

#[test]
fn a_fence_lets_one_attempt_settle() {
    for subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a"], &[S1], NOW));
        let claim = |fence| {
            subject.one(Step::Claim {
                key: key(S1, 1),
                fence,
                now: NOW,
            })
        };
        let StepOutcome::Claimed(row) = claim(0) else {
            panic!("not claimed");
        };
        assert_eq!((row.fence, row.claims, row.attempts_made), (1, 1, 0));
        assert_eq!(claim(0), StepOutcome::Stale);
        // The zombie under fence 0 changes nothing.
        let mut zombie = effects(&[("k", Some("zombie"))]);
        zombie.emits = vec![(BUS, emitted("z", key(S1, 1), 1, &[S2]))];
        let outcome = subject.one(settle(key(S1, 1), 0, 1, SettleEnd::Done(zombie)));
        assert_eq!(outcome, StepOutcome::Stale);
        assert_eq!(subject.store.state(&name("f"), b"k").unwrap(), None);
        assert_eq!(subject.store.events(BUS, Position(0), 9).unwrap().len(), 1);
        assert!(matches!(claim(1), StepOutcome::Claimed(_)));
        // The attempt that the claim counted is not counted twice.
        let retry = SettleEnd::Retry { due_at: NOW };
        let outcome = subject.one(settle(key(S1, 1), 2, 2, retry));
        assert_eq!(outcome, StepOutcome::Settled(vec![]));
        let row = pending_row(&subject, key(S1, 1));
        assert_eq!(
            (row.fence, row.claims, row.attempts_made, row.attempts.len()),
            (3, 0, 2, 1)
        );
    }
}

#[test]
fn retries_wait_in_order_of_due_time() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a", "b", "c"], &[S1], NOW));
        let retry = |position, fence, number, due| {
            let due_at = Timestamp(due);
            settle(
                key(S1, position),
                fence,
                number,
                SettleEnd::Retry { due_at },
            )
        };
        let steps = [
            retry(1, 0, 1, 300),
            retry(2, 0, 1, 100),
            retry(3, 0, 1, 300),
        ];
        subject.store.commit(&steps).unwrap();
        subject.reopen();
        let all = [
            (Timestamp(100), key(S1, 2)),
            (Timestamp(300), key(S1, 1)),
            (Timestamp(300), key(S1, 3)),
        ];
        let page = |until, after, limit| {
            let rows = subject.store.waiting(Timestamp(until), after, limit);
            rows.unwrap()
        };
        assert_eq!(page(300, None, 9), all);
        assert_eq!(page(299, None, 9), all[..1]);
        assert_eq!(page(u64::MAX, Some(all[0]), 1), all[1..2]);
        assert_eq!(page(300, Some(all[1]), 9), all[2..]);
        assert_eq!(page(300, Some(all[2]), 9), []);
        assert_eq!(page(50, Some(all[2]), 9), []);
        // A second failure moves the row; success takes it away.
        let again = [retry(2, 1, 2, 900), done(key(S1, 1), 1)];
        subject.store.commit(&again).unwrap();
        let rest = subject.store.waiting(Timestamp(u64::MAX), None, 9).unwrap();
        assert_eq!(rest, [all[2], (Timestamp(900), key(S1, 2))]);
        let row = pending_row(&subject, key(S1, 2));
        assert_eq!(row.due_at, Some(Timestamp(900)));
        assert_eq!(
            (row.attempts_made, row.fence, row.attempts.len()),
            (2, 2, 2)
        );
        let dead = SettleEnd::Dead {
            reason: DeadReason::AttemptsExhausted,
            published: None,
        };
        subject.one(settle(key(S1, 2), 2, 3, dead));
        let rest = subject.store.waiting(Timestamp(u64::MAX), None, 9).unwrap();
        assert_eq!(rest, [all[2]]);
    }
}

#[test]
fn a_dead_letter_and_what_is_published_of_it_are_one_step() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a"], &[S1], NOW));
        let die = |hops| {
            let published = Box::new((SIDE, emitted("dead", key(S1, 1), hops, &[S3])));
            let end = SettleEnd::Dead {
                reason: DeadReason::Rejected,
                published: Some(published),
            };
            settle(key(S1, 1), 0, 1, end)
        };
        // Too long a chain: neither of the two takes place.
        let refused = StepOutcome::Refused(DeadReason::HopLimit);
        assert_eq!(subject.one(die(17)), refused);
        assert_eq!(subject.store.events(SIDE, Position(0), 9).unwrap(), []);
        assert_eq!(subject.store.dead_letters(S1, None, 9).unwrap(), []);
        assert_eq!(pending_row(&subject, key(S1, 1)).attempts_made, 0);
        let place = Appended {
            position: Position(1),
            duplicate: false,
        };
        let settled = StepOutcome::Settled(vec![(SIDE, place)]);
        assert_eq!(subject.one(die(1)), settled);
        subject.reopen();
        let log = subject.store.events(SIDE, Position(0), 9).unwrap();
        assert_eq!(log.len(), 1);
        assert_eq!(log[0].lineage.parent, Some(key(S1, 1)));
        assert_eq!(log[0].subscriptions, [S3]);
        assert_eq!(subject.store.dead_letters(S1, None, 9).unwrap().len(), 1);
        assert_eq!(subject.store.deliveries(S3, None, 9).unwrap().len(), 1);
        // A second settlement of the same attempt publishes nothing more.
        assert_eq!(subject.one(die(1)), StepOutcome::Stale);
        assert_eq!(subject.store.events(SIDE, Position(0), 9).unwrap().len(), 1);
    }
}

#[test]
fn a_dead_letter_has_its_own_copy_of_the_event() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a"], &[S1], NOW));
        let reason = DeadReason::Rejected;
        let outcome = subject.one(settle(
            key(S1, 1),
            0,
            1,
            SettleEnd::Dead {
                reason,
                published: None,
            },
        ));
        assert_eq!(outcome, StepOutcome::Settled(vec![]));
        subject.reopen();
        assert!(subject.store.deliveries(S1, None, 9).unwrap().is_empty());
        let letters = subject.store.dead_letters(S1, None, 9).unwrap();
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].reason, reason);
        assert_eq!(*letters[0].event, event("a"));
        assert_eq!(letters[0].died_at, NOW.plus_ms(5));
        assert_eq!(letters[0].delivery.attempts.len(), 1);
        let state = subject.store.delivery(key(S1, 1)).unwrap();
        assert_eq!(state, Some(DeliveryState::Dead(letters[0].clone())));
    }
}

#[test]
fn every_outcome_comes_back_from_the_history() {
    use edgebus_model::TimeoutKind;
    let message = || "why".to_owned();
    let outcomes = [
        Outcome::Retry {
            after_ms: Some(7),
            message: message(),
        },
        Outcome::Retry {
            after_ms: None,
            message: message(),
        },
        Outcome::Reject { message: message() },
        Outcome::Trap { message: message() },
        Outcome::Timeout {
            kind: TimeoutKind::Cpu,
            limit_ms: 3,
        },
        Outcome::Timeout {
            kind: TimeoutKind::Wall,
            limit_ms: 4,
        },
        Outcome::Memory { limit_bytes: 9 },
        Outcome::Limit { message: message() },
        Outcome::Conflict,
        Outcome::Host { message: message() },
    ];
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a"], &[S1], NOW));
        for (fence, outcome) in (0..).zip(&outcomes) {
            subject.one(Step::Settle(Box::new(Settle {
                key: key(S1, 1),
                fence,
                attempt: attempt(fence + 1, outcome.clone()),
                spared: matches!(outcome, Outcome::Host { .. }),
                seen: Seen::default(),
                end: SettleEnd::Retry { due_at: NOW },
                now: NOW,
            })));
        }
        subject.reopen();
        let row = pending_row(&subject, key(S1, 1));
        assert_eq!(row.host_failures, 1);
        let kept: Vec<_> = row
            .attempts
            .into_iter()
            .map(|attempt| attempt.outcome)
            .collect();
        assert_eq!(kept, outcomes);
    }
}

#[test]
fn state_is_written_with_the_settlement_under_versions() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a", "b", "c", "d", "e"], &[S1], NOW));
        type Reads<'a> = &'a [(&'a str, u64)];
        type Writes<'a> = &'a [(&'a str, Option<&'a str>)];
        let end = |subject: &Subject, position, reads: Reads<'_>, writes: Writes<'_>| {
            let end = SettleEnd::Done(effects(writes));
            subject.one(settle_seen(key(S1, position), 0, 1, seen(reads), end))
        };
        let settled = StepOutcome::Settled(vec![]);
        let first = [("k", Some("1")), ("l", Some(""))];
        assert_eq!(end(&subject, 1, &[("k", 0)], &first), settled);
        let state =
            |subject: &Subject, key: &str| subject.store.state(&name("f"), key.as_bytes()).unwrap();
        let one = state(&subject, "k").unwrap();
        assert_eq!(&one.value[..], b"1");
        assert_eq!(&state(&subject, "l").unwrap().value[..], b"");
        assert_eq!(subject.store.state(&name("g"), b"k").unwrap(), None);

        let stale = end(&subject, 2, &[("k", 0)], &[("k", Some("x"))]);
        assert_eq!(stale, StepOutcome::Conflict);
        assert_eq!(state(&subject, "k"), Some(one.clone()));
        assert_eq!(
            pending_row(&subject, key(S1, 2)).fence,
            0,
            "nothing was written"
        );

        let delete = end(&subject, 2, &[("k", one.version)], &[("k", None)]);
        assert_eq!(delete, settled);
        assert_eq!(state(&subject, "k"), None);
        subject.reopen();
        assert_eq!(end(&subject, 3, &[("k", 0)], &[("k", Some("2"))]), settled);
        let two = state(&subject, "k").unwrap();
        assert!(two.version > one.version, "a version is never used twice");
        // Two settlements in one batch that read the same version: the second is a conflict.
        let add = |position, text| {
            let end = SettleEnd::Done(effects(&[("k", Some(text))]));
            let seen = seen(&[("k", two.version)]);
            settle_seen(key(S1, position), 0, 1, seen, end)
        };
        let steps = [add(4, "3"), add(5, "4")];
        let outcomes = subject.store.commit(&steps).unwrap();
        assert_eq!(outcomes, [settled, StepOutcome::Conflict]);
        assert_eq!(&state(&subject, "k").unwrap().value[..], b"3");
    }
}

fn listing(prefix: &str, after: Option<&str>, until: Option<&str>, keys: &[&str]) -> Seen {
    let mut digest = ListedKeys::default();
    keys.iter().for_each(|key| digest.add(key.as_bytes()));
    let edge = |key: &str| key.as_bytes().to_vec();
    let listing = Listing {
        prefix: edge(prefix),
        after: after.map(edge),
        until: until.map(edge),
        count: keys.len(),
        keys: digest.digest(),
    };
    Seen {
        listings: vec![listing],
        ..seen(&[])
    }
}

fn ends() -> [SettleEnd; 3] {
    let reason = DeadReason::Rejected;
    [
        SettleEnd::Done(Effects::default()),
        SettleEnd::Retry { due_at: NOW },
        SettleEnd::Dead {
            reason,
            published: None,
        },
    ]
}

#[test]
fn no_end_counts_that_rests_on_a_state_that_has_changed() {
    for subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a", "b", "c", "d"], &[S1], NOW));
        let write = SettleEnd::Done(effects(&[("k", Some("1"))]));
        subject.one(settle(key(S1, 1), 0, 1, write));
        let version = subject
            .store
            .state(&name("f"), b"k")
            .unwrap()
            .unwrap()
            .version;
        for (position, end) in (2..).zip(ends()) {
            let outcome = |version| {
                let seen = seen(&[("k", version)]);
                subject.one(settle_seen(key(S1, position), 0, 1, seen, end.clone()))
            };
            assert_eq!(outcome(0), StepOutcome::Conflict);
            assert_eq!(pending_row(&subject, key(S1, position)).fence, 0);
            assert_eq!(outcome(version), StepOutcome::Settled(vec![]));
        }
    }
}

#[test]
fn a_listing_holds_as_long_as_its_keys_are_the_same() {
    for subject in Subject::all().map(Subject::with_rules) {
        let ids: Vec<_> = (1..=38).map(|id| id.to_string()).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        subject.one(append(&ids, &[S1], NOW));
        let mut position = 0;
        let mut end = |seen: Seen, end: SettleEnd| {
            position += 1;
            subject.one(settle_seen(key(S1, position), 0, 1, seen, end))
        };
        let write = |writes: &[(&str, Option<&str>)]| SettleEnd::Done(effects(writes));
        let settled = StepOutcome::Settled(vec![]);
        let of_g = Seen {
            function: Some(name("g")),
            ..Seen::default()
        };
        let all = ["a/1", "a/2", "a/3"].map(|key| (key, Some("v")));
        assert_eq!(end(seen(&[]), write(&all)), settled);
        let whole = || listing("a/", None, None, &["a/1", "a/2", "a/3"]);
        // A key's value, other keys, and other functions' keys are no part of it.
        let other = [("a/2", Some("w")), ("a", Some("v")), ("b", Some("v"))];
        assert_eq!(end(seen(&[]), write(&other)), settled);
        assert_eq!(end(of_g, write(&[("a/4", Some("v"))])), settled);
        for each in ends() {
            assert_eq!(end(whole(), each), settled);
        }
        // Ranges: `after` is outside, `until` inside; neither needs to be there.
        for (after, until, keys) in [
            (Some("a/1"), None, &["a/2", "a/3"][..]),
            (Some("a/1"), Some("a/2"), &["a/2"]),
            (Some("a/0"), Some("a/25"), &["a/1", "a/2"]),
            (Some("a/9"), None, &[]),
            (Some("b"), None, &[]),
            (Some("Z"), Some("a/1"), &["a/1"]),
            (None, Some("a/"), &[]),
            (None, Some("Z"), &[]),
        ] {
            let end = end(listing("a/", after, until, keys), ends()[0].clone());
            assert_eq!(end, settled, "{after:?} {until:?}");
        }
        // One more, or one less, in the range.
        assert_eq!(end(seen(&[]), write(&[("a/15", Some("v"))])), settled);
        for each in ends() {
            assert_eq!(end(whole(), each), StepOutcome::Conflict);
        }
        let behind = listing("a/", Some("a/15"), None, &["a/2", "a/3"]);
        assert_eq!(end(behind, ends()[0].clone()), settled);
        let gone = [("a/15", None), ("a/3", None)];
        assert_eq!(end(seen(&[]), write(&gone)), settled);
        assert_eq!(end(whole(), ends()[0].clone()), StepOutcome::Conflict);
    }
}

/// Lets two attempts that list no lease take one each, in one batch; how many of them may.
pub(crate) fn two_leaders(store: &dyn Store) -> usize {
    store.commit(&[append(&["a", "b"], &[S1], NOW)]).unwrap();
    let lead = |position, lease| {
        let end = SettleEnd::Done(effects(&[(lease, Some("me"))]));
        let nobody = listing("lease/", None, None, &[]);
        settle_seen(key(S1, position), 0, 1, nobody, end)
    };
    let steps = [lead(1, "lease/1"), lead(2, "lease/2")];
    store.commit(&steps).unwrap();
    let leases = store.state_keys(&name("f"), b"lease/", None, 9);
    leases.unwrap().len()
}

#[test]
fn of_two_that_list_no_leader_one_becomes_it() {
    for subject in Subject::all().map(Subject::with_rules) {
        assert_eq!(two_leaders(&*subject.store), 1);
    }
}

#[test]
fn a_view_of_the_state_stays_as_it_is() {
    for subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a", "b"], &[S1], NOW));
        let write = |writes: &[(&str, Option<&str>)]| SettleEnd::Done(effects(writes));
        subject.one(settle(key(S1, 1), 0, 1, write(&[("k", Some("1"))])));
        let view = subject.store.state_view().unwrap();
        let changes = [("k", Some("2")), ("l", Some("2"))];
        subject.one(settle(key(S1, 2), 0, 1, write(&changes)));
        assert_eq!(
            &view.get(&name("f"), b"k").unwrap().unwrap().value[..],
            b"1"
        );
        assert_eq!(view.get(&name("f"), b"l").unwrap(), None);
        assert_eq!(view.keys(&name("f"), b"", None, 9).unwrap(), [b"k"]);
        let later = subject.store.state_view().unwrap();
        assert!(later.version().unwrap() > view.version().unwrap());
    }
}

#[test]
fn state_keys_come_in_pages_by_prefix() {
    for subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a"], &[S1], NOW));
        let long = "x".repeat(512);
        let keys = ["a", "ab", "ac", "b", "", long.as_str(), "ab\u{7f}"];
        let writes: Vec<_> = keys.iter().map(|key| (*key, Some("v"))).collect();
        let end = SettleEnd::Done(effects(&writes));
        subject.one(settle(key(S1, 1), 0, 1, end));
        let page = |prefix: &[u8], after: Option<&[u8]>, limit| -> Vec<String> {
            let keys = subject.store.state_keys(&name("f"), prefix, after, limit);
            let keys = keys.unwrap().into_iter();
            keys.map(|key| String::from_utf8(key).unwrap()).collect()
        };
        assert_eq!(page(b"a", None, 9), ["a", "ab", "ab\u{7f}", "ac"]);
        assert_eq!(page(b"a", Some(b"ab"), 1), ["ab\u{7f}"]);
        assert_eq!(page(b"ab", Some(b"a"), 9), ["ab", "ab\u{7f}"]);
        assert_eq!(page(b"a", Some(b"b"), 9), [""; 0]);
        assert_eq!(page(b"", None, 9).len(), keys.len());
        assert_eq!(page(b"", Some(b""), 2), ["a", "ab"]);
        assert_eq!(page(b"\xff", None, 9), [""; 0]);
        let other = subject.store.state_keys(&name("e"), b"", None, 9).unwrap();
        assert!(other.is_empty());
    }
}

#[test]
fn emitted_events_join_the_log_with_their_deliveries() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a", "b"], &[S1], NOW));
        let from = key(S1, 1);
        let emits = vec![
            (BUS, emitted("x", from, 1, &[S2])),
            (SIDE, emitted("x", from, 1, &[S3])),
            (BUS, emitted("b", from, 1, &[S2])), // a duplicate of the published one
            (BUS, emitted("x", from, 1, &[S2])), // and of the first of these
        ];
        let end = SettleEnd::Done(Effects {
            emits: emits.clone(),
            ..Effects::default()
        });
        let expected = [(3, false), (1, false), (2, true), (3, true)];
        let buses = [BUS, SIDE, BUS, BUS];
        let expected = buses.into_iter().zip(places(&expected)).collect();
        let outcome = subject.one(settle(from, 0, 1, end));
        assert_eq!(outcome, StepOutcome::Settled(expected));
        subject.reopen();
        let row = subject.store.event(BUS, Position(3)).unwrap().unwrap();
        assert_eq!(row.lineage, emits[0].1.lineage);
        assert_eq!(row.accepted_at, NOW.plus_ms(5));
        assert_eq!(subject.store.deliveries(S2, None, 9).unwrap().len(), 1);
        assert_eq!(subject.store.deliveries(S3, None, 9).unwrap().len(), 1);
        assert_eq!(subject.store.settled(S1, None, 9).unwrap()[0].emitted, 4);
    }
}

#[test]
fn a_chain_is_stopped_at_its_limits_with_nothing_written() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a", "b"], &[S1, S2], NOW));
        let from = key(S1, 1);
        let end = |emits: Vec<NewEvent>| {
            SettleEnd::Done(Effects {
                emits: emits.into_iter().map(|new| (BUS, new)).collect(),
                version: 0,
                writes: vec![(b"k".to_vec(), Some(Bytes::from_static(b"v")))],
            })
        };
        let far = vec![emitted("h", from, 17, &[])];
        let outcome = subject.one(settle(from, 0, 1, end(far)));
        assert_eq!(outcome, StepOutcome::Refused(DeadReason::HopLimit));

        let max = Lineage::DESCENDANTS_MAX as usize;
        let many = |from, count: usize, prefix: &str| -> Vec<NewEvent> {
            let ids = (0..count).map(|index| format!("{prefix}{index}"));
            ids.map(|id| emitted(&id, from, 16, &[])).collect()
        };
        let outcome = subject.one(settle(from, 0, 1, end(many(from, max + 1, "m"))));
        assert_eq!(outcome, StepOutcome::Refused(DeadReason::FanOutLimit));
        assert_eq!(subject.store.state(&name("f"), b"k").unwrap(), None);
        assert_eq!(subject.store.events(BUS, Position(0), 9).unwrap().len(), 2);
        assert_eq!(pending_row(&subject, from).fence, 0);

        // The count is durable and over all deliveries of the root; duplicates don't count.
        let mut most = many(from, max - 1, "n");
        most.push(most[0].clone());
        let outcome = subject.one(settle(from, 0, 1, end(most)));
        assert!(matches!(outcome, StepOutcome::Settled(_)), "{outcome:?}");
        subject.reopen();
        let sibling = key(S2, 1);
        let outcome = subject.one(settle(sibling, 0, 1, end(many(sibling, 2, "o"))));
        assert_eq!(outcome, StepOutcome::Refused(DeadReason::FanOutLimit));
        let outcome = subject.one(settle(sibling, 0, 1, end(many(sibling, 1, "o"))));
        assert!(matches!(outcome, StepOutcome::Settled(_)), "{outcome:?}");
        let other = key(S1, 2);
        let outcome = subject.one(settle(other, 0, 1, end(many(other, 2, "p"))));
        assert!(
            matches!(outcome, StepOutcome::Settled(_)),
            "another root: {outcome:?}"
        );
    }
}
