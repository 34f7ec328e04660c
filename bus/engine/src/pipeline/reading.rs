//! An attempt's reads of its function's state. All of them are consistent as of one moment.
//!
//! There is no long read transaction, because one grows the store's file for as long as it is open. Each read
//! looks at the newest state (`overlay` says what that is) and whether anything that the attempt has read so
//! far has changed. If so, the attempt can't settle any more, and ends as a conflict at once instead of seeing
//! two states mixed. So at each moment all that it has read is the state as the last read found it. Its
//! settlement enters the writer's inbox only if that is so then, too, and the store checks it a last time in
//! its transaction. Attempts read contended keys one after the other (`turns`). Never here: what the attempt
//! writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::overlay::{Entry, Look, Overlay, Want};
use super::state_reads::{StateReads, Touch, keys, listed, page, value};
use super::turns::{Turn, Turns};
use crate::clock::Clock;
use edgebus_model::Name;
use edgebus_model::limits::{
    STATE_KEY_BYTES_MAX, STATE_LISTED_MAX, STATE_LISTINGS_MAX, STATE_READS_MAX,
};
use edgebus_runtime::ServiceError;
use edgebus_store::{Error, ListedKeys, Listing, Seen, StateView, Store};

/// Looks for one read, or one settlement, at a state that changes all the time.
const LOOKS_MAX: usize = 32;

/// Where state is read: what attempts share.
pub(super) struct Newest {
    pub(super) store: Arc<dyn Store>,
    pub(super) overlay: Overlay,
    pub(super) turns: Turns,
}

impl Newest {
    /// Nothing is in flight.
    ///
    /// # Errors
    /// As every read of the store.
    pub(super) fn new(store: Arc<dyn Store>, clock: Clock) -> Result<Self, Error> {
        let version = store.state_view()?.version()?;
        Ok(Self {
            store,
            overlay: Overlay::new(version),
            turns: Turns::new(clock),
        })
    }
}

/// What one attempt has read.
pub(super) struct Reading {
    newest: Arc<Newest>,
    /// False for a trial: it sees only what is committed, and stands in nobody's way.
    settles: bool,
    function: Name,
    state_reads: StateReads,
    /// When all of this was true; `None` before the first read.
    as_of: Option<u64>,
    /// Versions that were in flight when they were read.
    built_on: BTreeSet<u64>,
    turns: Vec<Turn>,
}

fn unread(error: Error) -> ServiceError {
    ServiceError::Host(format!("state can't be read: {error}"))
}

impl Reading {
    /// Of an attempt that is to be settled.
    pub(super) fn new(newest: Arc<Newest>, function: Name) -> Self {
        Self {
            newest,
            settles: true,
            function,
            state_reads: StateReads::default(),
            as_of: None,
            built_on: BTreeSet::new(),
            turns: Vec::new(),
        }
    }

    /// Of a trial.
    pub(super) fn of_trial(newest: Arc<Newest>, function: Name) -> Self {
        Self {
            settles: false,
            ..Self::new(newest, function)
        }
    }

    /// True if something was read.
    pub(super) fn has_read(&self) -> bool {
        self.as_of.is_some()
    }

    /// What the store has to check.
    pub(super) fn seen(&self) -> Seen {
        let reads = self.state_reads.reads.iter();
        Seen {
            function: Some(self.function.clone()),
            reads: reads
                .map(|(key, (version, _))| (key.clone(), *version))
                .collect(),
            listings: self.state_reads.listings.iter().cloned().collect(),
        }
    }

    /// Waits for the turn of a hot key, or of a hot prefix.
    async fn wait_for_turn(&mut self, name: &Touch) {
        if self.settles {
            let turns = &self.newest.turns;
            turns.take(&self.function, name, &mut self.turns).await;
        }
    }

    /// Something that was seen has changed: the next attempts take turns over it.
    fn conflict(&self, touch: &Touch) -> ServiceError {
        if self.settles {
            self.newest.turns.note_conflict(&self.function, touch);
        }
        ServiceError::Conflict
    }

    /// The value under `key`.
    ///
    /// # Errors
    /// [`ServiceError::Conflict`] if something that was read before has changed.
    pub(super) async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, ServiceError> {
        if let Some((_, value)) = self.state_reads.reads.get(key) {
            return Ok(value.clone());
        }
        if self.state_reads.reads.len() >= STATE_READS_MAX {
            return Err(ServiceError::Limit(format!(
                "read more than {STATE_READS_MAX} state keys in one attempt"
            )));
        }
        self.wait_for_turn(&Touch::Read(key.to_vec())).await;
        let newest = self.newest.clone();
        for _ in 0..LOOKS_MAX {
            let look = self.look(Want::Key(key))?;
            let in_flight = look.in_flight.get(key).map(|(version, _)| *version);
            let (version, value) = if look.certain && in_flight.is_some() {
                let (version, value) = look.in_flight[key].clone();
                (value.as_ref().map_or(0, |_| version), value)
            } else {
                let view = newest.store.state_view().map_err(unread)?;
                self.confirm(&look, &*view)?;
                let found = value(&self.function, key, &*view, &look.in_flight);
                if !self.still(&look, |changed| changed == key) {
                    continue;
                }
                found.map_err(unread)?
            };
            self.built_on.extend(in_flight);
            self.as_of = Some(look.sequence);
            let sight = (version, value.clone());
            self.state_reads.reads.insert(key.to_vec(), sight);
            return Ok(value);
        }
        Err(self.conflict(&Touch::Read(key.to_vec())))
    }

    /// At most `limit` keys with `prefix` after `after`, changed by what `writes` says of them.
    ///
    /// # Errors
    /// As [`Reading::get`].
    pub(super) async fn keys(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        writes: &BTreeMap<Vec<u8>, Option<Bytes>>,
    ) -> Result<Vec<Vec<u8>>, ServiceError> {
        if prefix.len() > STATE_KEY_BYTES_MAX {
            // No key is as long.
            return Ok(Vec::new());
        }
        // The same order without the bytes that no key has.
        let after = after.map(|after| &after[..after.len().min(STATE_KEY_BYTES_MAX + 1)]);
        self.wait_for_turn(&Touch::Listed(prefix.to_vec())).await;
        let newest = self.newest.clone();
        for _ in 0..LOOKS_MAX {
            let look = self.look(Want::Prefix(prefix))?;
            let view = newest.store.state_view().map_err(unread)?;
            self.confirm(&look, &*view)?;
            // Enough keys that, less those that this attempt deletes, a full page is left.
            let enough = limit + writes.len();
            let found = keys(
                &self.function,
                prefix,
                after,
                enough,
                &*view,
                &look.in_flight,
            )
            .map_err(unread)?;
            let page = page(&found, prefix, after, limit, writes);
            let until = (page.len() == limit).then(|| page.last().cloned());
            let range = Listing {
                prefix: prefix.to_vec(),
                after: after.map(<[u8]>::to_vec),
                until: until.flatten(),
                count: 0,
                keys: ListedKeys::default().digest(),
            };
            if !self.still(&look, |changed| range.covers(changed)) {
                continue;
            }
            let within = look.in_flight.iter().filter(|(key, _)| range.covers(key));
            self.built_on
                .extend(within.map(|(_, (version, _))| *version));
            self.as_of = Some(look.sequence);
            self.note(listed(&range, &found))?;
            return Ok(page);
        }
        Err(self.conflict(&Touch::Listed(prefix.to_vec())))
    }

    fn note(&mut self, listing: Listing) -> Result<(), ServiceError> {
        let state_reads = &mut self.state_reads;
        if state_reads.listings.contains(&listing) {
            return Ok(());
        }
        state_reads.listed += listing.count;
        if state_reads.listed > STATE_LISTED_MAX || state_reads.listings.len() >= STATE_LISTINGS_MAX
        {
            return Err(ServiceError::Limit(format!(
                "listed more than {STATE_LISTED_MAX} state keys, or more than {STATE_LISTINGS_MAX} times, in one attempt"
            )));
        }
        #[cfg(test)]
        if injected::NO_LISTING.get() {
            return Ok(());
        }
        state_reads.listings.insert(listing);
        Ok(())
    }

    fn look(&self, want: Want<'_>) -> Result<Look, ServiceError> {
        if !self.settles {
            return Ok(Look {
                sequence: 0,
                certain: false,
                in_flight: BTreeMap::new(),
            });
        }
        let overlay = &self.newest.overlay;
        overlay
            .look(&self.function, self.as_of, &self.state_reads, want)
            .map_err(|touch| self.conflict(&touch))
    }

    /// Makes certain that what was seen before is so in `view`, too, unless that is known.
    fn confirm(&self, look: &Look, view: &dyn StateView) -> Result<(), ServiceError> {
        if look.certain {
            return Ok(());
        }
        let touch = self
            .state_reads
            .compare(&self.function, view, &look.in_flight);
        match touch.map_err(unread)? {
            Touch::Nothing => Ok(()),
            touch => Err(self.conflict(&touch)),
        }
    }

    /// True if neither what is being read nor, if it was not certain before, what was seen has changed since.
    fn still(&self, look: &Look, reading: impl Fn(&[u8]) -> bool) -> bool {
        let touch = |key: &[u8]| {
            if reading(key) {
                Touch::Read(key.to_vec())
            } else if look.certain {
                Touch::Nothing
            } else {
                self.state_reads.touch(key)
            }
        };
        let (function, overlay) = (&self.function, &self.newest.overlay);
        !self.settles || overlay.unchanged(function, look.sequence, touch)
    }

    /// Lets the settlement of this attempt into the writer's inbox if all that it has seen is still so; `send`
    /// puts it there, under the version of its writes.
    ///
    /// # Errors
    /// [`ServiceError::Conflict`] if something has changed.
    pub(super) fn enter(
        mut self,
        writes: &[(Vec<u8>, Option<Bytes>)],
        send: impl FnOnce(u64),
    ) -> Result<(), ServiceError> {
        let newest = self.newest.clone();
        let mut send = Some(send);
        for _ in 0..LOOKS_MAX {
            let basis = (self.as_of, &self.state_reads, &self.built_on);
            let once = |version| {
                if let Some(send) = send.take() {
                    send(version);
                }
            };
            match newest.overlay.enter(&self.function, basis, writes, once) {
                Entry::Entered => return Ok(()),
                Entry::Changed(touch) => return Err(self.conflict(&touch)),
                Entry::Unsure => {}
            }
            let look = self.look(Want::Nothing)?;
            if !look.certain {
                let view = newest.store.state_view().map_err(unread)?;
                self.confirm(&look, &*view)?;
            }
            if self.still(&look, |_| false) {
                self.as_of = Some(look.sequence);
            }
        }
        Err(ServiceError::Conflict)
    }
}

/// Bugs that the tests must catch, on the thread that turns them on. Never in a release.
#[cfg(test)]
pub(crate) mod injected {
    use std::cell::Cell;

    thread_local! {
        /// Listings are forgotten.
        pub(crate) static NO_LISTING: Cell<bool> = const { Cell::new(false) };
    }
}
