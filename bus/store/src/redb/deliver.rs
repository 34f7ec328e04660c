//! How events are delivered again, and how live deliveries are skipped: what jobs of replays and seeks do.
//!
//! A live delivery is born with its event, and the event names it. A replay's is born later and is named by
//! nothing but its key, so here is decided that it may be there at all: its event is, its subscription is
//! active, and it was not made before. Never here: which events a replay takes.

use super::aside::is_aside;
use super::steps::Work;
use super::tables::{delivery_key, due_key, event_key, settled_key, stages};
use crate::Error;
use crate::codec::{Table, delivery, event};
use crate::job::{self, cannot_run};
use edgebus_model::{
    BusId, DeliveryKey, DiscardReason, JobId, JobResult, Pending, SkipReason, Timestamp,
};

impl Work<'_, '_> {
    /// Makes a replay's delivery: its place among what waits, or why it can't be made.
    pub(super) fn deliver_again(
        &mut self,
        key: DeliveryKey,
        now: Timestamp,
    ) -> Result<Result<(Timestamp, DeliveryKey), SkipReason>, Error> {
        if let Some(reason) = cannot_run(self.known(), key.subscription) {
            return Ok(Err(reason));
        }
        let known = self.known().subscriptions.get(&key.subscription);
        let Some(bus) = known.map(|known| known.bus) else {
            return Ok(Err(SkipReason::SubscriptionEnded));
        };
        let row = event_key(bus, key.position);
        let stored = self.intact(Table::Events, &row, |from| {
            event::read_stored(from, key.position)
        })?;
        if stored
            .as_ref()
            .is_some_and(|own| own.event.erased().is_some())
        {
            return Ok(Err(SkipReason::Erased));
        }
        if stored.is_none() {
            let corrupt = self.tables.has(Table::Events, &row)?;
            return Ok(Err(match corrupt {
                true => SkipReason::Corrupt,
                false if self.is_below_floor(&row) => SkipReason::Removed,
                false => SkipReason::Gone,
            }));
        }
        for (table, row) in stages(bus, key) {
            if self.tables.has(table, &row)? || is_aside(&mut self.tables, table, &row)? {
                return Ok(Err(SkipReason::Gone));
            }
        }
        // A due time brings it to the scheduler, as it does a retry.
        self.put_pending(&Pending {
            due_at: Some(now),
            ..Pending::new(key, now)
        })?;
        self.replays.unended.add(bus, key);
        self.tables.put(Table::Due, &due_key(now, key), |_| {})?;
        self.counts(key.subscription).waiting += 1;
        Ok(Ok((now, key)))
    }

    /// Ends a pending delivery without an attempt, or says why that can't be.
    pub(super) fn skip(
        &mut self,
        key: DeliveryKey,
        now: Timestamp,
        id: JobId,
    ) -> Result<Result<(), SkipReason>, Error> {
        let ended = self.discard(key, now, (id, DiscardReason::Skipped))?;
        if let Ok(bus) = ended {
            self.release(bus, key.position)?;
        }
        Ok(ended.map(|_| ()))
    }

    /// The same for any reason; says on which bus that was. Its event stays, whatever retention says.
    pub(super) fn discard(
        &mut self,
        key: DeliveryKey,
        now: Timestamp,
        how: (JobId, DiscardReason),
    ) -> Result<Result<BusId, SkipReason>, Error> {
        let own = delivery_key(key);
        let pending = self.intact(Table::Deliveries, &own, |from| {
            delivery::read_pending(from, key)
        })?;
        let known = self.known().subscriptions.get(&key.subscription);
        let (Some(before), Some(bus)) = (pending, known.map(|known| known.bus)) else {
            let corrupt = self.tables.has(Table::Deliveries, &own)?;
            return Ok(Err(match corrupt {
                true => SkipReason::Corrupt,
                false => SkipReason::Gone,
            }));
        };
        if let Some(due) = before.due_at {
            self.tables.remove(Table::Due, &due_key(due, key))?;
        }
        if before.claims > 0 {
            self.tables.remove(Table::Running, &own)?;
        }
        self.tables.remove(Table::Deliveries, &own)?;
        let counts = self.counts(key.subscription);
        let pending = counts.pending_mut(before.due_at.is_some());
        *pending = pending.saturating_sub(1);
        let row = job::discarded(before, now, how);
        self.tables
            .put(Table::Settled, &settled_key(bus, key), |out| {
                delivery::write_settled(out, &row);
            })?;
        self.count_result(&before, JobResult::Discarded)?;
        Ok(Ok(bus))
    }
}
