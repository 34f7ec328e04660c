//! Every record is read once a week, under a clock that nothing but the test moves.

use std::sync::Mutex;

use super::super::tasks::Executor;
use super::super::tasks::simulated::Simulated;
use super::*;
use edgebus_store::redb::simulated_disk::Disk;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Lets the pipeline run for so long.
fn pass(simulated: &Simulated, clock: &Clock, time: Duration) {
    let end = clock.instant() + time;
    while let left = end.saturating_duration_since(clock.instant())
        && !left.is_zero()
        && simulated.step(left)
    {}
}

/// A pipeline on this store, started in order.
fn started(simulated: &Simulated, clock: &Clock, store: Arc<dyn Store>) -> Arc<Pipeline> {
    let parts = Parts {
        catalog: store.catalog().unwrap(),
        store,
        runtime: Arc::new(FakeRuntime),
        clock: clock.clone(),
        telemetry: Telemetry::new(),
        limits: Limits::of(64 << 30, usize::MAX),
        space: Box::new(|| u64::MAX),
        secrets: Arc::new(|_| None),
        hold: false,
    };
    let started = Arc::new(Mutex::new(None));
    let (slot, executor) = (started.clone(), Executor::Simulated(simulated.clone()));
    simulated.detached("start", async move {
        *slot.lock().unwrap() = Some(Pipeline::start_on(executor, parts).await);
    });
    pass(simulated, clock, Duration::from_secs(1));
    let pipeline = started.lock().unwrap().take();
    let pipeline = pipeline.expect("it starts within a second").unwrap();
    pipeline.begin();
    pipeline
}

#[test]
fn every_record_is_checked_once_a_week() {
    let disk = Disk::with_new_store();
    let store = disk.open().unwrap();
    store.commit(&[Step::MarkClean(true)]).unwrap();
    drop(store);
    let store: Arc<dyn Store> = Arc::new(disk.open().unwrap());
    let clock = Clock::manual(Timestamp(1_000), 1);
    let simulated = Simulated::new(1, clock.clone(), 2, false);
    let pipeline = started(&simulated, &clock, store.clone());
    // One that was never checked is checked an hour after the start.
    pass(&simulated, &clock, HOUR - MINUTE);
    assert_eq!(store.checked_at(), None);
    pass(&simulated, &clock, 2 * MINUTE);
    let mut last = store.checked_at().expect("it was checked");
    for week in 0..3 {
        // Somebody looks whether something is to be moved; that puts nothing off.
        for _ in 0..6 {
            clock.advance(WEEK / 7);
            pipeline.checking().wake();
            pass(&simulated, &clock, MINUTE);
        }
        let since = Duration::from_millis(clock.now().ms_since(last));
        clock.advance(WEEK - since - HOUR);
        pass(&simulated, &clock, MINUTE);
        assert_eq!(store.checked_at(), Some(last), "week {week}");
        assert_eq!(pipeline.checking().words(), None, "week {week}");
        pass(&simulated, &clock, 2 * HOUR);
        let next = store.checked_at().unwrap();
        let minutes = next.ms_since(last) / 60_000;
        let week_of_minutes = WEEK.as_secs() / 60;
        assert!(
            minutes.abs_diff(week_of_minutes) < 20,
            "week {week}: {minutes}"
        );
        last = next;
    }
}
