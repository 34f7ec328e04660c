//! Events that are delivered again, under a replay's number.

use super::*;

/// The key of a replay's delivery.
fn replayed(subscription: SubscriptionId, replay: u32, position: u64) -> DeliveryKey {
    DeliveryKey {
        replay,
        ..key(subscription, position)
    }
}

fn deliver(keys: &[DeliveryKey]) -> Step {
    Step::Deliver {
        keys: keys.to_vec(),
        now: NOW.plus_ms(50),
    }
}

fn made(keys: &[DeliveryKey]) -> StepOutcome {
    StepOutcome::Delivered(keys.to_vec())
}

#[test]
fn an_event_is_delivered_again_once_for_each_replay() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a", "b"], &[S1], NOW));
        subject.one(done(key(S1, 1), 0));
        let (first, second) = (replayed(S1, 7, 1), replayed(S1, 8, 1));
        // Also to a subscription that did not get it then, and twice in one step.
        let other = replayed(S2, 7, 2);
        let outcome = subject.one(deliver(&[first, other, first]));
        assert_eq!(outcome, made(&[first, other]));
        assert_eq!(subject.one(deliver(&[first])), made(&[]));
        assert_eq!(subject.one(deliver(&[second])), made(&[second]));
        subject.reopen();
        // It is due at once, and its age counts from when it was made.
        let expected = Pending {
            due_at: Some(NOW.plus_ms(50)),
            ..Pending::new(first, NOW.plus_ms(50))
        };
        assert_eq!(subject.store.pending(first).unwrap(), Some(expected));
        let waiting = subject.store.waiting(Timestamp(u64::MAX), None, 9).unwrap();
        let keys: Vec<_> = waiting.iter().map(|(_, key)| *key).collect();
        assert_eq!(keys, [first, second, other]);
        let counts = subject.store.counts(S1).unwrap();
        assert_eq!((counts.pending, counts.waiting), (1, 2));
        // The live delivery that is pending stands before those of replays.
        let rows = subject.store.deliveries(S1, None, 9).unwrap();
        let keys: Vec<_> = rows.iter().map(|row| row.key).collect();
        assert_eq!(keys, [key(S1, 2), first, second]);
        // Once it has ended, in whatever way, it is not made again.
        subject.one(done(first, 0));
        let dead = SettleEnd::Dead {
            reason: DeadReason::AttemptsExhausted,
        };
        subject.one(settle(second, 0, 1, dead));
        assert_eq!(subject.one(deliver(&[first, second])), made(&[]));
        let settled = subject.store.settled(S1, None, 9).unwrap();
        let keys: Vec<_> = settled.iter().map(|row| row.delivery.key).collect();
        assert_eq!(keys, [key(S1, 1), first]);
        let mut corruption = Vec::new();
        subject
            .store
            .verify(&mut |line| corruption.push(line))
            .unwrap();
        assert_eq!(corruption, Vec::<String>::new());
    }
}

#[test]
fn nothing_is_delivered_without_event_or_subscription() {
    for subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a"], &[], NOW));
        let keys = [
            // A live delivery, an event that is not there, another bus's event, no subscription.
            key(S1, 1),
            replayed(S1, 1, 2),
            replayed(S1, 1, 0),
            replayed(S3, 1, 1),
            replayed(SubscriptionId(99), 1, 1),
        ];
        assert_eq!(subject.one(deliver(&keys)), made(&[]));
        // One that left the manifest.
        let gone = manifest(&["side"], &["f", "g"], vec![rule("r2", "default", &["g"])]);
        subject.one(Step::ApplyManifest(Box::new(gone)));
        let outcome = subject.one(deliver(&[replayed(S1, 1, 1), replayed(S2, 1, 1)]));
        assert_eq!(outcome, made(&[replayed(S2, 1, 1)]));
    }
}

#[test]
fn a_replayed_delivery_lives_as_a_live_one() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a"], &[S1], NOW));
        let own = replayed(S1, 3, 1);
        subject.one(deliver(&[own]));
        let due_at = NOW.plus_ms(900);
        let retry = settle(own, 0, 1, SettleEnd::Retry { due_at });
        assert_eq!(subject.one(retry), StepOutcome::Settled(vec![]));
        subject.reopen();
        let waiting = subject.store.waiting(Timestamp(u64::MAX), None, 9).unwrap();
        assert_eq!(waiting, [(due_at, own)]);
        let claim = Step::Claim {
            key: own,
            fence: 1,
            now: NOW,
        };
        assert!(matches!(subject.one(claim), StepOutcome::Claimed(_)));
        assert_eq!(subject.one(done(own, 1)), StepOutcome::Stale);
        let mut effects = Effects::default();
        effects.emits = vec![(BUS, emitted("z", own, 1, &[S2]))];
        let outcome = subject.one(settle(own, 2, 2, SettleEnd::Done(effects)));
        assert_eq!(
            outcome,
            StepOutcome::Settled(vec![(BUS, places(&[(2, false)])[0])])
        );
        let stored = subject.store.event(BUS, Position(2)).unwrap().unwrap();
        assert_eq!(stored.lineage.parent, Some(own));
        assert_eq!(subject.store.counts(S1).unwrap().waiting, 0);
        assert_eq!(subject.store.counts(S1).unwrap().pending, 1);
    }
}
