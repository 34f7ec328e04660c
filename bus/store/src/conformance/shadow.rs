//! Shadow replays: what they find adds up, the first differences are kept, and a candidate's component goes with the
//! job.

use std::sync::Arc;

use super::jobs::is_whole;
use super::*;
use edgebus_model::{
    Candidate, Data, Difference, Digest, Job, JobControl, JobId, JobPlace, JobSpec, JobState, Ran,
    ReplayPurpose, ReplaySpec, ShadowCounts, ShadowReport, ShadowSpec, ShadowTime, Skipped,
};

const COMPONENT: &[u8] = b"what might be deployed";

fn spec() -> JobSpec {
    JobSpec::Shadow(Box::new(ShadowSpec {
        range: ReplaySpec {
            name: None,
            purpose: ReplayPurpose::Replay,
            bus: BusId(1),
            first: Position(1),
            last: Position(9),
            subscriptions: vec![S1],
            kind: Some("t".to_owned()),
            pattern: None,
            as_matched: true,
        },
        function: Some(name("f")),
        candidate: Some(Candidate {
            digest: Digest::of(COMPONENT),
            config: FunctionConfig {
                secrets: vec!["KEY".to_owned()],
                ..FunctionConfig::default()
            },
        }),
        limit: Some(7),
    }))
}

fn start() -> Step {
    Step::StartJob(Box::new(StartJob {
        spec: spec(),
        rate: None,
        of: 9,
        component: Some(Bytes::from_static(COMPONENT)),
        now: NOW,
    }))
}

fn difference(position: u64) -> Difference {
    let event = Event {
        id: "e".to_owned(),
        data: Data::Json(Bytes::from_static(b"{}")),
        ..Event::unreadable()
    };
    let reference = Ran {
        outcome: Outcome::Success,
        duration_us: 9,
        emitted_total: 3,
        emitted: vec![(BusId(1), Arc::new(event))],
        writes_total: None,
        writes: Vec::new(),
    };
    let shadow = Ran {
        outcome: Outcome::Reject {
            message: "no".to_owned(),
        },
        writes_total: Some(2),
        writes: vec![
            (b"k".to_vec(), Some(Bytes::from_static(b"v"))),
            (b"gone".to_vec(), None),
        ],
        ..reference.clone()
    };
    Difference {
        key: key(S1, position),
        outcome: true,
        emitted: false,
        state: true,
        reference,
        shadow,
    }
}

/// Moves job 1 from one position to another, with so many differences.
fn advance(from: u64, to: u64, differences: u64) -> Step {
    let place = |position| match position {
        0 => JobPlace::Start,
        _ => JobPlace::Delivery(key(S1, position)),
    };
    let found = ShadowReport {
        counts: ShadowCounts {
            runs: to - from,
            different: differences,
            time: ShadowTime::of(to),
            ..ShadowCounts::default()
        },
        differences: (from..from + differences).map(difference).collect(),
    };
    Step::Advance(Box::new(Advance {
        job: JobId(1),
        from: place(from),
        to: place(to),
        looked: to - from,
        skipped: Skipped::default(),
        effects: Vec::new(),
        shadow: Some(Box::new(found)),
        end: None,
        now: NOW,
    }))
}

fn control(control: JobControl) -> Step {
    Step::ControlJob {
        job: JobId(1),
        control,
        now: NOW,
    }
}

#[test]
fn what_a_shadow_replay_finds_adds_up_and_the_first_hundred_differences_are_kept() {
    for mut subject in Subject::all() {
        subject.one(start());
        subject.one(advance(0, 70, 60));
        subject.one(advance(70, 140, 60));
        // One that is repeated writes nothing.
        assert_eq!(subject.one(advance(70, 140, 60)), StepOutcome::Stale);
        subject.reopen();
        let report = subject.store.shadow_report(JobId(1)).unwrap().unwrap();
        assert_eq!((report.counts.runs, report.counts.different), (140, 120));
        let time = ShadowTime {
            us_total: 210,
            us_max: 140,
        };
        assert_eq!(report.counts.time, time);
        let expected: Vec<_> = (0..60).chain(70..110).map(difference).collect();
        assert_eq!(report.differences, expected);
        let job = subject.store.job(JobId(1)).unwrap().unwrap();
        assert_eq!((job.progress.done, job.spec), (140, spec()));
        is_whole(&subject);
    }
}

#[test]
fn the_component_of_a_candidate_goes_when_the_job_is_done_or_cancelled() {
    let digest = Digest::of(COMPONENT);
    let end = |end| {
        let Step::Advance(mut step) = advance(0, 3, 1) else {
            panic!("no advance");
        };
        step.end = Some(end);
        Step::Advance(step)
    };
    // What happens to the job, and whether it has its component then.
    let table = [
        (control(JobControl::Pause), true),
        (control(JobControl::Cancel), false),
        (end(JobEnd::Failed("no".to_owned())), true),
        (end(JobEnd::Done), false),
    ];
    for (step, kept) in table {
        for mut subject in Subject::all() {
            subject.one(start());
            let there = subject.store.job_component(JobId(1), digest).unwrap();
            assert_eq!(there.as_deref(), Some(COMPONENT));
            subject.one(step.clone());
            subject.reopen();
            let there = subject.store.job_component(JobId(1), digest).unwrap();
            assert_eq!(there.is_some(), kept, "{step:?}");
            // It is nobody's function.
            assert_eq!(subject.store.component(digest).unwrap(), None);
            is_whole(&subject);
        }
    }
}

#[test]
fn a_job_that_is_not_kept_any_longer_takes_all_with_it() {
    for mut subject in Subject::all() {
        subject.one(start());
        let Step::Advance(mut failing) = advance(0, 3, 2) else {
            panic!("no advance");
        };
        failing.end = Some(JobEnd::Failed("no".to_owned()));
        subject.one(Step::Advance(failing));
        for number in 2..Job::ENDED_KEPT + 2 {
            let id = JobId(u32::try_from(number).unwrap());
            let made = Step::StartJob(Box::new(StartJob {
                spec: JobSpec::Purge(edgebus_model::LetterSelection::default()),
                rate: None,
                of: 0,
                component: None,
                now: NOW,
            }));
            let cancelled = Step::ControlJob {
                job: id,
                control: JobControl::Cancel,
                now: NOW,
            };
            subject.store.commit(&[made, cancelled]).unwrap();
        }
        subject.reopen();
        assert_eq!(subject.store.job(JobId(1)).unwrap(), None);
        assert_eq!(subject.store.shadow_report(JobId(1)).unwrap(), None);
        let digest = Digest::of(COMPONENT);
        let there = subject.store.job_component(JobId(1), digest).unwrap();
        assert_eq!(there, None);
        let last = subject.store.job(JobId(2)).unwrap().unwrap();
        assert_eq!(last.state, JobState::Cancelled);
        is_whole(&subject);
    }
}
