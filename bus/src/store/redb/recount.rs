//! Counters after corrupt records were moved: nobody knows what a lost row counted as, so its subscription
//! and its bus are counted again.
//!
//! Bounded: where there are more rows than a transaction should read, the counter stays as it was, and
//! `fsck` tells the difference. Never here: a row that is changed.

use std::collections::BTreeSet;

use super::steps::Work;
use super::tables::{delivery_key, delivery_of, event_key};
use crate::model::{BusId, DeliveryKey, Position, SubscriptionId};
use crate::store::codec::{Table, delivery, unseal};
use crate::store::{BusCounts, Counts, Error, Moved, RecordId};

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
                Some(Table::Counters) => {
                    let number = |key: &[u8]| <[u8; 4]>::try_from(key).ok().map(u32::from_be_bytes);
                    match id.key.split_first() {
                        Some((b'b', key)) => buses.extend(number(key)),
                        Some((b's', key)) => {
                            subscriptions.extend(number(key).map(SubscriptionId));
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        subscriptions.extend(moved.owed.iter().map(|(_, key)| key.subscription));
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

    /// Has the counter of this key written again, as memory knows it.
    pub(super) fn count_again(&mut self, key: &[u8]) {
        let Some((kind, number)) = key.split_first() else {
            return;
        };
        let Ok(number) = number.try_into().map(u32::from_be_bytes) else {
            return;
        };
        let known = &self.memory.counters;
        match kind {
            b'b' if self.known().buses.contains_key(&BusId(number)) => {
                self.pending.counters.bus(known, BusId(number));
            }
            b's' if self
                .known()
                .subscriptions
                .contains_key(&SubscriptionId(number)) =>
            {
                self.counts(SubscriptionId(number));
            }
            _ => {}
        }
    }

    fn recount_bus(&mut self, bus: BusId) -> Result<(), Error> {
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
        if counted.events <= ROWS_MAX {
            *self.pending.counters.bus(&self.memory.counters, bus) = counted;
        }
        Ok(())
    }

    fn recount_subscription(&mut self, id: SubscriptionId) -> Result<(), Error> {
        let end = |replay, position| {
            delivery_key(DeliveryKey {
                subscription: id,
                replay,
                position: Position(position),
            })
        };
        let (from, to) = (end(0, 0), end(u32::MAX, u64::MAX));
        let (mut counted, mut rows) = (Counts::default(), 0);
        self.tables
            .scan(Table::Deliveries, &from, &to, |key, record| {
                rows += 1;
                let read = unseal(Table::Deliveries, key, record, |from| {
                    delivery::read_pending(from, delivery_of(key)?)
                });
                // One that is corrupt is counted when it is moved.
                let due = read.is_ok_and(|pending| pending.due_at.is_some());
                *counted.owed_mut(due) += 1;
                rows <= ROWS_MAX
            })?;
        self.tables.scan(Table::DeadLetters, &from, &to, |_, _| {
            rows += 1;
            counted.dead += 1;
            rows <= ROWS_MAX
        })?;
        if rows <= ROWS_MAX {
            *self.counts(id) = counted;
        }
        Ok(())
    }
}
