//! What retention asks of a store: to remove the oldest events of a bus, and dead letters, some at a time.
//!
//! Each step raises the bus's *floor* in the transaction that removes the events, so that it can be cut off
//! anywhere and goes on from there. An event with a pending delivery stays, below the floor, until the
//! settlement that ends its last one, which removes it. Never here: how long something is kept.

use edgebus_model::{BusId, DeliveryKey, Position, Timestamp};

/// Rows after which one step begins with no further event.
pub(crate) const ROWS_MAX: usize = 4_096;
/// Bytes of events that one step looks at.
pub(crate) const BYTES_MAX: usize = 4 << 20;
/// How long the count of descendants of a removed event stays after the last of them came, in milliseconds: more may be
/// on their way.
pub(crate) const DESCENDANTS_MS: u64 = 3_600_000;
/// The same of an event that has many: what waits for a redrive must not find an unspent budget.
const DESCENDANTS_MANY_MS: u64 = 14 * 24 * 3_600_000;
/// So many are many: each such count stands for as many events.
const DESCENDANTS_MANY: u32 = 100;
/// Counts of descendants that one step looks at.
pub(crate) const DESCENDANTS_MAX: usize = 1_024;

/// True if a count that grew last at `grown_at` stays, although its event was removed.
pub(crate) fn keeps_count(count: u32, grown_at: Timestamp, now: Timestamp) -> bool {
    let kept_ms = match count >= DESCENDANTS_MANY {
        true => DESCENDANTS_MANY_MS,
        false => DESCENDANTS_MS,
    };
    now.ms_since(grown_at) < kept_ms
}

/// Remove the oldest events of a bus, with their successes, attempts and output; in the end the counts of
/// descendants follow. Dead letters have their own copy of the event, and stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trim {
    /// The bus.
    pub bus: BusId,
    /// Events that were accepted before this time go; 0 for none.
    pub accepted_before: Timestamp,
    /// The oldest events go as long as all of the bus have more bytes than this.
    pub bytes_max: u64,
    /// Events that are looked at, at most. Rows and bytes are bounded too.
    pub events_max: usize,
    /// Only if this rule-set version is active until then; `None` asks for none.
    pub expected: Option<u64>,
    /// When.
    pub now: Timestamp,
}

/// What a step removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Trimmed {
    /// The bus's floor now.
    pub floor: Position,
    /// Events that were removed.
    pub events: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// Events that the floor passed and that stay, because something of theirs is pending.
    pub kept: u64,
    /// True if there is more to remove now.
    pub more: bool,
}

/// Remove those of the dead letters that died before a time; the others of them stay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expire {
    /// The dead letters.
    pub keys: Vec<DeliveryKey>,
    /// They go if they died before this time.
    pub died_before: Timestamp,
    /// Only if this rule-set version is active until then; `None` asks for none.
    pub expected: Option<u64>,
    /// When.
    pub now: Timestamp,
}
