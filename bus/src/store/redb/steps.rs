//! How a step of the event's way changes the tables: append, settle, claim.
//!
//! Each step checks everything before it writes anything, so that a refusal writes nothing and the
//! rest of the batch goes on. An error here is the engine's and ends the whole transaction.

use std::collections::{BTreeMap, HashMap};

use super::dedupe::{self, Fingerprint, Fingerprints};
use super::tables::{HarmLog, Row, Tables, delivery_key, due_key, event_key, state_key};
use crate::model::{
    Attempt, BusId, DeadLetter, DeadReason, Delivery, DeliveryKey, EventRef, Lineage, Position,
    Settled, Timestamp,
};
use crate::store::codec::{Reader, Table, Writer, delivery, event};
use crate::store::known::Known;
use crate::store::{
    Append, Appended, Effects, Error, NewEvent, Settle, SettleEnd, Step, StepOutcome, hollow_event,
};

/// What the writer remembers between commits; changed only after one has succeeded.
pub(super) struct Memory {
    pub(super) known: Known,
    /// The last position of each bus that has one.
    pub(super) heads: HashMap<BusId, u64>,
    /// The last version given to any state write.
    pub(super) state_version: u64,
    pub(super) dedupe: dedupe::Index,
    pub(super) prints: Fingerprints,
}

/// What a transaction changes in [`Memory`] if it commits.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) known: Option<Known>,
    pub(super) heads: BTreeMap<BusId, u64>,
    pub(super) state_version: Option<u64>,
    pub(super) dedupe: dedupe::Pending,
}

/// One transaction at work.
pub(super) struct Work<'a, 'txn> {
    pub(super) tables: Tables<'txn>,
    pub(super) memory: &'a Memory,
    pub(super) pending: Pending,
    pub(super) harmed: &'a HarmLog,
    /// What the last process left; a mark keeps the opens' row whole.
    pub(super) epoch: u64,
}

/// An event that was looked up and has its place.
struct Planned<'e> {
    bus: BusId,
    new: &'e NewEvent,
    fingerprint: Fingerprint,
    appended: Appended,
}

impl Memory {
    /// Takes over what a committed transaction changed.
    pub(super) fn absorb(&mut self, pending: Pending) {
        if let Some(known) = pending.known {
            self.known = known;
        }
        self.heads.extend(pending.heads);
        if let Some(version) = pending.state_version {
            self.state_version = version;
        }
        self.dedupe.absorb(pending.dedupe);
    }
}

impl Work<'_, '_> {
    pub(super) fn step(&mut self, step: &Step) -> Result<StepOutcome, Error> {
        match step {
            Step::Append(append) => self.append(append),
            Step::Settle(settle) => self.settle(settle),
            Step::Claim { key, fence } => self.claim(*key, *fence),
            Step::ApplyManifest(apply) => self.apply_manifest(apply),
            Step::Deploy(deploy) => self.deploy(deploy),
            Step::Remove { function } => self.remove(function),
            Step::MarkClean(clean) => self.mark(*clean),
        }
    }

    /// Writes the small rows that change once a transaction.
    pub(super) fn finish(mut self) -> Result<Pending, Error> {
        for (bus, head) in &self.pending.heads {
            let key = bus.0.to_be_bytes();
            self.tables.put(Table::Heads, &key, |out| out.u64(*head))?;
        }
        if let Some(version) = self.pending.state_version {
            let put = |out: &mut Vec<u8>| out.u64(version);
            self.tables.put(Table::Meta, super::catalog::COUNTER, put)?;
        }
        Ok(self.pending)
    }

    pub(super) fn known(&self) -> &Known {
        self.pending.known.as_ref().unwrap_or(&self.memory.known)
    }

    /// The row, or `None` where there is none or it is harmed, which is noted.
    fn sound<T>(
        &mut self,
        table: Table,
        key: &[u8],
        read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let row: Row<T> = self.tables.get(table, key, read);
        match row? {
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(harm)) => {
                self.harmed.note(&harm);
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn append(&mut self, append: &Append) -> Result<StepOutcome, Error> {
        let none: &[_] = &[];
        let subscriptions = append.events.iter().map(|new| new.subscriptions.as_slice());
        for subscriptions in subscriptions.chain(std::iter::once(none)) {
            if let Err(reason) = self.known().stranger(append.bus, subscriptions) {
                return Ok(StepOutcome::Denied(reason));
            }
        }
        let events = append.events.iter().map(|new| (append.bus, new));
        let planned = self.plan(events, append.now)?;
        self.write(&planned, append.now)?;
        let places = planned.iter().map(|event| event.appended);
        Ok(StepOutcome::Appended(places.collect()))
    }

    fn head(&self, bus: BusId) -> u64 {
        let pending = self.pending.heads.get(&bus);
        pending
            .or_else(|| self.memory.heads.get(&bus))
            .copied()
            .unwrap_or(0)
    }

    fn window_ms(&self, bus: BusId) -> u64 {
        self.known().buses.get(&bus).map_or(0, |bus| bus.dedupe_ms)
    }

    /// Finds the duplicates and gives the others their positions; writes nothing.
    fn plan<'e>(
        &mut self,
        events: impl Iterator<Item = (BusId, &'e NewEvent)>,
        now: Timestamp,
    ) -> Result<Vec<Planned<'e>>, Error> {
        let mut planned = Vec::with_capacity(events.size_hint().0);
        let mut heads: Vec<(BusId, u64, u64)> = Vec::new();
        let mut fresh: HashMap<(BusId, Fingerprint), Position> = HashMap::new();
        for (bus, new) in events {
            let fingerprint = self.memory.prints.of(bus, &new.event);
            let slot = match heads.iter().position(|(known, ..)| *known == bus) {
                Some(slot) => slot,
                None => {
                    heads.push((bus, self.head(bus), self.window_ms(bus)));
                    heads.len() - 1
                }
            };
            let (_, head, window_ms) = &mut heads[slot];
            let repeated = fresh.get(&(bus, fingerprint)).filter(|_| *window_ms > 0);
            let known = match repeated {
                Some(position) => Some(*position),
                None => {
                    let mut context = dedupe::Context {
                        tables: &mut self.tables,
                        prints: &self.memory.prints,
                        harmed: self.harmed,
                    };
                    let subject = (bus, &fingerprint);
                    let pending = &self.pending.dedupe;
                    let index = &self.memory.dedupe;
                    index.find(pending, &mut context, subject, *window_ms, now)?
                }
            };
            let appended = match known {
                Some(position) => Appended {
                    position,
                    duplicate: true,
                },
                None => {
                    *head += 1;
                    fresh.insert((bus, fingerprint), Position(*head));
                    Appended {
                        position: Position(*head),
                        duplicate: false,
                    }
                }
            };
            planned.push(Planned {
                bus,
                new,
                fingerprint,
                appended,
            });
        }
        Ok(planned)
    }

    /// Writes the planned events that are not duplicates, each with its deliveries.
    fn write(&mut self, planned: &[Planned<'_>], now: Timestamp) -> Result<(), Error> {
        for event in planned.iter().filter(|event| !event.appended.duplicate) {
            let position = event.appended.position;
            let key = event_key(event.bus, position);
            self.tables.put(Table::Events, &key, |out| {
                event::write_stored(out, event.new, now);
            })?;
            for subscription in &event.new.subscriptions {
                let delivery = Delivery {
                    key: DeliveryKey {
                        subscription: *subscription,
                        replay: 0,
                        position,
                    },
                    accepted_at: now,
                    attempts_made: 0,
                    fence: 0,
                    due_at: None,
                    attempts: Vec::new(),
                };
                self.put_delivery(&delivery)?;
            }
            self.pending.heads.insert(event.bus, position.0);
            let window_ms = self.window_ms(event.bus);
            self.memory.dedupe.add(
                &mut self.pending.dedupe,
                &mut self.tables,
                (event.bus, event.fingerprint),
                (position, now),
                window_ms,
            )?;
        }
        Ok(())
    }

    fn put_delivery(&mut self, delivery: &Delivery) -> Result<(), Error> {
        let key = delivery_key(delivery.key);
        self.tables.put(Table::Deliveries, &key, |out| {
            delivery::write_delivery(out, delivery);
        })
    }

    /// The delivery if it is still owed under this fence.
    fn owed(&mut self, key: DeliveryKey, fence: u32) -> Result<Option<Delivery>, Error> {
        let row = self.sound(Table::Deliveries, &delivery_key(key), |from| {
            delivery::read_delivery(from, key)
        })?;
        #[cfg(test)]
        if super::planted::NO_FENCE.get() {
            return Ok(row);
        }
        Ok(row.filter(|delivery| delivery.fence == fence))
    }

    fn claim(&mut self, key: DeliveryKey, fence: u32) -> Result<StepOutcome, Error> {
        let Some(mut delivery) = self.owed(key, fence)? else {
            return Ok(StepOutcome::Stale);
        };
        delivery.fence += 1;
        delivery.attempts_made += 1;
        self.put_delivery(&delivery)?;
        Ok(StepOutcome::Claimed(Box::new(delivery)))
    }

    fn settle(&mut self, settle: &Settle) -> Result<StepOutcome, Error> {
        let Some(delivery) = self.owed(settle.key, settle.fence)? else {
            return Ok(StepOutcome::Stale);
        };
        let due_before = delivery.due_at;
        let mut ended = ended(delivery, &settle.attempt);
        let key = delivery_key(settle.key);
        let mut emitted = Vec::new();
        if let SettleEnd::Done(effects) = &settle.end {
            if let Some(refusal) = self.state_refusal(effects)? {
                return Ok(refusal);
            }
            match self.emit(effects, settle.now)? {
                Ok(places) => emitted = places,
                Err(refusal) => return Ok(refusal),
            }
            self.write_state(effects)?;
        }
        if let Some(due) = due_before {
            self.tables.remove(Table::Due, &due_key(due, settle.key))?;
        }
        match &settle.end {
            SettleEnd::Done(effects) => {
                self.tables.remove(Table::Deliveries, &key)?;
                let row = Settled {
                    delivery: ended,
                    settled_at: settle.now,
                    emitted: u32::try_from(effects.emits.len()).unwrap_or(u32::MAX),
                };
                self.tables.put(Table::Settled, &key, |out| {
                    delivery::write_settled(out, &row);
                })?;
            }
            SettleEnd::Retry { due_at } => {
                ended.due_at = Some(*due_at);
                self.put_delivery(&ended)?;
                self.tables
                    .put(Table::Due, &due_key(*due_at, settle.key), |_| {})?;
            }
            SettleEnd::Dead { reason } => {
                self.tables.remove(Table::Deliveries, &key)?;
                self.bury(ended, *reason, settle.now)?;
            }
        }
        Ok(StepOutcome::Settled(emitted))
    }

    /// Checks the versions that the attempt read.
    fn state_refusal(&mut self, effects: &Effects) -> Result<Option<StepOutcome>, Error> {
        let Some(function) = &effects.function else {
            let idle = effects.reads.is_empty() && effects.writes.is_empty();
            let reason = "state is read or written, but no function is named";
            return Ok((!idle).then(|| StepOutcome::Denied(reason.to_owned())));
        };
        for (key, version) in &effects.reads {
            let row = state_key(function, key);
            let current = match self.tables.get(Table::State, &row, read_version)? {
                None => 0,
                Some(Ok(current)) => current,
                Some(Err(harm)) => {
                    self.harmed.note(&harm);
                    return Ok(Some(StepOutcome::Conflict));
                }
            };
            if current != *version {
                return Ok(Some(StepOutcome::Conflict));
            }
        }
        Ok(None)
    }

    /// Appends the emitted events and counts them under their roots, or says why not.
    fn emit(
        &mut self,
        effects: &Effects,
        now: Timestamp,
    ) -> Result<Result<Vec<(BusId, Appended)>, StepOutcome>, Error> {
        for (bus, new) in &effects.emits {
            if let Err(reason) = self.known().stranger(*bus, &new.subscriptions) {
                return Ok(Err(StepOutcome::Denied(reason)));
            }
            if new.lineage.hops > Lineage::HOPS_MAX {
                return Ok(Err(StepOutcome::Refused(DeadReason::HopLimit)));
            }
        }
        let events = effects.emits.iter().map(|(bus, new)| (*bus, new));
        let planned = self.plan(events, now)?;
        let mut grown: BTreeMap<EventRef, u32> = BTreeMap::new();
        for event in planned.iter().filter(|event| !event.appended.duplicate) {
            if let Some(root) = event.new.lineage.root {
                *grown.entry(root).or_default() += 1;
            }
        }
        for (root, count) in &mut grown {
            let key = event_key(root.bus, root.position);
            let before = self.sound(Table::Descendants, &key, |from| from.u32())?;
            *count = count.saturating_add(before.unwrap_or(0));
            if *count > Lineage::DESCENDANTS_MAX {
                return Ok(Err(StepOutcome::Refused(DeadReason::FanOutLimit)));
            }
        }
        for (root, count) in grown {
            let key = event_key(root.bus, root.position);
            self.tables
                .put(Table::Descendants, &key, |out| out.u32(count))?;
        }
        self.write(&planned, now)?;
        let places = planned.iter().map(|event| (event.bus, event.appended));
        Ok(Ok(places.collect()))
    }

    fn write_state(&mut self, effects: &Effects) -> Result<(), Error> {
        let Some(function) = &effects.function else {
            return Ok(());
        };
        for (key, value) in &effects.writes {
            let last = self
                .pending
                .state_version
                .unwrap_or(self.memory.state_version);
            let version = last + 1;
            self.pending.state_version = Some(version);
            let row = state_key(function, key);
            match value {
                Some(value) => self.tables.put(Table::State, &row, |out| {
                    out.u64(version);
                    out.extend_from_slice(value);
                })?,
                None => self.tables.remove(Table::State, &row)?,
            }
        }
        Ok(())
    }

    /// Makes the ended delivery a dead letter with a copy of its event.
    fn bury(&mut self, ended: Delivery, reason: DeadReason, now: Timestamp) -> Result<(), Error> {
        let key = ended.key;
        let known = self.known().subscriptions.get(&key.subscription);
        let stored = match known.map(|known| event_key(known.bus, key.position)) {
            Some(row) => self.sound(Table::Events, &row, |from| {
                event::read_stored(from, key.position)
            })?,
            None => None,
        };
        let letter = DeadLetter {
            delivery: ended,
            reason: stored.as_ref().map_or(DeadReason::Corrupt, |_| reason),
            died_at: now,
            lineage: stored
                .as_ref()
                .map_or_else(Lineage::default, |stored| stored.lineage),
            event: stored.map_or_else(|| hollow_event().into(), |stored| stored.event),
        };
        self.tables
            .put(Table::DeadLetters, &delivery_key(key), |out| {
                delivery::write_dead(out, &letter);
            })
    }

    fn mark(&mut self, clean: bool) -> Result<StepOutcome, Error> {
        let epoch = self.epoch;
        self.tables.put(Table::Meta, super::catalog::OPENS, |out| {
            out.u64(epoch);
            out.flag(clean);
        })?;
        Ok(StepOutcome::Marked)
    }
}

fn read_version(from: &mut Reader<'_>) -> Option<u64> {
    let version = from.u64();
    from.rest();
    version
}

/// The delivery with the attempt behind it and the next fence.
fn ended(mut delivery: Delivery, attempt: &Attempt) -> Delivery {
    delivery.due_at = None;
    delivery.fence += 1;
    delivery.attempts_made = delivery.attempts_made.max(attempt.number);
    delivery.record(attempt.clone());
    delivery
}
