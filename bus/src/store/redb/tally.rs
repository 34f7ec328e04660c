//! Counters held against the rows that they count, in one snapshot.
//!
//! The check counts what it sees. A row that can't be read leaves open where it counts and what it weighed,
//! so that its subscription or its bus's bytes are not judged; its own harm is told anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::counters::{bus_key, read_bus, read_subscription, subscription_key};
use super::tables::{Snapshot, delivery_of};
use crate::model::{BusId, SubscriptionId};
use crate::store::codec::{Harm, Table, delivery, unseal};
use crate::store::{BusCounts, Counts, Error};

/// What the counters must say.
#[derive(Debug, Default)]
pub(super) struct Tally {
    buses: BTreeMap<BusId, BusCounts>,
    subscriptions: BTreeMap<SubscriptionId, Counts>,
    /// Buses with an event whose record is not what was counted.
    unweighed: BTreeSet<BusId>,
    /// Subscriptions with a row that can't be read.
    unsure: BTreeSet<SubscriptionId>,
}

impl Tally {
    /// Counts a row.
    pub(super) fn count(&mut self, table: Table, key: &[u8], record: &[u8]) {
        match table {
            Table::Events => {
                let Some(bus) = key.first_chunk::<4>() else {
                    return;
                };
                let bus = BusId(u32::from_be_bytes(*bus));
                let counts = self.buses.entry(bus).or_default();
                counts.events += 1;
                counts.bytes += record.len() as u64;
                let sound = unseal(table, key, record, |from| {
                    from.rest();
                    Some(())
                });
                if sound.is_err() {
                    self.unweighed.insert(bus);
                }
            }
            Table::Deliveries => {
                let Some(key_of) = delivery_of(key) else {
                    return;
                };
                let id = key_of.subscription;
                let read = unseal(table, key, record, |from| {
                    delivery::read_pending(from, key_of)
                });
                let counts = self.subscriptions.entry(id).or_default();
                match read {
                    Ok(row) => *counts.owed_mut(row.due_at.is_some()) += 1,
                    Err(_) => {
                        self.unsure.insert(id);
                    }
                }
            }
            Table::DeadLetters => {
                if let Some(key) = delivery_of(key) {
                    self.subscriptions.entry(key.subscription).or_default().dead += 1;
                }
            }
            _ => {}
        }
    }

    /// Tells each counter that differs, missing ones and superfluous ones included.
    pub(super) fn compare(&self, rows: &Snapshot, lost: &mut dyn FnMut(Harm)) -> Result<(), Error> {
        let differs = "disagrees with the rows that it counts";
        let mut keys: BTreeSet<[u8; 5]> = self.buses.keys().map(|bus| bus_key(*bus)).collect();
        keys.extend(self.subscriptions.keys().map(|id| subscription_key(*id)));
        let (from, to) = (Bound::Unbounded, Bound::Unbounded);
        rows.scan(Table::Counters, from, to, |key, _| {
            keys.extend(<[u8; 5]>::try_from(key));
            true
        })?;
        for key in keys {
            let (kind, number) = (key[0], [key[1], key[2], key[3], key[4]]);
            let number = u32::from_be_bytes(number);
            let same = if kind == b'b' {
                let bus = BusId(number);
                let counted = self.buses.get(&bus).copied();
                let row = rows.get(Table::Counters, &key, read_bus)?;
                row.map_or(Ok(counted.is_none()), |row| {
                    let counted = counted.unwrap_or_default();
                    let weighed = !self.unweighed.contains(&bus);
                    row.map(|row| {
                        row.events == counted.events && (row.bytes == counted.bytes || !weighed)
                    })
                })
            } else {
                let id = SubscriptionId(number);
                if self.unsure.contains(&id) {
                    continue;
                }
                let counted = self.subscriptions.get(&id).copied();
                rows.get(Table::Counters, &key, read_subscription)?
                    .map_or(Ok(counted.is_none()), |row| {
                        row.map(|row| row == counted.unwrap_or_default())
                    })
            };
            // One that can't be read has been told already.
            if same == Ok(false) {
                lost(Harm::new(Table::Counters, &key, differs));
            }
        }
        Ok(())
    }
}
