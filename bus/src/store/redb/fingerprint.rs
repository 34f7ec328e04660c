//! Fingerprints of (bus, source, id), and a filter that tells which block can't hold one.
//!
//! Never here: where a fingerprint is stored, or when it expires.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::dedupe::BLOCK;
use crate::model::{BusId, Event, Position, Timestamp};

/// Names (bus, source, id).
pub(super) type Fingerprint = [u8; 16];
/// Where and when an event was accepted.
pub(super) type Place = (Position, Timestamp);

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

pub(super) type Map = HashMap<Fingerprint, Place, BuildHasherDefault<FirstBytes>>;

/// Makes fingerprints with a key that comes from the store's secret.
#[derive(Clone)]
pub(super) struct Fingerprints {
    key: [u8; 32],
}

impl Fingerprints {
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        Self {
            key: blake3::derive_key("edgebus store: dedupe fingerprints, format 1", secret),
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
}

/// A blocked Bloom filter: 7 bits in one 64-byte line for each of up to [`BLOCK`] fingerprints, 16
/// bits of memory for each.
#[derive(Clone)]
pub(super) struct Filter {
    lines: Vec<[u64; 8]>,
}

impl Filter {
    const LINES: usize = BLOCK as usize * 16 / 512;

    pub(super) fn new() -> Self {
        Self {
            lines: vec![[0; 8]; Self::LINES],
        }
    }

    fn line(fingerprint: &Fingerprint) -> usize {
        usize::from(u16::from_le_bytes([fingerprint[1], fingerprint[2]])) % Self::LINES
    }

    fn bits(fingerprint: &Fingerprint) -> impl Iterator<Item = (usize, u64)> {
        let mut tail = [0; 8];
        tail.copy_from_slice(&fingerprint[8..]);
        let word = u64::from_le_bytes(tail);
        (0..7).map(move |index| {
            let bit = (word >> (index * 9)) & 511;
            ((bit >> 6) as usize, 1 << (bit & 63))
        })
    }

    pub(super) fn insert(&mut self, fingerprint: &Fingerprint) {
        let line = &mut self.lines[Self::line(fingerprint)];
        for (word, bit) in Self::bits(fingerprint) {
            line[word] |= bit;
        }
    }

    pub(super) fn may_hold(&self, fingerprint: &Fingerprint) -> bool {
        let line = &self.lines[Self::line(fingerprint)];
        Self::bits(fingerprint).all(|(word, bit)| line[word] & bit != 0)
    }
}
