//! Fingerprints of (bus, source, id), and of what an event says under them.
//!
//! Never here: where a fingerprint is stored, or when it expires.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use edgebus_model::{BusId, Event, Position, Timestamp};

/// Names (bus, source, id).
pub(super) type Fingerprint = [u8; 16];

/// Where and when an event was accepted, and what it said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    pub(super) position: Position,
    pub(super) accepted: Timestamp,
    /// A hash of type, subject and data; 0 where an earlier release kept none, and of an erased event.
    pub(super) content: u64,
}

impl Seen {
    /// True if another event with this content is known to say something else.
    pub(super) fn differs(&self, content: u64) -> bool {
        self.content != 0 && content != 0 && self.content != content
    }
}

/// A fingerprint is already a hash: its first bytes serve as one.
#[derive(Default)]
pub(super) struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = self.0.rotate_left(32) ^ u64::from_le_bytes(word);
        }
    }
    fn write_usize(&mut self, _length: usize) {}
}

pub(super) type Map = HashMap<Fingerprint, Seen, BuildHasherDefault<FirstBytes>>;

/// Makes fingerprints with a key that comes from the store's secret.
#[derive(Clone)]
pub(super) struct Fingerprints {
    key: [u8; 32],
    /// For contents, whose hash need not resist anybody: who makes two collide hides an event of their own.
    seed: u64,
}

impl Fingerprints {
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        let seed = blake3::derive_key("edgebus store: dedupe contents, format 3", secret);
        let (seed, _) = seed.split_first_chunk().expect("a key has 32 bytes");
        Self {
            key: blake3::derive_key("edgebus store: dedupe fingerprints, format 1", secret),
            seed: u64::from_le_bytes(*seed),
        }
    }

    /// The bus, the source's length, the source, the id: no two triples give the same input.
    pub(super) fn of(&self, bus: BusId, event: &Event) -> Fingerprint {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&bus.0.to_le_bytes());
        hasher.update(&(event.source.len() as u64).to_le_bytes());
        hasher.update(event.source.as_bytes());
        hasher.update(event.id.as_bytes());
        let hash = hasher.finalize();
        let (head, _) = hash
            .as_bytes()
            .split_first_chunk::<16>()
            .expect("a BLAKE3 hash has 32 bytes");
        *head
    }

    /// What the event says: type, subject and the bytes of its data. Time and extensions, which clients set anew
    /// when they repeat an event, are not in it. Of an erased event it is none.
    pub(super) fn content(&self, event: &Event) -> u64 {
        if event.erased().is_some() {
            return 0;
        }
        let kind = Some(event.kind.as_bytes());
        let subject = event.subject.as_deref().map(str::as_bytes);
        let mut hash = self.seed;
        for part in [kind, subject, event.data.bytes()] {
            // A part that is absent is not one that is empty.
            let length = part.map_or(u64::MAX, |bytes| bytes.len() as u64);
            hash = xxh3_64_with_seed(part.unwrap_or_default(), hash.wrapping_add(length));
        }
        // 0 is none.
        hash.max(1)
    }
}
