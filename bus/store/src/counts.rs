//! Sums over rows that the store keeps with the rows, in the same transaction: exact at every commit.

/// What a bus's log holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BusCounts {
    /// Events.
    pub events: u64,
    /// Bytes of their stored records.
    pub bytes: u64,
}

/// What a subscription has of deliveries that did not succeed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Pending, and due at once.
    pub pending: u64,
    /// Pending, and waiting for a due time, passed or not.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
}

impl Counts {
    /// The sum after one subscription's counts went from `before` to `after`.
    pub(super) fn moved(self, before: Self, after: Self) -> Self {
        let moved =
            |sum: u64, before: u64, after: u64| sum.saturating_add(after).saturating_sub(before);
        Self {
            pending: moved(self.pending, before.pending, after.pending),
            waiting: moved(self.waiting, before.waiting, after.waiting),
            dead: moved(self.dead, before.dead, after.dead),
        }
    }

    /// Where a pending delivery counts.
    pub(super) fn pending_mut(&mut self, waits: bool) -> &mut u64 {
        if waits {
            &mut self.waiting
        } else {
            &mut self.pending
        }
    }
}
