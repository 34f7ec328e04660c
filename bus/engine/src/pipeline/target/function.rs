//! Functions as targets: a fresh instance for a delivery, and what it did collected on the host side.
//!
//! Never here: who is next, and what becomes of the delivery.

use std::sync::Arc;

use edgebus_rules::{ApplyError, EventDocument};

use super::Limits;
use crate::pipeline::context::Context;
use crate::pipeline::reading::Reading;
use crate::pipeline::scheduler::Job;
use crate::pipeline::services;
use crate::pipeline::settle::{self, AttemptResult, Ended};
use crate::pipeline::snapshot::{Deployed, Snapshot};
use edgebus_manifest::view::View;
use edgebus_model::{Data, DeadReason, Event, Name, Outcome, Revision, Subscription, Timestamp};
use edgebus_runtime::capabilities::{Effects, replay};
use edgebus_runtime::{Context as GuestContext, Emitted, Invocation};
use edgebus_store::Settle;

/// The limits of the function; one that is not deployed has its deliveries die one by one, without memory.
pub(super) fn limits(snapshot: &Snapshot, function: &Name) -> Limits {
    let Some(deployed) = snapshot.functions.get(function) else {
        return Limits {
            available: true,
            ..Limits::UNKNOWN
        };
    };
    let limits = &deployed.revision.config.limits;
    Limits {
        concurrency_max: limits.concurrency_max,
        memory_bytes_max: limits.memory_bytes_max,
        available: deployed.available(),
    }
}

/// Makes one attempt of `job` and says how it is to be settled.
pub(super) async fn attempt(
    context: &Context,
    snapshot: &Snapshot,
    job: &Job,
    subscription: &Subscription,
    function: &Name,
) -> Ended {
    let Some(deployed) = snapshot.functions.get(function) else {
        return missing(context, job, function.as_str()).into();
    };
    let started_at = context.clock.now();
    let (ran, left) = run(context, snapshot, job, subscription, deployed, started_at).await;
    settle::conclude(context, snapshot, job, subscription, function, ran, left)
}

/// The settlement of a delivery whose function is not deployed.
pub(super) fn missing(context: &Context, job: &Job, function: &str) -> Settle {
    let message = format!("the function `{function}` is not deployed");
    let ran = AttemptResult::host(message, context.clock.now());
    settle::dead(context, job, ran, DeadReason::FunctionMissing)
}

/// What an attempt leaves behind.
#[derive(Default)]
pub(in crate::pipeline) struct Left {
    /// State that it read, if it read or wrote any.
    pub(in crate::pipeline) reading: Option<Reading>,
    /// What it did through its capabilities.
    pub(in crate::pipeline) effects: Effects,
    /// Events that it emitted, if it succeeded.
    pub(in crate::pipeline) emitted: Vec<Emitted>,
}

async fn run(
    context: &Context,
    snapshot: &Snapshot,
    job: &Job,
    subscription: &Subscription,
    deployed: &Arc<Deployed>,
    started_at: Timestamp,
) -> (AttemptResult, Left) {
    let invocation = match invocation(context, snapshot, job, subscription, &deployed.revision) {
        Ok(invocation) => invocation,
        Err(outcome) => {
            let mut ran = AttemptResult::host(String::new(), started_at);
            ran.outcome = outcome;
            return (ran, Left::default());
        }
    };
    // The scheduler leaves an unavailable function alone, and one that is available stays so.
    let Some(function) = deployed.function() else {
        let message = format!("the function `{}` is not compiled", deployed.revision.name);
        return (AttemptResult::host(message, started_at), Left::default());
    };
    let mut reading = Reading::new(context.newest.clone(), deployed.revision.name.clone());
    let (invoked, effects) = services::call(deployed, &**function, invocation, &mut reading).await;
    let ran = AttemptResult {
        started_at,
        duration: invoked.duration,
        output: invoked.output,
        outcome: invoked.outcome,
        spared: true,
    };
    let used = reading.has_read() || !effects.state.is_empty();
    let left = Left {
        reading: used.then_some(reading),
        effects,
        emitted: invoked.emitted,
    };
    (ran, left)
}

/// What a delivery gives to its function.
///
/// # Errors
/// The outcome where the rule's input can't be made: the same event has none at the next attempt either.
pub(in crate::pipeline) fn invocation(
    context: &Context,
    snapshot: &Snapshot,
    job: &Job,
    subscription: &Subscription,
    revision: &Revision,
) -> Result<Invocation, Outcome> {
    let event = input(snapshot, job, subscription).map_err(|error| Outcome::Reject {
        message: format!("the rule's `input` can't be made from this event: {error}"),
    })?;
    Ok(Invocation {
        event,
        context: GuestContext {
            delivery: job.key.to_string(),
            idempotency_key: context.idempotency_key(job.key),
            attempt: job.attempts_made + 1,
            function: revision.name.to_string(),
            rule: subscription.rule.to_string(),
            bus: snapshot
                .bus(job.bus)
                .map(|bus| bus.name.to_string())
                .unwrap_or_default(),
            position: job.key.position.0,
            accepted_at_ms: job.ingested_at.0,
            replay: replay_of(context, job),
        },
        limits: revision.config.limits,
    })
}

/// The replay that a delivery belongs to, as its function sees it.
fn replay_of(context: &Context, job: &Job) -> Option<replay::Info> {
    let number = job.key.replay;
    (number > 0).then(|| replay::Info {
        name: context.replay_name(number),
        number,
    })
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
    let ingested_at = job.ingested_at.to_string();
    let context = edgebus_rules::Context {
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
