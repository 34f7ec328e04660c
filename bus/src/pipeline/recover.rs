//! The start: queues for what is still owed, and care for what may have run when the process died.
//!
//! After an unclean stop the deliveries that may have been running are the first owed ones of each
//! subscription (lanes take them in order) and the first due retries. They run one by one, each claim
//! durable before the attempt, so that an event that kills the process counts its attempts and reaches
//! the dead letters instead of a crash loop. Everything else runs beside them.

use std::sync::Arc;

use super::dispatch::{Job, LANES_MAX};
use super::settle::{self, Ran};
use super::{Pipeline, invoke};
use crate::model::{Delivery, DeliveryKey, Outcome, Position};
use crate::store::{Catalog, DeliveryState, Error, Settle, SettleEnd, Step, StepOutcome};

/// Makes the queues; returns the deliveries that need care.
pub(super) fn prepare(pipeline: &Pipeline, catalog: &Catalog) -> Result<Vec<DeliveryKey>, Error> {
    let mut suspects = Vec::new();
    for subscription in &catalog.subscriptions {
        let mut cursor = Position(0);
        if !catalog.clean {
            let page = pipeline
                .store()
                .deliveries(subscription.id, None, LANES_MAX)?;
            cursor = page.last().map_or(cursor, |delivery| delivery.key.position);
            suspects.extend(
                page.iter()
                    .filter(|delivery| delivery.due_at.is_none())
                    .map(|delivery| delivery.key),
            );
        }
        pipeline.dispatcher().add_queue(
            subscription.id,
            &subscription.target.function,
            cursor,
            true,
        );
    }
    if !catalog.clean {
        let due = pipeline
            .store()
            .waiting(pipeline.clock().now(), None, LANES_MAX)?;
        suspects.extend(due.into_iter().map(|(_, key)| key));
    }
    for key in &suspects {
        pipeline.dispatcher().hold(*key);
    }
    Ok(suspects)
}

/// Runs the suspects one by one.
pub(super) async fn run_suspects(pipeline: Arc<Pipeline>, suspects: Vec<DeliveryKey>) {
    if !suspects.is_empty() {
        tracing::info!(
            deliveries = suspects.len(),
            "the last process did not stop in order: deliveries that may have been running go one by one"
        );
    }
    for key in suspects {
        if pipeline.is_stopping() {
            return;
        }
        match one(&pipeline, key).await {
            Ok(()) => {}
            Err(Trouble::Store(error)) => {
                pipeline.reading_failed("a delivery after an unclean stop", &error)
            }
            // The writer is gone; the process is stopping.
            Err(Trouble::Writer) => return,
        }
        pipeline.dispatcher().release(key);
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
    let Some(mut delivery) = read(key)? else {
        return Ok(());
    };
    if died_in(&delivery) {
        let Some(job) = pipeline.with_event(&delivery) else {
            return Ok(());
        };
        if let Some(settle) = count_death(pipeline, &job) {
            apply(pipeline, Step::Settle(Box::new(settle.clone()))).await?;
            pipeline.tell_attempt(&job, &settle, &[]);
            if matches!(settle.end, SettleEnd::Dead { .. }) {
                return Ok(());
            }
        }
        let Some(now) = read(key)? else { return Ok(()) };
        delivery = now;
    }
    let claim = Step::Claim {
        key,
        fence: delivery.fence,
    };
    let StepOutcome::Claimed(claimed) = apply(pipeline, claim).await? else {
        return Ok(());
    };
    let Some(mut job) = pipeline.with_event(&claimed) else {
        return Ok(());
    };
    // The claim has counted this attempt already.
    job.attempts_made = claimed.attempts_made.saturating_sub(1);
    for _ in 0..=u8::MAX {
        let settle = invoke::attempt(pipeline, &pipeline.snapshot(), &job).await;
        let outcome = apply(pipeline, Step::Settle(Box::new(settle.clone()))).await?;
        match &outcome {
            StepOutcome::Settled(places) => {
                pipeline.tell_attempt(&job, &settle, places);
                if let SettleEnd::Retry { due_at } = settle.end {
                    pipeline.timer().nudge(due_at);
                }
                return Ok(());
            }
            StepOutcome::Conflict => {}
            StepOutcome::Refused(_) => {
                let settle = pipeline.after_refusal(&job, settle, &outcome);
                apply(pipeline, Step::Settle(Box::new(settle))).await?;
                return Ok(());
            }
            _ => return Ok(()),
        }
    }
    Ok(())
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
