//! What a check counts page by page is what there is, whatever is committed between and beside its pages.

use std::collections::HashMap;

use super::power::{Disk, Random, batch};
use super::*;

/// Checks everything, `rows` at a time; `between` goes on after each page.
fn check(store: &RedbStore, rows: u64, mut between: impl FnMut()) {
    store.begin_check();
    while store.check_next(rows).unwrap().is_some() {
        between();
    }
}

/// Batches of every kind, at random.
struct Workload {
    random: Random,
    fences: HashMap<u64, u32>,
    next_id: u64,
}

impl Workload {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            fences: HashMap::new(),
            next_id: 0,
        }
    }

    fn commit(&mut self, store: &RedbStore) {
        let steps = batch(&mut self.random, &mut self.fences, &mut self.next_id);
        for outcome in store.commit(&steps).unwrap() {
            if let StepOutcome::Appended(places) = outcome {
                let fresh = places.iter().filter(|place| !place.duplicate);
                self.fences.extend(fresh.map(|place| (place.position.0, 0)));
            }
        }
    }
}

/// A random store is checked while it changes; what was found.
fn checked_beside_commits(seed: u64) -> (RedbStore, Vec<String>) {
    let (_disk, store) = Disk::with_store();
    let mut work = Workload::new(seed);
    (0..40).for_each(|_| work.commit(&store));
    let mut pages = 0;
    for rows in [7, 23] {
        check(&store, rows, || {
            pages += 1;
            // The log grows while it is read, and is read to its end all the same.
            if pages % 3 == 0 {
                work.commit(&store);
            }
        });
    }
    let names = store.corruption().names;
    (store, names)
}

#[test]
fn commits_between_the_pages_of_a_check_are_no_corruption() {
    for seed in 0..12 {
        let (store, names) = checked_beside_commits(seed);
        assert_eq!(names, Vec::<String>::new(), "seed {seed}");
        assert_eq!(verified(&store), Vec::<String>::new(), "seed {seed}");
    }
}

/// The bug: nobody tells a check what is committed behind it. The next check without the bug finds that
/// the counts are right, and the store is whole again.
#[test]
fn a_check_that_knows_no_commits_is_caught() {
    let miscounted = |name: &String| name.ends_with("has another number of rows");
    injected::NO_CHANGES.set(true);
    let mut checked = (0..12).map(checked_beside_commits);
    let found = checked.find(|(_, names)| names.iter().any(miscounted));
    injected::NO_CHANGES.set(false);
    let (store, _) = found.expect("a wrong count is told");
    check(&store, 50, || {});
    let names = store.corruption().names;
    assert!(!names.iter().any(miscounted), "{names:?}");
}

#[test]
fn commits_beside_the_pages_of_a_check_are_no_corruption() {
    let (_disk, store) = Disk::with_store();
    let store = &store;
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut work = Workload::new(5);
            (0..300).for_each(|_| work.commit(store));
        });
        while !writer.is_finished() {
            check(store, 60, || {});
        }
    });
    assert_eq!(store.corruption().names, Vec::<String>::new());
    assert_eq!(verified(store), Vec::<String>::new());
}

/// A table says that it has more rows than it has. Nothing can be moved; the bus is not ready, and stays so.
#[test]
fn a_wrong_count_of_rows_is_told_as_long_as_it_stands() {
    const EVENTS: u64 = 777;
    let (disk, store) = Disk::with_store();
    let events = (1..=EVENTS).map(|id| NewEvent {
        subscriptions: Vec::new(),
        ..event(&id.to_string(), vec![1; 8])
    });
    store.commit(&[append(events.collect(), 1_000)]).unwrap();
    drop(store);
    let mut bytes = disk.live();
    for page in bytes.chunks_mut(4096) {
        let name = Table::DedupeLevels.name().as_bytes();
        if !page.windows(name.len()).any(|found| found == name) {
            continue;
        }
        let count = EVENTS.to_le_bytes();
        let places = page.windows(8).enumerate();
        let places: Vec<usize> = places
            .filter(|(_, found)| **found == count)
            .map(|(place, _)| place)
            .collect();
        for place in places {
            page[place] += 1;
        }
    }
    let store = Disk::of(bytes).open().unwrap();
    let found_corruption = ["events: has another number of rows"];
    for _ in 0..2 {
        check(&store, 97, || {});
        let corruption = store.corruption();
        assert_eq!(corruption.names, found_corruption);
        assert!(corruption.movable.is_empty() && !corruption.is_over());
        store
            .commit(&[append(vec![event("more", vec![1])], 1_500)])
            .unwrap();
    }
    assert_eq!(verified(&store), found_corruption);
}

/// Counters that say something else than the rows are found page by page, and counted again.
#[test]
fn a_counter_that_disagrees_is_counted_again() {
    let (disk, store) = Disk::with_store();
    let events = (1..=300).map(|id| event(&id.to_string(), vec![1; 8]));
    store.commit(&[append(events.collect(), 1_000)]).unwrap();
    let ends = (1..=120).map(|position| {
        let end = match position % 3 {
            0 => SettleEnd::Done(Effects::default()),
            1 => SettleEnd::Retry {
                due_at: Timestamp(5_000),
            },
            _ => SettleEnd::Dead {
                reason: DeadReason::Rejected,
                published: None,
            },
        };
        settle(position, 0, end)
    });
    store.commit(&ends.collect::<Vec<_>>()).unwrap();
    let own = SubscriptionId(1);
    let right = store.counts(own).unwrap();
    let bus = store.bus_counts(BusId(1)).unwrap();
    drop(store);
    let image = disk.live();
    let (pending, waiting) = (right.pending + 1, right.waiting - 1);
    // What stands under the key instead; the last two are of nothing that there is.
    let table: Vec<([u8; 5], Row)> = vec![
        (
            counters::subscription_key(own),
            counts(Counts { pending, ..right }),
        ),
        (
            counters::subscription_key(own),
            counts(Counts { waiting, ..right }),
        ),
        (
            counters::subscription_key(own),
            counts(Counts { dead: 0, ..right }),
        ),
        (counters::subscription_key(own), None),
        (
            counters::bus_key(BusId(1)),
            holds(BusCounts { events: 1, ..bus }),
        ),
        (
            counters::bus_key(BusId(1)),
            holds(BusCounts { bytes: 1, ..bus }),
        ),
        (counters::bus_key(BusId(1)), None),
        (counters::subscription_key(SubscriptionId(9)), counts(right)),
        (counters::bus_key(BusId(9)), holds(bus)),
    ];
    for (nth, (key, row)) in table.into_iter().enumerate() {
        let disk = Disk::of(image.clone());
        rewrite(&disk.open().unwrap(), &key, row);
        // As a start reads it.
        let store = disk.open().unwrap();
        check(&store, 23, || {});
        let corruption = store.corruption();
        let disagrees = |name: &String| name.ends_with("disagrees with the rows that it counts");
        assert!(
            corruption.names.iter().all(disagrees),
            "{nth}: {corruption:?}"
        );
        assert_eq!(corruption.records, 1, "{nth}: {corruption:?}");
        let records = corruption.movable;
        let now = Timestamp(9_000);
        let outcomes = store.commit(&[Step::Quarantine { records, now }]).unwrap();
        let StepOutcome::Quarantined(moved) = &outcomes[0] else {
            panic!("{nth}: {outcomes:?}");
        };
        assert_eq!((moved.records.len(), moved.repaired.len()), (0, 1), "{nth}");
        check(&store, 23, || {});
        assert!(store.corruption().is_over(), "{nth}");
        assert_eq!(verified(&store), Vec::<String>::new(), "{nth}");
        assert_eq!(store.counts(own).unwrap(), right, "{nth}");
        assert_eq!(store.totals(), right, "{nth}");
        assert_eq!(store.bus_counts(BusId(1)).unwrap(), bus, "{nth}");
    }
}

/// What writes a counter's row; `None` is a row that is gone.
type Row = Option<Box<dyn Fn(&mut Vec<u8>)>>;

fn counts(counts: Counts) -> Row {
    Some(Box::new(move |out| {
        counters::write_subscription(out, counts);
    }))
}

fn holds(counts: BusCounts) -> Row {
    Some(Box::new(move |out| counters::write_bus(out, counts)))
}

/// Changes a counter's row behind the store's back.
fn rewrite(store: &RedbStore, key: &[u8], row: Row) {
    let transaction = begin(store.database(), &store.length).unwrap();
    let mut tables = Tables::new(&transaction, Arc::default());
    match row {
        Some(row) => tables.put(Table::Counters, key, row).unwrap(),
        None => tables.remove(Table::Counters, key).unwrap(),
    }
    drop(tables);
    transaction.commit().unwrap();
}
