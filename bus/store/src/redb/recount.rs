//! Counters that are counted again: after corrupt records were moved, because nobody knows what a lost row
//! counted as, and where a check found that one disagrees with its rows.
//!
//! Bounded: where there are more rows than a transaction should read, the counter stays as it was, and
//! checks tell the difference. Never here: a row that is changed.

use std::collections::BTreeSet;

use super::steps::Work;
use super::tables::{delivery_of, delivery_range, event_key};
use crate::codec::{Table, delivery, unseal};
use crate::{BusCounts, Counts, Error, Moved, RecordId};
use edgebus_model::{BusId, Position, SubscriptionId};

/// Rows that are counted for one counter.
const ROWS_MAX: u64 = 100_000;

impl Work<'_, '_> {
    /// Counts again what these records and deliveries belong to.
    pub(super) fn recount(&mut self, records: &[RecordId], moved: &Moved) -> Result<(), Error> {
        let (mut buses, mut subscriptions) = (BTreeSet::new(), BTreeSet::new());
        for id in records {
            match Table::of(id.table) {
                Some(Table::Events) => {
                    buses.extend(
                        id.key
                            .first_chunk::<4>()
                            .map(|bus| u32::from_be_bytes(*bus)),
                    );
                }
                Some(Table::Deliveries | Table::DeadLetters) => {
                    subscriptions.extend(delivery_of(&id.key).map(|key| key.subscription));
                }
                _ => {}
            }
        }
        subscriptions.extend(moved.pending.iter().map(|(_, key)| key.subscription));
        subscriptions.extend(moved.dead.iter().map(|key| key.subscription));
        for bus in buses.into_iter().map(BusId) {
            if self.known().buses.contains_key(&bus) {
                self.recount_bus(bus)?;
            }
        }
        for id in subscriptions {
            if self.known().subscriptions.contains_key(&id) {
                self.recount_subscription(id)?;
            }
        }
        Ok(())
    }

    /// Counts what the counter of this key counts, and has it written; one of nothing that there is goes.
    /// False if there are too many rows.
    pub(super) fn count_anew(&mut self, key: &[u8]) -> Result<bool, Error> {
        let Some((kind, number)) = key.split_first() else {
            return Ok(true);
        };
        let Ok(number) = number.try_into().map(u32::from_be_bytes) else {
            return Ok(true);
        };
        let (bus, id) = (BusId(number), SubscriptionId(number));
        match kind {
            b'b' if self.known().buses.contains_key(&bus) => return self.recount_bus(bus),
            b's' if self.known().subscriptions.contains_key(&id) => {
                return self.recount_subscription(id);
            }
            b's' => self.pending.counters.forget(id),
            _ => self.tables.remove(Table::Counters, key)?,
        }
        Ok(true)
    }

    /// Has the counter of this key counted again, or written again as memory knows it where that takes long.
    pub(super) fn count_again(&mut self, key: &[u8]) -> Result<(), Error> {
        if self.count_anew(key)? {
            return Ok(());
        }
        let Some((kind, number)) = key.split_first_chunk::<1>() else {
            return Ok(());
        };
        let Ok(number) = number.try_into().map(u32::from_be_bytes) else {
            return Ok(());
        };
        if kind == b"b" {
            let known = &self.memory.counters;
            self.pending.counters.bus(known, BusId(number));
        } else {
            self.counts(SubscriptionId(number));
        }
        Ok(())
    }

    /// Counts a bus's events; false if there are too many.
    fn recount_bus(&mut self, bus: BusId) -> Result<bool, Error> {
        let (from, to) = (
            event_key(bus, Position(0)),
            event_key(bus, Position(u64::MAX)),
        );
        let mut counted = BusCounts::default();
        self.tables.scan(Table::Events, &from, &to, |_, record| {
            counted.events += 1;
            counted.bytes += record.len() as u64;
            counted.events <= ROWS_MAX
        })?;
        let all = counted.events <= ROWS_MAX;
        if all {
            *self.pending.counters.bus(&self.memory.counters, bus) = counted;
        }
        Ok(all)
    }

    /// Counts what a subscription has pending, waiting and dead; false if there is too much.
    fn recount_subscription(&mut self, id: SubscriptionId) -> Result<bool, Error> {
        let (from, to) = delivery_range(id);
        let (mut counted, mut rows) = (Counts::default(), 0);
        self.tables
            .scan(Table::Deliveries, &from, &to, |key, record| {
                rows += 1;
                let read = unseal(Table::Deliveries, key, record, |from| {
                    delivery::read_pending(from, delivery_of(key)?)
                });
                // One that is corrupt is counted when it is moved.
                let due = read.is_ok_and(|pending| pending.due_at.is_some());
                *counted.pending_mut(due) += 1;
                rows <= ROWS_MAX
            })?;
        self.tables.scan(Table::DeadLetters, &from, &to, |_, _| {
            rows += 1;
            counted.dead += 1;
            rows <= ROWS_MAX
        })?;
        let all = rows <= ROWS_MAX;
        if all {
            *self.counts(id) = counted;
        }
        Ok(all)
    }
}
