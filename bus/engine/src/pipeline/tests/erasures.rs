//! Erasures move by themselves: over the log, then over dead letters, and nothing of an erased event runs again.

use super::*;
use edgebus_model::{EraseSpec, Job, JobControl, JobSpec, JobState, SkipReason};
use edgebus_store::memory::Row;

/// Erases events of the whole log, as it is now, that this pattern matches.
fn erase(pipeline: &Pipeline, pattern: &str) -> JobSpec {
    JobSpec::Erase(EraseSpec {
        bus: BusId(1),
        first: Position(1),
        last: pipeline.last_position(BusId(1)),
        subject: None,
        pattern: Some(pattern.to_owned()),
    })
}

const ODD: &str = r#"{"data":{"odd":[true]}}"#;

/// So many events of this type, every second of them odd.
fn events(kind: &str, count: u64) -> Vec<Event> {
    (0..count)
        .map(|number| {
            let data = format!(r#"{{"odd":{}}}"#, number % 2 == 1);
            event(&format!("{kind}{number}"), kind, &data)
        })
        .collect()
}

async fn ended(pipeline: &Pipeline, spec: JobSpec) -> Job {
    let job = pipeline.start_job(spec, None, 0).await.unwrap();
    has_ended(pipeline, job.id).await
}

/// Positions of the log whose events are erased.
fn erased(pipeline: &Pipeline) -> Vec<u64> {
    let log = pipeline.store().events(BusId(1), Position(0), 9_999);
    let log = log.unwrap().into_iter();
    log.filter(|stored| stored.event.erased().is_some())
        .map(|stored| stored.position.0)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_goes_over_the_log_and_then_over_dead_letters() {
    let store = Arc::new(MemoryStore::new());
    let pipeline = start(store.clone()).await;
    apply(&pipeline, &[("t", "reject no")], 3).await;
    for part in events("t", 1_200).chunks(300) {
        pipeline.publish("default", part.to_vec()).await.unwrap();
    }
    settled(&pipeline).await;
    store.corrupt(Row::Event(BusId(1), Position(4)));
    store.corrupt(Row::Event(BusId(1), Position(5)));
    store.corrupt(Row::Event(BusId(1), Position(1_200)));
    let spec = erase(&pipeline, ODD);
    // What comes later is not of it.
    let later = vec![event("later", "u", r#"{"odd":true}"#)];
    pipeline.publish("default", later).await.unwrap();
    let job = ended(&pipeline, spec).await;
    assert_eq!(job.state, JobState::Done);
    let counts = job.progress.erased;
    assert_eq!((counts.events, counts.dead_letters), (598, 600));
    let skipped: Vec<_> = job.progress.skipped.iter().collect();
    assert_eq!(skipped, [(SkipReason::Corrupt, 3)]);
    assert_eq!(job.progress.looked, 1_197 + 1_200);
    let expected: Vec<u64> = (2..1_200).step_by(2).filter(|own| *own != 4).collect();
    assert_eq!(erased(&pipeline), expected);
    let letters = pipeline
        .store()
        .dead_letters(SubscriptionId(1), None, 9_999);
    for letter in letters.unwrap() {
        let odd = letter.delivery.key.position.0.is_multiple_of(2);
        assert_eq!(letter.event.erased().is_some(), odd);
    }
    // A second one finds nothing.
    let job = ended(
        &pipeline,
        erase(&pipeline, r#"{"type":["t"],"data":{"odd":[true]}}"#),
    )
    .await;
    assert_eq!((job.progress.done, &job.state), (0, &JobState::Done));
    // One that says nothing fails, and erases nothing.
    let nothing = JobSpec::Erase(EraseSpec {
        bus: BusId(1),
        first: Position(1),
        last: Position(9_999),
        subject: None,
        pattern: None,
    });
    let job = ended(&pipeline, nothing).await;
    assert!(
        matches!(job.state, JobState::Failed { .. }),
        "{:?}",
        job.state
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_for_an_erased_event_never_runs() {
    let pipeline = held(Arc::new(MemoryStore::new())).await;
    apply(&pipeline, &[("t", "emit told")], 3).await;
    pipeline.publish("default", events("t", 20)).await.unwrap();
    let job = ended(&pipeline, erase(&pipeline, ODD)).await;
    assert_eq!(job.progress.erased.deliveries, 10, "{job:?}");
    pipeline.pause(Pause::Start, false);
    settled(&pipeline).await;
    let rows = pipeline
        .store()
        .settled(SubscriptionId(1), None, 99)
        .unwrap();
    for row in &rows {
        let odd = row.delivery.key.position.0.is_multiple_of(2);
        assert_eq!(row.discarded.is_some(), odd);
        assert_eq!(row.delivery.attempts.is_empty(), odd);
    }
    assert_eq!(rows.len(), 20);
    let log = pipeline.store().events(BusId(1), Position(0), 99).unwrap();
    let told = log.iter().filter(|own| own.event.kind == "told");
    assert_eq!(told.count(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn redrives_wait_until_an_erasure_has_ended() {
    let pipeline = start(Arc::new(MemoryStore::new())).await;
    apply(&pipeline, &[("t", "reject no")], 1).await;
    pipeline.publish("default", events("t", 20)).await.unwrap();
    settled(&pipeline).await;
    apply(&pipeline, &[("t", "ok")], 1).await;
    let spec = erase(&pipeline, ODD);
    let erasure = pipeline.start_job(spec, Some(1), 0).await.unwrap();
    let _ = pipeline
        .control_job(erasure.id, JobControl::Pause)
        .await
        .unwrap();
    let redrive = JobSpec::Redrive(edgebus_model::LetterSelection::default());
    let redrive = pipeline.start_job(redrive, None, 0).await.unwrap();
    // A job that came later is done, and the redrive has not moved.
    let purge = JobSpec::Purge(edgebus_model::LetterSelection {
        kind: Some("none".into()),
        ..Default::default()
    });
    ended(&pipeline, purge).await;
    let waits = pipeline.store().job(redrive.id).unwrap().unwrap();
    assert_eq!(
        (&waits.state, waits.progress.looked),
        (&JobState::Running, 0)
    );
    for control in [JobControl::Rate(None), JobControl::Resume] {
        pipeline.control_job(erasure.id, control).await.unwrap();
    }
    let redrive = until(&pipeline, redrive.id, |job| job.state.has_ended()).await;
    let skipped: Vec<_> = redrive.progress.skipped.iter().collect();
    assert_eq!(skipped, [(SkipReason::Erased, 10)]);
    assert_eq!(redrive.progress.done, 10);
    settled(&pipeline).await;
    assert_eq!(pipeline.store().totals().dead, 10);
}
