//! Makes the step that settles an ended attempt, and handles the step's outcome.
//!
//! The delivery's life itself is `model::delivery::next`; here its answer becomes a transaction.

use std::time::Duration;

use super::context::Context;
use super::dead_letter;
use super::matching;
use super::reading::Reading;
use super::scheduler::Job;
use super::snapshot::{BusRules, Snapshot};
use super::target::Left;
use edgebus_model::rule::SYSTEM_BUS;
use edgebus_model::{
    Attempt, AttemptEnd, Attribute, BusId, Data, DeadReason, Event, Name, Next, Outcome,
    Subscription, Timestamp, delivery, media_type,
};
use edgebus_runtime::Emitted;
use edgebus_runtime::capabilities::Later;
use edgebus_store::{Effects, NewEvent, Seen, Settle, SettleEnd, StepOutcome};

/// Conflicts over state after which an attempt counts as failed.
pub(super) const CONFLICTS_MAX: u8 = 64;

/// The extension with the name of the replay that led to an event; EventBridge calls it `replay-name`.
const REPLAY_NAME: &str = "replayname";

/// Extensions of an emitted event that the host sets.
pub(super) const HOST_EXTENSIONS: [&str; 5] = [
    "causationid",
    "correlationid",
    REPLAY_NAME,
    "traceparent",
    "tracestate",
];

/// The longest message of an outcome, in bytes; guests choose the words of a retry or a rejection.
pub(super) const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// How an attempt went.
pub(super) struct AttemptResult {
    pub(super) started_at: Timestamp,
    pub(super) duration: Duration,
    pub(super) output: String,
    pub(super) outcome: Outcome,
    /// False for a failure of the host that spends an attempt all the same: the death of the process.
    pub(super) spared: bool,
}

/// An attempt that ended, on its way to the writer.
pub(super) struct Ended {
    pub(super) settle: Settle,
    /// The state that the settlement rests on, if it rests on any.
    pub(super) reading: Option<Reading>,
    /// What takes effect after the settlement.
    pub(super) later: Later,
}

impl From<Settle> for Ended {
    /// One in which no function ran.
    fn from(settle: Settle) -> Self {
        Self {
            settle,
            reading: None,
            later: Later::default(),
        }
    }
}

/// The settlement of an attempt in which `function` ran.
pub(super) fn conclude(
    context: &Context,
    snapshot: &Snapshot,
    job: &Job,
    subscription: &Subscription,
    function: &Name,
    mut ran: AttemptResult,
    left: Left,
) -> Ended {
    let Left {
        reading,
        effects: left,
        emitted,
    } = left;
    let later = left.later;
    let mut effects = Effects {
        writes: left.state.into_iter().collect(),
        ..Effects::default()
    };
    if ran.outcome.is_success() {
        match emits(context, snapshot, job, function, emitted) {
            Ok(made) => {
                made.note(&mut ran.output);
                effects.emits = made.events;
            }
            Err(outcome) => ran.outcome = outcome,
        }
    }
    // What a function decides counts only if what it saw still holds. What merely happens to an attempt
    // (time, memory, the host) counts in any case: another run would cost as much again.
    let decided = matches!(
        ran.outcome,
        Outcome::Success
            | Outcome::Reject { .. }
            | Outcome::Retry { .. }
            | Outcome::Trap { .. }
            | Outcome::Limit { .. }
    );
    let reading = reading.filter(|_| decided);
    let seen = reading.as_ref().map(Reading::seen).unwrap_or_default();
    let settle = if ran.outcome.is_success() {
        settle(context, job, ran, SettleEnd::Done(effects))
    } else {
        failed(context, job, &subscription.target.retry, ran)
    };
    Ended {
        settle: Settle { seen, ..settle },
        reading,
        later,
    }
}

/// The settlement of an attempt that failed.
pub(super) fn failed(
    context: &Context,
    job: &Job,
    policy: &edgebus_model::RetryPolicy,
    ran: AttemptResult,
) -> Settle {
    let spared = ran.spared && matches!(ran.outcome, Outcome::Host { .. });
    let ending = AttemptEnd {
        outcome: &ran.outcome,
        attempts_made: job.attempts_made + 1,
        host_failures: job.host_failures + u32::from(spared),
        spared,
        age_from: job.age_from,
    };
    let now = context.clock.now();
    // The machine's time off makes nothing older.
    let policy = &edgebus_model::RetryPolicy {
        age_ms_max: context.clock.reach_ms(now, policy.age_ms_max),
        ..*policy
    };
    let end = match delivery::next(ending, policy, now, context.clock.random()) {
        Next::Done => SettleEnd::Done(Effects::default()),
        Next::Retry(due_at) => SettleEnd::Retry { due_at },
        Next::Dead(reason) => SettleEnd::Dead {
            reason,
            published: None,
        },
    };
    Settle {
        spared,
        ..settle(context, job, ran, end)
    }
}

/// The settlement of a delivery that can't be attempted.
pub(super) fn dead(context: &Context, job: &Job, ran: AttemptResult, reason: DeadReason) -> Settle {
    settle(
        context,
        job,
        ran,
        SettleEnd::Dead {
            reason,
            published: None,
        },
    )
}

fn settle(context: &Context, job: &Job, mut ran: AttemptResult, mut end: SettleEnd) -> Settle {
    if let SettleEnd::Dead { reason, published } = &mut end {
        *published = dead_letter::published(context, job, &mut ran, *reason);
    }
    Settle {
        key: job.key,
        fence: job.fence,
        attempt: Attempt {
            number: job.attempts_made + 1,
            started_at: ran.started_at,
            duration_us: u64::try_from(ran.duration.as_micros()).unwrap_or(u64::MAX),
            outcome: ran.outcome.cut(MESSAGE_BYTES_MAX),
            output: ran.output,
        },
        spared: false,
        seen: Seen::default(),
        end,
        now: context.clock.now(),
    }
}

/// What became of what a function emitted.
pub(super) struct Emits {
    /// The events, with the numbers of their buses.
    pub(super) events: Vec<(BusId, NewEvent)>,
    /// The first event with an attribute in a form that CloudEvents doesn't have.
    malformed: Option<String>,
    /// How many such events there are.
    malformed_total: usize,
}

impl Emits {
    /// Adds a line to an attempt's output if an event is malformed.
    pub(super) fn note(&self, output: &mut String) {
        let Some(first) = &self.malformed else { return };
        let mut line = format!("WARN {first}; the event is stored as it is");
        if self.malformed_total > 1 {
            line.push_str(&format!(" ({} such events)", self.malformed_total));
        }
        add_line(output, &line);
    }
}

/// Adds a line of the host's to an attempt's output.
pub(super) fn add_line(output: &mut String, line: &str) {
    if !output.is_empty() && !output.ends_with('\n') {
        output.push('\n');
    }
    output.push_str(line);
    output.push('\n');
}

/// Makes events of what a function emitted: with an id that is the same however often the attempt
/// runs, the origin that only the host may set, and the subscriptions that get them.
///
/// Functions that were deployed before the forms of attributes were checked go on: a malformed attribute
/// is noted, not refused.
pub(super) fn emits(
    context: &Context,
    snapshot: &Snapshot,
    job: &Job,
    function: &Name,
    emitted: Vec<Emitted>,
) -> Result<Emits, Outcome> {
    let mut made = Emits {
        events: Vec::with_capacity(emitted.len()),
        malformed: None,
        malformed_total: 0,
    };
    for (index, emitted) in emitted.into_iter().enumerate() {
        let told = |reason: String| format!("emitted event {}: {reason}", index + 1);
        let error = |reason: String| Outcome::Reject {
            message: told(reason),
        };
        let bus = match &emitted.bus {
            None => snapshot.bus(job.bus),
            Some(name) => snapshot.buses.get(name.as_str()),
        };
        let bus = bus.ok_or_else(|| {
            error(format!(
                "there is no bus `{}`",
                emitted.bus.as_deref().unwrap_or("?")
            ))
        })?;
        if &*bus.name == SYSTEM_BUS {
            return Err(error(format!(
                "the bus `{SYSTEM_BUS}` takes the bus's own events alone; name another one"
            )));
        }
        let event = emitted_event(context, job, function, index, emitted).map_err(&error)?;
        let checked = event.check_bounds();
        checked.map_err(|found| error(found.to_string()))?;
        if let Err(found) = event.check_forms() {
            made.malformed_total += 1;
            made.malformed
                .get_or_insert_with(|| told(found.to_string()));
        }
        let caused = caused(context, snapshot, bus, job, event);
        made.events.push(caused.map_err(&error)?);
    }
    Ok(made)
}

/// An event that the job's one has caused, on its way to a bus, with who gets it.
///
/// # Errors
/// Why nobody can be found who gets it, in words.
pub(super) fn caused(
    context: &Context,
    snapshot: &Snapshot,
    bus: &BusRules,
    job: &Job,
    event: Event,
) -> Result<(BusId, NewEvent), String> {
    let matched = matching::subscriptions(bus, &event).map_err(|found| found.to_string())?;
    if let Some(reason) = matched.too_many() {
        return Err(reason);
    }
    context.telemetry.count_filters(matched.used_up);
    let new = NewEvent {
        event: event.into(),
        lineage: job.lineage.child(job.bus, job.key.position, job.key),
        subscriptions: matched.subscriptions,
        rules_version: snapshot.version,
    };
    Ok((bus.id, new))
}

fn emitted_event(
    context: &Context,
    job: &Job,
    function: &Name,
    index: usize,
    emitted: Emitted,
) -> Result<Event, String> {
    let mut extensions: Vec<(String, Attribute)> = Vec::with_capacity(emitted.extensions.len() + 3);
    for (name, value) in emitted.extensions {
        if matches!(
            name.as_str(),
            "causationid" | "correlationid" | "traceparent" | "tracestate"
        ) {
            return Err(format!("the host sets `{name}`; leave it out"));
        }
        // A function that passes extensions on may have got it; what is true is said below.
        if name != REPLAY_NAME {
            extensions.push((name, Attribute::Text(value)));
        }
    }
    let cause = &job.event;
    let of_cause = |wanted: &str| {
        cause
            .extensions
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.clone())
    };
    let correlation =
        of_cause("correlationid").unwrap_or_else(|| Attribute::Text(cause.id.clone()));
    extensions.push(("causationid".to_owned(), Attribute::Text(cause.id.clone())));
    extensions.push(("correlationid".to_owned(), correlation));
    // What a replay leads to can be told from what is live, however long the chain.
    let replay = match job.key.replay {
        0 => of_cause(REPLAY_NAME),
        number => Some(Attribute::Text(context.replay_name(number))),
    };
    extensions.extend(replay.map(|name| (REPLAY_NAME.to_owned(), name)));
    for name in ["traceparent", "tracestate"] {
        if let Some(value) = of_cause(name) {
            extensions.push((name.to_owned(), value));
        }
    }
    let json = emitted
        .data_content_type
        .as_deref()
        .is_none_or(media_type::is_json);
    Ok(Event {
        id: context.emitted_id(job.key, index),
        source: emitted
            .source
            .unwrap_or_else(|| format!("/functions/{function}")),
        kind: emitted.kind,
        subject: emitted.subject,
        time: Some(context.clock.now().to_string()),
        data_content_type: emitted.data_content_type.or_else(|| {
            emitted
                .data
                .is_some()
                .then(|| "application/json".to_owned())
        }),
        data_schema: None,
        extensions,
        data: match emitted.data {
            None => Data::Absent,
            Some(bytes) if json => Data::Json(bytes),
            Some(bytes) => Data::Opaque(bytes),
        },
    })
}

/// True if the settlement of a last attempt was denied for what it publishes, so that no further attempt is needed.
pub(super) fn is_matched_anew(settle: &Settle, outcome: &StepOutcome) -> bool {
    matches!(outcome, StepOutcome::Denied(_))
        && matches!(
            settle.end,
            SettleEnd::Dead {
                published: Some(_),
                ..
            }
        )
}

/// The settlement in place of one that the store refused.
pub(super) fn after_refusal(
    context: &Context,
    job: &Job,
    settle: Settle,
    outcome: &StepOutcome,
) -> Settle {
    if let Some(settle) = dead_letter::after_refusal(context, job, &settle, outcome) {
        return settle;
    }
    let mut ran = AttemptResult {
        started_at: settle.attempt.started_at,
        duration: Duration::from_micros(settle.attempt.duration_us),
        output: settle.attempt.output,
        outcome: Outcome::Conflict,
        spared: true,
    };
    if let StepOutcome::Refused(reason) = outcome {
        ran.outcome = Outcome::Limit {
            message: match reason {
                DeadReason::HopLimit => format!(
                    "emitted an event that would go through more than {} functions",
                    edgebus_model::Lineage::HOPS_MAX
                ),
                _ => format!(
                    "the published event at the start has more than {} descendants",
                    edgebus_model::Lineage::DESCENDANTS_MAX
                ),
            },
        };
        return dead(context, job, ran, *reason);
    }
    if let (StepOutcome::IdReused(reused), SettleEnd::Done(effects)) = (outcome, &settle.end) {
        // It says the same at each attempt: there is no use in another one.
        context.telemetry.count_reused(reused.len() as u64);
        let first = reused.first();
        let emitted = first.and_then(|reused| effects.emits.get(reused.index));
        let place = first.and_then(|reused| reused.first);
        ran.outcome = Outcome::Reject {
            message: format!(
                "emitted event {}: {}",
                first.map_or(0, |reused| reused.index) + 1,
                super::ingest::reason_of(emitted.map(|(_, new)| new), place)
            ),
        };
        return dead(context, job, ran, DeadReason::Rejected);
    }
    let snapshot = context.snapshot();
    let policy = snapshot
        .subscriptions
        .get(&job.key.subscription)
        .map(|subscription| subscription.target.retry)
        .unwrap_or_default();
    failed(context, job, &policy, ran)
}
