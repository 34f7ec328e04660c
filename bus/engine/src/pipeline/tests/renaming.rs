//! Subscriptions whose rule or target gets another name while deliveries are pending.

use super::*;
use edgebus_model::SubscriptionName;

/// What was pending under the old names runs under the new ones, and once.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_follows_its_subscription_to_another_function() {
    let store = Arc::new(MemoryStore::new());
    let pipeline = held(store.clone()).await;
    apply(&pipeline, &[("t", "count old"), ("u", "count u")], 3).await;
    let events: Vec<Event> = (0..40)
        .map(|number| event(&format!("n{number}"), "t", "{}"))
        .collect();
    pipeline.publish("default", events).await.unwrap();
    // Nothing has begun yet, and all of it is in memory under the old function.
    let snapshot = pipeline.snapshot();
    let id = |snapshot: &Snapshot, name: &str| {
        let mut all = snapshot.subscriptions.values();
        all.find(|own| own.name().as_str() == name && own.active)
            .unwrap()
            .id
    };
    let number = id(&snapshot, "t/t");
    let in_memory = || async { pipeline.describe().await.unwrap()[&number].1 };
    while in_memory().await < 40 {
        tokio::task::yield_now().await;
    }
    let name = |text: &str| Name::new(text).unwrap();
    let mut rule = active_rules(&pipeline).remove(0);
    rule.name = name("renamed");
    rule.targets[0].to = Target::Function(name("v"));
    let mut second = TargetConfig::with_defaults(&rule.name, Target::Function(name("v")));
    second.name = SubscriptionName::new("second").unwrap();
    rule.targets.push(second);
    let script = |function: &str, script: &'static str| {
        let component = FunctionSource::Component(Bytes::from_static(script.as_bytes()));
        (name(function), component, FunctionConfig::default())
    };
    let buses = vec![BusConfig::with_defaults(name("default"))];
    pipeline
        .apply_manifest(
            "renamed".to_owned(),
            buses,
            vec![script("v", "count new")],
            vec![rule],
            None,
        )
        .await
        .unwrap();
    assert_eq!(id(&pipeline.snapshot(), "t/t"), number);
    let later = vec![event("later", "t", "{}")];
    pipeline.publish("default", later).await.unwrap();
    pipeline.begin();
    settled(&pipeline).await;
    let count = |function: &str, key: &[u8]| {
        let found = store.state(&name(function), key).unwrap();
        found.map(|found| String::from_utf8(found.value.to_vec()).unwrap())
    };
    // 40 that were pending, and the later event once for each of the two names.
    assert_eq!(count("v", b"new").as_deref(), Some("42"));
    assert_eq!(count("t", b"old"), None);
    let ended = store.settled(number, None, 100).unwrap();
    assert_eq!(ended.len(), 41);
}

/// What left the manifest goes at its end, at the second look, and its number with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_at_its_end_is_retired() {
    let store = Arc::new(MemoryStore::new());
    let pipeline = held(store.clone()).await;
    apply(
        &pipeline,
        &[("t", "ok"), ("u", "reject no"), ("v", "ok")],
        1,
    )
    .await;
    let all = ["t", "u", "v"].map(|kind| event(kind, kind, "{}"));
    pipeline.publish("default", all.to_vec()).await.unwrap();
    let numbers = |pipeline: &Pipeline| {
        let snapshot = pipeline.snapshot();
        let ids = snapshot.subscriptions.values();
        let named = ids.map(|own| (own.name().to_string(), own.id.0));
        named.collect::<BTreeMap<_, _>>()
    };
    let before = numbers(&pipeline);
    apply(&pipeline, &[("v", "ok")], 1).await;
    let mut looks = retire::Looks::default();
    for _ in 0..3 {
        let count = pipeline.retire(&mut looks).await.unwrap();
        assert_eq!(count, 0, "all of them have something pending");
    }
    pipeline.begin();
    settled(&pipeline).await;
    assert_eq!(pipeline.retire(&mut looks).await.unwrap(), 0);
    assert_eq!(pipeline.retire(&mut looks).await.unwrap(), 1);
    assert_eq!(pipeline.retire(&mut looks).await.unwrap(), 0);
    // One has a dead letter, one is active.
    let mut after = before.clone();
    after.remove("t/t");
    assert_eq!(numbers(&pipeline), after);
    let listed = store.catalog().unwrap().subscriptions;
    assert_eq!(listed.len(), 2);
    let described = pipeline.describe().await.unwrap();
    assert!(!described.contains_key(&SubscriptionId(before["t/t"])));
    assert_eq!(described.len(), 2);
    // The name is another subscription when it comes back, and works.
    apply(&pipeline, &[("t", "ok"), ("v", "ok")], 1).await;
    assert!(numbers(&pipeline)["t/t"] > 3);
    let again = vec![event("again", "t", "{}")];
    pipeline.publish("default", again).await.unwrap();
    settled(&pipeline).await;
    let ended = |number: u32| {
        store
            .settled(SubscriptionId(number), None, 9)
            .unwrap()
            .len()
    };
    assert_eq!(ended(numbers(&pipeline)["t/t"]), 1);
    // What it did is listed under no name any more.
    assert_eq!(ended(before["t/t"]), 0);
}
