//! Jobs of the store in memory.

use super::retention::weight_of;
use super::{Data, Row};
use crate::job::{self, hindrance};
use crate::{Advance, Advanced, JobEffect, StartJob, StepOutcome, StoredEvent};
use edgebus_model::{
    BusId, DeadLetter, Delivery, DeliveryKey, ErasedCounts, Job, JobControl, JobId, JobResult,
    Pending, ShadowReport, SkipReason, Skipped, Timestamp,
};

impl Data {
    fn unended(&self) -> usize {
        self.jobs
            .values()
            .filter(|job| !job.state.has_ended())
            .count()
    }

    fn trim_jobs(&mut self) {
        let ended = self.jobs.values().filter(|job| job.state.has_ended());
        let ended: Vec<JobId> = ended.map(|job| job.id).collect();
        for id in &ended[..ended.len().saturating_sub(Job::ENDED_KEPT)] {
            self.jobs.remove(id);
            self.shadows.remove(id);
        }
        let jobs = &self.jobs;
        let needed = |id: &JobId| jobs.get(id).and_then(job::needs_component).is_some();
        self.job_components.retain(|id, _| needed(id));
    }

    /// Adds what a part of a shadow replay found.
    fn add_shadow(&mut self, id: JobId, found: &ShadowReport) {
        let own = self.shadows.entry(id).or_default();
        own.counts.add(&found.counts);
        let room = ShadowReport::DIFFERENCES_MAX - own.differences.len();
        let new = found.differences.iter().take(room).cloned();
        own.differences.extend(new);
    }

    pub(super) fn start_job(&mut self, start: &StartJob) -> StepOutcome {
        if let Some(reason) = job::refusal(self.unended(), self.job_last) {
            return StepOutcome::Denied(reason);
        }
        if let Some(reason) = job::without_subscription(&self.known, &start.spec) {
            return StepOutcome::Denied(reason);
        }
        self.job_last += 1;
        let job = job::started(start, JobId(self.job_last));
        self.jobs.insert(job.id, job.clone());
        let component = job::needs_component(&job).and(start.component.clone());
        if let Some(component) = component {
            self.job_components.insert(job.id, component);
        }
        StepOutcome::Job(Box::new(job))
    }

    pub(super) fn control_job(
        &mut self,
        id: JobId,
        control: JobControl,
        now: Timestamp,
    ) -> StepOutcome {
        let Some(mut job) = self.jobs.get(&id).cloned() else {
            return StepOutcome::Stale;
        };
        let had_ended = job.state.has_ended();
        if let Err(reason) = job::control(&mut job, control, now) {
            return StepOutcome::Denied(reason);
        }
        if had_ended
            && !job.state.has_ended()
            && let Some(reason) = job::refusal(self.unended(), 0)
        {
            return StepOutcome::Denied(reason);
        }
        self.jobs.insert(id, job.clone());
        self.trim_jobs();
        StepOutcome::Job(Box::new(job))
    }

    pub(super) fn advance(&mut self, step: &Advance) -> StepOutcome {
        let job = self.jobs.get(&step.job);
        let Some(mut job) = job.filter(|job| job::fits(job, step)).cloned() else {
            return StepOutcome::Stale;
        };
        let (mut done, mut skipped) = (0, Skipped::default());
        let mut erased = ErasedCounts::default();
        let (mut pending, mut ended) = (Vec::new(), Vec::new());
        for effect in step.effects.iter().take(Advance::EFFECTS_MAX) {
            let made = match *effect {
                JobEffect::Redrive { key, fence } => self
                    .redrive((key, fence), step.now, job.id)
                    .map(|place| pending.push(place)),
                JobEffect::Purge { key, fence } => self.purge((key, fence), step.now, job.id),
                JobEffect::Deliver {
                    subscription,
                    position,
                } => {
                    let replay = job.id.0;
                    let key = DeliveryKey {
                        subscription,
                        replay,
                        position,
                    };
                    self.deliver_again(key, step.now)
                        .map(|place| pending.push(place))
                }
                JobEffect::Skip { key } => {
                    self.skip(key, step.now, job.id).map(|()| ended.push(key))
                }
                JobEffect::EraseEvent { at } => self
                    .erase_event(at, job::mark(step), &mut ended)
                    .map(|counts| erased.add(counts)),
                JobEffect::EraseLetter { key } => self
                    .erase_letter(key, job::mark(step))
                    .map(|counts| erased.add(counts)),
            };
            match made {
                Ok(()) => done += 1,
                Err(reason) => skipped.add(reason, 1),
            }
        }
        if let Some(own) = self.jobs.get(&job.id) {
            // An effect may have been on what the job itself made pending.
            job.results = own.results;
        }
        job::advance(&mut job, step, done, (&skipped, erased));
        if let Some(found) = &step.shadow {
            self.add_shadow(job.id, found);
        }
        self.jobs.insert(job.id, job.clone());
        self.trim_jobs();
        StepOutcome::Advanced(Box::new(Advanced {
            job,
            pending,
            ended,
        }))
    }

    pub(super) fn letter(&self, key: DeliveryKey) -> Result<&DeadLetter, SkipReason> {
        let letter = self.dead_letters.get(&key).ok_or(SkipReason::Gone)?;
        let intact = self.is_intact(&Row::DeadLetter(key));
        intact.then_some(letter).ok_or(SkipReason::Corrupt)
    }

    fn redrive(
        &mut self,
        (key, fence): (DeliveryKey, u32),
        now: Timestamp,
        job: JobId,
    ) -> Result<(Timestamp, DeliveryKey), SkipReason> {
        let letter = self.letter(key)?;
        if let Some(reason) = hindrance(&self.known, letter, fence) {
            return Err(reason);
        }
        let place = self.place_of(key);
        if self.is_erased(place.0, key.position) {
            return Err(SkipReason::Erased);
        }
        if self.deliveries.contains_key(&key) || self.settled.contains_key(&place) {
            return Err(SkipReason::Gone);
        }
        let letter = letter.clone();
        let again = letter.delivery.pending().redriven(letter.reason, now, job);
        self.dead_letters.remove(&key);
        self.put_back(place.0, &letter);
        // An event that was moved aside is written again.
        self.aside.remove(&Row::Event(place.0, key.position));
        self.deliveries
            .insert(key, Delivery::new(again, Vec::new()));
        self.due.insert((now, key));
        Ok((now, key))
    }

    /// Writes a dead letter's event back at its place, if the log no longer has it.
    fn put_back(&mut self, bus: BusId, letter: &DeadLetter) {
        let key = letter.delivery.key;
        let named = (key.replay == 0).then_some(key.subscription);
        let log = self.logs.entry(bus).or_default();
        let before = log.events.get(&key.position).cloned();
        let mut stored = before.clone().unwrap_or_else(|| StoredEvent {
            position: key.position,
            accepted_at: letter.accepted_at,
            rules_version: 0,
            subscriptions: Vec::new(),
            lineage: letter.lineage,
            event: letter.event.clone(),
        });
        if let Some(named) = named.filter(|named| !stored.subscriptions.contains(named)) {
            stored.subscriptions.push(named);
        }
        if before.as_ref() != Some(&stored) {
            log.bytes = (log.bytes + weight_of(&stored))
                .saturating_sub(before.as_ref().map_or(0, weight_of));
            log.events.insert(key.position, stored);
        }
    }

    fn purge(
        &mut self,
        (key, fence): (DeliveryKey, u32),
        now: Timestamp,
        id: JobId,
    ) -> Result<(), SkipReason> {
        let letter = self.letter(key)?;
        if letter.delivery.fence != fence {
            return Err(SkipReason::Gone);
        }
        let ended = letter.delivery.pending();
        self.dead_letters.remove(&key);
        let place = self.place_of(key);
        let known = self.known.subscriptions.contains_key(&key.subscription);
        let there = self.at(place.0, key.position).is_some();
        if known && there && !self.aside.contains_key(&Row::Event(place.0, key.position)) {
            let row = job::purged(ended, now, id);
            self.settled.insert(place, row);
        }
        Ok(())
    }

    pub(super) fn count_result(&mut self, of: &Pending, result: JobResult) {
        if let Some(job) = of.job().and_then(|id| self.jobs.get_mut(&id)) {
            job.results.add(result);
        }
    }
}
