//! Where the log of each bus ends, and from where on it is whole: one row for each bus.
//!
//! The row of a bus from which nothing was ever removed has no floor, as every release of format 3 reads it.
//! Never here: what is removed.

use std::collections::HashMap;

use super::catalog::every;
use super::tables::{ReadTx, Tables, event_key};
use crate::Error;
use crate::codec::{Reader, Table, Writer, event};
use edgebus_model::{BusId, Position, Timestamp};

/// The first position of a log.
pub(super) const FIRST: u64 = 1;

/// What is known of the log of one bus.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Head {
    /// Its last position; 0 while it is empty.
    pub(super) last: u64,
    /// When that event was accepted.
    pub(super) clock: Timestamp,
    /// The first position that retention has not reached.
    pub(super) floor: u64,
    /// Counts of descendants of events before this position go.
    pub(super) uncounted: u64,
    /// When that position was the floor.
    pub(super) uncounted_at: Timestamp,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            last: 0,
            clock: Timestamp(0),
            floor: FIRST,
            uncounted: FIRST,
            uncounted_at: Timestamp(0),
        }
    }
}

/// Writes the row of a bus.
pub(super) fn write_head(tables: &mut Tables<'_>, bus: BusId, head: &Head) -> Result<(), Error> {
    tables.put(Table::Heads, &bus.0.to_be_bytes(), |out| {
        out.u64(head.last);
        out.u64(head.clock.0);
        if head.floor > FIRST {
            out.u64(head.floor);
            out.u64(head.uncounted);
            out.u64(head.uncounted_at.0);
        }
    })
}

/// Reads what [`write_head`] wrote.
pub(super) fn read_head(from: &mut Reader<'_>) -> Option<Head> {
    let mut head = Head {
        last: from.u64()?,
        ..Head::default()
    };
    if from.format() >= 3 {
        head.clock = Timestamp(from.u64()?);
    }
    if !from.is_at_end() {
        head.floor = from.u64()?;
        head.uncounted = from.u64()?;
        head.uncounted_at = Timestamp(from.u64()?);
    }
    Some(head)
}

/// Reads the rows of all buses. When the last event was accepted, in rows of an earlier release only the event
/// itself says.
pub(super) fn read_heads(rows: &ReadTx) -> Result<HashMap<BusId, Head>, Error> {
    let mut heads = HashMap::new();
    every(rows, Table::Heads, |key, from| {
        let bus = BusId(u32::from_be_bytes(key.try_into().ok()?));
        heads.insert(bus, read_head(from)?);
        Some(())
    })?;
    for (bus, head) in &mut heads {
        let position = Position(head.last);
        if head.clock == Timestamp(0) && head.last > 0 {
            let key = event_key(*bus, position);
            let event = rows.get(Table::Events, &key, |from| {
                event::read_stored(from, position)
            })?;
            if let Some(Ok(event)) = event {
                head.clock = event.accepted_at;
            }
        }
    }
    Ok(heads)
}

/// The floor of a bus as a check sees it; a row that can't be read is told by itself, and is as none.
pub(super) fn floor_in(rows: &ReadTx, bus: BusId) -> Result<u64, Error> {
    let head = rows.get(Table::Heads, &bus.0.to_be_bytes(), read_head)?;
    Ok(head.and_then(Result::ok).unwrap_or_default().floor)
}

/// The same within a transaction that has written it.
pub(super) fn floor_within(tables: &mut Tables<'_>, bus: BusId) -> Result<u64, Error> {
    let head = tables.get(Table::Heads, &bus.0.to_be_bytes(), read_head)?;
    Ok(head.and_then(Result::ok).unwrap_or_default().floor)
}
