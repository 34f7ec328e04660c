//! The settlement of an attempt: what it ends as, and what it did to the bus.
//!
//! Never here: how it is written.

use bytes::Bytes;

use super::{NewEvent, Seen};
use edgebus_model::{Attempt, BusId, DeadReason, DeliveryKey, Timestamp};

/// End an attempt: everything here takes place together or not at all.
#[derive(Clone, Debug)]
pub struct Settle {
    /// Which delivery.
    pub key: DeliveryKey,
    /// The fence that the attempt ran under.
    pub fence: u32,
    /// The attempt as it ended.
    pub attempt: Attempt,
    /// True if it failed for a reason of the host's own and spends none of the policy's attempts.
    pub spared: bool,
    /// State that the attempt's end depends on; the settlement is refused as [`StepOutcome::Conflict`](super::StepOutcome::Conflict),
    /// whatever the end, if any of it has changed.
    pub seen: Seen,
    /// What becomes of the delivery.
    pub end: SettleEnd,
    /// When.
    pub now: Timestamp,
}

/// What becomes of the delivery, and what the attempt did to the bus.
#[derive(Clone, Debug)]
pub enum SettleEnd {
    /// Success with the attempt's effects.
    Done(Effects),
    /// Another attempt at `due_at`.
    Retry {
        /// Not before.
        due_at: Timestamp,
    },
    /// A dead letter; the store copies the event into it. Where the event can't be read back
    /// intact, the reason becomes [`DeadReason::Corrupt`] and the copy is [`hollow_event`](super::hollow_event).
    Dead {
        /// Why.
        reason: DeadReason,
        /// What is published in the same transaction, already matched, with its bus. It is under the limits of
        /// the chain as emitted events are.
        published: Option<Box<(BusId, NewEvent)>>,
    },
}

impl Settle {
    /// The events that it brings into the log, each with the bus it goes to.
    #[must_use]
    pub fn events(&self) -> &[(BusId, NewEvent)] {
        match &self.end {
            SettleEnd::Done(effects) => &effects.emits,
            SettleEnd::Dead {
                published: Some(published),
                ..
            } => std::slice::from_ref(&**published),
            SettleEnd::Retry { .. } | SettleEnd::Dead { .. } => &[],
        }
    }
}

/// What a successful attempt did, collected on the host side.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// The version that all of `writes` get, above every one that was given before; it is never given again,
    /// whether these writes take place or not. Without writes it means nothing.
    pub version: u64,
    /// Keys of the function in [`Seen::function`] that are written; `None` deletes.
    pub writes: Vec<(Vec<u8>, Option<Bytes>)>,
    /// Emitted events, already matched, each with the bus it goes to.
    pub emits: Vec<(BusId, NewEvent)>,
}
