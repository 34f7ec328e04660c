//! The manifest as it is sent, and what applying it does.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words::{ChangeKind, ChangedThing};
use crate::schema::{AnyDigest, PrefixedDigest};

/// A manifest with its components.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestEnvelope {
    /// The manifest's text.
    pub manifest: String,
    /// Functions with the digests of their components, which are deployed or were sent ahead.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, AnyDigest>")]
    pub components: BTreeMap<String, String>,
}

/// What applying a manifest did, or would do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// True if nothing was changed.
    pub dry_run: bool,
    /// The active rule-set version afterwards; of a dry run, the one that the plan starts from.
    pub version: u64,
    /// In the order of the sections.
    pub changes: Vec<PlannedChange>,
    /// Components that the bus has yet to be sent before the manifest can be applied; of a dry run only.
    #[schemars(with = "Vec<PrefixedDigest>")]
    pub missing: Vec<String>,
}

/// One change of a plan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PlannedChange {
    /// What happens.
    pub kind: ChangeKind,
    /// To what.
    pub what: ChangedThing,
    /// Its name.
    pub name: String,
    /// What of it differs; empty for what is added or removed.
    pub aspects: Vec<String>,
    /// What that does to deliveries in flight, in words.
    pub effect: String,
}
