//! Bugs that the tests must catch, on the thread that turns them on. Never in a release.

use std::cell::Cell;

use super::dedupe::Geometry;

thread_local! {
    /// Commits in one phase.
    pub static ONE_PHASE: Cell<bool> = const { Cell::new(false) };
    /// Answers before anything is flushed.
    pub static NO_FLUSH: Cell<bool> = const { Cell::new(false) };
    /// Ends a scan where the engine ends it, and holds no row against the one before it.
    pub(super) static NO_END_CHECK: Cell<bool> = const { Cell::new(false) };
    /// Commits tell a check nothing of what they change behind it.
    pub(super) static NO_CHANGES: Cell<bool> = const { Cell::new(false) };
    /// Settles whatever the fence says.
    pub static NO_FENCE: Cell<bool> = const { Cell::new(false) };
    /// Settles whatever has become of the listings that the attempt saw.
    pub(super) static NO_LISTING: Cell<bool> = const { Cell::new(false) };
    /// Commits each step for itself, so that a batch's transaction is torn apart.
    pub static SPLIT: Cell<bool> = const { Cell::new(false) };
    /// Transactions after which a migration stops, as if the process were killed there.
    pub(super) static MIGRATION_STOPS_AFTER: Cell<u64> = const { Cell::new(u64::MAX) };
    /// A merge forgets the first of its blocks.
    pub(super) static LOST_BLOCK: Cell<bool> = const { Cell::new(false) };
    /// Retention takes events whatever is pending for them.
    pub static PENDING_TRIMMED: Cell<bool> = const { Cell::new(false) };
    /// Retention raises the floor and removes nothing.
    pub static FLOOR_ALONE: Cell<bool> = const { Cell::new(false) };
    /// No bug: counts the deliveries that a removal looks at.
    pub(super) static LOOKED_AT: Cell<u64> = const { Cell::new(0) };
    /// No bug: smaller blocks, so that merges come early.
    pub(super) static GEOMETRY: Cell<Geometry> = const { Cell::new(Geometry::STORED) };
}
