//! Erasure in the tables: earlier releases refuse the store, dedupe forgets what was said, and a file that was
//! written anew holds nothing of what was erased.

use super::dedupe::Geometry;
use super::power::Disk;
use super::*;
use crate::conformance::random::everything;

const BUS: BusId = BusId(1);

fn start(spec: JobSpec) -> Step {
    Step::StartJob(Box::new(StartJob {
        component: None,
        spec,
        rate: None,
        of: 0,
        now: Timestamp(2_000),
    }))
}

fn erasure() -> JobSpec {
    JobSpec::Erase(EraseSpec {
        bus: BUS,
        first: Position(1),
        last: Position(9_999),
        subject: Some("alice".into()),
        pattern: None,
    })
}

/// Goes on with job 1.
fn erase(store: &RedbStore, effects: Vec<JobEffect>, end: Option<JobEnd>) -> Advanced {
    let from = store.job(JobId(1)).unwrap().unwrap().place;
    let step = Advance {
        job: JobId(1),
        from,
        to: from,
        looked: 0,
        skipped: Skipped::default(),
        effects,
        end,
        now: Timestamp(3_000),
        shadow: None,
    };
    match store
        .commit(&[Step::Advance(Box::new(step))])
        .unwrap()
        .remove(0)
    {
        StepOutcome::Advanced(advanced) => *advanced,
        other => panic!("{other:?}"),
    }
}

fn event_at(position: u64) -> JobEffect {
    JobEffect::EraseEvent {
        at: EventRef {
            bus: BUS,
            position: Position(position),
        },
    }
}

fn format(store: &RedbStore) -> u32 {
    let rows = store.snapshot().unwrap();
    catalog::read_identity(&rows).unwrap().format
}

#[test]
fn the_first_erasure_raises_the_format() {
    let (disk, store) = Disk::with_store();
    store
        .commit(&[start(JobSpec::Purge(LetterSelection::default()))])
        .unwrap();
    assert_eq!((format(&store), store.has_erased()), (3, false));
    store.commit(&[start(erasure())]).unwrap();
    assert_eq!((format(&store), store.has_erased()), (6, true));
    drop(store);
    let store = Disk::of(disk.live()).open().unwrap();
    assert_eq!((format(&store), store.has_erased()), (6, true));
}

/// Blocks of 256 positions, merged by 8.
const SMALL: Geometry = Geometry {
    block_bits: 8,
    fan_bits: 3,
};

#[test]
fn dedupe_forgets_what_was_said_wherever_it_is() {
    injected::GEOMETRY.set(SMALL);
    let (disk, store) = Disk::with_store();
    store.commit(&[rules(1_000_000_000)]).unwrap();
    let said = |id: u64, data: u8| {
        let mut new = event(&id.to_string(), vec![data]);
        new.subscriptions.clear();
        new
    };
    // Merged, sealed, in rows of the tail, and in none yet.
    let count = 2_048 + 256 + 64 + 9;
    for first in (1..=count).step_by(100) {
        let events = (first..(first + 100).min(count + 1)).map(|id| said(id, 1));
        store.commit(&[append(events.collect(), 1_000)]).unwrap();
    }
    store.commit(&[start(erasure())]).unwrap();
    let (mut erased, mut kept) = (Vec::new(), Vec::new());
    for position in (1..=count).step_by(13).chain(2_360..=count) {
        match position % 2 {
            0 => erased.push(position),
            _ => kept.push(position),
        }
    }
    erase(&store, erased.iter().copied().map(event_at).collect(), None);
    assert_eq!(verified(&store), [""; 0]);
    let check = |store: &RedbStore| {
        for position in &erased {
            let repeat = append(vec![said(*position, 2)], 4_000);
            let known = Appended {
                position: Position(*position),
                duplicate: true,
            };
            let outcome = store.commit(&[repeat]).unwrap().remove(0);
            assert_eq!(outcome, StepOutcome::Appended(vec![known]), "{position}");
        }
        for position in &kept {
            let repeat = append(vec![said(*position, 2)], 4_000);
            let outcome = store.commit(&[repeat]).unwrap().remove(0);
            assert!(matches!(outcome, StepOutcome::IdReused(_)), "{position}");
        }
    };
    check(&store);
    drop(store);
    let store = Disk::of(disk.live()).open().unwrap();
    check(&store);
    injected::GEOMETRY.set(Geometry::STORED);
}

/// How often the file holds the text.
fn found(folder: &Path, text: &str) -> usize {
    let file = std::fs::read(folder.join(FILE)).unwrap();
    let text = text.as_bytes();
    file.windows(text.len()).filter(|own| *own == text).count()
}

#[test]
fn a_file_that_is_written_anew_holds_nothing_of_what_was_erased() {
    const SECRET: &str = "kenji@example.com";
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("store");
    let store = RedbStore::create(&folder, small()).unwrap();
    store.commit(&[rules(1_000_000)]).unwrap();
    for id in 1..=300_u64 {
        let mut new = event(&id.to_string(), vec![b'.'; 200 + id as usize % 900]);
        if id % 3 == 0 {
            let event = Arc::make_mut(&mut new.event);
            event.subject = Some(SECRET.into());
            event.data = Data::Opaque(format!("{}{SECRET}", ".".repeat(id as usize)).into());
            event.extensions = vec![("who".into(), Attribute::Text(SECRET.into()))];
        }
        store.commit(&[append(vec![new], 1_000)]).unwrap();
        if id % 9 == 0 {
            let reason = DeadReason::Rejected;
            let published = None;
            let end = SettleEnd::Dead { reason, published };
            let mut step = settle(id, 0, end);
            if let Step::Settle(settle) = &mut step {
                settle.attempt.output = SECRET.into();
                settle.attempt.outcome = Outcome::Reject {
                    message: SECRET.into(),
                };
            }
            store.commit(&[step]).unwrap();
        }
    }
    let JobSpec::Erase(mut spec) = erasure() else {
        panic!("no erasure");
    };
    spec.subject = Some(SECRET.into());
    store.commit(&[start(JobSpec::Erase(spec))]).unwrap();
    assert!(found(&folder, SECRET) > 100);
    for position in (3..=300).step_by(3) {
        let mut effects = vec![event_at(position)];
        if position % 9 == 0 {
            effects.push(JobEffect::EraseLetter { key: key(position) });
        }
        let end = (position == 300).then_some(JobEnd::Done);
        erase(&store, effects, end);
    }
    let before = everything(&store);
    assert!(!before.iter().any(|line| line.contains(SECRET)));
    assert!(
        found(&folder, SECRET) > 0,
        "nothing shows that the test looks"
    );
    let id = store.catalog().unwrap().store_id;
    // A part of an earlier one that was interrupted.
    std::fs::write(folder.join("edgebus.redb.copying"), "part").unwrap();
    store.rewrite(&folder, &Progress::silent()).unwrap();
    assert_eq!(found(&folder, SECRET), 0);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(folder.join(FILE)).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let store = RedbStore::open(&folder, small()).unwrap();
    assert_eq!(store.catalog().unwrap().store_id, id);
    assert_eq!(everything(&store), before);
    assert_eq!(verified(&store), [""; 0]);
    assert_eq!(found(&folder, SECRET), 0);
}
