//! One attempt: a fresh instance for a delivery, and what it did collected on the host side.
//!
//! Never here: what becomes of the delivery (`settle` decides that).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rules::{ApplyError, EventDocument};

use super::dispatch::{Job, SettleTicket};
use super::services::Services;
use super::settle::{self, Ran};
use super::snapshot::{Deployed, Snapshot};
use super::{Pipeline, recover};
use crate::model::{Data, DeadReason, Event, Outcome, Subscription};
use crate::runtime::{Context, Emitted, Invocation};
use crate::store::{Effects, Settle, SettleEnd, Step};
use crate::view::View;

/// Runs deliveries, one after the other, until there are none for it.
pub(super) async fn lane(pipeline: Arc<Pipeline>) {
    let mut last = (None, 0);
    while let Some(job) = pipeline.dispatcher().take(&mut last) {
        let snapshot = pipeline.snapshot();
        let id = job.key.subscription;
        // After an unclean stop what was owed then is claimed durably first.
        let job = match recover::claim(&pipeline, job).await {
            Some(job) => job,
            None => {
                pipeline.dispatcher().finished(id);
                continue;
            }
        };
        let turn = match snapshot.subscriptions.get(&id) {
            Some(subscription) => {
                let function = &subscription.target.function;
                let deployed = snapshot.functions.get(function);
                let one_by_one = deployed
                    .is_some_and(|deployed| deployed.revision.config.limits.concurrency_max == 1);
                let contention = pipeline.dispatcher().contention(function);
                contention.enter(one_by_one).await
            }
            None => None,
        };
        let settle = guarded(&pipeline, &snapshot, &job).await;
        pipeline.dispatcher().finished(id);
        send(&pipeline, settle, SettleTicket { job, _turn: turn }).await;
    }
}

/// An attempt whose panic is a failed attempt, not the end of a lane.
pub(super) async fn guarded(pipeline: &Pipeline, snapshot: &Snapshot, job: &Job) -> Settle {
    let started_at = pipeline.clock().now();
    let mut attempt = std::pin::pin!(attempt(pipeline, snapshot, job));
    let ended = std::future::poll_fn(|context| {
        // What the attempt shares is behind locks that survive a panic, and its own state is dropped.
        let polled = AssertUnwindSafe(|| attempt.as_mut().poll(context));
        match catch_unwind(polled) {
            Ok(polled) => polled.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await;
    ended.unwrap_or_else(|| {
        tracing::error!(delivery = %job.key, "the host panicked during an attempt");
        let policy = snapshot
            .subscriptions
            .get(&job.key.subscription)
            .map(|subscription| subscription.target.retry)
            .unwrap_or_default();
        let ran = Ran::host(
            "the host panicked during this attempt".to_owned(),
            started_at,
        );
        settle::failed(pipeline, job, &policy, ran)
    })
}

/// Hands a settlement to the writer.
pub(super) async fn send(pipeline: &Pipeline, settle: Settle, ticket: SettleTicket) {
    let effects = match &settle.end {
        SettleEnd::Done(effects) => {
            let emitted: usize = effects.emits.iter().map(|(_, new)| new.event.size()).sum();
            let size = |value: &Option<bytes::Bytes>| value.as_ref().map_or(0, bytes::Bytes::len);
            let written: usize = effects
                .writes
                .iter()
                .map(|(key, value)| key.len() + size(value))
                .sum();
            emitted + written
        }
        // A dead letter copies its event.
        _ => ticket.job.event.size(),
    };
    let bytes = effects + settle.attempt.output.len();
    pipeline
        .writer()
        .settle(Step::Settle(Box::new(settle)), bytes, ticket)
        .await;
}

/// Makes one attempt of `job` and says how it is to be settled.
pub(super) async fn attempt(pipeline: &Pipeline, snapshot: &Snapshot, job: &Job) -> Settle {
    let subscription = snapshot.subscriptions.get(&job.key.subscription);
    let deployed =
        subscription.and_then(|subscription| snapshot.functions.get(&subscription.target.function));
    let (Some(subscription), Some(deployed)) = (subscription, deployed) else {
        let name = subscription.map_or("?", |subscription| subscription.target.function.as_str());
        let message = format!("the function `{name}` is not deployed");
        return settle::dead(
            pipeline,
            job,
            Ran::host(message, pipeline.clock().now()),
            DeadReason::FunctionMissing,
        );
    };
    let started_at = pipeline.clock().now();
    let (ran, effects) = run(pipeline, snapshot, job, subscription, deployed, started_at).await;
    settle::conclude(pipeline, snapshot, job, subscription, ran, effects)
}

async fn run(
    pipeline: &Pipeline,
    snapshot: &Snapshot,
    job: &Job,
    subscription: &Subscription,
    deployed: &Arc<Deployed>,
    started_at: crate::model::Timestamp,
) -> (Ran, Option<(Effects, Vec<Emitted>)>) {
    let limits = deployed.revision.config.limits;
    let event = match input(snapshot, job, subscription) {
        Ok(event) => event,
        // The same event has no input at the next attempt either.
        Err(error) => {
            let mut ran = Ran::host(String::new(), started_at);
            ran.outcome = Outcome::Reject {
                message: format!("the rule's `input` can't be made from this event: {error}"),
            };
            return (ran, None);
        }
    };
    let invocation = Invocation {
        event,
        context: Context {
            delivery: job.key.to_string(),
            idempotency_key: pipeline.idempotency_key(job.key),
            attempt: job.attempts_made + 1,
            function: subscription.target.function.to_string(),
            rule: subscription.rule.to_string(),
            bus: snapshot
                .bus(job.bus)
                .map(|bus| bus.name.to_string())
                .unwrap_or_default(),
            position: job.key.position.0,
            accepted_at_ms: job.accepted_at.0,
        },
        limits,
    };
    let mut services = Services::new(pipeline.store().clone(), deployed.clone());
    let invoked = deployed.function.invoke(invocation, &mut services).await;
    let ran = Ran {
        started_at,
        duration: invoked.duration,
        output: invoked.output,
        outcome: invoked.outcome,
    };
    let effects = ran
        .outcome
        .is_success()
        .then(|| (services.into_effects(), invoked.emitted));
    (ran, effects)
}

/// The event as the function gets it: as it is, or with the input that the rule makes of it as data.
fn input(
    snapshot: &Snapshot,
    job: &Job,
    subscription: &Subscription,
) -> Result<Arc<Event>, ApplyError> {
    let Some(transform) = snapshot.inputs.get(&subscription.id) else {
        return Ok(job.event.clone());
    };
    let view = View::new(&job.event);
    let ingested_at = job.accepted_at.to_string();
    let context = rules::Context {
        rule_name: subscription.rule.as_str(),
        rule_arn: None,
        ingested_at: &ingested_at,
    };
    let parts = view.parts();
    let input = transform.apply(&EventDocument::new(&parts), &context)?;
    let mut event = (*job.event).clone();
    event.data = Data::Json(input.into());
    event.data_content_type = Some("application/json".to_owned());
    // It described the data that was there before.
    event.data_schema = None;
    Ok(Arc::new(event))
}

impl Ran {
    /// An attempt that the host could not make.
    pub(super) fn host(message: String, started_at: crate::model::Timestamp) -> Self {
        Self {
            started_at,
            duration: Duration::ZERO,
            output: String::new(),
            outcome: Outcome::Host { message },
        }
    }
}
