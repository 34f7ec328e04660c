//! What an erasure writes: the mark in place of an event's data, and of what its deliveries said.

use super::jobs::{is_whole, start};
use super::*;
use edgebus_model::{
    DiscardReason, EraseSpec, Erased, ErasedCounts, Job, JobId, JobPlace, JobSpec, JobState,
    SkipReason, Skipped,
};

/// When the steps of the jobs here take place.
const LATER: Timestamp = Timestamp(NOW.0 + 50);

pub(super) fn erase() -> JobSpec {
    JobSpec::Erase(EraseSpec {
        bus: BUS,
        first: Position(1),
        last: Position(9),
        subject: Some("alice".into()),
        pattern: Some("{}".into()),
    })
}

/// What stands where something was that job 1 erased.
fn mark() -> Erased {
    Erased {
        job: JobId(1),
        at: LATER,
    }
}

/// An event about somebody.
fn about_alice(id: &str, to: &[SubscriptionId]) -> NewEvent {
    let mut new = new_event(id, to);
    let event = Event {
        subject: Some("alice".into()),
        time: Some("2026-11-21T06:30:16Z".into()),
        data_schema: Some("/alice".into()),
        extensions: vec![("who".into(), Attribute::Text("alice".into()))],
        ..event(id)
    };
    new.event = Arc::new(event);
    new
}

/// A store with a job that erases, and events about somebody.
fn with_events(subject: Subject, ids: &[&str], to: &[SubscriptionId]) -> Subject {
    let subject = subject.with_rules();
    subject.one(Step::Append(Append {
        bus: BUS,
        events: ids.iter().map(|id| about_alice(id, to)).collect(),
        now: NOW,
    }));
    subject.one(start(erase()));
    subject
}

fn event_at(position: u64) -> JobEffect {
    JobEffect::EraseEvent {
        at: EventRef {
            bus: BUS,
            position: Position(position),
        },
    }
}

fn job(subject: &Subject) -> Job {
    subject.store.job(JobId(1)).unwrap().unwrap()
}

/// Goes on with the job where it is.
fn advance(subject: &Subject, effects: Vec<JobEffect>, end: Option<JobEnd>) -> Advanced {
    let outcome = subject.one(Step::Advance(Box::new(Advance {
        job: JobId(1),
        from: job(subject).place,
        to: JobPlace::Delivery(key(S1, 9)),
        looked: effects.len() as u64,
        skipped: Skipped::default(),
        effects,
        end,
        now: LATER,
        shadow: None,
    })));
    match outcome {
        StepOutcome::Advanced(advanced) => *advanced,
        other => panic!("not advanced: {other:?}"),
    }
}

fn skips(job: &Job) -> Vec<(SkipReason, u64)> {
    job.progress.skipped.iter().collect()
}

fn stored(subject: &Subject, position: u64) -> StoredEvent {
    let stored = subject.store.event(BUS, Position(position)).unwrap();
    stored.unwrap()
}

/// True if nothing that the store shows says who it was about.
fn is_forgotten(subject: &Subject) -> bool {
    let all = random::everything(&*subject.store);
    !all.iter().any(|line| line.contains("alice"))
}

#[test]
fn an_erased_event_keeps_its_place_and_little_else() {
    for mut subject in Subject::all().map(|own| with_events(own, &["a", "b"], &[])) {
        let before = (stored(&subject, 1), subject.store.bus_counts(BUS).unwrap());
        let done = advance(&subject, vec![event_at(1)], None);
        assert_eq!(done.job.progress.done, 1);
        let only = ErasedCounts {
            events: 1,
            ..ErasedCounts::default()
        };
        assert_eq!(done.job.progress.erased, only);
        for _ in 0..2 {
            let left = stored(&subject, 1);
            let expected = Event {
                subject: None,
                data_content_type: None,
                data_schema: None,
                extensions: Vec::new(),
                data: Data::Erased(mark()),
                ..(*before.0.event).clone()
            };
            assert_eq!(*left.event, expected);
            assert_eq!(left.event.erased(), Some(mark()));
            let same = StoredEvent {
                event: before.0.event.clone(),
                ..left
            };
            assert_eq!(same, before.0);
            let counts = subject.store.bus_counts(BUS).unwrap();
            assert_eq!(counts.events, 2);
            assert!(counts.bytes < before.1.bytes);
            subject.reopen();
        }
        // A second time there is nothing to do; nor where there never was an event.
        let done = advance(&subject, vec![event_at(1), event_at(7)], None);
        assert_eq!(
            skips(&done.job),
            [(SkipReason::Gone, 1), (SkipReason::Erased, 1)]
        );
        assert_eq!(done.job.progress.erased, only);
        advance(&subject, vec![event_at(2)], Some(JobEnd::Done));
        assert!(is_forgotten(&subject));
        is_whole(&subject);
    }
}

#[test]
fn an_erased_event_is_still_known_whatever_its_repeat_says() {
    for mut subject in Subject::all().map(|own| with_events(own, &["a"], &[])) {
        let mut other = about_alice("a", &[]);
        other.event = Arc::new(event("a"));
        let repeat = |new: &NewEvent| {
            Step::Append(Append {
                bus: BUS,
                events: vec![new.clone()],
                now: LATER,
            })
        };
        let refused = subject.one(repeat(&other));
        assert!(matches!(refused, StepOutcome::IdReused(_)), "{refused:?}");
        advance(&subject, vec![event_at(1)], None);
        for _ in 0..2 {
            for new in [&other, &about_alice("a", &[])] {
                assert_eq!(subject.one(repeat(new)), appended(&[(1, true)]));
            }
            subject.reopen();
        }
        // Also when retention has taken what was left of it.
        subject.one(Step::Trim(Trim {
            expected: None,
            bus: BUS,
            accepted_before: LATER,
            bytes_max: u64::MAX,
            events_max: 9,
            now: LATER,
        }));
        for _ in 0..2 {
            assert_eq!(subject.one(repeat(&other)), appended(&[(1, true)]));
            subject.reopen();
        }
        is_whole(&subject);
    }
}

#[test]
fn what_came_of_an_erased_event_is_erased_or_ends() {
    for mut subject in Subject::all().map(|own| with_events(own, &["a"], &[S1, S2])) {
        // One succeeds at its second attempt, one waits for a retry, and one of a replay has just been made.
        let retry = || SettleEnd::Retry { due_at: NOW };
        subject.one(settle(key(S1, 1), 0, 1, retry()));
        subject.one(settle(
            key(S1, 1),
            1,
            2,
            SettleEnd::Done(Effects::default()),
        ));
        subject.one(settle(key(S2, 1), 0, 1, retry()));
        subject.one(start(super::deliver::replay()));
        subject.one(Step::Advance(Box::new(Advance {
            job: JobId(2),
            from: JobPlace::Start,
            to: JobPlace::Delivery(key(S1, 1)),
            looked: 1,
            skipped: Skipped::default(),
            effects: vec![JobEffect::Deliver {
                subscription: S1,
                position: Position(1),
            }],
            end: None,
            now: NOW,
            shadow: None,
        })));
        let replayed = DeliveryKey {
            replay: 2,
            ..key(S1, 1)
        };
        subject.reopen();
        let done = advance(&subject, vec![event_at(1)], Some(JobEnd::Done));
        assert_eq!(done.ended, [key(S2, 1), replayed]);
        let counts = ErasedCounts {
            events: 1,
            dead_letters: 0,
            // Both of the success, and the one of what waited.
            attempts: 3,
            deliveries: 2,
        };
        assert_eq!(done.job.progress.erased, counts);
        subject.reopen();
        assert_eq!(job(&subject), done.job);
        for (key, attempts) in [(key(S1, 1), 2), (key(S2, 1), 1), (replayed, 0)] {
            let Some(DeliveryState::Succeeded(row)) = subject.store.delivery(key).unwrap() else {
                panic!("{key} has not ended");
            };
            let told = row.discarded.map(|own| (own.job, own.reason));
            let erased = Some((JobId(1), DiscardReason::Erased));
            assert_eq!(told, erased.filter(|_| attempts != 2), "{key}");
            assert_eq!(row.delivery.attempts.len(), attempts, "{key}");
            for attempt in row.delivery.attempts {
                assert_eq!(attempt.output, mark().words());
                assert!(!attempt.outcome.to_string().contains("unreachable"));
            }
        }
        for id in [S1, S2] {
            assert_eq!(subject.store.counts(id).unwrap(), Counts::default());
        }
        assert_eq!(subject.store.waiting(LATER, None, 9).unwrap(), []);
        // An attempt that ran meanwhile comes too late.
        assert_eq!(subject.one(done_again(key(S2, 1))), StepOutcome::Stale);
        // Nothing of it is delivered again.
        let again = subject.one(Step::Advance(Box::new(Advance {
            job: JobId(2),
            from: JobPlace::Delivery(key(S1, 1)),
            to: JobPlace::Delivery(key(S2, 1)),
            looked: 1,
            skipped: Skipped::default(),
            effects: vec![JobEffect::Deliver {
                subscription: S2,
                position: Position(1),
            }],
            end: None,
            now: LATER,
            shadow: None,
        })));
        let StepOutcome::Advanced(again) = again else {
            panic!("not advanced");
        };
        assert_eq!(skips(&again.job), [(SkipReason::Erased, 1)]);
        assert!(is_forgotten(&subject));
        is_whole(&subject);
    }
}

fn done_again(key: DeliveryKey) -> Step {
    done(key, 1)
}

#[test]
fn a_dead_letter_has_its_own_copy_and_does_not_come_back() {
    for mut subject in Subject::all().map(|own| with_events(own, &["a", "b"], &[S1])) {
        let dead = || SettleEnd::Dead {
            reason: DeadReason::Rejected,
            published: None,
        };
        for position in [1, 2] {
            let retry = SettleEnd::Retry { due_at: NOW };
            subject.one(settle(key(S1, position), 0, 1, retry));
            subject.one(settle(key(S1, position), 1, 2, dead()));
        }
        let letter = JobEffect::EraseLetter { key: key(S1, 1) };
        let redrive = |position| JobEffect::Redrive {
            key: key(S1, position),
            fence: 2,
        };
        // The event of one is erased, and of the other the copy: neither runs again.
        let done = advance(&subject, vec![letter, event_at(2)], None);
        assert_eq!(done.job.progress.done, 2);
        let counts = ErasedCounts {
            events: 1,
            dead_letters: 1,
            attempts: 2,
            deliveries: 0,
        };
        assert_eq!(done.job.progress.erased, counts);
        let effects = vec![letter, redrive(1), redrive(2)];
        let done = advance(&subject, effects, None);
        assert_eq!(skips(&done.job), [(SkipReason::Erased, 3)]);
        subject.reopen();
        let letters = subject.store.dead_letters(S1, None, 9).unwrap();
        let [first, second] = &letters[..] else {
            panic!("{letters:?}");
        };
        assert_eq!(first.event.erased(), Some(mark()));
        assert_eq!(first.event.id, "a");
        let said: Vec<_> = first
            .delivery
            .attempts
            .iter()
            .map(|own| &own.output)
            .collect();
        assert_eq!(said, [&mark().words(), &mark().words()]);
        assert_eq!(second.event.subject.as_deref(), Some("alice"));
        let effects = vec![event_at(1), JobEffect::EraseLetter { key: key(S1, 2) }];
        advance(&subject, effects, Some(JobEnd::Done));
        assert_eq!(subject.store.counts(S1).unwrap().dead, 2);
        assert!(is_forgotten(&subject));
        is_whole(&subject);
    }
}

#[test]
fn an_event_that_retention_has_passed_goes_with_its_last_delivery() {
    for subject in Subject::all().map(|own| with_events(own, &["a", "b"], &[S1])) {
        subject.one(Step::Trim(Trim {
            expected: None,
            bus: BUS,
            accepted_before: LATER,
            bytes_max: u64::MAX,
            events_max: 9,
            now: LATER,
        }));
        assert_eq!(subject.store.bus_counts(BUS).unwrap().events, 2);
        let done = advance(&subject, vec![event_at(1), event_at(2)], Some(JobEnd::Done));
        assert_eq!(done.ended, [key(S1, 1), key(S1, 2)]);
        let counts = subject.store.bus_counts(BUS).unwrap();
        assert_eq!((counts.events, counts.bytes), (0, 0));
        assert!(is_forgotten(&subject));
        is_whole(&subject);
    }
}

#[test]
fn an_erasure_forgets_whom_it_was_about_at_its_end() {
    let spec = |subject: &Subject| match job(subject).spec {
        JobSpec::Erase(spec) => spec,
        other => panic!("{other:?}"),
    };
    for subject in Subject::all().map(|own| with_events(own, &[], &[])) {
        let failed = JobEnd::Failed("no".into());
        advance(&subject, Vec::new(), Some(failed));
        // It may go on.
        assert_eq!(spec(&subject).subject.as_deref(), Some("alice"));
        let told = |control| {
            subject.one(Step::ControlJob {
                job: JobId(1),
                control,
                now: LATER,
            })
        };
        told(edgebus_model::JobControl::Resume);
        assert_eq!(job(&subject).state, JobState::Running);
        assert!(spec(&subject).pattern.is_some());
        told(edgebus_model::JobControl::Cancel);
        assert_eq!(
            (spec(&subject).subject, spec(&subject).pattern),
            (None, None)
        );
        assert!(is_forgotten(&subject));
    }
}
