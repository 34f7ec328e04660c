//! The function's own durable key-value state.
//!
//! An attempt reads one state and its own writes: whatever it has read, values and lists of keys, was true at
//! one moment. The bus commits the writes together with the completion of the delivery, and only if nothing
//! that was read has changed meanwhile: reading, computing and writing counts each event exactly once. A
//! failure counts only then, too; otherwise the attempt is made again. Keys have 1 to 512 bytes; by default an
//! attempt writes at most 256 keys and 1 MiB of values, reads 1,024 keys and lists 10,000, and ends when it
//! passes that.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Failure, host};

/// The value under `key`, if there is one.
#[must_use]
pub fn get(key: &str) -> Option<Vec<u8>> {
    host::state_get(key)
}

/// Puts `value` under `key`.
pub fn set(key: &str, value: &[u8]) {
    host::state_set(key, value);
}

/// Removes `key`; nothing happens if it isn't there.
pub fn delete(key: &str) {
    host::state_delete(key);
}

/// Keys that start with `prefix`, in byte order, those behind `after` only, at most `limit` (and never more
/// than 1,000): give the last one as `after` to go on.
#[must_use]
pub fn list_keys(prefix: &str, after: Option<&str>, limit: u32) -> Vec<String> {
    host::state_list_keys(prefix, after, limit)
}

/// Puts `new` under `key` if the value is `expected`, where `None` means no value; tells whether it was.
pub fn compare_and_set(key: &str, expected: Option<&[u8]>, new: Option<&[u8]>) -> bool {
    host::state_compare_and_set(key, expected, new)
}

/// Adds `delta` to the decimal integer under `key` (no value counts as 0) and returns the sum. A value that
/// is no integer and a sum beyond 64 bits end the attempt.
pub fn increment(key: &str, delta: i64) -> i64 {
    host::state_increment(key, delta)
}

/// The JSON value under `key`, if there is one.
///
/// # Errors
/// A rejection if what is there is not JSON of this shape.
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
