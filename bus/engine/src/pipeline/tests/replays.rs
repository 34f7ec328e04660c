//! Deliveries of replays beside live ones.

use super::*;

fn replayed(key: DeliveryKey, replay: u32) -> DeliveryKey {
    DeliveryKey { replay, ..key }
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
    let (live, again) = (first(1), replayed(first(1), 4));
    let StepOutcome::Delivered(made) = pipeline.deliver_again(vec![again]).await.unwrap() else {
        panic!("nothing was delivered");
    };
    assert_eq!(made, [again]);
    settled(&pipeline).await;
    let store = &**pipeline.store();
    assert_eq!(output(store, live), "INFO live\n");
    assert_eq!(output(store, again), "INFO replay-4 4\n");
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
        assert_eq!(marks, [None, Some(Attribute::Text("replay-4".to_owned()))]);
    }
    assert_eq!(of("told")[1].lineage.parent, Some(again));
    // The replay of what a replay led to has its own name.
    let further = replayed(
        DeliveryKey {
            subscription: SubscriptionId(2),
            ..first(of("told")[1].position.0)
        },
        5,
    );
    pipeline.deliver_again(vec![further]).await.unwrap();
    settled(&pipeline).await;
    let log = store.events(BusId(1), Position(0), 99).unwrap();
    let last = extension(&log.last().unwrap().event, "replayname");
    assert_eq!(last, Some(Attribute::Text("replay-5".to_owned())));
}

/// A retry of a replayed delivery counts its age from the replay on, whatever the age of the event.
#[tokio::test(flavor = "multi_thread")]
async fn replays_are_retried_and_die_as_live_deliveries_do() {
    let pipeline = memory_pipeline().await;
    apply(&pipeline, &[("t", "until 3"), ("u", "reject no")], 3).await;
    let events = vec![event("a", "t", "1"), event("b", "u", "1")];
    pipeline.publish("default", events).await.unwrap();
    settled(&pipeline).await;
    let keys = vec![
        replayed(first(1), 1),
        replayed(
            DeliveryKey {
                subscription: SubscriptionId(2),
                ..first(2)
            },
            1,
        ),
    ];
    pipeline.deliver_again(keys.clone()).await.unwrap();
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
    let keys: Vec<_> = (1..=300).map(|number| replayed(first(number), 2)).collect();
    pipeline.deliver_again(keys).await.unwrap();
    publish(300, 600).await;
    drop(pipeline);
    let pipeline = start(Arc::new(store.reopen())).await;
    settled(&pipeline).await;
    let rows = pipeline.store().settled(SubscriptionId(1), None, 9_999);
    assert_eq!(rows.unwrap().len(), 900);
}
