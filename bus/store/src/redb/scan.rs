//! Scans that rely on no key: an engine finds and ends a range by comparing keys, and a key can be corrupt.
//!
//! A key whose first bytes flipped ends the engine's scan early, and leads its search astray. Therefore a
//! scan ends only at an *intact* row behind its range (a checksum covers the key), looks at the row before
//! its range, and holds every row against the last intact one. What stands where it can't be is noted and
//! passed over. Never here: what a record means.

use std::ops::Bound;

use redb::ReadableTable;

use super::corruption_log::CorruptionLog;
use super::tables::{OwnedRow, engine};
use crate::codec::{CorruptRecord, Table, corruption_of, is_intact};
use crate::{Direction, Error};

/// What a row out of its place is called.
pub(super) const STRAY: &str = "stands out of order";
/// Rows before a range that are looked at.
const BEFORE_MAX: usize = 4_096;

/// A row of the engine's.
type Entry<'r> = (
    redb::AccessGuard<'r, &'static [u8]>,
    redb::AccessGuard<'r, &'static [u8]>,
);
type Bounds<'b> = (Bound<&'b [u8]>, Bound<&'b [u8]>);

/// Calls `each` for the rows between the bounds, in order or against it, until it says no. A corrupt row is
/// shown, too, unless it stands out of order.
pub(super) fn scan(
    rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
    table: Table,
    (from, to): Bounds<'_>,
    direction: Direction,
    corrupt: &CorruptionLog,
    each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), Error> {
    #[cfg(any(test, feature = "testing"))]
    if direction == Direction::Forward && super::injected::NO_END_CHECK.get() {
        let rows = rows.range::<&[u8]>((from, to)).map_err(engine)?;
        for row in rows {
            let (key, record) = row.map_err(engine)?;
            if !each(key.value(), record.value()) {
                break;
            }
        }
        return Ok(());
    }
    let mut order = Order {
        table,
        from,
        to,
        direction,
        corrupt,
        last: Vec::new(),
    };
    let (edge, onwards) = match direction {
        Direction::Forward => (from, (from, Bound::Unbounded)),
        Direction::Backward => (to, (Bound::Unbounded, to)),
    };
    let passed = order.passed_over(rows, opposite(edge))?;
    let onwards = rows.range::<&[u8]>(onwards).map_err(engine)?;
    match direction {
        Direction::Forward => order.show_all(passed, onwards, each),
        Direction::Backward => order.show_all(passed, onwards.rev(), each),
    }
}

/// The bound of what is on the other side; `None` if nothing is.
fn opposite(bound: Bound<&[u8]>) -> Option<Bound<&[u8]>> {
    match bound {
        Bound::Included(key) => Some(Bound::Excluded(key)),
        Bound::Excluded(key) => Some(Bound::Included(key)),
        Bound::Unbounded => None,
    }
}

/// True if the table has no row under `key`, whatever its search said: the rows beside its place are
/// intact and on both sides of it.
pub(super) fn is_absent(
    rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
    table: Table,
    key: &[u8],
) -> Result<bool, Error> {
    let mut before = rows
        .range::<&[u8]>((Bound::Unbounded, Bound::Excluded(key)))
        .map_err(engine)?;
    if let Some(row) = before.next_back() {
        let (found, record) = row.map_err(engine)?;
        if found.value() >= key || !is_intact(table, found.value(), record.value()) {
            return Ok(false);
        }
    }
    let mut after = rows
        .range::<&[u8]>((Bound::Included(key), Bound::Unbounded))
        .map_err(engine)?;
    if let Some(row) = after.next() {
        let (found, record) = row.map_err(engine)?;
        if found.value() <= key || !is_intact(table, found.value(), record.value()) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[derive(PartialEq, Eq)]
enum Next {
    Row,
    End,
}

/// A scan on its way.
struct Order<'s> {
    table: Table,
    from: Bound<&'s [u8]>,
    to: Bound<&'s [u8]>,
    direction: Direction,
    corrupt: &'s CorruptionLog,
    /// The last intact key; empty before the first.
    last: Vec<u8>,
}

impl Order<'_> {
    fn is_below(&self, key: &[u8]) -> bool {
        match self.from {
            Bound::Included(from) => key < from,
            Bound::Excluded(from) => key <= from,
            Bound::Unbounded => false,
        }
    }

    fn is_above(&self, key: &[u8]) -> bool {
        match self.to {
            Bound::Included(to) => key > to,
            Bound::Excluded(to) => key >= to,
            Bound::Unbounded => false,
        }
    }

    /// True of a key that stands before the range, as the scan goes.
    fn is_before(&self, key: &[u8]) -> bool {
        match self.direction {
            Direction::Forward => self.is_below(key),
            Direction::Backward => self.is_above(key),
        }
    }

    /// True of a key that stands behind the range, as the scan goes.
    fn is_behind(&self, key: &[u8]) -> bool {
        match self.direction {
            Direction::Forward => self.is_above(key),
            Direction::Backward => self.is_below(key),
        }
    }

    fn is_in_order(&self, key: &[u8]) -> bool {
        self.last.is_empty()
            || match self.direction {
                Direction::Forward => *key > self.last[..],
                Direction::Backward => *key < self.last[..],
            }
    }

    /// Rows of the range that stand before the place that the engine's search found: a corrupt key among
    /// them led it astray. Ends at the first intact row before the range.
    fn passed_over(
        &mut self,
        rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
        edge: Option<Bound<&[u8]>>,
    ) -> Result<Vec<OwnedRow>, Error> {
        let mut passed = Vec::new();
        let Some(edge) = edge else {
            return Ok(passed);
        };
        let direction = self.direction;
        let mut look = |key: &[u8], record: &[u8]| {
            if is_intact(self.table, key, record) && self.is_before(key) {
                self.last = key.to_vec();
                return false;
            }
            passed.push((key.to_vec(), record.to_vec()));
            passed.len() < BEFORE_MAX
        };
        match direction {
            Direction::Forward => {
                let rows = rows.range::<&[u8]>((Bound::Unbounded, edge));
                walk(rows.map_err(engine)?.rev(), &mut look)?;
            }
            Direction::Backward => {
                let rows = rows.range::<&[u8]>((edge, Bound::Unbounded));
                walk(rows.map_err(engine)?, &mut look)?;
            }
        }
        passed.reverse();
        Ok(passed)
    }

    fn show_all<'r>(
        &mut self,
        passed: Vec<OwnedRow>,
        rows: impl Iterator<Item = Result<Entry<'r>, redb::StorageError>>,
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Error> {
        for (key, record) in passed {
            if self.show(&key, &record, each) == Next::End {
                return Ok(());
            }
        }
        walk(rows, &mut |key, record| {
            self.show(key, record, each) == Next::Row
        })
    }

    fn show(
        &mut self,
        key: &[u8],
        record: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Next {
        let in_order = self.is_in_order(key);
        let in_range = !self.is_before(key) && !self.is_behind(key);
        let Some(corruption) = corruption_of(self.table, key, record) else {
            if !in_order {
                self.stray(key);
                return Next::Row;
            }
            if self.is_behind(key) {
                return Next::End;
            }
            self.last.clear();
            self.last.extend_from_slice(key);
            if in_range && !each(key, record) {
                return Next::End;
            }
            return Next::Row;
        };
        if !in_order || !in_range {
            self.stray(key);
            return Next::Row;
        }
        // Whoever the row is shown to finds it, too; only here is it known where it stands.
        self.note(&corruption);
        if each(key, record) {
            Next::Row
        } else {
            Next::End
        }
    }

    fn stray(&self, key: &[u8]) {
        self.note(&CorruptRecord::new(self.table, key, STRAY));
    }

    fn note(&self, corruption: &CorruptRecord) {
        match self.direction {
            Direction::Forward => self.corrupt.note_stray(corruption, &self.last),
            // The intact key before it is still to come.
            Direction::Backward => self.corrupt.note(corruption),
        }
    }
}

fn walk<'r>(
    rows: impl Iterator<Item = Result<Entry<'r>, redb::StorageError>>,
    each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), Error> {
    for row in rows {
        let (key, record) = row.map_err(engine)?;
        if !each(key.value(), record.value()) {
            break;
        }
    }
    Ok(())
}
