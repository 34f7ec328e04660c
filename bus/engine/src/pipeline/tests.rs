//! The pipeline on the in-memory store with scripts for functions: its promises, and proof that the
//! checks of absence see an injected bug.

mod availability;
mod clock;
mod corrupt;
mod dead_letter;
mod erasures;
mod jobs;
mod metrics;
mod newest;
mod portions;
mod renaming;
mod replays;
mod shadow;
mod state;
mod weekly;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::*;
use edgebus_model::limits::EVENT_BYTES_MAX;
use edgebus_model::{
    Attribute, BusConfig, Data, Delivery, DeliveryKey, Event, FunctionConfig, InputConfig, Job,
    JobId, Name, Pending, RetryPolicy, RuleConfig, SubscriptionId, Target, TargetConfig, Timestamp,
};
use edgebus_runtime::fake::FakeRuntime;
use edgebus_store::memory::MemoryStore;
use edgebus_store::{Appended, DeliveryState, Page, Rows, StepOutcome, StoredEvent, Versioned};

/// A pipeline with nothing active.
async fn memory_pipeline() -> Arc<Pipeline> {
    start(Arc::new(MemoryStore::new())).await
}

async fn start(store: Arc<dyn Store>) -> Arc<Pipeline> {
    start_on(store, Arc::new(FakeRuntime), false).await
}

async fn start_on(store: Arc<dyn Store>, runtime: Arc<dyn Runtime>, hold: bool) -> Arc<Pipeline> {
    Pipeline::start(parts(store, runtime, hold)).await.unwrap()
}

fn parts(store: Arc<dyn Store>, runtime: Arc<dyn Runtime>, hold: bool) -> Parts {
    Parts {
        catalog: store.catalog().unwrap(),
        store,
        runtime,
        clock: Clock::system(Timestamp(0)),
        telemetry: Telemetry::new(),
        limits: Limits::of(64 << 30, usize::MAX),
        space: Box::new(|| u64::MAX),
        secrets: Arc::new(|name| (name == "KEY").then(|| "hush".to_owned())),
        hold,
    }
}

/// One that takes events and attempts nothing before it begins again.
async fn held(store: Arc<dyn Store>) -> Arc<Pipeline> {
    let pipeline = start(store).await;
    pipeline.pause(Pause::Start, true);
    pipeline
}

fn event(id: &str, kind: &str, data: &str) -> Event {
    Event {
        id: id.to_owned(),
        source: "/test".to_owned(),
        kind: kind.to_owned(),
        data: Data::Json(Bytes::copy_from_slice(data.as_bytes())),
        ..Event::unreadable()
    }
}

/// A rule for each `(type, script)`, each with a function of its own.
async fn apply(pipeline: &Pipeline, rules: &[(&str, &str)], attempts_max: u32) {
    let name = |kind: &str| Name::new(&kind.replace('.', "-")).unwrap();
    let retry = RetryPolicy {
        attempts_max,
        backoff: edgebus_model::Backoff {
            initial_ms: 1,
            factor: 1.0,
            ms_max: 2,
            jitter: true,
        },
        ..RetryPolicy::default()
    };
    let functions = rules
        .iter()
        .map(|(kind, script)| {
            (
                name(kind),
                FunctionSource::Component(Bytes::copy_from_slice(script.as_bytes())),
                FunctionConfig::default(),
            )
        })
        .collect();
    let rules = rules
        .iter()
        .map(|(kind, _)| RuleConfig {
            enabled: true,
            description: None,
            name: name(kind),
            bus: Name::new("default").unwrap(),
            pattern: Some(format!(r#"{{"type":["{kind}"]}}"#)),
            filters: Vec::new(),
            targets: vec![TargetConfig {
                retry,
                ..TargetConfig::with_defaults(&name(kind), Target::Function(name(kind)))
            }],
        })
        .collect();
    let buses = vec![BusConfig::with_defaults(Name::new("default").unwrap())];
    pipeline
        .apply_manifest("test".to_owned(), buses, functions, rules, None)
        .await
        .unwrap();
}

fn active_rules(pipeline: &Pipeline) -> Vec<RuleConfig> {
    let snapshot = pipeline.snapshot();
    snapshot.rules.iter().map(|rule| (**rule).clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_another_events_is_refused() {
    let pipeline = memory_pipeline().await;
    apply(&pipeline, &[("t", "emit told")], 3).await;
    let one = |id, kind, data| vec![event(id, kind, data)];
    pipeline
        .publish("default", one("a", "x", "1"))
        .await
        .unwrap();
    let again = pipeline
        .publish("default", one("a", "x", "1"))
        .await
        .unwrap();
    assert!(again[0].duplicate);
    let refused = pipeline.publish("default", one("a", "x", "2")).await;
    let error = refused.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Conflict, Code::IdReused));
    assert_eq!(error.errors[0].pointer, "/id");
    assert!(error.message.contains("at position 1"), "{error}");
    let batch = vec![event("b", "x", "1"), event("a", "y", "1")];
    let error = pipeline.publish("default", batch).await.unwrap_err();
    assert_eq!(error.errors[0].pointer, "/1/id");

    // An emitted event's id is the host's; whoever guessed it makes the function's event another one.
    let from = DeliveryKey {
        subscription: SubscriptionId(1),
        replay: 0,
        position: Position(3),
    };
    let taken = Event {
        source: "/functions/t".to_owned(),
        ..event(&pipeline.context.emitted_id(from, 0), "x", "1")
    };
    pipeline.publish("default", vec![taken]).await.unwrap();
    let places = pipeline
        .publish("default", one("c", "t", "1"))
        .await
        .unwrap();
    assert_eq!(places[0].position, Position(3));
    settled(&pipeline).await;
    let dead = pipeline
        .store()
        .dead_letters(from.subscription, None, 9)
        .unwrap();
    let outcome = &dead[0].delivery.attempts[0].outcome;
    assert!(
        matches!(outcome, edgebus_model::Outcome::Reject { message } if message.contains("at position 2")),
        "{outcome:?}"
    );
    assert!(
        pipeline
            .context
            .telemetry
            .render()
            .contains("edgebus_events_id_reused_total 3"),
        "each is counted"
    );
}

/// Event by event: what can't be stored is left out, alone, and everything else has its place.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_published_each_for_itself() {
    let pipeline = memory_pipeline().await;
    apply(&pipeline, &[("t", "ok")], 3).await;
    pipeline
        .publish("default", vec![event("a", "x", "1")])
        .await
        .unwrap();
    let invalid = Event {
        source: "not a uri".to_owned(),
        ..event("f", "t", "1")
    };
    let large = event("l", "t", &format!("\"{}\"", "x".repeat(EVENT_BYTES_MAX)));
    let batch = vec![
        event("b", "t", "1"),
        event("a", "x", "2"),
        invalid,
        event("a", "x", "1"),
        event("b", "t", "2"),
        event("c", "t", "1"),
        large,
        event("c", "t", "1"),
    ];
    let check = |ends: Vec<Result<Appended, Error>>| -> Vec<String> {
        let ends = ends.into_iter().map(|end| match end {
            Ok(place) => format!(
                "{}{}",
                place.position,
                if place.duplicate { " again" } else { "" }
            ),
            Err(error) => format!("{:?} {}", error.code, error.errors[0].pointer),
        });
        ends.collect()
    };
    let ends = pipeline
        .publish_each("default", batch.clone())
        .await
        .unwrap();
    let expected = [
        "2",
        "IdReused /id",
        "EventInvalid /source",
        "1 again",
        "IdReused /id",
        "3",
        "TooLarge ",
        "3 again",
    ];
    assert_eq!(check(ends), expected);
    // A repeat is safe, and tells the same.
    let again = check(pipeline.publish_each("default", batch).await.unwrap());
    assert_eq!(
        (&*again[0], &*again[1], &*again[5]),
        ("2 again", "IdReused /id", "3 again")
    );
    settled(&pipeline).await;
    assert_eq!(stories(&**pipeline.store(), &pipeline).len(), 2);
    let none = pipeline.publish_each("default", Vec::new()).await.unwrap();
    assert!(none.is_empty());
    let alone = vec![event("a", "x", "9")];
    assert_eq!(
        check(pipeline.publish_each("default", alone).await.unwrap()),
        ["IdReused /id"]
    );
    assert!(pipeline.publish_each("nowhere", Vec::new()).await.is_err());
}

/// With one attempt at a time each begins when the one before is settled: in the order of the log, and
/// without a conflict over state.
#[tokio::test(flavor = "multi_thread")]
async fn one_at_a_time_is_one_after_the_other() {
    let pipeline = memory_pipeline().await;
    apply(&pipeline, &[("t", "count k\nemit told")], 3).await;
    let rules = active_rules(&pipeline);
    let function = rules[0].targets[0].to.name().clone();
    let mut config = FunctionConfig::default();
    config.limits.concurrency_max = 1;
    pipeline
        .apply_manifest(
            "one".to_owned(),
            vec![BusConfig::with_defaults(Name::new("default").unwrap())],
            vec![(function, FunctionSource::Deployed, config)],
            rules,
            None,
        )
        .await
        .unwrap();
    let events = (0..200).map(|index| event(&format!("e{index}"), "t", "{}"));
    pipeline.publish("default", events.collect()).await.unwrap();
    settled(&pipeline).await;
    let bus = pipeline.snapshot().buses.values().next().unwrap().id;
    let log = pipeline.store().events(bus, Position(200), 1_000).unwrap();
    let told: Vec<u64> = log
        .iter()
        .map(|stored| match &stored.event.data {
            Data::Json(json) => String::from_utf8_lossy(json).parse().unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, (1..=200).collect::<Vec<u64>>());
}

/// `apply` of one rule, whose target's input is made like this.
async fn apply_input(pipeline: &Pipeline, kind: &str, input: InputConfig) {
    apply(pipeline, &[(kind, "show")], 3).await;
    let mut rules = active_rules(pipeline);
    rules[0].targets[0].input = Some(input);
    let buses = vec![BusConfig::with_defaults(Name::new("default").unwrap())];
    let function = rules[0].targets[0].to.name().clone();
    let functions = vec![(
        function,
        FunctionSource::Deployed,
        FunctionConfig::default(),
    )];
    pipeline
        .apply_manifest("input".to_owned(), buses, functions, rules, None)
        .await
        .unwrap();
}

/// Waits until a job is in such a state.
async fn until(pipeline: &Pipeline, id: JobId, wanted: impl Fn(&Job) -> bool) -> Job {
    let wait = async {
        loop {
            let job = pipeline.store().job(id).unwrap().unwrap();
            if wanted(&job) {
                return job;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait)
        .await
        .expect("the job comes there")
}

/// Waits until a job has ended.
async fn has_ended(pipeline: &Pipeline, id: JobId) -> Job {
    until(pipeline, id, |job| job.state.has_ended()).await
}

/// Waits until nothing is pending.
async fn settled(pipeline: &Pipeline) {
    let wait = async {
        loop {
            let snapshot = pipeline.snapshot();
            let pending = snapshot.subscriptions.keys().any(|id| {
                !pipeline
                    .store()
                    .deliveries(*id, None, 1)
                    .unwrap()
                    .is_empty()
            });
            if !pending {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait)
        .await
        .expect("everything ends");
}

/// Stage, attempts and last outcome of each delivery, by position.
fn stories(
    store: &dyn Store,
    pipeline: &Pipeline,
) -> BTreeMap<u64, (&'static str, u32, &'static str)> {
    let mut found = BTreeMap::new();
    for id in pipeline.snapshot().subscriptions.keys() {
        for settled in store.settled(*id, None, 100_000).unwrap() {
            let last = settled.delivery.attempts.last().unwrap();
            found.insert(
                settled.delivery.key.position.0,
                ("succeeded", last.number, last.outcome.class()),
            );
        }
        for letter in store.dead_letters(*id, None, 100_000).unwrap() {
            let last = letter.delivery.attempts.last().unwrap();
            found.insert(
                letter.delivery.key.position.0,
                (letter.reason.word(), last.number, last.outcome.class()),
            );
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn each_script_ends_as_it_says() {
    let pipeline = memory_pipeline().await;
    let table = [
        ("fine", "ok", ("succeeded", 1, "success")),
        ("second", "until 2", ("succeeded", 2, "success")),
        ("never", "until 9", ("attempts-exhausted", 3, "retry")),
        ("no", "reject no", ("rejected", 1, "reject")),
        ("falls", "trap down", ("attempts-exhausted", 3, "trap")),
        ("hot", "memory", ("attempts-exhausted", 3, "memory")),
        ("overflow", "count big", ("attempts-exhausted", 3, "limit")),
    ];
    let rules: Vec<_> = table
        .iter()
        .map(|(kind, script, _)| (*kind, *script))
        .collect();
    apply(&pipeline, &rules, 3).await;
    for (index, (kind, ..)) in table.iter().enumerate().take(6) {
        let places = pipeline
            .publish("default", vec![event(&format!("e{index}"), kind, "{}")])
            .await
            .unwrap();
        assert_eq!(places[0].position.0, index as u64 + 1);
    }
    settled(&pipeline).await;
    let seen = stories(&**pipeline.store(), &pipeline);
    for (index, (kind, _, expected)) in table.iter().enumerate().take(6) {
        assert_eq!(seen[&(index as u64 + 1)], *expected, "{kind}");
    }
    pipeline.stop().await;
    assert!(pipeline.store().catalog().unwrap().clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_gets_the_input_that_the_rule_makes() {
    let path = |path: &str| InputConfig::Path(path.to_owned());
    let template = InputConfig::Template(r#"{"id":"{$.id}","n":"{$.data.n}"}"#.to_owned());
    let eventbridge = InputConfig::EventBridge {
        paths: vec![("n".to_owned(), "$.detail.n".to_owned())],
        template: r#"{"said": "n is <n>"}"#.to_owned(),
    };
    for (input, expected) in [
        (path("$.data.n"), "12345678901234567890123"),
        (path("$.data.none"), "null"),
        (path("$.type"), r#""t""#),
        (template, r#"{"id":"a","n":12345678901234567890123}"#),
        (eventbridge, r#"{"said":"n is 12345678901234567890123"}"#),
    ] {
        let pipeline = memory_pipeline().await;
        apply_input(&pipeline, "t", input).await;
        let data = r#"{"n":12345678901234567890123}"#;
        pipeline
            .publish("default", vec![event("a", "t", data)])
            .await
            .unwrap();
        settled(&pipeline).await;
        let id = *pipeline.snapshot().subscriptions.keys().next().unwrap();
        let ended = pipeline.store().settled(id, None, 10).unwrap();
        let output = &ended[0].delivery.attempts[0].output;
        assert!(output.contains(expected), "{output} is not {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn emitted_events_carry_origin_and_a_loop_stops_after_sixteen_hops() {
    let pipeline = memory_pipeline().await;
    apply(&pipeline, &[("loop", "emit loop")], 3).await;
    pipeline
        .publish("default", vec![event("start", "loop", "{}")])
        .await
        .unwrap();
    settled(&pipeline).await;
    let bus = pipeline.snapshot().buses["default"].id;
    let log = pipeline.store().events(bus, Position(0), 100).unwrap();
    assert_eq!(log.len(), 17, "one published and sixteen emitted");
    for (hop, stored) in log.iter().enumerate() {
        assert_eq!(usize::from(stored.lineage.hops), hop);
    }
    let last = &log[16];
    assert_eq!(
        last.lineage.root.map(|root| root.position),
        Some(Position(1))
    );
    let of = |name: &str| {
        last.event
            .extensions
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.clone())
    };
    assert_eq!(
        of("correlationid"),
        Some(Attribute::Text("start".to_owned()))
    );
    assert_eq!(
        of("causationid"),
        Some(Attribute::Text(log[15].event.id.clone()))
    );
    let seen = stories(&**pipeline.store(), &pipeline);
    assert_eq!(seen[&17], ("hop-limit", 1, "limit"));
}

/// Deployed functions may emit what a publisher would be refused: it is stored, and the attempt says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_attribute_of_an_emitted_event_is_noted() {
    let pipeline = memory_pipeline().await;
    let script = "log hi\nemit a\nsource my source\nemit b\nmedia json\nemit c\nsource /ok";
    let long = format!("emit a\nsource {}", "x".repeat(3000));
    let empty = "emit a\nsource ";
    apply(
        &pipeline,
        &[("t", script), ("long", &long), ("empty", empty)],
        3,
    )
    .await;
    let events = vec![
        event("1", "t", "{}"),
        event("2", "long", "{}"),
        event("3", "empty", "{}"),
    ];
    pipeline.publish("default", events).await.unwrap();
    settled(&pipeline).await;
    let seen = stories(&**pipeline.store(), &pipeline);
    assert_eq!(seen[&1], ("succeeded", 1, "success"));
    assert_eq!(seen[&2], ("rejected", 1, "reject"), "sizes are refused");
    assert_eq!(seen[&3], ("rejected", 1, "reject"), "so is what is missing");
    let bus = pipeline.snapshot().buses["default"].id;
    let log = pipeline.store().events(bus, Position(3), 9).unwrap();
    let emitted = log.iter().map(|stored| {
        let media_type = stored.event.data_content_type.as_deref();
        (stored.event.source.as_str(), media_type.unwrap_or_default())
    });
    let expected = [
        ("my source", "application/json"),
        ("/functions/t", "json"),
        ("/ok", "application/json"),
    ];
    assert!(emitted.eq(expected), "{log:?}");
    let ended = pipeline.store().settled(SubscriptionId(1), None, 10);
    let ended = ended.unwrap();
    assert_eq!(
        ended[0].delivery.attempts[0].output,
        "INFO hi\nWARN emitted event 1: attribute `source` must be a URI reference, which has no ` `; write it as %20; \
         the event is stored as it is (2 such events)\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_counted_once_for_each_event_under_contention() {
    let pipeline = memory_pipeline().await;
    apply(&pipeline, &[("tick", "count total")], 3).await;
    let events = (0..500)
        .map(|number| event(&format!("t{number}"), "tick", "{}"))
        .collect();
    pipeline.publish("default", events).await.unwrap();
    settled(&pipeline).await;
    let total = pipeline
        .store()
        .state(&Name::new("tick").unwrap(), b"total")
        .unwrap()
        .map(|Versioned { value, .. }| value);
    assert_eq!(total, Some(Bytes::from_static(b"500")));
    assert!(
        stories(&**pipeline.store(), &pipeline)
            .values()
            .all(|(stage, ..)| *stage == "succeeded")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn emitted_and_published_events_of_one_subscription_all_arrive() {
    let pipeline = memory_pipeline().await;
    apply(
        &pipeline,
        &[("source", "emit sink"), ("sink", "count total")],
        3,
    )
    .await;
    // Settlements that emit and publishes share batches, and both feed `sink`.
    for round in 0..40 {
        let pair = |kind: &str| {
            (0..10)
                .map(|number| event(&format!("{kind}{round}-{number}"), kind, "{}"))
                .collect()
        };
        let (first, second) = tokio::join!(
            pipeline.publish("default", pair("source")),
            pipeline.publish("default", pair("sink"))
        );
        assert_eq!(first.unwrap().len() + second.unwrap().len(), 20);
    }
    settled(&pipeline).await;
    let total = pipeline
        .store()
        .state(&Name::new("sink").unwrap(), b"total")
        .unwrap();
    assert_eq!(
        total.map(|found| found.value),
        Some(Bytes::from_static(b"800"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_found_no_room_is_filled_when_it_has_nothing_to_do() {
    let pipeline = memory_pipeline().await;
    apply(&pipeline, &[("slow", "hang"), ("quick", "count total")], 1).await;
    // More large events than memory takes wait for a function that does not move.
    let large = format!("{:?}", "x".repeat(900_000));
    for number in 0..100 {
        pipeline
            .publish(
                "default",
                vec![event(&format!("l{number}"), "slow", &large)],
            )
            .await
            .unwrap();
    }
    pipeline
        .publish("default", vec![event("q", "quick", "{}")])
        .await
        .unwrap();
    let quick = Name::new("quick").unwrap();
    let wait = async {
        while pipeline.store().state(&quick, b"total").unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("the neighbour is served");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pending_at_an_unclean_stop_is_delivered_after_the_start() {
    let store = Arc::new(MemoryStore::new());
    let pipeline = start(store.clone()).await;
    apply(
        &pipeline,
        &[("slow", "count done\nhang"), ("tick", "count total")],
        3,
    )
    .await;
    pipeline.stop().await;
    // Accepted by a process that died before it could attempt anything.
    let catalog = store.catalog().unwrap();
    let bus = catalog.buses[0].0;
    let tick = catalog
        .subscriptions
        .iter()
        .find(|subscription| subscription.rule.as_str() == "tick")
        .unwrap()
        .id;
    let new = |number: u32| edgebus_store::NewEvent {
        event: Arc::new(event(&format!("n{number}"), "tick", "{}")),
        lineage: edgebus_model::Lineage::default(),
        subscriptions: vec![tick],
        rules_version: catalog.version,
    };
    let append = edgebus_store::Append {
        bus,
        events: (0..2_000).map(new).collect(),
        now: Timestamp(1),
    };
    let outcomes = store
        .commit(&[Step::MarkClean(false), Step::Append(append)])
        .unwrap();
    assert!(matches!(outcomes[1], StepOutcome::Appended(_)));
    let store = Arc::new(store.reopen());
    let pipeline = start(store.clone()).await;
    settled(&pipeline).await;
    let total = store
        .state(&Name::new("tick").unwrap(), b"total")
        .unwrap()
        .map(|found| found.value);
    assert_eq!(total, Some(Bytes::from_static(b"2000")));
}

/// The host fails at the only attempt that the rule allows: the delivery still has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_the_host_spends_no_attempt() {
    let pipeline = memory_pipeline().await;
    apply(&pipeline, &[("broken", "break 2"), ("fails", "trap x")], 1).await;
    let events = vec![event("a", "broken", "{}"), event("b", "fails", "{}")];
    pipeline.publish("default", events).await.unwrap();
    settled(&pipeline).await;
    let snapshot = pipeline.snapshot();
    let mut dead = 0;
    for (id, own) in &snapshot.subscriptions {
        let letters = pipeline.store().dead_letters(*id, None, 9).unwrap();
        dead += letters.len();
        for ended in pipeline.store().settled(*id, None, 9).unwrap() {
            let delivery = &ended.delivery;
            assert_eq!(own.rule.as_str(), "broken");
            assert_eq!((delivery.attempts_made, delivery.host_failures), (2, 1));
            assert_eq!(delivery.attempts[0].outcome.class(), "host");
        }
    }
    assert_eq!(dead, 1, "the function's own failure spends it");
}

/// Two attempts that a process died in hang again; what else is pending doesn't wait for them. And a death
/// in company costs no attempt: whoever is innocent keeps all of them.
#[tokio::test(flavor = "multi_thread")]
async fn interrupted_attempts_run_beside_everything_else() {
    let store = Arc::new(MemoryStore::new());
    let pipeline = start(store.clone()).await;
    let rules = [("slow", "hang"), ("tick", "count total"), ("last", "ok")];
    apply(&pipeline, &rules, 1).await;
    pipeline.stop().await;
    let catalog = store.catalog().unwrap();
    let id = |rule: &str| {
        let own = |own: &&edgebus_model::Subscription| own.rule.as_str() == rule;
        catalog.subscriptions.iter().find(own).unwrap().id
    };
    let new = |number: usize, kind: &str| edgebus_store::NewEvent {
        event: Arc::new(event(&format!("n{number}"), kind, "{}")),
        lineage: edgebus_model::Lineage::default(),
        subscriptions: vec![id(kind)],
        rules_version: catalog.version,
    };
    let kinds = ["slow", "slow", "last", "tick"];
    let append = edgebus_store::Append {
        bus: catalog.buses[0].0,
        events: kinds
            .iter()
            .enumerate()
            .map(|(number, kind)| new(number, kind))
            .collect(),
        now: pipeline.clock().now(),
    };
    let claim = |kind: &str, position: u64| Step::Claim {
        key: DeliveryKey {
            subscription: id(kind),
            replay: 0,
            position: Position(position),
        },
        fence: 0,
        now: pipeline.clock().now(),
    };
    let steps = [
        Step::MarkClean(false),
        Step::Append(append),
        claim("slow", 1),
        claim("slow", 2),
        claim("last", 3),
    ];
    store.commit(&steps).unwrap();
    let store = Arc::new(store.reopen());
    let _pipeline = start(store.clone()).await;
    let wait = async {
        let tick = Name::new("tick").unwrap();
        while store.state(&tick, b"total").unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("the other subscription is served while the suspects hang");
    // It waits for the suspects before it, or had its first attempt.
    let key = DeliveryKey {
        subscription: id("last"),
        replay: 0,
        position: Position(3),
    };
    match store.delivery(key).unwrap().unwrap() {
        DeliveryState::Pending(waiting) => assert!(waiting.attempts.is_empty()),
        DeliveryState::Succeeded(settled) => assert_eq!(settled.delivery.attempts[0].number, 1),
        DeliveryState::Dead(dead) => panic!("{dead:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_kills_the_process_reaches_the_dead_letters() {
    let store = Arc::new(MemoryStore::new());
    let pipeline = start(store.clone()).await;
    apply(&pipeline, &[("killer", "ok")], 3).await;
    pipeline.stop().await;
    let catalog = store.catalog().unwrap();
    let subscription = catalog.subscriptions[0].id;
    let append = edgebus_store::Append {
        bus: catalog.buses[0].0,
        events: vec![edgebus_store::NewEvent {
            event: Arc::new(event("k", "killer", "{}")),
            lineage: edgebus_model::Lineage::default(),
            subscriptions: vec![subscription],
            rules_version: catalog.version,
        }],
        now: pipeline.clock().now(),
    };
    store.commit(&[Step::Append(append)]).unwrap();
    // Three processes claim the attempt and die in it; each start counts the death of the one before.
    let key = DeliveryKey {
        subscription,
        replay: 0,
        position: Position(1),
    };
    for _ in 0..3 {
        let Some(DeliveryState::Pending(pending)) = store.delivery(key).unwrap() else {
            panic!("it is pending")
        };
        store
            .commit(&[
                Step::MarkClean(false),
                Step::Claim {
                    key,
                    fence: pending.fence,
                    now: Timestamp(0),
                },
            ])
            .unwrap();
        let Some(DeliveryState::Pending(claimed)) = store.delivery(key).unwrap() else {
            panic!("it is pending")
        };
        if claimed.attempts_made < 2 {
            let attempt = edgebus_model::Attempt {
                number: claimed.attempts_made + 1,
                started_at: Timestamp(0),
                duration_us: 0,
                outcome: edgebus_model::Outcome::Host {
                    message: recover::DEATH.to_owned(),
                },
                output: String::new(),
            };
            let settle = edgebus_store::Settle {
                key,
                fence: claimed.fence,
                attempt,
                spared: false,
                seen: edgebus_store::Seen::default(),
                end: edgebus_store::SettleEnd::Retry {
                    due_at: Timestamp(0),
                },
                now: Timestamp(0),
            };
            store.commit(&[Step::Settle(Box::new(settle))]).unwrap();
        }
    }
    let store = Arc::new(store.reopen());
    let pipeline = start(store.clone()).await;
    settled(&pipeline).await;
    assert_eq!(
        stories(&*store, &pipeline)[&1],
        ("attempts-exhausted", 3, "host")
    );
}

/// A store that fails or lies on demand, in front of a good one.
struct Bad {
    inner: MemoryStore,
    /// Commits until one fails.
    commits_left: AtomicUsize,
    /// The injected bug: says that the failed commit took place.
    lies: bool,
    /// What the next plan waits for.
    gate: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
    /// Set when it waits.
    waits: AtomicBool,
    /// Pages of dead letters that were read.
    letters_read: AtomicUsize,
}

impl Bad {
    fn new(commits_left: usize, lies: bool) -> Self {
        Self {
            inner: MemoryStore::new(),
            commits_left: AtomicUsize::new(commits_left),
            lies,
            gate: Mutex::new(None),
            waits: AtomicBool::new(false),
            letters_read: AtomicUsize::new(0),
        }
    }
}

macro_rules! forward {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        $(fn $name(&self, $($argument: $kind),*) -> Result<$answer, edgebus_store::Error> { self.inner.$name($($argument),*) })*
    };
}

impl Store for Bad {
    fn commit(&self, steps: &[Step]) -> Result<Vec<StepOutcome>, edgebus_store::Error> {
        let left = self
            .commits_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                Some(left.saturating_sub(1))
            })
            .unwrap();
        if left > 0 {
            return self.inner.commit(steps);
        }
        if self.lies {
            let places = |append: &edgebus_store::Append| {
                (0..append.events.len() as u64)
                    .map(|index| Appended {
                        position: Position(1_000 + index),
                        duplicate: false,
                    })
                    .collect()
            };
            return Ok(steps
                .iter()
                .map(|step| match step {
                    Step::Append(append) => StepOutcome::Appended(places(append)),
                    _ => StepOutcome::Stale,
                })
                .collect());
        }
        Err(edgebus_store::Error::new(
            edgebus_store::Kind::Unknown,
            "injected",
        ))
    }

    fn plan(&self, step: &Step) -> Result<Result<(Catalog, Step), String>, edgebus_store::Error> {
        let gate = self.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            self.waits.store(true, Ordering::SeqCst);
            gate.recv_timeout(Duration::from_secs(30))
                .expect("whoever waits lets others go on");
        }
        self.inner.plan(step)
    }

    fn totals(&self) -> edgebus_store::Counts {
        self.inner.totals()
    }

    fn dead_letters_page(
        &self,
        subscription: SubscriptionId,
        from: Option<DeliveryKey>,
        page: Page,
    ) -> Result<Rows<edgebus_model::DeadLetter, DeliveryKey>, edgebus_store::Error> {
        self.letters_read.fetch_add(1, Ordering::SeqCst);
        self.inner.dead_letters_page(subscription, from, page)
    }

    forward! {
        catalog() -> Catalog;
        events_page(bus: BusId, from: Position, page: Page) -> Rows<StoredEvent, Position>;
        event(bus: BusId, position: Position) -> Option<StoredEvent>;
        pending_page(subscription: SubscriptionId, from: Option<DeliveryKey>, page: Page) -> Rows<Pending, DeliveryKey>;
        deliveries_page(subscription: SubscriptionId, from: Option<DeliveryKey>, page: Page) -> Rows<Delivery, DeliveryKey>;
        pending(key: DeliveryKey) -> Option<Pending>;
        running_page(from: Option<DeliveryKey>, page: Page) -> Rows<edgebus_model::Running, DeliveryKey>;
        waiting(until: Timestamp, after: Option<(Timestamp, DeliveryKey)>, limit: usize) -> Vec<(Timestamp, DeliveryKey)>;
        delivery(key: DeliveryKey) -> Option<DeliveryState>;
        settled_page(subscription: SubscriptionId, from: Option<DeliveryKey>, page: Page) -> Rows<edgebus_model::Succeeded, DeliveryKey>;
        job(id: edgebus_model::JobId) -> Option<edgebus_model::Job>;
        jobs_page(from: Option<edgebus_model::JobId>, page: Page) -> Rows<edgebus_model::Job, edgebus_model::JobId>;
        shadow_report(id: edgebus_model::JobId) -> Option<edgebus_model::ShadowReport>;
        job_component(id: edgebus_model::JobId, digest: edgebus_model::Digest) -> Option<Bytes>;
        bus_counts(bus: BusId) -> edgebus_store::BusCounts;
        floor(bus: BusId) -> Position;
        counts(subscription: SubscriptionId) -> edgebus_store::Counts;
        state_view() -> Box<dyn edgebus_store::StateView + '_>;
        component(digest: edgebus_model::Digest) -> Option<Bytes>;
        verify(corruption: &mut dyn FnMut(String)) -> edgebus_store::Verified;
    }
}

/// Publishes until the store fails, and gives the accepted events that are not in the log.
async fn lost_after_a_failed_commit(lies: bool) -> Vec<String> {
    let store = Arc::new(Bad::new(20, lies));
    let pipeline = start(store.clone()).await;
    let bus = pipeline.snapshot().buses["default"].id;
    let mut accepted = Vec::new();
    let mut refused = None;
    for number in 0..40 {
        let id = format!("p{number}");
        match pipeline
            .publish("default", vec![event(&id, "t", "{}")])
            .await
        {
            Ok(_) => accepted.push(id),
            Err(error) => {
                refused.get_or_insert(error.kind);
            }
        }
    }
    if !lies {
        assert_eq!(
            refused,
            Some(Kind::Unknown),
            "the first refusal says that the outcome is unknown"
        );
        assert!(!pipeline.live());
        assert_eq!(pipeline.failure().await, "injected");
        assert_eq!(
            pipeline
                .publish("default", vec![event("x", "t", "{}")])
                .await
                .unwrap_err()
                .kind,
            Kind::Unavailable
        );
    }
    let log: Vec<String> = store
        .inner
        .events(bus, Position(0), 1_000)
        .unwrap()
        .into_iter()
        .map(|stored| stored.event.id.clone())
        .collect();
    accepted.retain(|id| !log.contains(id));
    accepted
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_accepted_is_lost_when_a_commit_fails() {
    assert_eq!(
        lost_after_a_failed_commit(false).await,
        Vec::<String>::new()
    );
    assert!(
        !lost_after_a_failed_commit(true).await.is_empty(),
        "the check must see an acknowledgement without a commit"
    );
}

/// On one thread: whatever an apply does there stands in the way of everything else.
#[tokio::test]
async fn publishing_goes_on_while_rules_are_taken_over() {
    let store = Arc::new(Bad::new(usize::MAX, false));
    let pipeline = start(store.clone()).await;
    apply(&pipeline, &[("t", "ok")], 3).await;
    let (go_on, gate) = std::sync::mpsc::channel();
    *store.gate.lock().unwrap() = Some(gate);
    let applying = {
        let pipeline = pipeline.clone();
        tokio::spawn(async move { apply(&pipeline, &[("t", "ok"), ("u", "ok")], 3).await })
    };
    while !store.waits.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    let publish = async |id: &str, kind: &str| {
        let events = vec![event(id, kind, "{}")];
        let places = pipeline.publish("default", events).await.unwrap();
        let bus = pipeline.snapshot().buses["default"].id;
        let stored = store.event(bus, places[0].position).unwrap().unwrap();
        (stored.rules_version, stored.subscriptions.len())
    };
    // Until the change is made the old rules decide.
    assert_eq!(publish("before", "t").await, (1, 1));
    assert_eq!(publish("too early", "u").await, (1, 0));
    assert!(!applying.is_finished());
    go_on.send(()).unwrap();
    applying.await.unwrap();
    assert_eq!(publish("after", "u").await, (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_event_refuses_the_whole_request() {
    let pipeline = memory_pipeline().await;
    let bad = vec![
        event("good", "t", "{}"),
        Event {
            source: String::new(),
            ..event("bad", "t", "{}")
        },
    ];
    let error = pipeline.publish("default", bad).await.unwrap_err();
    assert_eq!(
        (error.kind, error.errors[0].pointer.as_str()),
        (Kind::Invalid, "/1/source")
    );
    let bus = pipeline.snapshot().buses["default"].id;
    assert!(
        pipeline
            .store()
            .events(bus, Position(0), 10)
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        pipeline
            .publish("nowhere", vec![event("a", "t", "{}")])
            .await
            .unwrap_err()
            .kind,
        Kind::NotFound
    );
}
