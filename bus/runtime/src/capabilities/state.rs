//! `edgebus:function/state`: the function's own durable keys and values.
//!
//! Every function has it. A read sees what the attempt wrote, and below it the state without the attempt
//! ([`Source`]). The writes are returned when the attempt ends. The settlement commits them if the attempt
//! succeeded, and drops them if it failed. Never here: which reads are consistent with each other, which the
//! source decides; the store.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{Call, ServiceError};
use edgebus_model::FunctionLimits;
use edgebus_model::limits::{PAGE_ROWS_MAX, STATE_KEY_BYTES_MAX};

/// Its interface in `wit/`.
pub const INTERFACE: &str = "edgebus:function/state";

/// What an attempt wrote, by key. `None` deletes the key.
pub type Writes = BTreeMap<Vec<u8>, Option<Bytes>>;

/// The state of one function without the attempt.
pub trait Source: Send {
    /// The value under `key`.
    ///
    /// # Errors
    /// [`ServiceError::Conflict`] if something that the attempt read before has changed. Another error if the
    /// attempt read too much, or if the store can't answer.
    fn get<'a>(&'a mut self, key: &'a [u8]) -> Call<'a, Result<Option<Bytes>, ServiceError>>;

    /// At most `limit` keys with `prefix`, in byte order, after `after`. Keys that `writes` sets or deletes
    /// are included or left out accordingly.
    ///
    /// # Errors
    /// As [`Source::get`].
    fn keys<'a>(
        &'a mut self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
        writes: &'a Writes,
    ) -> Call<'a, Result<Vec<Vec<u8>>, ServiceError>>;
}

/// The state as one attempt sees and changes it.
pub struct State<'a> {
    source: &'a mut dyn Source,
    limits: &'a FunctionLimits,
    writes: Writes,
    written_bytes: u64,
}

impl<'a> State<'a> {
    pub(super) fn new(source: &'a mut dyn Source, limits: &'a FunctionLimits) -> Self {
        Self {
            source,
            limits,
            writes: Writes::new(),
            written_bytes: 0,
        }
    }

    pub(super) fn end(self) -> Writes {
        self.writes
    }

    /// The value under `key`: what this attempt wrote, else the value without the attempt.
    ///
    /// # Errors
    /// [`ServiceError::Limit`] for a key that is too long, and the errors of [`Source::get`].
    pub async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, ServiceError> {
        check_key(key)?;
        match self.writes.get(key) {
            Some(written) => Ok(written.clone()),
            None => self.source.get(key).await,
        }
    }

    /// Writes `key`. `None` deletes it.
    ///
    /// # Errors
    /// [`ServiceError::Limit`] for a key that is too long, and if the attempt wrote too much.
    pub fn set(&mut self, key: &[u8], value: Option<Bytes>) -> Result<(), ServiceError> {
        check_key(key)?;
        let limits = self.limits;
        let size =
            |value: &Option<Bytes>| (key.len() + value.as_ref().map_or(0, Bytes::len)) as u64;
        let before = self.writes.get(key).map_or(0, size);
        let bytes = self.written_bytes - before + size(&value);
        if bytes > limits.state_bytes_max {
            return Err(ServiceError::Limit(format!(
                "wrote more than {} bytes of state in one attempt",
                limits.state_bytes_max
            )));
        }
        if before == 0 && self.writes.len() >= limits.state_writes_max as usize {
            return Err(ServiceError::Limit(format!(
                "wrote more than {} state keys in one attempt",
                limits.state_writes_max
            )));
        }
        self.written_bytes = bytes;
        self.writes.insert(key.to_vec(), value);
        Ok(())
    }

    /// Writes `new` if the value is `expected`. Returns whether it was.
    ///
    /// # Errors
    /// The errors of [`State::get`] and [`State::set`].
    pub async fn compare_and_set(
        &mut self,
        key: &[u8],
        expected: Option<Bytes>,
        new: Option<Bytes>,
    ) -> Result<bool, ServiceError> {
        if self.get(key).await? != expected {
            return Ok(false);
        }
        self.set(key, new)?;
        Ok(true)
    }

    /// Adds `delta` to the decimal integer under `key` and returns the sum. A missing value counts as 0.
    ///
    /// # Errors
    /// [`ServiceError::Limit`] if the value is no integer or the sum exceeds 64 bits, and the errors of
    /// [`State::get`] and [`State::set`].
    pub async fn increment(&mut self, key: &[u8], delta: i64) -> Result<i64, ServiceError> {
        let before = match self.get(key).await? {
            None => 0,
            Some(value) => std::str::from_utf8(&value)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .ok_or_else(|| {
                    ServiceError::Limit(format!(
                        "the state key `{}` holds no decimal integer to increment",
                        key.escape_ascii()
                    ))
                })?,
        };
        let sum = before.checked_add(delta).ok_or_else(|| {
            ServiceError::Limit(format!(
                "the state key `{}` would overflow 64 bits",
                key.escape_ascii()
            ))
        })?;
        self.set(key, Some(Bytes::from(sum.to_string())))?;
        Ok(sum)
    }

    /// At most `limit` keys with `prefix`, in byte order, after `after`, and never more than a page.
    ///
    /// # Errors
    /// As [`Source::get`].
    pub async fn keys(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, ServiceError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        self.source.keys(prefix, after, limit, &self.writes).await
    }
}

fn check_key(key: &[u8]) -> Result<(), ServiceError> {
    if (1..=STATE_KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(());
    }
    Err(ServiceError::Limit(format!(
        "a state key has 1 to {STATE_KEY_BYTES_MAX} bytes, not {}",
        key.len()
    )))
}
