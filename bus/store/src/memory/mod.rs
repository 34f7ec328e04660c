//! A store in memory: the model that the durable ones are compared with, and the store of tests.
//!
//! Plain ordered maps under one lock, written to be read: where this and an engine disagree, this
//! one says what was meant. It outlives a handle ([`MemoryStore::reopen`]), so that tests can stop
//! and start a bus. Never here: durability, checksums, an upper bound on memory.

mod corrupt;
mod deliver;
mod erase;
#[cfg(any(test, feature = "testing"))]
pub mod injected;
mod jobs;
mod pages;
mod retention;
mod steps;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

pub use corrupt::Row;

use self::pages::{fill, in_direction, of_subscription, weights};
use super::catalog_state::CatalogState;
use super::change::Change;
use super::{
    BusCounts, Catalog, Corruption, Counts, DeliveryState, Error, Kind, Page, Quarantined,
    RecordId, Rows, StateView, Step, StepOutcome, Store, StoredEvent, Verified, Versioned,
};
use edgebus_model::{
    BusId, ClockReading, DeadLetter, Delivery, DeliveryKey, Digest, Event, EventRef, Job, JobId,
    Name, Pending, Position, Running, ShadowReport, SubscriptionId, Succeeded, Timestamp,
};

/// A handle on a store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    /// Shared with the handles of the same store that [`MemoryStore::reopen`] makes.
    data: Arc<Mutex<Data>>,
    /// The open that made this handle; an older one is dead.
    epoch: u64,
    /// What the handle before this one left.
    was_clean: bool,
    /// Set by an injected failure, for ever.
    dead: AtomicBool,
    /// The failure that the next commit meets.
    injected: Mutex<Option<InjectedFailure>>,
}

/// A commit that answers [`Kind::Unknown`], on demand of a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InjectedFailure {
    /// The transaction took place all the same.
    Landed,
    /// It did not.
    Lost,
}

/// Where a success stands.
type SuccessKey = (BusId, Position, SubscriptionId, u32);

/// Where and when an event was accepted, and what it said.
type First = (Position, Timestamp, Arc<Event>);

/// The log of a bus.
#[derive(Clone, Debug)]
struct Log {
    events: BTreeMap<Position, StoredEvent>,
    /// The last position that was given, and when.
    last: Position,
    clock: Timestamp,
    /// The first position that retention has not reached.
    floor: Position,
    /// Counts of descendants of events before this position go, and when it was the floor.
    uncounted: (Position, Timestamp),
    /// Bytes of its events' records, were they written.
    bytes: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            events: BTreeMap::new(),
            last: Position(0),
            clock: Timestamp(0),
            floor: Position(1),
            uncounted: (Position(1), Timestamp(0)),
            bytes: 0,
        }
    }
}

/// Everything that the store holds.
#[derive(Clone, Debug)]
struct Data {
    known: Arc<CatalogState>,
    epoch: u64,
    clean: bool,
    /// The last reading of the clock.
    clock: Option<ClockReading>,
    components: BTreeMap<Digest, Bytes>,
    logs: BTreeMap<BusId, Log>,
    /// The latest event with each (bus, source, id), whatever has become of it in the log.
    seen: HashMap<(BusId, String, String), First>,
    deliveries: BTreeMap<DeliveryKey, Delivery>,
    due: BTreeSet<(Timestamp, DeliveryKey)>,
    running: BTreeMap<DeliveryKey, Running>,
    settled: BTreeMap<SuccessKey, Succeeded>,
    dead_letters: BTreeMap<DeliveryKey, DeadLetter>,
    /// Copied on the first write after a view was taken.
    state: Arc<BTreeMap<(Name, Vec<u8>), Versioned>>,
    /// The last version given to any state write.
    state_version: u64,
    /// Jobs that have not ended, and those that ended lately.
    jobs: BTreeMap<JobId, Job>,
    /// The last number that a job was given.
    job_last: u32,
    /// What shadow replays have found.
    shadows: BTreeMap<JobId, ShadowReport>,
    /// Components that jobs have of their own.
    job_components: BTreeMap<JobId, Bytes>,
    /// Descendants of each published event that has some, and when the last of them came.
    descendants: BTreeMap<EventRef, (u32, Timestamp)>,
    /// Rows that a test declared corrupt.
    corrupt: BTreeSet<Row>,
    /// Rows in quarantine, and since when.
    aside: BTreeMap<Row, Timestamp>,
    /// Counts rows that were declared corrupt.
    found: u64,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// A new, empty store with the bus `default`, opened once.
    #[must_use]
    pub fn new() -> Self {
        let data = Data {
            known: Arc::new(CatalogState::genesis()),
            epoch: 1,
            clean: false,
            clock: None,
            components: BTreeMap::new(),
            logs: BTreeMap::new(),
            seen: HashMap::new(),
            deliveries: BTreeMap::new(),
            due: BTreeSet::new(),
            running: BTreeMap::new(),
            settled: BTreeMap::new(),
            dead_letters: BTreeMap::new(),
            state: Arc::default(),
            state_version: 0,
            jobs: BTreeMap::new(),
            job_last: 0,
            shadows: BTreeMap::new(),
            job_components: BTreeMap::new(),
            descendants: BTreeMap::new(),
            corrupt: BTreeSet::new(),
            aside: BTreeMap::new(),
            found: 0,
        };
        Self::handle(Arc::new(Mutex::new(data)), 1, true)
    }

    /// Another handle on the same store, as after a restart; every earlier handle is dead.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let (epoch, was_clean) = {
            let mut data = self.lock();
            #[cfg(any(test, feature = "testing"))]
            if injected::DEDUPE_APART.get() {
                data.forget_newest();
            }
            data.epoch += 1;
            (data.epoch, std::mem::take(&mut data.clean))
        };
        Self::handle(Arc::clone(&self.data), epoch, was_clean)
    }

    /// Makes the next commit answer [`Kind::Unknown`], and this handle dead after it.
    pub fn inject(&self, failure: InjectedFailure) {
        *self.injected.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    /// What is pending, corrupt rows included.
    #[cfg(any(test, feature = "testing"))]
    pub fn all_pending(&self) -> Vec<Delivery> {
        self.lock().deliveries.values().cloned().collect()
    }

    /// Declares a row corrupt: reads answer [`Kind::Corrupt`], pages leave it out.
    pub fn corrupt(&self, row: Row) {
        let mut data = self.lock();
        data.found += u64::from(data.corrupt.insert(row));
    }

    fn handle(data: Arc<Mutex<Data>>, epoch: u64, was_clean: bool) -> Self {
        Self {
            data,
            epoch,
            was_clean,
            dead: AtomicBool::new(false),
            injected: Mutex::new(None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) -> Result<MutexGuard<'_, Data>, Error> {
        let data = self.lock();
        if self.dead.load(Ordering::Relaxed) || data.epoch != self.epoch {
            return Err(Error::new(Kind::Unknown, "this handle is dead: open again"));
        }
        Ok(data)
    }
}

impl MemoryStore {
    /// What is known, with what else the catalog tells.
    fn catalog_of(&self, data: &Data, known: &CatalogState) -> Catalog {
        Catalog {
            store_id: [1; 16],
            secret: [2; 32],
            epoch: self.epoch,
            clean: self.was_clean,
            newest: data
                .logs
                .keys()
                .map(|bus| data.clock_of(*bus))
                .chain(data.jobs.values().map(|job| job.changed_at))
                .max()
                .unwrap_or_default(),
            clock: data.clock.clone(),
            ..known.catalog(|bus| data.head(bus))
        }
    }
}

impl Store for MemoryStore {
    fn commit(&self, batch: &[Step]) -> Result<Vec<StepOutcome>, Error> {
        let mut data = self.alive()?;
        let injected = self
            .injected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if injected.is_some() {
            self.dead.store(true, Ordering::Relaxed);
        }
        if injected == Some(InjectedFailure::Lost) {
            return Err(Error::new(Kind::Unknown, "injected: the commit was lost"));
        }
        let outcomes = batch.iter().map(|step| data.step(step)).collect();
        if injected == Some(InjectedFailure::Landed) {
            return Err(Error::new(Kind::Unknown, "injected: the commit landed"));
        }
        Ok(outcomes)
    }

    fn catalog(&self) -> Result<Catalog, Error> {
        let data = self.alive()?;
        data.must_be_intact(&Row::Meta)?;
        data.must_be_intact(&Row::Catalog)?;
        Ok(self.catalog_of(&data, &data.known))
    }

    fn plan(&self, step: &Step) -> Result<Result<(Catalog, Step), String>, Error> {
        let data = self.alive()?;
        let has = |digest| data.components.contains_key(&digest);
        let next = data.known.after(step, has);
        Ok(next.map(|next| {
            let change = Change::new(data.known.clone(), next, step);
            let catalog = self.catalog_of(&data, change.next());
            (catalog, Step::Change(Arc::new(change)))
        }))
    }

    fn events_page(
        &self,
        bus: BusId,
        from: Position,
        page: Page,
    ) -> Result<Rows<StoredEvent, Position>, Error> {
        let data = self.alive()?;
        Ok(data.events_page(bus, from, page))
    }

    fn event(&self, bus: BusId, position: Position) -> Result<Option<StoredEvent>, Error> {
        let data = self.alive()?;
        data.must_be_intact(&Row::Event(bus, position))?;
        Ok(data.at(bus, position).cloned())
    }

    fn pending_page(
        &self,
        subscription: SubscriptionId,
        from: Option<DeliveryKey>,
        page: Page,
    ) -> Result<Rows<Pending, DeliveryKey>, Error> {
        let data = self.alive()?;
        let intact = |key| data.is_intact(&Row::Delivery(key));
        let reading = (intact, weights::pending);
        let rows = of_subscription(&data.deliveries, subscription, from, page, reading);
        Ok(Rows {
            rows: rows.rows.iter().map(Delivery::pending).collect(),
            next: rows.next,
            bytes: rows.bytes,
        })
    }

    fn deliveries_page(
        &self,
        subscription: SubscriptionId,
        from: Option<DeliveryKey>,
        page: Page,
    ) -> Result<Rows<Delivery, DeliveryKey>, Error> {
        let data = self.alive()?;
        let intact = |key| data.is_intact(&Row::Delivery(key));
        let reading = (intact, weights::delivery);
        let rows = &data.deliveries;
        Ok(of_subscription(rows, subscription, from, page, reading))
    }

    fn pending(&self, key: DeliveryKey) -> Result<Option<Pending>, Error> {
        let data = self.alive()?;
        data.must_be_intact(&Row::Delivery(key))?;
        Ok(data.deliveries.get(&key).map(Delivery::pending))
    }

    fn running_page(
        &self,
        from: Option<DeliveryKey>,
        page: Page,
    ) -> Result<Rows<Running, DeliveryKey>, Error> {
        let data = self.alive()?;
        let rows = in_direction(
            &data.running,
            Bound::Unbounded,
            Bound::Unbounded,
            from,
            page,
        );
        Ok(fill(rows, page, |row| row.key, |_| 1))
    }

    fn waiting(
        &self,
        until: Timestamp,
        after: Option<(Timestamp, DeliveryKey)>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, DeliveryKey)>, Error> {
        let data = self.alive()?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = data.due.range((from, Bound::Unbounded));
        Ok(rows
            .take_while(|(due, _)| *due <= until)
            .filter(|(due, key)| data.is_intact(&Row::Due(*due, *key)))
            .take(limit)
            .copied()
            .collect())
    }

    fn delivery(&self, key: DeliveryKey) -> Result<Option<DeliveryState>, Error> {
        let data = self.alive()?;
        for row in [Row::Delivery(key), Row::Settled(key), Row::DeadLetter(key)] {
            data.must_be_intact(&row)?;
        }
        let pending = data
            .deliveries
            .get(&key)
            .cloned()
            .map(DeliveryState::Pending);
        let place = data.place_of(key);
        let settled = || {
            data.settled
                .get(&place)
                .cloned()
                .map(DeliveryState::Succeeded)
        };
        let dead = || {
            data.dead_letters
                .get(&key)
                .cloned()
                .map(DeliveryState::Dead)
        };
        Ok(pending.or_else(settled).or_else(dead))
    }

    fn settled_page(
        &self,
        subscription: SubscriptionId,
        from: Option<DeliveryKey>,
        page: Page,
    ) -> Result<Rows<Succeeded, DeliveryKey>, Error> {
        let data = self.alive()?;
        let key = |replay, position| DeliveryKey {
            subscription,
            replay,
            position: Position(position),
        };
        let first = Bound::Included(data.place_of(key(0, 0)));
        let last = Bound::Included(data.place_of(key(u32::MAX, u64::MAX)));
        let from = from.map(|from| DeliveryKey {
            subscription,
            ..from
        });
        let from = from.map(|from| data.place_of(from));
        let rows = in_direction(&data.settled, first, last, from, page);
        let rows = rows.filter(|row| row.delivery.key.subscription == subscription);
        let rows = rows.filter(|row| data.is_intact(&Row::Settled(row.delivery.key)));
        let weight = |row: &Succeeded| weights::delivery(&row.delivery);
        Ok(fill(rows, page, |row| row.delivery.key, weight))
    }

    fn dead_letters_page(
        &self,
        subscription: SubscriptionId,
        from: Option<DeliveryKey>,
        page: Page,
    ) -> Result<Rows<DeadLetter, DeliveryKey>, Error> {
        let data = self.alive()?;
        let weight = |row: &DeadLetter| weights::delivery(&row.delivery) + row.event.size();
        let reading = (|key| data.is_intact(&Row::DeadLetter(key)), weight);
        let rows = &data.dead_letters;
        Ok(of_subscription(rows, subscription, from, page, reading))
    }

    fn job(&self, id: JobId) -> Result<Option<Job>, Error> {
        Ok(self.alive()?.jobs.get(&id).cloned())
    }

    fn jobs_page(&self, from: Option<JobId>, page: Page) -> Result<Rows<Job, JobId>, Error> {
        let data = self.alive()?;
        let rows = in_direction(&data.jobs, Bound::Unbounded, Bound::Unbounded, from, page);
        Ok(fill(rows, page, |job| job.id, |_| 1))
    }

    fn shadow_report(&self, id: JobId) -> Result<Option<ShadowReport>, Error> {
        Ok(self.alive()?.shadows.get(&id).cloned())
    }

    fn job_component(&self, id: JobId, digest: Digest) -> Result<Option<Bytes>, Error> {
        let data = self.alive()?;
        let component = data.job_components.get(&id);
        let own = component.filter(|bytes| Digest::of(bytes) == digest);
        Ok(own.cloned())
    }

    fn bus_counts(&self, bus: BusId) -> Result<BusCounts, Error> {
        let data = self.alive()?;
        let log = data.logs.get(&bus);
        Ok(BusCounts {
            events: log.map_or(0, |log| log.events.len() as u64),
            bytes: log.map_or(0, |log| log.bytes),
        })
    }

    fn floor(&self, bus: BusId) -> Result<Position, Error> {
        let data = self.alive()?;
        Ok(data.logs.get(&bus).map_or(Position(1), |log| log.floor))
    }

    fn counts(&self, subscription: SubscriptionId) -> Result<Counts, Error> {
        let data = self.alive()?;
        let of = |key: &DeliveryKey| key.subscription == subscription;
        let mut counts = Counts::default();
        for row in data.deliveries.values().filter(|row| of(&row.key)) {
            *counts.pending_mut(row.due_at.is_some()) += 1;
        }
        counts.dead = data.dead_letters.keys().filter(|key| of(key)).count() as u64;
        Ok(counts)
    }

    fn totals(&self) -> Counts {
        let data = self.lock();
        let mut counts = Counts::default();
        for row in data.deliveries.values() {
            *counts.pending_mut(row.due_at.is_some()) += 1;
        }
        counts.dead = data.dead_letters.len() as u64;
        counts
    }

    fn state_view(&self) -> Result<Box<dyn StateView + '_>, Error> {
        let data = self.alive()?;
        Ok(Box::new(View {
            state: data.state.clone(),
            version: data.state_version,
            unsound: data.corrupt_state(),
        }))
    }

    fn component(&self, digest: Digest) -> Result<Option<Bytes>, Error> {
        let data = self.alive()?;
        data.must_be_intact(&Row::Component(digest))?;
        Ok(data.components.get(&digest).cloned())
    }

    fn verify(&self, corruption: &mut dyn FnMut(String)) -> Result<Verified, Error> {
        let data = self.alive()?;
        for row in &data.corrupt {
            corruption(format!("{row:?}"));
        }
        let events: usize = data.logs.values().map(|log| log.events.len()).sum();
        let rest = data.deliveries.len() + data.settled.len() + data.dead_letters.len();
        Ok(Verified {
            records: (events + rest + data.state.len()) as u64,
            corrupt: data.corrupt.len() as u64,
        })
    }

    fn corruption(&self) -> Corruption {
        self.lock().corruption()
    }

    fn quarantined(
        &self,
        after: Option<&RecordId>,
        limit: usize,
    ) -> Result<Vec<Quarantined>, Error> {
        Ok(self.alive()?.quarantined(after, limit))
    }
}

/// State at one moment.
struct View {
    state: Arc<BTreeMap<(Name, Vec<u8>), Versioned>>,
    version: u64,
    /// State rows that are corrupt, or in quarantine.
    unsound: BTreeSet<Row>,
}

impl View {
    fn is_intact(&self, function: &Name, key: &[u8]) -> bool {
        self.unsound.is_empty()
            || !self
                .unsound
                .contains(&Row::State(function.clone(), key.to_vec()))
    }
}

impl StateView for View {
    fn version(&self) -> Result<u64, Error> {
        Ok(self.version)
    }

    fn get(&self, function: &Name, key: &[u8]) -> Result<Option<Versioned>, Error> {
        if !self.is_intact(function, key) {
            return Err(Row::State(function.clone(), key.to_vec()).error());
        }
        Ok(self.state.get(&(function.clone(), key.to_vec())).cloned())
    }

    fn keys(
        &self,
        function: &Name,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded((function.clone(), after.to_vec())),
            _ => Bound::Included((function.clone(), prefix.to_vec())),
        };
        let rows = self.state.range((from, Bound::Unbounded));
        Ok(rows
            .map(|((owner, key), _)| (owner, key))
            .take_while(|(owner, key)| *owner == function && key.starts_with(prefix))
            .filter(|(_, key)| self.is_intact(function, key))
            .take(limit)
            .map(|(_, key)| key.clone())
            .collect())
    }
}
