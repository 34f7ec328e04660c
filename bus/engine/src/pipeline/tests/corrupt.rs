//! One corrupt row of any table: everything else runs, the row is moved to quarantine, and the bus is
//! ready again.

use super::*;
use edgebus_model::{Attempt, DeadReason, EventRef, Outcome};
use edgebus_store::memory::Row;
use edgebus_store::{Effects, Seen, Settle, SettleEnd};

const LAST: u64 = 8;

/// A time that retention doesn't take for old.
fn lately() -> Timestamp {
    Clock::system(Timestamp(0)).now()
}

fn settle(key: DeliveryKey, end: SettleEnd) -> Step {
    let outcome = match &end {
        SettleEnd::Done(_) => Outcome::Success,
        _ => Outcome::Retry {
            message: "later".to_owned(),
            after_ms: None,
        },
    };
    Step::Settle(Box::new(Settle {
        key,
        fence: 0,
        attempt: Attempt {
            number: 1,
            started_at: Timestamp(1),
            duration_us: 1,
            outcome,
            output: String::new(),
        },
        spared: false,
        seen: Seen {
            function: Some(Name::new("t").unwrap()),
            ..Seen::default()
        },
        end,
        now: lately(),
    }))
}

/// A store with eight deliveries: 1 settled, 2 dead, 3 and 4 waiting, the others pending.
async fn prepared() -> (Arc<MemoryStore>, impl Fn(u64) -> DeliveryKey, BusId) {
    let store = Arc::new(MemoryStore::new());
    let pipeline = start_on(store.clone(), Arc::new(FakeRuntime), true).await;
    apply(&pipeline, &[("t", "ok"), ("u", "until 1")], 3).await;
    let snapshot = pipeline.snapshot();
    let own = snapshot.subscriptions.values();
    let id = own
        .clone()
        .find(|own| own.rule.as_str() == "t")
        .map(|own| own.id)
        .expect("the rule is active");
    let bus = snapshot.buses["default"].id;
    pipeline.stop().await;
    let store = Arc::new(store.reopen());
    let events = (1..=LAST).map(|index| edgebus_store::NewEvent {
        event: Arc::new(event(&format!("e{index}"), "t", "{}")),
        lineage: edgebus_model::Lineage::default(),
        subscriptions: vec![id],
        rules_version: 1,
    });
    let append = Step::Append(edgebus_store::Append {
        bus,
        events: events.collect(),
        now: lately(),
    });
    store.commit(&[append]).unwrap();
    let key = move |position| DeliveryKey {
        subscription: id,
        replay: 0,
        position: Position(position),
    };
    let effects = Effects {
        version: 1,
        writes: vec![(b"k".to_vec(), Some(Bytes::from_static(b"v")))],
        ..Effects::default()
    };
    let due = |due_at| SettleEnd::Retry {
        due_at: Timestamp(due_at),
    };
    let reason = DeadReason::Rejected;
    let steps = [
        settle(key(1), SettleEnd::Done(effects)),
        settle(
            key(2),
            SettleEnd::Dead {
                reason,
                published: None,
            },
        ),
        settle(key(3), due(3)),
        settle(key(4), due(4)),
    ];
    store.commit(&steps).unwrap();
    (store, key, bus)
}

/// Starts on a store with one corrupt row, and waits until all that can end has ended.
async fn run_with(row: Row, store: &Arc<MemoryStore>) -> Arc<Pipeline> {
    // Before anything is read; but for what a start reads.
    let at_start = matches!(row, Row::Meta | Row::Catalog);
    if !at_start {
        store.corrupt(row.clone());
    }
    let pipeline = start_on(store.clone(), Arc::new(FakeRuntime), true).await;
    if at_start {
        store.corrupt(row.clone());
    }
    pipeline.begin();
    let over = async {
        while !pipeline.corruption().is_over() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), over)
        .await
        .unwrap_or_else(|_| panic!("{row:?} stays"));
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        while !store.all_pending().is_empty() {
            tokio::task::yield_now().await;
        }
    });
    if ended.await.is_err() {
        panic!("{row:?}: {:?} stay pending", store.all_pending());
    }
    pipeline
}

#[tokio::test(flavor = "multi_thread")]
async fn one_corrupt_row_of_any_table_hinders_nothing_else() {
    let (_, key, bus) = prepared().await;
    let name = |text: &str| Name::new(text).unwrap();
    let root = EventRef {
        bus,
        position: Position(5),
    };
    let u = edgebus_model::Digest::of(b"until 1");
    // The row; what is in quarantine afterwards; what became of a delivery that is not as without it.
    type Changed = Option<(u64, &'static str)>;
    let table: Vec<(Row, u64, Changed)> = vec![
        (Row::Meta, 0, None),
        (Row::Catalog, 0, None),
        (Row::Head(bus), 0, None),
        (Row::Event(bus, Position(3)), 1, Some((3, "corrupt"))),
        (Row::Event(bus, Position(6)), 1, Some((6, "corrupt"))),
        (Row::Delivery(key(3)), 0, None),
        (Row::Delivery(key(6)), 0, None),
        (Row::Due(Timestamp(3), key(3)), 0, None),
        (Row::Settled(key(1)), 1, Some((1, "unreadable"))),
        (Row::DeadLetter(key(2)), 0, Some((2, "corrupt"))),
        (Row::State(name("t"), b"k".to_vec()), 1, None),
        (Row::Descendants(root), 0, None),
        (Row::Component(u), 0, None),
        (Row::Dedupe(bus, Position(4)), 0, None),
    ];
    for (row, in_quarantine, other) in table {
        let (store, key, _) = prepared().await;
        let pipeline = run_with(row.clone(), &store).await;
        assert_eq!(pipeline.ready(), Ok(()), "{row:?}");
        let corruption = pipeline.corruption();
        assert_eq!(corruption.in_quarantine, in_quarantine, "{row:?}");
        assert_eq!(corruption.found, 1, "{row:?}");
        for position in 1..=LAST {
            let became = match store.delivery(key(position)) {
                Ok(Some(DeliveryState::Succeeded(_))) => "succeeded",
                Ok(Some(DeliveryState::Dead(letter))) => letter.reason.word(),
                Ok(_) => "lost",
                Err(_) => "unreadable",
            };
            let expected = match other {
                Some((own, expected)) if own == position => expected,
                _ if position == 2 => "rejected",
                _ => "succeeded",
            };
            assert_eq!(became, expected, "{row:?}: {position}");
        }
        // And what comes after it.
        pipeline
            .publish("default", vec![event("after", "t", "{}")])
            .await
            .unwrap();
        settled(&pipeline).await;
        pipeline.stop().await;
    }
}

/// A row that no step moves keeps the bus unready: the check above would see one.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_quarantine_is_told() {
    let (store, _, bus) = prepared().await;
    store.corrupt(Row::Event(bus, Position(5)));
    let corruption = store.corruption();
    assert!(!corruption.is_over());
    assert_eq!((corruption.records, corruption.in_quarantine), (1, 0));
    let records = corruption.movable;
    let now = Timestamp(9);
    store.commit(&[Step::Quarantine { records, now }]).unwrap();
    assert!(store.corruption().is_over());
    let aside = store.quarantined(None, 10).unwrap();
    assert_eq!(aside.len(), 1);
    assert_eq!(aside[0].moved_at, now);
    assert!(
        store
            .quarantined(Some(&aside[0].id), 10)
            .unwrap()
            .is_empty()
    );
}
