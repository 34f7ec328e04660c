//! The handle: all that the faces (HTTP, command line) can do with a bus. Cheap to clone.
//!
//! Never here: decisions. The handle resolves names, asks the pipeline or the store, and translates errors.

mod apply;
mod staging;
mod trial;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::broadcast;

use crate::error::{Error, Kind};
use crate::model::limits::PAGE_ROWS_MAX;
use crate::model::{
    DeliveryKey, Event, Name, Position, Revision, RuleConfig, Subscription, SubscriptionId,
};
use crate::pipeline::{Pipeline, Snapshot, read_error};
use crate::store::Store;

use staging::Staging;

pub use apply::{Application, Plan};
pub use trial::{Trial, Why};

pub use crate::store::{DeliveryState, StoredEvent};
pub use crate::telemetry::{AttemptEnded, EventAccepted, Happening};

/// A running bus.
#[derive(Clone)]
pub struct Bus {
    pipeline: Arc<Pipeline>,
    /// Components that wait for the manifest that names them.
    staging: Arc<Staging>,
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
    /// The oldest delivery that is still owed.
    pub oldest_owed: Option<DeliveryKey>,
}

impl Bus {
    /// The handle of a running pipeline.
    #[must_use]
    pub fn new(pipeline: Arc<Pipeline>) -> Self {
        Self {
            pipeline,
            staging: Arc::default(),
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

    /// A page of a bus's log after `after`, of `kind` if given.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for the bus, and what reading can meet.
    pub async fn events(
        &self,
        bus: &str,
        after: Position,
        limit: usize,
        kind: Option<&str>,
    ) -> Result<Page<StoredEvent>, Error> {
        let bus = self.bus_id(bus)?;
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        let kind = kind.map(str::to_owned);
        self.read(move |store| {
            let mut items = Vec::new();
            let mut after = after;
            // A filter may pass over much: look at a bounded number of events and let the caller go on.
            for _ in 0..EVENT_PAGES_MAX {
                let page = store.events(bus, after, limit)?;
                let whole = page.len() < limit;
                for stored in page {
                    after = stored.position;
                    if kind.as_ref().is_none_or(|kind| *kind == stored.event.kind) {
                        items.push(stored);
                        if items.len() == limit {
                            return Ok(Page {
                                items,
                                next: Some(after.to_string()),
                            });
                        }
                    }
                }
                if whole {
                    return Ok(Page { items, next: None });
                }
            }
            Ok(Page {
                items,
                next: Some(after.to_string()),
            })
        })
        .await
    }

    /// One event.
    ///
    /// # Errors
    /// [`Kind::NotFound`], and what reading can meet.
    pub async fn event(&self, bus: &str, position: Position) -> Result<StoredEvent, Error> {
        let id = self.bus_id(bus)?;
        self.read(move |store| store.event(id, position))
            .await?
            .ok_or_else(|| {
                Error::new(
                    Kind::NotFound,
                    format!("the bus `{bus}` holds no event at position {position}"),
                )
            })
    }

    /// Waits until `bus` has an event after `after`, or until the bus stops.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Unavailable`] when stopping.
    pub async fn wait_for_event(&self, bus: &str, after: Position) -> Result<(), Error> {
        let id = self.bus_id(bus)?;
        self.pipeline.wait_for_event(id, after).await;
        self.pipeline
            .ready()
            .map_err(|reason| Error::new(Kind::Unavailable, reason))
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
    pub fn rules(&self) -> Vec<RuleConfig> {
        self.snapshot().rules.clone()
    }

    /// The subscriptions with their numbers.
    ///
    /// # Errors
    /// What reading can meet.
    pub async fn subscriptions(&self) -> Result<Vec<SubscriptionStatus>, Error> {
        let snapshot = self.snapshot();
        let mut subscriptions: Vec<_> = snapshot.subscriptions.values().cloned().collect();
        subscriptions.sort_by_key(|subscription| subscription.id);
        let pipeline = self.pipeline.clone();
        self.read(move |store| {
            let mut rows = Vec::with_capacity(subscriptions.len());
            for subscription in subscriptions {
                let oldest = store.deliveries(subscription.id, None, 1)?;
                // One that left the manifest is shown as long as it owes something.
                if !subscription.active && oldest.is_empty() {
                    continue;
                }
                rows.push(SubscriptionStatus {
                    bus: snapshot
                        .bus(subscription.bus)
                        .map_or_else(|| subscription.rule.clone(), |bus| bus.config.name.clone()),
                    in_memory: pipeline.in_memory(subscription.id) as u64,
                    oldest_owed: oldest.first().map(|delivery| delivery.key),
                    subscription: (*subscription).clone(),
                });
            }
            Ok(rows)
        })
        .await
    }

    /// A page of deliveries in `stage`, of one subscription (by label `rule/function` or number) or of all; `after` is a page's `next`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for the subscription, [`Kind::Invalid`] for `after`, and what reading can meet.
    pub async fn deliveries(
        &self,
        subscription: Option<&str>,
        stage: DeliveryStage,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<DeliveryState>, Error> {
        let snapshot = self.snapshot();
        let wanted = match subscription {
            Some(text) => Some(find_subscription(&snapshot, text)?),
            None => None,
        };
        let after = match after {
            Some(text) => Some(text.parse::<DeliveryKey>().map_err(|()| {
                Error::new(
                    Kind::Invalid,
                    "`after` must be a page's `next`, as in 3-1042",
                )
            })?),
            None => None,
        };
        let mut ids: Vec<SubscriptionId> = snapshot.subscriptions.keys().copied().collect();
        ids.retain(|id| {
            wanted.is_none_or(|wanted| wanted == *id)
                && after.is_none_or(|after| *id >= after.subscription)
        });
        ids.sort_unstable();
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        self.read(move |store| {
            let mut items = Vec::new();
            for id in ids {
                let after = after.filter(|after| after.subscription == id);
                let room = limit - items.len();
                match stage {
                    DeliveryStage::Owed => items.extend(
                        store
                            .deliveries(id, after, room)?
                            .into_iter()
                            .map(DeliveryState::Owed),
                    ),
                    DeliveryStage::Succeeded => items.extend(
                        store
                            .settled(id, after, room)?
                            .into_iter()
                            .map(DeliveryState::Settled),
                    ),
                    DeliveryStage::Dead => items.extend(
                        store
                            .dead_letters(id, after, room)?
                            .into_iter()
                            .map(DeliveryState::Dead),
                    ),
                }
                if items.len() >= limit {
                    break;
                }
            }
            let next = if items.len() >= limit {
                items.last().map(|state| delivery_of(state).key.to_string())
            } else {
                None
            };
            Ok(Page { items, next })
        })
        .await
    }

    /// One delivery, wherever its life has brought it.
    ///
    /// # Errors
    /// [`Kind::NotFound`], and what reading can meet.
    pub async fn delivery(&self, key: DeliveryKey) -> Result<DeliveryState, Error> {
        self.read(move |store| store.delivery(key))
            .await?
            .ok_or_else(|| Error::new(Kind::NotFound, format!("there is no delivery {key}")))
    }

    /// The subscription with this number, for showing deliveries.
    #[must_use]
    pub fn subscription(&self, id: SubscriptionId) -> Option<Subscription> {
        self.snapshot()
            .subscriptions
            .get(&id)
            .map(|subscription| (**subscription).clone())
    }

    /// True when recovery is done and the bus is not stopping; else why not.
    ///
    /// # Errors
    /// The reason, for `/readyz?verbose`.
    pub fn ready(&self) -> Result<(), String> {
        self.pipeline.ready()?;
        if self.pipeline.harmed() {
            return Err("a stored record is harmed and was not used: stop the bus and run `edgebus fsck --data DIR`".to_owned());
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

/// Pages of the log that one filtered listing looks at.
const EVENT_PAGES_MAX: usize = 16;

/// The delivery inside a state.
#[must_use]
pub fn delivery_of(state: &DeliveryState) -> &crate::model::Delivery {
    match state {
        DeliveryState::Owed(delivery) => delivery,
        DeliveryState::Settled(settled) => &settled.delivery,
        DeliveryState::Dead(dead) => &dead.delivery,
    }
}

fn find_subscription(snapshot: &Snapshot, text: &str) -> Result<SubscriptionId, Error> {
    snapshot
        .subscriptions
        .values()
        .find(|subscription| subscription.label() == text || subscription.id.0.to_string() == text)
        .map(|subscription| subscription.id)
        .ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!(
                    "there is no subscription `{}`; GET /v1/subscriptions lists them",
                    text.escape_debug()
                ),
            )
        })
}
