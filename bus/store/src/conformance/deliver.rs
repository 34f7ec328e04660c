//! What replays and seeks do: events that are delivered again under a job's number, and live deliveries that are
//! skipped.

use super::jobs::{is_whole, start};
use super::*;
use edgebus_model::{
    DiscardReason, Discarded, Job, JobId, JobPlace, JobSpec, ReplayPurpose, ReplaySpec, SkipReason,
    SkipSpec, Skipped,
};

/// The key of a replay's delivery.
fn replayed(subscription: SubscriptionId, replay: u32, position: u64) -> DeliveryKey {
    DeliveryKey {
        replay,
        ..key(subscription, position)
    }
}

pub(super) fn replay() -> JobSpec {
    JobSpec::Replay(ReplaySpec {
        name: Some(name("repair")),
        purpose: ReplayPurpose::Seek,
        bus: BUS,
        first: Position(1),
        last: Position(9),
        subscriptions: vec![S1, S2],
        kind: Some("t".into()),
        pattern: Some("{}".into()),
        as_matched: true,
    })
}

pub(super) fn skip() -> JobSpec {
    JobSpec::Skip(SkipSpec::Live {
        subscription: S1,
        before: Position(9),
    })
}

/// Goes on with a job where it is.
fn advance(subject: &Subject, job: u32, effects: Vec<JobEffect>) -> Advanced {
    let from = subject.store.job(JobId(job)).unwrap().unwrap().place;
    let looked = effects.len() as u64;
    let outcome = subject.one(Step::Advance(Box::new(Advance {
        job: JobId(job),
        from,
        to: JobPlace::Event(EventRef {
            bus: BUS,
            position: Position(9),
        }),
        looked,
        skipped: Skipped::default(),
        effects,
        shadow: None,
        end: None,
        now: NOW.plus_ms(50),
    })));
    match outcome {
        StepOutcome::Advanced(advanced) => *advanced,
        other => panic!("not advanced: {other:?}"),
    }
}

/// Delivers these again, and says which were made and which were not.
fn deliver(
    subject: &Subject,
    job: u32,
    wanted: &[(SubscriptionId, u64)],
) -> (Vec<DeliveryKey>, Vec<(SkipReason, u64)>) {
    let before: Vec<_> = skips(&subject.store.job(JobId(job)).unwrap().unwrap());
    let effects = wanted.iter().map(|(subscription, position)| {
        let (subscription, position) = (*subscription, Position(*position));
        JobEffect::Deliver {
            subscription,
            position,
        }
    });
    let done = advance(subject, job, effects.collect());
    assert!(
        done.pending
            .iter()
            .all(|(due, key)| *due == NOW.plus_ms(50) && key.replay == job)
    );
    let mut after = skips(&done.job);
    after.retain(|row| !before.contains(row));
    (done.pending.iter().map(|(_, key)| *key).collect(), after)
}

fn skips(job: &Job) -> Vec<(SkipReason, u64)> {
    job.progress.skipped.iter().collect()
}

fn with_jobs(subject: Subject, count: usize) -> Subject {
    let subject = subject.with_rules();
    for _ in 0..count {
        subject.one(start(replay()));
    }
    subject
}

#[test]
fn an_event_is_delivered_again_once_for_each_replay() {
    for mut subject in Subject::all().map(|subject| with_jobs(subject, 2)) {
        subject.one(append(&["a", "b"], &[S1], NOW));
        subject.one(done(key(S1, 1), 0));
        let (first, second) = (replayed(S1, 1, 1), replayed(S1, 2, 1));
        // Also to a subscription that did not get it then, and twice in one step.
        let other = replayed(S2, 1, 2);
        let (made, skipped) = deliver(&subject, 1, &[(S1, 1), (S2, 2), (S1, 1)]);
        assert_eq!(made, [first, other]);
        assert_eq!(skipped, [(SkipReason::Gone, 1)]);
        assert_eq!(deliver(&subject, 1, &[(S1, 1)]).0, []);
        assert_eq!(deliver(&subject, 2, &[(S1, 1)]).0, [second]);
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
        // Once it has ended, in whatever way, it is not made again, and its job knows how it ended.
        subject.one(done(first, 0));
        let dead = SettleEnd::Dead {
            reason: DeadReason::AttemptsExhausted,
            published: None,
        };
        subject.one(settle(second, 0, 1, dead));
        assert_eq!(deliver(&subject, 1, &[(S1, 1)]).0, []);
        assert_eq!(deliver(&subject, 2, &[(S1, 1)]).0, []);
        let results = |id| subject.store.job(JobId(id)).unwrap().unwrap().results;
        assert_eq!((results(1).succeeded, results(1).died), (1, 0));
        assert_eq!((results(2).succeeded, results(2).died), (0, 1));
        let settled = subject.store.settled(S1, None, 9).unwrap();
        let keys: Vec<_> = settled.iter().map(|row| row.delivery.key).collect();
        assert_eq!(keys, [key(S1, 1), first]);
        is_whole(&subject);
    }
}

#[test]
fn nothing_is_delivered_without_event_or_subscription() {
    for subject in Subject::all().map(|subject| with_jobs(subject, 1)) {
        subject.one(append(&["a"], &[], NOW));
        // An event that is not there, another bus's, and no subscription.
        let wanted = [(S1, 2), (S1, 0), (S3, 1), (SubscriptionId(99), 1)];
        let (made, skipped) = deliver(&subject, 1, &wanted);
        assert_eq!(made, []);
        let expected = [(SkipReason::Gone, 3), (SkipReason::SubscriptionEnded, 1)];
        assert_eq!(skipped, expected);
        // One that left the manifest.
        let gone = manifest(&["side"], &["f", "g"], vec![rule("r2", "default", &["g"])]);
        subject.one(Step::ApplyManifest(Box::new(gone)));
        let (made, _) = deliver(&subject, 1, &[(S1, 1), (S2, 1)]);
        assert_eq!(made, [replayed(S2, 1, 1)]);
    }
}

#[test]
fn a_replayed_delivery_lives_as_a_live_one() {
    for mut subject in Subject::all().map(|subject| with_jobs(subject, 3)) {
        subject.one(append(&["a"], &[S1], NOW));
        let own = replayed(S1, 3, 1);
        deliver(&subject, 3, &[(S1, 1)]);
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
        let effects = Effects {
            emits: vec![(BUS, emitted("z", own, 1, &[S2]))],
            ..Effects::default()
        };
        let outcome = subject.one(settle(own, 2, 2, SettleEnd::Done(effects)));
        assert_eq!(
            outcome,
            StepOutcome::Settled(vec![(BUS, places(&[(2, false)])[0])])
        );
        let stored = subject.store.event(BUS, Position(2)).unwrap().unwrap();
        assert_eq!(stored.lineage.parent, Some(own));
        assert_eq!(subject.store.counts(S1).unwrap().waiting, 0);
        assert_eq!(subject.store.counts(S1).unwrap().pending, 1);
        is_whole(&subject);
    }
}

/// What a replay has pending ends for it, too, when a later job skips it.
#[test]
fn a_replay_is_told_of_what_was_skipped() {
    for mut subject in Subject::all().map(|subject| with_jobs(subject, 1)) {
        subject.one(start(skip()));
        subject.one(append(&["a", "b", "c"], &[S1], NOW));
        deliver(&subject, 1, &[(S1, 1), (S1, 2), (S1, 3)]);
        subject.one(done(replayed(S1, 1, 2), 0));
        let effects = [1, 2].map(|position| JobEffect::Skip {
            key: replayed(S1, 1, position),
        });
        let skipped = advance(&subject, 2, effects.to_vec());
        assert_eq!(skipped.ended, [replayed(S1, 1, 1)]);
        subject.reopen();
        let job = subject.store.job(JobId(1)).unwrap().unwrap();
        let results = job.results;
        assert_eq!((results.succeeded, results.discarded), (1, 1));
        assert_eq!(job.progress.done - results.ended(), 1);
        is_whole(&subject);
    }
}

/// What retention has taken is told apart from what never was there.
#[test]
fn an_event_that_was_removed_is_not_delivered() {
    for subject in Subject::all().map(|subject| with_jobs(subject, 1)) {
        subject.one(append(&["a", "b"], &[], NOW));
        let trim = Trim {
            bus: BUS,
            accepted_before: NOW.plus_ms(1),
            bytes_max: u64::MAX,
            events_max: 1,
            expected: None,
            now: NOW,
        };
        subject.one(Step::Trim(trim));
        let (made, skipped) = deliver(&subject, 1, &[(S1, 1), (S1, 2), (S1, 3)]);
        assert_eq!(made, [replayed(S1, 1, 2)]);
        let expected = [(SkipReason::Gone, 1), (SkipReason::Removed, 1)];
        assert_eq!(skipped, expected);
    }
}

/// A delivery that is skipped ends without effect, whatever runs; one that was settled before counts.
#[test]
fn a_delivery_is_skipped_or_settled_and_never_both() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(start(skip()));
        subject.one(append(&["a", "b", "c"], &[S1], NOW));
        // One waits for a retry, one runs, one has ended.
        let due_at = NOW.plus_ms(900);
        subject.one(settle(key(S1, 1), 0, 1, SettleEnd::Retry { due_at }));
        subject.one(Step::Claim {
            key: key(S1, 2),
            fence: 0,
            now: NOW,
        });
        subject.one(done(key(S1, 3), 0));
        let effects = (1..=4).map(|position| JobEffect::Skip {
            key: key(S1, position),
        });
        let done_so_far = advance(&subject, 1, effects.collect());
        assert_eq!(done_so_far.ended, [key(S1, 1), key(S1, 2)]);
        assert_eq!(done_so_far.job.progress.done, 2);
        assert_eq!(skips(&done_so_far.job), [(SkipReason::Gone, 2)]);
        assert_eq!(subject.one(done(key(S1, 2), 1)), StepOutcome::Stale);
        assert_eq!(subject.one(done(key(S1, 1), 1)), StepOutcome::Stale);
        subject.reopen();
        let rows = subject.store.settled(S1, None, 9).unwrap();
        let discarded = Some(Discarded {
            job: JobId(1),
            reason: DiscardReason::Skipped,
        });
        let seen: Vec<_> = rows
            .iter()
            .map(|row| (row.delivery.attempts.len(), row.discarded))
            .collect();
        assert_eq!(seen, [(1, discarded), (0, discarded), (1, None)]);
        assert_eq!(subject.store.counts(S1).unwrap(), Counts::default());
        let waiting = subject.store.waiting(Timestamp(u64::MAX), None, 9).unwrap();
        assert_eq!(waiting, []);
        let running = subject.store.running_page(None, Page::forward(9, 999));
        assert!(running.unwrap().rows.is_empty());
        is_whole(&subject);
    }
}
