//! A check that a stop interrupts goes on where it was; after an unclean stop it begins anew.

use super::power::Disk;
use super::*;

/// Checks to the end; how many records were looked at.
fn rest(store: &RedbStore) -> u64 {
    let mut records = 0;
    while let Some(checked) = store.check_next(50).unwrap() {
        records = checked.records;
    }
    records
}

#[test]
fn a_check_goes_on_where_it_stopped() {
    for clean in [true, false] {
        let (disk, store) = Disk::with_store();
        let events = (1..=400).map(|id| event(&id.to_string(), vec![1; 8]));
        store.commit(&[append(events.collect(), 1_000)]).unwrap();
        let note = Step::NoteCheck { now: Timestamp(7) };
        store.commit(std::slice::from_ref(&note)).unwrap();
        assert_eq!(store.checked_at(), Some(Timestamp(7)));
        let all = store
            .verify(&mut |corruption| panic!("{corruption}"))
            .unwrap()
            .records;
        // In the middle of the log.
        store.begin_check();
        let mut before = 0;
        while before < 200 {
            before = store.check_next(50).unwrap().unwrap().records;
        }
        // One is corrupt that is still to come, and one that was passed.
        let transaction = begin(store.database(), &store.length).unwrap();
        let mut rows = transaction
            .open_table(tables::definition(Table::Events))
            .unwrap();
        for position in [5, 390] {
            let key = tables::event_key(BusId(1), Position(position));
            rows.insert(&key[..], &b"rot and nothing else"[..]).unwrap();
        }
        drop(rows);
        transaction.commit().unwrap();
        store.commit(&[note, Step::MarkClean(clean)]).unwrap();
        drop(store);
        let store = disk.open().unwrap();
        assert_eq!(store.checked_at(), Some(Timestamp(7)));
        let after = rest(&store);
        let names = store.corruption().names;
        if clean {
            assert_eq!(after, all - before);
            assert_eq!(names.len(), 1, "{names:?}");
            assert!(names[0].contains("position 390"), "{names:?}");
        } else {
            assert_eq!(after, all);
            assert_eq!(names.len(), 2, "{names:?}");
        }
        // Its end is noted; then nothing is left to go on with.
        let note = Step::NoteCheck { now: Timestamp(9) };
        store.commit(&[note, Step::MarkClean(true)]).unwrap();
        drop(store);
        let store = disk.open().unwrap();
        assert_eq!(store.checked_at(), Some(Timestamp(9)));
        assert_eq!(store.check_next(50).unwrap(), None);
    }
}
