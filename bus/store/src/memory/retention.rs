//! Removal of what is kept no longer, as the durable store does it.

use std::collections::BTreeSet;

use super::{Data, Log, Row};
use crate::codec::{Table, event, seal_as};
use crate::retention::{BYTES_MAX, DESCENDANTS_MS, ROWS_MAX, keeps_count};
use crate::{Expire, NewEvent, StepOutcome, StoredEvent, Trim, Trimmed};
use edgebus_model::{BusId, DeliveryKey, EventRef, Position, SubscriptionId, Timestamp};

/// The bytes of an event's record.
pub(super) fn weight(new: &NewEvent, now: Timestamp) -> u64 {
    let mut record = Vec::with_capacity(256);
    let fill = |out: &mut Vec<u8>| event::write_stored(out, new, now);
    seal_as(
        crate::codec::RECORD_FORMAT,
        &mut record,
        Table::Events,
        &[],
        fill,
    );
    record.len() as u64
}

/// The bytes of a stored event's record.
pub(super) fn weight_of(stored: &StoredEvent) -> u64 {
    let new = NewEvent {
        event: stored.event.clone(),
        lineage: stored.lineage,
        subscriptions: stored.subscriptions.clone(),
        rules_version: stored.rules_version,
    };
    weight(&new, stored.accepted_at)
}

impl Data {
    pub(super) fn trim(&mut self, trim: &Trim) -> StepOutcome {
        let bus = trim.bus;
        if !self.known.buses.contains_key(&bus) {
            return StepOutcome::Denied(format!("there is no bus number {}", bus.0));
        }
        if self.known.is_other(trim.expected) {
            return StepOutcome::Stale;
        }
        let log = self.logs.entry(bus).or_default();
        let mut trimmed = Trimmed {
            floor: log.floor,
            ..Trimmed::default()
        };
        let mut oldest: Vec<StoredEvent> = Vec::new();
        let (mut looked, mut ended) = (0, true);
        for stored in log.events.range(log.floor..).map(|(_, row)| row) {
            if oldest.len() >= trim.events_max || looked >= BYTES_MAX as u64 {
                ended = false;
                break;
            }
            looked += weight_of(stored);
            oldest.push(stored.clone());
        }
        let is_corrupt = |stored: &StoredEvent| !self.intact(bus, stored.position);
        while oldest.last().is_some_and(is_corrupt) {
            oldest.pop();
        }
        let corrupt: BTreeSet<Position> = oldest
            .iter()
            .filter(|stored| is_corrupt(stored))
            .map(|stored| stored.position)
            .collect();
        let (mut rows, mut over) = (0, false);
        for (index, stored) in oldest.iter().enumerate() {
            // How old a corrupt one is, a later one tells.
            let known = oldest[index..]
                .iter()
                .find(|own| !corrupt.contains(&own.position));
            let accepted = known.map_or(stored.accepted_at, |own| own.accepted_at);
            let bytes = self.log(bus).bytes;
            over = accepted >= trim.accepted_before && bytes <= trim.bytes_max;
            if over || rows >= ROWS_MAX {
                break;
            }
            let position = stored.position;
            self.log(bus).floor = Position(position.0 + 1);
            if corrupt.contains(&position) || self.is_pending_for(bus, position) {
                trimmed.kept += 1;
                rows += 1;
                continue;
            }
            trimmed.events += 1;
            trimmed.bytes += weight_of(stored);
            rows += self.remove_event(bus, position);
        }
        let floor = self.log(bus).floor;
        let raised = floor > trimmed.floor;
        let last = oldest.last().map_or(Position(0), |last| last.position);
        trimmed.more = raised && !over && (!ended || floor <= last);
        trimmed.floor = floor;
        self.remove_counts(bus, trim.now);
        StepOutcome::Trimmed(trimmed)
    }

    fn log(&mut self, bus: BusId) -> &mut Log {
        self.logs.entry(bus).or_default()
    }

    /// True if something is pending for the event.
    fn is_pending_for(&self, bus: BusId, position: Position) -> bool {
        #[cfg(any(test, feature = "testing"))]
        if super::injected::PENDING_TRIMMED.get() {
            return false;
        }
        let of_bus = |id: &SubscriptionId| {
            let known = self.known.subscriptions.get(id);
            known.is_some_and(|known| known.bus == bus)
        };
        let mut pending = self.deliveries.keys();
        pending.any(|key| key.position == position && of_bus(&key.subscription))
    }

    /// Removes an event and what belongs to it; how many rows that were.
    fn remove_event(&mut self, bus: BusId, position: Position) -> usize {
        #[cfg(any(test, feature = "testing"))]
        if super::injected::FLOOR_ALONE.get() {
            return 1;
        }
        let removed = self.log(bus).events.remove(&position);
        let bytes = removed.as_ref().map_or(0, weight_of);
        let log = self.log(bus);
        log.bytes = log.bytes.saturating_sub(bytes);
        let first = (bus, position, SubscriptionId(0), 0);
        let last = (bus, position, SubscriptionId(u32::MAX), u32::MAX);
        let places: Vec<_> = self
            .settled
            .range(first..=last)
            .map(|(place, _)| *place)
            .collect();
        let mut rows = 1;
        for place in places {
            let row = self.settled.remove(&place);
            let attempts = row.map_or(0, |row| row.delivery.attempts.len());
            rows += attempts.max(1);
        }
        rows
    }

    /// Something that was pending for an event has ended: if retention has passed the event and this was the
    /// last of it, the event goes.
    pub(super) fn release(&mut self, key: DeliveryKey) {
        let known = self.known.subscriptions.get(&key.subscription);
        let Some(bus) = known.map(|known| known.bus) else {
            return;
        };
        self.release_event(bus, key.position);
    }

    /// The same for the event of some delivery that has ended.
    pub(super) fn release_event(&mut self, bus: BusId, position: Position) {
        let passed = self.logs.get(&bus).is_some_and(|log| position < log.floor);
        let there = self.at(bus, position).is_some() && self.is_intact(&Row::Event(bus, position));
        if passed && there && !self.is_pending_for(bus, position) {
            self.remove_event(bus, position);
        }
    }

    fn remove_counts(&mut self, bus: BusId, now: Timestamp) {
        let (uncounted, at) = self.log(bus).uncounted;
        let floor = self.log(bus).floor;
        let root = |position| EventRef { bus, position };
        let range = root(Position(0))..root(uncounted);
        let gone: Vec<_> = self
            .descendants
            .range(range)
            .filter(|(_, (count, grown_at))| !keeps_count(*count, *grown_at, now))
            .map(|(root, _)| *root)
            .collect();
        for root in gone {
            self.descendants.remove(&root);
        }
        if floor > Position(1) && at == Timestamp(0) {
            self.log(bus).uncounted = (uncounted, now);
        } else if floor > Position(1) && now.ms_since(at) >= DESCENDANTS_MS {
            self.log(bus).uncounted = (floor, now);
        }
    }

    pub(super) fn expire(&mut self, expire: &Expire) -> StepOutcome {
        if self.known.is_other(expire.expected) {
            return StepOutcome::Stale;
        }
        let mut expired = 0;
        for key in &expire.keys {
            let old = |died_at: Timestamp| died_at < expire.died_before;
            let there = self.dead_letters.get(key);
            if there.is_some_and(|letter| old(letter.died_at))
                && self.is_intact(&Row::DeadLetter(*key))
                && self.known.subscriptions.contains_key(&key.subscription)
            {
                self.dead_letters.remove(key);
                expired += 1;
            }
        }
        StepOutcome::Expired(expired)
    }
}
