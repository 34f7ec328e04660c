//! Secrets that the manifest lists for the function. Never write them to the log.

use crate::host;

/// The secret `name`; `None` if the manifest doesn't allow it or the bus doesn't have it.
#[must_use]
pub fn get(name: &str) -> Option<String> {
    host::secret_get(name)
}
