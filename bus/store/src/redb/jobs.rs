//! Jobs in the tables: the row of each, what became of what it made pending, and what an advance writes.
//!
//! Never here: what a job looks at next.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::RedbStore;
use super::catalog::{ERASED_FORMAT, REPLAYED_FORMAT};
use super::steps::Work;
use super::tables::{ReadTx, delivery_key, delivery_of, due_key, event_key, settled_key, stages};
use crate::codec::{Reader, Table, Writer, delivery, event, job as codec, shadow, unseal};
use crate::job::{self, hindrance};
use crate::{Advance, Advanced, Error, JobEffect, NewEvent, Page, Rows, StartJob, StepOutcome};
use edgebus_model::{
    BusId, DeadLetter, DeliveryKey, ErasedCounts, Job, JobControl, JobId, JobResult, JobResults,
    JobSpec, Pending, Position, SkipReason, Skipped, Timestamp,
};

/// Meta: the last number that a job was given.
pub(super) const LAST: &[u8] = b"jobs";

/// What the writer knows of jobs.
#[derive(Clone, Default)]
pub(super) struct Known {
    /// Whether each that is kept has ended.
    ended: BTreeMap<JobId, bool>,
    /// The last number that was given.
    last: u32,
    /// When one of them last changed.
    pub(super) newest: Timestamp,
}

impl Known {
    /// Reads which jobs there are; `None` for a store of a release without jobs.
    pub(super) fn load(
        rows: &ReadTx,
        store: &mut dyn FnMut(&crate::codec::CorruptRecord),
    ) -> Result<Option<Self>, Error> {
        let Some(last) = rows.get(Table::Meta, LAST, |from| from.u32())? else {
            return Ok(None);
        };
        let mut known = Self {
            ended: BTreeMap::new(),
            last: last?,
            newest: Timestamp::default(),
        };
        rows.scan(
            Table::Jobs,
            Bound::Unbounded,
            Bound::Unbounded,
            |key, record| {
                if let Some(id) = of_key(key) {
                    match unseal(Table::Jobs, key, record, |from| codec::read_job(from, id)) {
                        Ok(job) => {
                            known.ended.insert(id, job.state.has_ended());
                            known.newest = known.newest.max(job.changed_at);
                        }
                        Err(corruption) => store(&corruption),
                    }
                    known.last = known.last.max(id.0);
                }
                true
            },
        )?;
        Ok(Some(known))
    }

    fn unended(&self) -> usize {
        self.ended.values().filter(|ended| !**ended).count()
    }

    /// Jobs that ended and are not kept any longer.
    fn surplus(&self) -> Vec<JobId> {
        let ended = self.ended.iter().filter(|(_, ended)| **ended);
        let ended: Vec<JobId> = ended.map(|(id, _)| *id).collect();
        let surplus = ended.len().saturating_sub(Job::ENDED_KEPT);
        ended[..surplus].to_vec()
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.u32(self.last);
    }
}

/// False of a store that no release with jobs has opened.
pub(super) fn are_known(rows: &ReadTx) -> Result<bool, Error> {
    Ok(rows.get(Table::Meta, LAST, |_| Some(()))?.is_some())
}

pub(super) fn job_key(id: JobId) -> [u8; 4] {
    id.0.to_be_bytes()
}

/// The key of what became of what the job made pending.
fn results_key(id: JobId) -> [u8; 5] {
    let [a, b, c, d] = job_key(id);
    [a, b, c, d, b'r']
}

/// The job of a key, if the row is a job's own.
fn of_key(key: &[u8]) -> Option<JobId> {
    Some(JobId(u32::from_be_bytes(key.try_into().ok()?)))
}

/// Decodes a row for the full check.
pub(super) fn read_row(key: &[u8], from: &mut Reader<'_>) -> Option<()> {
    if let Some(id) = of_key(key) {
        return codec::read_job(from, id).map(|_| ());
    }
    match key.get(4) {
        Some(b's') => shadow::read_summary(from).map(|_| ()),
        Some(b'd') => shadow::read_difference(from).map(|_| ()),
        _ => codec::read_results(from).map(|_| ()),
    }
}

impl Work<'_, '_> {
    pub(super) fn jobs(&self) -> &Known {
        self.pending.jobs.as_ref().unwrap_or(&self.memory.jobs)
    }

    fn jobs_mut(&mut self) -> &mut Known {
        let known = &self.memory.jobs;
        self.pending.jobs.get_or_insert_with(|| known.clone())
    }

    fn read_job(&mut self, id: JobId) -> Result<Option<Job>, Error> {
        self.intact(Table::Jobs, &job_key(id), |from| codec::read_job(from, id))
    }

    fn results(&mut self, id: JobId) -> Result<JobResults, Error> {
        let row = self.intact(Table::Jobs, &results_key(id), codec::read_results)?;
        Ok(row.unwrap_or_default())
    }

    /// Writes the job, and lets go of those that ended long ago if it ends with this.
    fn put_job(&mut self, job: &Job) -> Result<(), Error> {
        self.tables.put(Table::Jobs, &job_key(job.id), |out| {
            codec::write_job(out, job);
        })?;
        let changed = &mut self.pending.job_changed;
        *changed = job.changed_at.max(*changed);
        if job::needs_component(job).is_none() {
            self.forget_component(job)?;
        }
        let ended = job.state.has_ended();
        if self.jobs().ended.get(&job.id) == Some(&ended) {
            return Ok(());
        }
        let known = self.jobs_mut();
        known.ended.insert(job.id, ended);
        let surplus = known.surplus();
        for id in surplus {
            self.jobs_mut().ended.remove(&id);
            if let Some(gone) = self.read_job(id)? {
                self.forget_component(&gone)?;
            }
            self.tables.remove(Table::Jobs, &job_key(id))?;
            self.tables.remove(Table::Jobs, &results_key(id))?;
            self.forget_shadow(id)?;
        }
        Ok(())
    }

    pub(super) fn start_job(&mut self, start: &StartJob) -> Result<StepOutcome, Error> {
        let known = self.jobs();
        if let Some(reason) = job::refusal(known.unended(), known.last) {
            return Ok(StepOutcome::Denied(reason));
        }
        if let Some(reason) = job::without_subscription(self.known(), &start.spec) {
            return Ok(StepOutcome::Denied(reason));
        }
        match start.spec {
            JobSpec::Redrive(_) | JobSpec::Purge(_) => {}
            JobSpec::Replay(_) | JobSpec::Skip(_) | JobSpec::Shadow(_) => {
                self.raise_format(REPLAYED_FORMAT)?;
            }
            JobSpec::Erase(_) => self.raise_format(ERASED_FORMAT)?,
        }
        let id = JobId(self.jobs().last + 1);
        self.jobs_mut().last = id.0;
        let job = job::started(start, id);
        self.put_job(&job)?;
        self.start_shadow(&job, start)?;
        Ok(StepOutcome::Job(Box::new(job)))
    }

    pub(super) fn control_job(
        &mut self,
        id: JobId,
        control: JobControl,
        now: Timestamp,
    ) -> Result<StepOutcome, Error> {
        let Some(mut job) = self.read_job(id)? else {
            return Ok(StepOutcome::Stale);
        };
        let had_ended = job.state.has_ended();
        if let Err(reason) = job::control(&mut job, control, now) {
            return Ok(StepOutcome::Denied(reason));
        }
        if had_ended
            && !job.state.has_ended()
            && let Some(reason) = job::refusal(self.jobs().unended(), 0)
        {
            return Ok(StepOutcome::Denied(reason));
        }
        self.put_job(&job)?;
        job.results = self.results(id)?;
        Ok(StepOutcome::Job(Box::new(job)))
    }

    pub(super) fn advance(&mut self, step: &Advance) -> Result<StepOutcome, Error> {
        let job = self.read_job(step.job)?;
        let Some(mut job) = job.filter(|job| job::fits(job, step)) else {
            return Ok(StepOutcome::Stale);
        };
        let (mut done, mut skipped) = (0, Skipped::default());
        let mut erased = ErasedCounts::default();
        let (mut pending, mut ended) = (Vec::new(), Vec::new());
        let erases = |effect: &JobEffect| matches!(effect, JobEffect::EraseEvent { .. });
        if step.effects.iter().any(erases) {
            // Each event is looked up for each of them.
            self.forget_ended_replays()?;
        }
        for effect in step.effects.iter().take(Advance::EFFECTS_MAX) {
            let made = match *effect {
                JobEffect::Redrive { key, fence } => self
                    .redrive((key, fence), step.now, job.id)?
                    .map(|place| pending.push(place)),
                JobEffect::Purge { key, fence } => self.purge((key, fence), step.now, job.id)?,
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
                    self.deliver_again(key, step.now)?
                        .map(|place| pending.push(place))
                }
                JobEffect::Skip { key } => {
                    self.skip(key, step.now, job.id)?.map(|()| ended.push(key))
                }
                JobEffect::EraseEvent { at } => self
                    .erase_event(at, job::mark(step), &mut ended)?
                    .map(|counts| erased.add(counts)),
                JobEffect::EraseLetter { key } => self
                    .erase_letter(key, job::mark(step))?
                    .map(|counts| erased.add(counts)),
            };
            match made {
                Ok(()) => done += 1,
                Err(reason) => skipped.add(reason, 1),
            }
        }
        job::advance(&mut job, step, done, (&skipped, erased));
        if let Some(found) = &step.shadow {
            self.add_shadow(job.id, found)?;
        }
        self.put_job(&job)?;
        job.results = self.results(job.id)?;
        Ok(StepOutcome::Advanced(Box::new(Advanced {
            job,
            pending,
            ended,
        })))
    }

    /// The dead letter under this key, or why there is none.
    pub(super) fn letter(
        &mut self,
        key: DeliveryKey,
    ) -> Result<Result<DeadLetter, SkipReason>, Error> {
        let row = delivery_key(key);
        let read = |from: &mut Reader<'_>| delivery::read_dead(from, key);
        if let Some(letter) = self.intact(Table::DeadLetters, &row, read)? {
            return Ok(Ok(letter));
        }
        let corrupt = self.tables.has(Table::DeadLetters, &row)?;
        Ok(Err(if corrupt {
            SkipReason::Corrupt
        } else {
            SkipReason::Gone
        }))
    }

    /// Makes a dead letter pending again: its place among what waits, or why that can't be.
    fn redrive(
        &mut self,
        (key, fence): (DeliveryKey, u32),
        now: Timestamp,
        job: JobId,
    ) -> Result<Result<(Timestamp, DeliveryKey), SkipReason>, Error> {
        let letter = match self.letter(key)? {
            Ok(letter) => letter,
            Err(reason) => return Ok(Err(reason)),
        };
        if let Some(reason) = hindrance(self.known(), &letter, fence) {
            return Ok(Err(reason));
        }
        let known = self.known().subscriptions.get(&key.subscription);
        let Some(bus) = known.map(|known| known.bus) else {
            return Ok(Err(SkipReason::SubscriptionEnded));
        };
        if self.is_erased(bus, key)? {
            return Ok(Err(SkipReason::Erased));
        }
        for (table, row) in stages(bus, key) {
            // What is in two places is for the check to make right.
            if table != Table::DeadLetters && self.tables.has(table, &row)? {
                return Ok(Err(SkipReason::Gone));
            }
        }
        self.put_back(bus, &letter)?;
        self.forget_letter(key)?;
        let again = letter.delivery.pending().redriven(letter.reason, now, job);
        self.put_pending(&again)?;
        self.replays.unended.add(bus, key);
        self.tables.put(Table::Due, &due_key(now, key), |_| {})?;
        self.counts(key.subscription).waiting += 1;
        Ok(Ok((now, key)))
    }

    /// Writes a dead letter's event back at its place, if the log no longer has it. The event names the delivery's
    /// subscription, so that it stays for as long as the delivery is pending.
    fn put_back(&mut self, bus: BusId, letter: &DeadLetter) -> Result<(), Error> {
        let key = letter.delivery.key;
        let row = event_key(bus, key.position);
        // A replay's delivery is not the event's own.
        let named = (key.replay == 0).then_some(key.subscription);
        let there = self.tables.raw(Table::Events, &row)?;
        let bytes_before = there.as_ref().map_or(0, Vec::len);
        // A corrupt record is written anew from the copy.
        let stored = there.as_ref().and_then(|record| {
            let read = |from: &mut Reader<'_>| event::read_stored(from, key.position);
            unseal(Table::Events, &row, record, read).ok()
        });
        let (new, accepted_at) = match stored {
            None => {
                let new = NewEvent {
                    event: letter.event.clone(),
                    lineage: letter.lineage,
                    subscriptions: named.into_iter().collect(),
                    rules_version: 0,
                };
                (new, letter.accepted_at)
            }
            Some(stored) => {
                // Another dead letter may have brought it back, for itself alone.
                let Some(named) = named.filter(|named| !stored.subscriptions.contains(named))
                else {
                    return Ok(());
                };
                let subscriptions = stored.subscriptions.into_iter().chain([named]);
                let new = NewEvent {
                    event: stored.event,
                    lineage: stored.lineage,
                    subscriptions: subscriptions.collect(),
                    rules_version: stored.rules_version,
                };
                (new, stored.accepted_at)
            }
        };
        let bytes = self.tables.put_weighed(Table::Events, &row, |out| {
            event::write_stored(out, &new, accepted_at);
        })?;
        let counts = self.pending.counters.bus(&self.memory.counters, bus);
        counts.events += u64::from(there.is_none());
        counts.bytes = (counts.bytes + bytes as u64).saturating_sub(bytes_before as u64);
        Ok(())
    }

    /// Lets go of a dead letter, and keeps that its delivery ended so for as long as the log has the event.
    fn purge(
        &mut self,
        (key, fence): (DeliveryKey, u32),
        now: Timestamp,
        id: JobId,
    ) -> Result<Result<(), SkipReason>, Error> {
        let letter = match self.letter(key)? {
            Ok(letter) if letter.delivery.fence == fence => letter,
            Ok(_) => return Ok(Err(SkipReason::Gone)),
            Err(reason) => return Ok(Err(reason)),
        };
        self.forget_letter(key)?;
        let known = self.known().subscriptions.get(&key.subscription);
        let Some(bus) = known.map(|known| known.bus) else {
            return Ok(Ok(()));
        };
        if self
            .tables
            .has(Table::Events, &event_key(bus, key.position))?
        {
            let row = job::purged(letter.delivery.pending(), now, id);
            self.tables
                .put(Table::Settled, &settled_key(bus, key), |out| {
                    delivery::write_settled(out, &row);
                })?;
        }
        Ok(Ok(()))
    }

    /// Takes a dead letter and its attempts out.
    pub(super) fn forget_letter(&mut self, key: DeliveryKey) -> Result<(), Error> {
        self.tables.remove(Table::DeadLetters, &delivery_key(key))?;
        let counts = self.counts(key.subscription);
        counts.dead = counts.dead.saturating_sub(1);
        self.remove_attempts(key).map(|_| ())
    }

    /// Counts what became of a delivery that a job made pending.
    pub(super) fn count_result(&mut self, of: &Pending, result: JobResult) -> Result<(), Error> {
        let Some(id) = of.job().filter(|id| self.jobs().ended.contains_key(id)) else {
            return Ok(());
        };
        let mut results = self.results(id)?;
        results.add(result);
        self.put_results(id, results)
    }

    fn put_results(&mut self, id: JobId, results: JobResults) -> Result<(), Error> {
        self.tables.put(Table::Jobs, &results_key(id), |out| {
            codec::write_results(out, results);
        })
    }

    /// Writes a row of results anew that was corrupt: what has ended is known as far as what is pending can be counted,
    /// so that a replay goes on. Nothing names the deliveries of a redrive, so all of them count as ended.
    pub(super) fn count_results_again(&mut self, key: &[u8]) -> Result<(), Error> {
        let Some((id, b"r")) = key.split_first_chunk::<4>() else {
            return Ok(());
        };
        let id = JobId(u32::from_be_bytes(*id));
        let Some(job) = self.read_job(id)? else {
            return Ok(());
        };
        let pending = match &job.spec {
            JobSpec::Replay(spec) => self.pending_of_replay(spec.bus, id)?,
            _ => 0,
        };
        let results = JobResults {
            uncounted: job.progress.done.saturating_sub(pending),
            ..JobResults::default()
        };
        self.put_results(id, results)
    }

    /// How many deliveries of a replay are pending that no redrive has made so.
    fn pending_of_replay(&mut self, bus: BusId, id: JobId) -> Result<u64, Error> {
        let known = self.known().clone();
        let of_bus = known.subscriptions.values().filter(|own| own.bus == bus);
        let mut count = 0;
        for subscription in of_bus.map(|own| own.id) {
            let end = |position| {
                delivery_key(DeliveryKey {
                    subscription,
                    replay: id.0,
                    position: Position(position),
                })
            };
            let (from, to) = (end(0), end(u64::MAX));
            self.tables
                .scan(Table::Deliveries, &from, &to, |key, record| {
                    let read = |own| {
                        unseal(Table::Deliveries, key, record, |from| {
                            delivery::read_pending(from, own)
                        })
                    };
                    let pending = delivery_of(key).map(read);
                    // A corrupt one is pending until it is moved.
                    let is_own = |pending: Pending| pending.job() == Some(id);
                    count += u64::from(pending.is_some_and(|row| row.map_or(true, is_own)));
                    true
                })?;
        }
        Ok(count)
    }
}

impl RedbStore {
    /// One job with its results.
    pub(super) fn one_job(&self, id: JobId) -> Result<Option<Job>, Error> {
        self.checked(|| {
            let rows = self.snapshot()?;
            let job = self.row(&rows, Table::Jobs, &job_key(id), |from| {
                codec::read_job(from, id)
            })?;
            let Some(mut job) = job else {
                return Ok(None);
            };
            self.add_results(&rows, &mut job)?;
            Ok(Some(job))
        })
    }

    fn add_results(&self, rows: &ReadTx, job: &mut Job) -> Result<(), Error> {
        let key = results_key(job.id);
        if let Some(row) = rows.get(Table::Jobs, &key, codec::read_results)? {
            match row {
                Ok(results) => job.results = results,
                Err(corruption) => self.corrupt.note(&corruption),
            }
        }
        Ok(())
    }

    /// A page of jobs.
    pub(super) fn page_of_jobs(
        &self,
        from: Option<JobId>,
        page: Page,
    ) -> Result<Rows<Job, JobId>, Error> {
        let mut filled = Rows::none();
        if page.rows_max == 0 {
            return Ok(filled);
        }
        self.checked(|| {
            let rows = self.snapshot()?;
            let from = from.map(job_key);
            let behind = from.map(|key| [&key[..], &[u8::MAX]].concat());
            let mut range = (Bound::Unbounded, Bound::Unbounded);
            match page.direction {
                crate::Direction::Forward => {
                    if let Some(behind) = &behind {
                        range.0 = Bound::Excluded(&behind[..]);
                    }
                }
                crate::Direction::Backward => {
                    if let Some(from) = &from {
                        range.1 = Bound::Excluded(&from[..]);
                    }
                }
            }
            let mut failed = None;
            rows.scan_in(Table::Jobs, range, page.direction, |key, record| {
                let Some(id) = of_key(key) else {
                    return true;
                };
                filled.bytes = filled.bytes.saturating_add(record.len());
                match unseal(Table::Jobs, key, record, |from| codec::read_job(from, id)) {
                    Ok(mut job) => {
                        failed = self.add_results(&rows, &mut job).err();
                        filled.rows.push(job);
                    }
                    Err(corruption) => {
                        self.corrupt.note(&corruption);
                        return true;
                    }
                }
                let full = page.is_full(filled.rows.len(), filled.bytes);
                if full {
                    filled.next = Some(id);
                }
                failed.is_none() && !full
            })?;
            failed.map_or(Ok(()), Err)
        })?;
        Ok(filled)
    }
}
