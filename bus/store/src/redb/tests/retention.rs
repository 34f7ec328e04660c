//! Retention in the tables: nothing of a removed event is left, earlier releases refuse the store, and what
//! replays have pending counts.

use super::power::{Disk, Random, batch};
use super::*;
use crate::redb::tables::{delivery_key, event_key};

fn trim(before: u64) -> Step {
    Step::Trim(Trim {
        bus: BusId(1),
        accepted_before: Timestamp(before),
        bytes_max: u64::MAX,
        events_max: 1_000,
        expected: None,
        now: Timestamp(before),
    })
}

fn count(store: &RedbStore, table: Table) -> u64 {
    store.snapshot().unwrap().count(table).unwrap()
}

fn format(store: &RedbStore) -> u32 {
    let rows = store.snapshot().unwrap();
    catalog::read_identity(&rows).unwrap().format
}

#[test]
fn nothing_is_left_of_what_was_removed() {
    for seed in 0..8 {
        let (disk, store) = Disk::with_store();
        let mut random = Random(seed);
        let (mut fences, mut next_id) = (std::collections::HashMap::new(), 0);
        for _ in 0..30 {
            let steps = batch(&mut random, &mut fences, &mut next_id);
            for outcome in store.commit(&steps).unwrap() {
                if let StepOutcome::Appended(places) = outcome {
                    let fresh = places.iter().filter(|place| !place.duplicate);
                    fences.extend(fresh.map(|place| (place.position.0, 0)));
                }
            }
        }
        assert_eq!(verified(&store), [""; 0], "seed {seed}");
        // What is pending ends, one after the other, and then everything is too old.
        for event in store.events(BusId(1), Position(0), 10_000).unwrap() {
            let key = key(event.position.0);
            if let Some(DeliveryState::Pending(row)) = store.delivery(key).unwrap() {
                let end = SettleEnd::Done(Effects {
                    version: conformance::next_version(),
                    ..Effects::default()
                });
                store
                    .commit(&[settle(key.position.0, row.fence, end)])
                    .unwrap();
            }
        }
        store.commit(&[trim(2_000)]).unwrap();
        let letters = store
            .dead_letters(SubscriptionId(1), None, 10_000)
            .unwrap()
            .iter()
            .map(|letter| letter.delivery.key)
            .collect();
        store
            .commit(&[Step::Expire(Expire {
                keys: letters,
                died_before: Timestamp(u64::MAX),
                expected: None,
                now: Timestamp(2_000),
            })])
            .unwrap();
        for table in [
            Table::Events,
            Table::Deliveries,
            Table::Due,
            Table::Settled,
            Table::DeadLetters,
            Table::Attempts,
            Table::Running,
        ] {
            assert_eq!(count(&store, table), 0, "seed {seed}: {}", table.name());
        }
        assert_eq!(verified(&store), [""; 0], "seed {seed}");
        drop(store);
        let store = Disk::of(disk.live()).open().unwrap();
        assert_eq!(store.bus_counts(BusId(1)).unwrap(), BusCounts::default());
        assert_eq!(store.corruption().names, [""; 0], "seed {seed}");
    }
}

#[test]
fn the_first_removal_raises_the_format() {
    let (disk, store) = Disk::with_store();
    assert_eq!(format(&store), 3);
    let mut new = event("a", vec![1]);
    new.subscriptions.clear();
    store.commit(&[append(vec![new], 1_000)]).unwrap();
    store.commit(&[trim(500)]).unwrap();
    assert_eq!(format(&store), 3, "nothing was removed");
    store.commit(&[trim(2_000)]).unwrap();
    assert_eq!(format(&store), 4);
    drop(store);
    let disk = Disk::of(disk.live());
    let store = disk.open().unwrap();
    assert_eq!(format(&store), 4);
    // A mark writes other rows of `meta` anew, and not this one.
    store.commit(&[Step::MarkClean(true)]).unwrap();
    assert_eq!(format(&store), 4);
}

/// Makes a delivery of a replay pending, as a replay will.
fn replay(store: &RedbStore, position: u64, pending: bool) {
    let transaction = begin(store.database(), &store.length).unwrap();
    let mut tables = Tables::new(&transaction, Arc::default());
    let key = DeliveryKey {
        replay: 7,
        ..key(position)
    };
    let row = delivery_key(key);
    if pending {
        let pending = edgebus_model::Pending::new(key, Timestamp(1_000));
        tables
            .put(Table::Deliveries, &row, |out| {
                crate::codec::delivery::write_pending(out, &pending);
            })
            .unwrap();
    } else {
        tables.remove(Table::Deliveries, &row).unwrap();
    }
    drop(tables);
    transaction.commit().unwrap();
}

#[test]
fn what_a_replay_has_pending_keeps_its_event() {
    let (disk, store) = Disk::with_store();
    let events = ["a", "b", "c"].map(|id| {
        let mut new = event(id, vec![1]);
        new.subscriptions.clear();
        new
    });
    store.commit(&[append(events.to_vec(), 1_000)]).unwrap();
    replay(&store, 2, true);
    drop(store);
    // It is found by the first look of a process, and by all that follow.
    let store = Disk::of(disk.live()).open().unwrap();
    let outcome = store.commit(&[trim(2_000)]).unwrap();
    assert!(
        matches!(&outcome[0], StepOutcome::Trimmed(done) if (done.events, done.kept) == (2, 1)),
        "{outcome:?}"
    );
    let left = store.events(BusId(1), Position(0), 9).unwrap();
    assert_eq!(left.len(), 1);
    // Its settlement ends the last of it.
    let Step::Settle(mut end) = settle(2, 0, SettleEnd::Done(Effects::default())) else {
        panic!("it is one")
    };
    end.key.replay = 7;
    store.commit(&[Step::Settle(end)]).unwrap();
    assert_eq!(store.events(BusId(1), Position(0), 9).unwrap(), []);
    assert_eq!(count(&store, Table::Settled), 0);
    // The next removal asks no more for what the replay has pending.
    let known = |store: &RedbStore| {
        let memory = store.memory.lock().unwrap();
        memory.2.replays_known()
    };
    assert_eq!(known(&store), 1);
    let mut new = event("d", vec![1]);
    new.subscriptions.clear();
    store.commit(&[append(vec![new], 1_000)]).unwrap();
    store.commit(&[trim(2_000)]).unwrap();
    assert_eq!(known(&store), 0);
}

/// Each end of a delivery of an event that retention has passed looks at few others, in whatever order they end.
#[test]
fn the_end_of_one_delivery_of_many_is_cheap() {
    const COUNT: u32 = 300;
    let orders: [fn(u32) -> u32; 3] = [
        |nth| nth + 1,
        |nth| COUNT - nth,
        |nth| (nth * 77) % COUNT + 1,
    ];
    for order in orders {
        let (_disk, store) = Disk::with_store();
        let Step::ApplyManifest(mut many) = rules(1_000_000) else {
            panic!("it is one")
        };
        let first = many.rules[0].targets[0].clone();
        many.rules[0].targets = (1..=COUNT)
            .map(|number| TargetConfig {
                name: match number {
                    1 => first.name.clone(),
                    _ => SubscriptionName::new(&format!("r/n{number}")).unwrap(),
                },
                ..first.clone()
            })
            .collect();
        let applied = store.commit(&[Step::ApplyManifest(many)]).unwrap();
        assert!(matches!(applied[0], StepOutcome::Applied { .. }));
        let mut new = event("a", vec![1]);
        new.subscriptions = (1..=COUNT).map(SubscriptionId).collect();
        store.commit(&[append(vec![new], 1_000)]).unwrap();
        store.commit(&[trim(2_000)]).unwrap();
        let before = injected::LOOKED_AT.get();
        for nth in 0..COUNT {
            assert_eq!(store.events(BusId(1), Position(0), 9).unwrap().len(), 1);
            let end = SettleEnd::Done(Effects::default());
            let Step::Settle(mut end) = settle(1, 0, end) else {
                panic!("it is one")
            };
            end.key.subscription = SubscriptionId(order(nth));
            let outcome = store.commit(&[Step::Settle(end)]).unwrap();
            assert!(matches!(outcome[0], StepOutcome::Settled(_)));
        }
        assert_eq!(store.events(BusId(1), Position(0), 9).unwrap(), []);
        let looked = injected::LOOKED_AT.get() - before;
        assert!(looked <= 2 * u64::from(COUNT), "{looked}");
    }
}

/// An event whose record is corrupt is passed, and stays for quarantine; what comes behind it goes.
#[test]
fn a_corrupt_event_stops_nothing() {
    let (_disk, store) = Disk::with_store();
    let events = ["a", "b", "c", "d"].map(|id| {
        let mut new = event(id, vec![1]);
        new.subscriptions.clear();
        new
    });
    store.commit(&[append(events.to_vec(), 1_000)]).unwrap();
    let transaction = begin(store.database(), &store.length).unwrap();
    let mut rows = transaction
        .open_table(tables::definition(Table::Events))
        .unwrap();
    let rotten = event_key(BusId(1), Position(2));
    rows.insert(&rotten[..], &b"rot and nothing else"[..])
        .unwrap();
    drop(rows);
    transaction.commit().unwrap();
    let outcome = store.commit(&[trim(2_000)]).unwrap();
    assert!(
        matches!(&outcome[0], StepOutcome::Trimmed(done) if (done.events, done.kept, done.floor) == (3, 1, Position(5))),
        "{outcome:?}"
    );
    let found = store.corruption();
    assert_eq!(found.records, 1, "{found:?}");
    store
        .commit(&[Step::Quarantine {
            records: found.movable,
            now: Timestamp(3_000),
        }])
        .unwrap();
    assert_eq!(store.corruption().names, [""; 0]);
    assert_eq!(verified(&store), [""; 0]);
    assert_eq!(count(&store, Table::Events), 0);
    assert_eq!(store.bus_counts(BusId(1)).unwrap(), BusCounts::default());
}

/// What has ended of an event that is in quarantine goes with the events around it, whether the event was moved there
/// before retention came to it or afterwards.
#[test]
fn nothing_is_left_of_events_in_quarantine() {
    for moved_first in [true, false] {
        let (_disk, store) = Disk::with_store();
        let events = ["a", "b", "c", "d", "e"].map(|id| event(id, vec![1]));
        store.commit(&[append(events.to_vec(), 1_000)]).unwrap();
        for position in 1..=5 {
            let due_at = Timestamp(2);
            let retry = settle(position, 0, SettleEnd::Retry { due_at });
            let end = SettleEnd::Done(Effects::default());
            store.commit(&[retry, settle(position, 1, end)]).unwrap();
        }
        let transaction = begin(store.database(), &store.length).unwrap();
        let mut rows = transaction
            .open_table(tables::definition(Table::Events))
            .unwrap();
        for position in [2, 3] {
            let rotten = event_key(BusId(1), Position(position));
            rows.insert(&rotten[..], &b"rot and nothing else"[..])
                .unwrap();
        }
        drop(rows);
        transaction.commit().unwrap();
        let quarantine = || {
            store.events(BusId(1), Position(0), 9).unwrap();
            let records = store.corruption().movable;
            let now = Timestamp(3_000);
            store.commit(&[Step::Quarantine { records, now }]).unwrap();
        };
        if moved_first {
            quarantine();
        }
        let outcome = store.commit(&[trim(4_000)]).unwrap();
        assert!(
            matches!(&outcome[0], StepOutcome::Trimmed(done) if (done.events, done.floor) == (3, Position(6))),
            "{outcome:?}"
        );
        quarantine();
        for table in [Table::Events, Table::Settled, Table::Attempts] {
            assert_eq!(count(&store, table), 0, "{}", table.name());
        }
        assert_eq!(store.corruption().names, [""; 0]);
        assert_eq!(verified(&store), [""; 0]);
    }
}

/// A pending delivery whose key lost a bit is not found by its key. Its event stays until it is put back and ends.
#[test]
fn a_delivery_under_a_flipped_key_keeps_its_event() {
    for bit in [1, 40, 64 + 60, 127] {
        let (disk, store) = Disk::with_store();
        let events = ["a", "b", "c"].map(|id| event(id, vec![1]));
        store.commit(&[append(events.to_vec(), 1_000)]).unwrap();
        for position in [1, 3] {
            let end = SettleEnd::Done(Effects::default());
            store.commit(&[settle(position, 0, end)]).unwrap();
        }
        drop(store);
        let row = delivery_key(key(2));
        let mut bytes = disk.live();
        let mut flipped = row;
        flipped[bit / 8] ^= 1 << (bit % 8);
        // Wherever the file has it; pages that are free may, too.
        let places: Vec<usize> = (0..bytes.len() - 16)
            .filter(|at| bytes[*at..*at + 16] == row)
            .collect();
        for at in places {
            bytes[at..at + 16].copy_from_slice(&flipped);
        }
        let store = Disk::of(bytes).open().unwrap();
        let outcome = store.commit(&[trim(2_000)]).unwrap();
        assert!(
            matches!(&outcome[0], StepOutcome::Trimmed(done) if (done.events, done.kept) == (2, 1)),
            "bit {bit}: {outcome:?}"
        );
        assert!(store.event(BusId(1), Position(2)).unwrap().is_some());
        // Quarantine puts it back, in as many steps as it takes.
        for now in 3_000..3_010 {
            let now = Timestamp(now);
            let records = store.corruption().movable;
            store.commit(&[Step::Quarantine { records, now }]).unwrap();
        }
        assert_eq!(store.corruption().names, [""; 0], "bit {bit}");
        let pending = store.pending(key(2)).unwrap().unwrap();
        assert_eq!(
            pending.fence, 0,
            "bit {bit}: it is the one that was written"
        );
        let end = SettleEnd::Done(Effects::default());
        store.commit(&[settle(2, 0, end)]).unwrap();
        assert_eq!(store.events(BusId(1), Position(0), 9).unwrap(), []);
        assert_eq!(verified(&store), [""; 0], "bit {bit}");
    }
}

/// What an event costs the writer when it is stored, when its delivery is settled and when both are removed, on a
/// real file with flushes. Prints it; `EDGEBUS_RETENTION_COST` says how many events (1,000 by default).
#[test]
fn what_a_removal_costs() {
    let count = std::env::var("EDGEBUS_RETENTION_COST");
    let count: u64 = count
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000);
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::create(&folder.path().join("store"), small()).unwrap();
    store.commit(&[rules(1_000_000)]).unwrap();
    let timed = |what: &str, steps: &mut dyn Iterator<Item = Vec<Step>>| {
        let (mut took, mut commits) = (std::time::Duration::ZERO, 0);
        for steps in steps {
            let began = std::time::Instant::now();
            store.commit(&steps).unwrap();
            took += began.elapsed();
            commits += 1;
        }
        let each = took.as_secs_f64() * 1e6 / count as f64;
        println!("{what}: {each:.1} µs for each of {count} events, {commits} commits");
    };
    let batch = 128;
    let starts = || (0..count).step_by(batch as usize);
    timed(
        "stored",
        &mut starts().map(|first| {
            let events = (first..(first + batch).min(count))
                .map(|id| event(&id.to_string(), vec![id as u8; 1_000]));
            vec![append(events.collect(), 1_000)]
        }),
    );
    timed(
        "settled",
        &mut starts().map(|first| {
            (first..(first + batch).min(count))
                .map(|id| settle(id + 1, 0, SettleEnd::Done(Effects::default())))
                .collect()
        }),
    );
    timed(
        "removed",
        &mut starts().map(|_| {
            vec![Step::Trim(Trim {
                bus: BusId(1),
                accepted_before: Timestamp(2_000),
                bytes_max: u64::MAX,
                events_max: batch as usize,
                expected: None,
                now: Timestamp(2_000),
            })]
        }),
    );
    assert_eq!(store.bus_counts(BusId(1)).unwrap(), BusCounts::default());
}
