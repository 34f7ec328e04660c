//! Secrets that the manifest lists for the function. Never write them to the log.

#[cfg(target_family = "wasm")]
use crate::host::guest::bindings::edgebus::function::secrets as host;
#[cfg(not(target_family = "wasm"))]
use native as host;

/// The secret `name`. `None` if the manifest doesn't grant it or the bus doesn't have it.
#[must_use]
pub fn get(name: &str) -> Option<String> {
    host::get(name)
}

/// The implementation for native tests.
#[cfg(not(target_family = "wasm"))]
mod native {
    use std::collections::BTreeMap;

    use crate::host::native::with;
    use crate::testing::Harness;

    #[derive(Default)]
    struct Secrets(BTreeMap<String, String>);

    pub(super) fn get(name: &str) -> Option<String> {
        with(|Secrets(values)| values.get(name).cloned())
    }

    impl Harness {
        /// With a secret.
        pub fn secret(self, name: &str, value: &str) -> Self {
            with(|Secrets(values)| values.insert(name.to_owned(), value.to_owned()));
            self
        }
    }
}
