//! One attempt: its lease, the delivery's target, and the settlement on its way to the writer.
//!
//! An attempt runs on the workers' threads and holds a lease of the scheduler, which is returned when it is
//! dropped. Never here: what a target does (`target`), what becomes of the delivery (`settle` decides that), or
//! who is next.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::context::Context;
use super::reading::Reading;
use super::recover::{self, ClaimBeforeRun};
use super::scheduler::{Held, Job, Returned, Scheduler, SettleTicket};
use super::settle::{self, AttemptResult, Ended};
use super::snapshot::Snapshot;
use super::target;
use super::tasks::caught;
use super::workers::{Meter, Workers};
use super::writer::{Weight, Writer};
use edgebus_model::{DeliveryKey, Outcome};
use edgebus_store::{Settle, SettleEnd, StepOutcome};

/// What an attempt has of the scheduler: a place on a processor, a place in flight, memory, perhaps its
/// function's turn. All of it is given back when the last clone of the lease is dropped.
pub(super) struct Lease {
    scheduler: Scheduler,
    key: DeliveryKey,
    held: Held,
    on_processor: AtomicBool,
    /// True once a settlement is on its way to the writer.
    settling: AtomicBool,
    cost_us: AtomicU64,
    /// The delivery, if its attempt is to be made again.
    returned: Mutex<Option<(Returned, Box<Job>)>>,
}

impl Lease {
    pub(super) fn new(scheduler: Scheduler, key: DeliveryKey, held: Held) -> Self {
        Self {
            scheduler,
            key,
            held,
            on_processor: AtomicBool::new(true),
            settling: AtomicBool::new(false),
            cost_us: AtomicU64::new(0),
            returned: Mutex::new(None),
        }
    }

    /// Gives the delivery back, to be attempted again.
    fn give_back(&self, why: Returned, job: Job) {
        let returned = Some((why, Box::new(job)));
        *self.returned.lock().unwrap_or_else(PoisonError::into_inner) = returned;
    }

    /// Gives the place on the processor back.
    fn leave_processor(&self) {
        if self.on_processor.swap(false, Ordering::SeqCst) {
            self.scheduler.left_processor();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let returned = self
            .returned
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let settling = returned.is_some() || self.settling.load(Ordering::SeqCst);
        let unsettled = (!settling).then_some(self.key);
        let on_processor = self.on_processor.load(Ordering::SeqCst);
        #[cfg(test)]
        let on_processor =
            on_processor && !super::injected::every(5, super::injected::Bug::WorkerLeaked);
        let cost_us = self.cost_us.load(Ordering::SeqCst);
        self.scheduler
            .ended(self.held, on_processor, cost_us, unsettled, returned);
    }
}

/// The stage that makes attempts.
pub(super) struct Attempts {
    pub(super) context: Arc<Context>,
    pub(super) writer: Writer,
    pub(super) workers: Workers,
    /// Which deliveries are claimed before their attempt, after an unclean stop.
    pub(super) claim_before_run: ClaimBeforeRun,
}

impl Attempts {
    /// Begins an attempt on the workers.
    pub(super) fn begin(stage: &Arc<Self>, job: Job, lease: Lease) {
        let lease = Arc::new(lease);
        let (own, leaving) = (stage.clone(), lease.clone());
        let attempt = |meter: Arc<Meter>| async move {
            // The process ends after a panic out here: a delivery would be forgotten.
            if caught(own.run(job, &lease, &meter)).await.is_none() {
                own.context
                    .health
                    .fail("an attempt panicked outside of its function");
            }
        };
        let workers = &stage.workers;
        workers.begin(attempt, move || leaving.leave_processor());
    }

    async fn run(&self, job: Job, lease: &Lease, meter: &Meter) {
        let snapshot = self.context.snapshot();
        if !can_begin(&snapshot, &job) {
            // The rules have changed since the scheduler let it go; it hears of that in a moment.
            lease.give_back(Returned::NotBegun, job);
            return;
        }
        // A death that counts is settled in place of an attempt.
        let death = recover::count_death(&self.context, &snapshot, &job);
        let (job, ended) = match death {
            Some(settle) => (job, Ended::from(settle)),
            None => {
                // After an unclean stop what was pending then is claimed durably first.
                let now = self.context.clock.now();
                let claimed = recover::claim(&self.writer, &self.claim_before_run, job, now).await;
                let Some(job) = claimed else {
                    return;
                };
                let ended = guarded(&self.context, &snapshot, &job).await;
                (job, ended)
            }
        };
        let Ended {
            settle,
            reading,
            later,
        } = ended;
        lease.cost_us.store(meter.used_us(), Ordering::SeqCst);
        lease.settling.store(true, Ordering::SeqCst);
        let held = lease.held;
        let ticket = SettleTicket { job, held, later };
        let sent = if settle.attempt.outcome == Outcome::Conflict {
            Err(Box::new((ticket, settle)))
        } else {
            send(&self.writer, settle, reading, ticket).await
        };
        let Err(refused) = sent else {
            return;
        };
        // What it saw has changed: it runs again without having been to the log.
        let (ticket, settle) = *refused;
        #[cfg(test)]
        self.context.executor.show_conflict(&settle);
        if ticket.job.conflicts < settle::CONFLICTS_MAX {
            lease.give_back(Returned::Conflict, ticket.job);
            return;
        }
        let conflict = StepOutcome::Conflict;
        let settle = settle::after_refusal(&self.context, &ticket.job, settle, &conflict);
        let _ = send(&self.writer, settle, None, ticket).await;
    }
}

/// False while the target can't be reached, or the rule's input can't be made.
fn can_begin(snapshot: &Snapshot, job: &Job) -> bool {
    let id = job.key.subscription;
    let own = snapshot.subscriptions.get(&id);
    !snapshot.waiting.contains(&id)
        && own.is_none_or(|own| target::limits(snapshot, &own.target.to).available)
}

/// An attempt whose panic is a failed attempt, not the end of a worker.
async fn guarded(context: &Context, snapshot: &Snapshot, job: &Job) -> Ended {
    let started_at = context.clock.now();
    let ended = caught(target::attempt(context, snapshot, job)).await;
    ended.unwrap_or_else(|| {
        tracing::error!(delivery = %job.key, "the host panicked during an attempt");
        let policy = snapshot
            .subscriptions
            .get(&job.key.subscription)
            .map(|subscription| subscription.target.retry)
            .unwrap_or_default();
        let message = "the host panicked during this attempt".to_owned();
        // It may be the event's doing, so it is an attempt as any other.
        let ran = AttemptResult {
            spared: false,
            ..AttemptResult::host(message, started_at)
        };
        settle::failed(context, job, &policy, ran).into()
    })
}

/// Hands a settlement to the writer; waits while its inbox is full.
///
/// # Errors
/// The ticket and the settlement, if something that its attempt has read was changed.
pub(super) async fn send(
    writer: &Writer,
    settle: Settle,
    reading: Option<Reading>,
    ticket: SettleTicket,
) -> Result<(), Box<(SettleTicket, Settle)>> {
    let event = ticket.job.event.size();
    let events = settle.events().iter();
    let events: usize = events
        .map(|(_, new)| new.event.size() + new.list_bytes())
        .sum();
    let written = match &settle.end {
        SettleEnd::Done(effects) => {
            let size = |value: &Option<bytes::Bytes>| value.as_ref().map_or(0, bytes::Bytes::len);
            let written: usize = effects
                .writes
                .iter()
                .map(|(key, value)| key.len() + size(value))
                .sum();
            written
        }
        // A dead letter copies its event.
        _ => event,
    };
    let written = written + events + settle.attempt.output.len();
    let weight = Weight {
        written,
        // The ticket keeps the event in memory until the commit.
        held: written + event,
    };
    writer
        .settle(Box::new(settle), reading, weight, ticket)
        .await
}

impl AttemptResult {
    /// An attempt that the host could not make.
    pub(super) fn host(message: String, started_at: edgebus_model::Timestamp) -> Self {
        Self {
            started_at,
            duration: Duration::ZERO,
            output: String::new(),
            outcome: Outcome::Host { message },
            spared: true,
        }
    }
}
