//! Places: an event's position in its bus, and the small numbers that stand for names in stored keys.

use std::fmt;

/// A bus's number, given once when the bus is first declared and never used again for another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BusId(pub u32);

/// A subscription's number; stays the same while its rule and target keep their names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SubscriptionId(pub u32);

/// An event's place in its bus's log; the first is 1, and each bus counts for itself without gaps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position(pub u64);

/// One stored event: its bus and its place there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventRef {
    /// The bus that holds the event.
    pub bus: BusId,
    /// Its place in that bus's log.
    pub position: Position,
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}
