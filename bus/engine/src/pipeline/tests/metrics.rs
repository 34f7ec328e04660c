//! What functions count: once for each settled attempt, and as long as their component is deployed.

use super::*;

/// The value of a counter of the function `t`.
fn counted(pipeline: &Pipeline, name: &str, outcome: &str) -> Option<u64> {
    let start = format!(
        "edgebus_function_count_total{{function=\"t\",name=\"{name}\",outcome=\"{outcome}\"}} "
    );
    let text = pipeline.context.telemetry.render();
    let value = text.lines().find_map(|line| line.strip_prefix(&start));
    value.map(|value| value.parse().unwrap())
}

/// Waits until the counter has this value: it is counted after the settlement.
async fn counts(pipeline: &Pipeline, name: &str, outcome: &str, value: Option<u64>) {
    let wait = async {
        while counted(pipeline, name, outcome) != value {
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(20), wait).await;
    let now = counted(pipeline, name, outcome);
    assert!(ended.is_ok(), "{name} {outcome}: {now:?}, not {value:?}");
}

async fn publish(pipeline: &Pipeline, ids: impl Iterator<Item = u32>) {
    let events = ids.map(|id| event(&format!("e{id}"), "t", "{}")).collect();
    pipeline.publish("default", events).await.unwrap();
    settled(pipeline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_settled_attempt_counts_once_under_its_outcome() {
    let pipeline = memory_pipeline().await;
    apply(&pipeline, &[("t", "tick orders\nuntil 2")], 3).await;
    publish(&pipeline, 0..1).await;
    counts(&pipeline, "orders", "failure", Some(1)).await;
    counts(&pipeline, "orders", "success", Some(1)).await;
    let invoked = pipeline.try_function("t", "default", event("trial", "t", "{}"));
    invoked.await.unwrap();
    publish(&pipeline, 1..3).await;
    counts(&pipeline, "orders", "success", Some(3)).await;
    counts(&pipeline, "orders", "failure", Some(3)).await;
}

/// Attempts that meet on one key are made again, and count only with the one that is settled.
#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_are_made_again_do_not_count() {
    let pipeline = memory_pipeline().await;
    apply(&pipeline, &[("t", "tick seen\ncount n\ntick written")], 3).await;
    publish(&pipeline, 0..300).await;
    for name in ["seen", "written"] {
        counts(&pipeline, name, "success", Some(300)).await;
        assert_eq!(counted(&pipeline, name, "failure"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_live_as_long_as_their_component() {
    let pipeline = memory_pipeline().await;
    apply(&pipeline, &[("t", "tick a")], 3).await;
    publish(&pipeline, 0..2).await;
    counts(&pipeline, "a", "success", Some(2)).await;
    // Another configuration for the same component.
    let configured = |limits| {
        let function = Name::new("t").unwrap();
        let config = FunctionConfig {
            limits,
            ..FunctionConfig::default()
        };
        let buses = vec![BusConfig::with_defaults(Name::new("default").unwrap())];
        let functions = vec![(function, FunctionSource::Deployed, config)];
        let rules = active_rules(&pipeline);
        pipeline.apply_manifest("configured".to_owned(), buses, functions, rules, None)
    };
    let limits = edgebus_model::FunctionLimits {
        emits_max: 1,
        ..edgebus_model::FunctionLimits::default()
    };
    configured(limits).await.unwrap();
    publish(&pipeline, 2..3).await;
    counts(&pipeline, "a", "success", Some(3)).await;
    // Another component, and then no function.
    apply(&pipeline, &[("t", "tick b")], 3).await;
    counts(&pipeline, "a", "success", None).await;
    publish(&pipeline, 3..4).await;
    counts(&pipeline, "b", "success", Some(1)).await;
    apply(&pipeline, &[("other", "ok")], 3).await;
    pipeline.remove_function("t").await.unwrap();
    let text = pipeline.context.telemetry.render();
    assert!(!text.contains("edgebus_function_count_total"), "{text}");
}
