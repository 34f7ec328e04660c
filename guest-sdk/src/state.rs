//! The function's own durable key-value state.
//!
//! An attempt sees one consistent state, and its own writes on top: all values and lists of keys that it
//! reads belong to the same moment. The bus commits the writes together with the completion of the delivery,
//! and only if nothing that was read has changed meanwhile. Otherwise the attempt runs again. So a function
//! that reads, computes and writes counts each event exactly once. This also holds for a failure: it counts
//! only if nothing that was read has changed. Keys have 1 to 512 bytes. By default an attempt may write 256
//! keys and 1 MiB of values, read 1,024 keys, and list 10,000. An attempt that exceeds a limit ends.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Failure;
#[cfg(target_family = "wasm")]
use crate::host::guest::bindings::edgebus::function::state as host;
#[cfg(not(target_family = "wasm"))]
use native as host;

/// The value under `key`, if there is one.
#[must_use]
pub fn get(key: &str) -> Option<Vec<u8>> {
    host::get(key)
}

/// Puts `value` under `key`.
pub fn set(key: &str, value: &[u8]) {
    host::set(key, value);
}

/// Removes `key`. Nothing happens if it isn't there.
pub fn delete(key: &str) {
    host::delete(key);
}

/// Keys that start with `prefix`, in byte order, only those after `after`, at most `limit` (and never more
/// than 1,000). To continue, pass the last key as `after`.
#[must_use]
pub fn list_keys(prefix: &str, after: Option<&str>, limit: u32) -> Vec<String> {
    host::list_keys(prefix, after, limit)
}

/// Puts `new` under `key` if the value is `expected`, where `None` means no value. Returns whether it was.
pub fn compare_and_set(key: &str, expected: Option<&[u8]>, new: Option<&[u8]>) -> bool {
    host::compare_and_set(key, expected, new)
}

/// Adds `delta` to the decimal integer under `key` and returns the sum. A missing value counts as 0. A value
/// that is no integer ends the attempt, and so does a sum beyond 64 bits.
pub fn increment(key: &str, delta: i64) -> i64 {
    host::increment(key, delta)
}

/// The JSON value under `key`, if there is one.
///
/// # Errors
/// A rejection if the value is not JSON of this shape.
pub fn get_json<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Failure> {
    let Some(text) = get(key) else {
        return Ok(None);
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| Failure::reject(format!("state `{key}`: {error}")))
}

/// Puts `value` under `key` as JSON.
///
/// # Errors
/// A rejection if `value` can't be written as JSON.
pub fn set_json(key: &str, value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_vec(value)
        .map_err(|error| Failure::reject(format!("state `{key}` as JSON: {error}")))?;
    set(key, &text);
    Ok(())
}

/// The implementation for native tests.
#[cfg(not(target_family = "wasm"))]
mod native {
    use std::collections::BTreeMap;

    use crate::host::native::with;
    use crate::testing::Harness;

    #[derive(Default)]
    struct State(BTreeMap<String, Vec<u8>>);

    pub(super) fn get(key: &str) -> Option<Vec<u8>> {
        with(|State(values)| values.get(check(key)).cloned())
    }

    pub(super) fn set(key: &str, value: &[u8]) {
        with(|State(values)| values.insert(check(key).to_owned(), value.to_vec()));
    }

    pub(super) fn delete(key: &str) {
        with(|State(values)| values.remove(check(key)));
    }

    pub(super) fn list_keys(prefix: &str, after: Option<&str>, limit: u32) -> Vec<String> {
        let limit = usize::try_from(limit.min(1_000)).unwrap_or(1_000);
        with(|State(values)| {
            values
                .keys()
                .filter(|key| key.starts_with(prefix))
                .filter(|key| after.is_none_or(|after| key.as_str() > after))
                .take(limit)
                .cloned()
                .collect()
        })
    }

    pub(super) fn compare_and_set(key: &str, expected: Option<&[u8]>, new: Option<&[u8]>) -> bool {
        if get(key).as_deref() != expected {
            return false;
        }
        match new {
            Some(value) => set(key, value),
            None => delete(key),
        }
        true
    }

    /// On the bus, a sum that is impossible ends the attempt. Here it panics.
    pub(super) fn increment(key: &str, delta: i64) -> i64 {
        let sum = get(key)
            .map_or(Ok(0), |text| String::from_utf8_lossy(&text).parse::<i64>())
            .ok()
            .and_then(|value| value.checked_add(delta));
        assert!(
            sum.is_some(),
            "state `{key}` is no integer of 64 bits after adding {delta}"
        );
        let sum = sum.unwrap_or_default();
        set(key, sum.to_string().as_bytes());
        sum
    }

    fn check(key: &str) -> &str {
        assert!(
            (1..=512).contains(&key.len()),
            "a state key has 1 to 512 bytes"
        );
        key
    }

    impl Harness {
        /// With a value in the state.
        pub fn with_state(self, key: &str, value: impl Into<Vec<u8>>) -> Self {
            with(|State(values)| values.insert(key.to_owned(), value.into()));
            self
        }

        /// The value under `key` in the state.
        #[must_use]
        pub fn state(&self, key: &str) -> Option<Vec<u8>> {
            with(|State(values)| values.get(key).cloned())
        }
    }
}
