//! How events are delivered again: pending rows under a replay's number.
//!
//! A live delivery is born with its event, and the event names it. A replay's is born later and is named by
//! nothing but its key, so here is decided that it may be there at all: its event is, its subscription is
//! active, and it was not made before. Never here: which events a replay takes.

use super::aside::is_aside;
use super::steps::Work;
use super::tables::{due_key, event_key, stages};
use crate::codec::{Table, event};
use crate::{Error, StepOutcome};
use edgebus_model::{DeliveryKey, Pending, Timestamp};

impl Work<'_, '_> {
    /// Makes those of the deliveries that may be made.
    pub(super) fn deliver(
        &mut self,
        keys: &[DeliveryKey],
        now: Timestamp,
    ) -> Result<StepOutcome, Error> {
        let mut made = Vec::with_capacity(keys.len());
        for key in keys {
            if self.deliver_one(*key, now)? {
                made.push(*key);
            }
        }
        Ok(StepOutcome::Delivered(made))
    }

    fn deliver_one(&mut self, key: DeliveryKey, now: Timestamp) -> Result<bool, Error> {
        let known = self.known().subscriptions.get(&key.subscription);
        let Some(known) = known.filter(|known| known.active && key.replay > 0) else {
            return Ok(false);
        };
        let bus = known.bus;
        let stored = self.intact(Table::Events, &event_key(bus, key.position), |from| {
            event::read_stored(from, key.position)
        })?;
        if stored.is_none() {
            return Ok(false);
        }
        for (table, row) in stages(bus, key) {
            if self.tables.has(table, &row)? || is_aside(&mut self.tables, table, &row)? {
                return Ok(false);
            }
        }
        // A due time brings it to the scheduler, as it does a retry.
        self.put_pending(&Pending {
            due_at: Some(now),
            ..Pending::new(key, now)
        })?;
        self.tables.put(Table::Due, &due_key(now, key), |_| {})?;
        self.counts(key.subscription).waiting += 1;
        Ok(true)
    }
}
