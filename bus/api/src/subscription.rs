//! Subscriptions: each rule with each of its targets, its lag and its policy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rule::RetryPolicy;
use super::target::TargetName;
use super::words::Situation;
use crate::schema::{Name, Time};

/// The subscriptions.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SubscriptionList")]
pub struct SubscriptionList<R = Subscription> {
    /// By number.
    pub subscriptions: Vec<R>,
}

/// One rule with one of its targets: the unit that has lag, retries and dead letters.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Subscription {
    /// Its number, the first part of its deliveries' ids.
    #[schemars(range(min = 1))]
    pub id: u64,
    /// Its name. Without one in the manifest it is RULE/FUNCTION.
    pub name: String,
    /// The rule.
    #[schemars(with = "Name")]
    pub rule: String,
    /// Who gets the events.
    #[serde(flatten)]
    pub target: TargetName,
    /// The bus.
    #[schemars(with = "Name")]
    pub bus: String,
    /// False once it left the manifest: what is pending still runs.
    pub active: bool,
    /// Deliveries that wait in memory.
    pub in_memory: u64,
    /// Why its deliveries run or don't, at this moment.
    pub situation: Situation,
    /// The same in words.
    pub reason: String,
    /// The id of the oldest delivery that is still pending; null if nothing is.
    pub oldest_pending: Option<String>,
    /// When that delivery's event was accepted.
    #[schemars(with = "Option<Time>")]
    pub oldest_accepted_at: Option<String>,
    /// How long ago that was, in milliseconds: how far it lags. Nothing is pending without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_age_ms: Option<u64>,
    /// Deliveries that are pending and may run now.
    pub pending: u64,
    /// Deliveries that are pending and have a due time.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
    /// What its deliveries came to since the process started.
    pub since_start: SinceStart,
    /// Events of the bus from the oldest pending one to the newest; 0 if nothing is pending.
    pub behind: u64,
    /// How failed attempts are tried again.
    pub retry: RetryPolicy,
    /// How long a dead letter is kept, in milliseconds; missing if for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_ms: Option<u64>,
    /// The bus that an event which becomes a dead letter is also published on; missing if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_bus: Option<String>,
}

/// What the deliveries of a subscription came to since the process started.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SinceStart {
    /// Deliveries that ended in success.
    pub succeeded: u64,
    /// Attempts that failed and are tried again.
    pub retried: u64,
    /// Deliveries that became dead letters.
    pub dead: u64,
    /// Time in the function, all attempts together, in microseconds.
    pub run_us: u64,
}
