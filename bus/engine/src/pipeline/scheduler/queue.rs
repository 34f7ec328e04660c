//! One subscription's deliveries: those in memory, and how far the store has been read for them. The live ones
//! have a queue, and those of replays another, so that neither waits for the other.
//!
//! Never here: other subscriptions.

use std::collections::VecDeque;
use std::sync::Arc;

use edgebus_model::{
    BusId, DeliveryKey, Event, Lineage, Pending, Position, SubscriptionId, Timestamp,
};
use edgebus_store::StoredEvent;

/// A place in the order of due times.
pub(in crate::pipeline) type DueCursor = (Timestamp, DeliveryKey);

/// Names a queue: a subscription's live deliveries, or those of all its replays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct QueueId {
    pub(super) subscription: SubscriptionId,
    pub(super) replayed: bool,
}

impl QueueId {
    /// The queue of a delivery.
    pub(super) fn of(key: DeliveryKey) -> Self {
        Self {
            subscription: key.subscription,
            replayed: key.replay > 0,
        }
    }

    /// A subscription's queue of live deliveries.
    pub(super) fn live(subscription: SubscriptionId) -> Self {
        Self {
            subscription,
            replayed: false,
        }
    }

    /// Both queues of a subscription, the live one first.
    pub(super) fn both(subscription: SubscriptionId) -> [Self; 2] {
        [false, true].map(|replayed| Self {
            subscription,
            replayed,
        })
    }
}

/// A delivery in memory, with its event.
#[derive(Clone, Debug)]
pub(in crate::pipeline) struct Job {
    pub(in crate::pipeline) key: DeliveryKey,
    pub(in crate::pipeline) bus: BusId,
    pub(in crate::pipeline) fence: u32,
    pub(in crate::pipeline) attempts_made: u32,
    /// Those of them that spent none of the policy's attempts.
    pub(in crate::pipeline) host_failures: u32,
    /// From when its age counts: when the event was accepted, or when a replay made the delivery.
    pub(in crate::pipeline) accepted_at: Timestamp,
    /// When the event was accepted.
    pub(in crate::pipeline) ingested_at: Timestamp,
    /// From when on its age counts.
    pub(in crate::pipeline) age_from: Timestamp,
    pub(in crate::pipeline) event: Arc<Event>,
    pub(in crate::pipeline) lineage: Lineage,
    /// Times that this attempt had to be run again because state had changed under it.
    pub(in crate::pipeline) conflicts: u8,
    /// How a process died during its attempts, if one did.
    pub(in crate::pipeline) interrupted: Interrupted,
    /// Its share of the event's size, in bytes: deliveries of one event share the event.
    pub(in crate::pipeline) weight: usize,
}

/// Whether a process died while a delivery was being attempted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::pipeline) enum Interrupted {
    /// Not since its last attempt ended.
    #[default]
    No,
    /// Once, perhaps in company: nothing says that this delivery was the reason.
    Once,
    /// Again: the death counts as an attempt.
    Again,
}

impl Job {
    pub(in crate::pipeline) fn of(delivery: &Pending, bus: BusId, stored: &StoredEvent) -> Self {
        let event = stored.event.clone();
        Self {
            key: delivery.key,
            bus,
            fence: delivery.fence,
            attempts_made: delivery.attempts_made,
            host_failures: delivery.host_failures,
            accepted_at: delivery.accepted_at,
            ingested_at: stored.accepted_at,
            age_from: delivery.age_from(),
            weight: event.size(),
            event,
            lineage: stored.lineage,
            conflicts: 0,
            interrupted: Interrupted::No,
        }
    }
}

/// One queue of a subscription.
pub(super) struct Queue {
    /// The function's number in the scheduler.
    pub(super) function: usize,
    pub(super) ready: VecDeque<Job>,
    /// The weight of what is ready, in bytes.
    pub(super) bytes: usize,
    /// The last position that came into memory; later ones are still in the store alone. Of live deliveries:
    /// a replay's all have a due time, and come by that.
    pub(super) cursor: Position,
    /// True while the store holds pending deliveries past the cursor.
    pub(super) behind: bool,
    /// True if a delivery was left to the store since the last page was asked for.
    pub(super) passed_over: bool,
    /// The first due retry that was left to the store for want of room.
    pub(super) due_passed: Option<DueCursor>,
    /// True while due retries are being read from the place that was passed over.
    pub(super) due_reading: bool,
    /// True while a page of it is being read.
    pub(super) filling: bool,
    /// Due retries of it that are being read.
    pub(super) loading: usize,
    /// True while it stands in its function's ring.
    pub(super) queued: bool,
    /// True while it waits for a page.
    pub(super) hungry: bool,
    /// True if the last page was of due retries, so that the next is of first attempts.
    pub(super) due_last: bool,
}

impl Queue {
    pub(super) fn new(function: usize, cursor: Position, behind: bool) -> Self {
        Self {
            function,
            ready: VecDeque::new(),
            bytes: 0,
            cursor,
            behind,
            passed_over: false,
            due_passed: None,
            due_reading: false,
            filling: false,
            loading: 0,
            queued: false,
            hungry: false,
            due_last: false,
        }
    }

    /// Deliveries in memory or on their way there.
    pub(super) fn held(&self) -> usize {
        self.ready.len() + self.loading
    }

    /// True if the store has deliveries that could run now.
    pub(super) fn lags(&self) -> bool {
        self.behind || self.due_passed.is_some()
    }
}
