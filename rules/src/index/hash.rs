//! Keyed hashes of 32 bits, for values, key segments and conditions.
//!
//! A hash finds candidates. Each candidate is then compared in full, so a collision costs one comparison and
//! changes no answer. Events never insert into a table, so no event can make a table slow. The slowest
//! look-up is one that the rules made slow. The seed is random, so that nobody can write rules that collide.
//! Hashes differ between processes: never store one.

use std::hash::{BuildHasher, RandomState};

const FIRST: u64 = 0x9E37_79B9_7F4A_7C15;
const SECOND: u64 = 0xD6E8_FEB8_6659_FD93;

/// A seed that separates the hashes of one purpose from all others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seed(u64);

/// Multiplies in 128 bits and combines both halves of the product.
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    (product as u64) ^ ((product >> 64) as u64)
}

/// The eight bytes at `at`, or zero if there are fewer.
fn word(bytes: &[u8], at: usize) -> u64 {
    let chunk = bytes.get(at..).and_then(|rest| rest.first_chunk());
    chunk.map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

fn half(bytes: &[u8], at: usize) -> u64 {
    let chunk = bytes.get(at..).and_then(|rest| rest.first_chunk());
    chunk.map_or(0, |chunk| u64::from(u32::from_le_bytes(*chunk)))
}

impl Seed {
    /// A random seed.
    pub(super) fn random() -> Seed {
        Seed(RandomState::new().hash_one(0_u8))
    }

    /// The seed of one purpose at one node.
    pub(super) fn of(self, node: u32, purpose: u8) -> Seed {
        Seed(fold(
            self.0 ^ FIRST,
            SECOND ^ (u64::from(node) << 8 | u64::from(purpose)),
        ))
    }

    /// The hash of one word.
    pub(super) fn word(self, word: u64) -> u32 {
        fold(self.0 ^ word, FIRST ^ self.0.rotate_left(32)) as u32
    }

    /// The hash of some bytes.
    pub(super) fn bytes(self, bytes: &[u8]) -> u32 {
        let mut state = self.0;
        let mut rest = bytes;
        while rest.len() > 16 {
            state = fold(word(rest, 0) ^ FIRST, word(rest, 8) ^ state);
            rest = &rest[16..];
        }
        let (one, other) = match rest.len() {
            8.. => (word(rest, 0), word(rest, rest.len() - 8)),
            4.. => (half(rest, 0), half(rest, rest.len() - 4)),
            1.. => {
                let ends = u64::from(rest[0]) << 8 | u64::from(rest[rest.len() - 1]);
                (ends << 8 | u64::from(rest[rest.len() / 2]), 0)
            }
            0 => (0, 0),
        };
        let last = fold(one ^ SECOND, other ^ state);
        fold(last ^ FIRST, bytes.len() as u64 ^ SECOND) as u32
    }

    /// Starts a hash that takes bytes one after the other and can be read at every length.
    pub(super) fn run(self) -> Run {
        Run(self.0)
    }
}

/// The hash of all bytes so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run(u64);

impl Run {
    /// Adds the next bytes.
    pub(super) fn extend<'b>(&mut self, bytes: impl Iterator<Item = &'b u8>) {
        for &byte in bytes {
            let mixed = (self.0 ^ u64::from(byte)).wrapping_mul(FIRST);
            self.0 = mixed ^ (mixed >> 32);
        }
    }

    /// The hash of the bytes that were added.
    pub(super) fn hash(self) -> u32 {
        fold(self.0 ^ FIRST, SECOND) as u32
    }
}
