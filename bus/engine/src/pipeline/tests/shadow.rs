//! Deliveries that are run again in shadow: what differs is found, and nothing takes effect.

use super::*;
use edgebus_model::{
    Candidate, Digest, JobControl, JobId, JobState, Outcome, ReplayPurpose, ReplaySpec,
    ShadowReport, ShadowSpec,
};

/// The function `t` beside a component of this script, over the whole log; or `t` alone.
fn spec(script: Option<&str>) -> (ShadowSpec, Option<Bytes>) {
    let component = script.map(|script| Bytes::copy_from_slice(script.as_bytes()));
    let spec = ShadowSpec {
        range: ReplaySpec {
            name: None,
            purpose: ReplayPurpose::Replay,
            bus: BusId(1),
            first: Position(1),
            last: Position(9),
            subscriptions: vec![SubscriptionId(1)],
            kind: None,
            pattern: None,
            as_matched: true,
        },
        function: Some(Name::new("t").unwrap()),
        candidate: component.as_ref().map(|component| Candidate {
            digest: Digest::of(component),
            config: FunctionConfig::default(),
        }),
        limit: None,
    };
    (spec, component)
}

/// Waits until a job has ended; what it found.
async fn found(pipeline: &Pipeline, id: JobId) -> (JobState, ShadowReport) {
    let state = has_ended(pipeline, id).await.state;
    let report = pipeline.store().shadow_report(id).unwrap();
    (state, report.unwrap_or_default())
}

async fn shadow(pipeline: &Pipeline, script: Option<&str>) -> (JobId, ShadowReport) {
    let (spec, component) = spec(script);
    let started = pipeline.start_shadow(spec, component, None, 9).await;
    let id = started.unwrap().id;
    let (state, report) = found(pipeline, id).await;
    assert_eq!(state, JobState::Done);
    (id, report)
}

/// Everything that a run could have changed.
fn all(pipeline: &Pipeline) -> String {
    let store = pipeline.store();
    let log = store.events(BusId(1), Position(0), 99).unwrap();
    let function = Name::new("t").unwrap();
    let state = store.state(&function, b"n").unwrap();
    let metrics = pipeline.context.telemetry.render();
    let mut metrics: Vec<_> = metrics
        .lines()
        .filter(|line| line.contains("function=\"t\"") || line.contains("attempts"))
        .collect();
    metrics.sort_unstable();
    format!("{log:?} {state:?} {metrics:?}")
}

const DEPLOYED: &str = "count n\ntick orders\nemit told\nat 3 reject no";

async fn with_deliveries() -> Arc<Pipeline> {
    let pipeline = memory_pipeline().await;
    apply(&pipeline, &[("t", DEPLOYED)], 1).await;
    for id in ["a", "b", "c"] {
        let events = vec![event(id, "t", "1")];
        pipeline.publish("default", events).await.unwrap();
        settled(&pipeline).await;
    }
    pipeline
}

/// The log has `t`, `told`, `t`, `t`, `told`: the second of the three, at position 3, was rejected.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_candidate_changes_is_found_and_nothing_takes_effect() {
    let pipeline = with_deliveries().await;
    let before = all(&pipeline);
    // Script, then how many differ at all, in the outcome, in events and in state.
    let table = [
        (None, (0, 0, 0, 0)),
        (Some(DEPLOYED), (0, 0, 0, 0)),
        (
            Some("count n\nemit told\nat 3 reject other words"),
            (0, 0, 0, 0),
        ),
        (Some("count n\nemit other\nat 3 reject no"), (2, 0, 2, 0)),
        (
            Some("count n\ncount n\nemit told\nat 3 reject no"),
            (2, 0, 0, 2),
        ),
        (Some("count n\nemit told"), (1, 1, 1, 1)),
        (Some("reject all"), (2, 2, 2, 2)),
    ];
    for (script, expected) in table {
        let (id, report) = shadow(&pipeline, script).await;
        let counts = report.counts;
        let seen = (
            counts.different,
            counts.outcome,
            counts.emitted,
            counts.state,
        );
        assert_eq!(seen, expected, "{script:?}: {report:?}");
        assert_eq!((counts.runs, counts.failed), (3, 0), "{script:?}");
        assert_eq!(report.differences.len() as u64, counts.different);
        assert_eq!(all(&pipeline), before, "{script:?} took effect");
        // The candidate is gone with the end of the job.
        let digest = Digest::of(script.unwrap_or_default().as_bytes());
        assert_eq!(pipeline.store().job_component(id, digest).unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_tells_both_sides() {
    let pipeline = with_deliveries().await;
    let (_, report) = shadow(&pipeline, Some("count n\nemit other")).await;
    let first = &report.differences[0];
    assert_eq!(first.key.to_string(), "1-1");
    let kinds = |ran: &edgebus_model::Ran| -> Vec<_> {
        let events = ran.emitted.iter();
        events.map(|(_, event)| event.kind.clone()).collect()
    };
    assert_eq!(kinds(&first.reference), ["told"]);
    assert_eq!(kinds(&first.shadow), ["other"]);
    // Both saw what three deliveries had left, less the one that was rejected.
    let written = [(b"n".to_vec(), Some(Bytes::from_static(b"3")))];
    assert_eq!(first.reference.writes, written);
    assert_eq!(first.shadow.writes, written);
    let rejected = &report.differences[1];
    assert!(matches!(rejected.reference.outcome, Outcome::Reject { .. }));
    assert_eq!(rejected.shadow.outcome, Outcome::Success);
}

/// What was delivered by another component is compared with what that one did.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_candidate_the_deployed_function_is_compared_with_what_happened_then() {
    let pipeline = with_deliveries().await;
    let t = Name::new("t").unwrap();
    let other = "count n\nemit other\nat 3 reject no";
    pipeline
        .deploy(t, Bytes::from_static(other.as_bytes()))
        .await
        .unwrap();
    let (_, report) = shadow(&pipeline, None).await;
    let counts = report.counts;
    assert_eq!((counts.same, counts.different), (1, 2), "{report:?}");
    assert_eq!((counts.emitted, counts.state), (2, 0));
    assert_eq!(report.differences[0].reference.writes_total, None);
    let limited = ShadowSpec {
        limit: Some(1),
        ..spec(None).0
    };
    let job = pipeline.start_shadow(limited, None, None, 9).await.unwrap();
    let (state, report) = found(&pipeline, job.id).await;
    assert_eq!((state, report.counts.runs), (JobState::Done, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_is_no_function_is_refused_before_there_is_a_job() {
    let pipeline = with_deliveries().await;
    let (spec, component) = spec(Some("no such word"));
    let refused = pipeline.start_shadow(spec, component, None, 9).await;
    let error = refused.unwrap_err();
    assert_eq!(error.kind, edgebus_model::error::Kind::Invalid);
    assert_eq!(error.errors[0].pointer, "/functions/t/component");
    assert_eq!(pipeline.store().job(JobId(1)).unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_replay_that_was_paused_goes_on_where_it_was() {
    let pipeline = memory_pipeline().await;
    apply(&pipeline, &[("t", "count n\nemit told")], 1).await;
    let events = (0..40).map(|id| event(&format!("e{id}"), "t", "1"));
    pipeline.publish("default", events.collect()).await.unwrap();
    settled(&pipeline).await;
    let (mut spec, component) = spec(Some("count n\nemit other"));
    spec.range.last = Position(80);
    let started = pipeline.start_shadow(spec, component, Some(1), 80).await;
    let id = started.unwrap().id;
    for control in [
        JobControl::Pause,
        JobControl::Rate(None),
        JobControl::Resume,
    ] {
        pipeline.control_job(id, control).await.unwrap();
    }
    let (state, report) = found(&pipeline, id).await;
    assert_eq!(state, JobState::Done);
    assert_eq!((report.counts.runs, report.counts.different), (40, 40));
    assert_eq!(report.differences.len(), 40);
}
