//! The check of every record of every table, and of what must hold between them: whole, or in pages.
//!
//! Checksums find a record that was changed; only the links between tables find one that is gone:
//! a log without gaps, and each delivery that an event has in exactly one place of its life. Pages may
//! come from different snapshots: what is held against each other is read from the same one.

use std::ops::Bound;

use super::aside;
use super::changes::Meanwhile;
use super::corruption_log::CorruptionLog;
use super::heads::FIRST;
use super::quarantine::{self, MISSING};
use super::row_counts::{self, RowCounts};
use super::tables::{
    ReadTx, delivery_key, delivery_of, due_key, event_key, position_of, settled_of, stages,
};
use super::{catalog, counters, dedupe, heads, jobs};
use crate::codec::{
    CorruptRecord, Reader, Table, Writer, catalog as rows_of, delivery, event, unseal,
};
use crate::{Error, StoredEvent, Verified};
use edgebus_model::{BusId, DeliveryKey, Position};

/// What a due row without a delivery that waits for it is called.
pub(super) const IDLE: &str = "is of no waiting delivery";
/// What a delivery that is in two stages of its life is called.
pub(super) const TWICE: &str = "has ended already";
/// What a replayed delivery without an event is called.
const WITHOUT_EVENT: &str = "is of no event";

/// Checks everything; each corruption is one line. What a scan met out of order is in `strays`.
pub(super) fn verify(
    rows: &ReadTx,
    strays: &CorruptionLog,
    corruption: &mut dyn FnMut(String),
) -> Result<Verified, Error> {
    let mut lines = std::collections::BTreeSet::new();
    let mut told = |found: &CorruptRecord| {
        if lines.insert(found.line()) {
            corruption(found.line());
        }
    };
    let mut walk = Walk::default();
    let seen = walk.page(rows, u64::MAX, &mut told)?;
    for line in strays.lines() {
        if lines.insert(line.clone()) {
            corruption(line);
        }
    }
    Ok(Verified {
        corrupt: lines.len() as u64,
        ..seen
    })
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
    /// What was counted in it; `None` before its first row, and where a restart forgot it.
    row_counts: Option<RowCounts>,
    /// Tables whose count was found to be right.
    agreed: Vec<Table>,
}

impl Walk {
    /// Writes where it is.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.u8(u8::try_from(self.table).unwrap_or(u8::MAX));
        out.bytes(&self.after);
        out.option(self.last, |out, (bus, position)| {
            out.u32(bus.0);
            out.u64(position.0);
        });
    }

    /// Reads what [`Walk::write`] wrote.
    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            table: usize::from(from.u8()?),
            after: from.bytes()?.to_vec(),
            last: from.option(|from| Some((BusId(from.u32()?), Position(from.u64()?))))?,
            row_counts: None,
            agreed: Vec::new(),
        })
    }

    /// The table that is being read, and the last key that was looked at in it.
    pub(super) fn place(&self) -> (Option<Table>, &[u8]) {
        (Table::ALL.get(self.table).copied(), &self.after)
    }

    /// Tells the tally what was changed since the last page among the rows that it has counted.
    pub(super) fn add(&mut self, meanwhile: Meanwhile) {
        if let Some(row_counts) = &mut self.row_counts {
            row_counts.add(meanwhile);
        }
    }

    /// Tables that were read through since this was asked, and whose count is right.
    pub(super) fn take_agreed(&mut self) -> Vec<Table> {
        std::mem::take(&mut self.agreed)
    }

    /// Checks the next rows, at most `rows_max`. Nothing was left if it saw none.
    pub(super) fn page(
        &mut self,
        rows: &ReadTx,
        rows_max: u64,
        corruption: &mut dyn FnMut(&CorruptRecord),
    ) -> Result<Verified, Error> {
        let mut seen = Verified::default();
        while let Some(table) = Table::ALL.get(self.table).copied()
            && seen.records < rows_max
        {
            let mut lost = |found: CorruptRecord| {
                seen.corrupt += 1;
                corruption(&found);
            };
            if self.after.is_empty() {
                self.row_counts = Some(RowCounts::default());
            }
            let (looked, ended) = self.rows(rows, table, rows_max - seen.records, &mut lost)?;
            if ended {
                if table == Table::Events {
                    self.end_bus(rows, None, &mut lost)?;
                }
                if let Some(row_counts) = self.row_counts.take()
                    && row_counts.end(rows, table, &mut lost)? == Some(true)
                {
                    self.agreed.push(table);
                }
                self.last = None;
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
        rows: &ReadTx,
        table: Table,
        rows_max: u64,
        lost: &mut dyn FnMut(CorruptRecord),
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
            let counted = match &mut self.row_counts {
                Some(row_counts) => row_counts.count(rows, table, (key, record), lost),
                None => Ok(()),
            };
            let checked = match table {
                Table::Events => self.event(rows, key, record, lost),
                Table::Deliveries => delivery_row(rows, key, record, lost),
                _ => match unseal(table, key, record, |from| read_row(table, key, from)) {
                    Ok(()) if table == Table::Due => due_row(rows, key, lost),
                    Ok(()) if table == Table::Running => running_row(rows, key, lost),
                    Ok(()) if table == Table::Counters => row_counts::counter_row(rows, key, lost),
                    Ok(()) => Ok(()),
                    Err(found) => {
                        lost(found);
                        Ok(())
                    }
                },
            };
            let checked = counted.and(checked);
            let checked = checked.and_then(|()| is_found(rows, table, key, lost));
            failed = checked.err();
            failed.is_none()
        })?;
        failed.map_or(Ok((looked, ended)), Err)
    }

    /// One event: its place in the log, and its deliveries.
    fn event(
        &mut self,
        rows: &ReadTx,
        key: &[u8],
        record: &[u8],
        lost: &mut dyn FnMut(CorruptRecord),
    ) -> Result<(), Error> {
        let stored = unseal(Table::Events, key, record, |from| {
            event::read_stored(from, position_of(key)?)
        });
        let place = key.first_chunk::<4>().zip(position_of(key));
        let place = place.map(|(bus, position)| (BusId(u32::from_be_bytes(*bus)), position));
        let Some((bus, position)) = place else {
            lost(CorruptRecord::new(Table::Events, key, "can't be decoded"));
            return Ok(());
        };
        let stored = match stored {
            Ok(stored) => stored,
            Err(found) => {
                lost(found);
                // Its place is taken, if the key is the one that was written.
                if self.last == Some((bus, Position(position.0.saturating_sub(1)))) {
                    self.last = Some((bus, position));
                }
                return Ok(());
            }
        };
        if self.last.is_none_or(|(before, _)| before != bus) {
            self.end_bus(rows, Some(bus), lost)?;
            self.last = Some((bus, Position(FIRST - 1)));
        }
        if let Some((_, last)) = self.last {
            gap(rows, bus, last.0 + 1..position.0, lost)?;
        }
        self.last = Some((bus, position));
        let StoredEvent {
            position,
            subscriptions,
            ..
        } = stored;
        for subscription in subscriptions {
            let key = DeliveryKey {
                subscription,
                replay: 0,
                position,
            };
            let pending = delivery_key(key);
            match places(rows, bus, key)? {
                1 => {}
                0 => lost(CorruptRecord::new(Table::Deliveries, &pending, MISSING)),
                _ => lost(CorruptRecord::new(twice(rows, &pending)?, &pending, TWICE)),
            }
        }
        Ok(())
    }

    /// The rows of one bus are through, and those of `next` come: the last event of each bus must have
    /// been the bus's head.
    fn end_bus(
        &mut self,
        rows: &ReadTx,
        next: Option<BusId>,
        lost: &mut dyn FnMut(CorruptRecord),
    ) -> Result<(), Error> {
        let mut heads: Vec<_> = heads::read_heads(rows)?.into_iter().collect();
        heads.sort_unstable();
        for (bus, head) in heads {
            let last = match self.last {
                Some((last, position)) if bus == last => position.0,
                Some((last, _)) if bus < last => continue,
                _ => FIRST - 1,
            };
            if next.is_none_or(|next| bus < next) {
                gap(rows, bus, last + 1..head.last + 1, lost)?;
            }
        }
        Ok(())
    }
}

/// Positions without a row: corruption at the first one that is not in quarantine. Those below the floor were
/// removed.
fn gap(
    rows: &ReadTx,
    bus: BusId,
    positions: std::ops::Range<u64>,
    lost: &mut dyn FnMut(CorruptRecord),
) -> Result<(), Error> {
    if positions.is_empty() {
        return Ok(());
    }
    let first = positions.start.max(heads::floor_in(rows, bus)?);
    for position in first..positions.end {
        let key = event_key(bus, Position(position));
        if !aside::holds(rows, Table::Events, &key)? {
            lost(CorruptRecord::new(Table::Events, &key, MISSING));
            break;
        }
    }
    Ok(())
}

/// A row must be found by its key, too.
fn is_found(
    rows: &ReadTx,
    table: Table,
    key: &[u8],
    lost: &mut dyn FnMut(CorruptRecord),
) -> Result<(), Error> {
    if rows.get(table, key, |_| Some(()))?.is_none() {
        lost(CorruptRecord::new(table, key, "is not found by its key"));
    }
    Ok(())
}

/// A due row: its delivery waits until then.
fn due_row(rows: &ReadTx, key: &[u8], lost: &mut dyn FnMut(CorruptRecord)) -> Result<(), Error> {
    let Some((due, own)) = quarantine::split_due(key) else {
        return Ok(());
    };
    let row = rows.get(Table::Deliveries, &delivery_key(own), |from| {
        delivery::read_pending(from, own)
    })?;
    let waits = match row {
        Some(Ok(delivery)) => delivery.due_at == Some(due),
        Some(Err(_)) => true,
        None => false,
    };
    if !waits {
        lost(CorruptRecord::new(Table::Due, key, IDLE));
    }
    Ok(())
}

/// A row among what runs: its delivery is pending. Whether it is claimed, its own row says.
fn running_row(
    rows: &ReadTx,
    key: &[u8],
    lost: &mut dyn FnMut(CorruptRecord),
) -> Result<(), Error> {
    if rows.get(Table::Deliveries, key, |_| Some(()))?.is_none() {
        lost(CorruptRecord::new(Table::Running, key, IDLE));
    }
    Ok(())
}

/// The table that holds a delivery which another one holds rightly.
fn twice(rows: &ReadTx, key: &[u8]) -> Result<Table, Error> {
    let pending = rows.get(Table::Deliveries, key, |_| Some(()))?;
    Ok(if pending.is_some() {
        Table::Deliveries
    } else {
        Table::DeadLetters
    })
}

/// One delivery: if it has a due time, it has its row among the waiting, and if it is claimed, among what runs.
fn delivery_row(
    rows: &ReadTx,
    key: &[u8],
    record: &[u8],
    lost: &mut dyn FnMut(CorruptRecord),
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
    if row.key.replay > 0 {
        replayed_row(rows, row.key, lost)?;
    }
    if let Some(due) = row.due_at {
        let waiting = due_key(due, row.key);
        if rows.get(Table::Due, &waiting, |_| Some(()))?.is_none() {
            lost(CorruptRecord::new(Table::Due, &waiting, MISSING));
        }
    }
    let running = rows.get(Table::Running, key, |_| Some(()))?.is_some();
    if row.claims > 0 && !running {
        lost(CorruptRecord::new(Table::Running, key, MISSING));
    } else if row.claims == 0 && running {
        lost(CorruptRecord::new(Table::Running, key, IDLE));
    }
    Ok(())
}

/// A replay's pending delivery, which no event names: its event is there, and it has not ended as well.
fn replayed_row(
    rows: &ReadTx,
    key: DeliveryKey,
    lost: &mut dyn FnMut(CorruptRecord),
) -> Result<(), Error> {
    let subscription = catalog::numbered(b's', key.subscription.0);
    let known = rows.get(Table::Catalog, &subscription, |from| {
        rows_of::read_subscription(from, key.subscription)
    })?;
    let Some(Ok(known)) = known else {
        return Ok(());
    };
    let (bus, own) = (known.bus, delivery_key(key));
    let event = event_key(bus, key.position);
    if rows.get(Table::Events, &event, |_| Some(()))?.is_none()
        && !aside::holds(rows, Table::Events, &event)?
    {
        lost(CorruptRecord::new(Table::Deliveries, &own, WITHOUT_EVENT));
    }
    if places(rows, bus, key)? > 1 {
        lost(CorruptRecord::new(Table::Deliveries, &own, TWICE));
    }
    Ok(())
}

/// Decodes any row whole, and lets the result go.
pub(super) fn read_row(table: Table, key: &[u8], from: &mut Reader<'_>) -> Option<()> {
    match table {
        Table::Heads => heads::read_head(from).map(|_| ()),
        Table::Events => event::read_stored(from, position_of(key)?).map(|_| ()),
        Table::Deliveries => delivery::read_pending(from, delivery_of(key)?).map(|_| ()),
        Table::Running => delivery::read_running(from, delivery_of(key)?).map(|_| ()),
        Table::Attempts => delivery::read_attempt(from).map(|_| ()),
        Table::Counters if key.first() == Some(&b'b') => counters::read_bus(from).map(|_| ()),
        Table::Counters => counters::read_subscription(from).map(|_| ()),
        Table::Settled => delivery::read_settled(from, settled_of(key)?.1).map(|_| ()),
        Table::DeadLetters => delivery::read_dead(from, delivery_of(key)?).map(|_| ()),
        Table::Due => delivery_of(key.get(8..)?).map(|_| ()),
        Table::Descendants => event::read_descendants(from).map(|_| ()),
        Table::Dedupe | Table::DedupeLevels => dedupe::read_row(key, from),
        Table::Jobs => jobs::read_row(key, from),
        Table::Quarantine => aside::read_row(key, from),
        Table::Catalog => match key.first()? {
            b'b' => rows_of::read_bus(from).map(|_| ()),
            b'f' => rows_of::read_revision(from).map(|_| ()),
            b'r' => rows_of::read_rule(from).map(|_| ()),
            b's' => rows_of::read_subscription(from, edgebus_model::SubscriptionId(0)).map(|_| ()),
            _ => {
                from.rest();
                Some(())
            }
        },
        Table::Meta | Table::State | Table::Components => {
            from.rest();
            Some(())
        }
    }
}

/// In how many stages of life the delivery is; one that is in quarantine is in one.
fn places(rows: &ReadTx, bus: BusId, key: DeliveryKey) -> Result<usize, Error> {
    let stages = stages(bus, key);
    let mut count = 0;
    for (table, key) in &stages {
        count += usize::from(rows.get(*table, key, |_| Some(()))?.is_some());
    }
    if count > 0 {
        return Ok(count);
    }
    for (table, key) in &stages {
        if aside::holds(rows, *table, key)? {
            return Ok(1);
        }
    }
    Ok(0)
}
