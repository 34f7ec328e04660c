//! The handle: everything that the HTTP API and the command line can do with a bus. Cheap to clone.
//!
//! Never here: decisions. The handle resolves names, asks the pipeline or the store, and translates errors.

mod apply;
mod deliveries;
mod erasures;
mod jobs;
mod log;
mod planning;
mod pool;
mod replays;
mod rulebook;
mod shadow;
mod staging;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, broadcast};
use tokio::time::timeout;

use crate::pipeline::{Pipeline, Snapshot, read_error};
use edgebus_model::error::{Error, Kind};
use edgebus_model::rule::SYSTEM_BUS;
use edgebus_model::{
    DeliveryKey, Event, Name, Position, Revision, RuleConfig, Subscription, Timestamp,
};
use edgebus_store::{self as store, Store};

use staging::Staging;

pub use crate::pipeline::{Availability, Situation, Trial};
pub use crate::telemetry::{AttemptEnded, EventAccepted, SubscriptionCounters, TelemetryEvent};
pub use apply::{Application, Plan};
pub use deliveries::{DeliveryFilter, DeliveryPlace, Selected, delivery_of, place_of};
pub use edgebus_store::{Counts, DeliveryState, StoredEvent};
pub use erasures::{EraseCount, EraseRequest};
pub use jobs::{LetterFilter, LetterJob, Preview};
pub use log::{EventFilter, EventPage, LastEvents};
pub(crate) use pool::{Cancel, Cancelled, Pool};
pub use replays::{Border, ReplayCount, ReplayRequest, Seek, SeekCount, SeekTo};
pub use rulebook::Rulebook;
pub use shadow::ShadowRequest;

/// Requests that read the store at once; the pipeline's own reads have all other threads.
const READS_MAX: usize = 16;
/// How long a request waits for its turn to read.
const READ_WAIT_MAX: Duration = Duration::from_secs(2);
/// Changes of functions and manifests that are made or wait for each other, each with its components. Two
/// of them may compile; the others are for changes that don't.
const CHANGES_MAX: usize = 4;
/// How long a change waits to be among them.
const CHANGE_WAIT_MAX: Duration = Duration::from_secs(30);
/// Manifests that are read and compared with what is active at once.
const PLANS_MAX: usize = 2;
/// How long one of them may take: thousands of rules on a small board.
const PLAN_TIME_MAX: Duration = Duration::from_secs(120);
/// How long one request may read.
const READ_TIME_MAX: Duration = Duration::from_secs(10);
/// Lines that tell what is not as it should be.
const NOTES_MAX: usize = 20;
/// Records in quarantine that `/readyz?verbose` names.
const QUARANTINED_NAMED: usize = 8;

/// A running bus.
#[derive(Clone)]
pub struct Bus {
    pipeline: Arc<Pipeline>,
    /// Where requests read the store.
    reads: Pool,
    /// Where manifests are read and planned: they take longer, and no reader may keep them out.
    plans: Pool,
    /// Places for changes, which go on when the one who asked is gone.
    changes: Arc<Semaphore>,
    /// Components that wait for the manifest that names them.
    staging: Arc<Staging>,
    /// The active manifest, read.
    active: Arc<planning::ActiveManifest>,
}

/// The answer to one published event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// The event's id.
    pub id: String,
    /// Its place in the log, or the first one's if it is a duplicate.
    pub position: Position,
    /// True if (source, id) was published before, within the dedupe window.
    pub duplicate: bool,
}

/// A page of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// What to give as `after` for the next page; `None` at the end.
    pub next: Option<String>,
}

/// Which deliveries to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeliveryStage {
    /// Still pending.
    Pending,
    /// Ended in success.
    Succeeded,
    /// Ended without.
    Dead,
    /// A job let go of it.
    Discarded,
}

/// A subscription with its numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubscriptionStatus {
    /// The subscription.
    pub subscription: Subscription,
    /// Its bus.
    pub bus: Name,
    /// Deliveries that wait in memory.
    pub in_memory: u64,
    /// Why its deliveries run or don't.
    pub situation: Situation,
    /// The oldest delivery that is still pending, and when its event was accepted.
    pub oldest_pending: Option<(DeliveryKey, Timestamp)>,
    /// How long ago that was, in milliseconds; `None` if nothing is pending.
    pub oldest_age_ms: Option<u64>,
    /// Events of the bus from that one to the newest; 0 if nothing is pending.
    pub behind: u64,
    /// How many of its deliveries are pending, waiting and dead.
    pub counts: Counts,
    /// What its deliveries came to since the process started.
    pub subscription_counters: SubscriptionCounters,
}

/// Whether anybody may publish on a bus of this name.
///
/// # Errors
/// [`Kind::Conflict`] for the one of the bus's own events.
fn is_for_all(bus: &str) -> Result<(), Error> {
    if bus != SYSTEM_BUS {
        return Ok(());
    }
    Err(Error::new(
        Kind::Conflict,
        format!("the bus `{SYSTEM_BUS}` takes the bus's own events alone; publish on another one"),
    ))
}

impl Bus {
    /// The handle of a running pipeline.
    #[must_use]
    pub fn new(pipeline: Arc<Pipeline>) -> Self {
        Self {
            pipeline,
            reads: Pool::new(READS_MAX, READ_WAIT_MAX, READ_TIME_MAX),
            plans: Pool::new(PLANS_MAX, CHANGE_WAIT_MAX, PLAN_TIME_MAX),
            changes: Arc::new(Semaphore::new(CHANGES_MAX)),
            staging: Arc::default(),
            active: Arc::default(),
        }
    }

    /// Publishes `events` on `bus`, in order; returns after the flush. More than some thousands of events and
    /// deliveries are several transactions, and one answer after the last.
    ///
    /// Data that is [`edgebus_model::Data::Json`] must be JSON that is not nested too deeply, as `api/wire`
    /// checks it: bytes that no rule mentions are not read here.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for the bus; [`Kind::Invalid`] with an error for each invalid event (pointer
    /// `/3/source` for the fourth); [`Kind::Busy`], [`Kind::StorageFull`], [`Kind::Unknown`], [`Kind::Unavailable`].
    pub async fn publish(&self, bus: &str, events: Vec<Event>) -> Result<Vec<Accepted>, Error> {
        is_for_all(bus)?;
        let ids: Vec<String> = events.iter().map(|event| event.id.clone()).collect();
        let places = self.pipeline.publish(bus, events).await?;
        Ok(ids
            .into_iter()
            .zip(places)
            .map(|(id, place)| Accepted {
                id,
                position: place.position,
                duplicate: place.duplicate,
            })
            .collect())
    }

    /// Publishes those of `events` that can be, in order, and tells what became of each; returns after the
    /// flush. An error of one has a pointer into that event.
    ///
    /// # Errors
    /// What stops all of them, as for [`Self::publish`]. [`Kind::Unknown`] leaves a part of them stored.
    pub async fn publish_each(
        &self,
        bus: &str,
        events: Vec<Event>,
    ) -> Result<Vec<Result<Accepted, Error>>, Error> {
        is_for_all(bus)?;
        let ids: Vec<String> = events.iter().map(|event| event.id.clone()).collect();
        let ends = self.pipeline.publish_each(bus, events).await?;
        let each = ids.into_iter().zip(ends).map(|(id, end)| {
            end.map(|place| Accepted {
                id,
                position: place.position,
                duplicate: place.duplicate,
            })
        });
        Ok(each.collect())
    }

    /// What happens from now on; a listener that falls behind loses the oldest.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<TelemetryEvent> {
        self.pipeline.telemetry().listen()
    }

    /// Resolves when the bus stops.
    pub async fn stopped(&self) {
        self.pipeline.stopped().await;
    }

    /// The deployed functions, each with whether it can be called.
    #[must_use]
    pub fn functions(&self) -> Vec<(Revision, Availability)> {
        self.snapshot()
            .functions
            .values()
            .map(|deployed| (deployed.revision.clone(), deployed.availability()))
            .collect()
    }

    /// One of them.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<(Revision, Availability)> {
        let snapshot = self.snapshot();
        let deployed = snapshot.functions.get(name)?;
        Some((deployed.revision.clone(), deployed.availability()))
    }

    /// What `/readyz?verbose` says beside the verdict, a line each: how far the check of the store is, rules
    /// that are inactive, functions that can't be called.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let snapshot = self.snapshot();
        let functions = snapshot.functions.values().filter_map(|own| {
            let name = &own.revision.name;
            match own.availability() {
                Availability::Ready => None,
                Availability::Compiling => Some(format!("function {name} is compiling")),
                Availability::Unavailable { reason } => Some(format!(
                    "function {name} is unavailable, its deliveries wait: {}",
                    reason.lines().next().unwrap_or("")
                )),
            }
        });
        let rules = snapshot.inactive.iter().map(|own| {
            let reason = own.reason.lines().next().unwrap_or("");
            format!(
                "rule {} is inactive, this release can't read it: {reason}",
                own.rule
            )
        });
        let mut notes: Vec<String> = rules.chain(functions).take(NOTES_MAX + 1).collect();
        if notes.len() > NOTES_MAX {
            notes.truncate(NOTES_MAX);
            notes.push("and more".to_owned());
        }
        notes.splice(..0, self.pipeline.checking().words());
        notes.splice(..0, self.quarantine_notes());
        notes
    }

    /// What is in quarantine, the first few by name.
    fn quarantine_notes(&self) -> Vec<String> {
        let count = self.pipeline.corruption().in_quarantine;
        if count == 0 {
            return Vec::new();
        }
        let first = format!(
            "degraded: {count} corrupt records are in quarantine; `edgebus fsck` lists them (EB0207)"
        );
        // A read of a few rows, and only then; what can't be read is told otherwise.
        let rows = self.pipeline.store().quarantined(None, QUARANTINED_NAMED);
        let rows = rows.unwrap_or_default().into_iter();
        let names = rows.map(|row| format!("in quarantine: {}: {}", row.name, row.reason));
        std::iter::once(first).chain(names).collect()
    }

    /// Reads the secrets anew; the functions whose values changed.
    pub async fn reload_secrets(&self) -> Vec<Name> {
        self.pipeline.reload_secrets().await
    }

    /// Compiles and deploys a component under `name`; what it is given stays as it was.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if it is not a function that this bus can run.
    pub async fn deploy(&self, name: &str, component: Bytes) -> Result<Revision, Error> {
        let name = Name::new(name).map_err(|error| Error::new(Kind::Invalid, error.to_string()))?;
        let pipeline = self.pipeline.clone();
        self.whole(async move { pipeline.deploy(name, component).await })
            .await
    }

    /// Runs a deployed function once on `event`, as if a rule of `bus` had matched it, and commits
    /// nothing of what it does.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for the function or the bus, [`Kind::Unavailable`] when not ready.
    pub async fn try_function(&self, name: &str, bus: &str, event: Event) -> Result<Trial, Error> {
        self.pipeline.try_function(name, bus, event).await
    }

    /// Removes a function.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Conflict`] while a rule names it.
    pub async fn remove_function(&self, name: &str) -> Result<(), Error> {
        let (pipeline, name) = (self.pipeline.clone(), name.to_owned());
        self.whole(async move { pipeline.remove_function(&name).await })
            .await
    }

    /// The active manifest and the rule-set version.
    #[must_use]
    pub fn manifest(&self) -> (Arc<str>, u64) {
        let snapshot = self.snapshot();
        (snapshot.manifest.clone(), snapshot.version)
    }

    /// The active rules.
    #[must_use]
    pub fn rules(&self) -> Vec<Arc<RuleConfig>> {
        self.snapshot().rules.clone()
    }

    /// True when recovery is done and the bus is not stopping; else why not.
    ///
    /// # Errors
    /// The reason, for `/readyz?verbose`.
    pub fn ready(&self) -> Result<(), String> {
        self.pipeline.ready()?;
        let corruption = self.pipeline.corruption();
        if let Some(page) = corruption.page {
            return Err(format!(
                "a page of the store can't be read ({page}): stop the bus and run `edgebus fsck --data DIR` (EB0207)"
            ));
        }
        if corruption.records > 0 {
            let name = corruption.names.first().cloned().unwrap_or_default();
            return Err(format!(
                "{} corrupt records were found and not used, and are not in quarantine yet, such as {name};                  if this stays, stop the bus and run `edgebus fsck --quarantine --data DIR` (EB0207)",
                corruption.records
            ));
        }
        self.pipeline.space().refusal().map_or(Ok(()), Err)
    }

    /// False after the store failed: the process is about to exit with 74.
    #[must_use]
    pub fn live(&self) -> bool {
        self.pipeline.live()
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.pipeline.snapshot()
    }

    fn bus_id(&self, name: &str) -> Result<edgebus_model::BusId, Error> {
        self.snapshot()
            .buses
            .get(name)
            .map(|bus| bus.id)
            .ok_or_else(|| {
                Error::new(
                    Kind::NotFound,
                    format!("there is no bus `{}`", name.escape_debug()),
                )
            })
    }

    /// Runs a change detached from the request: a client that disconnects does not cancel it. Few at once: one
    /// that nobody waits for still holds its component. Who waits for a place waits with the request, and goes
    /// with it.
    async fn whole<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let place = timeout(CHANGE_WAIT_MAX, self.changes.clone().acquire_owned());
        let Ok(Ok(place)) = place.await else {
            let busy = Kind::Busy {
                retry_after_ms: 5_000,
            };
            return Err(Error::new(
                busy,
                "other changes of functions or of the manifest are being made; nothing was changed",
            ));
        };
        let changing = tokio::spawn(async move {
            let changed = change.await;
            drop(place);
            changed
        });
        match changing.await {
            Ok(result) => result,
            Err(_) => Err(Error::new(Kind::Unavailable, "the bus is stopping")),
        }
    }

    /// Reads on a blocking thread, because a page may have to come from the disk. The reading ends when
    /// its time is over or when nobody waits for it any more.
    async fn read<T: Send + 'static>(
        &self,
        reading: impl FnOnce(&dyn Store, &Cancel) -> Result<T, ReadEnd> + Send + 'static,
    ) -> Result<T, Error> {
        self.read_in(&self.reads, reading).await
    }

    /// The same in the places for manifests.
    async fn read_for_plan<T: Send + 'static>(
        &self,
        reading: impl FnOnce(&dyn Store, &Cancel) -> Result<T, ReadEnd> + Send + 'static,
    ) -> Result<T, Error> {
        self.read_in(&self.plans, reading).await
    }

    async fn read_in<T: Send + 'static>(
        &self,
        pool: &Pool,
        reading: impl FnOnce(&dyn Store, &Cancel) -> Result<T, ReadEnd> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.pipeline.store().clone();
        match pool.run(move |cancel| reading(&*store, cancel)).await {
            Ok(Ok(read)) => Ok(read),
            Ok(Err(ReadEnd::Failed(error))) => Err(read_error(error)),
            Ok(Err(ReadEnd::Cancelled)) => Err(pool.timed_out().into()),
            Err(refused) => Err(refused.into()),
        }
    }
}

/// Why a reading ended without what was wanted.
enum ReadEnd {
    /// The store could not be read.
    Failed(store::Error),
    /// Its time was over, or nobody waited for it.
    Cancelled,
}

impl From<store::Error> for ReadEnd {
    fn from(error: store::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Cancelled> for ReadEnd {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}
