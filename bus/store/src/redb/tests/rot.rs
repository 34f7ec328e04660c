//! Rot: flipped bits in a closed file, and in the newest page of one that was not closed.
//! `EDGEBUS_ROT` sets how many.

use super::power::{Disk, RECORDED, Random};
use super::*;

const PAGE: usize = 4096;

fn flips() -> u64 {
    let count = std::env::var("EDGEBUS_ROT");
    count.ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

fn data(position: u64) -> Vec<u8> {
    let mut random = Random(position);
    let size = [40, 1_000, 1_000, 5_000][random.below(4) as usize];
    (0..size).map(|_| random.below(256) as u8).collect()
}

/// A closed file with events, deliveries in every stage of life, and state.
fn image() -> (Vec<u8>, Vec<StoredEvent>, Vec<Succeeded>) {
    let (disk, store) = Disk::with_store();
    for first in (1..=200_u64).step_by(20) {
        let events = (first..first + 20).map(|id| event(&id.to_string(), data(id)));
        store.commit(&[append(events.collect(), 1_000)]).unwrap();
        let ends = (first..first + 15).map(|position| {
            let end = match position % 3 {
                0 => SettleEnd::Done(Effects::default()),
                1 => SettleEnd::Retry {
                    due_at: Timestamp(position),
                },
                _ => SettleEnd::Dead {
                    reason: DeadReason::Rejected,
                    published: None,
                },
            };
            settle(position, 0, end)
        });
        store.commit(&ends.collect::<Vec<_>>()).unwrap();
    }
    let events = store.events(BusId(1), Position(0), 1_000).unwrap();
    let settled = store.settled(SubscriptionId(1), None, 1_000).unwrap();
    drop(store);
    (disk.live(), events, settled)
}

#[derive(Debug, Default)]
struct Sweep {
    refused: u64,
    found: u64,
    intact: u64,
    /// Rows that are not what was written.
    wrong: u64,
    /// Rows that are gone without any word.
    lost: u64,
}

fn sweep(count: u64) -> Sweep {
    let (image, events, settled) = image();
    // Flips go where something is: free pages of a new file are zero.
    let used: Vec<usize> = (0..image.len() / PAGE)
        .filter(|page| {
            image[page * PAGE..(page + 1) * PAGE]
                .iter()
                .any(|byte| *byte != 0)
        })
        .collect();
    let mut random = Random(7);
    let mut sweep = Sweep::default();
    for _ in 0..count {
        let mut corrupt = image.clone();
        let page = used[random.below(used.len() as u64) as usize];
        let place = page * PAGE + random.below(PAGE as u64) as usize;
        corrupt[place] ^= 1 << random.below(8);
        let Ok(Ok(store)) = std::panic::catch_unwind(|| Disk::of(corrupt).open()) else {
            sweep.refused += 1;
            continue;
        };
        let page = store.events(BusId(1), Position(0), 1_000);
        let history = store.settled(SubscriptionId(1), None, 1_000);
        let mut told = store.corruption().records > 0;
        match store.verify(&mut |_| told = true) {
            Ok(seen) => told |= seen.corrupt > 0,
            Err(_) => told = true,
        }
        let (Ok(page), Ok(history)) = (page, history) else {
            sweep.refused += 1;
            continue;
        };
        let wrong = page.iter().any(|row| !events.contains(row))
            || history.iter().any(|row| !settled.contains(row))
            || events.iter().any(|row| {
                let one = store.event(BusId(1), row.position);
                matches!(one, Ok(Some(one)) if one != *row)
            });
        let missing = page.len() != events.len() || history.len() != settled.len();
        if wrong {
            sweep.wrong += 1;
        } else if missing && !told {
            sweep.lost += 1;
        } else if told {
            sweep.found += 1;
        } else {
            sweep.intact += 1;
        }
    }
    println!("{count} flips: {sweep:?}");
    sweep
}

#[test]
fn a_flipped_bit_never_becomes_wrong_bytes() {
    let sweep = sweep(flips());
    assert_eq!((sweep.wrong, sweep.lost), (0, 0), "{sweep:?}");
    assert!(sweep.found > 0);
}

#[test]
fn a_codec_without_checksums_is_caught() {
    crate::codec::INJECT_NO_CHECKSUM.set(true);
    let sweep = sweep(60);
    crate::codec::INJECT_NO_CHECKSUM.set(false);
    assert!(sweep.wrong > 0, "{sweep:?}");
}

/// Rot in a page of the newest commit plus an unclean stop: how often an acknowledged event is gone
/// from a store that opens, without a word.
///
/// Where free pages are recorded, in a page of the tables: rot in the record itself is found by nothing
/// but the engine's assertions, after an unclean stop as after an orderly one.
fn rolled_back(count: u64) -> u64 {
    let mut gone = 0;
    for seed in 0..count {
        let mut random = Random(seed);
        let (disk, store) = Disk::with_store();
        for id in 0..20 {
            store
                .commit(&[append(vec![event(&id.to_string(), data(id))], 1)])
                .unwrap();
        }
        let before = disk.live();
        store
            .commit(&[append(vec![event("last", data(1))], 1)])
            .unwrap();
        let mut image = disk.live();
        let mut changed: Vec<usize> = (1..image.len() / PAGE)
            .filter(|page| {
                let page = page * PAGE..(page + 1) * PAGE;
                before.get(page.clone()) != Some(&image[page.clone()])
                    && (!RECORDED.get() || image[page].windows(4).any(|bytes| bytes == b"last"))
            })
            .collect();
        let page = changed.remove(random.below(changed.len() as u64) as usize);
        let written: Vec<usize> = (page * PAGE..(page + 1) * PAGE)
            .filter(|place| before[*place] != image[*place])
            .collect();
        let place = written[random.below(written.len() as u64) as usize];
        image[place] ^= 1 << random.below(8);
        let opened = std::panic::catch_unwind(|| Disk::of(image).open());
        if let Ok(Ok(store)) = opened {
            let there = store.event(BusId(1), Position(21));
            let mut checked = Ok(Some(Checked::default()));
            while let Ok(Some(_)) = checked {
                checked = store.check_next(3);
            }
            if matches!(there, Ok(None)) && checked.is_ok() && store.corruption().records == 0 {
                gone += 1;
            }
        }
    }
    gone
}

#[test]
fn two_phases_never_roll_an_acknowledged_commit_back() {
    assert_eq!(rolled_back(40), 0);
}

#[test]
fn what_no_start_has_walked_over_is_checked_afterwards() {
    RECORDED.set(true);
    let gone = rolled_back(200);
    RECORDED.set(false);
    assert_eq!(gone, 0);
}

#[test]
fn one_phase_is_caught() {
    injected::ONE_PHASE.set(true);
    let gone = rolled_back(40);
    injected::ONE_PHASE.set(false);
    assert!(gone > 0);
}

#[test]
fn a_corrupt_event_hinders_nobody() {
    let (_disk, store) = Disk::with_store();
    let events = (1..=5).map(|id| event(&id.to_string(), vec![1; 100]));
    store.commit(&[append(events.collect(), 1)]).unwrap();
    let corruption = |table, row: &[u8]| {
        let transaction = begin(store.database(), &store.length).unwrap();
        let mut rows = transaction.open_table(tables::definition(table)).unwrap();
        rows.insert(row, &b"rot and nothing else"[..]).unwrap();
        drop(rows);
        transaction.commit().unwrap();
    };
    corruption(Table::Events, &tables::event_key(BusId(1), Position(2)));
    corruption(Table::Deliveries, &tables::delivery_key(key(4)));
    let page = store.events(BusId(1), Position(0), 4).unwrap();
    let positions: Vec<u64> = page.iter().map(|row| row.position.0).collect();
    assert_eq!(
        positions,
        [1, 3, 4, 5],
        "the page goes on behind the corrupt row"
    );
    let error = store.event(BusId(1), Position(2)).unwrap_err();
    assert_eq!(error.kind, Kind::Corrupt);
    assert!(error.message.contains("events bus 1 position 2"), "{error}");
    assert_eq!(
        store.deliveries(SubscriptionId(1), None, 9).unwrap().len(),
        4
    );
    let corrupt = store.corruption();
    let names = ["events bus 1 position 2", "deliveries 1-4"];
    assert_eq!(
        corrupt.names,
        names.map(|name| format!("{name}: does not match its checksum"))
    );
    // The delivery of the corrupt event becomes a dead letter that says so; nothing is delivered.
    let reason = DeadReason::AttemptsExhausted;
    let steps = [
        settle(
            2,
            0,
            SettleEnd::Dead {
                reason,
                published: None,
            },
        ),
        settle(4, 0, SettleEnd::Done(Effects::default())),
        settle(5, 0, SettleEnd::Done(Effects::default())),
    ];
    let outcomes = store.commit(&steps).unwrap();
    assert_eq!(outcomes[0], StepOutcome::Settled(vec![]));
    assert_eq!(outcomes[1], StepOutcome::Stale);
    assert_eq!(outcomes[2], StepOutcome::Settled(vec![]));
    let letters = store.dead_letters(SubscriptionId(1), None, 9).unwrap();
    assert_eq!(letters[0].reason, DeadReason::Corrupt);
    assert_eq!(*letters[0].event, hollow_event());
    assert_eq!(verified(&store).len(), 2);
}

/// A counter that says something else than the rows is found, whichever it is.
#[test]
fn a_counter_that_disagrees_is_found() {
    let (_disk, store) = Disk::with_store();
    let events = (1..=5).map(|id| event(&id.to_string(), vec![1; 100]));
    store.commit(&[append(events.collect(), 1)]).unwrap();
    let reason = DeadReason::Rejected;
    let due_at = Timestamp(9);
    let steps = [
        settle(
            1,
            0,
            SettleEnd::Dead {
                reason,
                published: None,
            },
        ),
        settle(2, 0, SettleEnd::Retry { due_at }),
        settle(3, 0, SettleEnd::Done(Effects::default())),
    ];
    store.commit(&steps).unwrap();
    let counts = Counts {
        pending: 2,
        waiting: 1,
        dead: 1,
    };
    assert_eq!(store.counts(SubscriptionId(1)).unwrap(), counts);
    assert_eq!(store.bus_counts(BusId(1)).unwrap().events, 5);
    assert_eq!(verified(&store), Vec::<String>::new());
    let write = |change: &dyn Fn(&mut Tables<'_>)| {
        let transaction = begin(store.database(), &store.length).unwrap();
        let mut tables = Tables::new(&transaction, Arc::default());
        change(&mut tables);
        drop(tables);
        transaction.commit().unwrap();
        verified(&store)
    };
    let own = counters::subscription_key(SubscriptionId(1));
    let other = counters::subscription_key(SubscriptionId(9));
    let bus = counters::bus_key(BusId(1));
    let found = write(&|tables| {
        let wrong = Counts { dead: 2, ..counts };
        tables
            .put(Table::Counters, &own, |out| {
                counters::write_subscription(out, wrong);
            })
            .unwrap();
        tables
            .put(Table::Counters, &other, |out| {
                counters::write_subscription(out, counts);
            })
            .unwrap();
        tables.remove(Table::Counters, &bus).unwrap();
    });
    let differs = "disagrees with the rows that it counts";
    let expected = ["bus 1", "subscription 1", "subscription 9"];
    let expected = expected.map(|whose| format!("counters {whose}: {differs}"));
    assert_eq!(found, expected);
}
