//! How an erasure replaces the data of an event in memory, and what came of it.

use std::sync::Arc;

use super::retention::weight_of;
use super::{Data, Row};
use edgebus_model::{
    BusId, DeliveryKey, DiscardReason, Erased, ErasedCounts, EventRef, Position, SkipReason,
    SubscriptionId, Succeeded,
};

impl Data {
    /// Erases an event of the log and what came of it, or says why that can't be.
    pub(super) fn erase_event(
        &mut self,
        at: EventRef,
        erased: Erased,
        ended: &mut Vec<DeliveryKey>,
    ) -> Result<ErasedCounts, SkipReason> {
        let EventRef { bus, position } = at;
        let row = Row::Event(bus, position);
        let there = self
            .at(bus, position)
            .filter(|_| !self.aside.contains_key(&row));
        let before = there.ok_or(SkipReason::Gone)?.clone();
        if !self.is_intact(&row) {
            return Err(SkipReason::Corrupt);
        }
        if before.event.erased().is_some() {
            return Err(SkipReason::Erased);
        }
        let mut left = before.clone();
        left.event = Arc::new(before.event.erase(erased));
        let place = (bus, before.event.source.clone(), before.event.id.clone());
        if let Some((_, _, first)) = self
            .seen
            .get_mut(&place)
            .filter(|(known, ..)| *known == position)
        {
            first.clone_from(&left.event);
        }
        let log = self.logs.entry(bus).or_default();
        log.bytes = (log.bytes + weight_of(&left)).saturating_sub(weight_of(&before));
        log.events.insert(position, left);
        let pending = ended.len();
        self.end_pending(at, &before.subscriptions, erased, ended);
        let attempts = self.erase_ended(at, erased);
        self.release_event(bus, position);
        Ok(ErasedCounts {
            events: 1,
            attempts,
            deliveries: (ended.len() - pending) as u64,
            ..ErasedCounts::default()
        })
    }

    /// Ends what is pending for an event, live and of replays.
    fn end_pending(
        &mut self,
        at: EventRef,
        subscriptions: &[SubscriptionId],
        erased: Erased,
        ended: &mut Vec<DeliveryKey>,
    ) {
        #[cfg(any(test, feature = "testing"))]
        if crate::job::injected::PENDING_KEPT.get() {
            return;
        }
        let live = |subscription: &SubscriptionId| DeliveryKey {
            subscription: *subscription,
            replay: 0,
            position: at.position,
        };
        let mut keys: Vec<DeliveryKey> = subscriptions.iter().map(live).collect();
        let replayed = self.deliveries.keys().filter(|key| {
            key.replay > 0 && key.position == at.position && self.is_of(at.bus, key.subscription)
        });
        keys.extend(replayed);
        for key in keys {
            let how = (erased.job, DiscardReason::Erased);
            if self.discard(key, erased.at, how).is_ok() {
                ended.push(key);
            }
        }
    }

    fn is_of(&self, bus: BusId, subscription: SubscriptionId) -> bool {
        let known = self.known.subscriptions.get(&subscription);
        known.is_some_and(|known| known.bus == bus)
    }

    /// Erases what the attempts of an event's deliveries said that have ended; how many attempts that were.
    fn erase_ended(&mut self, at: EventRef, erased: Erased) -> u64 {
        let end =
            |subscription, replay| (at.bus, at.position, SubscriptionId(subscription), replay);
        let range = end(0, 0)..=end(u32::MAX, u32::MAX);
        let rows: Vec<Succeeded> = self
            .settled
            .range(range)
            .map(|(_, row)| row.clone())
            .collect();
        let mut count = 0;
        for mut row in rows {
            let key = row.delivery.key;
            if !self.is_intact(&Row::Settled(key)) {
                continue;
            }
            for attempt in &mut row.delivery.attempts {
                count += u64::from(attempt.erase(erased));
            }
            let place = self.place_of(key);
            self.settled.insert(place, row);
        }
        count
    }

    /// Erases a dead letter's copy of its event and what its attempts said, or says why that can't be.
    pub(super) fn erase_letter(
        &mut self,
        key: DeliveryKey,
        erased: Erased,
    ) -> Result<ErasedCounts, SkipReason> {
        let mut letter = self.letter(key)?.clone();
        if letter.event.erased().is_some() {
            return Err(SkipReason::Erased);
        }
        letter.event = Arc::new(letter.event.erase(erased));
        let attempts = letter.delivery.attempts.iter_mut();
        let attempts = attempts.map(|attempt| u64::from(attempt.erase(erased)));
        let attempts = attempts.sum();
        self.dead_letters.insert(key, letter);
        Ok(ErasedCounts {
            dead_letters: 1,
            attempts,
            ..ErasedCounts::default()
        })
    }

    /// True if the log has the event, and it was erased.
    pub(super) fn is_erased(&self, bus: BusId, position: Position) -> bool {
        let (stored, row) = (self.at(bus, position), Row::Event(bus, position));
        stored.is_some_and(|stored| stored.event.erased().is_some())
            && self.is_intact(&row)
            && !self.aside.contains_key(&row)
    }
}
