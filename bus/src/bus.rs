//! The handle: all that the faces (HTTP, command line) can do with a bus. Cheap to clone.
//!
//! Never here: decisions. The handle resolves names, asks the pipeline or the store, and translates errors.

mod apply;
mod log;
mod owed;
mod planning;
mod rulebook;
mod staging;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::broadcast;

use crate::error::{Error, Kind};
use crate::model::{
    DeliveryKey, Event, Name, Position, Revision, RuleConfig, Subscription, Timestamp,
};
use crate::pipeline::{Pipeline, Snapshot, read_error};
use crate::store::Store;

use staging::Staging;

pub use crate::pipeline::{Situation, Trial};
pub use crate::store::{DeliveryState, StoredEvent};
pub use crate::telemetry::{AttemptEnded, EventAccepted, Happening, Tally};
pub use apply::{Application, Plan};
pub use log::{EventFilter, EventPage};
pub use owed::{DeliveryFilter, delivery_of};
pub use rulebook::Rulebook;

/// A running bus.
#[derive(Clone)]
pub struct Bus {
    pipeline: Arc<Pipeline>,
    /// Components that wait for the manifest that names them.
    staging: Arc<Staging>,
    /// The manifest in force, read.
    in_force: Arc<planning::InForce>,
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
    /// Still owed.
    Owed,
    /// Ended in success.
    Succeeded,
    /// Ended without.
    Dead,
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
    /// The oldest delivery that is still owed, and when its event was accepted.
    pub oldest_owed: Option<(DeliveryKey, Timestamp)>,
    /// How long ago that was, in milliseconds; `None` if nothing is owed.
    pub oldest_age_ms: Option<u64>,
    /// Events of the bus from that one to the newest; 0 if nothing is owed.
    pub behind: u64,
    /// What its deliveries came to since the process started.
    pub tally: Tally,
}

impl Bus {
    /// The handle of a running pipeline.
    #[must_use]
    pub fn new(pipeline: Arc<Pipeline>) -> Self {
        Self {
            pipeline,
            staging: Arc::default(),
            in_force: Arc::default(),
        }
    }

    /// Publishes `events` on `bus`, in order, all in one transaction; returns after the flush.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for the bus; [`Kind::Invalid`] with a fault for each event at fault (pointer
    /// `/3/source` for the fourth); [`Kind::Busy`], [`Kind::StorageFull`], [`Kind::Unknown`], [`Kind::Unavailable`].
    pub async fn publish(&self, bus: &str, events: Vec<Event>) -> Result<Vec<Accepted>, Error> {
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

    /// What happens from now on; a listener that falls behind loses the oldest.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Happening> {
        self.pipeline.telemetry().listen()
    }

    /// Resolves when the bus stops.
    pub async fn stopped(&self) {
        self.pipeline.stopped().await;
    }

    /// The deployed functions.
    #[must_use]
    pub fn functions(&self) -> Vec<Revision> {
        self.snapshot()
            .functions
            .values()
            .map(|deployed| deployed.revision.clone())
            .collect()
    }

    /// Compiles and deploys a component under `name`; what it is given stays as it was.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if it is not a function that this bus can run.
    pub async fn deploy(&self, name: &str, component: Bytes) -> Result<Revision, Error> {
        let name = Name::new(name).map_err(|error| Error::new(Kind::Invalid, error.to_string()))?;
        let pipeline = self.pipeline.clone();
        whole(async move { pipeline.deploy(name, component).await }).await
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
        whole(async move { pipeline.remove_function(&name).await }).await
    }

    /// The manifest in force and the rule-set version.
    #[must_use]
    pub fn manifest(&self) -> (Arc<str>, u64) {
        let snapshot = self.snapshot();
        (snapshot.manifest.clone(), snapshot.version)
    }

    /// The rules in force.
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
        if self.pipeline.harmed() {
            return Err("a stored record is harmed and was not used: stop the bus and run `edgebus fsck --data DIR` (EB0207)".to_owned());
        }
        self.pipeline.space().refusal().map_or(Ok(()), Err)
    }

    /// What goes on beside the bus's work, in words, for `/readyz?verbose`.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        self.pipeline.checking().words().into_iter().collect()
    }

    /// False after the store failed: the process is about to exit with 74.
    #[must_use]
    pub fn live(&self) -> bool {
        self.pipeline.live()
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.pipeline.snapshot()
    }

    fn bus_id(&self, name: &str) -> Result<crate::model::BusId, Error> {
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

    /// Reads on a blocking worker, because a page may have to come from the disk.
    async fn read<T: Send + 'static>(
        &self,
        reading: impl FnOnce(&dyn Store) -> Result<T, crate::store::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.pipeline.store().clone();
        match tokio::task::spawn_blocking(move || reading(&*store)).await {
            Ok(result) => result.map_err(read_error),
            Err(_) => Err(Error::new(Kind::Unavailable, "the bus is stopping")),
        }
    }
}

/// Runs a change to its end, whether or not the one who asked for it still waits.
async fn whole<T: Send + 'static>(
    change: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match tokio::spawn(change).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(Kind::Unavailable, "the bus is stopping")),
    }
}
