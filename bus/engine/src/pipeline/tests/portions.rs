//! Events that many subscriptions get.

use super::*;
use edgebus_model::SubscriptionName;
use edgebus_model::limits::SUBSCRIPTIONS_OF_EVENT_MAX;

/// Adds a rule for events of type `wide` with so many subscriptions of the function `t`, which is deployed.
async fn widen(pipeline: &Pipeline, count: usize) {
    let name = |text: &str| Name::new(text).unwrap();
    let mut rules = active_rules(pipeline);
    let mut wide = rules[0].clone();
    wide.name = name("wide");
    wide.pattern = Some(r#"{"type":["wide"]}"#.to_owned());
    let own = wide.targets[0].clone();
    wide.targets = (0..count)
        .map(|number| TargetConfig {
            name: SubscriptionName::new(&format!("wide/{number}")).unwrap(),
            ..own.clone()
        })
        .collect();
    rules.push(wide);
    let buses = vec![BusConfig::with_defaults(name("default"))];
    let deployed = pipeline
        .snapshot()
        .functions
        .keys()
        .cloned()
        .collect::<Vec<_>>();
    let functions = deployed.into_iter();
    let functions = functions.map(|own| (own, FunctionSource::Deployed, FunctionConfig::default()));
    pipeline
        .apply_manifest("wide".to_owned(), buses, functions.collect(), rules, None)
        .await
        .unwrap();
}

fn wide(count: usize) -> Vec<Event> {
    (0..count)
        .map(|number| event(&format!("w{number}"), "wide", "{}"))
        .collect()
}

/// A publish that makes many rows is several steps and one answer, in order, with its duplicates.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_publish_has_one_answer() {
    let store = Arc::new(MemoryStore::new());
    let pipeline = held(store.clone()).await;
    apply(&pipeline, &[("t", "ok")], 1).await;
    widen(&pipeline, 1_000).await;
    let mut events = wide(20);
    // The last one repeats the first, which is in another step.
    events.push(events[0].clone());
    let places = pipeline.publish("default", events).await.unwrap();
    let seen: Vec<_> = places
        .iter()
        .map(|place| (place.position.0, place.duplicate))
        .collect();
    let expected = (1..=20).map(|position| (position, false));
    assert_eq!(seen, expected.chain([(1, true)]).collect::<Vec<_>>());
    let last = pipeline.snapshot();
    let last = last.subscriptions.values().map(|own| own.id).max().unwrap();
    assert_eq!(store.deliveries(last, None, 100).unwrap().len(), 20);
}

/// A batch that is taken event by event has one end for each, in order, whichever part it is in.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_publish_tells_of_each_event_what_became_of_it() {
    let store = Arc::new(MemoryStore::new());
    let pipeline = held(store.clone()).await;
    apply(&pipeline, &[("t", "ok")], 1).await;
    widen(&pipeline, 1_000).await;
    let first = vec![event("taken", "x", "1")];
    pipeline.publish("default", first).await.unwrap();
    // Three wide events fill a part. Each part has one that is invalid, one whose id is another event's, and a
    // repeat of what came before it.
    let mut events = Vec::new();
    let mut expected = Vec::new();
    let mut position = 1;
    for (index, own) in wide(12).into_iter().enumerate() {
        let again = own.clone();
        events.push(own);
        position += 1;
        expected.push(format!("{position}"));
        match index % 3 {
            0 => {
                events.push(Event {
                    source: "not a uri".to_owned(),
                    ..again
                });
                expected.push("EventInvalid /source".to_owned());
            }
            1 => {
                events.push(event("taken", "wide", "2"));
                expected.push("IdReused /id".to_owned());
            }
            _ => {
                events.push(again);
                expected.push(format!("{position} again"));
            }
        }
    }
    let ends = pipeline.publish_each("default", events).await.unwrap();
    let ends: Vec<_> = ends
        .into_iter()
        .map(|end| match end {
            Ok(place) if place.duplicate => format!("{} again", place.position),
            Ok(place) => place.position.to_string(),
            Err(error) => format!("{:?} {}", error.code, error.errors[0].pointer),
        })
        .collect();
    assert_eq!(ends, expected);
    let last = pipeline.snapshot();
    let last = last.subscriptions.values().map(|own| own.id).max().unwrap();
    assert_eq!(store.deliveries(last, None, 100).unwrap().len(), 12);

    // With nothing to store there is an answer all the same.
    let taken = (0..5).map(|number| event("taken", "wide", &format!("{}", number + 2)));
    let ends = pipeline.publish_each("default", taken.collect()).await;
    let ends = ends.unwrap();
    assert!(ends.iter().all(|end| {
        end.as_ref()
            .is_err_and(|error| error.code == Code::IdReused)
    }));
    assert_eq!(ends.len(), 5);
}

/// After a part is stored, an error is "unknown", and the same request answers all of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_the_middle_is_unknown_and_repeatable() {
    // The two manifests and the first step are taken, and the second step fails.
    let store = Arc::new(Bad::new(3, false));
    let pipeline = held(store.clone()).await;
    apply(&pipeline, &[("t", "ok")], 1).await;
    widen(&pipeline, 1_000).await;
    let error = pipeline.publish("default", wide(10)).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unknown);
    assert!(
        error.message.starts_with("3 of 10 events are stored"),
        "{error}"
    );
    let store = Arc::new(store.inner.reopen());
    let pipeline = held(store).await;
    let places = pipeline.publish("default", wide(10)).await.unwrap();
    let seen: Vec<_> = places
        .iter()
        .map(|place| (place.position.0, place.duplicate))
        .collect();
    let expected: Vec<_> = (1..=10).map(|position| (position, position <= 3)).collect();
    assert_eq!(seen, expected);
}

/// One event more than may be is refused by number and code, published or emitted; the most is taken.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_too_many_is_refused() {
    let store = Arc::new(MemoryStore::new());
    let pipeline = held(store.clone()).await;
    apply(&pipeline, &[("t", "emit wide")], 1).await;
    widen(&pipeline, SUBSCRIPTIONS_OF_EVENT_MAX + 1).await;
    let mut events = vec![event("narrow", "other", "{}")];
    events.extend(wide(1));
    let error = pipeline.publish("default", events).await.unwrap_err();
    assert_eq!(
        (error.kind, error.code),
        (Kind::Invalid, Code::FanOutTooLarge)
    );
    assert_eq!(error.errors[0].pointer, "/1/type");
    let reason = "this event matches 10001 subscriptions, and 10000 are allowed";
    assert_eq!(error.errors[0].reason, reason);
    let bus = pipeline.snapshot().buses["default"].id;
    assert_eq!(pipeline.last_position(bus), Position(0));
    pipeline
        .publish("default", vec![event("cause", "t", "{}")])
        .await
        .unwrap();
    pipeline.begin();
    settled(&pipeline).await;
    let dead = store.dead_letters(SubscriptionId(1), None, 9).unwrap();
    let said = dead[0].delivery.attempts[0].outcome.to_string();
    assert!(said.contains(reason), "{said}");

    let pipeline = held(Arc::new(MemoryStore::new())).await;
    apply(&pipeline, &[("t", "ok")], 1).await;
    widen(&pipeline, SUBSCRIPTIONS_OF_EVENT_MAX).await;
    let places = pipeline.publish("default", wide(1)).await.unwrap();
    assert_eq!(places.len(), 1);
}
