//! Deliveries with their attempts, and the live stream's news of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::erasure::Erased;
use super::event::{Event, EventOrKey};
use super::target::TargetName;
use super::words::{DeadReason, DiscardReason, Outcome, Stage};
use crate::schema::{Code, DeliveryId, Name, TextOrNull, Time};

/// A page of deliveries.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DeliveryPage")]
pub struct DeliveryPage<R = Delivery> {
    /// By subscription and position; with `last` oldest first.
    pub deliveries: Vec<R>,
    /// Give it as `after` for the next page; null at the end.
    pub next: Option<String>,
    /// With `last`: give it as `before` for older ones; null where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TextOrNull")]
    pub older: Option<Option<String>>,
}

/// A page of dead letters.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DeadLetterPage")]
pub struct DeadLetterPage<R = Delivery> {
    /// By subscription and position; with `last` oldest first.
    pub dead_letters: Vec<R>,
    /// Give it as `after` for the next page; null at the end.
    pub next: Option<String>,
    /// With `last`: give it as `before` for older ones; null where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TextOrNull")]
    pub older: Option<Option<String>>,
}

/// A delivery. In a list it has its last attempt; on its own, or with `output`, it has all of them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Delivery")]
pub struct Delivery<E = Event> {
    /// Its id: SUBSCRIPTION-POSITION, and -rREPLAY behind it for a replayed one.
    #[schemars(with = "DeliveryId")]
    pub id: String,
    /// `pending` has more attempts to come; the others have ended.
    pub stage: Stage,
    /// The bus; not there where the subscription left the manifest and has nothing pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Name>")]
    pub bus: Option<String>,
    /// The subscription's name; the number alone of one that left the manifest and has nothing pending.
    pub subscription: String,
    /// The rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Name>")]
    pub rule: Option<String>,
    /// Who gets the event; nobody where the subscription left the manifest and has nothing pending.
    #[serde(flatten)]
    pub target: TargetName,
    /// The event's place in the bus's log.
    #[schemars(range(min = 1))]
    pub position: u64,
    /// The replay's number, of a replayed delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub replay: Option<u64>,
    /// When the event was accepted. RFC 3339 in UTC, with milliseconds.
    #[schemars(with = "Time")]
    pub accepted_at: String,
    /// Attempts that ended.
    pub attempts_made: u64,
    /// Attempts of these that failed for reasons of the host's own and spent none of the policy's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub host_failures: Option<u64>,
    /// How often it has died; not there where it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub deaths: Option<u64>,
    /// When it last became pending again after it had died; its attempts and its age count from there. RFC 3339 in
    /// UTC, with milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub redriven_at: Option<String>,
    /// Why it had died then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub died_of: Option<DeadReason>,
    /// Discarded: how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discarded: Option<DiscardReason>,
    /// The job that last made it pending, or that discarded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub job: Option<u64>,
    /// On its own, or with `output`: those that ended, oldest first; of more than 16 the first and the
    /// latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<Attempt>>,
    /// In a list: the last one that ended, without its output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<Attempt>,
    /// Pending: not before this time. RFC 3339 in UTC, with milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub due_at: Option<String>,
    /// Succeeded or discarded: when. RFC 3339 in UTC, with milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub settled_at: Option<String>,
    /// Succeeded: how many events it emitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emitted: Option<u64>,
    /// Dead: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DeadReason>,
    /// Dead: the reason's code. `edgebus explain CODE` prints its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Code>")]
    pub reason_code: Option<String>,
    /// Dead: when. RFC 3339 in UTC, with milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub died_at: Option<String>,
    /// Dead: set if the event was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased: Option<Erased>,
    /// Dead: in a list what names the event, its id, source and type; else the whole event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<EventOrKey>")]
    pub event: Option<E>,
}

/// An attempt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// Counts from 1.
    #[schemars(range(min = 1))]
    pub number: u64,
    /// When it began. RFC 3339 in UTC, with milliseconds.
    #[schemars(with = "Time")]
    pub started_at: String,
    /// How long it ran, in microseconds.
    pub duration_us: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The outcome's code; success has none. `edgebus explain CODE` prints its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Code>")]
    pub code: Option<String>,
    /// What happened; a trap's has a backtrace, one frame a line. Success has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the function wrote, up to its limit; not there where a list shows its last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// An attempt ended, and its settlement is durable.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AttemptEnded {
    /// The delivery's id: SUBSCRIPTION-POSITION, and -rREPLAY behind it for a replayed one.
    #[schemars(with = "DeliveryId")]
    pub id: String,
    /// The bus.
    #[schemars(with = "Name")]
    pub bus: String,
    /// The event's place in its log.
    #[schemars(range(min = 1))]
    pub position: u64,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The rule.
    #[schemars(with = "Name")]
    pub rule: String,
    /// Who got the event.
    #[serde(flatten)]
    pub target: TargetName,
    /// The attempt's number.
    #[schemars(range(min = 1))]
    pub attempt: u64,
    /// When it began. RFC 3339 in UTC, with milliseconds.
    #[schemars(with = "Time")]
    pub started_at: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The outcome's code; success has none. `edgebus explain CODE` prints its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Code>")]
    pub code: Option<String>,
    /// What happened; a trap's has a backtrace, one frame a line. Success has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How long it ran, in microseconds.
    pub duration_us: u64,
    /// From acceptance to settlement, in milliseconds.
    pub age_ms: u64,
    /// When it is tried again, if it is. RFC 3339 in UTC, with milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub retry_at: Option<String>,
    /// Why it is a dead letter, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DeadReason>,
    /// The reason's code. `edgebus explain CODE` prints its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Code>")]
    pub reason_code: Option<String>,
    /// What the function wrote, up to its limit; only if `output` was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}
