//! What the manifest's `config` gives to the function.

use std::str::FromStr;

use crate::{Failure, host};

/// The value of `key`, if the manifest has one.
#[must_use]
pub fn get(key: &str) -> Option<String> {
    host::config_get(key)
}

/// The value of `key`, read as `T`, or `default` if the manifest has none.
///
/// # Errors
/// A retry if the value can't be read: the operator can correct it before the attempts run out.
pub fn get_or<T: FromStr>(key: &str, default: T) -> Result<T, Failure> {
    match get(key) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| Failure::retry(format!("config `{key}` can't be `{text}`"))),
    }
}
