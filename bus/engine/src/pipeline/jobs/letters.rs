//! The next step of a redrive or a purge: which of the next dead letters are selected.
//!
//! Never here: whether one can be redriven, which the store checks in the step.

use edgebus_rules::RuleIndex;

use super::super::context::Context;
use super::super::matching;
use super::super::snapshot::Snapshot;
use super::{Budget, Moved, ended, idle};
use edgebus_model::{
    DeadLetter, DeliveryKey, Job, JobPlace, JobSpec, LetterSelection, Position, SkipReason,
    Skipped, SubscriptionId, Timestamp,
};
use edgebus_store::{Advance, DeliveryState, Error, JobEffect, JobEnd, Page, Store};

/// Dead letters that are read at once, at least, where not all of them are selected.
const ROWS_AT_ONCE: usize = 64;

/// A selection of dead letters whose pattern is compiled.
#[derive(Debug)]
pub(crate) struct Letters {
    selection: LetterSelection,
    pattern: Option<RuleIndex<()>>,
}

impl Letters {
    /// Compiles the selection's pattern.
    ///
    /// # Errors
    /// Why the pattern can't be read, in words.
    pub(crate) fn new(selection: LetterSelection) -> Result<Self, String> {
        let pattern = matching::compiled(selection.pattern.as_ref())?;
        Ok(Self { selection, pattern })
    }

    /// True if a dead letter is selected; `until` is when the selection was made: what dies later is not of it.
    pub(crate) fn wants(&self, letter: &DeadLetter, until: Timestamp) -> bool {
        let own = &self.selection;
        letter.died_at <= until
            && own.reason.is_none_or(|reason| letter.reason == reason)
            && own.since.is_none_or(|since| letter.died_at >= since)
            && own.until.is_none_or(|until| letter.died_at < until)
            && own
                .kind
                .as_ref()
                .is_none_or(|kind| letter.event.kind == *kind)
            && self
                .pattern
                .as_ref()
                .is_none_or(|pattern| matching::matches(pattern, &letter.event))
    }

    /// True if it may leave out dead letters of the subscriptions that it is about.
    fn is_narrow(&self) -> bool {
        let own = &self.selection;
        own.reason.is_some()
            || own.since.is_some()
            || own.until.is_some()
            || own.kind.is_some()
            || own.pattern.is_some()
    }

    /// The subscriptions that it is about, in order: also such as have left the manifest and still have dead letters.
    pub(crate) fn subscriptions(&self, snapshot: &Snapshot) -> Vec<SubscriptionId> {
        if !self.selection.subscriptions.is_empty() {
            return self.selection.subscriptions.clone();
        }
        let mut all: Vec<_> = snapshot.subscriptions.keys().copied().collect();
        all.sort_unstable();
        all
    }

    /// The job's next step.
    pub(super) fn step(
        &self,
        context: &Context,
        job: &Job,
        budget: Budget,
    ) -> Result<Moved, Error> {
        let left = match self.selection.limit {
            Some(limit) => limit.saturating_sub(job.progress.done),
            None => u64::MAX,
        };
        if left == 0 {
            let step = ended(job, JobEnd::Done);
            return Ok(Moved { step, bytes: 0 });
        }
        let budget = Budget {
            effects: budget
                .effects
                .min(usize::try_from(left).unwrap_or(usize::MAX)),
            ..budget
        };
        let from = match job.place {
            JobPlace::Delivery(key) => Some(key),
            _ => None,
        };
        let mut next = Next::new(job, self, budget);
        if self.selection.keys.is_empty() {
            let subscriptions = self.subscriptions(&context.snapshot());
            next.walk(&*context.store, &subscriptions, from)?;
        } else {
            next.named(&*context.store, &self.selection.keys, from)?;
        }
        Ok(Moved {
            bytes: next.bytes,
            step: Advance {
                to: next.place,
                looked: next.looked,
                skipped: next.skipped,
                effects: next.effects,
                end: next.over.then_some(JobEnd::Done),
                ..idle(job, context.clock.now())
            },
        })
    }
}

/// A step that is being put together.
struct Next<'j> {
    job: &'j Job,
    letters: &'j Letters,
    budget: Budget,
    place: JobPlace,
    looked: u64,
    bytes: usize,
    skipped: Skipped,
    effects: Vec<JobEffect>,
    over: bool,
}

impl<'j> Next<'j> {
    fn new(job: &'j Job, letters: &'j Letters, budget: Budget) -> Self {
        Self {
            job,
            letters,
            budget,
            place: job.place,
            looked: 0,
            bytes: 0,
            skipped: Skipped::default(),
            effects: Vec::new(),
            over: false,
        }
    }

    fn is_full(&self) -> bool {
        self.effects.len() >= self.budget.effects
            || self.looked >= self.budget.rows as u64
            || self.bytes >= self.budget.bytes
    }

    /// Rows to read next: as many as can be taken, or more where some of them are not selected.
    fn rows_at_once(&self) -> usize {
        let wanted = self.budget.effects - self.effects.len();
        let looked = usize::try_from(self.looked).unwrap_or(usize::MAX);
        let left = self.budget.rows.saturating_sub(looked).max(1);
        match self.letters.is_narrow() {
            true => wanted.max(ROWS_AT_ONCE).min(left),
            false => wanted.min(left),
        }
    }

    /// Looks at one dead letter.
    fn look(&mut self, letter: &DeadLetter) {
        let key = letter.delivery.key;
        self.looked += 1;
        self.place = JobPlace::Delivery(key);
        #[cfg(test)]
        if super::injected::every(3, super::injected::Bug::LetterForgotten) {
            return;
        }
        if !self.letters.wants(letter, self.job.created_at) {
            return;
        }
        let fence = letter.delivery.fence;
        match self.job.spec {
            JobSpec::Redrive(_) if letter.is_hollow() => self.skipped.add(SkipReason::Corrupt, 1),
            JobSpec::Redrive(_) => self.effects.push(JobEffect::Redrive { key, fence }),
            JobSpec::Purge(_) => self.effects.push(JobEffect::Purge { key, fence }),
            // They have steps of their own.
            JobSpec::Replay(_) | JobSpec::Skip(_) | JobSpec::Erase(_) | JobSpec::Shadow(_) => {}
        }
    }

    /// Goes on behind `from` over the dead letters of these subscriptions.
    fn walk(
        &mut self,
        store: &dyn Store,
        subscriptions: &[SubscriptionId],
        from: Option<DeliveryKey>,
    ) -> Result<(), Error> {
        let first = from.map_or(SubscriptionId(0), |from| from.subscription);
        let behind = subscriptions.iter().filter(|id| **id >= first);
        for id in behind {
            let mut from = from.filter(|from| from.subscription == *id);
            loop {
                if self.is_full() {
                    return Ok(());
                }
                let bytes = self.budget.bytes.saturating_sub(self.bytes);
                let page = Page::forward(self.rows_at_once(), bytes);
                let page = store.dead_letters_page(*id, from, page)?;
                self.bytes += page.bytes;
                for letter in &page.rows {
                    if self.effects.len() >= self.budget.effects {
                        return Ok(());
                    }
                    self.look(letter);
                }
                from = page.next;
                match page.next {
                    // The last rows may be corrupt.
                    Some(next) => self.place = JobPlace::Delivery(next),
                    None => break,
                }
            }
            self.place = JobPlace::Delivery(DeliveryKey {
                subscription: *id,
                replay: u32::MAX,
                position: Position(u64::MAX),
            });
        }
        self.over = true;
        Ok(())
    }

    /// Goes on behind `from` over the dead letters that are named.
    fn named(
        &mut self,
        store: &dyn Store,
        keys: &[DeliveryKey],
        from: Option<DeliveryKey>,
    ) -> Result<(), Error> {
        let behind = keys
            .iter()
            .filter(|key| from.is_none_or(|from| **key > from));
        for key in behind {
            if self.is_full() {
                return Ok(());
            }
            match store.delivery(*key) {
                Ok(Some(DeliveryState::Dead(letter))) => {
                    self.bytes += letter.event.size();
                    self.look(&letter);
                }
                Ok(_) => self.pass(*key, SkipReason::Gone),
                Err(error) if error.kind == edgebus_store::Kind::Corrupt => {
                    self.pass(*key, SkipReason::Corrupt);
                }
                Err(error) => return Err(error),
            }
        }
        self.over = true;
        Ok(())
    }

    fn pass(&mut self, key: DeliveryKey, reason: SkipReason) {
        self.looked += 1;
        self.place = JobPlace::Delivery(key);
        self.skipped.add(reason, 1);
    }
}
