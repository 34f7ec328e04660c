//! How events are delivered again in memory, and how live deliveries are skipped.

use super::{Data, Row};
use crate::job::{self, cannot_run};
use edgebus_model::{
    Delivery, DeliveryKey, DiscardReason, JobId, JobResult, Pending, Position, SkipReason,
    Timestamp,
};

impl Data {
    /// Makes a replay's delivery: its place among what waits, or why it can't be made.
    pub(super) fn deliver_again(
        &mut self,
        key: DeliveryKey,
        now: Timestamp,
    ) -> Result<(Timestamp, DeliveryKey), SkipReason> {
        if let Some(reason) = cannot_run(&self.known, key.subscription) {
            return Err(reason);
        }
        let place = self.place_of(key);
        if self.at(place.0, key.position).is_none() {
            let floor = self.logs.get(&place.0).map_or(Position(1), |log| log.floor);
            return Err(match (Position(1)..floor).contains(&key.position) {
                true => SkipReason::Removed,
                false => SkipReason::Gone,
            });
        }
        let event = Row::Event(place.0, key.position);
        if self.aside.contains_key(&event) {
            return Err(SkipReason::Gone);
        }
        if !self.is_intact(&event) {
            return Err(SkipReason::Corrupt);
        }
        if self.is_erased(place.0, key.position) {
            return Err(SkipReason::Erased);
        }
        let made = self.deliveries.contains_key(&key)
            || self.settled.contains_key(&place)
            || self.dead_letters.contains_key(&key);
        let aside = [Row::Delivery(key), Row::Settled(key), Row::DeadLetter(key)];
        if made || aside.iter().any(|row| self.aside.contains_key(row)) {
            return Err(SkipReason::Gone);
        }
        let pending = Pending {
            due_at: Some(now),
            ..Pending::new(key, now)
        };
        self.deliveries
            .insert(key, Delivery::new(pending, Vec::new()));
        self.due.insert((now, key));
        Ok((now, key))
    }

    /// Ends a pending delivery without an attempt, or says why that can't be.
    pub(super) fn skip(
        &mut self,
        key: DeliveryKey,
        now: Timestamp,
        id: JobId,
    ) -> Result<(), SkipReason> {
        self.discard(key, now, (id, DiscardReason::Skipped))?;
        self.release(key);
        Ok(())
    }

    /// The same for any reason. Its event stays, whatever retention says.
    pub(super) fn discard(
        &mut self,
        key: DeliveryKey,
        now: Timestamp,
        how: (JobId, DiscardReason),
    ) -> Result<(), SkipReason> {
        let intact = self.is_intact(&Row::Delivery(key));
        let before = self.deliveries.get(&key).ok_or(SkipReason::Gone)?;
        if !intact {
            return Err(SkipReason::Corrupt);
        }
        let pending = before.pending();
        let mut row = job::discarded(pending, now, how);
        row.delivery.attempts.clone_from(&before.attempts);
        if let Some(due) = before.due_at {
            self.due.remove(&(due, key));
        }
        self.running.remove(&key);
        self.deliveries.remove(&key);
        let place = self.place_of(key);
        self.settled.insert(place, row);
        self.count_result(&pending, JobResult::Discarded);
        Ok(())
    }
}
