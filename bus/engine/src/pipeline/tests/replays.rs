//! Deliveries of replays beside live ones.

use super::*;
use edgebus_model::{JobId, JobSpec, ReplayPurpose, ReplaySpec, SkipSpec};

fn replayed(key: DeliveryKey, replay: u32) -> DeliveryKey {
    DeliveryKey { replay, ..key }
}

/// Delivers events of a range again to a subscription, as number `1` and up; the job.
async fn replay(pipeline: &Pipeline, subscription: u32, first: u64, last: u64) -> JobId {
    let spec = JobSpec::Replay(ReplaySpec {
        name: None,
        purpose: ReplayPurpose::Replay,
        bus: BusId(1),
        first: Position(first),
        last: Position(last),
        subscriptions: vec![SubscriptionId(subscription)],
        kind: None,
        pattern: None,
        as_matched: true,
    });
    let job = pipeline.start_job(spec, None, 1).await.unwrap();
    has_ended(pipeline, job.id).await;
    job.id
}

fn first(position: u64) -> DeliveryKey {
    DeliveryKey {
        subscription: SubscriptionId(1),
        replay: 0,
        position: Position(position),
    }
}

/// What the only attempt of a success wrote.
fn output(store: &dyn Store, key: DeliveryKey) -> String {
    match store.delivery(key).unwrap() {
        Some(DeliveryState::Succeeded(settled)) => settled.delivery.attempts[0].output.clone(),
        other => panic!("{key} is {other:?}"),
    }
}

fn extension(event: &Event, name: &str) -> Option<Attribute> {
    let mut all = event.extensions.iter();
    all.find(|(own, _)| own == name)
        .map(|(_, value)| value.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_told_of_the_replay_and_its_events_carry_it() {
    let pipeline = memory_pipeline().await;
    let rules = [("t", "replay\nemit told"), ("told", "emit further")];
    apply(&pipeline, &rules, 3).await;
    pipeline
        .publish("default", vec![event("a", "t", "1")])
        .await
        .unwrap();
    settled(&pipeline).await;
    let (live, again) = (first(1), replayed(first(1), 1));
    assert_eq!(replay(&pipeline, 1, 1, 1).await, JobId(1));
    settled(&pipeline).await;
    let store = &**pipeline.store();
    assert_eq!(output(store, live), "INFO live\n");
    assert_eq!(output(store, again), "INFO replay-1 1\n");
    let log = store.events(BusId(1), Position(0), 99).unwrap();
    let of = |kind: &str| -> Vec<_> {
        let events = log.iter().filter(|stored| stored.event.kind == kind);
        events.collect()
    };
    // Each has effects of its own, and what follows from a replay's is marked to the end of the chain.
    for kind in ["told", "further"] {
        let events = of(kind);
        assert_eq!(events.len(), 2, "{kind}");
        assert_ne!(events[0].event.id, events[1].event.id);
        let marks = events.iter().map(|own| extension(&own.event, "replayname"));
        let marks: Vec<_> = marks.collect();
        assert_eq!(marks, [None, Some(Attribute::Text("replay-1".to_owned()))]);
    }
    assert_eq!(of("told")[1].lineage.parent, Some(again));
    // The replay of what a replay led to has its own name.
    let further = of("told")[1].position.0;
    replay(&pipeline, 2, further, further).await;
    settled(&pipeline).await;
    let log = store.events(BusId(1), Position(0), 99).unwrap();
    let last = extension(&log.last().unwrap().event, "replayname");
    assert_eq!(last, Some(Attribute::Text("replay-2".to_owned())));
}

/// A retry of a replayed delivery counts its age from the replay on, whatever the age of the event.
#[tokio::test(flavor = "multi_thread")]
async fn replays_are_retried_and_die_as_live_deliveries_do() {
    let pipeline = memory_pipeline().await;
    apply(&pipeline, &[("t", "until 3"), ("u", "reject no")], 3).await;
    let events = vec![event("a", "t", "1"), event("b", "u", "1")];
    pipeline.publish("default", events).await.unwrap();
    settled(&pipeline).await;
    let keys = [
        replayed(first(1), 1),
        replayed(
            DeliveryKey {
                subscription: SubscriptionId(2),
                ..first(2)
            },
            2,
        ),
    ];
    replay(&pipeline, 1, 1, 1).await;
    replay(&pipeline, 2, 2, 2).await;
    settled(&pipeline).await;
    let store = pipeline.store();
    let Some(DeliveryState::Succeeded(settled)) = store.delivery(keys[0]).unwrap() else {
        panic!("it did not succeed");
    };
    assert_eq!(settled.delivery.attempts.len(), 3);
    let Some(DeliveryState::Dead(letter)) = store.delivery(keys[1]).unwrap() else {
        panic!("it is not dead");
    };
    assert_eq!(letter.reason, edgebus_model::DeadReason::Rejected);
    assert_eq!(letter.event.id, "b");
}

/// A page of first attempts ends where a replay's deliveries begin, whatever their positions.
#[tokio::test(flavor = "multi_thread")]
async fn live_deliveries_are_read_although_a_replay_stands_behind_them() {
    let store = Arc::new(MemoryStore::new());
    let pipeline = held(store.clone()).await;
    apply(&pipeline, &[("t", "ok")], 3).await;
    let publish = async |from: u64, to: u64| {
        for number in from..to {
            let events = vec![event(&number.to_string(), "t", "1")];
            pipeline.publish("default", events).await.unwrap();
        }
    };
    publish(0, 300).await;
    // Their positions are in front of those that come.
    replay(&pipeline, 1, 1, 300).await;
    publish(300, 600).await;
    drop(pipeline);
    let pipeline = start(Arc::new(store.reopen())).await;
    settled(&pipeline).await;
    let rows = pipeline.store().settled(SubscriptionId(1), None, 9_999);
    assert_eq!(rows.unwrap().len(), 900);
}

/// A replay says how much of its range retention had taken when it came there.
#[tokio::test(flavor = "multi_thread")]
async fn what_retention_took_ahead_of_a_replay_is_counted() {
    let pipeline = memory_pipeline().await;
    apply(&pipeline, &[("t", "ok")], 3).await;
    for number in 0..5 {
        let events = vec![event(&number.to_string(), "t", "1")];
        pipeline.publish("default", events).await.unwrap();
    }
    settled(&pipeline).await;
    let trim = edgebus_store::Trim {
        bus: BusId(1),
        accepted_before: Timestamp(u64::MAX),
        bytes_max: u64::MAX,
        events_max: 3,
        expected: None,
        now: Timestamp(1),
    };
    let store = pipeline.store();
    store.commit(&[edgebus_store::Step::Trim(trim)]).unwrap();
    // The range begins and ends in what is gone, or goes on behind it.
    for (first, last, removed, done) in [(1, 5, 3, 2), (2, 3, 2, 0), (4, 5, 0, 2)] {
        let id = replay(&pipeline, 1, first, last).await;
        let job = store.job(id).unwrap().unwrap();
        assert_eq!(job.progress.done, done, "{first} to {last}");
        let skipped: Vec<_> = job.progress.skipped.iter().collect();
        let expected = [(edgebus_model::SkipReason::Removed, removed)];
        assert_eq!(skipped, &expected[..usize::from(removed > 0)]);
    }
}

/// What a replay has made and is pending is let go of, whatever the subscription, and nothing else is.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_s_pending_deliveries_are_let_go_of() {
    let store = Arc::new(MemoryStore::new());
    let pipeline = held(store.clone()).await;
    apply(&pipeline, &[("t", "ok"), ("u", "ok")], 3).await;
    for number in 0..300 {
        let kind = if number % 3 == 0 { "u" } else { "t" };
        let events = vec![event(&number.to_string(), kind, "1")];
        pipeline.publish("default", events).await.unwrap();
    }
    // Others stand before and behind it.
    let [before, own, behind] = [1, 2, 3].map(|_| ReplaySpec {
        name: None,
        purpose: ReplayPurpose::Replay,
        bus: BusId(1),
        first: Position(1),
        last: Position(300),
        subscriptions: Vec::new(),
        kind: None,
        pattern: None,
        as_matched: true,
    });
    let mut ids = Vec::new();
    for spec in [before, own, behind] {
        let job = pipeline.start_job(JobSpec::Replay(spec), None, 300).await;
        ids.push(job.unwrap().id);
    }
    for id in &ids {
        has_ended(&pipeline, *id).await;
    }
    let skip = JobSpec::Skip(SkipSpec::Replay(ids[1]));
    let job = pipeline.start_job(skip, None, 300).await.unwrap();
    has_ended(&pipeline, job.id).await;
    let results = |id| store.job(id).unwrap().unwrap().results;
    assert_eq!(
        (results(ids[1]).discarded, results(ids[1]).ended()),
        (300, 300)
    );
    assert_eq!(store.job(job.id).unwrap().unwrap().progress.done, 300);
    pipeline.pause(Pause::Start, false);
    settled(&pipeline).await;
    for id in [ids[0], ids[2]] {
        assert_eq!((results(id).succeeded, results(id).ended()), (300, 300));
    }
    let discarded: usize = [1, 2]
        .map(|id| store.settled(SubscriptionId(id), None, 9_999).unwrap())
        .iter()
        .flatten()
        .filter(|row| row.discarded.is_some())
        .count();
    assert_eq!(discarded, 300);
}

/// What runs while it is skipped has no effect; what waits in memory does not run at all.
#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_are_skipped_have_no_effect() {
    let store = Arc::new(MemoryStore::new());
    let pipeline = held(store.clone()).await;
    apply(&pipeline, &[("t", "emit told")], 3).await;
    for number in 0..5 {
        let events = vec![event(&number.to_string(), "t", "1")];
        pipeline.publish("default", events).await.unwrap();
    }
    let spec = JobSpec::Skip(SkipSpec::Live {
        subscription: SubscriptionId(1),
        before: Position(4),
    });
    let job = pipeline.start_job(spec, None, 5).await.unwrap();
    has_ended(&pipeline, job.id).await;
    pipeline.pause(Pause::Start, false);
    settled(&pipeline).await;
    let rows = store.settled(SubscriptionId(1), None, 99).unwrap();
    let skipped: Vec<_> = rows
        .iter()
        .map(|row| (row.delivery.key.position.0, row.discarded.is_some()))
        .collect();
    let expected = [(1, true), (2, true), (3, true), (4, false), (5, false)];
    assert_eq!(skipped, expected);
    assert!(rows[..3].iter().all(|row| row.delivery.attempts.is_empty()));
    assert_eq!(store.events(BusId(1), Position(0), 99).unwrap().len(), 7);
    // Places are given back a moment after the commit.
    let given_back = async {
        while pipeline.in_use() != (0, 0, 0) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), given_back)
        .await
        .expect("all places are given back");
}

/// Of a replay no more than so many deliveries are pending, whatever becomes of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_waits_for_its_own_deliveries() {
    let store = Arc::new(MemoryStore::new());
    let pipeline = held(store.clone()).await;
    apply(&pipeline, &[("t", "ok")], 3).await;
    for part in 0..15 {
        let events = (0..100).map(|number| event(&format!("{part}-{number}"), "t", "1"));
        let events = events.collect();
        pipeline.publish("default", events).await.unwrap();
    }
    let spec = JobSpec::Replay(ReplaySpec {
        name: Some(Name::new("repair").unwrap()),
        purpose: ReplayPurpose::Replay,
        bus: BusId(1),
        first: Position(1),
        last: Position(1_500),
        subscriptions: Vec::new(),
        kind: None,
        pattern: None,
        as_matched: false,
    });
    let job = pipeline.start_job(spec, None, 1_500).await.unwrap();
    let made = || store.job(job.id).unwrap().unwrap().progress.done;
    while made() < ReplaySpec::PENDING_MAX {
        tokio::task::yield_now().await;
    }
    assert_eq!(made(), ReplaySpec::PENDING_MAX);
    pipeline.pause(Pause::Start, false);
    has_ended(&pipeline, job.id).await;
    settled(&pipeline).await;
    let own = store.job(job.id).unwrap().unwrap();
    assert_eq!((own.progress.done, own.results.succeeded), (1_500, 1_500));
}
