//! The corrupt records that a handle has met: what they are, and whether they can be moved.
//!
//! Bounded: what is met past the bound is met again by the next check. Never here: a table or a
//! transaction.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::row_counts::MISCOUNTED;
use crate::codec::{CorruptRecord, Table};
use crate::{Corruption, Error, RecordId};

/// One corrupt record.
#[derive(Clone, Debug)]
struct Found {
    line: String,
    /// The intact key before it, where it stands out of order.
    near: Option<Vec<u8>>,
    /// True if it can't be moved.
    kept: bool,
}

#[derive(Debug, Default)]
struct Inside {
    records: BTreeMap<(u8, Vec<u8>), Found>,
    /// True if some were met that had no place here.
    more: bool,
    /// Counts what was met that was not known.
    news: u64,
    page: Option<String>,
    /// How often records were taken for settled that were met again.
    settled: BTreeMap<(u8, Vec<u8>), u8>,
}

/// So often a record is moved; one that is met again stays.
const MOVED_MAX: u8 = 3;

/// Corrupt records that were met; bounded.
#[derive(Debug, Default)]
pub(super) struct CorruptionLog {
    /// A plain lock: taken only when corruption is met or asked for, never across input or output.
    inside: Mutex<Inside>,
}

impl CorruptionLog {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a record that was met in its place.
    pub(super) fn note(&self, corruption: &CorruptRecord) {
        self.add(corruption, None);
    }

    /// Takes note of a record that stands out of order, behind the intact key `near`.
    pub(super) fn note_stray(&self, corruption: &CorruptRecord, near: &[u8]) {
        self.add(corruption, Some(near.to_vec()));
    }

    fn add(&self, corruption: &CorruptRecord, near: Option<Vec<u8>>) {
        let mut inside = self.inside();
        let place = (corruption.table as u8, corruption.key.clone());
        if let Some(known) = inside.records.get_mut(&place) {
            if near.is_some() {
                known.near = near;
            }
        } else if inside.records.len() < Corruption::RECORDS_MAX {
            inside.news += 1;
            let line = corruption.line();
            let times = inside.settled.get(&place).copied().unwrap_or(0);
            // No record is to be moved where a table's count is wrong.
            let kept = times >= MOVED_MAX || corruption.reason == MISCOUNTED;
            inside.records.insert(place, Found { line, near, kept });
        } else {
            inside.more = true;
        }
    }

    /// Takes note of a page that can't be read.
    pub(super) fn note_page(&self, error: &Error) {
        self.inside().page = Some(error.message.clone());
    }

    /// Where a record stands out of order, if it does: the intact key before it.
    pub(super) fn near(&self, id: &RecordId) -> Option<Vec<u8>> {
        let inside = self.inside();
        inside
            .records
            .get(&(id.table, id.key.clone()))?
            .near
            .clone()
    }

    /// True if it is known that the record can't be moved.
    pub(super) fn is_kept(&self, id: &RecordId) -> bool {
        let inside = self.inside();
        let found = inside.records.get(&(id.table, id.key.clone()));
        found.is_some_and(|found| found.kept)
    }

    /// The record can't be moved.
    pub(super) fn keep(&self, id: &RecordId) {
        if let Some(found) = self.inside().records.get_mut(&(id.table, id.key.clone())) {
            found.kept = true;
        }
    }

    /// The record is in quarantine, or was found to be intact.
    pub(super) fn forget(&self, id: &RecordId) {
        let mut inside = self.inside();
        let place = (id.table, id.key.clone());
        inside.records.remove(&place);
        if inside.settled.len() >= Corruption::RECORDS_MAX {
            inside.settled.clear();
        }
        let times = inside.settled.entry(place).or_default();
        *times = times.saturating_add(1);
    }

    /// A check counted the rows of the table, and it has as many as it says.
    pub(super) fn agree(&self, table: Table) {
        let place = (table as u8, Vec::new());
        let mut inside = self.inside();
        let known = inside.records.get(&place);
        if known.is_some_and(|known| known.line.ends_with(MISCOUNTED)) {
            inside.records.remove(&place);
        }
    }

    /// A check of everything is through: what had no place here would have been met again.
    pub(super) fn checked_all(&self) {
        self.inside().more = false;
    }

    /// What is known.
    pub(super) fn seen(&self) -> Corruption {
        let inside = self.inside();
        let movable = inside.records.iter().filter(|(_, found)| !found.kept);
        let movable = movable.map(|((table, key), _)| RecordId {
            table: *table,
            key: key.clone(),
        });
        Corruption {
            records: inside.records.len() as u64 + u64::from(inside.more),
            found: inside.news,
            names: inside
                .records
                .values()
                .map(|found| found.line.clone())
                .collect(),
            movable: movable.take(Corruption::MOVED_MAX).collect(),
            page: inside.page.clone(),
            in_quarantine: 0,
        }
    }

    /// Each known record with what is wrong.
    pub(super) fn lines(&self) -> Vec<String> {
        self.seen().names
    }
}
