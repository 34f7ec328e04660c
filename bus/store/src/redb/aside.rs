//! The rows of quarantine: their keys and content, and whether a record is among them.
//!
//! Never here: what becomes of the tables that the records came from.

use std::ops::Bound;

use redb::ReadableTable;

use super::corruption_log::CorruptionLog;
use super::quarantine::MISSING;
use super::tables::{ReadTx, Tables, engine, event_key, position_of};
use crate::codec::{CorruptRecord, Reader, Table, Writer, unseal};
use crate::{Error, Quarantined, RecordId};
use edgebus_model::{BusId, Position, Timestamp};

/// The key of a record in quarantine.
fn row_key(table: Table, key: &[u8], nth: u32) -> Vec<u8> {
    let mut row = Vec::with_capacity(key.len() + 9);
    row.push(table as u8);
    row.extend_from_slice(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes());
    row.extend_from_slice(key);
    row.extend_from_slice(&nth.to_be_bytes());
    row
}

/// Reads what [`row_key`] made.
fn of_row(row: &[u8]) -> Option<(Table, &[u8], u32)> {
    let (table, rest) = row.split_first()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (key, nth) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    Some((
        Table::of(*table)?,
        key,
        u32::from_be_bytes(nth.try_into().ok()?),
    ))
}

/// A record in quarantine, as its row tells it.
struct Content<'r> {
    moved_at: Timestamp,
    reason: String,
    /// Positions of the log that it stands for.
    span: u64,
    /// What was stored; `None` if it was missing.
    record: Option<&'r [u8]>,
}

fn read_content<'r>(from: &mut Reader<'r>) -> Option<Content<'r>> {
    Some(Content {
        moved_at: Timestamp(from.u64()?),
        reason: from.text()?,
        span: from.u64()?,
        record: from.option(Reader::bytes)?,
    })
}

/// Decodes a row for the full check.
pub(super) fn read_row(key: &[u8], from: &mut Reader<'_>) -> Option<()> {
    of_row(key)?;
    read_content(from).map(|_| ())
}

/// True if the row of quarantine, which is the last one up to the record's own, stands for the record.
fn stands_for(row: &[u8], record: &[u8], table: Table, key: &[u8]) -> bool {
    let Some((found, at, _)) = of_row(row).filter(|(found, ..)| *found == table) else {
        return false;
    };
    if at == key {
        return true;
    }
    let span = unseal(Table::Quarantine, row, record, read_content).map(|content| content.span);
    found == Table::Events
        && at.len() == key.len()
        && at.get(..4) == key.get(..4)
        && position_of(at)
            .zip(position_of(key))
            .is_some_and(|(first, position)| {
                first <= position && position.0 - first.0 < span.unwrap_or(0)
            })
}

/// True if a record is in quarantine.
pub(super) fn holds(rows: &ReadTx, table: Table, key: &[u8]) -> Result<bool, Error> {
    let last = rows.last_until(Table::Quarantine, &row_key(table, key, u32::MAX))?;
    Ok(last.is_some_and(|(row, record)| stands_for(&row, &record, table, key)))
}

/// Takes note of a gap of the log, unless all of it is in quarantine.
pub(super) fn note_gap(
    tables: &mut Tables<'_>,
    corrupt: &CorruptionLog,
    bus: BusId,
    positions: std::ops::Range<u64>,
) -> Result<(), Error> {
    for position in positions {
        let key = event_key(bus, Position(position));
        if !is_aside(tables, Table::Events, &key)? {
            corrupt.note(&CorruptRecord::new(Table::Events, &key, MISSING));
            break;
        }
    }
    Ok(())
}

pub(super) fn is_aside(tables: &mut Tables<'_>, table: Table, key: &[u8]) -> Result<bool, Error> {
    let last = row_key(table, key, u32::MAX);
    tables.with(Table::Quarantine, |rows| {
        let mut before = rows.range::<&[u8]>(..=&last[..]).map_err(engine)?;
        let row = before.next_back().transpose().map_err(engine)?;
        Ok(row.is_some_and(|(row, record)| stands_for(row.value(), record.value(), table, key)))
    })
}

/// What is written of a record in quarantine.
pub(super) struct Aside<'r> {
    pub(super) reason: &'r str,
    /// Positions of the log that it stands for.
    pub(super) span: u64,
    /// As it was stored; `None` if it was missing.
    pub(super) record: Option<&'r [u8]>,
    pub(super) now: Timestamp,
}

/// Writes a record's row and says how many of its table and key were there before.
pub(super) fn put(
    tables: &mut Tables<'_>,
    table: Table,
    key: &[u8],
    aside: &Aside<'_>,
) -> Result<u32, Error> {
    let last = row_key(table, key, u32::MAX);
    let nth = tables.with(Table::Quarantine, |rows| {
        let mut before = rows.range::<&[u8]>(..=&last[..]).map_err(engine)?;
        let row = before.next_back().transpose().map_err(engine)?;
        Ok(row.and_then(|(row, _)| {
            let (found, at, nth) = of_row(row.value())?;
            (found == table && at == key).then(|| nth.saturating_add(1))
        }))
    })?;
    let nth = nth.unwrap_or(0);
    tables.put(Table::Quarantine, &row_key(table, key, nth), |out| {
        out.u64(aside.now.0);
        out.bytes(aside.reason.as_bytes());
        out.u64(aside.span);
        out.option(aside.record, |out, record| out.bytes(record));
    })?;
    Ok(nth)
}

/// A page of what is in quarantine, behind `after`.
pub(super) fn page(
    rows: &ReadTx,
    after: Option<&RecordId>,
    limit: usize,
) -> Result<Vec<Quarantined>, Error> {
    let mut page = Vec::new();
    let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(&id.key[..]));
    if limit == 0 {
        return Ok(page);
    }
    rows.scan(Table::Quarantine, from, Bound::Unbounded, |row, record| {
        let content = unseal(Table::Quarantine, row, record, read_content);
        if let (Some((table, key, _)), Ok(content)) = (of_row(row), content) {
            page.push(Quarantined {
                id: RecordId {
                    table: Table::Quarantine as u8,
                    key: row.to_vec(),
                },
                name: CorruptRecord::new(table, key, MISSING).name,
                reason: content.reason,
                moved_at: content.moved_at,
                bytes: content.record.map(|record| record.len() as u64),
            });
        }
        page.len() < limit
    })?;
    Ok(page)
}
