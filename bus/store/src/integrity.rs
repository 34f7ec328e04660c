//! What a store says of corrupt records: those that it has met, and those that are in quarantine.
//!
//! Never here: how a store finds them, or what it does with what depended on them.

use edgebus_model::{Data, DeliveryKey, Event, Timestamp};

/// Names a record of a store. Only the store that gave it can read it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RecordId {
    pub(super) table: u8,
    pub(super) key: Vec<u8>,
}

/// Corrupt records that were met and are not in quarantine, and how many are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Corruption {
    /// How many different ones were met; counting stops at [`Corruption::RECORDS_MAX`].
    pub records: u64,
    /// Counts those that this handle has met, whatever became of them.
    pub found: u64,
    /// Table, key and what is wrong, of each.
    pub names: Vec<String>,
    /// Those that can be moved to quarantine, at most [`Corruption::MOVED_MAX`] of them.
    pub movable: Vec<RecordId>,
    /// What was said of a page that can't be read; nothing can be moved then.
    pub page: Option<String>,
    /// Records that are in quarantine.
    pub in_quarantine: u64,
}

impl Corruption {
    /// The most records that are told apart.
    pub const RECORDS_MAX: usize = 1_024;
    /// The most records that one step moves.
    pub const MOVED_MAX: usize = 16;

    /// True if nothing corrupt is known but what is in quarantine.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.records == 0 && self.page.is_none()
    }
}

/// What came of moving corrupt records to quarantine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Moved {
    /// The records that are in quarantine now: table, key and what was wrong.
    pub records: Vec<String>,
    /// The records that were made whole where they belong: table, key, what was wrong and what was done.
    pub repaired: Vec<String>,
    /// Deliveries that were made whole and wait now, with their due times.
    pub pending: Vec<(Timestamp, DeliveryKey)>,
    /// Deliveries that became dead letters.
    pub dead: Vec<DeliveryKey>,
}

/// A record in quarantine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quarantined {
    /// Where the next page goes on.
    pub id: RecordId,
    /// Table and key.
    pub name: String,
    /// What was wrong with it.
    pub reason: String,
    /// When it was moved.
    pub moved_at: Timestamp,
    /// The record's length in bytes; `None` of one that was missing.
    pub bytes: Option<u64>,
}

/// How far the check of a running store is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Checked {
    /// Records that were looked at.
    pub records: u64,
    /// Records that there are, about.
    pub of: u64,
    /// Records that were corrupt.
    pub corrupt: u64,
}

/// What a full check saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verified {
    /// Records that were read.
    pub records: u64,
    /// Records that were corrupt.
    pub corrupt: u64,
}
/// The event in a dead letter whose own event could not be read back: every attribute empty and no
/// data, so that it is no CloudEvent and nothing can mistake it for one.
#[must_use]
pub fn hollow_event() -> Event {
    Event {
        id: String::new(),
        source: String::new(),
        kind: String::new(),
        subject: None,
        time: None,
        data_content_type: None,
        data_schema: None,
        extensions: Vec::new(),
        data: Data::Absent,
    }
}
