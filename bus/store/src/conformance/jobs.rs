//! Jobs: their life, that an advance counts once, and what a redrive and a purge of dead letters write.

use super::*;
use edgebus_model::{
    DiscardReason, Discarded, Job, JobControl, JobId, JobPlace, JobResults, JobSpec, JobState,
    LetterSelection, Redriven, SkipReason, Skipped,
};

pub(super) fn start(spec: JobSpec) -> Step {
    Step::StartJob(Box::new(StartJob {
        spec,
        rate: None,
        of: 3,
        component: None,
        now: NOW,
    }))
}

fn all() -> LetterSelection {
    LetterSelection::default()
}

fn control(job: u32, control: JobControl) -> Step {
    Step::ControlJob {
        job: JobId(job),
        control,
        now: NOW.plus_ms(9),
    }
}

/// An advance of job 1 from its start to its end.
fn advance(effects: Vec<JobEffect>) -> Advance {
    Advance {
        job: JobId(1),
        from: JobPlace::Start,
        to: JobPlace::Delivery(key(S1, 9)),
        looked: effects.len() as u64,
        skipped: Skipped::default(),
        effects,
        shadow: None,
        end: None,
        now: NOW.plus_ms(70),
    }
}

fn step(advance: Advance) -> Step {
    Step::Advance(Box::new(advance))
}

fn job(subject: &Subject, id: u32) -> Job {
    subject.store.job(JobId(id)).unwrap().unwrap()
}

fn advanced(subject: &Subject, step: Advance) -> Advanced {
    match subject.one(Step::Advance(Box::new(step))) {
        StepOutcome::Advanced(advanced) => *advanced,
        other => panic!("not advanced: {other:?}"),
    }
}

fn skips(job: &Job) -> Vec<(SkipReason, u64)> {
    job.progress.skipped.iter().collect()
}

/// A store with a job of this kind and dead letters of `S1` at the positions from 1 on, so many.
fn with_letters(subject: Subject, count: u64, spec: JobSpec) -> Subject {
    let subject = subject.with_rules();
    let ids: Vec<String> = (1..=count).map(|id| id.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    subject.one(append(&ids, &[S1], NOW));
    for position in 1..=count {
        let retry = SettleEnd::Retry { due_at: NOW };
        subject.one(settle(key(S1, position), 0, 1, retry));
        let reason = DeadReason::Rejected;
        subject.one(settle(
            key(S1, position),
            1,
            2,
            SettleEnd::Dead {
                reason,
                published: None,
            },
        ));
    }
    subject.one(start(spec));
    subject
}

pub(super) fn is_whole(subject: &Subject) {
    let mut lines = Vec::new();
    subject.store.verify(&mut |line| lines.push(line)).unwrap();
    assert!(lines.is_empty(), "{lines:?}");
}

#[test]
fn a_job_is_kept_told_and_found() {
    for mut subject in Subject::all() {
        for id in 1..=3 {
            let StepOutcome::Job(made) = subject.one(start(JobSpec::Purge(all()))) else {
                panic!("not made");
            };
            assert_eq!((made.id, &made.state), (JobId(id), &JobState::Running));
        }
        subject.one(control(2, JobControl::Rate(Some(7))));
        let paused = subject.one(control(2, JobControl::Pause));
        subject.reopen();
        let second = job(&subject, 2);
        assert_eq!(paused, StepOutcome::Job(Box::new(second.clone())));
        assert_eq!((&second.state, second.rate), (&JobState::Paused, Some(7)));
        assert_eq!(
            (second.created_at, second.changed_at),
            (NOW, NOW.plus_ms(9))
        );
        subject.one(control(2, JobControl::Cancel));
        let resumed = subject.one(control(2, JobControl::Resume));
        assert_eq!(
            resumed,
            StepOutcome::Denied("job 2: it was cancelled".into())
        );
        let unknown = subject.one(control(4, JobControl::Pause));
        assert_eq!(unknown, StepOutcome::Stale);
        assert_eq!(subject.store.job(JobId(4)).unwrap(), None);
        let numbers = |from: Option<u32>, page| {
            let page = subject.store.jobs_page(from.map(JobId), page).unwrap();
            let ids: Vec<u32> = page.rows.iter().map(|job| job.id.0).collect();
            (ids, page.next.map(|next| next.0))
        };
        let forward = |rows| Page::forward(rows, usize::MAX);
        let backward = |rows| Page::backward(rows, usize::MAX);
        assert_eq!(numbers(None, forward(9)), (vec![1, 2, 3], None));
        assert_eq!(numbers(Some(1), forward(1)), (vec![2], Some(2)));
        assert_eq!(numbers(None, backward(2)), (vec![3, 2], Some(2)));
        assert_eq!(numbers(Some(2), backward(2)), (vec![1], None));
        assert_eq!(numbers(None, forward(0)), (vec![], None));
        is_whole(&subject);
    }
}

#[test]
fn few_are_made_at_once_and_those_that_ended_long_ago_go() {
    for mut subject in Subject::all() {
        let most = Job::UNENDED_MAX as u32;
        let starts: Vec<Step> = (0..=most).map(|_| start(JobSpec::Purge(all()))).collect();
        let outcomes = subject.store.commit(&starts).unwrap();
        assert!(matches!(outcomes.last(), Some(StepOutcome::Denied(_))));
        let failing = Advance {
            end: Some(JobEnd::Failed("no".into())),
            ..advance(Vec::new())
        };
        advanced(&subject, failing);
        assert!(matches!(
            subject.one(start(JobSpec::Purge(all()))),
            StepOutcome::Job(_)
        ));
        // The failed one finds no place again.
        let resumed = subject.one(control(1, JobControl::Resume));
        assert!(matches!(resumed, StepOutcome::Denied(_)), "{resumed:?}");
        let ends = (2..=most + 1).map(|id| control(id, JobControl::Cancel));
        subject.store.commit(&ends.collect::<Vec<_>>()).unwrap();
        let more = Job::ENDED_KEPT as u32 - most + 3;
        for id in most + 2..most + 2 + more {
            let steps = [
                start(JobSpec::Purge(all())),
                control(id, JobControl::Cancel),
            ];
            subject.store.commit(&steps).unwrap();
        }
        subject.reopen();
        let page = Page::forward(9_999, usize::MAX);
        let jobs = subject.store.jobs_page(None, page).unwrap().rows;
        assert_eq!(jobs.len(), Job::ENDED_KEPT);
        assert_eq!(jobs[0].id, JobId(5));
        let StepOutcome::Job(next) = subject.one(start(JobSpec::Purge(all()))) else {
            panic!("not made");
        };
        assert_eq!(next.id.0, most + 2 + more, "no number is given again");
    }
}

#[test]
fn an_advance_counts_once_and_only_while_the_job_runs() {
    for mut subject in Subject::all() {
        subject = with_letters(subject, 2, JobSpec::Redrive(all()));
        let redrive = |position| JobEffect::Redrive {
            key: key(S1, position),
            fence: 2,
        };
        let first = Advance {
            to: JobPlace::Delivery(key(S1, 1)),
            ..advance(vec![redrive(1)])
        };
        subject.one(control(1, JobControl::Pause));
        assert_eq!(subject.one(step(first.clone())), StepOutcome::Stale);
        subject.one(control(1, JobControl::Resume));
        let done = advanced(&subject, first.clone());
        assert_eq!(done.pending, [(NOW.plus_ms(70), key(S1, 1))]);
        assert_eq!(done.job, job(&subject, 1));
        let before = random::everything(&*subject.store);
        assert_eq!(subject.one(step(first)), StepOutcome::Stale);
        assert_eq!(random::everything(&*subject.store), before);
        subject.reopen();
        let last = Advance {
            from: JobPlace::Delivery(key(S1, 1)),
            end: Some(JobEnd::Done),
            ..advance(vec![redrive(2)])
        };
        let ended = advanced(&subject, last.clone()).job;
        assert_eq!((&ended.state, ended.progress.done), (&JobState::Done, 2));
        assert_eq!((ended.progress.looked, ended.progress.of), (2, 3));
        let again = Advance {
            from: last.to,
            ..last
        };
        assert_eq!(subject.one(step(again)), StepOutcome::Stale);
        assert_eq!(
            subject.one(step(Advance {
                job: JobId(9),
                ..advance(Vec::new())
            })),
            StepOutcome::Stale
        );
        is_whole(&subject);
    }
}

#[test]
fn a_redriven_dead_letter_is_pending_anew_and_knows_its_deaths() {
    for mut subject in Subject::all() {
        subject = with_letters(subject, 1, JobSpec::Redrive(all()));
        let of = |fence| {
            let key = key(S1, 1);
            JobEffect::Redrive { key, fence }
        };
        // Twice in one step: the second finds no dead letter.
        let both = advanced(&subject, advance(vec![of(2), of(2)]));
        assert_eq!(skips(&both.job), [(SkipReason::Gone, 1)]);
        assert_eq!(both.job.progress.done, 1);
        subject.reopen();
        let at = NOW.plus_ms(70);
        let again = Pending {
            due_at: Some(at),
            fence: 3,
            redriven: Some(Redriven {
                deaths: 1,
                reason: DeadReason::Rejected,
                at,
                job: JobId(1),
            }),
            ..Pending::new(key(S1, 1), NOW)
        };
        let expected = Delivery::new(again, Vec::new());
        let found = subject.store.delivery(key(S1, 1)).unwrap();
        assert_eq!(found, Some(DeliveryState::Pending(expected)));
        let waiting = subject.store.waiting(at, None, 9).unwrap();
        assert_eq!(waiting, [(at, key(S1, 1))]);
        let counts = subject.store.counts(S1).unwrap();
        assert_eq!((counts.pending, counts.waiting, counts.dead), (0, 1, 0));
        assert!(subject.store.dead_letters(S1, None, 9).unwrap().is_empty());
        is_whole(&subject);

        // What ran before it died can't settle; it dies again, and a redrive of the first death does nothing.
        assert_eq!(subject.one(done(key(S1, 1), 1)), StepOutcome::Stale);
        let reason = DeadReason::AgeExceeded;
        subject.one(settle(
            key(S1, 1),
            3,
            1,
            SettleEnd::Dead {
                reason,
                published: None,
            },
        ));
        let letters = subject.store.dead_letters(S1, None, 9).unwrap();
        assert_eq!((letters[0].deaths(), letters[0].delivery.fence), (2, 4));
        assert_eq!(letters[0].delivery.attempts.len(), 1);
        assert_eq!(
            job(&subject, 1).results,
            JobResults {
                died: 1,
                ..JobResults::default()
            }
        );
        let onward = |effects| Advance {
            from: JobPlace::Delivery(key(S1, 9)),
            ..advance(effects)
        };
        let late = advanced(&subject, onward(vec![of(2)]));
        assert_eq!(skips(&late.job), [(SkipReason::Gone, 2)]);
        advanced(&subject, onward(vec![of(4)]));
        let end = SettleEnd::Done(Effects::default());
        subject.one(settle(key(S1, 1), 5, 1, end));
        subject.reopen();
        let history = subject.store.settled(S1, None, 9).unwrap();
        let known = history[0].delivery.redriven.unwrap();
        assert_eq!((known.deaths, known.reason), (2, reason));
        assert_eq!(history[0].discarded, None);
        assert_eq!(
            job(&subject, 1).results,
            JobResults {
                succeeded: 1,
                died: 1,
                ..JobResults::default()
            }
        );
        is_whole(&subject);
    }
}

#[test]
fn what_can_t_be_redriven_is_skipped_with_its_reason() {
    for mut subject in Subject::all() {
        subject = with_letters(subject, 2, JobSpec::Redrive(all()));
        subject.one(Step::Append(Append {
            bus: BUS,
            events: vec![new_event("other", &[S2])],
            now: NOW,
        }));
        let reason = DeadReason::Rejected;
        subject.one(settle(
            key(S2, 3),
            0,
            1,
            SettleEnd::Dead {
                reason,
                published: None,
            },
        ));
        let rules = vec![rule("r2", "default", &["g"])];
        let without = manifest(&["side"], &["f", "g"], rules);
        subject.one(Step::ApplyManifest(Box::new(without)));
        let of = |subscription, position, fence| JobEffect::Redrive {
            key: key(subscription, position),
            fence,
        };
        let effects = vec![of(S1, 1, 2), of(S1, 7, 0), of(S2, 3, 1), of(S3, 1, 0)];
        let told = Advance {
            skipped: {
                let mut skipped = Skipped::default();
                skipped.add(SkipReason::Corrupt, 4);
                skipped
            },
            ..advance(effects)
        };
        let done = advanced(&subject, told);
        let expected = [
            (SkipReason::Gone, 2),
            (SkipReason::Corrupt, 4),
            (SkipReason::SubscriptionEnded, 1),
        ];
        assert_eq!(skips(&done.job), expected);
        assert_eq!(done.pending, [(NOW.plus_ms(70), key(S2, 3))]);
        assert_eq!(subject.store.dead_letters(S1, None, 9).unwrap().len(), 2);
        is_whole(&subject);
    }
}

#[test]
fn a_purged_dead_letter_is_gone_and_its_event_remembers_it() {
    for mut subject in Subject::all() {
        subject = with_letters(subject, 2, JobSpec::Purge(all()));
        let of = |position, fence| JobEffect::Purge {
            key: key(S1, position),
            fence,
        };
        let done = advanced(&subject, advance(vec![of(1, 2), of(1, 2), of(2, 1)]));
        assert_eq!(skips(&done.job), [(SkipReason::Gone, 2)]);
        assert!(done.pending.is_empty());
        subject.reopen();
        assert_eq!(subject.store.dead_letters(S1, None, 9).unwrap().len(), 1);
        assert_eq!(subject.store.counts(S1).unwrap().dead, 1);
        let Some(DeliveryState::Succeeded(row)) = subject.store.delivery(key(S1, 1)).unwrap()
        else {
            panic!("nothing is known of it");
        };
        let expected = Discarded {
            job: JobId(1),
            reason: DiscardReason::Purged,
        };
        assert_eq!(row.discarded, Some(expected));
        assert_eq!(row.settled_at, NOW.plus_ms(70));
        assert!(row.delivery.attempts.is_empty());
        is_whole(&subject);
    }
}

#[test]
fn a_redrive_writes_an_event_back_that_is_in_quarantine() {
    let store = MemoryStore::new();
    let corrupt = super::super::memory::Row::Event(BUS, Position(1));
    let mut subject = Subject::memory();
    let shared = Arc::new(store.reopen());
    subject.store = shared.clone();
    let subject = with_letters(subject, 1, JobSpec::Redrive(all()));
    shared.corrupt(corrupt);
    let records = shared.corruption().movable;
    subject.one(Step::Quarantine { records, now: NOW });
    assert!(subject.store.event(BUS, Position(1)).is_err());
    let effect = JobEffect::Redrive {
        key: key(S1, 1),
        fence: 2,
    };
    assert_eq!(advanced(&subject, advance(vec![effect])).pending.len(), 1);
    let stored = subject.store.event(BUS, Position(1)).unwrap().unwrap();
    assert_eq!(*stored.event, event("1"));
}
