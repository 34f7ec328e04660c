//! Rows: the tables' keys, and reading and writing records inside one transaction.
//!
//! Every table maps bytes to bytes; keys are big-endian numbers in append order, so that a commit
//! touches few pages. Only plain insert, get, range and remove are used. Never here: what a record
//! means, or a transaction that outlives its caller.

use std::ops::Bound;
use std::sync::Arc;

use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};

use super::changes::Recorded;
use super::corruption_log::CorruptionLog;
use super::row_counts::Weight;
use super::scan;
use crate::codec::{CorruptRecord, RECORD_FORMAT, Reader, Table, is_intact, seal_as, unseal};
use crate::{Direction, Error, Kind};
use edgebus_model::{BusId, Code, DeliveryKey, Name, Position, SubscriptionId, Timestamp};

/// How a table is declared to the engine.
pub(super) fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

/// An engine's failure: nothing is known of what it was doing.
pub(super) fn engine(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        error @ redb::Error::Corrupted(_) => Error::new(Kind::Corrupt, format!("redb: {error}")),
        redb::Error::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            Error::new(Kind::Unknown, format!("redb: {error}")).coded(Code::DiskNearlyFull)
        }
        error => Error::new(Kind::Unknown, format!("redb: {error}")),
    }
}

/// The key of an event, and of its count of descendants.
pub(super) fn event_key(bus: BusId, position: Position) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&bus.0.to_be_bytes());
    key[4..].copy_from_slice(&position.0.to_be_bytes());
    key
}

/// The position in a key that [`event_key`] made.
pub(super) fn position_of(key: &[u8]) -> Option<Position> {
    let (_, position) = key.split_last_chunk::<8>()?;
    Some(Position(u64::from_be_bytes(*position)))
}

/// The key of a delivery, wherever its life has brought it.
pub(super) fn delivery_key(key: DeliveryKey) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&key.subscription.0.to_be_bytes());
    bytes[4..8].copy_from_slice(&key.replay.to_be_bytes());
    bytes[8..].copy_from_slice(&key.position.0.to_be_bytes());
    bytes
}

/// The first and the last key that a subscription's deliveries can have.
pub(super) fn delivery_range(subscription: SubscriptionId) -> ([u8; 16], [u8; 16]) {
    let end = |replay, position| {
        delivery_key(DeliveryKey {
            subscription,
            replay,
            position: Position(position),
        })
    };
    (end(0, 0), end(u32::MAX, u64::MAX))
}

/// The row that a delivery has in each stage of its life; it has one of them.
pub(super) fn stages(bus: BusId, key: DeliveryKey) -> [(Table, Vec<u8>); 3] {
    let own = delivery_key(key).to_vec();
    [
        (Table::Deliveries, own.clone()),
        (Table::Settled, settled_key(bus, key).to_vec()),
        (Table::DeadLetters, own),
    ]
}

/// Reads what [`delivery_key`] made.
pub(super) fn delivery_of(key: &[u8]) -> Option<DeliveryKey> {
    let (subscription, rest) = key.split_first_chunk::<4>()?;
    let (replay, rest) = rest.split_first_chunk::<4>()?;
    Some(DeliveryKey {
        subscription: SubscriptionId(u32::from_be_bytes(*subscription)),
        replay: u32::from_be_bytes(*replay),
        position: Position(u64::from_be_bytes(rest.try_into().ok()?)),
    })
}

/// The key of an attempt that was not its delivery's last.
pub(super) fn attempt_key(key: DeliveryKey, number: u32) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..16].copy_from_slice(&delivery_key(key));
    bytes[16..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// The key of a success: by bus and position first, so that all subscriptions append in one place.
pub(super) fn settled_key(bus: BusId, key: DeliveryKey) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..12].copy_from_slice(&event_key(bus, key.position));
    bytes[12..16].copy_from_slice(&key.subscription.0.to_be_bytes());
    bytes[16..].copy_from_slice(&key.replay.to_be_bytes());
    bytes
}

/// Reads what [`settled_key`] made.
pub(super) fn settled_of(key: &[u8]) -> Option<(BusId, DeliveryKey)> {
    let key: &[u8; 20] = key.try_into().ok()?;
    let (bus, rest) = key.split_first_chunk::<4>()?;
    let (position, rest) = rest.split_first_chunk::<8>()?;
    let (subscription, rest) = rest.split_first_chunk::<4>()?;
    let delivery = DeliveryKey {
        subscription: SubscriptionId(u32::from_be_bytes(*subscription)),
        replay: u32::from_be_bytes(rest.try_into().ok()?),
        position: Position(u64::from_be_bytes(*position)),
    };
    Some((BusId(u32::from_be_bytes(*bus)), delivery))
}

/// The key of a delivery that waits.
pub(super) fn due_key(due: Timestamp, key: DeliveryKey) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&due.0.to_be_bytes());
    bytes[8..].copy_from_slice(&delivery_key(key));
    bytes
}

/// The key of a function's state: the name, a zero byte (no name holds one), the guest's key.
pub(super) fn state_key(function: &Name, key: &[u8]) -> Vec<u8> {
    let name = function.as_str().as_bytes();
    let mut bytes = Vec::with_capacity(name.len() + 1 + key.len());
    bytes.extend_from_slice(name);
    bytes.push(0);
    bytes.extend_from_slice(key);
    bytes
}

/// How many tables there are.
const TABLES: usize = Table::ALL.len();

/// A row's key and record, copied.
pub(super) type OwnedRow = (Vec<u8>, Vec<u8>);

/// What one row may be.
pub(super) type Row<T> = Result<Option<Result<T, CorruptRecord>>, Error>;

/// The tables of a write transaction, each opened when it is first used.
pub(super) struct Tables<'txn> {
    transaction: &'txn WriteTransaction,
    open: [Option<redb::Table<'txn, &'static [u8], &'static [u8]>>; TABLES],
    /// Records are put together here, one after the other.
    scratch: Vec<u8>,
    /// Takes note of what a scan meets out of order.
    corrupt: Arc<CorruptionLog>,
    /// What was changed; `None` unless a check has to know it.
    recorded: Option<Recorded>,
}

impl<'txn> Tables<'txn> {
    pub(super) fn new(transaction: &'txn WriteTransaction, corrupt: Arc<CorruptionLog>) -> Self {
        Self {
            transaction,
            corrupt,
            open: std::array::from_fn(|_| None),
            scratch: Vec::with_capacity(4096),
            recorded: None,
        }
    }

    /// Takes note of every row that is changed from here on.
    pub(super) fn record(&mut self) {
        self.recorded.get_or_insert_default();
    }

    /// What was changed since [`Tables::record`].
    pub(super) fn take_recorded(&mut self) -> Option<Recorded> {
        self.recorded.take()
    }

    /// A row was taken out by its place, so that a check may not have counted it.
    pub(super) fn lose(&mut self) {
        if let Some(recorded) = &mut self.recorded {
            recorded.lose();
        }
    }

    fn table(
        &mut self,
        table: Table,
    ) -> Result<&mut redb::Table<'txn, &'static [u8], &'static [u8]>, Error> {
        let slot = &mut self.open[table.index()];
        match slot {
            Some(open) => Ok(open),
            None => {
                let opened = self
                    .transaction
                    .open_table(definition(table))
                    .map_err(engine)?;
                Ok(slot.insert(opened))
            }
        }
    }

    /// Makes sure that the table exists.
    pub(super) fn touch(&mut self, table: Table) -> Result<(), Error> {
        self.table(table).map(|_| ())
    }

    pub(super) fn get<T>(
        &mut self,
        table: Table,
        key: &[u8],
        read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Row<T> {
        let row = self.table(table)?.get(key).map_err(engine)?;
        Ok(row.map(|record| unseal(table, key, record.value(), read)))
    }

    pub(super) fn has(&mut self, table: Table, key: &[u8]) -> Result<bool, Error> {
        Ok(self.table(table)?.get(key).map_err(engine)?.is_some())
    }

    pub(super) fn put(
        &mut self,
        table: Table,
        key: &[u8],
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Error> {
        self.put_as(RECORD_FORMAT, table, key, fill).map(|_| ())
    }

    /// As [`Tables::put`], and says how many bytes the record has.
    pub(super) fn put_weighed(
        &mut self,
        table: Table,
        key: &[u8],
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Result<usize, Error> {
        self.put_as(RECORD_FORMAT, table, key, fill)
    }

    /// As [`Tables::put_weighed`], in a record format that the caller says.
    pub(super) fn put_as(
        &mut self,
        format: u8,
        table: Table,
        key: &[u8],
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Result<usize, Error> {
        let mut scratch = std::mem::take(&mut self.scratch);
        seal_as(format, &mut scratch, table, key, fill);
        let done = self.put_raw(table, key, &scratch);
        let bytes = scratch.len();
        self.scratch = scratch;
        done.map(|()| bytes)
    }

    pub(super) fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), Error> {
        let recording = self.recorded.is_some();
        let before = {
            let row = self.table(table)?.remove(key).map_err(engine)?;
            weight_of(table, key, row.as_ref().filter(|_| recording))
        };
        if let Some(recorded) = &mut self.recorded {
            recorded.add(table, key, before, Weight::default());
        }
        Ok(())
    }

    /// How many rows a table has.
    pub(super) fn count(&mut self, table: Table) -> Result<u64, Error> {
        self.table(table)?.len().map_err(engine)
    }

    /// The record as it is stored, if there is one.
    pub(super) fn raw(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let row = self.table(table)?.get(key).map_err(engine)?;
        Ok(row.map(|record| record.value().to_vec()))
    }

    /// Writes a record that is put together already.
    pub(super) fn put_raw(&mut self, table: Table, key: &[u8], record: &[u8]) -> Result<(), Error> {
        let recording = self.recorded.is_some();
        let before = {
            let row = self.table(table)?.insert(key, record).map_err(engine)?;
            weight_of(table, key, row.as_ref().filter(|_| recording))
        };
        if let Some(recorded) = &mut self.recorded {
            recorded.add(table, key, before, Weight::of(table, key, record));
        }
        Ok(())
    }

    /// Every row from `from` to `to` inclusive, in order; `each` says whether to go on.
    pub(super) fn scan(
        &mut self,
        table: Table,
        from: &[u8],
        to: &[u8],
        each: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Error> {
        self.scan_within(table, Bound::Included(from), Bound::Included(to), each)
    }

    /// Every row between the bounds, in order; `each` says whether to go on.
    pub(super) fn scan_within(
        &mut self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        mut each: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Error> {
        let corrupt = self.corrupt.clone();
        let rows = self.table(table)?;
        let forward = Direction::Forward;
        scan::scan(rows, table, (from, to), forward, &corrupt, &mut each)
    }

    /// Gives the table to `work`, which does what no plain step does.
    pub(super) fn with<T>(
        &mut self,
        table: Table,
        work: impl FnOnce(&mut redb::Table<'txn, &'static [u8], &'static [u8]>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        work(self.table(table)?)
    }

    /// Every row with a key behind `after`, in order; `each` says whether to go on.
    pub(super) fn scan_behind(
        &mut self,
        table: Table,
        after: &[u8],
        each: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Error> {
        self.scan_within(table, Bound::Excluded(after), Bound::Unbounded, each)
    }
}

/// What a row counted as, if there was one.
fn weight_of(
    table: Table,
    key: &[u8],
    row: Option<&redb::AccessGuard<'_, &'static [u8]>>,
) -> Weight {
    row.map_or(Weight::default(), |row| Weight::of(table, key, row.value()))
}

/// What follows a row.
pub(super) enum Turn {
    /// The next row.
    On,
    /// The row at this key, or the next one in the direction.
    To([u8; 20]),
    /// No further row.
    End,
}

/// A consistent view of everything committed, for one call.
pub(super) struct ReadTx {
    transaction: ReadTransaction,
    /// Takes note of what a scan meets out of order.
    corrupt: Arc<CorruptionLog>,
}

impl ReadTx {
    pub(super) fn new(transaction: ReadTransaction, corrupt: Arc<CorruptionLog>) -> Self {
        Self {
            transaction,
            corrupt,
        }
    }

    fn table(
        &self,
        table: Table,
    ) -> Result<redb::ReadOnlyTable<&'static [u8], &'static [u8]>, Error> {
        let open = self.transaction.open_table(definition(table));
        open.map_err(engine)
    }

    /// True if there is no row under `key`, whatever a search said.
    pub(super) fn is_absent(&self, table: Table, key: &[u8]) -> Result<bool, Error> {
        scan::is_absent(&self.table(table)?, table, key)
    }

    /// The record as it is stored, if there is one.
    pub(super) fn raw(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let row = self.table(table)?.get(key).map_err(engine)?;
        Ok(row.map(|record| record.value().to_vec()))
    }

    pub(super) fn get<T>(
        &self,
        table: Table,
        key: &[u8],
        read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Row<T> {
        let rows = self
            .transaction
            .open_table(definition(table))
            .map_err(engine)?;
        let row = rows.get(key).map_err(engine)?;
        Ok(row.map(|record| unseal(table, key, record.value(), read)))
    }

    /// Makes sure that the table is there: a write transaction would silently make it anew.
    pub(super) fn check(&self, table: Table) -> Result<(), Error> {
        let open = self.transaction.open_table(definition(table));
        open.map(|_| ()).map_err(engine)
    }

    /// How many rows a table has.
    pub(super) fn count(&self, table: Table) -> Result<u64, Error> {
        let rows = self.transaction.open_table(definition(table));
        rows.map_err(engine)?.len().map_err(engine)
    }

    /// Every row between the bounds, in order; `each` says whether to go on.
    pub(super) fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        each: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Error> {
        self.scan_in(table, (from, to), Direction::Forward, each)
    }

    /// As [`ReadTx::scan`], in either direction.
    pub(super) fn scan_in(
        &self,
        table: Table,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        direction: Direction,
        mut each: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Error> {
        let rows = self.table(table)?;
        scan::scan(&rows, table, range, direction, &self.corrupt, &mut each)
    }

    /// Intact rows between the bounds, where `each` may jump over those before a key of its own choice (behind
    /// it, where the rows go backwards).
    pub(super) fn skim(
        &self,
        table: Table,
        (mut from, mut to): ([u8; 20], [u8; 20]),
        direction: Direction,
        mut each: impl FnMut(&[u8], &[u8]) -> Turn,
    ) -> Result<(), Error> {
        let rows = self.table(table)?;
        while from <= to {
            let range = (Bound::Included(&from[..]), Bound::Included(&to[..]));
            let mut turn = Turn::End;
            let mut each = |key: &[u8], record: &[u8]| {
                // A corrupt key must lead nowhere; the scan has noted it.
                if !is_intact(table, key, record) {
                    return true;
                }
                turn = each(key, record);
                matches!(turn, Turn::On)
            };
            scan::scan(&rows, table, range, direction, &self.corrupt, &mut each)?;
            match (turn, direction) {
                (Turn::To(place), Direction::Forward) => from = place,
                (Turn::To(place), Direction::Backward) => to = place,
                _ => break,
            }
        }
        Ok(())
    }

    /// The last row at or before `key`, as the engine finds it.
    pub(super) fn last_until(&self, table: Table, key: &[u8]) -> Result<Option<OwnedRow>, Error> {
        let rows = self.table(table)?;
        let mut rows = rows.range::<&[u8]>(..=key).map_err(engine)?;
        let row = rows.next_back().transpose().map_err(engine)?;
        Ok(row.map(|(key, record)| (key.value().to_vec(), record.value().to_vec())))
    }
}
