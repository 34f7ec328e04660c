//! Reading with filters, on the in-memory store with scripts for functions and a clock that stands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use edgebus_rules::{ParseOptions, Pattern, RuleIndex};

use super::*;
use crate::clock::Clock;
use crate::pipeline::Parts;
use crate::telemetry::Telemetry;
use edgebus_model::{Data, Position};
use edgebus_runtime::fake::FakeRuntime;
use edgebus_store::Store;
use edgebus_store::memory::MemoryStore;

/// Each event is accepted this much after the one before, in milliseconds: more than the disorder that
/// readers allow for.
const STEP_MS: u64 = 60_000;

struct Made {
    bus: Bus,
    clock: Clock,
}

/// A bus with a rule for `a` events to `good`, which succeeds, and for `b` events to `bad`, which rejects.
async fn made() -> Made {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let clock = Clock::manual(Timestamp(STEP_MS), 7);
    let pipeline = crate::pipeline::Pipeline::start(Parts {
        catalog: store.catalog().unwrap(),
        store,
        runtime: Arc::new(FakeRuntime),
        clock: clock.clone(),
        telemetry: Telemetry::new(),
        limits: crate::pipeline::Limits::of(64 << 30, usize::MAX),
        space: Box::new(|| u64::MAX),
        secrets: Arc::new(|_| None),
        hold: false,
    })
    .await
    .unwrap();
    let bus = Bus::new(pipeline);
    let manifest = "version: 1
functions: { good: { component: g, config: { K: v } }, bad: { component: b } }
rules:
  as: { match: { type: [a] }, to: [{ function: good }] }
  bs: { match: { type: [b] }, to: [{ function: bad }] }
";
    let script = |name: &str, text: &'static str| {
        (
            Name::new(name).unwrap(),
            Bytes::from_static(text.as_bytes()),
        )
    };
    let components = BTreeMap::from([
        script("good", "count n\nemit c\nconfig K"),
        script("bad", "log hm\nreject no"),
    ]);
    bus.apply_with_components(manifest, &components, false)
        .await
        .unwrap();
    Made { bus, clock }
}

fn event(id: &str, kind: &str) -> Event {
    Event {
        id: id.to_owned(),
        source: "/test".to_owned(),
        kind: kind.to_owned(),
        data: Data::Json(Bytes::from(format!(r#"{{"id":"{id}"}}"#))),
        ..Event::unreadable()
    }
}

impl Made {
    /// Publishes an event of each type, a step apart; the first is accepted at one step.
    async fn publish(&self, kinds: &[&str]) {
        for kind in kinds {
            let number = self.clock.now().0 / STEP_MS - 1;
            let event = event(&format!("{kind}{number}"), kind);
            self.bus.publish("default", vec![event]).await.unwrap();
            self.clock.advance_ms(STEP_MS);
        }
    }

    async fn settle(&self) {
        let wait = async {
            let all = DeliveryFilter::default();
            let pending = async || {
                let pending = self.bus.deliveries(&all, DeliveryStage::Pending, None, 1);
                !pending.await.unwrap().items.is_empty()
            };
            while pending().await {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait)
            .await
            .expect("everything ends");
    }
}

fn matching(pattern: &str) -> Option<Arc<RuleIndex<()>>> {
    let pattern = Pattern::parse(pattern.as_bytes(), &ParseOptions::default()).unwrap();
    Some(Arc::new([((), pattern)].into_iter().collect()))
}

fn of_type(kind: &str) -> EventFilter {
    EventFilter {
        kind: Some(kind.to_owned()),
        ..EventFilter::default()
    }
}

fn positions(events: &[StoredEvent]) -> Vec<u64> {
    events.iter().map(|stored| stored.position.0).collect()
}

#[tokio::test]
async fn the_log_is_read_by_type_pattern_and_time() {
    let made = made().await;
    let kinds: Vec<&str> = (0..40)
        .map(|index| if index % 8 == 3 { "y" } else { "x" })
        .collect();
    made.publish(&kinds).await;
    let check =
        async |filter: EventFilter, after: u64, limit: usize, expected: &[u64], more: bool| {
            let start = made.bus.start_of("default", Position(after), &filter).await;
            let page = made
                .bus
                .events("default", start.unwrap(), limit, &filter)
                .await
                .unwrap();
            assert_eq!(positions(&page.items), expected, "{filter:?}");
            assert_eq!(page.more, more, "{filter:?}");
        };
    check(EventFilter::default(), 37, 10, &[38, 39, 40], false).await;
    check(EventFilter::default(), 0, 2, &[1, 2], true).await;
    check(of_type("y"), 4, 2, &[12, 20], true).await;
    check(of_type("y"), 4, 9, &[12, 20, 28, 36], false).await;
    let pattern = EventFilter {
        pattern: matching(r#"{"data":{"id":["x0","y11"]}}"#),
        ..EventFilter::default()
    };
    check(pattern, 0, 9, &[1, 12], false).await;
    let between = EventFilter {
        since: Some(Timestamp(10 * STEP_MS)),
        until: Some(Timestamp(13 * STEP_MS)),
        ..EventFilter::default()
    };
    check(between.clone(), 0, 9, &[10, 11, 12], false).await;
    check(between.clone(), 10, 9, &[11, 12], false).await;
    let late = EventFilter {
        since: Some(Timestamp(u64::MAX)),
        ..EventFilter::default()
    };
    check(late, 0, 9, &[], false).await;
}

#[tokio::test]
async fn the_newest_events_come_oldest_first() {
    let made = made().await;
    let kinds: Vec<&str> = (0..40)
        .map(|index| if index % 8 == 3 { "y" } else { "x" })
        .collect();
    made.publish(&kinds).await;
    let check = async |filter: EventFilter, count: usize, expected: &[u64]| {
        let last = made
            .bus
            .last_events("default", count, None, &filter)
            .await
            .unwrap();
        assert_eq!(positions(&last.items), expected, "{filter:?}");
        assert_eq!(last.newest, Position(40));
    };
    check(EventFilter::default(), 3, &[38, 39, 40]).await;
    check(of_type("y"), 2, &[28, 36]).await;
    check(of_type("y"), 100, &[4, 12, 20, 28, 36]).await;
    check(of_type("none"), 1, &[]).await;
    let since = EventFilter {
        since: Some(Timestamp(39 * STEP_MS)),
        ..EventFilter::default()
    };
    check(since, 9, &[39, 40]).await;
    assert!(
        made.bus
            .last_events("nowhere", 1, None, &EventFilter::default())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_log_is_read_backwards_in_pages() {
    let made = made().await;
    let kinds: Vec<&str> = (0..40)
        .map(|index| if index % 8 == 3 { "y" } else { "x" })
        .collect();
    made.publish(&kinds).await;
    let check = async |filter: EventFilter, count: usize, expected: Vec<u64>| {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = made.bus.last_events("default", count, before, &filter);
            let page = page.await.unwrap();
            assert!(page.items.len() <= count);
            found.extend(positions(&page.items).into_iter().rev());
            before = page.older;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{filter:?}, {count} at a time");
    };
    for count in [1, 3, 39, 40, 99] {
        check(EventFilter::default(), count, (1..=40).rev().collect()).await;
        check(of_type("y"), count, vec![36, 28, 20, 12, 4]).await;
        check(of_type("none"), count, vec![]).await;
    }
}

/// Position and stage of each delivery.
fn rows(states: &[DeliveryState]) -> Vec<(u64, &'static str)> {
    states
        .iter()
        .map(|state| {
            let stage = match state {
                DeliveryState::Pending(_) => "pending",
                DeliveryState::Succeeded(_) => "succeeded",
                DeliveryState::Dead(_) => "dead",
            };
            (delivery_of(state).key.position.0, stage)
        })
        .collect()
}

fn of(function: Option<&str>, rule: Option<&str>) -> DeliveryFilter {
    DeliveryFilter {
        function: function.map(str::to_owned),
        rule: rule.map(str::to_owned),
        ..DeliveryFilter::default()
    }
}

#[tokio::test]
async fn deliveries_are_found_by_function_rule_time_and_event() {
    let made = made().await;
    // Each `a` is followed by what its function emits.
    for kinds in [["a"], ["b"], ["a"], ["b"]] {
        made.publish(&kinds).await;
        made.settle().await;
    }
    let check = async |filter: DeliveryFilter, stage, expected: &[(u64, &str)]| {
        let page = made.bus.deliveries(&filter, stage, None, 10).await.unwrap();
        assert_eq!(rows(&page.items), expected, "{filter:?}");
    };
    let (good, dead) = (DeliveryStage::Succeeded, DeliveryStage::Dead);
    check(
        of(Some("good"), None),
        good,
        &[(1, "succeeded"), (4, "succeeded")],
    )
    .await;
    check(of(Some("good"), None), dead, &[]).await;
    check(of(None, Some("bs")), dead, &[(3, "dead"), (6, "dead")]).await;
    check(of(Some("good"), Some("bs")), dead, &[]).await;
    let late = DeliveryFilter {
        since: Some(Timestamp(3 * STEP_MS)),
        ..DeliveryFilter::default()
    };
    check(late.clone(), good, &[(4, "succeeded")]).await;
    check(late, dead, &[(6, "dead")]).await;
    for unknown in [of(Some("none"), None), of(None, Some("none"))] {
        let answer = made.bus.deliveries(&unknown, dead, None, 10).await;
        assert_eq!(answer.unwrap_err().kind, Kind::NotFound);
    }
    let all = DeliveryFilter::default();
    let of_event = async |position: u64| {
        let page = made
            .bus
            .deliveries_of("default", Position(position), &all, None, 10)
            .await;
        page.map(|page| rows(&page.items))
    };
    assert_eq!(of_event(1).await.unwrap(), [(1, "succeeded")]);
    assert_eq!(of_event(2).await.unwrap(), []);
    assert_eq!(of_event(3).await.unwrap(), [(3, "dead")]);
    assert_eq!(of_event(99).await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn the_newest_deliveries_are_found_among_many() {
    let made = made().await;
    let kinds: Vec<&str> = (0..50)
        .map(|index| if index % 10 == 0 { "b" } else { "a" })
        .collect();
    made.publish(&kinds).await;
    made.settle().await;
    let (all, more) = made
        .bus
        .last_deliveries(&DeliveryFilter::default(), None, None, 1_000)
        .await
        .unwrap();
    assert_eq!((all.len(), more), (50, false));
    for count in [1, 2, 7, 49, 50] {
        let (last, _) = made
            .bus
            .last_deliveries(&DeliveryFilter::default(), None, None, count)
            .await
            .unwrap();
        assert_eq!(rows(&last), rows(&all[50 - count..]), "{count}");
        // Backwards in pages, every delivery comes once.
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let (page, more) = made
                .bus
                .last_deliveries(&DeliveryFilter::default(), None, before, count)
                .await
                .unwrap();
            found.extend(rows(&page).into_iter().rev());
            before = page.first().map(place_of);
            if !more || page.is_empty() {
                break;
            }
        }
        let expected: Vec<_> = rows(&all).into_iter().rev().collect();
        assert_eq!(found, expected, "{count} at a time");
    }
    let (dead, _) = made
        .bus
        .last_deliveries(&of(Some("bad"), None), Some(DeliveryStage::Dead), None, 3)
        .await
        .unwrap();
    assert_eq!(dead.len(), 3);
    assert_eq!(
        rows(&dead),
        rows(&all)
            .into_iter()
            .filter(|row| row.1 == "dead")
            .skip(2)
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_burst_in_one_millisecond_is_paged_to_its_end() {
    let made = made().await;
    for batch in 0..3 {
        let events = (0..1_000).map(|number| event(&format!("{batch}-{number}"), "a"));
        let events = events.collect();
        made.bus.publish("default", events).await.unwrap();
    }
    made.settle().await;
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let (page, more) = made
            .bus
            .last_deliveries(&DeliveryFilter::default(), None, before, 20)
            .await
            .unwrap();
        assert_eq!(page.len(), 20);
        found.extend(page.iter().rev().map(|row| place_of(row).1.position.0));
        before = page.first().map(place_of);
        if !more {
            break;
        }
    }
    // Positions between them are those of events that the function emitted.
    assert_eq!(found.len(), 3_000);
    assert!(found.is_sorted_by(|newer, older| newer > older));
}

#[tokio::test]
async fn a_trial_shows_everything_and_commits_nothing() {
    let made = made().await;
    made.publish(&["a"]).await;
    made.settle().await;
    let trial = made
        .bus
        .try_function("good", "default", event("t", "a"))
        .await
        .unwrap();
    assert!(trial.outcome.is_success(), "{:?}", trial.outcome);
    assert_eq!(trial.output, "INFO Some(\"v\")\n");
    let [emitted] = trial.emitted.as_slice() else {
        panic!("{:?}", trial.emitted);
    };
    assert_eq!(
        (emitted.bus.as_str(), emitted.event.kind.as_str()),
        ("default", "c")
    );
    // One more than the delivery before it left there.
    assert_eq!(
        trial.writes,
        [(b"n".to_vec(), Some(Bytes::from_static(b"2")))]
    );
    let again = made.bus.try_function("good", "default", event("t", "a"));
    assert_eq!(
        again.await.unwrap().writes,
        trial.writes,
        "nothing was written"
    );
    let log = made
        .bus
        .last_events("default", 10, None, &EventFilter::default())
        .await
        .unwrap();
    assert_eq!(positions(&log.items), [1, 2], "nothing was emitted");
    let rejected = made
        .bus
        .try_function("bad", "default", event("t", "b"))
        .await
        .unwrap();
    assert_eq!(rejected.outcome.class(), "reject");
    assert_eq!(rejected.output, "INFO hm\n");
    for (function, bus) in [("none", "default"), ("good", "none")] {
        let answer = made.bus.try_function(function, bus, event("t", "a")).await;
        assert_eq!(answer.unwrap_err().kind, Kind::NotFound);
    }
}

#[tokio::test]
async fn a_subscription_tells_how_far_it_is_behind() {
    let made = made().await;
    made.publish(&["x", "a"]).await;
    made.settle().await;
    let status = made.bus.subscriptions().await.unwrap();
    assert_eq!(status.len(), 2);
    assert!(
        status
            .iter()
            .all(|status| status.behind == 0 && status.oldest_pending.is_none())
    );
}

#[tokio::test]
async fn changes_that_nobody_waits_for_do_not_pile_up() {
    let made = made().await;
    let (release, released) = tokio::sync::watch::channel(false);
    let (entered, mut entries) = tokio::sync::mpsc::channel(16);
    // Each asks, waits a little, and goes.
    for _ in 0..8 {
        let (mut released, entered) = (released.clone(), entered.clone());
        let change = made.bus.whole(async move {
            let _ = entered.send(()).await;
            let _ = released.wait_for(|go| *go).await;
            Ok(())
        });
        assert!(timeout(Duration::from_millis(5), change).await.is_err());
    }
    for _ in 0..CHANGES_MAX {
        entries.recv().await.unwrap();
    }
    assert!(entries.try_recv().is_err(), "more than its places began");
    release.send_replace(true);
    made.bus.whole(async { Ok(()) }).await.unwrap();
    assert!(entries.try_recv().is_err(), "a change of nobody's began");
}

#[tokio::test]
async fn a_reading_ends_with_the_one_who_asked() {
    let made = made().await;
    let (entered, is_running) = tokio::sync::oneshot::channel();
    let (ended, has_ended) = tokio::sync::oneshot::channel();
    let bus = made.bus.clone();
    let asked = tokio::spawn(async move {
        bus.read(move |_, cancel| {
            let _ = entered.send(());
            while cancel.check().is_ok() {}
            let _ = ended.send(());
            Ok(())
        })
        .await
    });
    is_running.await.unwrap();
    asked.abort();
    has_ended.await.unwrap();
}
