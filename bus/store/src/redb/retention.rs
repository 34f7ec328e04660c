//! Removal of what is kept no longer: the oldest events of a bus with what belongs to them, and dead letters.
//!
//! The floor of a bus is raised in the transaction that removes the events below it. An event that something
//! is pending for stays there until the settlement that ends the last of it, which removes it in the same
//! transaction, so that nobody has to look for it. Nothing is read that is not removed, but for the events at
//! the end of a step. Never here: how long something is kept, or which bus's turn it is.

use std::collections::BTreeSet;

use super::catalog::{REMOVED_FORMAT, write_identity};
use super::heads::{FIRST, Head, write_head};
use super::steps::Work;
use super::tables::{
    attempt_key, delivery_key, delivery_of, event_key, position_of, settled_key, settled_of,
};
use crate::codec::delivery::Settled;
use crate::codec::{Table, delivery, event, is_intact, unseal};
use crate::retention::{BYTES_MAX, DESCENDANTS_MAX, DESCENDANTS_MS, ROWS_MAX};
use crate::{Error, Expire, StepOutcome, Trim, Trimmed};
use edgebus_model::{BusId, DeliveryKey, Position, SubscriptionId, Timestamp};

/// The subscriptions that may have deliveries of a replay pending, with the replay's number; more than there
/// are is no harm. Live deliveries are named by their event, those of replays are not.
#[derive(Debug, Default)]
pub(super) struct Replays(Option<BTreeSet<(SubscriptionId, u32)>>);

impl Replays {
    /// A delivery is pending.
    pub(super) fn add(&mut self, key: DeliveryKey) {
        if key.replay > 0
            && let Some(known) = &mut self.0
        {
            known.insert((key.subscription, key.replay));
        }
    }
}

/// An event at the end of the log.
struct Oldest {
    position: u64,
    /// When it was accepted, or a later one if its record is corrupt.
    accepted: Timestamp,
    corrupt: bool,
    bytes: usize,
    subscriptions: Vec<SubscriptionId>,
}

/// A row among the successes of an event.
pub(super) struct Ended {
    place: [u8; 20],
    pub(super) key: DeliveryKey,
    /// True if it has attempts in rows of their own, or that can't be said.
    pub(super) has_history: bool,
}

impl Work<'_, '_> {
    /// The format that the store has.
    pub(super) fn format(&self) -> u32 {
        self.pending.format.unwrap_or(self.memory.format)
    }

    /// From here on a release that does not know this format refuses the store.
    pub(super) fn raise_format(&mut self, format: u32) -> Result<(), Error> {
        if self.format() >= format {
            return Ok(());
        }
        self.pending.format = Some(format);
        let mut identity = self.identity.clone();
        identity.format = format;
        write_identity(&mut self.tables, &identity)
    }

    pub(super) fn is_below_floor(&self, key: &[u8]) -> bool {
        let place = key.first_chunk::<4>().zip(position_of(key));
        place.is_some_and(|(bus, position)| {
            position.0 < self.head(BusId(u32::from_be_bytes(*bus))).floor
        })
    }

    pub(super) fn trim(&mut self, trim: &Trim) -> Result<StepOutcome, Error> {
        let bus = trim.bus;
        if !self.known().buses.contains_key(&bus) {
            let reason = format!("there is no bus number {}", bus.0);
            return Ok(StepOutcome::Denied(reason));
        }
        let mut head = self.head(bus);
        let (oldest, ended) = self.oldest(&head, bus, trim.events_max)?;
        let mut trimmed = Trimmed {
            floor: Position(head.floor),
            ..Trimmed::default()
        };
        let replayed = match (oldest.first(), oldest.last()) {
            (Some(first), Some(last)) => self.replayed(bus, first.position, last.position)?,
            _ => BTreeSet::new(),
        };
        let (mut rows, mut over) = (0, false);
        for event in &oldest {
            let counts = self.pending.counters.bus(&self.memory.counters, bus);
            over = event.accepted >= trim.accepted_before && counts.bytes <= trim.bytes_max;
            if over || rows >= ROWS_MAX {
                break;
            }
            head.floor = event.position + 1;
            let ended = self.ended(bus, Position(event.position))?;
            let pending = replayed.contains(&event.position)
                || event.corrupt
                || self.has_live(Position(event.position), &event.subscriptions, &ended)?;
            if pending {
                trimmed.kept += 1;
                rows += 1 + ended.len() + event.subscriptions.len();
                continue;
            }
            rows += self.remove_event(bus, Position(event.position), event.bytes, &ended)?;
            trimmed.events += 1;
            trimmed.bytes += event.bytes as u64;
        }
        let raised = head.floor > trimmed.floor.0;
        let last = oldest.last().map_or(0, |last| last.position);
        trimmed.more = raised && !over && (!ended || head.floor <= last);
        trimmed.floor = Position(head.floor);
        if raised {
            self.raise_format(REMOVED_FORMAT)?;
            self.dedupe.keep(&mut self.tables, bus, head.floor - 1)?;
        }
        let cleared = self.remove_counts(bus, &mut head, trim.now)?;
        if raised || cleared {
            // What is read later in this transaction must know it.
            write_head(&mut self.tables, bus, &head)?;
            self.pending.heads.insert(bus, head);
        }
        Ok(StepOutcome::Trimmed(trimmed))
    }

    /// The events from the floor on, as many as one step looks at, and whether the log ends with them. The last
    /// one is intact: how old a corrupt one is, a later one tells.
    fn oldest(
        &mut self,
        head: &Head,
        bus: BusId,
        events_max: usize,
    ) -> Result<(Vec<Oldest>, bool), Error> {
        let from = event_key(bus, Position(head.floor));
        let to = event_key(bus, Position(u64::MAX));
        let (mut oldest, mut bytes, mut ended) = (Vec::new(), 0, true);
        let corrupt = self.corrupt;
        self.tables.scan(Table::Events, &from, &to, |key, record| {
            if oldest.len() >= events_max || bytes >= BYTES_MAX {
                ended = false;
                return false;
            }
            let Some(position) = position_of(key) else {
                return true;
            };
            bytes += record.len();
            let read = unseal(Table::Events, key, record, event::read_start);
            let is_corrupt = read.is_err();
            let (accepted, subscriptions) = read.unwrap_or_else(|corruption| {
                corrupt.note(&corruption);
                (Timestamp(0), Vec::new())
            });
            oldest.push(Oldest {
                position: position.0,
                accepted,
                corrupt: is_corrupt,
                bytes: record.len(),
                subscriptions,
            });
            true
        })?;
        while oldest.last().is_some_and(|last| last.corrupt) {
            oldest.pop();
        }
        let mut later = Timestamp(0);
        for event in oldest.iter_mut().rev() {
            if event.corrupt {
                event.accepted = later;
            }
            later = event.accepted;
        }
        Ok((oldest, ended))
    }

    /// The rows among the successes of an event.
    pub(super) fn ended(&mut self, bus: BusId, position: Position) -> Result<Vec<Ended>, Error> {
        let end = |subscription, replay| {
            let subscription = SubscriptionId(subscription);
            let key = DeliveryKey {
                subscription,
                replay,
                position,
            };
            settled_key(bus, key)
        };
        let (from, to) = (end(0, 0), end(u32::MAX, u32::MAX));
        let mut ended = Vec::new();
        self.tables
            .scan(Table::Settled, &from, &to, |place, record| {
                let Some((place, (_, key))) =
                    <[u8; 20]>::try_from(place).ok().zip(settled_of(place))
                else {
                    return true;
                };
                let read = unseal(Table::Settled, &place, record, |from| {
                    delivery::read_settled(from, key)
                });
                let has_history = match read {
                    // The last attempt of a success stands in its own row.
                    Ok(Settled::Succeeded(row)) => {
                        row.delivery.attempts_made > u32::from(row.discarded.is_none())
                    }
                    Ok(Settled::Expired) => false,
                    Err(_) => true,
                };
                ended.push(Ended {
                    place,
                    key,
                    has_history,
                });
                true
            })?;
        Ok(ended)
    }

    /// True if a subscription that the event names has its delivery pending.
    fn has_live(
        &mut self,
        position: Position,
        subscriptions: &[SubscriptionId],
        ended: &[Ended],
    ) -> Result<bool, Error> {
        #[cfg(any(test, feature = "testing"))]
        if super::injected::PENDING_TRIMMED.get() {
            return Ok(false);
        }
        for subscription in subscriptions {
            let key = DeliveryKey {
                subscription: *subscription,
                replay: 0,
                position,
            };
            let has_ended = ended.iter().any(|own| own.key == key);
            if !has_ended && self.tables.has(Table::Deliveries, &delivery_key(key))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The positions in a range whose events have deliveries of a replay pending.
    fn replayed(&mut self, bus: BusId, from: u64, to: u64) -> Result<BTreeSet<u64>, Error> {
        let pending = self.pending_replays(bus, from, to)?;
        Ok(pending.into_iter().map(|key| key.position.0).collect())
    }

    /// The deliveries of replays that are pending for events in a range.
    pub(super) fn pending_replays(
        &mut self,
        bus: BusId,
        from: u64,
        to: u64,
    ) -> Result<Vec<DeliveryKey>, Error> {
        let all = match self.replays.0.take() {
            Some(all) => all,
            None => self.find_replays()?,
        };
        let mut pending = Vec::new();
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
                    pending.extend(delivery_of(key));
                    true
                })?;
        }
        self.replays.0 = Some(all);
        Ok(pending)
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

    /// Removes an event and what belongs to it; how many rows that were.
    fn remove_event(
        &mut self,
        bus: BusId,
        position: Position,
        bytes: usize,
        ended: &[Ended],
    ) -> Result<usize, Error> {
        #[cfg(any(test, feature = "testing"))]
        if super::injected::FLOOR_ALONE.get() {
            return Ok(1);
        }
        self.tables
            .remove(Table::Events, &event_key(bus, position))?;
        let counts = self.pending.counters.bus(&self.memory.counters, bus);
        counts.events = counts.events.saturating_sub(1);
        counts.bytes = counts.bytes.saturating_sub(bytes as u64);
        let mut rows = 1 + ended.len();
        for own in ended {
            self.tables.remove(Table::Settled, &own.place)?;
            if own.has_history {
                rows += self.remove_attempts(own.key)?;
            }
        }
        Ok(rows)
    }

    /// Removes the attempts of a delivery that stand in rows of their own.
    pub(super) fn remove_attempts(&mut self, key: DeliveryKey) -> Result<usize, Error> {
        let (from, to) = (attempt_key(key, 0), attempt_key(key, u32::MAX));
        let mut places: Vec<[u8; 20]> = Vec::new();
        self.tables.scan(Table::Attempts, &from, &to, |place, _| {
            places.extend(<[u8; 20]>::try_from(place));
            true
        })?;
        for place in &places {
            self.tables.remove(Table::Attempts, place)?;
        }
        Ok(places.len())
    }

    /// Something that was pending for an event has ended: if retention has passed the event and this was the
    /// last of it, the event goes.
    pub(super) fn release(&mut self, bus: BusId, position: Position) -> Result<(), Error> {
        if position.0 >= self.head(bus).floor {
            return Ok(());
        }
        let key = event_key(bus, position);
        let Some(record) = self.tables.raw(Table::Events, &key)? else {
            return Ok(());
        };
        let Ok((_, subscriptions)) = unseal(Table::Events, &key, &record, event::read_start) else {
            // It is moved to quarantine first.
            return Ok(());
        };
        let ended = self.ended(bus, position)?;
        if self.has_live(position, &subscriptions, &ended)?
            || !self.replayed(bus, position.0, position.0)?.is_empty()
        {
            return Ok(());
        }
        self.remove_event(bus, position, record.len(), &ended)
            .map(|_| ())
    }

    /// Removes counts of descendants of events that went some time ago; true if the head has changed.
    fn remove_counts(
        &mut self,
        bus: BusId,
        head: &mut Head,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let (from, to) = (
            event_key(bus, Position(0)),
            event_key(bus, Position(head.uncounted - 1)),
        );
        let mut keys: Vec<[u8; 12]> = Vec::new();
        self.tables.scan(Table::Descendants, &from, &to, |key, _| {
            keys.extend(<[u8; 12]>::try_from(key));
            keys.len() < DESCENDANTS_MAX
        })?;
        for key in &keys {
            self.tables.remove(Table::Descendants, key)?;
        }
        if head.floor > FIRST && head.uncounted_at == Timestamp(0) {
            head.uncounted_at = now;
            return Ok(true);
        }
        let due = head.uncounted < head.floor
            && keys.len() < DESCENDANTS_MAX
            && now.ms_since(head.uncounted_at) >= DESCENDANTS_MS;
        if due {
            head.uncounted = head.floor;
            head.uncounted_at = now;
        }
        Ok(due)
    }

    /// Removes those of the dead letters that died before a time. Of one whose event is still there, a row
    /// among the successes says that it was.
    pub(super) fn expire(&mut self, expire: &Expire) -> Result<StepOutcome, Error> {
        let mut expired = 0;
        for key in &expire.keys {
            let row = delivery_key(*key);
            let letter = self.intact(Table::DeadLetters, &row, |from| {
                delivery::read_dead(from, *key)
            })?;
            let Some(letter) = letter.filter(|letter| letter.died_at < expire.died_before) else {
                continue;
            };
            let known = self.known().subscriptions.get(&key.subscription);
            let Some(bus) = known.map(|known| known.bus) else {
                continue;
            };
            self.forget_letter(*key)?;
            if self
                .tables
                .has(Table::Events, &event_key(bus, key.position))?
            {
                self.raise_format(REMOVED_FORMAT)?;
                let pending = letter.delivery.pending();
                self.tables
                    .put(Table::Settled, &settled_key(bus, *key), |out| {
                        delivery::write_expired(out, &pending, expire.now);
                    })?;
            }
            expired += 1;
        }
        Ok(StepOutcome::Expired(expired))
    }
}
