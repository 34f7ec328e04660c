//! Why a rule matches an event or does not.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::event::EventKey;
use crate::schema::{Name, Time};

/// Whether a rule that is being tried takes an event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleTrial {
    /// Whether pattern and filters take it.
    pub matched: bool,
    /// What the pattern made of it. Null where no pattern was given.
    pub explanation: Option<Explanation>,
    /// Each filter, in order.
    #[serde(rename = "where")]
    pub filters: Vec<FilterVerdict>,
    /// With an `input` that was given: what it makes of the event; null unless it matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Box<RawValue>>,
    /// Why no input can be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_error: Option<String>,
}

/// What a rule makes of an event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleVerdict {
    /// The rule.
    #[schemars(with = "Name")]
    pub rule: String,
    /// Its bus.
    #[schemars(with = "Name")]
    pub bus: String,
    /// Whether pattern and filters take it.
    pub matched: bool,
    /// True where the rule is off, so that it takes no event.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// What the pattern made of it. Null where the rule has none.
    pub explanation: Option<Explanation>,
    /// Each filter, in order.
    #[serde(rename = "where")]
    pub filters: Vec<FilterVerdict>,
    /// What the targets get that have an `input`; empty unless it matched.
    pub inputs: Vec<InputVerdict>,
}

/// What a filter made of the event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FilterVerdict {
    /// The JSONPath query.
    pub query: String,
    /// Whether it selects something.
    pub held: bool,
    /// True where it didn't come to its end, because the filters of one event may take so many steps only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub used_up: bool,
}

/// What a target gets.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InputVerdict {
    /// The subscription's name.
    pub subscription: String,
    /// The input; null where it can't be made.
    pub input: Option<Box<RawValue>>,
    /// Why it has none.
    pub error: Option<String>,
}

/// Why a pattern matches an event, or doesn't.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// Whether it matches.
    pub matched: bool,
    /// How many sub-rules there are once every `$or` is multiplied out.
    pub sub_rules: u64,
    /// The sub-rules, up to a bound.
    pub branches: Vec<BranchExplanation>,
}

/// What one sub-rule made of the event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BranchExplanation {
    /// Its number, from 0.
    pub sub_rule: u64,
    /// Whether it matches.
    pub matched: bool,
    /// Index of the first condition that no value met.
    pub first_missed: Option<u64>,
    /// Each holds, but not with values of one element of an array.
    pub array_inconsistent: bool,
    /// In reading order.
    pub conditions: Vec<ConditionExplanation>,
}

/// What one condition made of the event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ConditionExplanation {
    /// The field, its parts joined by dots.
    pub path: String,
    /// The alternatives, as a pattern writes them.
    pub wanted: Vec<String>,
    /// The same alternatives in words.
    pub wanted_in_words: Vec<String>,
    /// The first few values at the path, as JSON, each cut.
    pub seen: Vec<String>,
    /// How many values there are at the path.
    pub seen_total: u64,
    /// Whether it holds.
    pub held: bool,
    /// The first alternative that held: with it alone the sub-rule would match as well.
    pub held_by: Option<String>,
    /// Which of the alternatives that is, from 0.
    pub held_alternative: Option<u64>,
    /// What may have been meant, where a value came close; why nothing was seen of data that is not JSON.
    pub hint: Option<String>,
}

/// What the rules of a bus make of an event of its log.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ExplainedEvent")]
pub struct ExplainedEvent<V = RuleVerdict> {
    /// Its place in the bus's log.
    #[schemars(range(min = 1))]
    pub position: u64,
    /// When it was accepted. RFC 3339 in UTC, with milliseconds.
    #[schemars(with = "Time")]
    pub accepted_at: String,
    /// What names the event.
    pub event: EventKey,
    /// Who got it when it came, by name; the number alone of one that left the manifest and has nothing
    /// pending.
    pub subscriptions: Vec<String>,
    /// The rules that those subscriptions belong to now, each once.
    pub rules: Vec<String>,
    /// In the manifest's order.
    pub verdicts: Vec<V>,
    /// Give it as `after` for the verdicts of the other rules; null at the end.
    pub next: Option<String>,
    /// How many rules are left.
    pub more: u64,
}
