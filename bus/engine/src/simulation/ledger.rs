//! What happened in a run, as those outside of the bus saw it: publishers, functions, and whoever watches the
//! writer commit. It outlives every process of the run.
//!
//! What must not happen at any time is noted here at once; what must hold in the end is `checker`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::books::Books;
use edgebus_model::{
    BusId, DeliveryKey, EraseSpec, JobId, JobPlace, Position, SubscriptionId, Timestamp,
};
use edgebus_store::{
    Advance, JobEffect, Settle, SettleEnd, Step, StepOutcome, Store, StoredEvent, Trim, Trimmed,
};

/// The one bus of the simulation.
pub(super) const BUS: BusId = BusId(1);

/// What was seen; shared by all who see something.
#[derive(Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Seen>>);

#[derive(Default)]
pub(super) struct Seen {
    /// Events by number.
    pub(super) events: BTreeMap<u64, Sent>,
    /// Attempts, by delivery.
    pub(super) deliveries: BTreeMap<String, DeliveryLog>,
    /// Attempts that run in this life, by function.
    running: BTreeMap<String, u32>,
    /// The delivery whose attempt ended last and is not settled yet, by function.
    unsettled: BTreeMap<String, String>,
    /// The most that may run at a time, by function and in all.
    pub(super) allowed: BTreeMap<String, u32>,
    pub(super) in_flight_max: usize,
    /// Settlements as they were sent to the store, whatever came of them: what a zombie would send again.
    pub(super) settlements: Vec<Settle>,
    /// The number of the manifest of each rule-set version.
    pub(super) versions: BTreeMap<u64, u64>,
    /// True once a commit of this life has failed.
    failed: bool,
    /// True if a function has killed the process.
    pub(super) killed: bool,
    /// Promises that were broken.
    pub(super) broken: Vec<String>,
    /// Things that happened, by their names.
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) life: usize,
    /// The rule of each subscription that there was.
    pub(super) rules: BTreeMap<SubscriptionId, String>,
    /// Subscriptions that there are in the end.
    pub(super) active: BTreeSet<SubscriptionId>,
    /// Rules whose function emits an event with each success.
    pub(super) emitting: BTreeSet<String>,
    /// Positions of events whose record was corrupt.
    pub(super) corrupt: BTreeSet<Position>,
    /// Events that retention was about to remove, as they were.
    pub(super) removed: BTreeMap<Position, StoredEvent>,
    /// Their positions, if they are not there any more.
    pub(super) gone: BTreeSet<Position>,
    /// How long they are kept, in milliseconds.
    pub(super) kept_ms: Option<u64>,
    /// State of functions as the commits so far leave it.
    pub(super) books: Books,
    /// Deliveries of replays that the store was asked for.
    pub(super) replays_asked: BTreeSet<DeliveryKey>,
    /// Those that it made.
    pub(super) replayed: BTreeSet<DeliveryKey>,
    /// Deliveries that were to be skipped.
    pub(super) skips_asked: BTreeSet<DeliveryKey>,
    /// Subjects whose events somebody asked to have erased.
    pub(super) subjects: BTreeSet<u64>,
    /// What each erasure is to erase, and whose.
    pub(super) erasures: BTreeMap<JobId, (u64, EraseSpec)>,
    /// Events that the store was asked to erase.
    pub(super) erase_asked: BTreeSet<Position>,
    /// Those of them in a commit that nobody saw.
    erase_unsure: BTreeSet<Position>,
    /// True if a process ended without seeing what came of its last commit.
    pub(super) cut: bool,
    /// Jobs that came to their end by themselves.
    ended_jobs: BTreeSet<JobId>,
    /// Where each job is, as its last step that took place left it.
    places: BTreeMap<JobId, JobPlace>,
}

/// An event and the answers that its publisher got.
#[derive(Clone, Default, Debug)]
pub(super) struct Sent {
    pub(super) kind: String,
    /// Where it is, by the first 2xx.
    pub(super) acknowledged: Option<Position>,
    /// A request had no answer, or was answered "unknown".
    pub(super) unknown: bool,
    /// Answers that it was not known before.
    fresh: u32,
}

/// What a delivery's function saw.
#[derive(Clone, Default, Debug)]
pub(super) struct DeliveryLog {
    pub(super) idempotency_key: String,
    /// Each attempt: its number, and what came of it if it came to its end.
    pub(super) attempts: Vec<(u32, Option<bool>)>,
    /// Lives and numbers in which an attempt began.
    begun: BTreeMap<(usize, u32), u32>,
    /// Conflicts over state, by life: that many attempts began again.
    conflicts: BTreeMap<usize, u32>,
    running: bool,
    /// Its end is durable.
    pub(super) ended: bool,
    /// Not before this time.
    due_at: Option<Timestamp>,
    /// Settlements that had an effect.
    pub(super) settled: u32,
    /// The fence of the last one.
    fence: Option<u32>,
    /// Whoever was thought dead may have settled it, so that an attempt runs for nothing.
    zombie: bool,
    /// When its first attempt began.
    pub(super) first: Option<Timestamp>,
    /// How often it was redriven, and by which job the last time.
    pub(super) redriven: u32,
    pub(super) redriven_by: Option<JobId>,
    /// The fence that it died under, while it is a dead letter.
    dead: Option<u32>,
    /// A job let go of it.
    pub(super) purged: bool,
    /// A job skipped it.
    pub(super) skipped: bool,
    /// A job may have redriven it in a commit that nobody saw.
    pub(super) unsure: bool,
}

impl Ledger {
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, what: &'static str) {
        *self.seen().counts.entry(what).or_default() += 1;
    }
}

impl Seen {
    pub(super) fn broke(&mut self, what: impl Into<String>) {
        // The first ones tell enough.
        if self.broken.len() < 20 {
            let (life, what) = (self.life, what.into());
            self.broken.push(format!("life {life}: {what}"));
        }
    }

    /// A new process begins.
    pub(super) fn begin_life(&mut self, life: usize) {
        self.life = life;
        self.failed = false;
        self.killed = false;
        self.running.clear();
        self.unsettled.clear();
        for told in self.deliveries.values_mut() {
            told.running = false;
        }
    }

    /// An attempt begins.
    pub(super) fn attempt_begins(
        &mut self,
        delivery: &str,
        function: &str,
        number: u32,
        idempotency_key: &str,
        now: Timestamp,
    ) {
        let life = self.life;
        let told = self.deliveries.entry(delivery.to_owned()).or_default();
        let mut wrong = Vec::new();
        told.first.get_or_insert(now);
        if told.idempotency_key.is_empty() {
            told.idempotency_key = idempotency_key.to_owned();
        } else if told.idempotency_key != idempotency_key {
            wrong.push("another idempotency key than before".to_owned());
        }
        if told.running {
            wrong.push("two attempts run at the same time".to_owned());
        }
        if told.ended && !told.zombie && !told.unsure {
            wrong.push("an attempt began after the delivery's end was durable".to_owned());
        }
        if let Some(due_at) = told.due_at.filter(|due_at| *due_at > now && !told.zombie) {
            wrong.push(format!("a retry began at {}, due at {}", now.0, due_at.0));
        }
        let begun = told.begun.entry((life, number)).or_default();
        *begun += 1;
        let conflicts = told.conflicts.get(&life).copied().unwrap_or(0);
        if *begun > 1 + conflicts && !told.zombie && !told.unsure {
            wrong.push(format!("attempt {number} began {begun} times in one life"));
        }
        told.running = true;
        told.attempts.push((number, None));
        let running = self.running.entry(function.to_owned()).or_default();
        *running += 1;
        let (running, most) = (*running, self.allowed.get(function).copied());
        if most == Some(1)
            && let Some(before) = self.unsettled.get(function)
        {
            wrong.push(format!(
                "it began before {before} was settled, with one at a time"
            ));
        }
        if most.is_some_and(|most| running > most) {
            wrong.push(format!(
                "{running} attempts of {function} run, {most:?} may"
            ));
        }
        let all: u32 = self.running.values().sum();
        if all as usize > self.in_flight_max {
            let most = self.in_flight_max;
            wrong.push(format!("{all} attempts run, {most} may"));
        }
        for wrong in wrong {
            self.broke(format!("delivery {delivery}: {wrong}"));
        }
    }

    /// An attempt came to its end.
    pub(super) fn attempt_ends(&mut self, delivery: &str, function: &str, success: bool) {
        if let Some(told) = self.deliveries.get_mut(delivery) {
            told.running = false;
            if let Some(last) = told.attempts.last_mut() {
                last.1 = Some(success);
            }
        }
        let (function, delivery) = (function.to_owned(), delivery.to_owned());
        self.unsettled.insert(function.clone(), delivery);
        if let Some(running) = self.running.get_mut(&function) {
            *running = running.saturating_sub(1);
        }
    }

    /// True if no attempt runs.
    pub(super) fn rests(&self) -> bool {
        self.running.values().all(|running| *running == 0)
    }

    /// The writer is about to commit.
    pub(super) fn commits(&mut self, steps: &[Step], store: &dyn Store) {
        // A removal in the same transaction may raise it past any of them.
        let raises = steps.iter().any(|step| matches!(step, Step::Trim(_)));
        let floor = match raises {
            true => Position(u64::MAX),
            false => store.floor(BUS).unwrap(),
        };
        let below = |position: Position| Position(position.0.saturating_sub(1));
        for step in steps {
            match step {
                Step::Settle(settle) => {
                    if self.settlements.len() < 4_096 {
                        self.settlements.push((**settle).clone());
                    }
                    // With the last of what is pending for it, an event goes.
                    let position = settle.key.position;
                    if position < floor {
                        let page = store.events(BUS, below(position), 1).unwrap();
                        self.keep(page);
                    }
                }
                Step::Trim(trim) => {
                    let floor = store.floor(BUS).unwrap();
                    let oldest = store.events(BUS, below(floor), trim.events_max).unwrap();
                    self.keep(oldest);
                }
                _ => {}
            }
            if let Step::Advance(advance) = step {
                for effect in &advance.effects {
                    match *effect {
                        JobEffect::Deliver {
                            subscription,
                            position,
                        } => {
                            self.replays_asked.insert(DeliveryKey {
                                subscription,
                                replay: advance.job.0,
                                position,
                            });
                        }
                        JobEffect::Skip { key } => {
                            self.skips_asked.insert(key);
                            // With the last of what is pending for it, an event goes.
                            if key.position < floor {
                                let page = store.events(BUS, below(key.position), 1).unwrap();
                                self.keep(page);
                            }
                        }
                        JobEffect::EraseEvent { at } => {
                            self.erase_asked.insert(at.position);
                            if at.position < floor {
                                let page = store.events(BUS, below(at.position), 1).unwrap();
                                self.keep(page);
                            }
                        }
                        JobEffect::Redrive { .. }
                        | JobEffect::Purge { .. }
                        | JobEffect::EraseLetter { .. } => {}
                    }
                }
            }
        }
    }

    fn keep(&mut self, events: Vec<StoredEvent>) {
        for stored in events {
            // One that a redrive brought back names fewer subscriptions than the first.
            self.removed.entry(stored.position).or_insert(stored);
        }
    }

    /// Retention has raised the floor: what it has passed was old enough.
    fn trims(&mut self, trim: &Trim, trimmed: &Trimmed) {
        *self.counts.entry("events removed").or_default() += trimmed.events;
        *self
            .counts
            .entry("events kept for what is pending")
            .or_default() += trimmed.kept;
        let kept_ms = self.kept_ms.unwrap_or(7 * 86_400_000);
        let young = self
            .removed
            .range(..trimmed.floor)
            .map(|(_, stored)| stored)
            .find(|stored| trim.now.ms_since(stored.accepted_at) < kept_ms);
        if let Some(position) = young.map(|stored| stored.position) {
            self.broke(format!(
                "retention passed the event at {position} too early"
            ));
        }
    }

    /// The writer has committed.
    pub(super) fn committed(&mut self, steps: &[Step], outcomes: Option<&[StepOutcome]>) {
        let Some(outcomes) = outcomes else {
            self.failed = true;
            // What of it is there, nobody saw.
            self.cut = true;
            for step in steps {
                if let Step::Advance(advance) = step {
                    self.places.remove(&advance.job);
                    for effect in &advance.effects {
                        if let JobEffect::EraseEvent { at } = effect {
                            self.erase_unsure.insert(at.position);
                        }
                        if let JobEffect::Redrive { key, .. }
                        | JobEffect::Purge { key, .. }
                        | JobEffect::Skip { key } = effect
                        {
                            self.deliveries.entry(name(*key)).or_default().unsure = true;
                        }
                    }
                }
            }
            return;
        };
        // Nobody commits a conflict.
        let conflicts = |outcome: &StepOutcome| *outcome == StepOutcome::Conflict;
        if self.failed && !outcomes.iter().all(conflicts) {
            self.broke("a commit after one that failed");
        }
        for (step, outcome) in steps.iter().zip(outcomes) {
            match (step, outcome) {
                (Step::Settle(settle), _) => self.settles(settle, outcome),
                (Step::Trim(trim), StepOutcome::Trimmed(trimmed)) => self.trims(trim, trimmed),
                (Step::Advance(advance), _) => self.advances(advance, outcome),
                _ => {}
            }
        }
    }

    /// A job moved: from where it was, and what it made pending had ended.
    fn advances(&mut self, advance: &Advance, outcome: &StepOutcome) {
        let StepOutcome::Advanced(advanced) = outcome else {
            return;
        };
        *self.counts.entry("steps of jobs").or_default() += 1;
        let (job, from) = (advance.job, advance.from);
        let before = self.places.insert(job, advance.to);
        if before.is_some_and(|before| before != from) {
            self.broke(format!(
                "job {job} moved from {from:?}, and was at {before:?}"
            ));
        }
        if advanced.job.state.has_ended() && !self.ended_jobs.insert(job) {
            self.broke(format!("job {job} ended twice"));
        }
        for effect in &advance.effects {
            if let JobEffect::Purge { key, fence } = effect {
                let told = self.deliveries.entry(name(*key)).or_default();
                told.purged |= told.dead == Some(*fence);
                // It may have died in a commit that nobody saw.
                told.unsure |= !told.ended && self.cut;
            }
        }
        let redriven: BTreeSet<DeliveryKey> = advance
            .effects
            .iter()
            .filter_map(|effect| match effect {
                JobEffect::Redrive { key, .. } => Some(*key),
                _ => None,
            })
            .collect();
        for (due_at, key) in &advanced.pending {
            if !redriven.contains(key) {
                *self.counts.entry("replayed").or_default() += 1;
                if !self.replayed.insert(*key) {
                    self.broke(format!("delivery {key} was made twice"));
                }
                continue;
            }
            *self.counts.entry("redriven").or_default() += 1;
            let told = self.deliveries.entry(name(*key)).or_default();
            let had_ended = told.ended || told.unsure;
            told.ended = false;
            told.due_at = Some(*due_at);
            told.begun.clear();
            told.conflicts.clear();
            told.dead = None;
            told.redriven += 1;
            told.redriven_by = Some(job);
            if !had_ended && !self.cut {
                self.broke(format!("delivery {key} was redriven before its end"));
            }
        }
        for key in &advanced.ended {
            *self.counts.entry("skipped").or_default() += 1;
            let told = self.deliveries.entry(name(*key)).or_default();
            // What was being read when it was skipped runs for nothing.
            told.zombie = true;
            told.skipped = true;
            if std::mem::replace(&mut told.ended, true) {
                self.broke(format!("delivery {key} had ended when it was skipped"));
            }
        }
    }

    fn settles(&mut self, settle: &Settle, outcome: &StepOutcome) {
        let life = self.life;
        let name = settle.key.to_string();
        self.unsettled.retain(|_, delivery| *delivery != name);
        let told = self.deliveries.entry(name.clone()).or_default();
        match outcome {
            StepOutcome::Settled(_) => {
                told.settled += 1;
                let later = told.fence.is_none_or(|fence| settle.fence > fence);
                told.fence = Some(settle.fence);
                if (told.ended && !told.unsure) || !later {
                    self.broke(format!(
                        "delivery {name}: a second settlement had an effect"
                    ));
                    return;
                }
                if let Err(what) = self.books.settled(settle) {
                    self.broke(format!("delivery {name}: {what}"));
                    return;
                }
                let told = self.deliveries.entry(name).or_default();
                told.due_at = None;
                match settle.end {
                    SettleEnd::Retry { due_at } => {
                        told.due_at = Some(due_at);
                        // A failure of the host spends no attempt: the next one has the same number.
                        told.begun.clear();
                    }
                    SettleEnd::Done(_) => told.ended = true,
                    SettleEnd::Dead { .. } => {
                        told.ended = true;
                        told.dead = Some(settle.fence + 1);
                    }
                }
            }
            StepOutcome::Conflict | StepOutcome::Denied(_) => {
                *told.conflicts.entry(life).or_default() += 1;
            }
            _ => {}
        }
    }

    /// True if an erasure may have ended the delivery in a commit that nobody saw.
    pub(super) fn may_be_erased(&self, key: DeliveryKey, told: &DeliveryLog) -> bool {
        !told.ended && self.erase_unsure.contains(&key.position)
    }

    /// Somebody who was thought dead settles a delivery.
    pub(super) fn zombie(&mut self, key: DeliveryKey, there: bool) {
        self.deliveries.entry(name(key)).or_default().zombie = there;
    }

    /// A publisher was answered.
    pub(super) fn acknowledged(&mut self, number: u64, position: Position, duplicate: bool) {
        let sent = self.events.entry(number).or_default();
        sent.fresh += u32::from(!duplicate);
        let first = *sent.acknowledged.get_or_insert(position);
        if first != position || sent.fresh > 1 {
            let fresh = sent.fresh;
            self.broke(format!(
                "event {number}: answered with position {first}, and with {position}; {fresh} times as a new one"
            ));
        }
    }
}

/// Subjects that published events are about.
pub(super) const SUBJECTS: u64 = 4;

/// The number of the subject that a published event of this number is about.
pub(super) fn subject_of(number: u64) -> u64 {
    number % SUBJECTS
}

/// The number in a manifest's first line.
pub(super) fn number_of(source: &str) -> Option<u64> {
    source.lines().next()?.strip_prefix("# ")?.parse().ok()
}

/// A delivery's name, as functions see it.
pub(super) fn name(key: DeliveryKey) -> String {
    key.to_string()
}
