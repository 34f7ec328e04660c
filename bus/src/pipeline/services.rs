//! What a guest may ask of the bus during one attempt: state through a host-side buffer, configuration, secrets.
//!
//! Reads see the store and, on top, what this attempt wrote. Nothing reaches the store before the
//! settlement; an attempt that fails throws the whole buffer away.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::snapshot::Deployed;
use crate::model::{Name, limits::STATE_KEY_BYTES_MAX};
use crate::runtime::{Call, GuestServices, ServiceError};
use crate::store::{Effects, Store};

/// Keys that one attempt may read.
const STATE_READS_MAX: usize = 1_024;

/// The services of one attempt.
pub(super) struct Services {
    store: Arc<dyn Store>,
    deployed: Arc<Deployed>,
    /// What was read: the version for the settlement to check, the value to be read again.
    reads: BTreeMap<Vec<u8>, (u64, Option<Bytes>)>,
    writes: BTreeMap<Vec<u8>, Option<Bytes>>,
    written_bytes: u64,
}

impl Services {
    pub(super) fn new(store: Arc<dyn Store>, deployed: Arc<Deployed>) -> Self {
        Self {
            store,
            deployed,
            reads: BTreeMap::new(),
            writes: BTreeMap::new(),
            written_bytes: 0,
        }
    }

    fn function(&self) -> &Name {
        &self.deployed.revision.name
    }

    /// The buffer, for the settlement of a success.
    pub(super) fn into_effects(self) -> Effects {
        if self.reads.is_empty() && self.writes.is_empty() {
            return Effects::default();
        }
        Effects {
            function: Some(self.deployed.revision.name.clone()),
            reads: self
                .reads
                .into_iter()
                .map(|(key, (version, _))| (key, version))
                .collect(),
            writes: self.writes.into_iter().collect(),
            emits: Vec::new(),
        }
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, ServiceError> {
        check_key(key)?;
        if let Some(written) = self.writes.get(key) {
            return Ok(written.clone());
        }
        if let Some((_, value)) = self.reads.get(key) {
            return Ok(value.clone());
        }
        if self.reads.len() >= STATE_READS_MAX {
            return Err(ServiceError::Limit(format!(
                "read more than {STATE_READS_MAX} state keys in one attempt"
            )));
        }
        let found = self
            .store
            .state(self.function(), key)
            .map_err(|error| ServiceError::Host(format!("state can't be read: {error}")))?;
        let (version, value) = found.map_or((0, None), |found| (found.version, Some(found.value)));
        self.reads.insert(key.to_vec(), (version, value.clone()));
        Ok(value)
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

    fn increment(&mut self, key: &[u8], delta: i64) -> Result<i64, ServiceError> {
        let before = match self.get(key)? {
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

    fn keys(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, ServiceError> {
        let limit = limit.clamp(1, crate::model::limits::PAGE_ROWS_MAX);
        // Enough of the store's keys that, less those deleted here, a full page is left.
        let stored = self
            .store
            .state_keys(self.function(), prefix, after, limit + self.writes.len())
            .map_err(|error| ServiceError::Host(format!("state can't be listed: {error}")))?;
        let mut keys: std::collections::BTreeSet<Vec<u8>> = stored.into_iter().collect();
        for (key, value) in &self.writes {
            if key.starts_with(prefix) && after.is_none_or(|after| key.as_slice() > after) {
                if value.is_some() {
                    keys.insert(key.clone());
                } else {
                    keys.remove(key);
                }
            }
        }
        Ok(keys.into_iter().take(limit).collect())
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
        Box::pin(async move { self.get(key) })
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
            if self.get(key)? != expected {
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
        Box::pin(async move { self.increment(key, delta) })
    }

    fn state_keys<'a>(
        &'a mut self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: u32,
    ) -> Call<'a, Result<Vec<Vec<u8>>, ServiceError>> {
        Box::pin(async move { self.keys(prefix, after, limit as usize) })
    }

    fn config(&self, key: &str) -> Option<String> {
        self.deployed.revision.config.config.get(key).cloned()
    }

    fn secret(&self, name: &str) -> Option<String> {
        self.deployed.secrets().get(name).cloned()
    }
}
