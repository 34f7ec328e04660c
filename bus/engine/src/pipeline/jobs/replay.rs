//! The next step of a replay: a portion of the log, and who gets its events.
//!
//! A portion is bounded in rows, in bytes and in deliveries. Its end is a place from which the next one goes on, in
//! the midst of an event too, for an event may have more subscriptions than a step has effects. A replay whose
//! deliveries wait for their attempts waits as well. Never here: whether a delivery was made before, which the store
//! checks in the step.

use edgebus_rules::RuleIndex;

use super::super::context::Context;
use super::super::matching;
use super::super::snapshot::Snapshot;
use super::{Budget, Moved, idle};
use edgebus_model::{
    BusId, DeliveryKey, EventRef, Job, JobId, JobPlace, Position, ReplayPurpose, ReplaySpec,
    SkipReason, Skipped, SubscriptionId, Timestamp,
};
use edgebus_store::{Advance, Error, JobEffect, JobEnd, Page, Store, StoredEvent};

/// How long after an apply events may still come that were matched with the rules before, in milliseconds.
const OTHER_RULES_MS: u64 = 2_000;

/// How long a change may take from its commit until it is active, in milliseconds.
const INSTALLED_MS: u64 = 60_000;

/// A replay whose pattern is compiled.
#[derive(Debug)]
pub(crate) struct Replay {
    spec: ReplaySpec,
    pattern: Option<RuleIndex<()>>,
}

/// Positions that a look at the log passed without finding an event.
struct Gaps {
    /// All before this one were found, or counted as missing.
    next: u64,
    /// Events before this position may have been removed by retention.
    floor: u64,
}

impl Gaps {
    fn from(next: u64) -> Self {
        Self { next, floor: 0 }
    }

    /// There is no event up to this position: retention removed it, or its record is corrupt.
    fn until(&mut self, position: u64, missing: &mut Skipped) {
        let removed = position.min(self.floor).saturating_sub(self.next);
        let all = position.saturating_sub(self.next);
        missing.add(SkipReason::Removed, removed);
        missing.add(SkipReason::Corrupt, all.saturating_sub(removed));
        self.next = self.next.max(position);
    }
}

/// What one look at the log found.
#[derive(Debug)]
pub(crate) struct Portion {
    /// What is to be delivered.
    pub(crate) keys: Vec<DeliveryKey>,
    /// How far that is.
    pub(crate) to: JobPlace,
    /// Events that were looked at.
    pub(crate) looked: u64,
    /// What they weighed, in bytes.
    pub(super) bytes: usize,
    /// Events of the range that are not there: retention removed them, or they are in quarantine.
    pub(crate) missing: Skipped,
    /// True if nothing is behind it.
    pub(crate) ended: bool,
}

impl Replay {
    /// Compiles the replay's pattern.
    ///
    /// # Errors
    /// Why the pattern can't be read, in words.
    pub(crate) fn new(spec: ReplaySpec) -> Result<Self, String> {
        let pattern = matching::compiled(spec.pattern.as_ref())?;
        Ok(Self { spec, pattern })
    }

    /// The job's next step; `None` as long as there is nothing to do.
    pub(super) fn step(
        &self,
        context: &Context,
        job: &Job,
        budget: Budget,
    ) -> Result<Option<Moved>, Error> {
        // Its deliveries end without it: how many have, the store says.
        let Some(now) = context.store.job(job.id)? else {
            return Ok(None);
        };
        let pending = now.progress.done.saturating_sub(now.results.ended());
        let room = ReplaySpec::PENDING_MAX.saturating_sub(pending);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if room == 0 {
            return Ok(None);
        }
        let snapshot = context.snapshot();
        if self.comes_too_early(context, &snapshot, job) {
            return Ok(None);
        }
        let budget = Budget {
            effects: budget.effects.min(room),
            ..budget
        };
        let mut portion = self.portion(&*context.store, &snapshot, job.id, job.place, budget)?;
        let until = job.created_at.plus_ms(OTHER_RULES_MS);
        if self.is_open() && portion.ended && context.clock.now() < until {
            portion.ended = false;
        }
        if portion.to == job.place && !portion.ended {
            return Ok(None);
        }
        #[cfg(test)]
        if super::injected::is(super::injected::Bug::ReplaySkips) {
            portion.keys.pop();
        }
        let effects = portion.keys.iter().map(|key| JobEffect::Deliver {
            subscription: key.subscription,
            position: key.position,
        });
        Ok(Some(Moved {
            bytes: portion.bytes,
            step: Advance {
                to: portion.to,
                looked: portion.looked,
                skipped: portion.missing,
                effects: effects.collect(),
                end: portion.ended.then_some(JobEnd::Done),
                ..idle(job, context.clock.now())
            },
        }))
    }

    /// True as long as the change that made its subscriptions is committed and not active yet.
    fn comes_too_early(&self, context: &Context, snapshot: &Snapshot, job: &Job) -> bool {
        let known = |id: &SubscriptionId| snapshot.subscriptions.contains_key(id);
        self.spec.purpose == ReplayPurpose::Start
            && context.clock.now() < job.created_at.plus_ms(INSTALLED_MS)
            && !self.spec.subscriptions.iter().all(known)
    }

    /// True if it ends where its subscriptions have the events live.
    fn is_open(&self) -> bool {
        self.spec.last == Position(u64::MAX)
    }

    /// The next portion behind `from` under the rules of `snapshot`.
    pub(crate) fn portion(
        &self,
        store: &dyn Store,
        snapshot: &Snapshot,
        id: JobId,
        from: JobPlace,
        budget: Budget,
    ) -> Result<Portion, Error> {
        let bus = self.spec.bus;
        // What was looked at last, and of the event behind it the last subscription.
        let (mut position, mut behind) = match from {
            JobPlace::Start => (Position(self.spec.first.0.saturating_sub(1)), None),
            JobPlace::Event(event) => (event.position, None),
            JobPlace::Delivery(key) => {
                let before = Position(key.position.0.saturating_sub(1));
                (before, Some(key))
            }
        };
        let mut portion = Portion {
            keys: Vec::new(),
            to: from,
            looked: 0,
            bytes: 0,
            missing: Skipped::default(),
            ended: false,
        };
        let mut gaps = Gaps::from(position.0.saturating_add(1).max(self.spec.first.0));
        loop {
            let bytes = budget.bytes.saturating_sub(portion.bytes);
            let page = store.events_page(bus, position, Page::forward(budget.rows, bytes))?;
            portion.bytes += page.bytes;
            gaps.floor = store.floor(bus)?.0;
            for stored in &page.rows {
                if stored.position > self.spec.last {
                    return Ok(self.ended(portion, gaps));
                }
                for subscription in self.wanted(store, snapshot, stored)? {
                    // The event in whose midst the last step ended may be gone meanwhile.
                    let done = |behind: DeliveryKey| {
                        behind.position == stored.position && subscription <= behind.subscription
                    };
                    if behind.is_some_and(done) {
                        continue;
                    }
                    if portion.keys.len() >= budget.effects {
                        return Ok(portion);
                    }
                    let key = DeliveryKey {
                        subscription,
                        replay: id.0,
                        position: stored.position,
                    };
                    gaps.until(stored.position.0, &mut portion.missing);
                    portion.keys.push(key);
                    portion.to = JobPlace::Delivery(key);
                }
                behind = None;
                gaps.until(stored.position.0, &mut portion.missing);
                position = stored.position;
                gaps.next = position.0.saturating_add(1);
                portion.to = JobPlace::Event(EventRef { bus, position });
                portion.looked += 1;
            }
            let Some(next) = page.next.filter(|next| *next < self.spec.last) else {
                return Ok(self.ended(portion, gaps));
            };
            if next > position {
                gaps.until(next.0.saturating_add(1), &mut portion.missing);
                // The last rows are corrupt.
                behind = None;
                position = next;
                portion.to = JobPlace::Event(EventRef { bus, position });
            }
            if portion.looked >= budget.rows as u64 || portion.bytes >= budget.bytes {
                return Ok(portion);
            }
        }
    }

    /// The last portion. Where the log ended, a replay doesn't say that goes on to what is live.
    fn ended(&self, mut portion: Portion, mut gaps: Gaps) -> Portion {
        if !self.is_open() {
            gaps.until(self.spec.last.0.saturating_add(1), &mut portion.missing);
        }
        portion.ended = true;
        portion
    }

    /// Who gets an event, in order.
    fn wanted(
        &self,
        store: &dyn Store,
        snapshot: &Snapshot,
        stored: &StoredEvent,
    ) -> Result<Vec<SubscriptionId>, Error> {
        let (spec, event) = (&self.spec, &stored.event);
        let other_type = spec.kind.as_ref().is_some_and(|kind| *kind != event.kind);
        let pattern = self.pattern.as_ref();
        // There is nothing left to deliver.
        let erased = event.erased().is_some();
        if erased || other_type || pattern.is_some_and(|pattern| !matching::matches(pattern, event))
        {
            return Ok(Vec::new());
        }
        let mut to = if spec.as_matched {
            stored.subscriptions.clone()
        } else {
            // Data that can't be read exactly was refused when the event came, if a rule looked at it.
            let bus = snapshot.bus(spec.bus);
            let matched = bus.and_then(|bus| matching::of_stored(bus, event).ok());
            matched.map_or_else(Vec::new, |matched| matched.subscriptions)
        };
        to.retain(|id| {
            let known = snapshot.subscriptions.get(id);
            spec.goes_to(*id) && known.is_some_and(|known| known.active)
        });
        match spec.purpose {
            ReplayPurpose::Replay => {}
            ReplayPurpose::Start => to.retain(|id| !stored.subscriptions.contains(id)),
            ReplayPurpose::Seek => {
                // What is still pending is delivered anyway.
                let mut ended = Vec::with_capacity(to.len());
                for subscription in to {
                    let live = DeliveryKey {
                        subscription,
                        replay: 0,
                        position: stored.position,
                    };
                    if store.pending(live)?.is_none() {
                        ended.push(subscription);
                    }
                }
                to = ended;
            }
        }
        to.sort_unstable();
        to.dedup();
        Ok(to)
    }
}

/// The last position whose event was accepted before `time`, by bisection up to the newest one: positions have no
/// gaps. `check` is asked before each read.
///
/// # Errors
/// What reading and `check` can meet.
pub(crate) fn last_before<E: From<Error>>(
    store: &dyn Store,
    (bus, newest): (BusId, Position),
    time: Timestamp,
    mut check: impl FnMut() -> Result<(), E>,
) -> Result<Position, E> {
    let (mut low, mut high) = (0, newest.0);
    while low < high {
        check()?;
        let middle = low + (high - low) / 2;
        // A corrupt record is passed over, so the event may be a later one.
        let next = store.events_page(bus, Position(middle), Page::one())?;
        match next.rows.first() {
            Some(stored) if stored.accepted_at < time => low = stored.position.0.min(high),
            _ => high = middle,
        }
    }
    Ok(Position(low))
}
