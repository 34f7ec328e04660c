//! The query parameters of each route. A parameter that is not given is `None`.
//!
//! The bus reads a query by the schema of its struct: which parameters there are, their types and bounds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words::{DeadReason, Stage};
use crate::schema::{DeliveryId, JsonText, Name, Time};

/// Rows that a page has at most.
pub const PAGE_ROWS_MAX: u64 = 1_000;
/// Rows of a page if none are asked for.
pub const PAGE_ROWS_DEFAULT: u64 = 100;
/// The thinnest sample of attempts.
pub const EVERY_MAX: u64 = 1_000_000;

/// For a route without parameters.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NoQuery {}

/// Which events of a log to read.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EventQuery {
    /// The position after which the page begins; a page's `next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 0), example = 0)]
    pub after: Option<u64>,
    /// Rows of the page at most. A page that has grown past 4 MiB ends before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = PAGE_ROWS_MAX), extend("default" = PAGE_ROWS_DEFAULT), example = 10)]
    pub limit: Option<u64>,
    /// Only the newest ones, so many at most: fewer where they weigh much, or where a filter passes over
    /// much.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = PAGE_ROWS_MAX), example = 10)]
    pub last: Option<u64>,
    /// With `last`: only those before this place, which a page's `older` told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 7)]
    pub before: Option<u64>,
    /// Only of events accepted at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>", example = &"2026-11-21T06:30:16Z")]
    pub since: Option<String>,
    /// Only events accepted before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>", example = &"2026-11-21T06:45:16Z")]
    pub until: Option<String>,
    /// Only events of exactly this type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"com.example.order.placed")]
    pub kind: Option<String>,
    /// Only events that this pattern matches, in the language of rules.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<JsonText>", example = &r#"{"data":{"country":["DE"]}}"#)]
    pub pattern: Option<String>,
}

/// Which events of a log to follow.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EventStreamQuery {
    /// The position after which it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 0), example = 0)]
    pub after: Option<u64>,
    /// Only events of exactly this type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"com.example.order.placed")]
    pub kind: Option<String>,
    /// Only events that this pattern matches, in the language of rules.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<JsonText>", example = &r#"{"data":{"country":["DE"]}}"#)]
    pub pattern: Option<String>,
}

/// Which rules to explain an event by.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ExplainQuery {
    /// Only this one's verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Name>", example = &"orders")]
    pub rule: Option<String>,
    /// Only verdicts of rules behind this one; an answer's `next`. Not with `rule`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Name>", example = &"orders")]
    pub after: Option<String>,
    /// A dead letter of the event: if the log no longer has the event, the letter's copy is explained.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DeliveryId>", example = &"3-13")]
    pub dead_letter: Option<String>,
}

/// Which deliveries to read.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DeliveryQuery {
    /// Which; without it those that are pending, with `last` those in any stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"succeeded")]
    pub stage: Option<Stage>,
    /// Only those of the event at this place in its bus's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 6)]
    pub position: Option<u64>,
    /// The bus of `position`; `default` unless named.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Name>", example = &"default")]
    pub bus: Option<String>,
    /// All attempts of each with their output, and a dead letter's whole event; naming it alone is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false), example = true)]
    pub output: Option<bool>,
    /// Which of them.
    #[serde(flatten)]
    pub filter: DeliveryFilter,
}

/// What all listings of deliveries take.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DeliveryFilter {
    /// Only the newest ones, so many at most, and fewer where they weigh much; without `after` and `limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = PAGE_ROWS_MAX), example = 10)]
    pub last: Option<u64>,
    /// With `last`: only those before this place, which a page's `older` told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1763706616007.3-13")]
    pub before: Option<String>,
    /// Only this one's: its name, or its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"orders/enricher")]
    pub subscription: Option<String>,
    /// Only deliveries of this function.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Name>", example = &"enricher")]
    pub function: Option<String>,
    /// Only deliveries of this rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Name>", example = &"orders")]
    pub rule: Option<String>,
    /// Only of events accepted at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>", example = &"2026-11-21T06:30:16Z")]
    pub since: Option<String>,
    /// Only deliveries of the replay of this number. Without it `last` and `position` give live ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), example = 7)]
    pub replay: Option<u64>,
    /// A page's `next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DeliveryId>", example = &"3-6")]
    pub after: Option<String>,
    /// Rows of the page at most. A page that has grown past 4 MiB ends before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = PAGE_ROWS_MAX), extend("default" = PAGE_ROWS_DEFAULT), example = 10)]
    pub limit: Option<u64>,
}

/// Which dead letters to read.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DeadLetterQuery {
    /// Only the newest ones, so many at most: fewer where they weigh much, or where a filter passes over much;
    /// without `after` and `limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = PAGE_ROWS_MAX), example = 10)]
    pub last: Option<u64>,
    /// With `last`: only those before this place, which a page's `older` told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1763706616007.3-13")]
    pub before: Option<String>,
    /// Only this one's: its name, or its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"orders/enricher")]
    pub subscription: Option<String>,
    /// Only those of this function.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Name>", example = &"enricher")]
    pub function: Option<String>,
    /// Only those of this rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Name>", example = &"orders")]
    pub rule: Option<String>,
    /// Only those that died for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"attempts-exhausted")]
    pub reason: Option<DeadReason>,
    /// Only those that died at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>", example = &"2026-11-21T06:30:16Z")]
    pub since: Option<String>,
    /// Only those that died before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>", example = &"2026-11-21T06:45:16Z")]
    pub until: Option<String>,
    /// Only those of events of exactly this type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"com.example.order.placed")]
    pub kind: Option<String>,
    /// Only those of events that this pattern matches, in the language of rules.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<JsonText>", example = &r#"{"data":{"country":["DE"]}}"#)]
    pub pattern: Option<String>,
    /// A page's `next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DeliveryId>", example = &"3-6")]
    pub after: Option<String>,
    /// Rows of the page at most. A page that has grown past 4 MiB ends before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = PAGE_ROWS_MAX), extend("default" = PAGE_ROWS_DEFAULT), example = 10)]
    pub limit: Option<u64>,
    /// Each with its whole event and all its attempts in full, as for one dead letter; naming it alone is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false), example = true)]
    pub whole: Option<bool>,
}

/// How to redrive or purge dead letters.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LetterQuery {
    /// Only says what would be taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false), example = true)]
    pub dry_run: Option<bool>,
}

/// How to replay or seek.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReplayQuery {
    /// Only counts: nothing is delivered or skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false), example = true)]
    pub dry_run: Option<bool>,
}

/// How to erase.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ErasureQuery {
    /// Only counts: nothing is erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false), example = true)]
    pub dry_run: Option<bool>,
}

/// Which jobs to read.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JobQuery {
    /// A page's `next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"17")]
    pub after: Option<String>,
    /// Rows of the page at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = PAGE_ROWS_MAX), extend("default" = PAGE_ROWS_DEFAULT), example = 10)]
    pub limit: Option<u64>,
}

/// Which attempts to follow as they end.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DeliveryStreamQuery {
    /// Only one attempt of so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = EVERY_MAX), extend("default" = 1), example = 1)]
    pub every: Option<u64>,
    /// Only attempts of this function.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Name>", example = &"enricher")]
    pub function: Option<String>,
    /// Only attempts of this rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Name>", example = &"orders")]
    pub rule: Option<String>,
    /// What the function wrote is sent as well; naming it alone is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false), example = true)]
    pub output: Option<bool>,
}

/// How to apply a manifest.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ApplyQuery {
    /// Only says what would change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false), example = true)]
    pub dry_run: Option<bool>,
}

/// How to try a function.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InvokeQuery {
    /// The bus that the event counts as published on; `default` unless named.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Name>", example = &"default")]
    pub bus: Option<String>,
}

/// How to ask whether the bus is ready.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReadyQuery {
    /// Says why not; naming it alone is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false), example = true)]
    pub verbose: Option<bool>,
}
