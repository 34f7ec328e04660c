//! Compaction: it gives back what retention freed, and loses nothing wherever it is cut short.

use std::os::unix::fs::PermissionsExt;

use super::power::{Disk, Random};
use super::*;
use crate::conformance::random::everything;

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

fn large(folder: &Path) -> RedbStore {
    let store = RedbStore::create(folder, small()).unwrap();
    store.commit(&[rules(1_000_000)]).unwrap();
    for first in (0..2_000_u64).step_by(50) {
        let events = (first..first + 50).map(|id| {
            let mut new = event(&id.to_string(), vec![id as u8; 2_000]);
            new.subscriptions.clear();
            new
        });
        store
            .commit(&[append(events.collect(), 1_000 + first)])
            .unwrap();
    }
    store
}

#[test]
fn compaction_gives_back_what_retention_freed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("store");
    let store = large(&folder);
    for _ in 0..4 {
        store.commit(&[trim(1_000 + 1_800)]).unwrap();
    }
    let before = everything(&store);
    let id = store.catalog().unwrap().store_id;
    drop(store);
    let length = || std::fs::metadata(folder.join(FILE)).unwrap().len();
    let full = length();
    let told = Arc::new(Mutex::new(0));
    let progress = Progress::new({
        let told = told.clone();
        move |_, _| *told.lock().unwrap() += 1
    });
    let mut store = RedbStore::open(&folder, small()).unwrap();
    let done = store.compact(&progress).unwrap();
    assert!(done.after * 4 < done.before, "{done:?}");
    assert_eq!(everything(&store), before);
    assert_eq!(verified(&store), [""; 0]);
    drop(store);
    assert!(length() * 4 < full, "{} of {full}", length());
    let file = std::fs::metadata(folder.join(FILE)).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    let store = RedbStore::open(&folder, small()).unwrap();
    assert_eq!(store.catalog().unwrap().store_id, id);
    assert_eq!(everything(&store), before);
    // What was removed is still a duplicate.
    let mut new = event("3", vec![3; 2_000]);
    new.subscriptions.clear();
    let repeat = store.commit(&[append(vec![new], 3_000)]).unwrap();
    let first = Appended {
        position: Position(4),
        duplicate: true,
    };
    assert_eq!(repeat, [StepOutcome::Appended(vec![first])]);
    let again = std::fs::metadata(folder.join(ID_FILE)).unwrap();
    assert_eq!(again.permissions().mode() & 0o777, 0o600);
}

/// Wherever the power goes during a compaction, the store opens with all that it had.
#[test]
fn a_compaction_that_is_cut_short_loses_nothing() {
    for seed in 0..30 {
        let (disk, store) = Disk::with_store();
        for first in (0..400_u64).step_by(20) {
            let events = (first..first + 20).map(|id| {
                let mut new = event(&id.to_string(), vec![id as u8; 1_500]);
                new.subscriptions.clear();
                new
            });
            store
                .commit(&[append(events.collect(), 1_000 + first)])
                .unwrap();
        }
        store.commit(&[trim(1_300)]).unwrap();
        let before = everything(&store);
        drop(store);
        let mut random = Random(seed);
        let disk = Disk::of(disk.live());
        let mut store = disk.open().unwrap();
        disk.cut_after(random.below(120));
        let _ = store.compact(&Progress::silent());
        disk.cut_after(0);
        drop(store);
        let disk = disk.after_the_cut(&mut random);
        let mut store = disk.open().unwrap();
        assert_eq!(everything(&store), before, "seed {seed}");
        assert_eq!(verified(&store), [""; 0], "seed {seed}");
        // And the next one goes through.
        let done = store.compact(&Progress::silent()).unwrap();
        assert!(done.after <= done.before, "seed {seed}: {done:?}");
        assert_eq!(everything(&store), before, "seed {seed}");
    }
}
