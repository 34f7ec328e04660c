//! Counters: one row for each bus and each subscription, written once a transaction, with the rows that they
//! count.
//!
//! The writer keeps them in memory, so that a commit reads none. Never here: a sum that is made by reading
//! rows; only a migration and the check do that.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use super::catalog::numbered;
use super::corruption_log::CorruptionLog;
use super::tables::{ReadTx, Tables};
use crate::codec::{Reader, Table, Writer, unseal};
use crate::{BusCounts, Counts, Error};
use edgebus_model::{BusId, SubscriptionId};

/// Every counter, as of the last commit.
#[derive(Default)]
pub(super) struct Counters {
    buses: HashMap<BusId, BusCounts>,
    subscriptions: HashMap<SubscriptionId, Counts>,
    /// Over all subscriptions.
    totals: Counts,
}

/// The counters that a transaction changes, with their new values.
#[derive(Default)]
pub(super) struct Changed {
    buses: BTreeMap<BusId, BusCounts>,
    subscriptions: BTreeMap<SubscriptionId, Counts>,
    /// Subscriptions that were retired.
    gone: Vec<SubscriptionId>,
}

pub(super) fn write_bus(out: &mut Vec<u8>, counts: BusCounts) {
    out.u64(counts.events);
    out.u64(counts.bytes);
}

pub(super) fn read_bus(from: &mut Reader<'_>) -> Option<BusCounts> {
    Some(BusCounts {
        events: from.u64()?,
        bytes: from.u64()?,
    })
}

pub(super) fn write_subscription(out: &mut Vec<u8>, counts: Counts) {
    out.u64(counts.pending);
    out.u64(counts.waiting);
    out.u64(counts.dead);
}

pub(super) fn read_subscription(from: &mut Reader<'_>) -> Option<Counts> {
    Some(Counts {
        pending: from.u64()?,
        waiting: from.u64()?,
        dead: from.u64()?,
    })
}

pub(super) fn bus_key(bus: BusId) -> [u8; 5] {
    numbered(b'b', bus.0)
}

pub(super) fn subscription_key(subscription: SubscriptionId) -> [u8; 5] {
    numbered(b's', subscription.0)
}

impl Counters {
    /// Reads all counters. A corrupt one is noted and counts from 0; the check tells the difference.
    pub(super) fn load(rows: &ReadTx, corrupt: &CorruptionLog) -> Result<Self, Error> {
        let mut counters = Self::default();
        let (from, to) = (Bound::Unbounded, Bound::Unbounded);
        rows.scan(Table::Counters, from, to, |key, record| {
            let read = unseal(Table::Counters, key, record, |from| {
                let (kind, number) = key.split_first()?;
                let number = u32::from_be_bytes(number.try_into().ok()?);
                match kind {
                    b'b' => {
                        let counts = read_bus(from)?;
                        counters.buses.insert(BusId(number), counts);
                    }
                    b's' => {
                        let counts = read_subscription(from)?;
                        let id = SubscriptionId(number);
                        counters.subscriptions.insert(id, counts);
                        counters.totals = counters.totals.moved(Counts::default(), counts);
                    }
                    _ => return None,
                }
                Some(())
            });
            if let Err(corruption) = read {
                corrupt.note(&corruption);
            }
            true
        })?;
        Ok(counters)
    }

    /// Takes over what a committed transaction changed.
    pub(super) fn absorb(&mut self, changed: Changed) {
        self.buses.extend(changed.buses);
        for (id, after) in changed.subscriptions {
            let before = self.subscriptions.insert(id, after).unwrap_or_default();
            self.totals = self.totals.moved(before, after);
        }
        for id in changed.gone {
            let before = self.subscriptions.remove(&id).unwrap_or_default();
            self.totals = self.totals.moved(before, Counts::default());
        }
    }

    /// The sums over all subscriptions.
    pub(super) fn totals(&self) -> Counts {
        self.totals
    }
}

impl Changed {
    /// A bus's counter, to be changed.
    pub(super) fn bus(&mut self, known: &Counters, bus: BusId) -> &mut BusCounts {
        let before = || known.buses.get(&bus).copied().unwrap_or_default();
        self.buses.entry(bus).or_insert_with(before)
    }

    /// A subscription's counter, to be changed.
    pub(super) fn subscription(&mut self, known: &Counters, id: SubscriptionId) -> &mut Counts {
        let before = || known.subscriptions.get(&id).copied().unwrap_or_default();
        self.subscriptions.entry(id).or_insert_with(before)
    }

    /// Lets go of the counter of a subscription that was retired: it has nothing to count any more.
    pub(super) fn forget(&mut self, id: SubscriptionId) {
        self.subscriptions.remove(&id);
        self.gone.push(id);
    }

    /// Writes the rows of what changed.
    pub(super) fn write(&self, tables: &mut Tables<'_>) -> Result<(), Error> {
        for (bus, counts) in &self.buses {
            tables.put(Table::Counters, &bus_key(*bus), |out| {
                write_bus(out, *counts)
            })?;
        }
        for (id, counts) in &self.subscriptions {
            tables.put(Table::Counters, &subscription_key(*id), |out| {
                write_subscription(out, *counts);
            })?;
        }
        for id in &self.gone {
            tables.remove(Table::Counters, &subscription_key(*id))?;
        }
        Ok(())
    }
}
