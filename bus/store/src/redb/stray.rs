//! Takes a row out by its place, where a search for its key may not find it.
//!
//! The one use of more than insert, get, range and remove: with the rows around it held against each other
//! before and after. Never here: what the row was.

use std::ops::Bound;

use redb::{ReadableTable, ReadableTableMetadata};

use super::tables::engine;
use crate::{Error, Kind};

/// Rows that are looked at for one that is known to stand out of order.
pub(super) const FAR: usize = 200_000;
/// The same where it stands near its place, if it is there at all.
pub(super) const NEAR: usize = 1_024;
/// Rows behind it that are held against each other before and after it was taken out.
const COMPARED: usize = 64;

/// The place of the row before `key`, as the engine finds it.
pub(super) fn before(
    rows: &redb::Table<'_, &'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<Bound<Vec<u8>>, Error> {
    let mut rows = rows.range::<&[u8]>(..key).map_err(engine)?;
    let row = rows.next_back().transpose().map_err(engine)?;
    Ok(row.map_or(Bound::Unbounded, |(key, _)| {
        Bound::Included(key.value().to_vec())
    }))
}

/// Takes the first row from `from` on out that `is_it`, by its place: a search for its key may not find
/// it. The rows around it must be the same afterwards, or the transaction is not to be trusted.
pub(super) fn take(
    rows: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
    from: Bound<Vec<u8>>,
    rows_max: usize,
    is_it: &dyn Fn(&[u8], &[u8]) -> bool,
) -> Result<Option<Vec<u8>>, Error> {
    let from = from.as_ref().map(|from| &from[..]);
    let mut record = None;
    let mut around: Vec<Vec<u8>> = Vec::new();
    for row in rows
        .range::<&[u8]>((from, Bound::Unbounded))
        .map_err(engine)?
        .take(rows_max)
    {
        let (key, value) = row.map_err(engine)?;
        if record.is_none() && is_it(key.value(), value.value()) {
            record = Some(value.value().to_vec());
        } else if record.is_some() && around.len() < COMPARED {
            around.push(key.value().to_vec());
        } else if record.is_some() {
            break;
        }
    }
    let Some(record) = record else {
        return Ok(None);
    };
    let count = rows.len().map_err(engine)?;
    let mut taking = rows
        .extract_from_if::<&[u8], _>((from, Bound::Unbounded), is_it)
        .map_err(engine)?;
    drop(taking.next().transpose().map_err(engine)?);
    taking.close().map_err(engine)?;
    let left = rows.len().map_err(engine)?;
    let mut behind = around.iter().peekable();
    for row in rows
        .range::<&[u8]>((from, Bound::Unbounded))
        .map_err(engine)?
        .take(rows_max + COMPARED)
    {
        let (key, _) = row.map_err(engine)?;
        if behind.peek().is_some_and(|next| **next == key.value()) {
            behind.next();
        }
        if behind.peek().is_none() {
            break;
        }
    }
    if left + 1 != count || behind.peek().is_some() {
        let message = "a row out of order could not be taken out";
        return Err(Error::new(Kind::Corrupt, message));
    }
    Ok(Some(record))
}
