//! State of functions at the door: views of it, and what an attempt saw, for its settlement to be checked by.
//!
//! Never here: tables, and what is in flight.

use bytes::Bytes;

use super::Error;
use edgebus_model::{Digest, Name};

/// The state of all functions at one moment, whatever is written meanwhile.
pub trait StateView: Send {
    /// The last version that was given to a write; while it stays the same, nothing has changed.
    /// # Errors
    /// As every read.
    fn version(&self) -> Result<u64, Error>;

    /// A function's state under `key`, with its version; `None` is absent, which has version 0.
    /// # Errors
    /// As every read.
    fn get(&self, function: &Name, key: &[u8]) -> Result<Option<Versioned>, Error>;

    /// A page of a function's state keys that begin with `prefix`, in byte order after `after`.
    /// # Errors
    /// As every read.
    fn keys(
        &self,
        function: &Name,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, Error>;
}

/// A state value and its version, which every write raises.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Versioned {
    /// The bytes.
    pub value: Bytes,
    /// Counts from 1; of one settlement only, deletions included.
    pub version: u64,
}

/// What an attempt saw of its function's state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// The function whose state is read and written; `None` if it is neither.
    pub function: Option<Name>,
    /// Keys that were read, with the version seen (0 for absent).
    pub reads: Vec<(Vec<u8>, u64)>,
    /// Ranges of keys that were listed.
    pub listings: Vec<Listing>,
}

/// A range of state keys that was listed, and which keys were in it. A change of a key's value is no change
/// of a listing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Listing {
    /// The keys in the range begin with this,
    pub prefix: Vec<u8>,
    /// come after this one,
    pub after: Option<Vec<u8>>,
    /// and not after this one.
    pub until: Option<Vec<u8>>,
    /// How many keys were there, which is what it costs to list them again.
    pub count: usize,
    /// The digest of the keys that were there; see [`ListedKeys`].
    pub keys: Digest,
}

impl Listing {
    /// True if `key` is in the range.
    #[must_use]
    pub fn covers(&self, key: &[u8]) -> bool {
        key.starts_with(&self.prefix)
            && self.after.as_deref().is_none_or(|after| key > after)
            && self.until.as_deref().is_none_or(|until| key <= until)
    }
}

/// Makes the digest of the keys of a [`Listing`], which are added in order.
#[derive(Debug, Default)]
pub struct ListedKeys(blake3::Hasher);

impl ListedKeys {
    /// One more key.
    pub fn add(&mut self, key: &[u8]) {
        // The length keeps `a`, `b` apart from `ab`.
        self.0.update(&(key.len() as u64).to_be_bytes());
        self.0.update(key);
    }

    /// The digest of all that were added.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(self.0.finalize().into())
    }
}
