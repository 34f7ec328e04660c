//! The event that is published when a delivery becomes a dead letter, where its target names a bus for that.
//!
//! It is the event that died, under an id of its own and with extensions that say why. It is published in the
//! transaction that makes the dead letter, or not at all; the dead letter is made in any case. Never here: the
//! dead letter itself, and what can't be read back.

use std::time::Duration;

use super::context::Context;
use super::scheduler::Job;
use super::settle::{AttemptResult, add_line, caused};
use super::snapshot::Snapshot;
use edgebus_model::{Attribute, BusId, DeadReason, Event, Name, Subscription};
use edgebus_store::{NewEvent, Settle, SettleEnd, StepOutcome};

/// The longest text of `deadmessage`, in bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

/// The extensions that say why; those of the same names that the event brings are replaced.
const EXTENSIONS: [&str; 7] = [
    "deadreason",
    "deadmessage",
    "deadattempts",
    "deadsubscription",
    "deadbus",
    "deadposition",
    "deadid",
];

/// What is published, if the subscription names a bus for it. Where that can't be done, the attempt's output
/// says so.
pub(super) fn published(
    context: &Context,
    job: &Job,
    ran: &mut AttemptResult,
    reason: DeadReason,
) -> Option<Box<(BusId, NewEvent)>> {
    if reason == DeadReason::Corrupt {
        return None;
    }
    let snapshot = context.snapshot();
    let subscription = snapshot.subscriptions.get(&job.key.subscription)?;
    let bus = subscription.target.dead_letter_bus.as_ref()?;
    match make(context, &snapshot, (job, subscription, bus), ran, reason) {
        Ok(made) => Some(Box::new(made)),
        Err(why) => {
            not_published(&mut ran.output, bus.as_str(), &why);
            None
        }
    }
}

/// The settlement after the store refused the event: without it, or with it matched anew where the rules changed
/// meanwhile. `None` if it brought none.
pub(super) fn after_refusal(
    context: &Context,
    job: &Job,
    settle: &Settle,
    outcome: &StepOutcome,
) -> Option<Settle> {
    let SettleEnd::Dead {
        reason,
        published: Some(published),
    } = &settle.end
    else {
        return None;
    };
    if let StepOutcome::Denied(_) = outcome {
        let mut ran = AttemptResult {
            started_at: settle.attempt.started_at,
            duration: Duration::from_micros(settle.attempt.duration_us),
            output: settle.attempt.output.clone(),
            outcome: settle.attempt.outcome.clone(),
            spared: settle.spared,
        };
        let end = SettleEnd::Dead {
            reason: *reason,
            published: self::published(context, job, &mut ran, *reason),
        };
        let mut settle = Settle {
            end,
            ..settle.clone()
        };
        settle.attempt.output = ran.output;
        return Some(settle);
    }
    let why = match outcome {
        StepOutcome::Refused(DeadReason::HopLimit) => {
            "it went through too many functions and buses"
        }
        StepOutcome::Refused(_) => "the published event at the start has too many descendants",
        StepOutcome::IdReused(_) => "its id is taken",
        _ => return None,
    };
    let mut settle = Settle {
        end: SettleEnd::Dead {
            reason: *reason,
            published: None,
        },
        ..settle.clone()
    };
    let snapshot = context.snapshot();
    let bus = snapshot.bus(published.0);
    let bus = bus.map_or("?", |bus| &bus.name);
    not_published(&mut settle.attempt.output, bus, why);
    Some(settle)
}

fn not_published(output: &mut String, bus: &str, why: &str) {
    let line = format!("WARN the dead letter was not published on bus `{bus}`: {why}");
    add_line(output, &line);
}

fn make(
    context: &Context,
    snapshot: &Snapshot,
    (job, subscription, bus): (&Job, &Subscription, &Name),
    ran: &AttemptResult,
    reason: DeadReason,
) -> Result<(BusId, NewEvent), String> {
    let bus = snapshot.buses.get(bus.as_str());
    let bus = bus.ok_or("there is no such bus")?;
    let origin = snapshot.bus(job.bus).map_or("?", |bus| &bus.name);
    let event = event(context, job, subscription, origin, ran, reason);
    event.check_bounds().map_err(|found| found.to_string())?;
    caused(context, snapshot, bus, job, event)
}

fn event(
    context: &Context,
    job: &Job,
    subscription: &Subscription,
    origin: &str,
    ran: &AttemptResult,
    reason: DeadReason,
) -> Event {
    let attempts = i32::try_from(job.attempts_made + 1).unwrap_or(i32::MAX);
    let message = ran.outcome.to_string();
    let message = &message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)];
    // No control characters: an extension is a header in binary mode.
    let message: String = message.chars().filter(|char| !char.is_control()).collect();
    let mut event = Event::clone(&job.event);
    let own = |name: &str| EXTENSIONS.contains(&name) || name == "causationid";
    event.extensions.retain(|(name, _)| !own(name));
    let mut add = |name: &str, value| event.extensions.push((name.to_owned(), value));
    add("causationid", Attribute::Text(job.event.id.clone()));
    add("deadreason", Attribute::Text(reason.word().to_owned()));
    add("deadmessage", Attribute::Text(message));
    add("deadattempts", Attribute::Integer(attempts));
    add(
        "deadsubscription",
        Attribute::Text(subscription.name().to_string()),
    );
    add("deadbus", Attribute::Text(origin.to_owned()));
    add(
        "deadposition",
        Attribute::Text(job.key.position.to_string()),
    );
    add("deadid", Attribute::Text(job.event.id.clone()));
    event.id = context.dead_letter_id(job.key, job.fence);
    event
}
