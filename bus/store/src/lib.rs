//! The store's interface: commits steps, reads pages.
//!
//! All durable change is a [`Step`], applied by [`Store::commit`] in batches, one transaction each,
//! flushed before it returns. A step carries its time and its random numbers, so that applying steps
//! is deterministic. No table, cursor or transaction of an engine shows here, because a second engine
//! will stand behind this door; every implementation runs the suite in `conformance`.
//!
//! Never here: matching, retry decisions, waiting. A step says what to write; the store only checks
//! what must be checked inside the transaction (duplicates, fences, state versions, the fan-out budget).

#![forbid(unsafe_code)]

mod catalog_state;
mod change;
mod codec;
#[cfg(test)]
mod conformance;
pub mod counts;
pub mod error;
mod integrity;
pub mod job;
pub mod memory;
pub mod page;
pub mod redb;
mod retention;
mod settlement;
mod state;
mod weight;

use std::sync::Arc;

use bytes::Bytes;

use edgebus_model::{
    BusConfig, BusId, ClockReading, DeadLetter, DeadReason, Delivery, DeliveryKey, Digest, Event,
    FunctionConfig, Job, JobControl, JobId, Lineage, Name, Pending, Position, Revision, RuleConfig,
    Running, ShadowReport, Subscription, SubscriptionId, Succeeded, Timestamp,
};

pub use change::Change;
pub use counts::{BusCounts, Counts};
pub use error::{Error, Kind};
pub use integrity::{Checked, Corruption, Moved, Quarantined, RecordId, Verified, hollow_event};
pub use job::{Advance, Advanced, JobEffect, JobEnd, StartJob};
pub use page::{Direction, Page, Rows};
pub use retention::{Expire, Trim, Trimmed};
pub use settlement::{Effects, Settle, SettleEnd};
pub use state::{ListedKeys, Listing, Seen, StateView, Versioned};

/// A durable store. One writer thread calls `commit`; any thread may read.
pub trait Store: Send + Sync + 'static {
    /// Applies `steps` in order in one transaction and returns when it is on stable storage.
    ///
    /// Each step has its own result, in order: a step that is refused (a stale fence, say) writes
    /// nothing and does not hinder the others; the outcomes of earlier steps of the batch are
    /// visible to later ones.
    ///
    /// # Errors
    /// [`Kind::Unknown`]: the transaction may or may not have taken place, and the handle is dead.
    fn commit(&self, steps: &[Step]) -> Result<Vec<StepOutcome>, Error>;

    /// What the store knows as a whole, for start-up.
    ///
    /// # Errors
    /// As every read: [`Kind::Corrupt`] for a record that fails its checksum, [`Kind::Unknown`] when the engine fails.
    fn catalog(&self) -> Result<Catalog, Error>;

    /// The catalog as it would be after `step`, which changes it, with the step to commit for that; or why the
    /// step would be denied. Nothing is written.
    ///
    /// The step that comes back costs the writer the rows that differ and no more, and is denied if another
    /// change comes between.
    ///
    /// # Errors
    /// As every read.
    fn plan(&self, step: &Step) -> Result<Result<(Catalog, Step), String>, Error>;

    /// A page of a bus's log: events behind `from`, or before it where the page goes backwards; then the
    /// highest number there is means the log's end.
    /// # Errors
    /// As every read.
    fn events_page(
        &self,
        bus: BusId,
        from: Position,
        page: Page,
    ) -> Result<Rows<StoredEvent, Position>, Error>;

    /// One event, or `None` if that position holds none.
    /// # Errors
    /// As every read.
    fn event(&self, bus: BusId, position: Position) -> Result<Option<StoredEvent>, Error>;

    /// A page of what is pending for a subscription, live and replayed, in key order: the small rows alone.
    /// # Errors
    /// As every read.
    fn pending_page(
        &self,
        subscription: SubscriptionId,
        from: Option<DeliveryKey>,
        page: Page,
    ) -> Result<Rows<Pending, DeliveryKey>, Error>;

    /// As [`Store::pending_page`], with the attempts; they count as bytes too.
    /// # Errors
    /// As every read.
    fn deliveries_page(
        &self,
        subscription: SubscriptionId,
        from: Option<DeliveryKey>,
        page: Page,
    ) -> Result<Rows<Delivery, DeliveryKey>, Error>;

    /// One delivery's small row, if it is still pending.
    /// # Errors
    /// As every read.
    fn pending(&self, key: DeliveryKey) -> Result<Option<Pending>, Error>;

    /// A page of attempts that were claimed and have not ended, over all subscriptions, in key order.
    /// # Errors
    /// As every read.
    fn running_page(
        &self,
        from: Option<DeliveryKey>,
        page: Page,
    ) -> Result<Rows<Running, DeliveryKey>, Error>;

    /// A page of deliveries that wait for a due time at or before `until`, in order of due time,
    /// strictly after the place `after`.
    /// # Errors
    /// As every read.
    fn waiting(
        &self,
        until: Timestamp,
        after: Option<(Timestamp, DeliveryKey)>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, DeliveryKey)>, Error>;

    /// One delivery, wherever its life has brought it.
    /// # Errors
    /// As every read.
    fn delivery(&self, key: DeliveryKey) -> Result<Option<DeliveryState>, Error>;

    /// A page of a subscription's successes, in the order of their positions, then replays. It looks at no
    /// more than [`SETTLED_LOOKED_AT_MAX`] places of the bus's log.
    /// # Errors
    /// As every read.
    fn settled_page(
        &self,
        subscription: SubscriptionId,
        from: Option<DeliveryKey>,
        page: Page,
    ) -> Result<Rows<Succeeded, DeliveryKey>, Error>;

    /// A page of a subscription's dead letters in key order.
    /// # Errors
    /// As every read.
    fn dead_letters_page(
        &self,
        subscription: SubscriptionId,
        from: Option<DeliveryKey>,
        page: Page,
    ) -> Result<Rows<DeadLetter, DeliveryKey>, Error>;

    /// One job; `None` if there never was one of this number, or it ended long ago.
    /// # Errors
    /// As every read.
    fn job(&self, id: JobId) -> Result<Option<Job>, Error>;

    /// A page of jobs, in the order of their numbers.
    /// # Errors
    /// As every read.
    fn jobs_page(&self, from: Option<JobId>, page: Page) -> Result<Rows<Job, JobId>, Error>;

    /// What a shadow replay has found so far; `None` before it has found anything.
    /// # Errors
    /// As every read.
    fn shadow_report(&self, id: JobId) -> Result<Option<ShadowReport>, Error>;

    /// The component of a shadow replay's candidate, as long as the job may go on.
    /// # Errors
    /// As every read.
    fn job_component(&self, id: JobId, digest: Digest) -> Result<Option<Bytes>, Error>;

    /// How much a bus's log holds.
    /// # Errors
    /// As every read.
    fn bus_counts(&self, bus: BusId) -> Result<BusCounts, Error>;

    /// The first position of a bus that retention has not reached. Of the events before it only those are left
    /// that have something pending.
    /// # Errors
    /// As every read.
    fn floor(&self, bus: BusId) -> Result<Position, Error>;

    /// How many of a subscription's deliveries are pending, waiting and dead.
    /// # Errors
    /// As every read.
    fn counts(&self, subscription: SubscriptionId) -> Result<Counts, Error>;

    /// The sums of all subscriptions' counts as of the last commit; reads nothing.
    fn totals(&self) -> Counts;

    /// All state of functions as it is at this moment, for several reads that belong together. Drop it soon:
    /// as long as it lives, the store can't reuse the space of what is written meanwhile.
    /// # Errors
    /// As every read.
    fn state_view(&self) -> Result<Box<dyn StateView + '_>, Error>;

    /// [`StateView::get`] of this moment.
    /// # Errors
    /// As every read.
    fn state(&self, function: &Name, key: &[u8]) -> Result<Option<Versioned>, Error> {
        self.state_view()?.get(function, key)
    }

    /// [`StateView::keys`] of this moment.
    /// # Errors
    /// As every read.
    fn state_keys(
        &self,
        function: &Name,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, Error> {
        self.state_view()?.keys(function, prefix, after, limit)
    }

    /// A component's bytes.
    /// # Errors
    /// As every read.
    fn component(&self, digest: Digest) -> Result<Option<Bytes>, Error>;

    /// Checks every record; each corruption that it finds is one line that names the table and key.
    /// # Errors
    /// When the engine itself can't go on.
    fn verify(&self, corruption: &mut dyn FnMut(String)) -> Result<Verified, Error>;

    /// Checks the next records, at most `rows`, while a check of everything goes on, and says how far that
    /// is: `None` when none goes on. A start begins one where nothing has looked at every record after an
    /// unclean stop. What it finds is told by [`Store::corruption`].
    ///
    /// # Errors
    /// A page of the file can't be read; the check is over then.
    fn check_next(&self, rows: u64) -> Result<Option<Checked>, Error> {
        let _ = rows;
        Ok(None)
    }

    /// Begins a check of everything, if none goes on.
    fn begin_check(&self) {}

    /// When the last check of everything ended, as [`Step::NoteCheck`] noted it.
    fn checked_at(&self) -> Option<Timestamp> {
        None
    }

    /// The corrupt records that this handle has met and that are not in quarantine. Pages leave such a row
    /// out and go on, so that one corrupt record hinders no other; single reads answer [`Kind::Corrupt`].
    /// Anything here degrades `/readyz`, until a [`Step::Quarantine`] has moved it.
    fn corruption(&self) -> Corruption {
        Corruption::default()
    }

    /// A page of what is in quarantine, behind `after`.
    /// # Errors
    /// As every read.
    fn quarantined(
        &self,
        after: Option<&RecordId>,
        limit: usize,
    ) -> Result<Vec<Quarantined>, Error> {
        let _ = (after, limit);
        Ok(Vec::new())
    }

    /// Events in a test: at most `limit`, whatever they weigh.
    #[cfg(any(test, feature = "testing"))]
    fn events(&self, bus: BusId, after: Position, limit: usize) -> Result<Vec<StoredEvent>, Error> {
        let page = self.events_page(bus, after, Page::forward(limit, usize::MAX))?;
        Ok(page.rows)
    }

    /// Deliveries in a test: at most `limit`, whatever they weigh.
    #[cfg(any(test, feature = "testing"))]
    fn deliveries(
        &self,
        subscription: SubscriptionId,
        after: Option<DeliveryKey>,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        let page = self.deliveries_page(subscription, after, Page::forward(limit, usize::MAX))?;
        Ok(page.rows)
    }

    /// Successes in a test: at most `limit`, whatever they weigh.
    #[cfg(any(test, feature = "testing"))]
    fn settled(
        &self,
        subscription: SubscriptionId,
        after: Option<DeliveryKey>,
        limit: usize,
    ) -> Result<Vec<Succeeded>, Error> {
        let page = self.settled_page(subscription, after, Page::forward(limit, usize::MAX))?;
        Ok(page.rows)
    }

    /// Dead letters in a test: at most `limit`, whatever they weigh.
    #[cfg(any(test, feature = "testing"))]
    fn dead_letters(
        &self,
        subscription: SubscriptionId,
        after: Option<DeliveryKey>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        let page = self.dead_letters_page(subscription, after, Page::forward(limit, usize::MAX))?;
        Ok(page.rows)
    }
}

/// Places of the log that a page of successes looks at: those that other subscriptions have cost as much.
pub const SETTLED_LOOKED_AT_MAX: usize = 16_384;

/// One durable change.
#[derive(Clone, Debug)]
pub enum Step {
    /// Accept events.
    Append(Append),
    /// End an attempt.
    Settle(Box<Settle>),
    /// Note durably that an attempt begins (after an unclean stop, for the suspects).
    Claim {
        /// Which delivery.
        key: DeliveryKey,
        /// The fence it has now.
        fence: u32,
        /// When.
        now: Timestamp,
    },
    /// Make the manifest's buses, functions and rules the active ones, as a whole.
    ApplyManifest(Box<ApplyManifest>),
    /// Deploy a component under a name, beside the manifest.
    Deploy(Box<Deploy>),
    /// Take a function away; refused while an active rule names it.
    Remove {
        /// Which one.
        function: Name,
        /// Only if this rule-set version is active until then; `None` asks for none.
        expected: Option<u64>,
    },
    /// Let go of subscriptions that have left the manifest; denied while one of them has a pending delivery
    /// or a dead letter. Their numbers are never given to another.
    Retire(Vec<SubscriptionId>),
    /// Make a change of the catalog that [`Store::plan`] planned.
    Change(Arc<Change>),
    /// Make a job; denied while [`Job::UNENDED_MAX`] have not ended. Of those that have, [`Job::ENDED_KEPT`] are
    /// kept.
    StartJob(Box<StartJob>),
    /// Move a job, together with what that leads to; stale if it is not at that place or does not run.
    Advance(Box<Advance>),
    /// Tell a job something; denied if it has ended, stale if there is none of this number.
    ControlJob {
        /// Which one.
        job: JobId,
        /// What it is told.
        control: JobControl,
        /// When.
        now: Timestamp,
    },
    /// Leave a reading of the clock for the next start. From here on its gaps lengthen the dedupe windows.
    Clock(ClockReading),
    /// Move those of the records to quarantine that are corrupt, and make whole what depended on them. At
    /// most [`Corruption::MOVED_MAX`].
    Quarantine {
        /// Which records.
        records: Vec<RecordId>,
        /// When.
        now: Timestamp,
    },
    /// Remove the oldest events of a bus, with what belongs to them; stale if another manifest says meanwhile how long
    /// they are kept.
    Trim(Trim),
    /// Remove dead letters; stale as a removal of events is.
    Expire(Expire),
    /// Note how far the check of everything is, so that the next start goes on from there; or when it ended.
    NoteCheck {
        /// When.
        now: Timestamp,
    },
    /// Note that this process stops (`true`) or runs (`false`): a start that finds `false` is unclean.
    MarkClean(bool),
}

/// Accept events on one bus. A delivery begins with fence 0, no attempts and no due time. Each event with a (source, id) known within the bus's dedupe window is
/// a duplicate: answered with the first one's position, nothing written. One that says something else than the first
/// refuses the whole append ([`StepOutcome::IdReused`]), unless the bus takes those as duplicates.
#[derive(Clone, Debug)]
pub struct Append {
    /// The bus.
    pub bus: BusId,
    /// The events, in order.
    pub events: Vec<NewEvent>,
    /// When they were accepted; the time of the bus's last event if that is later.
    pub now: Timestamp,
}

/// An event on its way into the log, already matched.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The event.
    pub event: Arc<Event>,
    /// Where it comes from.
    pub lineage: Lineage,
    /// Who gets it.
    pub subscriptions: Vec<SubscriptionId>,
    /// The rule-set version that decided it.
    pub rules_version: u64,
}

/// The manifest as a whole, with its source text.
#[derive(Clone, Debug)]
pub struct ApplyManifest {
    /// The text, as `GET /v1/manifest` answers it.
    pub source: String,
    /// Buses; one that is no longer here keeps its log and its number.
    pub buses: Vec<BusConfig>,
    /// Functions of the manifest; each names a component that this step brings or the store has.
    pub functions: Vec<(Name, Digest, FunctionConfig)>,
    /// Components that the store may not have yet.
    pub components: Vec<(Digest, Bytes)>,
    /// The rules; subscriptions are made of them, keeping their numbers by bus and name.
    pub rules: Vec<RuleConfig>,
    /// Only if this rule-set version is active until then; `None` asks for none.
    pub expected: Option<u64>,
    /// When.
    pub now: Timestamp,
}

/// A component deployed over HTTP.
#[derive(Clone, Debug)]
pub struct Deploy {
    /// The function.
    pub function: Name,
    /// Its bytes.
    pub component: Bytes,
    /// What it is given; `None` keeps what it has, or the defaults for a new one.
    pub config: Option<FunctionConfig>,
    /// Only if this rule-set version is active until then; `None` asks for none.
    pub expected: Option<u64>,
    /// When.
    pub now: Timestamp,
}

/// What came of a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StepOutcome {
    /// Of an append: one entry for each event, in order.
    Appended(Vec<Appended>),
    /// Of a settlement: done; with the emitted events' places, in order (duplicates included).
    Settled(Vec<(BusId, Appended)>),
    /// Of a claim: the delivery as it is now, with its raised fence and one more claim.
    Claimed(Box<Pending>),
    /// Of a settlement or claim: the delivery is gone or another attempt's. Of an advance: the job is elsewhere or does
    /// not run. Of a control: there is no such job. Of a removal: another rule-set version is active. Nothing was
    /// written.
    Stale,
    /// Of a settlement: state that the attempt saw has changed; nothing was written.
    Conflict,
    /// Of a settlement with emits: a limit of the chain was passed; nothing was written.
    Refused(DeadReason),
    /// Of an append or a settlement with emits: events whose (source, id) is known with another type, subject or data,
    /// on a bus that refuses that, in order; nothing was written.
    IdReused(Vec<Reused>),
    /// Of a manifest or a deployment: the rule-set version now active.
    Applied {
        /// Counts changes of buses, functions and rules from 1.
        version: u64,
    },
    /// Of a new job, or a control: the job as it is now.
    Job(Box<Job>),
    /// Of an advance: it took place.
    Advanced(Box<Advanced>),
    /// Of a change of the catalog, of a new job or a control: it can't be done, and why. Of an append or settlement: it
    /// names a bus or subscription that does not exist, or gives its writes a version that is not a new one,
    /// which is a caller's mistake. Nothing was written.
    Denied(String),
    /// Of a removal of events.
    Trimmed(Trimmed),
    /// Of a removal of dead letters: how many.
    Expired(u64),
    /// Of a move to quarantine.
    Quarantined(Box<Moved>),
    /// Of a mark, or of a reading of the clock.
    Marked,
}

/// Where an event went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Its place, or the first one's if it is a duplicate.
    pub position: Position,
    /// True if (source, id) was known: nothing was written.
    pub duplicate: bool,
}

/// An event whose (source, id) is known with another type, subject or data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reused {
    /// Which event of the step, from 0.
    pub index: usize,
    /// Where the first one is; `None` if that is an earlier one of the same step.
    pub first: Option<Position>,
}

/// An event of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEvent {
    /// Its place.
    pub position: Position,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The rule-set version that decided its deliveries.
    pub rules_version: u64,
    /// To whom it was pending when it was accepted.
    pub subscriptions: Vec<SubscriptionId>,
    /// Where it comes from.
    pub lineage: Lineage,
    /// The event.
    pub event: Arc<Event>,
}

/// Where a delivery's life has brought it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeliveryState {
    /// Still pending.
    Pending(Delivery),
    /// Ended in success.
    Succeeded(Succeeded),
    /// Ended without.
    Dead(DeadLetter),
}

/// Everything that is small and known at start: names, numbers, configuration active.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Catalog {
    /// The store's identity: 16 random bytes, made with it.
    pub store_id: [u8; 16],
    /// A secret of this store, for idempotency keys and the code cache.
    pub secret: [u8; 32],
    /// Counts opens of this store.
    pub epoch: u64,
    /// True if the last process stopped in order.
    pub clean: bool,
    /// The active rule-set version; 0 before the first manifest.
    pub version: u64,
    /// The manifest's text; empty before the first.
    pub manifest: String,
    /// Every bus ever declared, with its number and its last position. The bus `default` always exists.
    pub buses: Vec<(BusId, BusConfig, Position)>,
    /// Deployed functions.
    pub functions: Vec<Revision>,
    /// The active rules.
    pub rules: Vec<RuleConfig>,
    /// The newest time that an event was accepted, a delivery settled or a job changed at; 0 if nothing was. No start
    /// begins before it.
    pub newest: Timestamp,
    /// The last reading of the clock.
    pub clock: Option<ClockReading>,
    /// Every subscription that is active or was not retired yet; one that has something pending or holds a dead
    /// letter is not.
    pub subscriptions: Vec<Subscription>,
}
