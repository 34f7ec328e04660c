//! The handle: all that the faces (HTTP, command line) can do with a bus. Cheap to clone.
//!
//! Never here: decisions. The handle resolves names, asks the pipeline or the store, and translates errors.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Kind};
use crate::model::{DeliveryKey, Event, Name, Position, Revision, RuleConfig, Subscription};

pub use crate::store::{DeliveryState, StoredEvent};

/// A running bus.
#[derive(Clone)]
pub struct Bus {}

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

/// What applying a manifest would do or did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// One line for each change: `+ rule outside-bugs`, `~ function triage`, `- bus old`.
    pub changes: Vec<String>,
    /// The rule-set version in force afterwards; unchanged for a dry run.
    pub version: u64,
}

impl Bus {
    /// Publishes `events` on `bus`, in order, all in one transaction; returns after the flush.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for the bus; [`Kind::Invalid`] with a fault for each event at fault (pointer
    /// `/3/source` for the fourth); [`Kind::Busy`], [`Kind::StorageFull`], [`Kind::Unknown`], [`Kind::Unavailable`].
    pub async fn publish(&self, bus: &str, events: Vec<Event>) -> Result<Vec<Accepted>, Error> {
        let _ = (bus, events);
        Err(Error::new(Kind::Unavailable, "starting"))
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
        let _ = (bus, after, limit, kind);
        Err(Error::new(Kind::Unavailable, "starting"))
    }

    /// One event.
    ///
    /// # Errors
    /// [`Kind::NotFound`], and what reading can meet.
    pub async fn event(&self, bus: &str, position: Position) -> Result<StoredEvent, Error> {
        let _ = (bus, position);
        Err(Error::new(Kind::Unavailable, "starting"))
    }

    /// Waits until `bus` has an event after `after`, or until the bus stops.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Unavailable`] when stopping.
    pub async fn wait_for_event(&self, bus: &str, after: Position) -> Result<(), Error> {
        let _ = (bus, after);
        Err(Error::new(Kind::Unavailable, "starting"))
    }

    /// The deployed functions.
    #[must_use]
    pub fn functions(&self) -> Vec<Revision> {
        Vec::new()
    }

    /// Compiles and deploys a component under `name`; what it is given stays as it was.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if it is not a function that this bus can run.
    pub async fn deploy(&self, name: &str, component: Bytes) -> Result<Revision, Error> {
        let _ = (name, component);
        Err(Error::new(Kind::Unavailable, "starting"))
    }

    /// Removes a function.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Conflict`] while a rule names it.
    pub async fn remove_function(&self, name: &str) -> Result<(), Error> {
        let _ = name;
        Err(Error::new(Kind::Unavailable, "starting"))
    }

    /// Plans (`dry_run`) or applies a manifest text; its functions must be deployed already.
    ///
    /// # Errors
    /// [`Kind::Invalid`] with every fault, each with its place.
    pub async fn apply_manifest(&self, text: &str, dry_run: bool) -> Result<Plan, Error> {
        let _ = (text, dry_run);
        Err(Error::new(Kind::Unavailable, "starting"))
    }

    /// The manifest in force and the rule-set version.
    #[must_use]
    pub fn manifest(&self) -> (Arc<str>, u64) {
        (Arc::from(""), 0)
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> Vec<RuleConfig> {
        Vec::new()
    }

    /// The subscriptions with their numbers.
    ///
    /// # Errors
    /// What reading can meet.
    pub async fn subscriptions(&self) -> Result<Vec<SubscriptionStatus>, Error> {
        Ok(Vec::new())
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
        let _ = (subscription, stage, after, limit);
        Err(Error::new(Kind::Unavailable, "starting"))
    }

    /// One delivery, wherever its life has brought it.
    ///
    /// # Errors
    /// [`Kind::NotFound`], and what reading can meet.
    pub async fn delivery(&self, key: DeliveryKey) -> Result<DeliveryState, Error> {
        let _ = key;
        Err(Error::new(Kind::Unavailable, "starting"))
    }

    /// The label `rule/function` and function of a subscription's number, for showing deliveries.
    #[must_use]
    pub fn subscription(&self, id: crate::model::SubscriptionId) -> Option<Subscription> {
        let _ = id;
        None
    }

    /// True when recovery is done and the bus is not stopping; else why not.
    ///
    /// # Errors
    /// The reason, for `/readyz?verbose`.
    pub fn ready(&self) -> Result<(), String> {
        Err("starting".to_owned())
    }

    /// False after the store failed: the process is about to exit with 74.
    #[must_use]
    pub fn live(&self) -> bool {
        true
    }
}
