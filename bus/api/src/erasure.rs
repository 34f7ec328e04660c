//! Erasures that are asked for, and the mark of what was erased.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::job::RATE_MAX;
use crate::schema::{Name, ObjectOrNull, Time};

/// The event was erased: its data, subject and extensions are gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Erased {
    /// When. RFC 3339 in UTC, with milliseconds.
    #[schemars(with = "Time")]
    pub at: String,
    /// The job that did it.
    #[schemars(range(min = 1))]
    pub job: u64,
}

/// Events of a bus that are to be erased: those with this subject, those that this pattern matches, or with both
/// members those of which both hold.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ErasureRequest {
    /// The bus; `default` unless named.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Name>")]
    pub bus: Option<String>,
    /// Events with exactly this subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Events that this pattern matches, in the language of rules.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ObjectOrNull")]
    pub pattern: Option<Box<RawValue>>,
    /// Events accepted at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub since: Option<String>,
    /// Events accepted before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub until: Option<String>,
    /// Instead of `since`: the first position.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub from: Option<u64>,
    /// Instead of `until`: the last position.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub to: Option<u64>,
    /// Events and dead letters that it erases in a second at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = RATE_MAX))]
    pub rate: Option<u64>,
}

/// What an erasure would erase.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ErasureCount {
    /// The bus.
    #[schemars(with = "Name")]
    pub bus: String,
    /// The first position.
    pub from: u64,
    /// The last position; before the first where there is nothing.
    pub to: u64,
    /// Events and dead letters that were looked at.
    pub looked: u64,
    /// Events of the log.
    pub events: u64,
    /// Dead letters, each with its own copy of an event.
    pub dead_letters: u64,
    /// True if there was no time to look at all of them.
    pub more: bool,
}

/// Which events an erasure erases, and what it has erased.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ErasedRange {
    /// The bus.
    #[schemars(with = "Name")]
    pub bus: String,
    /// The first position.
    pub from: u64,
    /// The last position.
    pub to: u64,
    /// Events with this subject; forgotten when the job is done or cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Events that this pattern matches, as text; forgotten when the job is done or cancelled.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Events of the log that it erased.
    pub events: u64,
    /// Dead letters whose copy of the event it erased.
    pub dead_letters: u64,
    /// Attempts whose output or message it erased.
    pub attempts: u64,
    /// Pending deliveries of these events that it ended.
    pub deliveries: u64,
}
