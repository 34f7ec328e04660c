//! Jobs: work that the bus does itself, and which dead letters a redrive or a purge takes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::delivery::Delivery;
use super::erasure::ErasedRange;
use super::listing::{Listing, Rows};
use super::shadow::Shadow;
use super::words::{DeadReason, JobKind, JobState, ReplayPurpose, SkipReason};
use crate::schema::{DeliveryId, Name, ObjectOrNull, Time};

/// A page of jobs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "JobPage")]
pub struct JobPage<R = Job> {
    /// The newest first.
    pub jobs: Vec<R>,
    /// Give it as `after` for the next page; null at the end.
    pub next: Option<String>,
}

impl<R> Listing for JobPage<R> {
    type Row = R;

    fn into_rows(self) -> Rows<R> {
        Rows {
            rows: self.jobs,
            next: self.next,
            older: None,
            oldest: None,
        }
    }
}

/// A job: it moves by small steps, each of which is durable with all that it did.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Its number.
    #[schemars(range(min = 1))]
    pub id: u64,
    /// What it does.
    pub kind: JobKind,
    /// Where it stands.
    pub state: JobState,
    /// Failed: why. Resumed, it tries again where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Of a redrive and a purge: which dead letters it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<SelectedLetters>,
    /// Of a replay: which events it delivers again, and to whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayedRange>,
    /// Of a skip: whose deliveries it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<SkippedRange>,
    /// Of an erasure: which events it erases, and what it has erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erasure: Option<ErasedRange>,
    /// Of a shadow replay: what it runs, and what it found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    /// Things that it does in a second at most; not there if it is as fast as it can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub rate: Option<u64>,
    /// Rows that it has looked at.
    pub looked: u64,
    /// Rows that there are to look at, about.
    pub of: u64,
    /// What it has done: dead letters redriven or purged, deliveries made, skipped or run in shadow, events and dead letters
    /// erased.
    pub done: u64,
    /// What was selected and passed over.
    pub skipped: u64,
    /// The same by reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skips: Vec<Skip>,
    /// What became of the deliveries that it made pending; not there where it makes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<JobResults>,
    /// In the answer to `discard_pending`: the job that lets go of what this one had pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub discard_job: Option<u64>,
    /// When it was made. RFC 3339 in UTC, with milliseconds.
    #[schemars(with = "Time")]
    pub created_at: String,
    /// When it last moved, or was told something. RFC 3339 in UTC, with milliseconds.
    #[schemars(with = "Time")]
    pub changed_at: String,
}

/// Which events a replay delivers again, and to whom; what is not there does not narrow it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReplayedRange {
    /// What its deliveries and the events that they emit are marked with.
    pub name: String,
    /// `replay` if somebody asked for it, `seek` if a subscription was moved back, `start` if a new rule begins in
    /// the past.
    pub purpose: ReplayPurpose,
    /// The bus.
    #[schemars(with = "Name")]
    pub bus: String,
    /// The first position.
    pub from: u64,
    /// The last position; not there where it goes on to the events that its subscriptions get live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// To these subscriptions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<String>,
    /// Events of this type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Events that this pattern matches, as text.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// True: to those who got each event when it was accepted.
    pub as_matched: bool,
}

/// Whose deliveries are skipped: those of a subscription before a position, or all of a replay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SkippedRange {
    /// The subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// Those of events before this position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// The replay's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<u64>,
}

/// What became of the deliveries that a job made pending.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct JobResults {
    /// They succeeded.
    pub succeeded: u64,
    /// They have more attempts to come.
    pub waiting: u64,
    /// They are dead letters, of a redrive again.
    pub died: u64,
    /// They ended without an attempt: a seek passed them, or somebody let go of what was pending. Not there if there
    /// are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub discarded: u64,
    /// They ended and nobody knows how: the record that counted them was corrupt. Not there if there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uncounted: u64,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Why some things were passed over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Skip {
    /// Why.
    pub reason: SkipReason,
    /// How many.
    pub count: u64,
}

/// Which dead letters a job takes; what is not there does not narrow it.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SelectedLetters {
    /// These and no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<DeliveryId>")]
    pub ids: Vec<String>,
    /// Those of these subscriptions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<String>,
    /// Those that died for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DeadReason>,
    /// Those that died at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub since: Option<String>,
    /// Those that died before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub until: Option<String>,
    /// Those of events of this type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Those of events that this pattern matches, as text.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// So many at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// What to tell a job. One member or both.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JobChange {
    /// `paused` stops it where it is, `running` lets it go on or try again, `cancelled` ends it; what it has done
    /// stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<JobState>,
    /// Things that it does in a second at most from now on; 0 is as fast as it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = RATE_MAX))]
    pub rate: Option<u64>,
    /// With `cancelled`, of a replay, also of one that is done: what it has pending ends without an attempt.
    #[serde(skip_serializing_if = "is_false")]
    pub discard_pending: bool,
}

/// The highest rate of a job.
pub const RATE_MAX: u64 = 1_000_000;
/// Dead letters that a request can name one by one.
pub const LETTERS_NAMED_MAX: u64 = 1_000;

/// Which dead letters to redrive or to purge. Each member narrows it; without any, `all` must be true.
#[derive(Clone, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LetterSelection {
    /// These and no others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<DeliveryId>", length(max = LETTERS_NAMED_MAX))]
    pub ids: Vec<String>,
    /// All of them; it says that nothing was forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    /// Those of this subscription: its name, or its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// Those of this function.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Name>")]
    pub function: Option<String>,
    /// Those of this rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Name>")]
    pub rule: Option<String>,
    /// Those that died for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<DeadReason>,
    /// Those that died at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub since: Option<String>,
    /// Those that died before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub until: Option<String>,
    /// Those of events of this type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Those of events that this pattern matches, in the language of rules.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ObjectOrNull")]
    pub pattern: Option<Box<RawValue>>,
    /// So many at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<u64>,
    /// So many a second at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = RATE_MAX))]
    pub rate: Option<u64>,
}

/// What a redrive or a purge would take.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "LetterPreview")]
pub struct LetterPreview<R = Delivery> {
    /// Dead letters that the job would take.
    pub selected: u64,
    /// Dead letters that were looked at for that.
    pub looked: u64,
    /// Those that are selected, and that the job would skip.
    #[serde(default)]
    pub skipped: u64,
    /// The same by reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skips: Vec<Skip>,
    /// False if there are more that were not looked at, so that more may be selected.
    pub whole: bool,
    /// The first of those that it would take, at most 10.
    pub dead_letters: Vec<R>,
}
