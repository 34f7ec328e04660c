//! What may still be pending of events that retention has passed: the writer remembers it, so that the end of one
//! delivery of an event with many looks at few rows.
//!
//! It is a memory and no truth. What is named here may have ended; the transaction looks. What may be pending of a
//! remembered event is named, because whoever makes a delivery pending adds it. An event that is not remembered is found
//! out about anew. Never here: what is removed of an event.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::aside::is_aside;
use super::quarantine::MISSING;
use super::steps::Work;
use super::tables::{delivery_key, delivery_of, event_key, position_of, stages};
use crate::Error;
use crate::codec::{CorruptRecord, Table, event, is_intact, unseal};
use edgebus_model::{BusId, DeliveryKey, Position, SubscriptionId};

/// Deliveries that are remembered, of all events.
const KEYS_MAX: usize = 262_144;

/// An event.
type Place = (BusId, Position);

/// Deliveries that may be pending, by their events.
#[derive(Debug, Default)]
pub(super) struct Unended {
    events: HashMap<Place, Vec<DeliveryKey>>,
    keys: usize,
}

impl Unended {
    /// Takes what is remembered of an event.
    pub(super) fn take(&mut self, place: Place) -> Option<Vec<DeliveryKey>> {
        let keys = self.events.remove(&place)?;
        self.keys -= keys.len();
        Some(keys)
    }

    /// Remembers of an event what may be pending.
    pub(super) fn put(&mut self, place: Place, keys: Vec<DeliveryKey>) {
        self.take(place);
        if self.keys.saturating_add(keys.len()) > KEYS_MAX {
            self.clear();
        }
        if keys.len() <= KEYS_MAX {
            self.keys += keys.len();
            self.events.insert(place, keys);
        }
    }

    /// A delivery is pending from now on.
    pub(super) fn add(&mut self, bus: BusId, key: DeliveryKey) {
        if let Some(keys) = self.events.get_mut(&(bus, key.position)) {
            keys.push(key);
            self.keys += 1;
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.keys = 0;
    }
}

/// What the writer remembers between removals: the subscriptions that may have deliveries of a replay pending, with the
/// replay's number; more than there are is no harm. Live deliveries are named by their event, those of replays are not.
#[derive(Debug, Default)]
pub(super) struct Replays {
    pending: Option<BTreeSet<(SubscriptionId, u32)>>,
    /// Of events that retention has passed.
    pub(super) unended: Unended,
    /// Before which positions the counts of descendants were looked at since the mark of the bus was raised.
    pub(super) counted: BTreeMap<BusId, u64>,
}

impl Replays {
    /// Subscriptions and replays that may have something pending.
    #[cfg(test)]
    pub(super) fn replays_known(&self) -> usize {
        self.pending.as_ref().map_or(0, BTreeSet::len)
    }

    /// A delivery is pending.
    pub(super) fn add(&mut self, key: DeliveryKey) {
        if key.replay > 0
            && let Some(known) = &mut self.pending
        {
            known.insert((key.subscription, key.replay));
        }
    }
}

impl Work<'_, '_> {
    /// False of a delivery that has ended. One that is nowhere counts as pending, for a corrupt key may hide its row:
    /// it is noted, and quarantine finds it or ends it.
    pub(super) fn may_be_pending(&mut self, bus: BusId, key: DeliveryKey) -> Result<bool, Error> {
        #[cfg(any(test, feature = "testing"))]
        super::injected::LOOKED_AT.set(super::injected::LOOKED_AT.get() + 1);
        for (table, row) in stages(bus, key) {
            if self.tables.has(table, &row)? {
                return Ok(table == Table::Deliveries);
            }
        }
        // That of a replay is named by nothing, so that nothing says that it should be there.
        if key.replay > 0 || !self.known().subscriptions.contains_key(&key.subscription) {
            return Ok(false);
        }
        for (table, row) in stages(bus, key) {
            if is_aside(&mut self.tables, table, &row)? {
                return Ok(false);
            }
        }
        let row = delivery_key(key);
        self.corrupt
            .note(&CorruptRecord::new(Table::Deliveries, &row, MISSING));
        Ok(true)
    }

    /// Lets go of replays that have nothing pending any more.
    pub(super) fn forget_ended_replays(&mut self) -> Result<(), Error> {
        let Some(mut all) = self.replays.pending.take() else {
            return Ok(());
        };
        let mut ended = Vec::new();
        for (subscription, replay) in &all {
            let end = |position| {
                delivery_key(DeliveryKey {
                    subscription: *subscription,
                    replay: *replay,
                    position: Position(position),
                })
            };
            let mut any = false;
            self.tables
                .scan(Table::Deliveries, &end(0), &end(u64::MAX), |_, _| {
                    any = true;
                    false
                })?;
            if !any {
                ended.push((*subscription, *replay));
            }
        }
        for own in ended {
            all.remove(&own);
        }
        self.replays.pending = Some(all);
        Ok(())
    }

    /// The deliveries of replays that are pending for an event.
    pub(super) fn replays_of(
        &mut self,
        bus: BusId,
        position: Position,
    ) -> Result<Vec<DeliveryKey>, Error> {
        let all = match self.replays.pending.take() {
            Some(all) => all,
            None => self.find_replays()?,
        };
        let mut keys = Vec::new();
        for (subscription, replay) in &all {
            let known = self.known().subscriptions.get(subscription);
            let key = DeliveryKey {
                subscription: *subscription,
                replay: *replay,
                position,
            };
            if known.is_some_and(|known| known.bus == bus)
                && self.tables.has(Table::Deliveries, &delivery_key(key))?
            {
                keys.push(key);
            }
        }
        self.replays.pending = Some(all);
        Ok(keys)
    }

    /// The positions in a range whose events have deliveries of a replay pending.
    pub(super) fn replayed(
        &mut self,
        bus: BusId,
        from: u64,
        to: u64,
    ) -> Result<BTreeSet<u64>, Error> {
        let all = match self.replays.pending.take() {
            Some(all) => all,
            None => self.find_replays()?,
        };
        let mut positions = BTreeSet::new();
        for (subscription, replay) in &all {
            let known = self.known().subscriptions.get(subscription);
            if known.is_none_or(|known| known.bus != bus) {
                continue;
            }
            let end = |position| {
                delivery_key(DeliveryKey {
                    subscription: *subscription,
                    replay: *replay,
                    position: Position(position),
                })
            };
            self.tables
                .scan(Table::Deliveries, &end(from), &end(to), |key, _| {
                    positions.extend(position_of(key).map(|position| position.0));
                    true
                })?;
        }
        self.replays.pending = Some(all);
        Ok(positions)
    }

    /// Finds them in the store, with one look for each subscription and replay that has something pending.
    fn find_replays(&mut self) -> Result<BTreeSet<(SubscriptionId, u32)>, Error> {
        let mut found = BTreeSet::new();
        let mut after = [0; 16];
        loop {
            let mut next = None;
            self.tables
                .scan_behind(Table::Deliveries, &after, |key, record| {
                    // A key with a flipped bit would lead behind others.
                    let intact = is_intact(Table::Deliveries, key, record);
                    next = delivery_of(key).filter(|_| intact);
                    next.is_none()
                })?;
            let Some(DeliveryKey {
                subscription,
                replay,
                ..
            }) = next
            else {
                return Ok(found);
            };
            if replay > 0 {
                found.insert((subscription, replay));
            }
            after = delivery_key(DeliveryKey {
                subscription,
                replay,
                position: Position(u64::MAX),
            });
        }
    }

    /// Something that was pending for an event has ended: if retention has passed the event and this was the
    /// last of it, the event goes.
    pub(super) fn release(&mut self, bus: BusId, position: Position) -> Result<(), Error> {
        if position.0 >= self.head(bus).floor {
            return Ok(());
        }
        let place = (bus, position);
        let mut keys = match self.replays.unended.take(place) {
            Some(keys) => keys,
            None => match self.unended(bus, position)? {
                Some(keys) => keys,
                None => return Ok(()),
            },
        };
        // What has ended does not begin again without being named anew.
        while let Some(key) = keys.last().copied() {
            if self.may_be_pending(bus, key)? {
                self.replays.unended.put(place, keys);
                return Ok(());
            }
            keys.pop();
        }
        let record = self.tables.raw(Table::Events, &event_key(bus, position))?;
        let bytes = record.map_or(0, |record| record.len());
        let ended = self.ended(bus, position)?;
        self.remove_event(bus, position, bytes, &ended).map(|_| ())
    }

    /// The deliveries that an event below the floor may have pending; `None` if it stays as it is.
    fn unended(
        &mut self,
        bus: BusId,
        position: Position,
    ) -> Result<Option<Vec<DeliveryKey>>, Error> {
        let key = event_key(bus, position);
        let Some(record) = self.tables.raw(Table::Events, &key)? else {
            // It is in quarantine, and what has ended of it is of no use to anyone.
            let positions = position.0..position.0.saturating_add(1);
            self.remove_ended(bus, positions, usize::MAX)?;
            return Ok(None);
        };
        // A corrupt one is moved to quarantine first.
        let read = unseal(Table::Events, &key, &record, event::read_start);
        let Ok((_, subscriptions)) = read else {
            return Ok(None);
        };
        let live = subscriptions.into_iter().map(|subscription| DeliveryKey {
            subscription,
            replay: 0,
            position,
        });
        let mut keys: Vec<DeliveryKey> = live.collect();
        keys.extend(self.replays_of(bus, position)?);
        Ok(Some(keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgebus_model::SubscriptionId;

    fn key(subscription: u32, position: u64) -> DeliveryKey {
        DeliveryKey {
            subscription: SubscriptionId(subscription),
            replay: 0,
            position: Position(position),
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut unended = Unended::default();
        for position in 0..100 {
            let keys = (0..10_000).map(|subscription| key(subscription, position));
            unended.put((BusId(1), Position(position)), keys.collect());
            let held: usize = unended.events.values().map(Vec::len).sum();
            assert_eq!(unended.keys, held);
            assert!(held <= KEYS_MAX, "{held}");
        }
        unended.add(BusId(1), key(10_000, 99));
        unended.add(BusId(1), key(0, 7_777));
        assert_eq!(
            unended.take((BusId(1), Position(99))).unwrap().len(),
            10_001
        );
        assert_eq!(unended.take((BusId(1), Position(7_777))), None);
        unended.clear();
        assert_eq!(unended.keys, 0);
    }
}
