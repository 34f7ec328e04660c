//! Shadow replays: what is asked for, and what they found.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::event::Event;
use super::function::WouldWrite;
use super::job::RATE_MAX;
use super::words::{Outcome, ShadowAspect, ShadowReference};
use crate::schema::{DeliveryId, Digest, Name, ObjectOrNull, Time};

/// Deliveries that are to be run again without effects. It takes those who got each event when it was accepted.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShadowRequest {
    /// Deliveries to this function alone; a candidate needs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Name>")]
    pub function: Option<String>,
    /// The component that is run in place of the deployed one: `blake3:` and its digest. Send it first, with
    /// `PUT /v1/components/{digest}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// A manifest in YAML. What it says of the function (`config`, `secrets`, `limits`) counts in place of the active
    /// one; the rest of it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
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
    /// Deliveries that are run at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<u64>,
    /// Deliveries that are run in a second at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = RATE_MAX))]
    pub rate: Option<u64>,
}

/// What a shadow replay runs, and what it found.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Shadow {
    /// The function; not there where all are run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Name>")]
    pub function: Option<String>,
    /// BLAKE3 of the candidate's component; not there without a candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Digest>")]
    pub component: Option<String>,
    /// What the runs are compared with.
    pub against: ShadowReference,
    /// The bus.
    #[schemars(with = "Name")]
    pub bus: String,
    /// The first position.
    pub from: u64,
    /// The last position.
    pub to: u64,
    /// Deliveries to these subscriptions alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<String>,
    /// Events of this type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Events that this pattern matches, as text.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// It ends after so many runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What it found; in the answer for one job alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ShadowReport>,
}

/// What a shadow replay has found so far.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ShadowReport {
    /// Deliveries that were run.
    pub runs: u64,
    /// Those that ran as before.
    pub same: u64,
    /// Those that differ.
    pub different: u64,
    /// Those of them that differ in the outcome.
    pub outcome: u64,
    /// In the emitted events.
    pub emitted: u64,
    /// In the state that is written.
    pub state: u64,
    /// Those with nothing to compare with: the delivery has not ended, or was discarded.
    pub unrecorded: u64,
    /// Those that could not be run to an end: the host failed, or state changed under each try.
    pub failed: u64,
    /// Against the deployed function: those that differ from what happened then as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub different_then: Option<u64>,
    /// The mean time of a run, in microseconds.
    pub mean_us: u64,
    /// The longest run, in microseconds.
    pub max_us: u64,
    /// The mean time of what they are compared with, in microseconds.
    pub reference_mean_us: u64,
    /// The longest of these, in microseconds.
    pub reference_max_us: u64,
    /// The first hundred that differ, in the order of the log.
    pub differences: Vec<ShadowDifference>,
}

/// A delivery that ran otherwise than before.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ShadowDifference {
    /// The delivery.
    #[schemars(with = "DeliveryId")]
    pub delivery: String,
    /// In what it differs.
    pub differs: Vec<ShadowAspect>,
    /// What it is compared with.
    pub reference: ShadowRun,
    /// What ran in shadow.
    pub shadow: ShadowRun,
}

/// What a run did. At most 16 KiB of events and state are kept of one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ShadowRun {
    /// How it ended.
    pub outcome: Outcome,
    /// What happened. Without it, it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// How many events it emitted.
    pub emitted: u64,
    /// The first of them; fewer where they are large, or are no longer in the log.
    pub events: Vec<ShadowEvent>,
    /// How many state keys it wrote; not there for what happened then, because that is not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes: Option<u64>,
    /// The first of them; fewer where they are large.
    pub state: Vec<WouldWrite>,
}

/// An event that a run emitted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ShadowEvent {
    /// Its bus.
    #[schemars(with = "Name")]
    pub bus: String,
    /// The event.
    #[schemars(with = "Event")]
    pub event: Box<RawValue>,
}
