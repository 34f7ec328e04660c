//! Dedupe over sealed blocks: filled, read back, expired, corrupt.

const BLOCK: u64 = 16_384;
use super::dedupe::Geometry;
use super::power::Disk;
use super::*;

const WINDOW_MS: u64 = 10_000;

fn fill(store: &dyn Store, ids: std::ops::Range<u64>, now: u64) {
    let ids: Vec<u64> = ids.collect();
    for chunk in ids.chunks(5_000) {
        let events = chunk.iter().map(|id| {
            let mut new = event(&id.to_string(), Vec::new());
            new.subscriptions.clear();
            new
        });
        store.commit(&[append(events.collect(), now)]).unwrap();
    }
}

fn answer(store: &dyn Store, id: u64, now: u64) -> Appended {
    let mut new = event(&id.to_string(), Vec::new());
    new.subscriptions.clear();
    match store.commit(&[append(vec![new], now)]).unwrap().remove(0) {
        StepOutcome::Appended(places) => places[0],
        other => panic!("{other:?}"),
    }
}

fn knows(store: &dyn Store, id: u64, now: u64) {
    let known = answer(store, id, now);
    assert!(known.duplicate, "{id} was taken twice");
    assert_eq!(known.position.0, id + 1);
}

#[test]
fn sealed_blocks_answer_as_the_tail_does() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::create(folder.path(), small()).unwrap();
    store.commit(&[rules(WINDOW_MS)]).unwrap();
    let count = 2 * BLOCK + 100;
    fill(&store, 0..count, 1_000);
    let rounds = |store: &dyn Store| {
        for id in (0..count)
            .step_by(997)
            .chain([0, BLOCK - 1, BLOCK, count - 1])
        {
            knows(store, id, 1_000 + WINDOW_MS - 1);
        }
    };
    rounds(&store);
    assert_eq!(verified(&store), [""; 0]);
    drop(store);
    let store = RedbStore::open(folder.path(), small()).unwrap();
    rounds(&store);

    // Behind the window an id is new, and its new place is the one that counts from then on.
    let later = 1_000 + WINDOW_MS;
    let fresh = answer(&store, 5, later);
    assert_eq!((fresh.position.0, fresh.duplicate), (count + 1, false));
    let again = answer(&store, 5, later);
    assert_eq!((again.position.0, again.duplicate), (count + 1, true));
}

#[test]
fn old_blocks_are_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::create(folder.path(), small()).unwrap();
    store.commit(&[rules(WINDOW_MS)]).unwrap();
    fill(&store, 0..2 * BLOCK, 1_000);
    let rows = |store: &RedbStore| {
        let mut rows = 0_u64;
        let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        let snapshot = store.snapshot().unwrap();
        snapshot
            .scan(Table::Dedupe, all.0, all.1, |_, _| {
                rows += 1;
                true
            })
            .unwrap();
        rows
    };
    assert_eq!(rows(&store), 2 * 256);
    let later = 1_000 + WINDOW_MS + 4_000_000;
    fill(&store, 2 * BLOCK..3 * BLOCK, later);
    assert_eq!(rows(&store), 256, "only the new block is left");
    knows(&store, 3 * BLOCK - 1, later);
    drop(store);
    let store = RedbStore::open(folder.path(), small()).unwrap();
    knows(&store, 2 * BLOCK, later);
}

#[test]
fn a_corrupt_block_is_answered_from_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::create(folder.path(), small()).unwrap();
    store.commit(&[rules(WINDOW_MS)]).unwrap();
    fill(&store, 0..BLOCK + 10, 1_000);
    let corruption = |store: &RedbStore| {
        let transaction = begin(store.database(), &store.length).unwrap();
        let mut table = transaction
            .open_table(tables::definition(Table::Dedupe))
            .unwrap();
        let mut keys = Vec::new();
        for row in ::redb::ReadableTable::iter(&table).unwrap() {
            keys.push(row.unwrap().0.value().to_vec());
        }
        assert_eq!(keys.len() % 2, 0);
        for pair in keys.chunks(2) {
            table.insert(&pair[0][..], &b"rot"[..]).unwrap();
        }
        drop(table);
        transaction.commit().unwrap();
    };
    corruption(&store);
    for id in (0..BLOCK).step_by(1_999) {
        knows(&store, id, 1_001);
    }
    assert!(store.corruption().records > 0, "the corruption is told");
    drop(store);
    // After a restart too.
    let store = RedbStore::open(folder.path(), small()).unwrap();
    for id in (0..BLOCK).step_by(1_777) {
        knows(&store, id, 1_001);
    }
    assert!(
        store.corruption().records > 0,
        "the corruption is told again"
    );
    assert_eq!(verified(&store).len(), 128);
}

/// Two blocks of 256 events and a tail, corrupt, and opened again: everything is known still.
fn knows_all_after(corruption: impl FnOnce(&WriteTransaction)) -> RedbStore {
    let (disk, store) = Disk::with_store();
    let count = 2 * 256 + 200;
    fill(&store, 0..count, 1_000);
    let transaction = begin(store.database(), &store.length).unwrap();
    corruption(&transaction);
    transaction.commit().unwrap();
    drop(store);
    let disk = Disk::of(disk.live());
    let store = disk.open().unwrap();
    (0..count).for_each(|id| knows(&store, id, 1_001));
    store
}

#[test]
fn neither_a_flipped_key_nor_a_head_makes_a_block_that_hides_the_tail() {
    injected::GEOMETRY.set(Geometry {
        block_bits: 8,
        fan_bits: 3,
    });
    // The last row of the newest block, one bit later: as if there were a block behind the end of the log.
    let store = knows_all_after(|transaction| {
        let definition = tables::definition(Table::Dedupe);
        let mut rows = transaction.open_table(definition).unwrap();
        let mut key = tables::event_key(BusId(1), Position(257)).to_vec();
        key.push(3);
        let record = rows.remove(&key[..]).unwrap().unwrap().value().to_vec();
        key[10] ^= 0x04;
        rows.insert(&key[..], &record[..]).unwrap();
    });
    assert!(store.corruption().records > 0, "nobody is told");
    // What an earlier release made of such a row; and a block that is in no place of one.
    for first in [1_281_u64, 300] {
        knows_all_after(|transaction| {
            let mut key = 1_u32.to_be_bytes().to_vec();
            key.extend([2, 0]);
            key.extend(first.to_be_bytes());
            key.extend([0; 4]);
            let mut tables = Tables::new(transaction, Arc::default());
            let live = |out: &mut Vec<u8>| {
                out.u8(0);
                out.u64(1_000);
            };
            tables.put(Table::DedupeLevels, &key, live).unwrap();
        });
    }
    injected::GEOMETRY.set(Geometry::STORED);
}
