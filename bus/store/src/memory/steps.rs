//! How a step changes the store in memory: every check first, then every write.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Data, Row, SuccessKey};
use crate::change::Change;
use crate::{
    Append, Appended, ListedKeys, Listing, NewEvent, Reused, Seen, Settle, SettleEnd, Step,
    StepOutcome, StoredEvent, Versioned, hollow_event,
};
use edgebus_model::{
    BusId, DeadLetter, DeadReason, Delivery, DeliveryKey, Differing, Event, EventRef, JobResult,
    Lineage, Pending, Position, Running, SubscriptionId, Succeeded, Timestamp,
};

impl Data {
    /// The last position of a bus.
    pub(super) fn head(&self, bus: BusId) -> Position {
        self.logs.get(&bus).map_or(Position(0), |log| log.last)
    }

    /// Something of this subscription's bus took place then. No start begins before it, and nothing is accepted before it.
    fn time_passes(&mut self, subscription: SubscriptionId, now: Timestamp) {
        #[cfg(any(test, feature = "testing"))]
        if super::injected::APPENDS_ALONE_TAKE_TIME.get() {
            return;
        }
        let known = self.known.subscriptions.get(&subscription);
        if let Some(bus) = known.map(|known| known.bus) {
            let log = self.logs.entry(bus).or_default();
            log.clock = log.clock.max(now);
        }
    }

    /// When something last took place on a bus; nothing is accepted before that.
    pub(super) fn clock_of(&self, bus: BusId) -> Timestamp {
        self.logs.get(&bus).map_or(Timestamp(0), |log| log.clock)
    }

    pub(super) fn at(&self, bus: BusId, position: Position) -> Option<&StoredEvent> {
        self.logs.get(&bus)?.events.get(&position)
    }

    pub(super) fn intact(&self, bus: BusId, position: Position) -> bool {
        self.is_intact(&Row::Event(bus, position))
    }

    pub(super) fn step(&mut self, step: &Step) -> StepOutcome {
        match step {
            Step::Append(append) => self.append(append),
            Step::Settle(settle) => self.settle(settle),
            Step::Claim { key, fence, now } => self.claim(*key, *fence, *now),
            Step::ApplyManifest(_) | Step::Deploy(_) | Step::Remove { .. } | Step::Retire(_) => {
                let has = |digest| self.components.contains_key(&digest);
                match self.known.after(step, has) {
                    Ok(next) => self.change(&Change::new(self.known.clone(), next, step)),
                    Err(reason) => StepOutcome::Denied(reason),
                }
            }
            Step::Change(change) => self.change(change),
            Step::Clock(reading) => {
                self.clock = Some(reading.clone());
                StepOutcome::Marked
            }
            Step::Quarantine { records, now } => self.quarantine(records, *now),
            Step::StartJob(start) => self.start_job(start),
            Step::Advance(advance) => self.advance(advance),
            Step::ControlJob { job, control, now } => self.control_job(*job, *control, *now),
            Step::Trim(trim) => self.trim(trim),
            Step::Expire(expire) => self.expire(expire),
            Step::NoteCheck { .. } => StepOutcome::Marked,
            Step::MarkClean(clean) => {
                self.clean = *clean;
                StepOutcome::Marked
            }
        }
    }

    fn append(&mut self, append: &Append) -> StepOutcome {
        for new in &append.events {
            if let Err(reason) = self.known.check_targets(append.bus, &new.subscriptions) {
                return StepOutcome::Denied(reason);
            }
        }
        if let Err(reason) = self.known.check_targets(append.bus, &[]) {
            return StepOutcome::Denied(reason);
        }
        let all = append.events.iter().map(|new| (append.bus, new));
        if let Some(refusal) = self.reuse(all, append.now) {
            return refusal;
        }
        let events = append.events.iter();
        StepOutcome::Appended(
            events
                .map(|new| self.accept(append.bus, new, append.now))
                .collect(),
        )
    }

    fn known_event(&self, bus: BusId, new: &NewEvent, now: Timestamp) -> Option<Position> {
        let place = (bus, new.event.source.clone(), new.event.id.clone());
        let (position, accepted_at, _) = self.seen.get(&place)?;
        let window_ms = self.known.buses.get(&bus)?.dedupe_ms;
        let now = now.max(self.clock_of(bus));
        let window_ms = match &self.clock {
            Some(reading) => reading.reach_ms(now, window_ms),
            None => window_ms,
        };
        (now.ms_since(*accepted_at) < window_ms).then_some(*position)
    }

    /// The refusal of events that say something else than the first of their (source, id).
    fn reuse<'e>(
        &self,
        events: impl Iterator<Item = (BusId, &'e NewEvent)>,
        now: Timestamp,
    ) -> Option<StepOutcome> {
        let mut fresh: HashMap<(BusId, &str, &str), &Event> = HashMap::new();
        let mut reused = Vec::new();
        for (index, (bus, new)) in events.enumerate() {
            let known = self.known.buses.get(&bus)?;
            let event = &*new.event;
            let place = (bus, event.source.as_str(), event.id.as_str());
            let stored = self.known_event(bus, new, now);
            let first = match stored {
                Some(_) => {
                    let place = (bus, event.source.clone(), event.id.clone());
                    self.seen.get(&place).map(|(_, _, first)| &**first)
                }
                None if known.dedupe_ms > 0 => Some(*fresh.entry(place).or_insert(event)),
                None => None,
            };
            let differs = first.is_some_and(|first| !first.says_the_same(event));
            if differs && known.differing == Differing::Refuse {
                let first = stored;
                reused.push(Reused { index, first });
            }
        }
        (!reused.is_empty()).then_some(StepOutcome::IdReused(reused))
    }

    fn accept(&mut self, bus: BusId, new: &NewEvent, now: Timestamp) -> Appended {
        if let Some(position) = self.known_event(bus, new, now) {
            return Appended {
                position,
                duplicate: true,
            };
        }
        let position = Position(self.head(bus).0 + 1);
        let now = now.max(self.clock_of(bus));
        let place = (bus, new.event.source.clone(), new.event.id.clone());
        self.seen.insert(place, (position, now, new.event.clone()));
        let log = self.logs.entry(bus).or_default();
        (log.last, log.clock) = (position, now);
        log.bytes += super::retention::weight(new, now);
        let stored = StoredEvent {
            position,
            accepted_at: now,
            rules_version: new.rules_version,
            subscriptions: new.subscriptions.clone(),
            lineage: new.lineage,
            event: new.event.clone(),
        };
        log.events.insert(position, stored);
        for subscription in &new.subscriptions {
            let key = DeliveryKey {
                subscription: *subscription,
                replay: 0,
                position,
            };
            let delivery = Delivery::new(Pending::new(key, now), Vec::new());
            self.deliveries.insert(key, delivery);
        }
        Appended {
            position,
            duplicate: false,
        }
    }

    fn claim(&mut self, key: DeliveryKey, fence: u32, now: Timestamp) -> StepOutcome {
        let intact = self.is_intact(&Row::Delivery(key));
        match self.deliveries.get_mut(&key).filter(|_| intact) {
            Some(delivery) if delivery.fence == fence => {
                let mut pending = delivery.pending();
                pending.claim();
                let attempts = std::mem::take(&mut delivery.attempts);
                *delivery = Delivery::new(pending, attempts);
                let running = Running {
                    key,
                    fence: pending.fence,
                    epoch: self.epoch,
                    since: now,
                };
                self.running.insert(key, running);
                StepOutcome::Claimed(Box::new(pending))
            }
            _ => StepOutcome::Stale,
        }
    }

    fn settle(&mut self, settle: &Settle) -> StepOutcome {
        let intact = self.is_intact(&Row::Delivery(settle.key));
        let Some(delivery) = self.deliveries.get(&settle.key).filter(|_| intact) else {
            return StepOutcome::Stale;
        };
        let stale = delivery.fence != settle.fence;
        #[cfg(any(test, feature = "testing"))]
        let stale = stale && !super::injected::NO_FENCE.get();
        if stale {
            return StepOutcome::Stale;
        }
        let due_before = delivery.due_at;
        let mut pending = delivery.pending();
        pending.end(settle.attempt.number, settle.spared);
        let mut ended = Delivery::new(pending, delivery.attempts.clone());
        ended.record(settle.attempt.clone());

        if self.has_changed(&settle.seen) {
            return StepOutcome::Conflict;
        }
        if let Some(refusal) = self.refusal(settle) {
            return refusal;
        }
        let emitted = self.take_effect(settle);
        self.time_passes(settle.key.subscription, settle.now);
        self.deliveries.remove(&settle.key);
        self.running.remove(&settle.key);
        if let Some(due) = due_before {
            self.due.remove(&(due, settle.key));
        }
        match &settle.end {
            SettleEnd::Done(effects) => {
                let row = Succeeded {
                    delivery: ended,
                    settled_at: settle.now,
                    emitted: u32::try_from(effects.emits.len()).unwrap_or(u32::MAX),
                    discarded: None,
                };
                let place = self.place_of(settle.key);
                self.settled.insert(place, row);
                self.count_result(&pending, JobResult::Succeeded);
            }
            SettleEnd::Retry { due_at } => {
                ended.due_at = Some(*due_at);
                self.due.insert((*due_at, settle.key));
                self.deliveries.insert(settle.key, ended);
            }
            SettleEnd::Dead { reason, .. } => {
                self.dead_letter(ended, *reason, settle.now);
                self.count_result(&pending, JobResult::Died);
            }
        }
        self.release(settle.key);
        StepOutcome::Settled(emitted)
    }

    /// True if anything that the attempt saw is no longer so.
    fn has_changed(&self, seen: &Seen) -> bool {
        let Some(function) = &seen.function else {
            return false;
        };
        let other = |key: &Vec<u8>, version: u64| {
            let row = self.state.get(&(function.clone(), key.clone()));
            let changed = row.map_or(0, |row| row.version) != version;
            #[cfg(any(test, feature = "testing"))]
            let changed = changed && !super::injected::NO_VERSIONS.get();
            changed || !self.is_intact(&Row::State(function.clone(), key.clone()))
        };
        let keys = |listing: &Listing| {
            let mut keys = ListedKeys::default();
            let all = self.state.keys().filter(|(owner, _)| owner == function);
            all.filter(|(_, key)| listing.covers(key))
                .for_each(|(_, key)| keys.add(key));
            keys.digest()
        };
        seen.reads.iter().any(|(key, version)| other(key, *version))
            || seen.listings.iter().any(|own| keys(own) != own.keys)
    }

    /// Why the effects can't take place, if they can't.
    fn refusal(&self, settle: &Settle) -> Option<StepOutcome> {
        let (events, now) = (settle.events(), settle.now);
        if let SettleEnd::Done(effects) = &settle.end
            && !effects.writes.is_empty()
        {
            if settle.seen.function.is_none() {
                let reason = "state is written, but no function is named";
                return Some(StepOutcome::Denied(reason.to_owned()));
            }
            if effects.version <= self.state_version {
                let reason = format!("state version {} was given before", effects.version);
                return Some(StepOutcome::Denied(reason));
            }
        }
        for (bus, new) in events {
            if let Err(reason) = self.known.check_targets(*bus, &new.subscriptions) {
                return Some(StepOutcome::Denied(reason));
            }
            if new.lineage.hops > Lineage::HOPS_MAX {
                return Some(StepOutcome::Refused(DeadReason::HopLimit));
            }
        }
        let all = events.iter().map(|(bus, new)| (*bus, new));
        if let Some(refusal) = self.reuse(all, now) {
            return Some(refusal);
        }
        let mut grown: HashMap<EventRef, u32> = HashMap::new();
        let mut fresh = std::collections::HashSet::new();
        for (bus, new) in events {
            let window_ms = self.known.buses.get(bus).map_or(0, |known| known.dedupe_ms);
            let first = fresh.insert((bus, &new.event.source, &new.event.id)) || window_ms == 0;
            if let Some(root) = new.lineage.root
                && first
                && self.known_event(*bus, new, now).is_none()
            {
                *grown.entry(root).or_default() += 1;
            }
        }
        grown
            .iter()
            .any(|(root, more)| {
                let before = self.descendants.get(root).map_or(0, |(count, _)| *count);
                before.saturating_add(*more) > Lineage::DESCENDANTS_MAX
            })
            .then_some(StepOutcome::Refused(DeadReason::FanOutLimit))
    }

    fn take_effect(&mut self, settle: &Settle) -> Vec<(BusId, Appended)> {
        if let (SettleEnd::Done(effects), Some(function)) = (&settle.end, &settle.seen.function) {
            let state = Arc::make_mut(&mut self.state);
            for (key, value) in &effects.writes {
                self.state_version = effects.version;
                let place = (function.clone(), key.clone());
                // A row that is written anew is intact again.
                let row = Row::State(function.clone(), key.clone());
                self.corrupt.remove(&row);
                self.aside.remove(&row);
                match value {
                    Some(value) => {
                        let row = Versioned {
                            value: value.clone(),
                            version: self.state_version,
                        };
                        state.insert(place, row);
                    }
                    None => {
                        state.remove(&place);
                    }
                }
            }
        }
        let events = settle.events();
        let mut emitted = Vec::with_capacity(events.len());
        for (bus, new) in events {
            let appended = self.accept(*bus, new, settle.now);
            if let (Some(root), false) = (new.lineage.root, appended.duplicate) {
                let (count, grown_at) = self.descendants.entry(root).or_default();
                *count += 1;
                *grown_at = settle.now;
            }
            emitted.push((*bus, appended));
        }
        emitted
    }

    /// Where a success stands: by bus and position first.
    pub(super) fn place_of(&self, key: DeliveryKey) -> SuccessKey {
        let known = self.known.subscriptions.get(&key.subscription);
        let bus = known.map_or(BusId(0), |known| known.bus);
        (bus, key.position, key.subscription, key.replay)
    }

    pub(super) fn dead_letter(&mut self, delivery: Delivery, reason: DeadReason, now: Timestamp) {
        let key = delivery.key;
        let bus = self.known.subscriptions.get(&key.subscription);
        let stored = bus
            .filter(|known| self.intact(known.bus, key.position))
            .and_then(|known| self.at(known.bus, key.position));
        let letter = DeadLetter {
            accepted_at: stored.map_or(delivery.accepted_at, |stored| stored.accepted_at),
            delivery,
            reason: stored.map_or(DeadReason::Corrupt, |_| reason),
            died_at: now,
            event: stored.map_or_else(|| hollow_event().into(), |stored| stored.event.clone()),
            lineage: stored.map_or_else(Lineage::default, |stored| stored.lineage),
        };
        self.dead_letters.insert(key, letter);
    }

    fn change(&mut self, change: &Change) -> StepOutcome {
        if let Err(reason) = change.check(&self.known) {
            return StepOutcome::Denied(reason);
        }
        for id in &change.difference().subscriptions_gone {
            let of = |key: &DeliveryKey| key.subscription == *id;
            if self.deliveries.keys().any(of) || self.dead_letters.keys().any(of) {
                let reason = format!("subscription number {} still has something pending", id.0);
                return StepOutcome::Denied(reason);
            }
        }
        self.components.extend(change.components().iter().cloned());
        self.known = change.next().clone();
        let needed = self.known.digests();
        self.components.retain(|digest, _| needed.contains(digest));
        StepOutcome::Applied {
            version: self.known.version,
        }
    }
}
