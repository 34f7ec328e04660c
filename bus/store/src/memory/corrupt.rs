//! Corrupt rows of the store in memory: tests declare them, reads refuse them, a step moves them aside.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Data;
use crate::{Corruption, Error, Kind, Moved, Quarantined, RecordId, StepOutcome};
use edgebus_model::{
    BusId, DeadReason, Delivery, DeliveryKey, Digest, EventRef, JobResult, Name, Pending, Position,
    Timestamp,
};

/// A row of any table.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Row {
    /// What the store knows of itself.
    Meta,
    /// What a manifest decided.
    Catalog,
    /// The last position of a bus.
    Head(BusId),
    /// An event.
    Event(BusId, Position),
    /// A pending delivery.
    Delivery(DeliveryKey),
    /// That a delivery waits.
    Due(Timestamp, DeliveryKey),
    /// A success.
    Settled(DeliveryKey),
    /// A dead letter.
    DeadLetter(DeliveryKey),
    /// A key of a function's state.
    State(Name, Vec<u8>),
    /// How many events descend from one.
    Descendants(EventRef),
    /// A component.
    Component(Digest),
    /// That an event was accepted.
    Dedupe(BusId, Position),
}

impl Row {
    fn id(&self) -> RecordId {
        RecordId {
            table: 0,
            key: format!("{self:?}").into_bytes(),
        }
    }

    /// What a read of it says.
    pub(super) fn error(&self) -> Error {
        Error::new(Kind::Corrupt, format!("{self:?} is corrupt"))
    }
}

impl Data {
    /// True if the row can be used.
    pub(super) fn is_intact(&self, row: &Row) -> bool {
        !self.corrupt.contains(row) && !self.aside.contains_key(row)
    }

    /// Rows of state that can't be used.
    pub(super) fn corrupt_state(&self) -> BTreeSet<Row> {
        let all = self.corrupt.iter().chain(self.aside.keys());
        all.filter(|row| matches!(row, Row::State(..)))
            .cloned()
            .collect()
    }

    /// Refuses a row that can't be used.
    pub(super) fn must_be_intact(&self, row: &Row) -> Result<(), Error> {
        if self.is_intact(row) {
            Ok(())
        } else {
            Err(row.error())
        }
    }

    pub(super) fn corruption(&self) -> Corruption {
        let ids = self.corrupt.iter().map(Row::id);
        Corruption {
            records: self.corrupt.len() as u64,
            found: self.found,
            names: self.corrupt.iter().map(|row| format!("{row:?}")).collect(),
            movable: ids.take(Corruption::MOVED_MAX).collect(),
            page: None,
            in_quarantine: self.aside.len() as u64,
        }
    }

    pub(super) fn quarantined(&self, after: Option<&RecordId>, limit: usize) -> Vec<Quarantined> {
        let rows = self.aside.iter().map(|(row, moved_at)| Quarantined {
            id: row.id(),
            name: format!("{row:?}"),
            reason: "is corrupt".to_owned(),
            moved_at: *moved_at,
            bytes: Some(0),
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by(|one, other| one.id.cmp(&other.id));
        rows.retain(|row| after.is_none_or(|after| row.id > *after));
        rows.truncate(limit);
        rows
    }

    pub(super) fn quarantine(&mut self, records: &[RecordId], now: Timestamp) -> StepOutcome {
        let mut moved = Moved::default();
        let rows: Vec<Row> = self.corrupt.iter().cloned().collect();
        for row in rows.into_iter().filter(|row| records.contains(&row.id())) {
            self.corrupt.remove(&row);
            moved.records.push(format!("{row:?}"));
            self.aside.insert(row.clone(), now);
            self.repair(&row, now, &mut moved);
        }
        for key in &moved.dead {
            self.release(*key);
        }
        StepOutcome::Quarantined(Box::new(moved))
    }

    fn repair(&mut self, row: &Row, now: Timestamp, moved: &mut Moved) {
        match row {
            Row::Delivery(key) => {
                if self.deliveries.remove(key).is_some() {
                    self.aside.remove(row);
                    self.revive(*key, now, moved);
                }
            }
            Row::DeadLetter(key) => {
                if self.dead_letters.remove(key).is_some() {
                    self.aside.remove(row);
                    self.dead_letter(fresh(*key, now), DeadReason::Corrupt, now);
                    moved.dead.push(*key);
                }
            }
            Row::Due(due, key) => {
                self.aside.remove(row);
                moved.pending.push((*due, *key));
            }
            Row::Settled(key) => {
                let place = self.place_of(*key);
                self.settled.remove(&place);
            }
            Row::State(function, key) => {
                Arc::make_mut(&mut self.state).remove(&(function.clone(), key.clone()));
            }
            Row::Descendants(root) => {
                self.aside.remove(row);
                self.descendants.remove(root);
            }
            Row::Component(digest) => {
                self.aside.remove(row);
                self.components.remove(digest);
            }
            // The log keeps its position; the rest is known otherwise.
            Row::Event(..) => {}
            Row::Meta | Row::Catalog | Row::Head(_) | Row::Dedupe(..) => {
                self.aside.remove(row);
            }
        }
    }

    /// A pending delivery whose row is lost begins again, or is a dead letter without its event.
    fn revive(&mut self, key: DeliveryKey, now: Timestamp, moved: &mut Moved) {
        self.due.retain(|(_, other)| *other != key);
        self.running.remove(&key);
        let bus = self.known.subscriptions.get(&key.subscription);
        let readable = bus.is_some_and(|known| {
            self.intact(known.bus, key.position) && self.at(known.bus, key.position).is_some()
        });
        if readable {
            let again = Delivery {
                due_at: Some(now),
                fence: 1 << 31,
                ..fresh(key, now)
            };
            self.deliveries.insert(key, again);
            self.due.insert((now, key));
            moved.pending.push((now, key));
        } else {
            let again = fresh(key, now);
            self.count_result(&again.pending(), JobResult::Died);
            self.dead_letter(again, DeadReason::Corrupt, now);
            moved.dead.push(key);
        }
    }
}

fn fresh(key: DeliveryKey, accepted_at: Timestamp) -> Delivery {
    Delivery::new(Pending::new(key, accepted_at), Vec::new())
}
