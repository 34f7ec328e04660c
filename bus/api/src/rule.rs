//! Rules with their targets, and a rule that is tried.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::target::TargetName;
use crate::schema::{Name, Object, ObjectOrNull};

/// Filters of a rule that is tried.
pub const FILTERS_MAX: usize = 32;

/// The active rules.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RuleList")]
pub struct RuleList<R = Rule> {
    /// In the manifest's order.
    pub rules: Vec<R>,
}

/// A rule: which events, and where to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// Its name.
    #[schemars(with = "Name")]
    pub name: String,
    /// The bus whose events it looks at.
    #[schemars(with = "Name")]
    pub bus: String,
    /// Whether it takes events.
    pub enabled: bool,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The pattern, in EventBridge's language; null matches every event.
    #[serde(rename = "match")]
    #[schemars(with = "ObjectOrNull")]
    pub pattern: Option<Box<RawValue>>,
    /// JSONPath queries that must all select something.
    #[serde(rename = "where")]
    pub filters: Vec<String>,
    /// Its targets.
    pub to: Vec<Target>,
}

/// Where matching events go, and what of them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// Who gets the events.
    #[serde(flatten)]
    pub target: TargetName,
    /// The subscription's name.
    pub name: String,
    /// What it gets instead of the event's data: a JSONPath, as in `$.data.id`, or any JSON whose strings may
    /// hold `{$.path}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Box<RawValue>>,
    /// EventBridge's InputPathsMap: names with their JSONPaths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_paths: Option<BTreeMap<String, String>>,
    /// EventBridge's InputTemplate, with `<name>` for each path of `input_paths`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_template: Option<String>,
    /// How failed attempts are tried again.
    pub retry: RetryPolicy,
    /// How long a dead letter is kept, in milliseconds; missing if for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_ms: Option<u64>,
    /// The bus that an event which becomes a dead letter is also published on; missing if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_bus: Option<String>,
}

/// How failed attempts are tried again.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    #[schemars(range(min = 1))]
    pub attempts: u64,
    /// The highest delay after the first failure, in milliseconds.
    pub initial_ms: u64,
    /// What that delay is multiplied with after each further failure.
    #[schemars(range(min = 1))]
    pub factor: f64,
    /// The highest delay of all, in milliseconds.
    pub max_ms: u64,
    /// True draws each delay evenly from 0 to that height.
    pub jitter: bool,
    /// A delivery of this age is not tried again, in milliseconds.
    pub max_age_ms: u64,
}

/// A rule and the event to try it on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleTest {
    /// The pattern; none matches every event. `detail` and `detail-type` are taken for `data` and `type`.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ObjectOrNull")]
    pub pattern: Option<Box<RawValue>>,
    /// Filters that must all select something.
    #[serde(default, rename = "where", skip_serializing_if = "Filters::is_empty")]
    pub filters: Filters,
    /// What a target would get instead of the event's data: a JSONPath, as in `$.data.id`, or any JSON whose
    /// strings may hold `{$.path}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Box<RawValue>>,
    /// EventBridge's InputPathsMap, beside `input_template`: names with their JSONPaths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_paths: Option<BTreeMap<String, String>>,
    /// EventBridge's InputTemplate, instead of `input`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_template: Option<String>,
    /// A CloudEvent, or a part of one: only what the rule names counts.
    #[schemars(with = "Object")]
    pub event: Box<RawValue>,
}

/// JSONPath queries: one alone, several, or none. At most [`FILTERS_MAX`].
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
#[serde(transparent)]
pub struct Filters(pub Vec<String>);

impl Filters {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Filters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMany {
            One(String),
            Many(Vec<String>),
        }
        match Option::<OneOrMany>::deserialize(deserializer)? {
            None => Ok(Self::default()),
            Some(OneOrMany::One(filter)) => Ok(Self(vec![filter])),
            Some(OneOrMany::Many(filters)) if filters.len() <= FILTERS_MAX => Ok(Self(filters)),
            Some(OneOrMany::Many(_)) => Err(D::Error::custom("too many filters")),
        }
    }
}

impl JsonSchema for Filters {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Filters".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let query = json_schema!({"type": "string", "description": "A JSONPath query."});
        json_schema!({
            "anyOf": [
                query,
                {"type": "array", "maxItems": FILTERS_MAX, "items": query},
                {"type": "null"},
            ],
        })
    }
}
