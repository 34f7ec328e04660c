//! The next step of an erasure: which of the next events of the log are selected, and behind the log's range which dead
//! letters.
//!
//! The log comes first. What is pending for an event ends when the event is erased, so nothing of it dies later, and
//! redrives wait until the erasure has ended: a dead letter that was there stays where the job finds it. Events that came
//! after the job was made are not looked at. Never here: what is written in place of an event.

use edgebus_rules::RuleIndex;

use super::super::context::Context;
use super::super::matching;
use super::super::snapshot::Snapshot;
use super::{Budget, Moved, idle};
use edgebus_model::{
    BusId, DeliveryKey, EraseSpec, Event, EventRef, Job, JobPlace, Position, SkipReason, Skipped,
    SubscriptionId,
};
use edgebus_store::{Advance, Error, JobEffect, JobEnd, Page, Store};

/// The place behind the log and before all dead letters.
const LETTERS: DeliveryKey = DeliveryKey {
    subscription: SubscriptionId(0),
    replay: 0,
    position: Position(0),
};

/// An erasure whose pattern is compiled.
#[derive(Debug)]
pub(crate) struct Erasure {
    spec: EraseSpec,
    pattern: Option<RuleIndex<()>>,
}

/// What one look at the log or at dead letters found.
#[derive(Debug)]
pub(crate) struct Portion {
    /// What is to be erased.
    pub(crate) effects: Vec<JobEffect>,
    /// How far that is.
    to: JobPlace,
    /// Rows that were looked at.
    pub(crate) looked: u64,
    /// What they weighed, in bytes.
    bytes: usize,
    /// Events of the range that can't be read.
    skipped: Skipped,
    /// Rows that the effects write, about.
    rows: usize,
    /// True if nothing is behind it.
    pub(crate) ended: bool,
}

impl Portion {
    fn begin(from: JobPlace) -> Self {
        Self {
            effects: Vec::new(),
            to: from,
            looked: 0,
            bytes: 0,
            skipped: Skipped::default(),
            rows: 0,
            ended: false,
        }
    }

    fn is_full(&self, budget: Budget) -> bool {
        self.looked >= budget.rows as u64 || self.bytes >= budget.bytes || self.has_all(budget)
    }

    fn has_all(&self, budget: Budget) -> bool {
        self.effects.len() >= budget.effects || self.rows >= budget.rows
    }

    /// Goes to a position of the log; counts those between that retention has not reached.
    fn pass(&mut self, bus: BusId, (behind, to): (Position, Position), floor: Position) {
        let from = behind.0.saturating_add(1).max(floor.0);
        let missing = to.0.saturating_sub(from);
        self.skipped.add(SkipReason::Corrupt, missing);
        self.to = JobPlace::Event(EventRef { bus, position: to });
    }

    /// Where the next one goes on.
    pub(crate) fn place(&self) -> JobPlace {
        self.to
    }
}

impl Erasure {
    /// Compiles the erasure's pattern.
    ///
    /// # Errors
    /// Why the pattern can't be read, in words; or nothing says which events.
    pub(crate) fn new(spec: EraseSpec) -> Result<Self, String> {
        if spec.subject.is_none() && spec.pattern.is_none() {
            return Err("nothing says which events".to_owned());
        }
        let pattern = matching::compiled(spec.pattern.as_ref())?;
        Ok(Self { spec, pattern })
    }

    /// True if an event at this position is to be erased.
    fn wants(&self, position: Position, event: &Event) -> bool {
        let (spec, pattern) = (&self.spec, self.pattern.as_ref());
        let subject = spec.subject.as_ref();
        spec.covers(position)
            && event.erased().is_none()
            && subject.is_none_or(|subject| event.subject.as_ref() == Some(subject))
            && pattern.is_none_or(|pattern| matching::matches(pattern, event))
    }

    /// The job's next step.
    pub(super) fn step(
        &self,
        context: &Context,
        job: &Job,
        budget: Budget,
    ) -> Result<Moved, Error> {
        let snapshot = context.snapshot();
        let portion = self.portion(&*context.store, &snapshot, job.place, budget)?;
        Ok(Moved {
            bytes: portion.bytes,
            step: Advance {
                to: portion.to,
                looked: portion.looked,
                skipped: portion.skipped,
                effects: portion.effects,
                end: portion.ended.then_some(JobEnd::Done),
                ..idle(job, context.clock.now())
            },
        })
    }

    /// The next portion behind `from`: of the log, then of the dead letters of the bus's subscriptions.
    pub(crate) fn portion(
        &self,
        store: &dyn Store,
        snapshot: &Snapshot,
        from: JobPlace,
        budget: Budget,
    ) -> Result<Portion, Error> {
        let mut portion = Portion::begin(from);
        match from {
            JobPlace::Start => self.log(
                store,
                Position(self.spec.first.0.saturating_sub(1)),
                budget,
                &mut portion,
            )?,
            JobPlace::Event(event) => self.log(store, event.position, budget, &mut portion)?,
            JobPlace::Delivery(from) => {
                self.letters(store, snapshot, from, budget, &mut portion)?
            }
        }
        Ok(portion)
    }

    /// Goes on behind a position over the log, up to the end of the range.
    fn log(
        &self,
        store: &dyn Store,
        behind: Position,
        budget: Budget,
        portion: &mut Portion,
    ) -> Result<(), Error> {
        let (bus, last) = (self.spec.bus, self.spec.last);
        let mut behind = behind;
        while behind < last {
            if portion.is_full(budget) {
                return Ok(());
            }
            let rows = budget
                .rows
                .saturating_sub(usize::try_from(portion.looked).unwrap_or(usize::MAX));
            let bytes = budget.bytes.saturating_sub(portion.bytes);
            let page = store.events_page(bus, behind, Page::forward(rows, bytes))?;
            // What was there when the page was read is there from this position on, or can't be read.
            let floor = store.floor(bus)?;
            portion.bytes += page.bytes;
            for stored in page.rows.iter().filter(|own| own.position <= last) {
                let position = stored.position;
                let wanted = self.wants(position, &stored.event);
                if wanted && portion.has_all(budget) {
                    return Ok(());
                }
                portion.pass(bus, (behind, position), floor);
                behind = position;
                portion.looked += 1;
                if wanted {
                    portion.rows += 1 + stored.subscriptions.len();
                    let at = EventRef { bus, position };
                    portion.effects.push(JobEffect::EraseEvent { at });
                }
            }
            // The last rows may be corrupt.
            let end = page.next.map_or(last, |next| next.min(last));
            if end > behind {
                portion.pass(bus, (behind, Position(end.0.saturating_add(1))), floor);
                behind = end;
                let position = end;
                portion.to = JobPlace::Event(EventRef { bus, position });
            }
        }
        portion.to = JobPlace::Delivery(LETTERS);
        Ok(())
    }

    /// Goes on behind a dead letter.
    fn letters(
        &self,
        store: &dyn Store,
        snapshot: &Snapshot,
        from: DeliveryKey,
        budget: Budget,
        portion: &mut Portion,
    ) -> Result<(), Error> {
        // Those that have left the manifest, too.
        let all = snapshot.subscriptions.values();
        let own = all.filter(|own| own.bus == self.spec.bus && own.id >= from.subscription);
        let mut own: Vec<SubscriptionId> = own.map(|own| own.id).collect();
        own.sort_unstable();
        for id in own {
            let mut from = Some(from).filter(|from| from.subscription == id);
            loop {
                if portion.is_full(budget) {
                    return Ok(());
                }
                let rows = budget.effects.saturating_sub(portion.effects.len()).max(1);
                let bytes = budget.bytes.saturating_sub(portion.bytes);
                let page = store.dead_letters_page(id, from, Page::forward(rows, bytes))?;
                portion.bytes += page.bytes;
                for letter in &page.rows {
                    let key = letter.delivery.key;
                    portion.looked += 1;
                    portion.to = JobPlace::Delivery(key);
                    #[cfg(test)]
                    if super::injected::every(3, super::injected::Bug::CopyForgotten) {
                        continue;
                    }
                    if self.wants(key.position, &letter.event) {
                        portion.effects.push(JobEffect::EraseLetter { key });
                    }
                }
                from = page.next;
                match page.next {
                    // The last rows may be corrupt.
                    Some(next) => portion.to = JobPlace::Delivery(next),
                    None => break,
                }
            }
            portion.to = JobPlace::Delivery(DeliveryKey {
                subscription: id,
                replay: u32::MAX,
                position: Position(u64::MAX),
            });
        }
        portion.ended = true;
        Ok(())
    }
}
