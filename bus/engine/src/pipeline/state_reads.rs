//! The read set of an attempt: keys with their versions, and ranges of keys. Also combines committed state with
//! writes in flight.
//!
//! Never here: when to look, and what follows from a change.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::overlay::InFlight;
use edgebus_model::Name;
use edgebus_store::{Error, ListedKeys, Listing, StateView};

/// Keys and listings, as they were seen.
#[derive(Default)]
pub(super) struct StateReads {
    /// The version seen, and the value to be answered again.
    pub(super) reads: BTreeMap<Vec<u8>, (u64, Option<Bytes>)>,
    pub(super) listings: BTreeSet<Listing>,
    /// Keys in the listings.
    pub(super) listed: usize,
}

/// What a change of a key touches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Touch {
    /// Nothing that was seen.
    Nothing,
    /// A key that was read.
    Read(Vec<u8>),
    /// A range that was listed, which begins with this prefix.
    Listed(Vec<u8>),
}

impl StateReads {
    /// What a change of `key` touches.
    pub(super) fn touch(&self, key: &[u8]) -> Touch {
        if self.reads.contains_key(key) {
            return Touch::Read(key.to_vec());
        }
        match self.listings.iter().find(|own| own.covers(key)) {
            Some(listing) => Touch::Listed(listing.prefix.clone()),
            None => Touch::Nothing,
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.reads.keys().map(Vec::as_slice)
    }

    pub(super) fn prefixes(&self) -> impl Iterator<Item = &[u8]> {
        self.listings.iter().map(|own| own.prefix.as_slice())
    }

    /// What is other than it was seen, in `view` with what is in flight on top of it.
    pub(super) fn compare(
        &self,
        function: &Name,
        view: &dyn StateView,
        in_flight: &BTreeMap<Vec<u8>, InFlight>,
    ) -> Result<Touch, Error> {
        for (key, (version, _)) in &self.reads {
            let (now, _) = value(function, key, view, in_flight)?;
            if now != *version {
                return Ok(Touch::Read(key.clone()));
            }
        }
        for listing in &self.listings {
            let after = listing.after.as_deref();
            // One more than there were is enough to tell that there are others.
            let limit = self.listed + 1;
            let keys = keys(function, &listing.prefix, after, limit, view, in_flight)?;
            if listed(listing, &keys) != *listing {
                return Ok(Touch::Listed(listing.prefix.clone()));
            }
        }
        Ok(Touch::Nothing)
    }
}

/// The newest version and value of a key; version 0 is absent.
pub(super) fn value(
    function: &Name,
    key: &[u8],
    view: &dyn StateView,
    in_flight: &BTreeMap<Vec<u8>, InFlight>,
) -> Result<(u64, Option<Bytes>), Error> {
    if let Some((version, value)) = in_flight.get(key) {
        let version = value.as_ref().map_or(0, |_| *version);
        return Ok((version, value.clone()));
    }
    let found = view.get(function, key)?;
    Ok(found.map_or((0, None), |found| (found.version, Some(found.value))))
}

/// The first keys with `prefix` behind `after`: at least `limit` of them if there are so many.
pub(super) fn keys(
    function: &Name,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
    view: &dyn StateView,
    in_flight: &BTreeMap<Vec<u8>, InFlight>,
) -> Result<BTreeSet<Vec<u8>>, Error> {
    // Enough of the store's keys that, less those deleted in flight, as many as are asked for are left.
    let limit = limit + in_flight.len();
    let stored = view.keys(function, prefix, after, limit)?;
    let mut keys: BTreeSet<Vec<u8>> = stored.into_iter().collect();
    let within = |key: &[u8]| key.starts_with(prefix) && after.is_none_or(|after| key > after);
    for (key, (_, value)) in in_flight.iter().filter(|(key, _)| within(key)) {
        if value.is_some() {
            keys.insert(key.clone());
        } else {
            keys.remove(key);
        }
    }
    Ok(keys)
}

/// The listing with those of `keys` that it covers.
pub(super) fn listed(listing: &Listing, keys: &BTreeSet<Vec<u8>>) -> Listing {
    let mut digest = ListedKeys::default();
    let covered = keys.iter().filter(|key| listing.covers(key));
    let count = covered.inspect(|key| digest.add(key)).count();
    Listing {
        count,
        keys: digest.digest(),
        ..listing.clone()
    }
}

/// A page of keys as the attempt sees them, with its own writes.
pub(super) fn page(
    found: &BTreeSet<Vec<u8>>,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
    writes: &BTreeMap<Vec<u8>, Option<Bytes>>,
) -> Vec<Vec<u8>> {
    let mut keys: BTreeSet<&Vec<u8>> = found.iter().collect();
    for (key, value) in writes {
        if key.starts_with(prefix) && after.is_none_or(|after| key.as_slice() > after) {
            if value.is_some() {
                keys.insert(key);
            } else {
                keys.remove(key);
            }
        }
    }
    keys.into_iter().take(limit).cloned().collect()
}
