//! What a check counts: the rows of each table, held against the table's own count, and those of each bus
//! and subscription, held against its counter.
//!
//! A check that goes over many snapshots adds what commits change behind it (`changes.rs`). A row that can't
//! be read leaves open where it counts and what it weighed, so that its subscription or its bus's bytes are
//! not judged; its own corruption is told anyway. Never here: a count that is made right.

use std::ops::Bound;

use super::changes::Meanwhile;
use super::counters::{bus_key, read_bus, read_subscription, subscription_key};
use super::tables::{ReadTx, delivery_of};
use crate::codec::{CorruptRecord, Table, corruption_of, delivery, unseal};
use crate::{BusCounts, Counts, Error};
use edgebus_model::{BusId, SubscriptionId};

/// What a table is called whose count is not that of its rows; the key is empty then.
pub(super) const MISCOUNTED: &str = "has another number of rows";
/// What a counter is called that is not the sum of its rows.
pub(super) const DISAGREES: &str = "disagrees with the rows that it counts";

/// What rows count as; a difference may be negative.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Weight {
    rows: i64,
    /// Bytes of events' records.
    bytes: i64,
    /// Deliveries with a due time.
    waiting: i64,
    /// Rows that can't be read and that a counter counts.
    unread: i64,
}

impl Weight {
    /// What one row counts as.
    pub(super) fn of(table: Table, key: &[u8], record: &[u8]) -> Self {
        let one = Self {
            rows: 1,
            ..Self::default()
        };
        match table {
            Table::Events => Self {
                bytes: i64::try_from(record.len()).unwrap_or(i64::MAX),
                unread: i64::from(corruption_of(table, key, record).is_some()),
                ..one
            },
            Table::Deliveries => {
                let row = unseal(table, key, record, |from| {
                    delivery::read_pending(from, delivery_of(key)?)
                });
                Self {
                    waiting: i64::from(row.as_ref().is_ok_and(|row| row.due_at.is_some())),
                    unread: i64::from(row.is_err()),
                    ..one
                }
            }
            _ => one,
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            rows: self.rows.saturating_add(other.rows),
            bytes: self.bytes.saturating_add(other.bytes),
            waiting: self.waiting.saturating_add(other.waiting),
            unread: self.unread.saturating_add(other.unread),
        }
    }

    pub(super) fn less(self, other: Self) -> Self {
        Self {
            rows: self.rows.saturating_sub(other.rows),
            bytes: self.bytes.saturating_sub(other.bytes),
            waiting: self.waiting.saturating_sub(other.waiting),
            unread: self.unread.saturating_sub(other.unread),
        }
    }
}

/// The bus or the subscription that a row counts for.
pub(super) fn group_of(table: Table, key: &[u8]) -> Option<u32> {
    match table {
        Table::Events | Table::Deliveries | Table::DeadLetters => {
            key.first_chunk().map(|group| u32::from_be_bytes(*group))
        }
        _ => None,
    }
}

/// The rows of one table as far as the check has come in it.
#[derive(Debug, Default)]
pub(super) struct RowCounts {
    all: Weight,
    /// The bus or subscription of the last row.
    of: Option<u32>,
    /// Its rows.
    group: Weight,
    /// True if a commit changed something that is not known.
    unsure: bool,
}

impl RowCounts {
    /// Brings it to the time of the next page.
    pub(super) fn add(&mut self, meanwhile: Meanwhile) {
        self.all = self.all.plus(meanwhile.table);
        self.group = self.group.plus(meanwhile.group);
        self.unsure |= meanwhile.unsure;
    }

    /// Counts a row. If it is the first one of its bus or subscription, the one before is judged.
    pub(super) fn count(
        &mut self,
        rows: &ReadTx,
        table: Table,
        (key, record): (&[u8], &[u8]),
        lost: &mut dyn FnMut(CorruptRecord),
    ) -> Result<(), Error> {
        let of = group_of(table, key);
        if of != self.of {
            self.end_group(rows, table, lost)?;
            self.of = of;
        }
        let weight = Weight::of(table, key, record);
        self.all = self.all.plus(weight);
        self.group = self.group.plus(weight);
        Ok(())
    }

    /// The table is through. Says whether its count is right; `None` where that can't be said.
    pub(super) fn end(
        mut self,
        rows: &ReadTx,
        table: Table,
        lost: &mut dyn FnMut(CorruptRecord),
    ) -> Result<Option<bool>, Error> {
        self.end_group(rows, table, lost)?;
        if self.unsure {
            return Ok(None);
        }
        let right = u64::try_from(self.all.rows) == Ok(rows.count(table)?);
        if !right {
            let mut corruption = CorruptRecord::new(table, b"", MISCOUNTED);
            table.name().clone_into(&mut corruption.name);
            lost(corruption);
        }
        Ok(Some(right))
    }

    /// The rows of one bus or subscription are through: its counter says the same. One that can't be read
    /// has been told already.
    fn end_group(
        &mut self,
        rows: &ReadTx,
        table: Table,
        lost: &mut dyn FnMut(CorruptRecord),
    ) -> Result<(), Error> {
        let counted = std::mem::take(&mut self.group);
        let Some(of) = self.of.take().filter(|_| !self.unsure) else {
            return Ok(());
        };
        let is = |count: u64, counted: i64| i64::try_from(count) == Ok(counted);
        let (key, same) = if table == Table::Events {
            let key = bus_key(BusId(of));
            let row = rows.get(Table::Counters, &key, read_bus)?;
            let same = match row.unwrap_or(Ok(BusCounts::default())) {
                Ok(row) => {
                    is(row.events, counted.rows)
                        && (is(row.bytes, counted.bytes) || counted.unread > 0)
                }
                Err(_) => true,
            };
            (key, same)
        } else {
            let key = subscription_key(SubscriptionId(of));
            let row = rows.get(Table::Counters, &key, read_subscription)?;
            let same = match row.unwrap_or(Ok(Counts::default())) {
                Ok(row) if table == Table::Deliveries => {
                    counted.unread > 0
                        || (is(row.pending, counted.rows - counted.waiting)
                            && is(row.waiting, counted.waiting))
                }
                Ok(row) => is(row.dead, counted.rows),
                Err(_) => true,
            };
            (key, same)
        };
        if !same {
            lost(CorruptRecord::new(Table::Counters, &key, DISAGREES));
        }
        Ok(())
    }
}

/// A counter: of what it counts there is a row at least, or it says so.
pub(super) fn counter_row(
    rows: &ReadTx,
    key: &[u8],
    lost: &mut dyn FnMut(CorruptRecord),
) -> Result<(), Error> {
    let Some((kind, number)) = key.split_first() else {
        return Ok(());
    };
    let there =
        |count: u64, table: Table| Ok::<_, Error>(count == 0 || has_rows(rows, table, number)?);
    let same = if *kind == b'b' {
        match rows.get(Table::Counters, key, read_bus)? {
            Some(Ok(counts)) => there(counts.events, Table::Events)?,
            _ => true,
        }
    } else {
        match rows.get(Table::Counters, key, read_subscription)? {
            Some(Ok(counts)) => {
                there(counts.pending + counts.waiting, Table::Deliveries)?
                    && there(counts.dead, Table::DeadLetters)?
            }
            _ => true,
        }
    };
    if !same {
        lost(CorruptRecord::new(Table::Counters, key, DISAGREES));
    }
    Ok(())
}

/// True if the table has a row of this bus or subscription.
fn has_rows(rows: &ReadTx, table: Table, group: &[u8]) -> Result<bool, Error> {
    let to = [group, &[u8::MAX; 12]].concat();
    let mut found = false;
    let (from, to) = (Bound::Included(group), Bound::Included(&to[..]));
    rows.scan(table, from, to, |_, _| {
        found = true;
        false
    })?;
    Ok(found)
}
