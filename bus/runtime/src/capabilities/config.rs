//! `edgebus:function/config`: what the manifest's `config` gives to the function.
//!
//! Granted: the keys that the manifest has. An attempt leaves nothing behind. Never here: a default.

use std::collections::BTreeMap;

/// Its interface in `wit/`.
pub const INTERFACE: &str = "edgebus:function/config";

/// The configuration that one attempt sees.
pub struct Config<'a> {
    values: &'a BTreeMap<String, String>,
}

impl<'a> Config<'a> {
    pub(super) fn new(values: &'a BTreeMap<String, String>) -> Self {
        Self { values }
    }

    /// The value of `key`; `None` if the manifest has no such key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<String> {
        self.values.get(key).cloned()
    }
}
