//! What a guest may ask of the bus during one attempt: state through a host-side buffer, configuration, secrets.
//!
//! Reads see the store (`reading` says how) and, on top, what this attempt wrote. Nothing reaches the store
//! before the settlement; an attempt that fails throws the whole buffer away.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::reading::{Newest, Reading};
use super::snapshot::Deployed;
use edgebus_model::limits::{PAGE_ROWS_MAX, STATE_KEY_BYTES_MAX};
use edgebus_runtime::{Call, GuestServices, ServiceError};
use edgebus_store::Effects;

/// The services of one attempt.
pub(super) struct Services {
    deployed: Arc<Deployed>,
    reading: Reading,
    writes: BTreeMap<Vec<u8>, Option<Bytes>>,
    written_bytes: u64,
}

impl Services {
    /// Of an attempt that is to be settled.
    pub(super) fn new(newest: Arc<Newest>, deployed: Arc<Deployed>) -> Self {
        let reading = Reading::new(newest, deployed.revision.name.clone());
        Self::with(reading, deployed)
    }

    /// Of a trial.
    pub(super) fn of_trial(newest: Arc<Newest>, deployed: Arc<Deployed>) -> Self {
        let reading = Reading::of_trial(newest, deployed.revision.name.clone());
        Self::with(reading, deployed)
    }

    fn with(reading: Reading, deployed: Arc<Deployed>) -> Self {
        Self {
            deployed,
            reading,
            writes: BTreeMap::new(),
            written_bytes: 0,
        }
    }

    /// What was read, for every settlement, and the buffer, for that of a success. `None` if state was neither
    /// read nor written.
    pub(super) fn end(self) -> (Option<Reading>, Effects) {
        let used = self.reading.has_read() || !self.writes.is_empty();
        let effects = Effects {
            writes: self.writes.into_iter().collect(),
            ..Effects::default()
        };
        (used.then_some(self.reading), effects)
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, ServiceError> {
        check_key(key)?;
        match self.writes.get(key) {
            Some(written) => Ok(written.clone()),
            None => self.reading.get(key).await,
        }
    }

    fn set(&mut self, key: &[u8], value: Option<Bytes>) -> Result<(), ServiceError> {
        check_key(key)?;
        let limits = &self.deployed.revision.config.limits;
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

    async fn increment(&mut self, key: &[u8], delta: i64) -> Result<i64, ServiceError> {
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

    async fn keys(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, ServiceError> {
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        let writes = &self.writes;
        self.reading.keys(prefix, after, limit, writes).await
    }
}

fn check_key(key: &[u8]) -> Result<(), ServiceError> {
    if key.is_empty() || key.len() > STATE_KEY_BYTES_MAX {
        return Err(ServiceError::Limit(format!(
            "a state key must have 1 to {STATE_KEY_BYTES_MAX} bytes, not {}",
            key.len()
        )));
    }
    Ok(())
}

impl GuestServices for Services {
    fn state_get<'a>(&'a mut self, key: &'a [u8]) -> Call<'a, Result<Option<Bytes>, ServiceError>> {
        Box::pin(self.get(key))
    }

    fn state_set<'a>(
        &'a mut self,
        key: &'a [u8],
        value: Option<Bytes>,
    ) -> Call<'a, Result<(), ServiceError>> {
        Box::pin(async move { self.set(key, value) })
    }

    fn state_compare_and_set<'a>(
        &'a mut self,
        key: &'a [u8],
        expected: Option<Bytes>,
        new: Option<Bytes>,
    ) -> Call<'a, Result<bool, ServiceError>> {
        Box::pin(async move {
            if self.get(key).await? != expected {
                return Ok(false);
            }
            self.set(key, new)?;
            Ok(true)
        })
    }

    fn state_increment<'a>(
        &'a mut self,
        key: &'a [u8],
        delta: i64,
    ) -> Call<'a, Result<i64, ServiceError>> {
        Box::pin(self.increment(key, delta))
    }

    fn state_keys<'a>(
        &'a mut self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: u32,
    ) -> Call<'a, Result<Vec<Vec<u8>>, ServiceError>> {
        Box::pin(self.keys(prefix, after, limit as usize))
    }

    fn config(&self, key: &str) -> Option<String> {
        self.deployed.revision.config.config.get(key).cloned()
    }

    fn secret(&self, name: &str) -> Option<String> {
        self.deployed.secrets().get(name).cloned()
    }
}
