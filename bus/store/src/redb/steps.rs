//! How a step changes the tables: what every step needs, and append and claim.
//!
//! Each step checks everything before it writes anything, so that a refusal writes nothing and the
//! rest of the batch goes on. An error here is the engine's and ends the whole transaction.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::catalog::Identity;
use super::changes::Recorded;
use super::corruption_log::CorruptionLog;
use super::counters::{self, Counters};
use super::fingerprint::{Fingerprint, Fingerprints, Seen};
use super::heads::{Head, write_head};
use super::tables::{Row, Tables, delivery_key, event_key, stages};
use super::{check, dedupe, jobs, quarantine, unended};
use crate::catalog_state::CatalogState;
use crate::codec::{CorruptRecord, Reader, Table, Writer, delivery, event};
use crate::{Append, Appended, Counts, Error, NewEvent, Reused, Step, StepOutcome};
use edgebus_model::reading::{Gap, reach_ms};
use edgebus_model::{
    self as model, BusId, DeliveryKey, Differing, Position, Running, SubscriptionId, Timestamp,
};

/// What the writer remembers between commits; changed only after one has succeeded.
pub(super) struct Memory {
    pub(super) known: Arc<CatalogState>,
    /// Of each bus that has had an event, where its log begins and ends.
    pub(super) heads: HashMap<BusId, Head>,
    /// The format of the store.
    pub(super) format: u32,
    /// Where the log's time went on after the machine was off.
    pub(super) gaps: Vec<Gap>,
    /// The last version given to any state write.
    pub(super) state_version: u64,
    pub(super) counters: Counters,
    pub(super) jobs: jobs::Known,
    pub(super) prints: Fingerprints,
}

/// What a transaction changes in [`Memory`] if it commits.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) known: Option<Arc<CatalogState>>,
    pub(super) heads: BTreeMap<BusId, Head>,
    pub(super) format: Option<u32>,
    pub(super) gaps: Option<Vec<Gap>>,
    pub(super) state_version: Option<u64>,
    pub(super) counters: counters::Changed,
    pub(super) jobs: Option<jobs::Known>,
    /// When a job last changed; 0 if none has.
    pub(super) job_changed: Timestamp,
    pub(super) quarantine: quarantine::Done,
}

/// One transaction at work.
pub(super) struct Work<'a, 'txn> {
    pub(super) tables: Tables<'txn>,
    pub(super) memory: &'a Memory,
    pub(super) pending: Pending,
    /// Changed while the transaction is at work: see there.
    pub(super) dedupe: &'a mut dedupe::Index,
    /// Likewise.
    pub(super) replays: &'a mut unended::Replays,
    pub(super) corrupt: &'a CorruptionLog,
    pub(super) identity: &'a Identity,
    /// How far the check of everything is.
    pub(super) check: &'a check::Checks,
    /// What the last process left; a mark keeps the opens' row whole.
    pub(super) epoch: u64,
}

/// An event that was looked up and has its place.
pub(super) struct Planned<'e> {
    pub(super) bus: BusId,
    pub(super) new: &'e NewEvent,
    fingerprint: Fingerprint,
    content: u64,
    /// When, if it is no duplicate.
    accepted: Timestamp,
    pub(super) appended: Appended,
    /// Set if it says something else than the first event of its (source, id), and the bus refuses that.
    reused: Option<Reused>,
}

impl Memory {
    /// Takes over what a committed transaction changed.
    pub(super) fn absorb(&mut self, pending: Pending) {
        if let Some(known) = pending.known {
            self.known = known;
        }
        self.heads.extend(pending.heads);
        self.format = pending.format.unwrap_or(self.format);
        if let Some(gaps) = pending.gaps {
            self.gaps = gaps;
        }
        if let Some(version) = pending.state_version {
            self.state_version = version;
        }
        self.counters.absorb(pending.counters);
        if let Some(jobs) = pending.jobs {
            self.jobs = jobs;
        }
        self.jobs.newest = self.jobs.newest.max(pending.job_changed);
    }
}

impl Pending {
    /// How far back the bus remembers: its window with `more_ms`, and the gaps within that.
    fn reach_ms(&self, memory: &Memory, bus: BusId, now: Timestamp, more_ms: u64) -> u64 {
        let known = self.known.as_ref().unwrap_or(&memory.known);
        let window_ms = known.buses.get(&bus).map_or(0, |bus| bus.dedupe_ms);
        let gaps = self.gaps.as_ref().unwrap_or(&memory.gaps);
        reach_ms(gaps, now, window_ms.saturating_add(more_ms))
    }
}

impl Work<'_, '_> {
    pub(super) fn step(&mut self, step: &Step) -> Result<StepOutcome, Error> {
        match step {
            Step::Append(append) => self.append(append),
            Step::Settle(settle) => self.settle(settle),
            Step::Claim { key, fence, now } => self.claim(*key, *fence, *now),
            Step::ApplyManifest(_) | Step::Deploy(_) | Step::Remove { .. } | Step::Retire(_) => {
                self.change_now(step)
            }
            Step::Change(change) => self.change(change),
            Step::NoteCheck { now } => self.note_check(*now),
            Step::MarkClean(clean) => self.mark(*clean),
            Step::Clock(reading) => {
                super::catalog::write_clock(&mut self.tables, reading)?;
                self.pending.gaps = Some(reading.gaps.clone());
                Ok(StepOutcome::Marked)
            }
            Step::Quarantine { records, now } => self.quarantine(records, *now),
            Step::StartJob(start) => self.start_job(start),
            Step::Advance(advance) => self.advance(advance),
            Step::ControlJob { job, control, now } => self.control_job(*job, *control, *now),
            Step::Trim(trim) => self.trim(trim),
            Step::Expire(expire) => self.expire(expire),
        }
    }

    /// Writes the small rows that change once a transaction. Tells which rows were changed, if a check has to
    /// know it.
    pub(super) fn finish(mut self) -> Result<(Pending, Option<Recorded>), Error> {
        let mut context = dedupe::Context {
            tables: &mut self.tables,
            prints: &self.memory.prints,
            corrupt: self.corrupt,
        };
        let reach_ms = |bus, now, more| self.pending.reach_ms(self.memory, bus, now, more);
        self.dedupe.keep_up(&mut context, reach_ms)?;
        for (bus, head) in &self.pending.heads {
            write_head(&mut self.tables, *bus, head)?;
        }
        if let Some(version) = self.pending.state_version {
            let put = |out: &mut Vec<u8>| out.u64(version);
            self.tables.put(Table::Meta, super::catalog::COUNTER, put)?;
        }
        if let Some(jobs) = &self.pending.jobs {
            self.tables
                .put(Table::Meta, jobs::LAST, |out| jobs.write(out))?;
        }
        self.pending.counters.write(&mut self.tables)?;
        Ok((self.pending, self.tables.take_recorded()))
    }

    pub(super) fn known(&self) -> &Arc<CatalogState> {
        self.pending.known.as_ref().unwrap_or(&self.memory.known)
    }

    /// The row, or `None` where there is none or it is corrupt, which is noted.
    pub(super) fn intact<T>(
        &mut self,
        table: Table,
        key: &[u8],
        read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let row: Row<T> = self.tables.get(table, key, read);
        match row? {
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(corruption)) => {
                self.corrupt.note(&corruption);
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn append(&mut self, append: &Append) -> Result<StepOutcome, Error> {
        let none: &[_] = &[];
        let subscriptions = append.events.iter().map(|new| new.subscriptions.as_slice());
        for subscriptions in subscriptions.chain(std::iter::once(none)) {
            if let Err(reason) = self.known().check_targets(append.bus, subscriptions) {
                return Ok(StepOutcome::Denied(reason));
            }
        }
        let events = append.events.iter().map(|new| (append.bus, new));
        let planned = self.plan(events, append.now)?;
        if let Some(refusal) = refusal(&planned) {
            return Ok(refusal);
        }
        self.write(&planned)?;
        let places = planned.iter().map(|event| event.appended);
        Ok(StepOutcome::Appended(places.collect()))
    }

    pub(super) fn head(&self, bus: BusId) -> Head {
        let pending = self.pending.heads.get(&bus);
        pending
            .or_else(|| self.memory.heads.get(&bus))
            .copied()
            .unwrap_or_default()
    }

    /// Something of this bus took place then. No start begins before it, and nothing is accepted before it.
    pub(super) fn time_passes(&mut self, bus: BusId, now: Timestamp) {
        let head = self.head(bus);
        if now > head.clock {
            let head = Head { clock: now, ..head };
            self.pending.heads.insert(bus, head);
        }
    }

    fn refuses_differing(&self, bus: BusId) -> bool {
        let known = self.known().buses.get(&bus);
        known.is_some_and(|bus| bus.differing == Differing::Refuse)
    }

    /// Finds the duplicates and gives the others their positions; writes nothing.
    pub(super) fn plan<'e>(
        &mut self,
        events: impl Iterator<Item = (BusId, &'e NewEvent)>,
        now: Timestamp,
    ) -> Result<Vec<Planned<'e>>, Error> {
        let mut planned = Vec::with_capacity(events.size_hint().0);
        let mut heads: Vec<(BusId, u64, u64, Timestamp)> = Vec::new();
        let mut fresh: HashMap<(BusId, Fingerprint), Seen> = HashMap::new();
        for (index, (bus, new)) in events.enumerate() {
            let fingerprint = self.memory.prints.of(bus, &new.event);
            let content = self.memory.prints.content(&new.event);
            let slot = match heads.iter().position(|(known, ..)| *known == bus) {
                Some(slot) => slot,
                None => {
                    let head = self.head(bus);
                    // A bus's times never go back, whoever brings them.
                    let now = now.max(head.clock);
                    let window_ms = self.pending.reach_ms(self.memory, bus, now, 0);
                    heads.push((bus, head.last, window_ms, now));
                    heads.len() - 1
                }
            };
            let (_, head, window_ms, now) = &mut heads[slot];
            let now = *now;
            let repeated = fresh
                .get(&(bus, fingerprint))
                .filter(|_| *window_ms > 0)
                .copied();
            let known = match repeated {
                Some(seen) => Some(seen),
                None => {
                    let mut context = dedupe::Context {
                        tables: &mut self.tables,
                        prints: &self.memory.prints,
                        corrupt: self.corrupt,
                    };
                    let subject = (bus, &fingerprint);
                    self.dedupe.find(&mut context, subject, *window_ms, now)?
                }
            };
            let differs = known.is_some_and(|seen| seen.differs(content));
            let reused = (differs && self.refuses_differing(bus)).then(|| Reused {
                index,
                first: known
                    .filter(|_| repeated.is_none())
                    .map(|seen| seen.position),
            });
            let appended = match known {
                Some(seen) => Appended {
                    position: seen.position,
                    duplicate: true,
                },
                None => {
                    *head += 1;
                    let seen = Seen {
                        position: Position(*head),
                        accepted: now,
                        content,
                    };
                    fresh.insert((bus, fingerprint), seen);
                    Appended {
                        position: seen.position,
                        duplicate: false,
                    }
                }
            };
            planned.push(Planned {
                bus,
                new,
                fingerprint,
                content,
                accepted: now,
                appended,
                reused,
            });
        }
        Ok(planned)
    }

    /// Writes the planned events that are not duplicates, each with its deliveries.
    pub(super) fn write(&mut self, planned: &[Planned<'_>]) -> Result<(), Error> {
        for event in planned.iter().filter(|event| !event.appended.duplicate) {
            let (position, now) = (event.appended.position, event.accepted);
            let key = event_key(event.bus, position);
            let bytes = self.tables.put_weighed(Table::Events, &key, |out| {
                event::write_stored(out, event.new, now);
            })?;
            let counts = self.pending.counters.bus(&self.memory.counters, event.bus);
            counts.events += 1;
            counts.bytes += bytes as u64;
            for subscription in &event.new.subscriptions {
                let key = DeliveryKey {
                    subscription: *subscription,
                    replay: 0,
                    position,
                };
                self.put_pending(&model::Pending::new(key, now))?;
                self.counts(*subscription).pending += 1;
            }
            let head = Head {
                last: position.0,
                clock: now,
                ..self.head(event.bus)
            };
            self.pending.heads.insert(event.bus, head);
            let seen = Seen {
                position,
                accepted: now,
                content: event.content,
            };
            let place = (event.bus, event.fingerprint);
            self.dedupe.add(&mut self.tables, place, seen)?;
        }
        Ok(())
    }

    /// The counters of a subscription, to be changed.
    pub(super) fn counts(&mut self, id: SubscriptionId) -> &mut Counts {
        let known = &self.memory.counters;
        self.pending.counters.subscription(known, id)
    }

    pub(super) fn put_pending(&mut self, pending: &model::Pending) -> Result<(), Error> {
        self.replays.add(pending.key);
        let key = delivery_key(pending.key);
        self.tables.put(Table::Deliveries, &key, |out| {
            delivery::write_pending(out, pending);
        })
    }

    /// The delivery if it is still pending under this fence.
    pub(super) fn pending_under(
        &mut self,
        key: DeliveryKey,
        fence: u32,
    ) -> Result<Option<model::Pending>, Error> {
        let row = self.intact(Table::Deliveries, &delivery_key(key), |from| {
            delivery::read_pending(from, key)
        })?;
        #[cfg(any(test, feature = "testing"))]
        if super::injected::NO_FENCE.get() {
            return Ok(row);
        }
        if row.is_none() {
            self.note_if_nowhere(key)?;
        }
        Ok(row.filter(|pending| pending.fence == fence))
    }

    /// A delivery that is attempted is somewhere: pending, or ended by another attempt.
    fn note_if_nowhere(&mut self, key: DeliveryKey) -> Result<(), Error> {
        let bus = self.known().subscriptions.get(&key.subscription);
        let Some(bus) = bus.map(|known| known.bus) else {
            return Ok(());
        };
        for (table, row) in stages(bus, key) {
            if self.tables.has(table, &row)? {
                return Ok(());
            }
        }
        // Retention took it with its event.
        let event = event_key(bus, key.position);
        if key.position.0 < self.head(bus).floor && !self.tables.has(Table::Events, &event)? {
            return Ok(());
        }
        let corruption =
            CorruptRecord::new(Table::Deliveries, &delivery_key(key), quarantine::MISSING);
        self.corrupt.note(&corruption);
        Ok(())
    }

    fn claim(
        &mut self,
        key: DeliveryKey,
        fence: u32,
        now: Timestamp,
    ) -> Result<StepOutcome, Error> {
        let Some(mut pending) = self.pending_under(key, fence)? else {
            return Ok(StepOutcome::Stale);
        };
        pending.claim();
        self.put_pending(&pending)?;
        let running = Running {
            key,
            fence: pending.fence,
            epoch: self.epoch,
            since: now,
        };
        self.tables.put(Table::Running, &delivery_key(key), |out| {
            delivery::write_running(out, &running);
        })?;
        Ok(StepOutcome::Claimed(Box::new(pending)))
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

/// The refusal of a step with events that say something else than the first of their (source, id).
pub(super) fn refusal(planned: &[Planned<'_>]) -> Option<StepOutcome> {
    let reused: Vec<Reused> = planned.iter().filter_map(|event| event.reused).collect();
    (!reused.is_empty()).then_some(StepOutcome::IdReused(reused))
}
