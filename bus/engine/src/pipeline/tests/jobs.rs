//! Jobs move by themselves: a redrive and a purge of dead letters, paced, paused, resumed after a restart.

use super::*;
use edgebus_model::{
    DeadReason, Job, JobControl, JobId, JobSpec, JobState, LetterSelection, SkipReason,
};

/// A pipeline with as many dead letters of the rule `t`, whose function rejects everything.
async fn with_letters(store: Arc<dyn Store>, count: usize) -> Arc<Pipeline> {
    let pipeline = start(store).await;
    apply(&pipeline, &[("t", "reject no")], 3).await;
    let events = (0..count).map(|index| event(&format!("e{index}"), "t", r#"{"n":1}"#));
    pipeline.publish("default", events.collect()).await.unwrap();
    settled(&pipeline).await;
    assert_eq!(pipeline.store().totals().dead, count as u64);
    pipeline
}

fn all() -> LetterSelection {
    LetterSelection::default()
}

async fn ended(pipeline: &Pipeline, spec: JobSpec, rate: Option<u32>) -> Job {
    let job = pipeline.start_job(spec, rate, 0).await.unwrap();
    has_ended(pipeline, job.id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_runs_each_dead_letter_once_more() {
    let pipeline = with_letters(Arc::new(MemoryStore::new()), 700).await;
    let job = ended(&pipeline, JobSpec::Redrive(all()), None).await;
    assert_eq!((&job.state, job.progress.done), (&JobState::Done, 700));
    settled(&pipeline).await;
    // They died again, and the job did not take them a second time.
    let letters = pipeline
        .store()
        .dead_letters(SubscriptionId(1), None, 999)
        .unwrap();
    assert_eq!(letters.len(), 700);
    assert!(letters.iter().all(|letter| letter.deaths() == 2));
    let results = until(&pipeline, job.id, |job| job.results.died == 700).await;
    assert_eq!(results.results.succeeded, 0);
    // The function is repaired.
    apply(&pipeline, &[("t", "ok")], 3).await;
    let job = ended(&pipeline, JobSpec::Redrive(all()), None).await;
    settled(&pipeline).await;
    assert_eq!(pipeline.store().totals().dead, 0);
    let job = until(&pipeline, job.id, |job| job.results.succeeded == 700).await;
    assert_eq!(job.results.died, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_takes_what_it_says() {
    let pipeline = with_letters(Arc::new(MemoryStore::new()), 20).await;
    apply(&pipeline, &[("t", "reject no"), ("u", "trap oh")], 1).await;
    let more = ["{\"n\":1}", "{\"n\":2}"].map(|data| event(data, "u", data));
    pipeline.publish("default", more.to_vec()).await.unwrap();
    settled(&pipeline).await;
    let dead = || pipeline.store().totals().dead;
    assert_eq!(dead(), 22);
    let check = async |selection: LetterSelection, taken: u64| {
        let before = dead();
        let job = ended(&pipeline, JobSpec::Purge(selection.clone()), None).await;
        assert_eq!(job.progress.done, taken, "{selection:?}");
        assert_eq!(dead(), before - taken, "{selection:?}");
        job
    };
    let key = |subscription, position| DeliveryKey {
        subscription: SubscriptionId(subscription),
        replay: 0,
        position: Position(position),
    };
    let keys = vec![key(1, 1), key(1, 4), key(1, 99)];
    let job = check(LetterSelection { keys, ..all() }, 2).await;
    let skipped: Vec<_> = job.progress.skipped.iter().collect();
    assert_eq!(skipped, [(SkipReason::Gone, 1)]);
    let subscriptions = vec![SubscriptionId(2)];
    let pattern = Some(r#"{"data":{"n":[2]}}"#.to_owned());
    check(
        LetterSelection {
            subscriptions,
            pattern,
            ..all()
        },
        1,
    )
    .await;
    check(
        LetterSelection {
            kind: Some("u".into()),
            reason: Some(DeadReason::Rejected),
            ..all()
        },
        0,
    )
    .await;
    check(
        LetterSelection {
            until: Some(Timestamp(1)),
            ..all()
        },
        0,
    )
    .await;
    check(
        LetterSelection {
            since: Some(Timestamp(1)),
            limit: Some(5),
            ..all()
        },
        5,
    )
    .await;
    check(
        LetterSelection {
            kind: Some("u".into()),
            ..all()
        },
        1,
    )
    .await;
    check(all(), 13).await;
    // A pattern that can't be read fails the job, and nothing else.
    let bad = LetterSelection {
        pattern: Some("{".into()),
        ..all()
    };
    let job = ended(&pipeline, JobSpec::Purge(bad), None).await;
    assert!(
        matches!(&job.state, JobState::Failed { reason } if reason.contains("pattern")),
        "{job:?}"
    );
}

/// A disk with as much free as a test says, and no ballast.
struct Tight(Arc<std::sync::atomic::AtomicU64>);

impl space::Disk for Tight {
    fn free(&self) -> Option<u64> {
        Some(self.0.load(Ordering::SeqCst))
    }

    fn levels(&self) -> space::Levels {
        space::Levels {
            floor: 1_000,
            critical: 400,
            ballast: 0,
        }
    }

    fn has_ballast(&self) -> bool {
        false
    }
}

/// A purge frees space: it goes on while the disk is full, unless nothing at all is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_goes_on_while_the_disk_is_full() {
    for (free, goes_on) in [(399, true), (99, false)] {
        let store = Arc::new(MemoryStore::new());
        let left = Arc::new(std::sync::atomic::AtomicU64::new(u64::MAX));
        drop(with_letters(store.clone(), 300).await);
        let store: Arc<dyn Store> = Arc::new(store.reopen());
        let parts = Parts {
            space: Box::new(Tight(left.clone())),
            ..parts(store, Arc::new(FakeRuntime), false)
        };
        let pipeline = Pipeline::start(parts).await.unwrap();
        left.store(free, Ordering::SeqCst);
        pipeline.space().look();
        let start = async |spec| pipeline.start_job(spec, None, 300).await.unwrap();
        let redrive = start(JobSpec::Redrive(all())).await;
        let purge = start(JobSpec::Purge(all())).await;
        if goes_on {
            until(&pipeline, purge.id, |job| job.state.has_ended()).await;
        } else {
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
        }
        let done = |id| pipeline.store().job(id).unwrap().unwrap().progress.done;
        assert_eq!(done(purge.id), if goes_on { 300 } else { 0 });
        assert_eq!(done(redrive.id), 0, "it would fill the disk further");
        left.store(u64::MAX, Ordering::SeqCst);
        pipeline.space().look();
        until(&pipeline, redrive.id, |job| job.state.has_ended()).await;
    }
}

/// A rate bounds what a job does, and not how it reads: what is not selected is passed in pages.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_job_reads_in_pages() {
    let store = Arc::new(Bad::new(usize::MAX, false));
    let pipeline = with_letters(store.clone(), 600).await;
    let commits = || pipeline.context.commits.load(Ordering::SeqCst);
    let before = (store.letters_read.load(Ordering::SeqCst), commits());
    let selection = LetterSelection {
        pattern: Some(r#"{"id":["e5","e70","e599"]}"#.to_owned()),
        ..all()
    };
    let job = ended(&pipeline, JobSpec::Redrive(selection), Some(100)).await;
    assert_eq!((job.progress.done, job.progress.looked), (3, 600));
    settled(&pipeline).await;
    // Each of the three settles once more, beside the job and its making.
    let read = store.letters_read.load(Ordering::SeqCst) - before.0;
    assert!(read <= 30, "{read} pages were read");
    let commits = commits() - before.1;
    assert!(commits <= 20, "{commits} commits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_where_it_was_after_a_restart() {
    let store = Arc::new(MemoryStore::new());
    let pipeline = with_letters(store.clone(), 300).await;
    apply(&pipeline, &[("t", "ok")], 3).await;
    let spec = JobSpec::Redrive(all());
    let job = pipeline.start_job(spec, Some(10), 300).await.unwrap();
    let moved = until(&pipeline, job.id, |job| job.progress.done >= 2).await;
    assert!(moved.progress.done < 300, "it keeps its rate");
    let paused = pipeline
        .control_job(job.id, JobControl::Pause)
        .await
        .unwrap();
    assert_eq!(paused.state, JobState::Paused);
    pipeline.stop().await;
    drop(pipeline);
    let pipeline = start(Arc::new(store.reopen())).await;
    let still = pipeline.store().job(job.id).unwrap().unwrap();
    // What it had made pending went on.
    assert!(still.results.succeeded <= still.progress.done);
    let results = paused.results;
    assert_eq!(Job { results, ..still }, paused);
    pipeline
        .control_job(job.id, JobControl::Rate(None))
        .await
        .unwrap();
    pipeline
        .control_job(job.id, JobControl::Resume)
        .await
        .unwrap();
    let job = until(&pipeline, job.id, |job| job.state.has_ended()).await;
    assert_eq!((&job.state, job.progress.done), (&JobState::Done, 300));
    assert_eq!(job.progress.skipped.total(), 0);
    until(&pipeline, job.id, |job| job.results.succeeded == 300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_stands_still_and_can_t_be_told_more() {
    let pipeline = with_letters(Arc::new(MemoryStore::new()), 50).await;
    pipeline.pause(Pause::Start, true);
    let job = pipeline
        .start_job(JobSpec::Redrive(all()), Some(1), 50)
        .await
        .unwrap();
    let told = pipeline.control_job(job.id, JobControl::Cancel).await;
    assert_eq!(told.unwrap().state, JobState::Cancelled);
    let error = pipeline.control_job(job.id, JobControl::Resume).await;
    assert_eq!(error.unwrap_err().kind, Kind::Conflict);
    let error = pipeline.control_job(JobId(9), JobControl::Pause).await;
    assert_eq!(error.unwrap_err().kind, Kind::NotFound);
    // The next one takes what is left.
    let done = pipeline.store().job(job.id).unwrap().unwrap().progress.done;
    let next = ended(&pipeline, JobSpec::Purge(all()), None).await;
    assert_eq!(next.progress.done, 50 - done);
}
