//! `edgebus:function/secrets`: secrets that the manifest lists for the function.
//!
//! Granted: the names that the manifest lists. A name that is not granted has no value; asking for it is no
//! error. An attempt sees the values that there were when it began, and leaves nothing behind. Never here: where
//! a value comes from, and keeping one.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Its interface in `wit/`.
pub const INTERFACE: &str = "edgebus:function/secrets";

/// The secrets that one attempt may read.
pub struct Secrets {
    values: Arc<BTreeMap<String, String>>,
}

impl Secrets {
    pub(super) fn new(values: Arc<BTreeMap<String, String>>) -> Self {
        Self { values }
    }

    /// The secret `name`; `None` if the manifest doesn't allow it, or it is not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }
}
