//! Jobs in the file: a store of before there were any, and a redrive of what the log no longer has.

use super::power::Disk;
use super::*;
use crate::redb::{counters, jobs, tables};

fn start(spec: JobSpec) -> Step {
    Step::StartJob(Box::new(StartJob {
        spec,
        rate: Some(4),
        of: 2,
        component: None,
        now: Timestamp(5),
    }))
}

/// Changes rows behind the store's back, and opens it again.
fn changed(disk: &Disk, store: RedbStore, change: impl FnOnce(&mut Tables<'_>)) -> RedbStore {
    let transaction = begin(store.database(), &store.length).unwrap();
    let mut tables = Tables::new(&transaction, Arc::default());
    change(&mut tables);
    drop(tables);
    transaction.commit().unwrap();
    drop(store);
    disk.open().unwrap()
}

/// Releases up to this one had no table of jobs: the open makes it, and the store is whole.
#[test]
fn a_store_without_the_table_gets_it() {
    let (disk, store) = Disk::with_store();
    let transaction = begin(store.database(), &store.length).unwrap();
    let gone = transaction.delete_table(tables::definition(Table::Jobs));
    assert!(gone.unwrap());
    let mut rows = Tables::new(&transaction, Arc::default());
    rows.remove(Table::Meta, jobs::LAST).unwrap();
    drop(rows);
    transaction.commit().unwrap();
    drop(store);
    let store = disk.open().unwrap();
    assert_eq!(verified(&store), Vec::<String>::new());
    assert!(matches!(
        store.commit(&[start(JobSpec::Purge(LetterSelection::default()))]),
        Ok(outcomes) if matches!(&outcomes[0], StepOutcome::Job(job) if job.id == JobId(1))
    ));
    drop(store);
    // From then on a table that is missing is corruption, and not made anew in silence.
    let store = disk.open().unwrap();
    let transaction = begin(store.database(), &store.length).unwrap();
    transaction
        .delete_table(tables::definition(Table::Jobs))
        .unwrap();
    transaction.commit().unwrap();
    drop(store);
    assert!(disk.open().is_err());
}

/// Every kind of job comes back from its row as it was made, with everything that narrows it.
#[test]
fn a_selection_comes_back_from_its_row() {
    let (disk, store) = Disk::with_store();
    let selection = LetterSelection {
        keys: vec![key(3), key(9)],
        subscriptions: vec![SubscriptionId(1), SubscriptionId(7)],
        reason: Some(DeadReason::HopLimit),
        since: Some(Timestamp(3)),
        until: Some(Timestamp(4)),
        kind: Some("shop.order".into()),
        pattern: Some(r#"{"data":{"a":[1]}}"#.into()),
        limit: Some(17),
    };
    let steps = [
        start(JobSpec::Redrive(selection.clone())),
        start(JobSpec::Purge(selection)),
    ];
    let made = store.commit(&steps).unwrap();
    drop(store);
    let store = disk.open().unwrap();
    for (id, made) in (1..).zip(made) {
        let job = store.job(JobId(id)).unwrap().unwrap();
        assert_eq!(made, StepOutcome::Job(Box::new(job)));
    }
}

/// A dead letter has its own copy of the event: a redrive writes it back at its place, and the store is whole.
#[test]
fn a_redrive_writes_back_an_event_that_the_log_lost() {
    let (disk, store) = Disk::with_store();
    let events = (1..=3).map(|id| event(&id.to_string(), vec![id; 90]));
    store.commit(&[append(events.collect(), 1_000)]).unwrap();
    let reason = DeadReason::Rejected;
    let ends = [1, 2].map(|position| {
        settle(
            position,
            0,
            SettleEnd::Dead {
                reason,
                published: None,
            },
        )
    });
    store.commit(&ends).unwrap();
    store
        .commit(&[start(JobSpec::Redrive(LetterSelection::default()))])
        .unwrap();
    let before = [1, 2].map(|at| store.event(BusId(1), Position(at)).unwrap().unwrap());
    let counts = store.bus_counts(BusId(1)).unwrap();
    let store = changed(&disk, store, |rows| {
        let row = tables::event_key(BusId(1), Position(1));
        let record = rows.raw(Table::Events, &row).unwrap().unwrap();
        rows.remove(Table::Events, &row).unwrap();
        let left = BusCounts {
            events: counts.events - 1,
            bytes: counts.bytes - record.len() as u64,
        };
        let key = counters::bus_key(BusId(1));
        let write = |out: &mut Vec<u8>| counters::write_bus(out, left);
        rows.put(Table::Counters, &key, write).unwrap();
    });
    assert!(!verified(&store).is_empty());
    let advance = Advance {
        job: JobId(1),
        from: JobPlace::Start,
        to: JobPlace::Delivery(key(2)),
        looked: 2,
        skipped: Skipped::default(),
        effects: [1, 2]
            .map(|at| JobEffect::Redrive {
                key: key(at),
                fence: 1,
            })
            .to_vec(),
        shadow: None,
        end: Some(JobEnd::Done),
        now: Timestamp(9_000),
    };
    let outcomes = store.commit(&[Step::Advance(Box::new(advance))]).unwrap();
    let StepOutcome::Advanced(advanced) = &outcomes[0] else {
        panic!("{outcomes:?}");
    };
    assert_eq!(advanced.job.progress.done, 2);
    for (at, before) in (1..).zip(before) {
        let now = store.event(BusId(1), Position(at)).unwrap().unwrap();
        assert_eq!(
            (now.accepted_at, &now.event, now.lineage, &now.subscriptions),
            (
                before.accepted_at,
                &before.event,
                before.lineage,
                &before.subscriptions
            )
        );
    }
    assert_eq!(store.bus_counts(BusId(1)).unwrap(), counts);
    assert_eq!(verified(&store), Vec::<String>::new());
    let done = SettleEnd::Done(Effects::default());
    let settled = store.commit(&[settle(1, 2, done)]).unwrap();
    assert_eq!(settled, [StepOutcome::Settled(vec![])]);
    assert_eq!(verified(&store), Vec::<String>::new());
}

/// A replay whose row of results is corrupt knows how many of its deliveries are pending, so that it goes on.
#[test]
fn results_are_counted_again_by_what_is_pending() {
    let (disk, store) = Disk::with_store();
    let events = (1..=5).map(|id| event(&id.to_string(), vec![id; 9]));
    store.commit(&[append(events.collect(), 1_000)]).unwrap();
    let spec = ReplaySpec {
        name: None,
        purpose: ReplayPurpose::Replay,
        bus: BusId(1),
        first: Position(1),
        last: Position(5),
        subscriptions: Vec::new(),
        kind: None,
        pattern: None,
        as_matched: true,
    };
    store.commit(&[start(JobSpec::Replay(spec))]).unwrap();
    let deliver = Advance {
        job: JobId(1),
        from: JobPlace::Start,
        to: JobPlace::Delivery(key(9)),
        looked: 5,
        skipped: Skipped::default(),
        effects: (1..=5)
            .map(|position| JobEffect::Deliver {
                subscription: SubscriptionId(1),
                position: Position(position),
            })
            .collect(),
        end: None,
        now: Timestamp(2_000),
        shadow: None,
    };
    store.commit(&[Step::Advance(Box::new(deliver))]).unwrap();
    for position in [2, 4] {
        let Step::Settle(mut end) = settle(position, 0, SettleEnd::Done(Effects::default())) else {
            panic!("it is one")
        };
        end.key.replay = 1;
        store.commit(&[Step::Settle(end)]).unwrap();
    }
    let store = changed(&disk, store, |rows| {
        let row = [0, 0, 0, 1, b'r'];
        let mut record = rows.raw(Table::Jobs, &row).unwrap().unwrap();
        record[3] ^= 1;
        rows.put_raw(Table::Jobs, &row, &record).unwrap();
    });
    store.job(JobId(1)).unwrap();
    let records = store.corruption().movable;
    let now = Timestamp(3_000);
    store.commit(&[Step::Quarantine { records, now }]).unwrap();
    let job = store.job(JobId(1)).unwrap().unwrap();
    let expected = JobResults {
        uncounted: 2,
        ..JobResults::default()
    };
    assert_eq!((job.progress.done, job.results), (5, expected));
    assert_eq!(store.corruption().names, [""; 0]);
    // A delivery that is lost with its event has died for the replay.
    let lost = DeliveryKey {
        replay: 1,
        ..key(1)
    };
    let store = changed(&disk, store, |rows| {
        let event = tables::event_key(BusId(1), Position(1));
        let rot = b"rot and nothing else";
        rows.put_raw(Table::Events, &event, rot).unwrap();
        let row = tables::delivery_key(lost);
        rows.put_raw(Table::Deliveries, &row, rot).unwrap();
    });
    store.events(BusId(1), Position(0), 9).unwrap();
    assert!(store.pending(lost).is_err());
    for now in 4_000..4_005 {
        let records = store.corruption().movable;
        let now = Timestamp(now);
        store.commit(&[Step::Quarantine { records, now }]).unwrap();
    }
    assert_eq!(store.corruption().names, [""; 0]);
    let job = store.job(JobId(1)).unwrap().unwrap();
    assert_eq!((job.results.died, job.results.ended()), (1, 3));
}

/// The number that was given last is known, whatever becomes of the newest job's row.
#[test]
fn no_number_is_given_again() {
    let (disk, store) = Disk::with_store();
    let purge = || start(JobSpec::Purge(LetterSelection::default()));
    store.commit(&[purge(), purge()]).unwrap();
    let store = changed(&disk, store, |rows| {
        rows.remove(Table::Jobs, &2_u32.to_be_bytes()).unwrap();
    });
    let outcomes = store.commit(&[purge()]).unwrap();
    assert!(matches!(&outcomes[0], StepOutcome::Job(job) if job.id == JobId(3)));
}
