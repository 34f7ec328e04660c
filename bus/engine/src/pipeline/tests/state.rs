//! What functions are promised about state: one moment's, lists included, and no end that rests on what
//! has changed.

use super::*;
use edgebus_runtime::fake::Gate;

fn value(pipeline: &Pipeline, function: &str, key: &str) -> Option<String> {
    let function = Name::new(function).unwrap();
    let found = pipeline.store().state(&function, key.as_bytes()).unwrap();
    found.map(|found| String::from_utf8(found.value.to_vec()).unwrap())
}

/// Publishes two events, the second once the first one's attempt waits at the gate, and opens the gate when
/// the second one's has done its work.
async fn second_overtakes_first(gate: &str, script: &str) -> BTreeMap<u64, (&'static str, u32)> {
    let pipeline = memory_pipeline().await;
    apply(&pipeline, &[("t", script)], 3).await;
    let gate = Gate::named(gate);
    let publish = async |id| {
        let events = vec![event(id, "t", "{}")];
        pipeline.publish("default", events).await.unwrap();
    };
    publish("first").await;
    gate.reached_by(1).await;
    publish("second").await;
    let wait = async {
        while value(&pipeline, "t", "a").is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("the second event is handled");
    gate.open();
    settled(&pipeline).await;
    let stories = stories(&**pipeline.store(), &pipeline).into_iter();
    stories
        .map(|(position, (end, attempt, _))| (position, (end, attempt)))
        .collect()
}

/// `a` and `b` are always written together; an attempt that reads one before and the other after sees none of
/// the two states.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_never_sees_half_of_anothers_writes() {
    let script = "at 1 same a a\nat 1 gate torn\nat 1 same a b\nat 2 count a\nat 2 count b";
    let ends = second_overtakes_first("torn", script).await;
    let fine = ("succeeded", 1);
    assert_eq!(ends, BTreeMap::from([(1, fine), (2, fine)]));
}

/// A rejection counts only if what it rests on still holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_that_rests_on_what_has_changed_is_no_rejection() {
    let script = "at 1 need a needed\nat 2 count a";
    let ends = second_overtakes_first("needed", script).await;
    let fine = ("succeeded", 1);
    assert_eq!(ends, BTreeMap::from([(1, fine), (2, fine)]));
}

/// Two attempts see that nobody leads; only one of them may make itself the leader.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_attempts_that_list_no_leader_one_becomes_it() {
    let pipeline = memory_pipeline().await;
    let script = "none lease/\ngate leaders\nmark lease/\nemit elected";
    apply(&pipeline, &[("t", script)], 3).await;
    let events = ["one", "two"].map(|id| event(id, "t", "{}"));
    pipeline.publish("default", events.into()).await.unwrap();
    let gate = Gate::named("leaders");
    gate.reached_by(2).await;
    gate.open();
    settled(&pipeline).await;
    let function = Name::new("t").unwrap();
    let store = pipeline.store();
    let leases = store.state_keys(&function, b"lease/", None, 9).unwrap();
    assert_eq!(leases.len(), 1);
    let bus = pipeline.snapshot().buses["default"].id;
    let log = store.events(bus, Position(0), 9).unwrap();
    assert_eq!(log.len(), 3, "two published and one elected");
}
