//! How an attempt ends in the tables: everything together, or nothing.
//!
//! The order is: fence, what was seen of the state, limits of the chain, and only then the first write.

use std::collections::BTreeMap;

use super::read::after_prefix;
use super::steps::{Work, refusal};
use super::tables::{attempt_key, delivery_key, due_key, event_key, settled_key, state_key};
use crate::codec::{Reader, Table, Writer, delivery, event, unseal};
use crate::{
    Appended, Effects, Error, ListedKeys, Listing, NewEvent, Seen, Settle, SettleEnd, StepOutcome,
    hollow_event,
};
use edgebus_model::{
    BusId, DeadLetter, DeadReason, Delivery, DeliveryKey, Digest, EventRef, JobResult, Lineage,
    Name, Succeeded, Timestamp,
};

impl Work<'_, '_> {
    pub(super) fn settle(&mut self, settle: &Settle) -> Result<StepOutcome, Error> {
        let Some(before) = self.pending_under(settle.key, settle.fence)? else {
            return Ok(StepOutcome::Stale);
        };
        let known = self.known().subscriptions.get(&settle.key.subscription);
        let Some(bus) = known.map(|known| known.bus) else {
            return Ok(StepOutcome::Stale);
        };
        let key = delivery_key(settle.key);
        if self.has_changed(&settle.seen)? {
            return Ok(StepOutcome::Conflict);
        }
        if let SettleEnd::Done(effects) = &settle.end {
            if settle.seen.function.is_none() && !effects.writes.is_empty() {
                let reason = "state is written, but no function is named";
                return Ok(StepOutcome::Denied(reason.to_owned()));
            }
            if !effects.writes.is_empty() && effects.version <= self.state_version() {
                let reason = format!("state version {} was given before", effects.version);
                return Ok(StepOutcome::Denied(reason));
            }
        }
        let emitted = match self.emit(settle.events(), settle.now)? {
            Ok(places) => places,
            Err(refusal) => return Ok(refusal),
        };
        self.time_passes(bus, settle.now);
        if let (SettleEnd::Done(effects), Some(function)) = (&settle.end, &settle.seen.function) {
            self.write_state(function, effects)?;
        }
        let mut pending = before;
        pending.end(settle.attempt.number, settle.spared);
        if let Some(due) = before.due_at {
            self.tables.remove(Table::Due, &due_key(due, settle.key))?;
        }
        if before.claims > 0 {
            self.tables.remove(Table::Running, &key)?;
        }
        if before.attempts_made > 0 {
            self.shorten_history(settle.key)?;
        }
        let counts = self.counts(settle.key.subscription);
        let still_pending = counts.pending_mut(before.due_at.is_some());
        *still_pending = still_pending.saturating_sub(1);
        match &settle.end {
            SettleEnd::Done(_) => {}
            SettleEnd::Retry { .. } => counts.waiting += 1,
            SettleEnd::Dead { .. } => counts.dead += 1,
        }
        match &settle.end {
            SettleEnd::Done(effects) => {
                self.tables.remove(Table::Deliveries, &key)?;
                let row = Succeeded {
                    delivery: Delivery::new(pending, vec![settle.attempt.clone()]),
                    settled_at: settle.now,
                    emitted: u32::try_from(effects.emits.len()).unwrap_or(u32::MAX),
                    discarded: None,
                };
                let place = settled_key(bus, settle.key);
                self.tables.put(Table::Settled, &place, |out| {
                    delivery::write_settled(out, &row);
                })?;
                self.count_result(&before, JobResult::Succeeded)?;
            }
            SettleEnd::Retry { due_at } => {
                pending.due_at = Some(*due_at);
                self.put_pending(&pending)?;
                self.tables
                    .put(Table::Due, &due_key(*due_at, settle.key), |_| {})?;
                let place = attempt_key(settle.key, settle.attempt.number);
                self.tables.put(Table::Attempts, &place, |out| {
                    delivery::write_attempt(out, &settle.attempt);
                })?;
            }
            SettleEnd::Dead { reason, .. } => {
                self.tables.remove(Table::Deliveries, &key)?;
                let ended = Delivery::new(pending, vec![settle.attempt.clone()]);
                self.dead_letter(ended, *reason, settle.now)?;
                self.count_result(&before, JobResult::Died)?;
            }
        }
        if !matches!(settle.end, SettleEnd::Retry { .. }) {
            self.release(bus, settle.key.position)?;
        }
        Ok(StepOutcome::Settled(emitted))
    }

    /// Makes room for one more attempt of a delivery: what the last one said is cut, and of too many the
    /// second oldest goes, as `Delivery::record` has it.
    fn shorten_history(&mut self, key: DeliveryKey) -> Result<(), Error> {
        let (from, to) = (attempt_key(key, 0), attempt_key(key, u32::MAX));
        let mut places: Vec<[u8; 20]> = Vec::new();
        self.tables.scan(Table::Attempts, &from, &to, |place, _| {
            places.extend(<[u8; 20]>::try_from(place));
            true
        })?;
        let last = places.last().copied();
        if let Some(last) = last
            && let Some(mut attempt) =
                self.intact(Table::Attempts, &last, delivery::read_attempt)?
            && attempt.output.len() > Delivery::OUTPUT_BYTES_KEPT
        {
            attempt.cut();
            self.tables.put(Table::Attempts, &last, |out| {
                delivery::write_attempt(out, &attempt);
            })?;
        }
        if places.len() >= Delivery::ATTEMPTS_KEPT {
            self.tables.remove(Table::Attempts, &places[1])?;
        }
        Ok(())
    }

    /// True if anything that the attempt saw is no longer so.
    fn has_changed(&mut self, seen: &Seen) -> Result<bool, Error> {
        let Some(function) = &seen.function else {
            return Ok(false);
        };
        for (key, version) in &seen.reads {
            let row = state_key(function, key);
            let current = match self.tables.get(Table::State, &row, read_version)? {
                None => 0,
                Some(Ok(current)) => current,
                Some(Err(corruption)) => {
                    self.corrupt.note(&corruption);
                    return Ok(true);
                }
            };
            if current != *version {
                return Ok(true);
            }
        }
        for listing in &seen.listings {
            if self.list_again(function, listing)? != listing.keys {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The keys that are in a listing's range now. Corrupt rows are left out, as in the listing itself.
    fn list_again(&mut self, function: &Name, listing: &Listing) -> Result<Digest, Error> {
        #[cfg(any(test, feature = "testing"))]
        if super::injected::NO_LISTING.get() {
            return Ok(listing.keys);
        }
        let owner = function.as_str().len() + 1;
        let from = match &listing.after {
            Some(after) if *after > listing.prefix => after,
            _ => &listing.prefix,
        };
        let from = state_key(function, from);
        let to = match &listing.until {
            Some(until) => state_key(function, until),
            None => after_prefix(&state_key(function, &listing.prefix)),
        };
        let mut keys = ListedKeys::default();
        if from <= to {
            let corrupt = self.corrupt;
            self.tables.scan(Table::State, &from, &to, |row, record| {
                let key = row.get(owner..).unwrap_or_default();
                // The scan may meet the key `after`, and the first one behind the prefix.
                if row.starts_with(&from[..owner]) && listing.covers(key) {
                    match unseal(Table::State, row, record, read_version) {
                        Ok(_) => keys.add(key),
                        Err(corruption) => corrupt.note(&corruption),
                    }
                }
                true
            })?;
        }
        Ok(keys.digest())
    }

    /// Appends the events and counts them under their roots, or says why not.
    fn emit(
        &mut self,
        events: &[(BusId, NewEvent)],
        now: Timestamp,
    ) -> Result<Result<Vec<(BusId, Appended)>, StepOutcome>, Error> {
        for (bus, new) in events {
            if let Err(reason) = self.known().check_targets(*bus, &new.subscriptions) {
                return Ok(Err(StepOutcome::Denied(reason)));
            }
            if new.lineage.hops > Lineage::HOPS_MAX {
                return Ok(Err(StepOutcome::Refused(DeadReason::HopLimit)));
            }
        }
        let events = events.iter().map(|(bus, new)| (*bus, new));
        let planned = self.plan(events, now)?;
        if let Some(refusal) = refusal(&planned) {
            return Ok(Err(refusal));
        }
        let mut grown: BTreeMap<EventRef, u32> = BTreeMap::new();
        for event in planned.iter().filter(|event| !event.appended.duplicate) {
            if let Some(root) = event.new.lineage.root {
                *grown.entry(root).or_default() += 1;
            }
        }
        for (root, count) in &mut grown {
            let key = event_key(root.bus, root.position);
            let before = self.intact(Table::Descendants, &key, event::read_descendants)?;
            *count = count.saturating_add(before.map_or(0, |(before, _)| before));
            if *count > Lineage::DESCENDANTS_MAX {
                return Ok(Err(StepOutcome::Refused(DeadReason::FanOutLimit)));
            }
        }
        for (root, count) in grown {
            let key = event_key(root.bus, root.position);
            self.tables.put(Table::Descendants, &key, |out| {
                event::write_descendants(out, count, now);
            })?;
        }
        self.write(&planned)?;
        let places = planned.iter().map(|event| (event.bus, event.appended));
        Ok(Ok(places.collect()))
    }

    fn write_state(&mut self, function: &Name, effects: &Effects) -> Result<(), Error> {
        for (key, value) in &effects.writes {
            self.pending.state_version = Some(effects.version);
            let row = state_key(function, key);
            match value {
                Some(value) => self.tables.put(Table::State, &row, |out| {
                    out.u64(effects.version);
                    out.extend_from_slice(value);
                })?,
                None => self.tables.remove(Table::State, &row)?,
            }
        }
        Ok(())
    }

    /// The last version given to any state write.
    pub(super) fn state_version(&self) -> u64 {
        let pending = self.pending.state_version;
        pending.unwrap_or(self.memory.state_version)
    }

    /// Makes the ended delivery a dead letter with a copy of its event.
    pub(super) fn dead_letter(
        &mut self,
        ended: Delivery,
        reason: DeadReason,
        now: Timestamp,
    ) -> Result<(), Error> {
        let key = ended.key;
        let known = self.known().subscriptions.get(&key.subscription);
        let stored = match known.map(|known| event_key(known.bus, key.position)) {
            Some(row) => self.intact(Table::Events, &row, |from| {
                event::read_stored(from, key.position)
            })?,
            None => None,
        };
        let letter = DeadLetter {
            accepted_at: stored
                .as_ref()
                .map_or(ended.accepted_at, |stored| stored.accepted_at),
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
}

fn read_version(from: &mut Reader<'_>) -> Option<u64> {
    let version = from.u64();
    from.rest();
    version
}
