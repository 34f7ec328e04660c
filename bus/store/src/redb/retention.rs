//! Removal of what is kept no longer: the oldest events of a bus with what belongs to them, and dead letters.
//!
//! The floor of a bus is raised in the transaction that removes the events below it. An event that something
//! is pending for stays there until the settlement that ends the last of it, which removes it in the same
//! transaction, so that nobody has to look for it. Nothing is read that is not removed, but for the events at
//! the end of a step. Never here: how long something is kept, or which bus's turn it is.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use super::catalog::{REMOVED_FORMAT, write_identity};
use super::heads::{FIRST, Head, write_head};
use super::steps::Work;
use super::tables::{attempt_key, delivery_key, event_key, position_of, settled_key, settled_of};
use crate::codec::delivery::Settled;
use crate::codec::{Table, delivery, event, unseal};
use crate::retention::{BYTES_MAX, DESCENDANTS_MAX, DESCENDANTS_MS, ROWS_MAX, keeps_count};
use crate::{Error, Expire, StepOutcome, Trim, Trimmed};
use edgebus_model::{BusId, DeliveryKey, Position, SubscriptionId, Timestamp};

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
            let floor = self.head(BusId(u32::from_be_bytes(*bus))).floor;
            (FIRST..floor).contains(&position.0)
        })
    }

    pub(super) fn trim(&mut self, trim: &Trim) -> Result<StepOutcome, Error> {
        let bus = trim.bus;
        if !self.known().buses.contains_key(&bus) {
            let reason = format!("there is no bus number {}", bus.0);
            return Ok(StepOutcome::Denied(reason));
        }
        if self.known().is_other(trim.expected) {
            return Ok(StepOutcome::Stale);
        }
        let mut head = self.head(bus);
        let (oldest, ended) = self.oldest(&head, bus, trim.events_max)?;
        let mut trimmed = Trimmed {
            floor: Position(head.floor),
            ..Trimmed::default()
        };
        let replayed = match (oldest.first(), oldest.last()) {
            (Some(first), Some(last)) => {
                self.forget_ended_replays()?;
                self.replayed(bus, first.position, last.position)?
            }
            _ => BTreeSet::new(),
        };
        let (mut rows, mut over) = (0, false);
        for event in &oldest {
            let counts = self.pending.counters.bus(&self.memory.counters, bus);
            over = event.accepted >= trim.accepted_before && counts.bytes <= trim.bytes_max;
            if over || rows >= ROWS_MAX {
                break;
            }
            // Positions without an event are in quarantine.
            let left = ROWS_MAX - rows;
            let (removed, reached) = self.remove_ended(bus, head.floor..event.position, left)?;
            rows += removed;
            if reached < event.position {
                head.floor = reached;
                break;
            }
            head.floor = event.position + 1;
            let ended = self.ended(bus, Position(event.position))?;
            let pending = replayed.contains(&event.position)
                || event.corrupt
                || self.has_live(bus, event, &ended)?;
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
        self.ended_from_to(bus, (position.0, position.0), usize::MAX)
    }

    /// The first rows among the successes of a range of events, both ends included; `rows_max` at most.
    fn ended_from_to(
        &mut self,
        bus: BusId,
        (first, last): (u64, u64),
        rows_max: usize,
    ) -> Result<Vec<Ended>, Error> {
        let end = |position, number| {
            let key = DeliveryKey {
                subscription: SubscriptionId(number),
                replay: number,
                position: Position(position),
            };
            settled_key(bus, key)
        };
        let (from, to) = (end(first, 0), end(last, u32::MAX));
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
                ended.len() < rows_max
            })?;
        Ok(ended)
    }

    /// Removes the rows among the successes of positions that have no event; how many rows that were, and before
    /// which position none is left.
    pub(super) fn remove_ended(
        &mut self,
        bus: BusId,
        positions: Range<u64>,
        rows_max: usize,
    ) -> Result<(usize, u64), Error> {
        if positions.is_empty() {
            return Ok((0, positions.end));
        }
        let range = (positions.start, positions.end - 1);
        let ended = self.ended_from_to(bus, range, rows_max)?;
        let reached = match ended.last() {
            Some(last) if ended.len() >= rows_max => last.key.position.0,
            _ => positions.end,
        };
        Ok((self.remove_rows(&ended)?, reached))
    }

    /// Removes these rows with the attempts that belong to them; how many rows that were.
    fn remove_rows(&mut self, ended: &[Ended]) -> Result<usize, Error> {
        let mut rows = ended.len();
        for own in ended {
            self.tables.remove(Table::Settled, &own.place)?;
            if own.has_history {
                rows += self.remove_attempts(own.key)?;
            }
        }
        Ok(rows)
    }

    /// True if a subscription that the event names may have its delivery pending.
    fn has_live(&mut self, bus: BusId, event: &Oldest, ended: &[Ended]) -> Result<bool, Error> {
        #[cfg(any(test, feature = "testing"))]
        if super::injected::PENDING_TRIMMED.get() {
            return Ok(false);
        }
        let ended: HashSet<DeliveryKey> = ended.iter().map(|own| own.key).collect();
        for subscription in &event.subscriptions {
            let key = DeliveryKey {
                subscription: *subscription,
                replay: 0,
                position: Position(event.position),
            };
            if !ended.contains(&key) && self.may_be_pending(bus, key)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes an event and what belongs to it; how many rows that were.
    pub(super) fn remove_event(
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
        Ok(1 + self.remove_rows(ended)?)
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

    /// Looks at counts of descendants of events that went some time ago, and removes those that have not grown for a
    /// while; true if the head has changed. Once an hour it begins again at the first of them.
    fn remove_counts(
        &mut self,
        bus: BusId,
        head: &mut Head,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let first = self.replays.counted.get(&bus).copied().unwrap_or(0);
        let (mut keys, mut looked, mut next) = (Vec::new(), 0, head.uncounted);
        if first < head.uncounted {
            let from = event_key(bus, Position(first));
            let to = event_key(bus, Position(head.uncounted - 1));
            self.tables
                .scan(Table::Descendants, &from, &to, |key, record| {
                    let read = unseal(Table::Descendants, key, record, event::read_descendants);
                    if !read.is_ok_and(|(count, grown_at)| keeps_count(count, grown_at, now)) {
                        keys.extend(<[u8; 12]>::try_from(key));
                    }
                    looked += 1;
                    if looked >= DESCENDANTS_MAX {
                        next = position_of(key).map_or(next, |at| at.0.saturating_add(1));
                    }
                    looked < DESCENDANTS_MAX
                })?;
        }
        for key in &keys {
            self.tables.remove(Table::Descendants, key)?;
        }
        self.replays.counted.insert(bus, next);
        if head.floor == FIRST {
            return Ok(false);
        }
        let begun = head.uncounted_at > Timestamp(0);
        let waited = now.ms_since(head.uncounted_at) >= DESCENDANTS_MS;
        if begun && (next < head.uncounted || !waited) {
            return Ok(false);
        }
        if begun {
            head.uncounted = head.floor;
            self.replays.counted.insert(bus, 0);
        }
        head.uncounted_at = now;
        Ok(true)
    }

    /// Removes those of the dead letters that died before a time. Of one whose event is still there, a row
    /// among the successes says that it was.
    pub(super) fn expire(&mut self, expire: &Expire) -> Result<StepOutcome, Error> {
        if self.known().is_other(expire.expected) {
            return Ok(StepOutcome::Stale);
        }
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
