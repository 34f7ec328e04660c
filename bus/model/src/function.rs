//! A function: a deployed component and what it is given. The component's bytes stay in the store.

use std::collections::BTreeMap;
use std::fmt;

use super::{FunctionLimits, Name, Timestamp};

/// BLAKE3 of a component's bytes: the name of a revision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `component`.
    #[must_use]
    pub fn of(component: &[u8]) -> Self {
        Self(*blake3::hash(component).as_bytes())
    }

    /// Reads what [`fmt::Display`] prints: 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text)
            .ok()
            .map(|hash| Self(*hash.as_bytes()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// What the manifest says of a function, besides its component.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FunctionConfig {
    /// Bounds of each attempt.
    pub limits: FunctionLimits,
    /// What the guest's `config` interface answers.
    pub config: BTreeMap<String, String>,
    /// Names that the guest's `secrets` interface may read, from the bus's environment.
    pub secrets: Vec<String>,
    /// Origins (`scheme://host[:port]`) that outgoing HTTP may reach.
    pub allow_http: Vec<String>,
}

/// One deployed version of a function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revision {
    /// The function's name.
    pub name: Name,
    /// Which component.
    pub digest: Digest,
    /// Counts deployments of this function from 1.
    pub number: u32,
    /// When it was deployed.
    pub deployed_at: Timestamp,
    /// What it is given and what bounds it.
    pub config: FunctionConfig,
}
