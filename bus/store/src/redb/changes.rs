//! What commits change in the part of the store that a check has passed already.
//!
//! A check reads each page in a snapshot of its own, and commits go on between them and beside them. What a
//! commit adds to or takes from the rows that were passed is summed up here, so that what the check counted
//! is exact as of its next snapshot. Bounded: with too much at once the table that is being read is not
//! judged this time. Never here: a row that is read.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::row_counts::{Weight, group_of};
use crate::Error;
use crate::codec::Table;

/// Changes that are kept of one transaction, or while one page is read.
const KEPT_MAX: usize = 65_536;

/// A row that a transaction added, replaced or removed.
#[derive(Debug)]
struct Change {
    table: Table,
    key: Vec<u8>,
    by: Weight,
}

/// The changes of one transaction.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    changes: Vec<Change>,
    /// True if some are missing.
    more: bool,
}

impl Recorded {
    /// Takes note of what became of a row.
    pub(super) fn add(&mut self, table: Table, key: &[u8], before: Weight, after: Weight) {
        let by = after.less(before);
        if by == Weight::default() {
            return;
        }
        if self.changes.len() >= KEPT_MAX {
            self.more = true;
            return;
        }
        let key = key.to_vec();
        self.changes.push(Change { table, key, by });
    }

    /// A row went of which nobody can say whether it was counted.
    pub(super) fn lose(&mut self) {
        self.more = true;
    }
}

/// What changed among the rows that were passed since the last page.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meanwhile {
    /// In the table that is being read.
    pub(super) table: Weight,
    /// In the bus or subscription of its last row.
    pub(super) group: Weight,
    /// True if something is not known.
    pub(super) unsure: bool,
}

#[derive(Debug, Default)]
struct Inside {
    /// False while no check goes on.
    on: bool,
    /// True while a page is read: how far it comes is not known yet.
    reading: bool,
    /// What was committed while a page is read.
    later: Vec<Change>,
    /// The table that is being read, and the last key that was looked at in it.
    table: Option<Table>,
    last: Vec<u8>,
    meanwhile: Meanwhile,
}

impl Inside {
    fn add(&mut self, change: &Change) {
        if self.table != Some(change.table) || change.key > self.last {
            return;
        }
        self.meanwhile.table = self.meanwhile.table.plus(change.by);
        if group_of(change.table, &change.key) == group_of(change.table, &self.last) {
            self.meanwhile.group = self.meanwhile.group.plus(change.by);
        }
    }
}

/// The sum of the changes among the rows that a check has passed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// A plain lock. A commit holds it, so that no snapshot comes between it and its changes; nobody but a
    /// check waits for it longer than a snapshot takes.
    inside: Mutex<Inside>,
}

impl Changes {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if a transaction that begins now has to record what it changes.
    pub(super) fn is_on(&self) -> bool {
        self.inside().on
    }

    /// Commits by `commit`, and takes over what the transaction changed; `None` if it recorded nothing.
    pub(super) fn commit(
        &self,
        recorded: Option<Recorded>,
        commit: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut inside = self.inside();
        commit()?;
        #[cfg(any(test, feature = "testing"))]
        if super::injected::NO_CHANGES.get() {
            return Ok(());
        }
        if !inside.on {
            return Ok(());
        }
        // One that began before the check did.
        let Some(recorded) = recorded else {
            inside.meanwhile.unsure = true;
            return Ok(());
        };
        inside.meanwhile.unsure |= recorded.more;
        for change in recorded.changes {
            if !inside.reading {
                inside.add(&change);
            } else if inside.later.len() < KEPT_MAX {
                inside.later.push(change);
            } else {
                inside.meanwhile.unsure = true;
            }
        }
        Ok(())
    }

    /// A page begins: its snapshot, and what has changed since the last page's.
    pub(super) fn begin_page<T>(
        &self,
        snapshot: impl FnOnce() -> Result<T, Error>,
    ) -> Result<(T, Meanwhile), Error> {
        let mut inside = self.inside();
        let rows = snapshot()?;
        inside.on = true;
        inside.reading = true;
        inside.later.clear();
        Ok((rows, std::mem::take(&mut inside.meanwhile)))
    }

    /// The page came to this place; no table is all of them.
    pub(super) fn end_page(&self, table: Option<Table>, last: &[u8]) {
        let mut inside = self.inside();
        inside.reading = false;
        inside.table = table;
        inside.last.clear();
        inside.last.extend_from_slice(last);
        for change in std::mem::take(&mut inside.later) {
            inside.add(&change);
        }
    }

    /// The check is over.
    pub(super) fn end(&self) {
        *self.inside() = Inside::default();
    }
}
