//! How an erasure replaces the data of an event in the tables, and what came of it.
//!
//! An event's row is written anew without its data, at its place; so are the rows of its deliveries that have ended, as
//! far as they hold what a function wrote or said. What is pending for it ends in the same transaction, so that no
//! function gets an event without its data. Its dead letters hold copies of their own, which may have outlived the
//! event, so each is erased for itself. Never here: which events are selected.

use std::sync::Arc;

use super::dedupe;
use super::steps::Work;
use super::tables::{attempt_key, delivery_key, event_key, settled_key};
use crate::codec::delivery::Settled;
use crate::codec::{Reader, Table, delivery, event, unseal};
use crate::{Error, NewEvent};
use edgebus_model::{
    BusId, DeliveryKey, DiscardReason, Erased, ErasedCounts, EventRef, SkipReason, SubscriptionId,
};

impl Work<'_, '_> {
    /// Erases an event of the log and what came of it, or says why that can't be. What was pending for it is told in
    /// `ended`.
    pub(super) fn erase_event(
        &mut self,
        at: EventRef,
        erased: Erased,
        ended: &mut Vec<DeliveryKey>,
    ) -> Result<Result<ErasedCounts, SkipReason>, Error> {
        let EventRef { bus, position } = at;
        let row = event_key(bus, position);
        let Some(record) = self.tables.raw(Table::Events, &row)? else {
            return Ok(Err(SkipReason::Gone));
        };
        let read = |from: &mut Reader<'_>| event::read_stored(from, position);
        let stored = match unseal(Table::Events, &row, &record, read) {
            Ok(stored) if stored.event.erased().is_none() => stored,
            Ok(_) => return Ok(Err(SkipReason::Erased)),
            Err(corruption) => {
                self.corrupt.note(&corruption);
                return Ok(Err(SkipReason::Corrupt));
            }
        };
        let left = NewEvent {
            event: Arc::new(stored.event.erase(erased)),
            lineage: stored.lineage,
            subscriptions: stored.subscriptions,
            rules_version: stored.rules_version,
        };
        let bytes = self.tables.put_weighed(Table::Events, &row, |out| {
            event::write_stored(out, &left, stored.accepted_at);
        })?;
        let counts = self.pending.counters.bus(&self.memory.counters, bus);
        counts.bytes = (counts.bytes + bytes as u64).saturating_sub(record.len() as u64);
        let mut context = dedupe::Context {
            tables: &mut self.tables,
            prints: &self.memory.prints,
            corrupt: self.corrupt,
        };
        let print = self.memory.prints.of(bus, &left.event);
        self.dedupe
            .forget_content(&mut context, (bus, &print), position)?;
        let before = ended.len();
        self.end_pending(at, &left.subscriptions, erased, ended)?;
        let attempts = self.erase_ended(at, erased)?;
        self.release(bus, position)?;
        Ok(Ok(ErasedCounts {
            events: 1,
            attempts,
            deliveries: (ended.len() - before) as u64,
            ..ErasedCounts::default()
        }))
    }

    /// Ends what is pending for an event, live and of replays.
    fn end_pending(
        &mut self,
        at: EventRef,
        subscriptions: &[SubscriptionId],
        erased: Erased,
        ended: &mut Vec<DeliveryKey>,
    ) -> Result<(), Error> {
        #[cfg(any(test, feature = "testing"))]
        if crate::job::injected::PENDING_KEPT.get() {
            return Ok(());
        }
        let live = |subscription: &SubscriptionId| DeliveryKey {
            subscription: *subscription,
            replay: 0,
            position: at.position,
        };
        let mut keys: Vec<DeliveryKey> = subscriptions.iter().map(live).collect();
        keys.extend(self.replays_of(at.bus, at.position)?);
        for key in keys {
            let how = (erased.job, DiscardReason::Erased);
            if self.discard(key, erased.at, how)?.is_ok() {
                ended.push(key);
            }
        }
        Ok(())
    }

    /// Erases what the attempts of an event's deliveries said that have ended; how many attempts that were.
    fn erase_ended(&mut self, at: EventRef, erased: Erased) -> Result<u64, Error> {
        let mut count = 0;
        for own in self.ended(at.bus, at.position)? {
            if own.has_history {
                count += self.erase_attempts(own.key, erased)?;
            }
            let place = settled_key(at.bus, own.key);
            let read = |from: &mut Reader<'_>| delivery::read_settled(from, own.key);
            let Some(Settled::Succeeded(mut row)) = self.intact(Table::Settled, &place, read)?
            else {
                continue;
            };
            let last = row.delivery.attempts.last_mut();
            if last.is_some_and(|last| last.erase(erased)) {
                count += 1;
                self.tables.put(Table::Settled, &place, |out| {
                    delivery::write_settled(out, &row);
                })?;
            }
        }
        Ok(count)
    }

    /// Erases what attempts said that stand in rows of their own; how many that were.
    fn erase_attempts(&mut self, key: DeliveryKey, erased: Erased) -> Result<u64, Error> {
        let (from, to) = (attempt_key(key, 0), attempt_key(key, u32::MAX));
        let mut found = Vec::new();
        let corrupt = self.corrupt;
        self.tables
            .scan(Table::Attempts, &from, &to, |place, record| {
                match unseal(Table::Attempts, place, record, delivery::read_attempt) {
                    Ok(attempt) => found.push((place.to_vec(), attempt)),
                    Err(corruption) => corrupt.note(&corruption),
                }
                true
            })?;
        let mut count = 0;
        for (place, mut attempt) in found {
            if attempt.erase(erased) {
                count += 1;
                self.tables.put(Table::Attempts, &place, |out| {
                    delivery::write_attempt(out, &attempt);
                })?;
            }
        }
        Ok(count)
    }

    /// Erases a dead letter's copy of its event and what its attempts said, or says why that can't be.
    pub(super) fn erase_letter(
        &mut self,
        key: DeliveryKey,
        erased: Erased,
    ) -> Result<Result<ErasedCounts, SkipReason>, Error> {
        let mut letter = match self.letter(key)? {
            Ok(letter) if letter.event.erased().is_none() => letter,
            Ok(_) => return Ok(Err(SkipReason::Erased)),
            Err(reason) => return Ok(Err(reason)),
        };
        letter.event = Arc::new(letter.event.erase(erased));
        let last = letter.delivery.attempts.last_mut();
        let last = last.is_some_and(|last| last.erase(erased));
        self.tables
            .put(Table::DeadLetters, &delivery_key(key), |out| {
                delivery::write_dead(out, &letter);
            })?;
        let attempts = u64::from(last) + self.erase_attempts(key, erased)?;
        Ok(Ok(ErasedCounts {
            dead_letters: 1,
            attempts,
            ..ErasedCounts::default()
        }))
    }

    /// True if the log has the event of a delivery, and it was erased.
    pub(super) fn is_erased(&mut self, bus: BusId, key: DeliveryKey) -> Result<bool, Error> {
        let row = event_key(bus, key.position);
        let stored = self.intact(Table::Events, &row, |from| {
            event::read_stored(from, key.position)
        })?;
        Ok(stored.is_some_and(|stored| stored.event.erased().is_some()))
    }
}
