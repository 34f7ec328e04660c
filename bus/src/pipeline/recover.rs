//! The start: queues for what is still owed, and care for what may have run when the process died.
//!
//! After an unclean stop nobody knows which attempts were running. So every delivery that was owed then
//! is claimed durably before its attempt, which costs a commit that many attempts share. If the process
//! dies again, the claims that never ended tell exactly which deliveries were running: these suspects run
//! alone, one by one, before anything else does, so that an event that kills the process counts its
//! attempts and reaches the dead letters, instead of a crash loop that takes others with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dispatch::Job;
use super::settle::{self, Ran};
use super::{Pipeline, invoke};
use crate::model::{BusId, Delivery, DeliveryKey, Outcome, Position};
use crate::store::{Catalog, DeliveryState, Error, Settle, SettleEnd, Step, StepOutcome, Store};

/// Suspects that are looked for; a process has far fewer attempts at a time.
const SUSPECTS_MAX: usize = 4_096;
/// Rows that are read at a time.
const PAGE_ROWS: usize = 1_000;
/// How long everything else waits for the suspects at most.
const ALONE_MAX: Duration = Duration::from_secs(30);

/// The care that an unclean start takes: the last position of each bus at the start. Empty after a clean stop.
pub(super) type Careful = HashMap<BusId, Position>;

/// The heads up to which deliveries are claimed before they are attempted.
pub(super) fn care(catalog: &Catalog) -> Careful {
    let heads = catalog.buses.iter().map(|(id, _, last)| (*id, *last));
    if catalog.clean {
        Careful::new()
    } else {
        heads.collect()
    }
}

/// Deliveries that were claimed and never ended: the process died in them. Empty after a clean stop.
pub(super) fn suspects(store: &dyn Store, catalog: &Catalog) -> Result<Vec<DeliveryKey>, Error> {
    let mut suspects = Vec::new();
    if catalog.clean {
        return Ok(suspects);
    }
    for subscription in &catalog.subscriptions {
        let mut after = None;
        loop {
            let page = store.deliveries(subscription.id, after, PAGE_ROWS)?;
            suspects.extend(
                page.iter()
                    .filter(|delivery| died_in(delivery))
                    .map(|delivery| delivery.key),
            );
            after = page.last().map(|delivery| delivery.key);
            if page.len() < PAGE_ROWS || suspects.len() >= SUSPECTS_MAX {
                break;
            }
        }
    }
    Ok(suspects)
}

/// Runs the suspects one by one, and nothing beside them for a while; true if none is left.
pub(super) async fn run_suspects(pipeline: &Arc<Pipeline>, suspects: Vec<DeliveryKey>) -> bool {
    if suspects.is_empty() {
        return true;
    }
    tracing::warn!(
        deliveries = suspects.len(),
        "the last process died during attempts: these run alone first"
    );
    let began = Instant::now();
    let mut done = true;
    for key in suspects {
        if pipeline.is_stopping() {
            done = false;
            break;
        }
        match one(pipeline, key).await {
            Ok(()) => {}
            Err(Trouble::Store(error)) => {
                pipeline.reading_failed("a delivery after an unclean stop", &error)
            }
            // The writer is gone; the process is stopping.
            Err(Trouble::Writer) => {
                done = false;
                break;
            }
        }
        pipeline.dispatcher().release(key);
        if began.elapsed() > ALONE_MAX {
            pipeline.dispatcher().pause(false);
        }
    }
    pipeline.dispatcher().pause(false);
    done
}

/// Claims a job durably if it was owed at an unclean stop; `None` if it is no longer owed.
pub(super) async fn claim(pipeline: &Pipeline, job: Job) -> Option<Job> {
    let careful = pipeline.careful();
    // The usual case. After a conflict, the claim stands already.
    if careful.is_empty() || job.conflicts > 0 {
        return Some(job);
    }
    if careful
        .get(&job.bus)
        .is_none_or(|head| job.key.position > *head)
    {
        return Some(job);
    }
    let step = Step::Claim {
        key: job.key,
        fence: job.fence,
    };
    match pipeline.writer().apply(step).await {
        Ok(StepOutcome::Claimed(claimed)) => Some(Job {
            fence: claimed.fence,
            attempts_made: claimed.attempts_made.saturating_sub(1),
            ..job
        }),
        // It is another attempt's, or the process is stopping.
        _ => {
            pipeline.dispatcher().release(job.key);
            None
        }
    }
}

enum Trouble {
    Store(Error),
    Writer,
}

async fn apply(pipeline: &Pipeline, step: Step) -> Result<StepOutcome, Trouble> {
    pipeline
        .writer()
        .apply(step)
        .await
        .map_err(|_| Trouble::Writer)
}

async fn one(pipeline: &Arc<Pipeline>, key: DeliveryKey) -> Result<(), Trouble> {
    let read = |key| match pipeline.store().delivery(key) {
        Ok(Some(DeliveryState::Owed(delivery))) => Ok(Some(delivery)),
        Ok(_) => Ok(None),
        Err(error) => Err(Trouble::Store(error)),
    };
    let Some(delivery) = read(key)? else {
        return Ok(());
    };
    let Some(job) = pipeline.with_event(&delivery).map_err(Trouble::Store)? else {
        return Ok(());
    };
    if let Some(settle) = count_death(pipeline, &job) {
        apply(pipeline, Step::Settle(Box::new(settle.clone()))).await?;
        pipeline.tell_attempt(&job, &settle, &[]);
        if matches!(settle.end, SettleEnd::Dead { .. }) {
            return Ok(());
        }
    }
    let Some(delivery) = read(key)? else {
        return Ok(());
    };
    let claim = Step::Claim {
        key,
        fence: delivery.fence,
    };
    let StepOutcome::Claimed(claimed) = apply(pipeline, claim).await? else {
        return Ok(());
    };
    let mut job = Job {
        fence: claimed.fence,
        ..job
    };
    // The claim has counted this attempt already.
    job.attempts_made = claimed.attempts_made.saturating_sub(1);
    let mut settle = invoke::guarded(pipeline, &pipeline.snapshot(), &job).await;
    loop {
        let outcome = apply(pipeline, Step::Settle(Box::new(settle.clone()))).await?;
        match &outcome {
            StepOutcome::Settled(places) => {
                pipeline.tell_attempt(&job, &settle, places);
                if let SettleEnd::Retry { due_at } = settle.end {
                    pipeline.timer().nudge(due_at);
                }
                return Ok(());
            }
            StepOutcome::Conflict | StepOutcome::Denied(_)
                if job.conflicts < settle::CONFLICTS_MAX =>
            {
                job.conflicts += 1;
                settle = invoke::guarded(pipeline, &pipeline.snapshot(), &job).await;
            }
            StepOutcome::Conflict | StepOutcome::Denied(_) | StepOutcome::Refused(_) => {
                settle = pipeline.after_refusal(&job, settle, &outcome);
            }
            // Another attempt ended it.
            _ => return Ok(()),
        }
    }
}

/// True if an attempt was claimed and never ended.
fn died_in(delivery: &Delivery) -> bool {
    delivery.attempts_made > delivery.attempts.last().map_or(0, |attempt| attempt.number)
}

/// The settlement that counts the attempt during which the process died.
fn count_death(pipeline: &Pipeline, job: &Job) -> Option<Settle> {
    let snapshot = pipeline.snapshot();
    let subscription = snapshot.subscriptions.get(&job.key.subscription)?;
    let mut job = job.clone();
    job.attempts_made = job.attempts_made.saturating_sub(1);
    let ran = Ran {
        outcome: Outcome::Host {
            message: "the process stopped during this attempt".to_owned(),
        },
        ..Ran::host(String::new(), pipeline.clock().now())
    };
    Some(settle::failed(
        pipeline,
        &job,
        &subscription.target.retry,
        ran,
    ))
}
