//! Functions, trials of them, and the version of the bus.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::Event;
use super::words::{FunctionState, Outcome};
use crate::schema::{self, Base64, Digest, Name, Time};

/// What is deployed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "FunctionList")]
pub struct FunctionList<R = Function> {
    /// By name.
    pub functions: Vec<R>,
}

/// A deployed function.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Function {
    /// Its name.
    #[schemars(with = "Name")]
    pub name: String,
    /// BLAKE3 of the component's bytes.
    #[schemars(with = "Digest")]
    pub digest: String,
    /// Counts deployments of this function.
    #[schemars(range(min = 1))]
    pub revision: u64,
    /// When it was deployed. RFC 3339 in UTC, with milliseconds.
    #[schemars(with = "Time")]
    pub deployed_at: String,
    /// Whether it can be called; the deliveries of one that can't wait.
    pub state: FunctionState,
    /// Why it is unavailable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What one attempt may use.
    pub limits: FunctionLimits,
    /// What its `config` interface answers.
    pub config: BTreeMap<String, String>,
    /// Secrets that it may read: names, never values.
    pub secrets: Vec<String>,
    /// Origins; outgoing HTTP is not there yet.
    pub allow_http: Vec<String>,
}

/// What one attempt may use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FunctionLimits {
    /// All memories and tables together, in bytes.
    pub memory_bytes: u64,
    /// Time on the processor, in milliseconds.
    pub cpu_ms: u64,
    /// Wall-clock time around it all, in milliseconds.
    pub timeout_ms: u64,
    /// Attempts of this function at the same time.
    pub concurrency: u64,
    /// Events that it may emit.
    pub emits: u64,
    /// Bytes of all events that it emits.
    pub emit_bytes: u64,
    /// State keys that it may write.
    pub state_writes: u64,
    /// Bytes of all state that it writes.
    pub state_bytes: u64,
    /// Bytes of output that are kept.
    pub output_bytes: u64,
}

/// What came of a trial.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Trial")]
pub struct Trial<E = Event> {
    /// The function.
    #[schemars(with = "Name")]
    pub function: String,
    /// The revision that ran.
    #[schemars(range(min = 1))]
    pub revision: u64,
    /// BLAKE3 of its component's bytes.
    #[schemars(with = "Digest")]
    pub digest: String,
    /// Always false: a trial commits nothing.
    pub committed: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// What happened; a trap's has a backtrace, one frame a line. Without it, it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How long it ran, in microseconds.
    pub duration_us: u64,
    /// What the function wrote, up to its limit.
    pub output: String,
    /// What it would have emitted; nothing unless it succeeded.
    pub emitted: Vec<WouldEmit<E>>,
    /// What it would have written, by key; nothing unless it succeeded.
    pub state: Vec<WouldWrite>,
}

/// An event that the function would have emitted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "WouldEmit")]
pub struct WouldEmit<E = Event> {
    /// Where it would go.
    #[schemars(with = "Name")]
    pub bus: String,
    /// The subscriptions that would get it, by name.
    pub subscriptions: Vec<String>,
    /// The event.
    pub event: E,
}

/// A state key that the function would have written: text, or Base64 where it is not UTF-8.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("allOf" = [
    {"oneOf": [{"required": ["key"]}, {"required": ["key_base64"]}]},
    {"oneOf": [{"required": ["value"]}, {"required": ["value_base64"]}, {"required": ["deleted"]}]},
]))]
pub struct WouldWrite {
    /// The key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The key, where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Base64>")]
    pub key_base64: Option<String>,
    /// The value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value, where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Base64>")]
    pub value_base64: Option<String>,
    /// True where the key would be deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

/// What answers here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// The product.
    #[schemars(with = "schema::Product")]
    pub name: String,
    /// The release.
    pub version: String,
}
