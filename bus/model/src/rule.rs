//! Buses, rules and subscriptions as the manifest declares them. The pattern stays text here: the
//! `rules` crate compiles it.

use super::{BusId, Name, SubscriptionId, SubscriptionName, TargetConfig};

/// A bus: its log and what it keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BusConfig {
    /// Its name.
    pub name: Name,
    /// How long events are kept, in milliseconds, or [`UNLIMITED`].
    pub retention_age_ms: u64,
    /// How many bytes of events are kept, or [`UNLIMITED`].
    pub retention_bytes: u64,
    /// How long a repeated (source, id) is answered as a duplicate, in milliseconds.
    pub dedupe_ms: u64,
    /// What a repeated (source, id) is answered with when the event says something else.
    pub differing: Differing,
}

/// What happens to an event whose (source, id) is known with another type, subject or data.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Differing {
    /// It is refused, and the answer names the position of the first one.
    #[default]
    Refuse,
    /// It counts as a duplicate, and its content is dropped.
    Duplicate,
}

impl Differing {
    /// The words of the manifest, in the order of the variants.
    pub const WORDS: [&str; 2] = ["refuse", "duplicate"];
}

/// No limit, of time or of bytes.
pub const UNLIMITED: u64 = u64::MAX;

/// The bus that exists without being declared.
pub const DEFAULT_BUS: &str = "default";

/// The bus of the bus's own events: there once a manifest names it, and nobody else publishes on it.
pub const SYSTEM_BUS: &str = "system";

impl BusConfig {
    /// A bus with the default policy: 7 days, 10 GiB, 24 hours of dedupe.
    #[must_use]
    pub fn with_defaults(name: Name) -> Self {
        Self {
            name,
            retention_age_ms: 7 * 24 * 3_600_000,
            retention_bytes: 10 << 30,
            dedupe_ms: 24 * 3_600_000,
            differing: Differing::Refuse,
        }
    }
}

/// A rule: which events, and where to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleConfig {
    /// Its name, unique in the manifest.
    pub name: Name,
    /// The bus whose events it looks at.
    pub bus: Name,
    /// The pattern as JSON text, aliases already translated; `None` matches every event.
    pub pattern: Option<String>,
    /// JSONPath queries that must all select something, evaluated after the pattern.
    pub filters: Vec<String>,
    /// Where matching events go; never empty.
    pub targets: Vec<TargetConfig>,
    /// Whether events are matched. If the rule is off, its pending deliveries still run.
    pub enabled: bool,
    /// What it is for, in the words of who wrote it.
    pub description: Option<String>,
}

impl RuleConfig {
    /// The longest description, in bytes.
    pub const DESCRIPTION_BYTES_MAX: usize = 1_024;
}

/// How a target's input is made from the event; the `rules` crate compiles it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum InputConfig {
    /// A JSONPath, as in `$.data.issue`: what it leads to.
    Path(String),
    /// JSON text whose strings may hold `{$.path}` placeholders.
    Template(String),
    /// EventBridge's input transformer.
    EventBridge {
        /// Names with their paths.
        paths: Vec<(String, String)>,
        /// The template with `<name>` placeholders.
        template: String,
    },
}

/// One rule with one of its targets: the unit that has lag, retries and dead letters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// Its number in stored keys.
    pub id: SubscriptionId,
    /// The rule that it belongs to, or belonged to last.
    pub rule: Name,
    /// The bus that the rule looks at.
    pub bus: BusId,
    /// Its name, where to and how.
    pub target: TargetConfig,
    /// False once the rule or target left the manifest: what is pending still runs, nothing new joins.
    pub active: bool,
}

impl Subscription {
    /// The name that people see. It is unique among the active subscriptions; one that left may share it
    /// with one on another bus.
    #[must_use]
    pub fn name(&self) -> &SubscriptionName {
        &self.target.name
    }
}
