//! Bits flipped over every table and every key of a stored file: what a store answers afterwards is what
//! was written, or it says that something is wrong. `EDGEBUS_FLIPS` sets how many.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::power::{Disk, Random};
use super::*;

const PAGE: usize = 4096;
const EVENTS: u64 = 120;
/// What a check looks at in one go, so that it goes over many snapshots.
const CHECKED: u64 = 97;

/// Everything that a store told before anything was flipped.
#[derive(PartialEq, Debug)]
struct Seen {
    events: BTreeMap<u64, StoredEvent>,
    pending: BTreeMap<DeliveryKey, Delivery>,
    waiting: BTreeMap<DeliveryKey, Timestamp>,
    settled: BTreeMap<DeliveryKey, Succeeded>,
    dead: BTreeMap<DeliveryKey, DeadLetter>,
    state: BTreeMap<Vec<u8>, Option<Versioned>>,
    keys: Vec<Vec<u8>>,
    /// Events that are known, of those that are published again.
    known: BTreeMap<u64, Position>,
}

/// A stored file, and where the keys of each table's rows are in it.
struct Image {
    bytes: Vec<u8>,
    used: Vec<usize>,
    keys: Vec<Vec<usize>>,
    seen: Seen,
}

fn f() -> Name {
    Name::new("f").unwrap()
}

fn effects(position: u64) -> Effects {
    let key = format!("key {}", position % 40).into_bytes();
    let emits = position.is_multiple_of(7).then(|| {
        let mut new = event(&format!("emitted {position}"), vec![1; 20]);
        new.lineage.hops = 1;
        new.lineage.root = Some(EventRef {
            bus: BusId(1),
            position: Position(position),
        });
        new.lineage.parent = Some(key_of(position));
        (BusId(1), new)
    });
    Effects {
        version: crate::conformance::next_version(),
        writes: vec![(key, Some(vec![position as u8; 30].into()))],
        emits: emits.into_iter().collect(),
    }
}

fn key_of(position: u64) -> DeliveryKey {
    super::key(position)
}

/// A closed file with something in every table; with `blocks` dedupe has a sealed block.
fn image(blocks: bool) -> Image {
    let (disk, store) = Disk::with_store();
    let first = if blocks { 16_384 } else { 0 };
    for from in (0..first).step_by(2_048) {
        let plain = (from + 1..=from + 2_048).map(|id| NewEvent {
            subscriptions: Vec::new(),
            ..event(&id.to_string(), vec![7; 8])
        });
        store.commit(&[append(plain.collect(), 1_000)]).unwrap();
    }
    for from in (first + 1..=first + EVENTS).step_by(20) {
        let events = (from..from + 20).map(|id| event(&id.to_string(), vec![id as u8; 90]));
        store.commit(&[append(events.collect(), 1_000)]).unwrap();
    }
    let ends = (first + 1..=first + EVENTS).filter_map(|position| {
        let end = match position % 5 {
            0 => SettleEnd::Retry {
                due_at: Timestamp(5_000 + position * 17 % 101),
            },
            1 => SettleEnd::Dead {
                reason: DeadReason::Rejected,
                published: None,
            },
            2 | 3 => SettleEnd::Done(effects(position)),
            _ => return None,
        };
        Some(settle(position, 0, end))
    });
    store.commit(&ends.collect::<Vec<_>>()).unwrap();
    let claim = |position| Step::Claim {
        key: key_of(position),
        fence: 0,
        now: Timestamp(3),
    };
    let claims = (first + 1..first + 30).filter(|position| position % 5 == 4);
    store
        .commit(&claims.map(claim).collect::<Vec<_>>())
        .unwrap();
    let job = Step::StartJob(Box::new(StartJob {
        spec: JobSpec::Redrive(LetterSelection::default()),
        rate: None,
        of: 24,
        component: None,
        now: Timestamp(3),
    }));
    store.commit(&[job, Step::MarkClean(true)]).unwrap();
    let seen = look(&store).unwrap();
    let keys = Table::ALL.map(|table| keys_of(&store, table));
    drop(store);
    let bytes = disk.live();
    let used = (0..bytes.len() / PAGE).filter(|page| {
        bytes[page * PAGE..(page + 1) * PAGE]
            .iter()
            .any(|byte| *byte != 0)
    });
    let used: Vec<usize> = used.collect();
    let keys = keys.into_iter().map(|keys| places(&bytes, &keys));
    Image {
        used,
        keys: keys.filter(|places| !places.is_empty()).collect(),
        bytes,
        seen,
    }
}

fn keys_of(store: &RedbStore, table: Table) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let rows = store.snapshot().unwrap();
    let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    rows.scan(table, all.0, all.1, |key, _| {
        keys.push(key.to_vec());
        true
    })
    .unwrap();
    let step = keys.len() / 24 + 1;
    // Another bit in the last key can name what is behind everything.
    let last = keys.last().cloned();
    keys.into_iter().step_by(step).chain(last).collect()
}

/// Where in the file the keys are, a byte each of which is inside of one.
fn places(bytes: &[u8], keys: &[Vec<u8>]) -> Vec<usize> {
    let mut places = Vec::new();
    for key in keys.iter().filter(|key| key.len() >= 4) {
        let found = bytes.windows(key.len()).enumerate();
        let found = found.filter(|(_, window)| *window == &key[..]);
        for (at, _) in found.take(6) {
            places.extend(at..at + key.len());
        }
    }
    places
}

/// Reads everything there is to read, in pages.
fn look(store: &RedbStore) -> Result<Seen, Error> {
    let bus = BusId(1);
    let mut events = BTreeMap::new();
    let mut after = Position(0);
    loop {
        let page = store.events(bus, after, 500)?;
        let whole = page.len() < 500;
        for row in page {
            after = row.position;
            events.insert(row.position.0, row);
        }
        if whole {
            break;
        }
    }
    let mut known = BTreeMap::new();
    for position in events.keys().copied().step_by(events.len() / 40 + 1) {
        known.insert(position, Position(position));
    }
    // All of the tail behind a sealed block.
    let tail = events.keys().filter(|position| **position > 16_384);
    known.extend(tail.map(|position| (*position, Position(*position))));
    let s = SubscriptionId(1);
    let mut pending = BTreeMap::new();
    let mut last = None;
    loop {
        let page = store.deliveries(s, last, 50)?;
        last = page.last().map(|row| row.key).or(last);
        let whole = page.len() < 50;
        pending.extend(page.into_iter().map(|row| (row.key, row)));
        if whole {
            break;
        }
    }
    let waiting = store.waiting(Timestamp(u64::MAX), None, 10_000)?;
    let settled = store.settled(s, None, 10_000)?;
    let dead = store.dead_letters(s, None, 10_000)?;
    let mut state = BTreeMap::new();
    for number in 0..45 {
        let key = format!("key {number}").into_bytes();
        state.insert(key.clone(), store.state(&f(), &key)?);
    }
    Ok(Seen {
        events,
        pending,
        waiting: waiting.into_iter().map(|(due, key)| (key, due)).collect(),
        settled: settled
            .into_iter()
            .map(|row| (row.delivery.key, row))
            .collect(),
        dead: dead
            .into_iter()
            .map(|row| (row.delivery.key, row))
            .collect(),
        state,
        keys: store.state_keys(&f(), b"", None, 1_000)?,
        known,
    })
}

/// True if what is there now was there before, as it is now.
fn is_part<K: Ord, V: PartialEq>(now: &BTreeMap<K, V>, before: &BTreeMap<K, V>) -> bool {
    now.iter().all(|(key, row)| before.get(key) == Some(row))
}

/// The same delivery, perhaps without an attempt whose record is corrupt.
fn is_told_of(now: &Delivery, before: &Delivery) -> bool {
    now.pending() == before.pending()
        && now
            .attempts
            .iter()
            .all(|attempt| before.attempts.contains(attempt))
}

#[derive(Debug, Default, Clone, PartialEq)]
struct RowCounts {
    refused: u64,
    /// Told, and everything was in quarantine or back in its place afterwards.
    moved: u64,
    /// Told, and something is left that only a person can decide.
    told: u64,
    harmless: u64,
    /// Rows that are not what was written.
    wrong: u64,
    /// Rows that are gone without a word, or what a move broke.
    silent: u64,
    examples: Vec<String>,
}

/// What became of one corrupt file.
enum Fate {
    Refused,
    Moved,
    Told,
    Harmless,
    Wrong(String),
    Silent(String),
}

fn check_all(store: &RedbStore) -> Result<(), Error> {
    store.begin_check();
    while store.check_next(CHECKED)?.is_some() {}
    Ok(())
}

fn move_all(store: &RedbStore) -> Result<(), Error> {
    for _ in 0..100 {
        let records = store.corruption().movable;
        if records.is_empty() {
            check_all(store)?;
            if store.corruption().movable.is_empty() {
                break;
            }
            continue;
        }
        let now = Timestamp(9_000);
        store.commit(&[Step::Quarantine { records, now }])?;
    }
    Ok(())
}

fn fate(bytes: Vec<u8>, before: &Seen) -> Fate {
    let disk = Disk::of(bytes);
    let opened = catch_unwind(AssertUnwindSafe(|| disk.open()));
    let Ok(Ok(store)) = opened else {
        return Fate::Refused;
    };
    let now = look(&store);
    if let Ok(now) = &now
        && let Some(what) = wrong(now, before)
    {
        return Fate::Wrong(what);
    }
    match forgotten(&store, before, |_| true) {
        Ok(None) => {}
        Ok(Some(what)) => return Fate::Silent(what),
        // The process ends with 74.
        Err(_) => return Fate::Told,
    }
    let checked = check_all(&store);
    let corruption = store.corruption();
    let told = corruption.records > 0 || corruption.page.is_some();
    if now.is_err() || checked.is_err() {
        // A request that fails is loud, and a page that can't be read is told.
        return if told {
            Fate::Told
        } else {
            Fate::Silent(format!("{:?} {checked:?}", now.err()))
        };
    }
    if !told {
        let short = now.ok().filter(|now| now != before);
        return match short {
            None => Fate::Harmless,
            Some(_) => Fate::Silent("a shorter answer, and not a word".to_owned()),
        };
    }
    if move_all(&store).is_err() || !store.corruption().is_over() {
        return Fate::Told;
    }
    match broken(&store, before).or_else(|| forgotten_by_a_start(store, &disk, before)) {
        None => Fate::Moved,
        Some(what) => Fate::Silent(format!("{what} after {:?}", corruption.names)),
    }
}

/// What the next start forgot, unless something was told and appended once more before it.
fn forgotten_by_a_start(store: RedbStore, disk: &Disk, before: &Seen) -> Option<String> {
    let head = store.catalog().ok()?.buses[0].2;
    if before.events.keys().next_back() != Some(&head.0) {
        return None;
    }
    drop(store);
    let store = Disk::of(disk.live()).open().ok()?;
    // An event in quarantine may be the only one that knew its id.
    let is_there = |position| matches!(store.event(BusId(1), position), Ok(Some(_)));
    let what = forgotten(&store, before, is_there).ok()??;
    Some(format!("{what} after a start"))
}

fn wrong(now: &Seen, before: &Seen) -> Option<String> {
    let keys = now.keys.iter().all(|key| before.keys.contains(key));
    let state = now.state.iter().all(|(key, row)| before.state[key] == *row);
    let pending = now.pending.iter().all(|(key, row)| {
        let known = before.pending.get(key);
        known.is_some_and(|known| is_told_of(row, known))
    });
    let settled = now.settled.iter().all(|(key, row)| {
        let known = before.settled.get(key);
        known.is_some_and(|known| {
            let delivery = known.delivery.clone();
            is_told_of(&row.delivery, &known.delivery)
                && *known
                    == Succeeded {
                        delivery,
                        ..row.clone()
                    }
        })
    });
    let dead = now.dead.iter().all(|(key, row)| {
        let known = before.dead.get(key);
        known.is_some_and(|known| {
            let delivery = known.delivery.clone();
            is_told_of(&row.delivery, &known.delivery)
                && *known
                    == DeadLetter {
                        delivery,
                        ..row.clone()
                    }
        })
    });
    [
        ("events", is_part(&now.events, &before.events)),
        ("pending", pending),
        ("waiting", is_part(&now.waiting, &before.waiting)),
        ("settled", settled),
        ("dead", dead),
        ("state", state),
        ("keys", keys),
    ]
    .into_iter()
    .find(|(_, right)| !right)
    .map(|(what, _)| what.to_owned())
}

/// Publishes again what was accepted: each is a duplicate, or the store has said that something is wrong.
fn forgotten(
    store: &RedbStore,
    before: &Seen,
    counts: impl Fn(Position) -> bool,
) -> Result<Option<String>, Error> {
    for position in before.known.values().filter(|position| counts(**position)) {
        let again = before.events[&position.0].event.clone();
        let new = NewEvent {
            event: again,
            ..event("x", Vec::new())
        };
        let outcomes = store.commit(&[append(vec![new], 1_500)])?;
        let StepOutcome::Appended(places) = &outcomes[0] else {
            return Ok(Some(format!("{outcomes:?}")));
        };
        if places[0].duplicate && places[0].position == *position {
            continue;
        }
        // What was appended belongs to no comparison any more.
        let over = store.corruption().is_over();
        return Ok(over.then(|| format!("{position} was accepted again")));
    }
    Ok(None)
}

/// After everything corrupt was moved: nothing that was acknowledged is gone in silence, nothing that
/// ended runs again, and a check finds no more.
fn broken(store: &RedbStore, before: &Seen) -> Option<String> {
    let left = verified(store);
    if !left.is_empty() {
        return Some(format!("left {left:?}"));
    }
    for key in before.pending.keys() {
        match store.delivery(*key) {
            Ok(Some(DeliveryState::Pending(_) | DeliveryState::Dead(_))) => {}
            other => return Some(format!("{key} was pending and is {other:?}")),
        }
    }
    for key in before.settled.keys() {
        match store.delivery(*key) {
            Ok(Some(DeliveryState::Pending(_))) => return Some(format!("{key} would run again")),
            Ok(None) => return Some(format!("{key} was never there")),
            _ => {}
        }
    }
    for key in before.dead.keys() {
        match store.delivery(*key) {
            Ok(Some(DeliveryState::Dead(_))) => {}
            other => return Some(format!("{key} was dead and is {other:?}")),
        }
    }
    for position in before.events.keys() {
        match store.event(BusId(1), Position(*position)) {
            Ok(None) => return Some(format!("event {position} was never there")),
            Ok(Some(row)) if row != before.events[position] => {
                return Some(format!("event {position} is another one"));
            }
            _ => {}
        }
    }
    // A key that was lost under another one is absent; that one is in quarantine.
    let aside = store.quarantined(None, 10_000).unwrap();
    let lost = aside.iter().any(|row| row.name.starts_with("state"));
    for (key, row) in &before.state {
        if let Ok(now) = store.state(&f(), key)
            && now != *row
            && !(lost && now.is_none())
        {
            return Some(format!("state {} is another", key.escape_ascii()));
        }
    }
    None
}

fn sweep(count: u64, seed: u64) -> RowCounts {
    static IMAGES: OnceLock<[Image; 2]> = OnceLock::new();
    let images = IMAGES.get_or_init(|| [image(false), image(true)]);
    let mut random = Random(seed);
    let mut row_counts = RowCounts::default();
    for number in 0..count {
        // The one with a sealed block is large and slow.
        let image = &images[usize::from(number % 16 == 0)];
        let mut bytes = image.bytes.clone();
        let bits = if random.below(5) == 0 {
            1 + random.below(64)
        } else {
            1
        };
        let in_keys = random.below(2) == 0;
        for _ in 0..bits {
            let place = if in_keys {
                let table = &image.keys[random.below(image.keys.len() as u64) as usize];
                table[random.below(table.len() as u64) as usize]
            } else {
                let page = image.used[random.below(image.used.len() as u64) as usize];
                page * PAGE + random.below(PAGE as u64) as usize
            };
            bytes[place] ^= 1 << random.below(8);
        }
        match fate(bytes, &image.seen) {
            Fate::Refused => row_counts.refused += 1,
            Fate::Moved => row_counts.moved += 1,
            Fate::Told => row_counts.told += 1,
            Fate::Harmless => row_counts.harmless += 1,
            Fate::Wrong(what) => {
                row_counts.wrong += 1;
                row_counts.examples.push(format!("{number}: wrong {what}"));
            }
            Fate::Silent(what) => {
                row_counts.silent += 1;
                row_counts.examples.push(format!("{number}: {what}"));
            }
        }
        if number % 100 == 99 {
            println!("{} flips so far: {row_counts:?}", number + 1);
        }
    }
    row_counts.examples.truncate(12);
    println!("{count} flips: {row_counts:#?}");
    row_counts
}

fn flips() -> u64 {
    let count = std::env::var("EDGEBUS_FLIPS");
    count.ok().and_then(|text| text.parse().ok()).unwrap_or(100)
}

#[test]
fn no_flipped_bit_is_silent() {
    let row_counts = sweep(flips(), 11);
    assert_eq!(
        (row_counts.wrong, row_counts.silent),
        (0, 0),
        "{row_counts:#?}"
    );
    assert!(
        row_counts.moved > 0 && row_counts.harmless > 0,
        "{row_counts:#?}"
    );
}

/// The bug of before: a scan ends where a corrupt key ends it, and nothing else is looked at.
#[test]
fn a_scan_that_ends_at_a_corrupt_key_is_caught() {
    let (disk, store) = Disk::with_store();
    let events = (1..=40).map(|id| event(&id.to_string(), vec![1; 40]));
    store.commit(&[append(events.collect(), 1_000)]).unwrap();
    drop(store);
    let mut bytes = disk.live();
    for (table, key) in [
        (
            Table::Events,
            tables::event_key(BusId(1), Position(20)).to_vec(),
        ),
        (Table::Deliveries, tables::delivery_key(key(20)).to_vec()),
    ] {
        let _ = table;
        for at in places(&bytes, &[key]).into_iter().step_by(12) {
            // The first byte of the key or a later one; every copy is hit.
            bytes[at] ^= 0x08;
        }
    }
    let read = |injected: bool| {
        let store = Disk::of(bytes.clone()).open().unwrap();
        injected::NO_END_CHECK.set(injected);
        let events = store.events(BusId(1), Position(0), 100).unwrap().len();
        let pending = store
            .deliveries(SubscriptionId(1), None, 100)
            .unwrap()
            .len();
        injected::NO_END_CHECK.set(false);
        (events, pending)
    };
    let (events, pending) = read(true);
    assert!(
        events < 39 || pending < 39,
        "the bug hides rows: {events} {pending}"
    );
    assert_eq!(read(false), (39, 39));
}

/// One row of each table is overwritten: everything else goes on, and the row is in quarantine or whole
/// again after one step.
#[test]
fn one_corrupt_row_of_any_table_is_moved_and_hinders_nothing() {
    let images = [image(false), image(true)];
    for table in Table::ALL {
        let image = &images[usize::from(table == Table::Dedupe)];
        let store = Disk::of(image.bytes.clone()).open().unwrap();
        let keys = keys_of(&store, table);
        let Some(key) = keys.get(keys.len() / 2) else {
            let empty = [Table::Quarantine, Table::Counters, Table::DedupeLevels];
            assert!(empty.contains(&table), "{table:?} has rows");
            continue;
        };
        let transaction = begin(store.database(), &store.length).unwrap();
        let mut rows = transaction.open_table(tables::definition(table)).unwrap();
        rows.insert(&key[..], &b"rot and nothing else"[..]).unwrap();
        drop(rows);
        transaction.commit().unwrap();
        // A bus goes on: it publishes and settles.
        let outcomes = store
            .commit(&[append(vec![event("new", vec![1])], 2_000)])
            .unwrap();
        let StepOutcome::Appended(places) = &outcomes[0] else {
            panic!("{table:?}: {outcomes:?}");
        };
        let position = places[0].position.0;
        let done = settle(position, 0, SettleEnd::Done(Effects::default()));
        assert_eq!(
            store.commit(&[done]).unwrap(),
            [StepOutcome::Settled(vec![])],
            "{table:?}"
        );
        check_all(&store).unwrap();
        // A commit writes these rows anew.
        let healed = matches!(table, Table::Heads | Table::Counters);
        assert_eq!(store.corruption().records > 0, !healed, "{table:?}");
        move_all(&store).unwrap();
        let corruption = store.corruption();
        assert!(corruption.is_over(), "{table:?}: {corruption:?}");
        assert_eq!(broken(&store, &image.seen), None, "{table:?}");
        let aside = store.quarantined(None, 10).unwrap();
        assert_eq!(aside.is_empty(), healed, "{table:?}");
        assert_eq!(aside.len() as u64, corruption.in_quarantine, "{table:?}");
        // The next start knows it still.
        assert_eq!(verified(&store), Vec::<String>::new(), "{table:?}");
    }
}
