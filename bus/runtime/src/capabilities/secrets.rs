//! `edgebus:function/secrets`: secrets that the manifest lists for the function.
//!
//! Granted: the names that the manifest lists. A name that is not granted has no value; reading it is no
//! error. An attempt sees the values that were set when it began, and leaves nothing behind. Never here:
//! where a value comes from, where it is kept, and redaction.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Its interface in `wit/`.
pub const INTERFACE: &str = "edgebus:function/secrets";

/// Shorter values are not redacted, because they occur in too many ordinary words.
pub const VALUE_BYTES_MIN: usize = 4;
/// In a value of several lines, such as a key, each line of at least this length is redacted on its own too.
const LINE_BYTES_MIN: usize = 16;

/// The secrets that one attempt may read.
pub struct Secrets {
    values: Arc<BTreeMap<String, String>>,
}

impl Secrets {
    pub(super) fn new(values: Arc<BTreeMap<String, String>>) -> Self {
        Self { values }
    }

    /// The secret `name`. `None` if the manifest doesn't grant it, or if it is not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }
}

/// What must not be shown of `secrets`, each with the name of its secret: whole values, and the long lines of
/// values with several lines. The longest come first, because they may contain others.
#[must_use]
pub fn values(secrets: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    let mut values = Vec::new();
    for (name, value) in secrets {
        let value = value.trim();
        if value.len() >= VALUE_BYTES_MIN {
            values.push((value, name.as_str()));
        }
        if value.contains('\n') {
            let lines = value.lines().map(str::trim);
            let long = lines.filter(|line| line.len() >= LINE_BYTES_MIN);
            values.extend(long.map(|line| (line, name.as_str())));
        }
    }
    values.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    values
}
