//! The handle: all that the faces (HTTP, command line) can do with a bus. Cheap to clone.
//!
//! Never here: decisions. The handle resolves names, asks the pipeline or the store, and translates errors.

mod log;
mod owed;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::broadcast;

use crate::error::{Error, Fault, Kind};
use crate::manifest;
use crate::model::{
    Code, DeliveryKey, Digest, Event, Name, Position, Revision, RuleConfig, Subscription, Timestamp,
};
use crate::pipeline::{FunctionSource, Pipeline, Snapshot, read_error};
use crate::store::Store;

pub use crate::pipeline::Trial;
pub use crate::store::{DeliveryState, StoredEvent};
pub use crate::telemetry::{AttemptEnded, EventAccepted, Happening, Tally};
pub use log::{EventFilter, EventPage};
pub use owed::{DeliveryFilter, delivery_of};

/// A running bus.
#[derive(Clone)]
pub struct Bus {
    pipeline: Arc<Pipeline>,
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
    /// Deliveries in memory: ready or running.
    pub in_memory: u64,
    /// The oldest delivery that is still owed, and when its event was accepted.
    pub oldest_owed: Option<(DeliveryKey, Timestamp)>,
    /// How long ago that was, in milliseconds; `None` if nothing is owed.
    pub oldest_age_ms: Option<u64>,
    /// Events of the bus from that one to the newest; 0 if nothing is owed.
    pub behind: u64,
    /// What its deliveries came to since the process started.
    pub tally: Tally,
}

/// What applying a manifest would do or did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// One line for each change: `+ rule outside-bugs`, `~ function triage`, `- bus old`.
    pub changes: Vec<String>,
    /// The rule-set version in force afterwards; unchanged for a dry run.
    pub version: u64,
}

impl Bus {
    /// The handle of a running pipeline.
    #[must_use]
    pub fn new(pipeline: Arc<Pipeline>) -> Self {
        Self { pipeline }
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

    /// Plans (`dry_run`) or applies a manifest text. A function whose component is a path, or not
    /// named, stays as it is deployed: only the command line reads files.
    ///
    /// # Errors
    /// [`Kind::Invalid`] with every fault, each with its place.
    pub async fn apply_manifest(&self, text: &str, dry_run: bool) -> Result<Plan, Error> {
        self.apply_with_components(text, &BTreeMap::new(), dry_run)
            .await
    }

    /// As [`Bus::apply_manifest`], with the components of the functions that bring one.
    ///
    /// # Errors
    /// [`Kind::Invalid`] with every fault, each with its place.
    pub async fn apply_with_components(
        &self,
        text: &str,
        components: &BTreeMap<Name, Bytes>,
        dry_run: bool,
    ) -> Result<Plan, Error> {
        let manifest = manifest::parse(text).map_err(|faults| {
            Error::invalid("the manifest can't be applied; nothing was changed", faults)
                .coded(Code::ManifestFaulty)
        })?;
        let snapshot = self.snapshot();
        let mut functions = Vec::with_capacity(manifest.functions.len());
        let mut missing = Vec::new();
        for declared in &manifest.functions {
            let source = match (components.get(&declared.name), &declared.component) {
                (Some(bytes), _) => FunctionSource::Component(bytes.clone()),
                (None, Some(manifest::ComponentSource::Digest(digest))) => {
                    FunctionSource::Stored(*digest)
                }
                (None, _) => FunctionSource::Deployed,
            };
            if matches!(source, FunctionSource::Deployed)
                && !snapshot.functions.contains_key(&declared.name)
            {
                missing.push(Fault {
                    pointer: format!("/functions/{}/component", declared.name),
                    place: None,
                    reason: format!("the function `{}` is not deployed, and only the command line reads component files", declared.name),
                    remedy: format!("deploy it first: curl -T {0}.wasm -H 'content-type: application/wasm' URL/v1/functions/{0}", declared.name),
                });
            }
            functions.push((declared.name.clone(), source, declared.config.clone()));
        }
        if !missing.is_empty() {
            return Err(Error::invalid(
                "the manifest can't be applied; nothing was changed",
                missing,
            )
            .coded(Code::FunctionNotDeployed));
        }
        let changes = self.plan(&manifest, &functions);
        let version = if dry_run {
            snapshot.version
        } else {
            let (pipeline, text) = (self.pipeline.clone(), text.to_owned());
            whole(async move {
                pipeline
                    .apply_manifest(text, manifest.buses, functions, manifest.rules)
                    .await
            })
            .await?
        };
        Ok(Plan { changes, version })
    }

    fn plan(
        &self,
        new: &manifest::Manifest,
        functions: &[(Name, FunctionSource, crate::model::FunctionConfig)],
    ) -> Vec<String> {
        let snapshot = self.snapshot();
        let replaced = functions
            .iter()
            .filter(|(name, source, _)| {
                let digest = match source {
                    FunctionSource::Component(bytes) => Digest::of(bytes),
                    FunctionSource::Stored(digest) => *digest,
                    FunctionSource::Deployed => return false,
                };
                snapshot
                    .functions
                    .get(name)
                    .is_some_and(|deployed| deployed.revision.digest != digest)
            })
            .map(|(name, _, _)| name.clone())
            .collect();
        // Before the first manifest, and for a text of an older format, everything is new.
        let old = manifest::parse(&snapshot.manifest).unwrap_or_default();
        manifest::plan(&old, new, &replaced)
    }

    /// The manifest in force and the rule-set version.
    #[must_use]
    pub fn manifest(&self) -> (Arc<str>, u64) {
        let snapshot = self.snapshot();
        (snapshot.manifest.clone(), snapshot.version)
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> Vec<RuleConfig> {
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
        Ok(())
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
