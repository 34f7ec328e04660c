//! The check of every record of every table, and of what must hold between them: whole, or in pages.
//!
//! Checksums find a record that was changed; only the links between tables find one that is gone:
//! a log without gaps, and each delivery that an event owed in exactly one place of its life. Pages may
//! come from different snapshots: what is held against each other is read from the same one.

use std::ops::Bound;

use super::tables::{
    Snapshot, delivery_key, delivery_of, due_key, event_key, position_of, settled_key, settled_of,
};
use super::tally::Tally;
use super::{catalog, counters, dedupe};
use crate::model::{BusId, DeliveryKey, Position};
use crate::store::codec::{Harm, Reader, Table, catalog as rows_of, delivery, event, unseal};
use crate::store::{Error, StoredEvent, Verified};

/// Checks everything; each harm is one line.
pub(super) fn verify(rows: &Snapshot, harm: &mut dyn FnMut(String)) -> Result<Verified, Error> {
    let mut told = |found: &Harm| harm(found.line());
    let mut walk = Walk {
        tally: Some(Tally::default()),
        ..Walk::default()
    };
    walk.page(rows, u64::MAX, &mut told)
}

/// A check on its way: which rows are through.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Index in [`Table::ALL`].
    table: usize,
    /// The last key that was looked at in it; empty before the first.
    after: Vec<u8>,
    /// The last event that was looked at.
    last: Option<(BusId, Position)>,
    /// What was counted; only where all pages are of one snapshot.
    tally: Option<Tally>,
}

impl Walk {
    /// Checks the next rows, at most `rows_max`. Nothing was left if it saw none.
    pub(super) fn page(
        &mut self,
        rows: &Snapshot,
        rows_max: u64,
        harm: &mut dyn FnMut(&Harm),
    ) -> Result<Verified, Error> {
        let mut seen = Verified::default();
        while let Some(table) = Table::ALL.get(self.table).copied()
            && seen.records < rows_max
        {
            let mut lost = |found: Harm| {
                seen.harmed += 1;
                harm(&found);
            };
            let (looked, ended) = self.rows(rows, table, rows_max - seen.records, &mut lost)?;
            if ended {
                self.end_bus(rows, &mut lost)?;
                if let Some(tally) = self.tally.as_ref().filter(|_| table == Table::Counters) {
                    tally.compare(rows, &mut lost)?;
                }
                self.after.clear();
                self.table += 1;
            }
            seen.records += looked;
        }
        Ok(seen)
    }

    /// Checks rows of one table: how many, and whether they were the last.
    fn rows(
        &mut self,
        rows: &Snapshot,
        table: Table,
        rows_max: u64,
        lost: &mut dyn FnMut(Harm),
    ) -> Result<(u64, bool), Error> {
        let after = std::mem::take(&mut self.after);
        let from = if after.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(&after[..])
        };
        let (mut looked, mut ended, mut failed) = (0, true, None);
        rows.scan(table, from, Bound::Unbounded, |key, record| {
            if looked == rows_max {
                ended = false;
                return false;
            }
            looked += 1;
            self.after.clear();
            self.after.extend_from_slice(key);
            if let Some(tally) = &mut self.tally {
                tally.count(table, key, record);
            }
            let checked = match table {
                Table::Events => self.event(rows, key, record, lost),
                Table::Deliveries => delivery_row(rows, key, record, lost),
                _ => {
                    if let Err(found) =
                        unseal(table, key, record, |from| read_row(table, key, from))
                    {
                        lost(found);
                    }
                    Ok(())
                }
            };
            failed = checked.err();
            failed.is_none()
        })?;
        failed.map_or(Ok((looked, ended)), Err)
    }

    /// One event: its place in the log, and its deliveries.
    fn event(
        &mut self,
        rows: &Snapshot,
        key: &[u8],
        record: &[u8],
        lost: &mut dyn FnMut(Harm),
    ) -> Result<(), Error> {
        let stored = unseal(Table::Events, key, record, |from| {
            event::read_stored(from, position_of(key)?)
        });
        let stored = stored.map_err(&mut *lost).ok();
        let place = key.first_chunk::<4>().zip(position_of(key));
        if let Some((bus, position)) = place {
            let bus = BusId(u32::from_be_bytes(*bus));
            if self.last.is_some_and(|(before, _)| before != bus) {
                self.end_bus(rows, lost)?;
            }
            if self
                .last
                .is_some_and(|(_, last)| last.0.checked_add(1) != Some(position.0))
            {
                lost(Harm::new(Table::Events, key, "comes after a gap"));
            }
            self.last = Some((bus, position));
        }
        let Some(StoredEvent {
            position,
            subscriptions,
            ..
        }) = stored
        else {
            return Ok(());
        };
        let Some(bus) = key
            .first_chunk::<4>()
            .map(|bus| BusId(u32::from_be_bytes(*bus)))
        else {
            return Ok(());
        };
        for subscription in subscriptions {
            let key = DeliveryKey {
                subscription,
                replay: 0,
                position,
            };
            let owed = delivery_key(key);
            match places(rows, bus, key)? {
                1 => {}
                0 => lost(Harm::new(Table::Deliveries, &owed, "is in no table")),
                _ => lost(Harm::new(Table::Deliveries, &owed, "is in two tables")),
            }
        }
        Ok(())
    }

    /// The last event of a bus was looked at: it must be the bus's head.
    fn end_bus(&mut self, rows: &Snapshot, lost: &mut dyn FnMut(Harm)) -> Result<(), Error> {
        let Some((bus, last)) = self.last.take() else {
            return Ok(());
        };
        let head = catalog::read_heads(rows)?.remove(&bus);
        let head = head.map(|(head, _)| head);
        if head.is_some_and(|head| head != last.0) {
            let key = event_key(bus, Position(head.unwrap_or_default()));
            lost(Harm::new(
                Table::Events,
                &key,
                "is the head, but not the last row",
            ));
        }
        Ok(())
    }
}

/// One delivery: if it has a due time, it has its row among the waiting, and if it is claimed, among what runs.
fn delivery_row(
    rows: &Snapshot,
    key: &[u8],
    record: &[u8],
    lost: &mut dyn FnMut(Harm),
) -> Result<(), Error> {
    let row = unseal(Table::Deliveries, key, record, |from| {
        delivery::read_pending(from, delivery_of(key)?)
    });
    let row = match row {
        Ok(row) => row,
        Err(found) => {
            lost(found);
            return Ok(());
        }
    };
    if let Some(due) = row.due_at
        && rows
            .get(Table::Due, &due_key(due, row.key), |_| Some(()))?
            .is_none()
    {
        let reason = "has no row among the waiting";
        lost(Harm::new(Table::Deliveries, key, reason));
    }
    let running = rows.get(Table::Running, key, |from| {
        from.rest();
        Some(())
    })?;
    if (row.claims > 0) != running.is_some() {
        let reason = "has a row among what runs without being claimed, or none although it is";
        lost(Harm::new(Table::Deliveries, key, reason));
    }
    Ok(())
}

/// Decodes any row whole, and lets the result go.
fn read_row(table: Table, key: &[u8], from: &mut Reader<'_>) -> Option<()> {
    match table {
        Table::Heads => catalog::read_head(from).map(|_| ()),
        Table::Events => event::read_stored(from, position_of(key)?).map(|_| ()),
        Table::Deliveries => delivery::read_pending(from, delivery_of(key)?).map(|_| ()),
        Table::Running => delivery::read_running(from, delivery_of(key)?).map(|_| ()),
        Table::Attempts => delivery::read_attempt(from).map(|_| ()),
        Table::Counters if key.first() == Some(&b'b') => counters::read_bus(from).map(|_| ()),
        Table::Counters => counters::read_subscription(from).map(|_| ()),
        Table::Settled => delivery::read_settled(from, settled_of(key)?.1).map(|_| ()),
        Table::DeadLetters => delivery::read_dead(from, delivery_of(key)?).map(|_| ()),
        Table::Due => delivery_of(key.get(8..)?).map(|_| ()),
        Table::Descendants => from.u32().map(|_| ()),
        Table::Dedupe | Table::DedupeLevels => dedupe::read_row(key, from),
        Table::Catalog => match key.first()? {
            b'b' => rows_of::read_bus(from).map(|_| ()),
            b'f' => rows_of::read_revision(from).map(|_| ()),
            b'r' => rows_of::read_rule(from).map(|_| ()),
            b's' => rows_of::read_subscription(from, crate::model::SubscriptionId(0)).map(|_| ()),
            _ => {
                from.rest();
                Some(())
            }
        },
        Table::Meta | Table::State | Table::Components | Table::Quarantine => {
            from.rest();
            Some(())
        }
    }
}

/// In how many stages of life the delivery is.
fn places(rows: &Snapshot, bus: BusId, key: DeliveryKey) -> Result<usize, Error> {
    let (own, settled) = (delivery_key(key), settled_key(bus, key));
    let mut count = 0;
    for (table, key) in [
        (Table::Deliveries, &own[..]),
        (Table::Settled, &settled[..]),
        (Table::DeadLetters, &own[..]),
    ] {
        let row = rows.get(table, key, |from| {
            from.rest();
            Some(())
        })?;
        count += usize::from(row.is_some());
    }
    Ok(count)
}
