//! Corrupt records are moved aside, and what depended on them is made whole: one step, all or nothing.
//!
//! | table | what becomes of what depended on the record |
//! |---|---|
//! | `events` | the gap is known; deliveries of the event die as `corrupt` when their turn comes |
//! | `deliveries` | pending anew if its event can be read and names it, else a dead letter |
//! | `due` | written again while its delivery waits |
//! | `running` | written again while its delivery is claimed |
//! | `settled` | known to have ended: it never runs again |
//! | `dead-letters` | a dead letter again, with reason `corrupt` and the event of the log |
//! | `state` | reading the key is an error until it is written again |
//! | `dedupe`, `dedupe-levels` | answered from the log |
//! | `counters` | counted again, or written again from memory where that would take long |
//! | `jobs` | the job is gone; what it did stays. Of results alone: what has ended is known, and how is not |
//! | `meta`, `catalog`, `heads` | written again from memory |
//!
//! A record that is whole but stands under a key with one flipped bit is put back under its own. Never
//! here: finding corrupt records.

use std::ops::Bound;

use super::aside::{self, Aside, is_aside};
use super::steps::Work;
use super::tables::{
    delivery_key, delivery_of, due_key, event_key, position_of, settled_of, stages,
};
use super::{catalog, row_counts, scan, stray, verify};
use crate::codec::{CorruptRecord, Reader, Table, delivery, event, is_intact, unseal};
use crate::{Error, Moved, RecordId, StepOutcome, StoredEvent};
use edgebus_model::{
    BusId, DeadReason, Delivery, DeliveryKey, JobResult, Pending, Position, Running, Timestamp,
};

/// What a record that is not there is called.
pub(super) const MISSING: &str = "is missing";
/// A pending delivery whose row was corrupt begins again under a fence that no attempt ever had.
const FENCE: u32 = 1 << 31;
/// Fences of one such delivery before the next time that its row is corrupt.
const FENCES: u32 = 1 << 20;

/// What a transaction did about corrupt records.
#[derive(Default)]
pub(super) struct Done {
    /// Records that need no more care.
    pub(super) over: Vec<RecordId>,
    /// Rows that are in quarantine now; `None` if that was not touched.
    pub(super) rows: Option<u64>,
}

impl Work<'_, '_> {
    /// Moves the records to quarantine that are corrupt, and makes whole what depended on them.
    pub(super) fn quarantine(
        &mut self,
        records: &[RecordId],
        now: Timestamp,
    ) -> Result<StepOutcome, Error> {
        let mut moved = Moved::default();
        // Rows that were hidden may come back.
        self.replays.unended.clear();
        for id in records {
            if self.corrupt.is_kept(id) {
                continue;
            }
            let Some(table) = Table::of(id.table) else {
                continue;
            };
            if self.move_one(table, id, now, &mut moved)? {
                self.pending.quarantine.over.push(id.clone());
            }
        }
        for key in &moved.dead {
            let known = self.known().subscriptions.get(&key.subscription);
            if let Some(bus) = known.map(|known| known.bus) {
                self.release(bus, key.position)?;
            }
        }
        self.recount(records, &moved)?;
        self.pending.quarantine.rows = Some(self.tables.count(Table::Quarantine)?);
        Ok(StepOutcome::Quarantined(Box::new(moved)))
    }

    /// Moves one record; false if that has to wait for another one.
    fn move_one(
        &mut self,
        table: Table,
        id: &RecordId,
        now: Timestamp,
        moved: &mut Moved,
    ) -> Result<bool, Error> {
        let key = &id.key[..];
        if !self.is_certain(table, key)? {
            return Ok(false);
        }
        let stored = self.tables.raw(table, key)?;
        if table == Table::Counters && stored.as_ref().is_none_or(|row| is_intact(table, key, row))
        {
            return self.recount_one(key, moved);
        }
        let mut taken = None;
        if let Some(record) = &stored
            && let Some(reason) = self.judge(table, key, record)?
        {
            self.tables.remove(table, key)?;
            taken = Some((record.clone(), reason));
        } else if let Some(record) = self.take_stray(table, id)? {
            self.tables.lose();
            taken = Some((record, scan::STRAY));
        } else if stored.is_some() {
            // It was written anew meanwhile.
            return Ok(true);
        }
        let Some((record, reason)) = taken else {
            return self.missing(table, key, now, moved);
        };
        let intact_there = stored.is_some() && self.tables.has(table, key)?;
        if self.restore(table, key, &record, now, moved)? {
            let name = CorruptRecord::new(table, key, reason).line();
            moved
                .repaired
                .push(format!("{name}; put back under its own key"));
            return Ok(true);
        }
        let written = Aside {
            reason,
            span: 1,
            record: Some(&record),
            now,
        };
        let nth = aside::put(&mut self.tables, table, key, &written)?;
        moved
            .records
            .push(CorruptRecord::new(table, key, reason).line());
        if !intact_there {
            self.repair(table, key, nth, now, moved)?;
        }
        Ok(true)
    }

    /// A counter disagreed with the rows that it counts; false if there are too many to count them now.
    fn recount_one(&mut self, key: &[u8], moved: &mut Moved) -> Result<bool, Error> {
        let counted = self.count_anew(key)?;
        if counted {
            let name = CorruptRecord::new(Table::Counters, key, row_counts::DISAGREES).line();
            moved.repaired.push(format!("{name}; counted again"));
        }
        Ok(counted)
    }

    /// The rows that a delivery has in the stages of its life, if the key of this table is one's.
    fn stages(&self, table: Table, key: &[u8]) -> Option<[(Table, Vec<u8>); 3]> {
        let delivery = match table {
            Table::Deliveries | Table::DeadLetters => delivery_of(key)?,
            Table::Settled => settled_of(key)?.1,
            _ => return None,
        };
        let known = self.known().subscriptions.get(&delivery.subscription)?;
        Some(stages(known.bus, delivery))
    }

    /// False where nobody can say yet in which stages of its life a delivery is: a corrupt key may hide it.
    fn is_certain(&mut self, table: Table, key: &[u8]) -> Result<bool, Error> {
        for (other, row) in self.stages(table, key).into_iter().flatten() {
            if other == table || self.tables.has(other, &row)? {
                continue;
            }
            let absent = |rows: &mut _| scan::is_absent(&*rows, other, &row);
            if !self.tables.with(other, absent)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// True if a stage of a delivery's life other than those left out has its row, as it was written.
    fn is_in_stage(&mut self, table: Table, key: &[u8], but: &[Table]) -> Result<bool, Error> {
        for (other, row) in self.stages(table, key).into_iter().flatten() {
            if !but.contains(&other) && self.is_intact_in(other, &row)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// True if a table has the row, and it is the one that was written.
    fn is_intact_in(&mut self, table: Table, key: &[u8]) -> Result<bool, Error> {
        let row = self.tables.raw(table, key)?;
        Ok(row.is_some_and(|record| is_intact(table, key, &record)))
    }

    /// What is wrong with a record, if something is.
    fn judge(
        &mut self,
        table: Table,
        key: &[u8],
        record: &[u8],
    ) -> Result<Option<&'static str>, Error> {
        if let Err(corruption) = unseal(table, key, record, |from| {
            verify::read_row(table, key, from)
        }) {
            return Ok(Some(corruption.reason));
        }
        match table {
            Table::Due => {
                let Some((due, delivery)) = split_due(key) else {
                    return Ok(Some("can't be decoded"));
                };
                let row = delivery_key(delivery);
                let read = |from: &mut Reader<'_>| delivery::read_pending(from, delivery);
                let waits = match self.tables.get(Table::Deliveries, &row, read)? {
                    Some(Ok(delivery)) => delivery.due_at == Some(due),
                    // Its own turn comes first.
                    Some(Err(_)) => true,
                    None => false,
                };
                Ok((!waits).then_some(verify::IDLE))
            }
            Table::Deliveries => {
                let ended = self.is_in_stage(table, key, &[Table::Deliveries])?;
                Ok(ended.then_some(verify::TWICE))
            }
            Table::Running => {
                let Some(own) = delivery_of(key) else {
                    return Ok(Some("can't be decoded"));
                };
                let read = |from: &mut Reader<'_>| delivery::read_pending(from, own);
                let claimed = match self.tables.get(Table::Deliveries, key, read)? {
                    Some(Ok(pending)) => pending.claims > 0,
                    // Its own turn comes first.
                    Some(Err(_)) => true,
                    None => false,
                };
                Ok((!claimed).then_some(verify::IDLE))
            }
            _ => Ok(None),
        }
    }

    /// Takes a corrupt record out that no search by its key finds.
    fn take_stray(&mut self, table: Table, id: &RecordId) -> Result<Option<Vec<u8>>, Error> {
        let near = self.corrupt.near(id);
        self.tables.with(table, |rows| {
            let is_it = |key: &[u8], record: &[u8]| {
                key == &id.key[..]
                    && unseal(table, key, record, |from| {
                        verify::read_row(table, key, from)
                    })
                    .is_err()
            };
            let Some(near) = &near else {
                return stray::take(rows, stray::before(rows, &id.key)?, stray::NEAR, &is_it);
            };
            let near = Bound::Included(near.clone());
            for from in [near, Bound::Unbounded] {
                if let Some(record) = stray::take(rows, from, stray::FAR, &is_it)? {
                    return Ok(Some(record));
                }
            }
            Ok(None)
        })
    }

    /// Puts a record back under the key that its checksum names, if that key is one bit away.
    fn restore(
        &mut self,
        table: Table,
        key: &[u8],
        record: &[u8],
        now: Timestamp,
        moved: &mut Moved,
    ) -> Result<bool, Error> {
        let mut own = key.to_vec();
        for bit in 0..own.len() * 8 {
            own[bit / 8] ^= 1 << (bit % 8);
            if is_intact(table, &own, record) {
                if self.tables.has(table, &own)? || !self.is_wanted(table, &own, record)? {
                    return Ok(false);
                }
                self.tables.put_raw(table, &own, record)?;
                self.tell_restored(table, &own, now, moved)?;
                return Ok(true);
            }
            own[bit / 8] ^= 1 << (bit % 8);
        }
        Ok(false)
    }

    /// False of a record that was let go meanwhile.
    fn is_wanted(&mut self, table: Table, key: &[u8], record: &[u8]) -> Result<bool, Error> {
        Ok(match table {
            Table::Meta | Table::Heads | Table::Catalog => false,
            // Retention has passed it.
            Table::Events if self.is_below_floor(key) => false,
            _ => self.judge(table, key, record)?.is_none(),
        })
    }

    /// A delivery that was put back is heard of again.
    fn tell_restored(
        &mut self,
        table: Table,
        key: &[u8],
        now: Timestamp,
        moved: &mut Moved,
    ) -> Result<(), Error> {
        match table {
            Table::Due => moved.pending.extend(split_due(key)),
            Table::Deliveries => {
                let Some(own) = delivery_of(key) else {
                    return Ok(());
                };
                let read = |from: &mut Reader<'_>| delivery::read_pending(from, own);
                if let Some(Ok(delivery)) = self.tables.get(table, key, read)? {
                    self.replays.add(own);
                    let due = delivery.due_at.unwrap_or(now);
                    self.await_from(delivery, due, moved)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The bus and the event of a delivery, if its key can be one's.
    fn subject(&mut self, key: DeliveryKey) -> Result<Option<(BusId, Option<StoredEvent>)>, Error> {
        let Some(bus) = self.known().subscriptions.get(&key.subscription) else {
            return Ok(None);
        };
        let bus = bus.bus;
        if key.position.0 == 0 || key.position.0 > self.head(bus).last {
            return Ok(None);
        }
        let stored = self.intact(Table::Events, &event_key(bus, key.position), |from| {
            event::read_stored(from, key.position)
        })?;
        Ok(Some((bus, stored)))
    }

    /// Makes whole what depended on a record that was moved.
    fn repair(
        &mut self,
        table: Table,
        key: &[u8],
        nth: u32,
        now: Timestamp,
        moved: &mut Moved,
    ) -> Result<(), Error> {
        match table {
            Table::Deliveries | Table::DeadLetters => {
                let Some(delivery) = delivery_of(key) else {
                    return Ok(());
                };
                let Some((_, stored)) = self.subject(delivery)? else {
                    return Ok(());
                };
                if self.is_in_stage(table, key, &[])? {
                    return Ok(());
                }
                self.tables.remove(Table::Running, key)?;
                let names = |stored: &StoredEvent| {
                    delivery.replay > 0 || stored.subscriptions.contains(&delivery.subscription)
                };
                if stored.as_ref().is_some_and(|stored| !names(stored)) {
                    // No event ever had it: the key is not the one that was written.
                    return Ok(());
                }
                // The age of a replay's delivery counts from when it was made, which nobody knows any more.
                let accepted = stored
                    .as_ref()
                    .filter(|_| delivery.replay == 0)
                    .map_or(now, |stored| stored.accepted_at);
                let fence = FENCE.saturating_add(nth.saturating_mul(FENCES));
                let again = fresh(delivery, accepted, fence);
                if table == Table::Deliveries && stored.is_some() {
                    return self.await_from(again, now, moved);
                }
                if table == Table::Deliveries {
                    self.count_result(&again, JobResult::Died)?;
                }
                let ended = Delivery::new(again, Vec::new());
                self.dead_letter(ended, DeadReason::Corrupt, now)?;
                moved.dead.push(delivery);
                Ok(())
            }
            Table::Running => self.run_again(key),
            Table::Counters => self.count_again(key),
            Table::Jobs => self.count_results_again(key),
            Table::Due => {
                let Some((due, delivery)) = split_due(key) else {
                    return Ok(());
                };
                let row = delivery_key(delivery);
                let read = |from: &mut Reader<'_>| delivery::read_pending(from, delivery);
                let waits = self.intact(Table::Deliveries, &row, read)?;
                if waits.is_some_and(|delivery| delivery.due_at == Some(due)) {
                    self.tables.put(Table::Due, key, |_| {})?;
                    moved.pending.push((due, delivery));
                }
                Ok(())
            }
            // Retention has passed it: what has ended of it goes as well.
            Table::Events if self.is_below_floor(key) => {
                let bus = key.first_chunk::<4>().map(|bus| u32::from_be_bytes(*bus));
                match bus.zip(position_of(key)) {
                    Some((bus, position)) => self.release(BusId(bus), position),
                    None => Ok(()),
                }
            }
            Table::Meta | Table::Catalog | Table::Heads => catalog::write_again(self, table, key),
            _ => Ok(()),
        }
    }

    /// Notes again that an attempt of a claimed delivery was begun; by which process is forgotten.
    fn run_again(&mut self, key: &[u8]) -> Result<(), Error> {
        let Some(own) = delivery_of(key) else {
            return Ok(());
        };
        let read = |from: &mut Reader<'_>| delivery::read_pending(from, own);
        let pending = self.intact(Table::Deliveries, key, read)?;
        let Some(pending) = pending.filter(|pending| pending.claims > 0) else {
            return Ok(());
        };
        let running = Running {
            key: own,
            fence: pending.fence,
            epoch: 0,
            since: Timestamp(0),
        };
        self.tables.put(Table::Running, key, |out| {
            delivery::write_running(out, &running);
        })
    }

    /// The delivery waits until `due`.
    fn await_from(
        &mut self,
        pending: Pending,
        due: Timestamp,
        moved: &mut Moved,
    ) -> Result<(), Error> {
        let waiting = Pending {
            due_at: Some(due),
            ..pending
        };
        self.put_pending(&waiting)?;
        self.tables
            .put(Table::Due, &due_key(due, waiting.key), |_| {})?;
        moved.pending.push((due, waiting.key));
        Ok(())
    }

    /// A record is not there that should be; false if that can't be said yet.
    fn missing(
        &mut self,
        table: Table,
        key: &[u8],
        now: Timestamp,
        moved: &mut Moved,
    ) -> Result<bool, Error> {
        if is_aside(&mut self.tables, table, key)? {
            return Ok(true);
        }
        if !self
            .tables
            .with(table, |rows| scan::is_absent(rows, table, key))?
        {
            return Ok(false);
        }
        let span = match table {
            Table::Events => match self.gap(key)? {
                0 => return Ok(true),
                span => span,
            },
            Table::Deliveries if !self.is_lost(key)? => return Ok(true),
            Table::Running if self.is_unclaimed(key)? => return Ok(true),
            Table::Deliveries
            | Table::Due
            | Table::Running
            | Table::Dedupe
            | Table::DedupeLevels => 1,
            Table::Meta | Table::Catalog | Table::Heads => {
                catalog::write_again(self, table, key)?;
                return Ok(true);
            }
            // Whatever was there, nothing says that it should be.
            _ => return Ok(true),
        };
        if table == Table::Due {
            let before = moved.pending.len();
            self.repair(table, key, 0, now, moved)?;
            if moved.pending.len() == before {
                return Ok(true);
            }
        }
        let written = Aside {
            reason: MISSING,
            span,
            record: None,
            now,
        };
        aside::put(&mut self.tables, table, key, &written)?;
        moved
            .records
            .push(CorruptRecord::new(table, key, MISSING).line());
        if table == Table::Deliveries
            && let Some(delivery) = delivery_of(key)
        {
            // It may have run to its end: it must not run again by itself.
            let again = Delivery::new(fresh(delivery, now, FENCE), Vec::new());
            self.dead_letter(again, DeadReason::Corrupt, now)?;
            moved.dead.push(delivery);
        }
        if table == Table::Running {
            self.run_again(key)?;
        }
        Ok(true)
    }

    /// True if an event has the delivery, and it is nowhere.
    fn is_lost(&mut self, key: &[u8]) -> Result<bool, Error> {
        let Some(delivery) = delivery_of(key).filter(|delivery| delivery.replay == 0) else {
            return Ok(false);
        };
        for (other, row) in self.stages(Table::Deliveries, key).into_iter().flatten() {
            if self.tables.has(other, &row)? || is_aside(&mut self.tables, other, &row)? {
                return Ok(false);
            }
        }
        let subject = self.subject(delivery)?;
        let stored = subject.and_then(|(_, stored)| stored);
        Ok(stored.is_some_and(|stored| stored.subscriptions.contains(&delivery.subscription)))
    }

    /// True if no claimed delivery has this key.
    fn is_unclaimed(&mut self, key: &[u8]) -> Result<bool, Error> {
        let Some(own) = delivery_of(key) else {
            return Ok(true);
        };
        let read = |from: &mut Reader<'_>| delivery::read_pending(from, own);
        let pending = self.intact(Table::Deliveries, key, read)?;
        Ok(pending.is_none_or(|pending| pending.claims == 0))
    }

    /// How many positions are missing from `key` on.
    fn gap(&mut self, key: &[u8]) -> Result<u64, Error> {
        let Some((bus, position)) = key.first_chunk::<4>().zip(position_of(key)) else {
            return Ok(0);
        };
        let bus = BusId(u32::from_be_bytes(*bus));
        let head = self.head(bus);
        let mut end = head.last.saturating_add(1);
        if position.0 < head.floor || position.0 >= end {
            return Ok(0);
        }
        let last = event_key(bus, Position(u64::MAX));
        self.tables.scan(Table::Events, key, &last, |found, _| {
            end = end.min(position_of(found).map_or(end, |found| found.0));
            false
        })?;
        Ok(end.saturating_sub(position.0))
    }
}

/// A delivery as if nothing had been attempted.
fn fresh(key: DeliveryKey, accepted_at: Timestamp, fence: u32) -> Pending {
    Pending {
        fence,
        ..Pending::new(key, accepted_at)
    }
}

/// The due time and the delivery in a key of `due`.
pub(super) fn split_due(key: &[u8]) -> Option<(Timestamp, DeliveryKey)> {
    let (due, rest) = key.split_first_chunk::<8>()?;
    Some((Timestamp(u64::from_be_bytes(*due)), delivery_of(rest)?))
}
