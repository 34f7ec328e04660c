//! Bugs that the tests must catch, on the thread that turns them on. Never in a release.

use std::cell::Cell;

use super::Data;

thread_local! {
    /// Settles whatever the fence says.
    pub static NO_FENCE: Cell<bool> = const { Cell::new(false) };
    /// Settles whatever has become of the state that was read.
    pub static NO_VERSIONS: Cell<bool> = const { Cell::new(false) };
    /// Dedupe has transactions of its own: a crash comes between the event and its record.
    pub static DEDUPE_APART: Cell<bool> = const { Cell::new(false) };
    /// Retention takes events whatever is pending for them.
    pub static PENDING_TRIMMED: Cell<bool> = const { Cell::new(false) };
    /// Retention raises the floor and removes nothing.
    pub static FLOOR_ALONE: Cell<bool> = const { Cell::new(false) };
    /// The time of a settlement doesn't count for what comes after it: as in releases of store format 3 and before.
    pub static APPENDS_ALONE_TAKE_TIME: Cell<bool> = const { Cell::new(false) };
}

impl Data {
    /// Forgets that the newest event of each bus was seen.
    pub(super) fn forget_newest(&mut self) {
        for (bus, log) in &self.logs {
            if let Some(last) = log.events.values().next_back() {
                let event = &last.event;
                let place = (*bus, event.source.clone(), event.id.clone());
                self.seen.remove(&place);
            }
        }
    }
}
