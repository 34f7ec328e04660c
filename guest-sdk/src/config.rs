//! The values that the manifest's `config` gives to the function.

use std::str::FromStr;

use crate::Failure;
#[cfg(target_family = "wasm")]
use crate::host::guest::bindings::edgebus::function::config as host;
#[cfg(not(target_family = "wasm"))]
use native as host;

/// The value of `key`, if the manifest has one.
#[must_use]
pub fn get(key: &str) -> Option<String> {
    host::get(key)
}

/// The value of `key`, read as `T`. `default` if the manifest has none.
///
/// # Errors
/// A retry if the value can't be read, because the operator may correct it before the attempts run out.
pub fn get_or<T: FromStr>(key: &str, default: T) -> Result<T, Failure> {
    match get(key) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| Failure::retry(format!("config `{key}` can't be `{text}`"))),
    }
}

/// The implementation for native tests.
#[cfg(not(target_family = "wasm"))]
mod native {
    use std::collections::BTreeMap;

    use crate::host::native::with;
    use crate::testing::Harness;

    #[derive(Default)]
    struct Config(BTreeMap<String, String>);

    pub(super) fn get(key: &str) -> Option<String> {
        with(|Config(values)| values.get(key).cloned())
    }

    impl Harness {
        /// With a value of the manifest's `config`.
        pub fn config(self, key: &str, value: &str) -> Self {
            with(|Config(values)| values.insert(key.to_owned(), value.to_owned()));
            self
        }
    }
}
