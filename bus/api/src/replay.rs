//! Replays and seeks that are asked for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::job::{Job, RATE_MAX, Skip};
use crate::schema::{Name, ObjectOrNull, Time};

/// Events of a bus that are to be delivered again.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayRequest {
    /// What its deliveries and the events that they emit are marked with; `replay-` and its number if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Name>")]
    pub name: Option<String>,
    /// The bus; `default` unless named.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Name>")]
    pub bus: Option<String>,
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
    /// To the subscriptions of these rules alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Name>>", length(min = 1))]
    pub rules: Option<Vec<String>>,
    /// To these subscriptions alone, by name or number; with `rules` to both.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub subscriptions: Option<Vec<String>>,
    /// Events of exactly this type alone.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Events alone that this pattern matches, in the language of rules.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ObjectOrNull")]
    pub pattern: Option<Box<RawValue>>,
    /// To those who got each event when it was accepted; else to those whose rules match it now.
    #[serde(skip_serializing_if = "is_false")]
    pub as_matched: bool,
    /// Deliveries that it makes in a second at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = RATE_MAX))]
    pub rate: Option<u64>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// What a replay would deliver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReplayCount {
    /// The bus.
    #[schemars(with = "Name")]
    pub bus: String,
    /// The first position.
    pub from: u64,
    /// The last position; before the first where there is nothing.
    pub to: u64,
    /// Events of the range that were looked at.
    pub events: u64,
    /// Deliveries that it would make.
    pub deliveries: u64,
    /// By subscription.
    pub subscriptions: Vec<ReplayCountOf>,
    /// What it would skip: deliveries that can't run, and events that are not there.
    #[serde(default)]
    pub skipped: u64,
    /// The same by reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skips: Vec<Skip>,
    /// True if there was no time to look at all of the range.
    pub more: bool,
}

/// What a replay would deliver to one subscription.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReplayCountOf {
    /// The subscription.
    pub subscription: String,
    /// Deliveries.
    pub deliveries: u64,
}

/// Where a subscription is to go on: one of the four.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SeekRequest {
    /// Before the first event that was accepted at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub to: Option<String>,
    /// Before the event at this position.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub to_position: Option<u64>,
    /// Before the oldest event.
    #[serde(skip_serializing_if = "is_false")]
    pub to_start: bool,
    /// Behind the newest event.
    #[serde(skip_serializing_if = "is_false")]
    pub to_end: bool,
}

/// What a seek does, or would do.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Seek {
    /// The subscription.
    pub subscription: String,
    /// The position that it goes on with.
    pub position: u64,
    /// Pending deliveries of events before it that are skipped, counted for a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<u64>,
    /// Events from it on that are delivered again, counted for a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<u64>,
    /// True if there was no time to count all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<bool>,
    /// The job that skips; missing where nothing is to be skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<Job>,
    /// The job that delivers again; missing where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Job>,
    /// Earlier replays that go on for the subscription, or have something pending for it: a seek leaves them alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_replays: Vec<u64>,
}
