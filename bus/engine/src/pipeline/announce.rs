//! Reports commits to metrics and to the live stream.
//!
//! It runs on the scheduler's thread, after publishers have their answers. Messages for the live stream are
//! built only while somebody listens. Never here: decisions.

use super::context::Context;
use super::lifecycle::Death;
use super::scheduler::Job;
use crate::telemetry::{AttemptEnded, EventAccepted, TelemetryEvent};
use edgebus_model::{BusId, DeadReason, Name, Timestamp};
use edgebus_store::{Append, Appended, NewEvent, Settle, SettleEnd};

/// Counts an append and tells the live stream.
pub(super) fn accepted(context: &Context, append: &Append, places: &[Appended]) {
    let duplicates = places.iter().filter(|place| place.duplicate).count() as u64;
    context
        .telemetry
        .count_accepted(places.len() as u64 - duplicates, duplicates);
    for (new, place) in append.events.iter().zip(places) {
        stored(context, append.bus, new, *place);
    }
}

/// Tells the live stream of one event in the log.
fn stored(context: &Context, bus: BusId, new: &NewEvent, place: Appended) {
    if place.duplicate || !context.telemetry.has_listeners() {
        return;
    }
    let snapshot = context.snapshot();
    let Some(bus) = snapshot.bus(bus) else { return };
    let own = || {
        let all = new.subscriptions.iter();
        all.filter_map(|id| snapshot.subscriptions.get(id))
    };
    context
        .telemetry
        .publish(TelemetryEvent::Accepted(EventAccepted {
            bus: bus.name.clone(),
            position: place.position,
            kind: new.event.kind.clone(),
            id: new.event.id.clone(),
            subscriptions: own().map(|own| own.name().to_string()).collect(),
            rules: rules(own().map(|own| &own.rule)),
        }));
}

/// Each rule once; subscriptions of one rule stand together.
fn rules<'n>(all: impl Iterator<Item = &'n Name>) -> Vec<String> {
    let mut rules: Vec<String> = all.map(ToString::to_string).collect();
    rules.dedup();
    rules
}

/// Takes note of a settlement that made a dead letter.
pub(super) fn died(context: &Context, settle: &Settle) {
    if let SettleEnd::Dead { reason, .. } = settle.end {
        let death = Death {
            key: settle.key,
            fence: settle.fence,
            attempts: settle.attempt.number,
            reason,
            at: settle.now,
        };
        context.lifecycle.died(&context.snapshot(), death);
    }
}

/// Counts an ended attempt and what it emitted, and tells the live stream.
pub(super) fn attempt(context: &Context, job: &Job, settle: &Settle, places: &[(BusId, Appended)]) {
    let age_ms = settle.now.ms_since(job.accepted_at);
    let (retry_at, dead) = match &settle.end {
        SettleEnd::Done(_) => (None, None),
        SettleEnd::Retry { due_at } => (Some(*due_at), None),
        SettleEnd::Dead { reason, .. } => (None, Some(*reason)),
    };
    let attempt = &settle.attempt;
    context.telemetry.count_attempt(
        job.key.subscription,
        &attempt.outcome,
        attempt.duration_us,
        age_ms,
        retry_at.is_some(),
        dead.is_some(),
    );
    if context.telemetry.has_listeners() {
        let emitted = places.iter().filter(|(_, place)| !place.duplicate).count();
        ended(context, job, settle, emitted, retry_at, dead);
    }
    context.telemetry.count_emitted(places.len() as u64);
    for ((bus, new), (_, place)) in settle.events().iter().zip(places) {
        stored(context, *bus, new, *place);
    }
}

fn ended(
    context: &Context,
    job: &Job,
    settle: &Settle,
    emitted: usize,
    retry_at: Option<Timestamp>,
    dead: Option<DeadReason>,
) {
    let attempt = &settle.attempt;
    let snapshot = context.snapshot();
    let subscription = snapshot.subscriptions.get(&job.key.subscription);
    context
        .telemetry
        .publish(TelemetryEvent::Attempt(Box::new(AttemptEnded {
            key: job.key,
            bus: snapshot
                .bus(job.bus)
                .map_or_else(|| "?".into(), |bus| bus.name.clone()),
            kind: job.event.kind.clone(),
            rule: subscription
                .map(|subscription| subscription.rule.to_string())
                .unwrap_or_default(),
            function: subscription
                .map(|subscription| subscription.target.to.name().to_string())
                .unwrap_or_default(),
            attempt: attempt.number,
            started_at: attempt.started_at,
            outcome: attempt.outcome.clone(),
            duration_us: attempt.duration_us,
            age_ms: settle.now.ms_since(job.accepted_at),
            emitted,
            retry_at,
            dead,
            output: attempt.output.clone(),
        })));
}
