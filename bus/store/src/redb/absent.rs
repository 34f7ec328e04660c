//! What a read says of a row that it did not find: a corrupt key can hide one that is there.
//!
//! A log has no gaps, an event names its deliveries, and a state key is absent only if intact rows stand on
//! both sides of its place. Never here: a search for a hidden row beyond its neighbours.

use std::ops::Bound;

use super::aside;
use super::heads::{self, Head};
use super::quarantine::MISSING;
use super::tables::{ReadTx, delivery_key, event_key, stages};
use super::{RedbStore, guarded};
use crate::codec::{CorruptRecord, Reader, Table, event, unseal};
use crate::{Direction, Error, Kind, Rows, StoredEvent};
use edgebus_model::{BusId, DeliveryKey, Position};

/// Positions of a gap that one page asks quarantine for.
const GAP_MAX: u64 = 10_000;

impl RedbStore {
    /// As [`guarded`], and takes note of a page that can't be read.
    pub(super) fn checked<T>(&self, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let done = guarded(work);
        if let Err(error) = &done
            && error.kind == Kind::Corrupt
            && error.message.starts_with("redb")
        {
            self.corrupt.note_page(error);
        }
        done
    }

    /// Where the log of a bus begins and ends.
    pub(super) fn head_of(&self, rows: &ReadTx, bus: BusId) -> Result<Head, Error> {
        let head = rows.get(Table::Heads, &bus.0.to_be_bytes(), heads::read_head)?;
        match head {
            Some(Ok(head)) => Ok(head),
            Some(Err(corruption)) => {
                self.corrupt.note(&corruption);
                Err(corruption.into())
            }
            None => Ok(Head::default()),
        }
    }

    /// Notes gaps in a page of a log that began at `from`; a page that ended by itself must have reached the
    /// log's end, which was `head` before. What is before the floor may be gone.
    pub(super) fn note_gaps(
        &self,
        (bus, head, floor): (BusId, u64, u64),
        from: Position,
        direction: Direction,
        page: &Rows<StoredEvent, Position>,
    ) -> Result<(), Error> {
        let mut positions: Vec<u64> = page.rows.iter().map(|row| row.position.0).collect();
        positions.sort_unstable();
        let ended = page.next.is_none();
        let (mut next, end) = match direction {
            Direction::Forward => (from.0.saturating_add(1), ended.then_some(head)),
            Direction::Backward => {
                let first = if ended { None } else { positions.first() };
                let end = head.min(from.0.saturating_sub(1));
                (first.copied().unwrap_or(1), Some(end))
            }
        };
        next = next.max(floor);
        for position in positions
            .into_iter()
            .chain(end.map(|end| end.saturating_add(1)))
        {
            if position > next {
                self.note_gap(bus, next..position)?;
            }
            next = next.max(position.saturating_add(1));
        }
        Ok(())
    }

    fn note_gap(&self, bus: BusId, positions: std::ops::Range<u64>) -> Result<(), Error> {
        self.checked(|| {
            let rows = self.snapshot()?;
            // It may have been raised since the page was read.
            let first = positions.start.max(self.head_of(&rows, bus)?.floor);
            for position in (first..positions.end).take(GAP_MAX as usize) {
                let key = event_key(bus, Position(position));
                let there = rows.raw(Table::Events, &key)?;
                if there.is_none() && !aside::holds(&rows, Table::Events, &key)? {
                    self.corrupt
                        .note(&CorruptRecord::new(Table::Events, &key, MISSING));
                    break;
                }
            }
            Ok(())
        })
    }

    /// A position without an event must be behind the head, or below the floor.
    pub(super) fn no_event(
        &self,
        rows: &ReadTx,
        bus: BusId,
        position: Position,
    ) -> Result<Option<StoredEvent>, Error> {
        let head = self.head_of(rows, bus)?;
        if position.0 < head.floor || position.0 > head.last {
            return Ok(None);
        }
        let key = event_key(bus, position);
        Err(self.hidden(rows, Table::Events, &key)?)
    }

    /// A delivery that is in no table must be one that no event has.
    pub(super) fn no_delivery(&self, rows: &ReadTx, key: DeliveryKey) -> Result<(), Error> {
        let Some(bus) = self.bus_of(rows, key.subscription)? else {
            return Ok(());
        };
        for (table, row) in stages(bus, key) {
            if aside::holds(rows, table, &row)? {
                return Err(is_away(&CorruptRecord::new(table, &row, MISSING)));
            }
        }
        if key.replay > 0 {
            return Ok(());
        }
        let stored = rows.get(Table::Events, &event_key(bus, key.position), |from| {
            event::read_stored(from, key.position)
        })?;
        let has_pending = |stored: &StoredEvent| stored.subscriptions.contains(&key.subscription);
        match stored {
            Some(Ok(stored)) if has_pending(&stored) => {
                Err(self.hidden(rows, Table::Deliveries, &delivery_key(key))?)
            }
            _ => Ok(()),
        }
    }

    /// A row that no search found is read by its place, or proven absent.
    pub(super) fn no_row<T>(
        &self,
        rows: &ReadTx,
        table: Table,
        key: &[u8],
        read: impl Fn(&mut Reader<'_>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        if aside::holds(rows, table, key)? {
            return Err(is_away(&CorruptRecord::new(table, key, MISSING)));
        }
        if rows.is_absent(table, key)? {
            return Ok(None);
        }
        let mut found = None;
        // It notes what stands beside the place.
        rows.scan(
            table,
            Bound::Included(key),
            Bound::Included(key),
            |key, record| {
                found = Some(unseal(table, key, record, &read));
                true
            },
        )?;
        match found {
            Some(row) => Ok(Some(row?)),
            None => Err(
                CorruptRecord::new(table, key, "can't be looked up beside a corrupt row").into(),
            ),
        }
    }

    fn hidden(&self, rows: &ReadTx, table: Table, key: &[u8]) -> Result<Error, Error> {
        let corruption = CorruptRecord::new(table, key, MISSING);
        if aside::holds(rows, table, key)? {
            return Ok(is_away(&corruption));
        }
        self.corrupt.note(&corruption);
        Ok(corruption.into())
    }
}

/// What a read of a record in quarantine says.
fn is_away(corruption: &CorruptRecord) -> Error {
    let message = format!("{}: is in quarantine", corruption.name);
    Error::new(Kind::Corrupt, message)
}
