//! How events are delivered again in memory: pending rows under a replay's number.

use super::{Data, Row};
use crate::StepOutcome;
use edgebus_model::{Delivery, DeliveryKey, Pending, Timestamp};

impl Data {
    /// Makes those of the deliveries that may be made.
    pub(super) fn deliver(&mut self, keys: &[DeliveryKey], now: Timestamp) -> StepOutcome {
        let mut made = Vec::with_capacity(keys.len());
        for key in keys {
            if self.may_deliver(*key) {
                let pending = Pending {
                    due_at: Some(now),
                    ..Pending::new(*key, now)
                };
                self.deliveries
                    .insert(*key, Delivery::new(pending, Vec::new()));
                self.due.insert((now, *key));
                made.push(*key);
            }
        }
        StepOutcome::Delivered(made)
    }

    fn may_deliver(&self, key: DeliveryKey) -> bool {
        let known = self.known.subscriptions.get(&key.subscription);
        let Some(known) = known.filter(|known| known.active && key.replay > 0) else {
            return false;
        };
        let there =
            self.intact(known.bus, key.position) && self.at(known.bus, key.position).is_some();
        let made = self.deliveries.contains_key(&key)
            || self.settled.contains_key(&self.place_of(key))
            || self.dead_letters.contains_key(&key);
        let aside = [Row::Delivery(key), Row::Settled(key), Row::DeadLetter(key)];
        there && !made && aside.iter().all(|row| !self.aside.contains_key(row))
    }
}
