//! A blocked Bloom filter for each block of fingerprints: it tells which block can't hold one.
//!
//! 7 bits in one line of 64 bytes for each fingerprint, 16 bits of memory for each. A fingerprint's line is
//! chosen by its first bits, so that a block's lines are in the order of its rows: a merge makes both part by
//! part. Never here: where a filter is stored, or when a block expires.

use super::super::fingerprint::Fingerprint;
use super::geometry::Geometry;

/// Bits of one line, in one line of the processor's cache.
#[repr(align(64))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Line([u64; 8]);

/// Bytes of a line.
pub(super) const LINE_BYTES: usize = 64;
/// How often a filter is halved before it is let go: at 4 bits for each fingerprint three of four new ones
/// are still told apart.
const FOLDS_MAX: u8 = 2;

/// The filter of one block, whole or as far as a merge has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Filter {
    lines: Vec<Line>,
    /// How many of a fingerprint's first bits choose the line.
    line_bits: u32,
    /// How often it was halved.
    folds: u8,
}

impl Filter {
    /// The filter of a block of `level`, to be filled.
    pub(super) fn new(geometry: Geometry, level: u8) -> Self {
        let line_bits = geometry.line_bits(level);
        Self {
            lines: vec![Line([0; 8]); 1 << line_bits],
            line_bits,
            folds: 0,
        }
    }

    /// The filter of a block of `level` that has no lines yet: a merge, or a start, adds part after part.
    pub(super) fn begun(geometry: Geometry, level: u8) -> Self {
        Self {
            lines: Vec::new(),
            line_bits: geometry.line_bits(level),
            folds: 0,
        }
    }

    fn line(&self, fingerprint: &Fingerprint) -> usize {
        let head = u32::from_be_bytes([
            fingerprint[0],
            fingerprint[1],
            fingerprint[2],
            fingerprint[3],
        ]);
        // A line for each of the first bits' values; none at all is line 0.
        (u64::from(head) >> (32 - self.line_bits)) as usize
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
        let index = self.line(fingerprint);
        let Line(line) = &mut self.lines[index];
        for (word, bit) in Self::bits(fingerprint) {
            line[word] |= bit;
        }
    }

    pub(super) fn may_hold(&self, fingerprint: &Fingerprint) -> bool {
        let Line(line) = &self.lines[self.line(fingerprint)];
        Self::bits(fingerprint).all(|(word, bit)| line[word] & bit != 0)
    }

    /// Makes room for the next `count` lines of one that was begun.
    pub(super) fn extend(&mut self, count: usize) {
        self.lines.resize(self.lines.len() + count, Line([0; 8]));
    }

    /// The bytes of `count` lines from `from` on, as they are stored.
    pub(super) fn write(&self, from: usize, count: usize, out: &mut Vec<u8>) {
        for Line(line) in &self.lines[from..from + count] {
            for word in line {
                out.extend_from_slice(&word.to_le_bytes());
            }
        }
    }

    /// Adds stored lines behind those that are there; false if the bytes are no lines.
    pub(super) fn read(&mut self, bytes: &[u8]) -> bool {
        let (lines, rest) = bytes.as_chunks::<LINE_BYTES>();
        for bytes in lines {
            let (words, _) = bytes.as_chunks::<8>();
            let mut line = [0; 8];
            for (word, bytes) in line.iter_mut().zip(words) {
                *word = u64::from_le_bytes(*bytes);
            }
            self.lines.push(Line(line));
        }
        rest.is_empty()
    }

    /// True if every line is there.
    pub(super) fn is_whole(&self) -> bool {
        self.lines.len() == 1 << self.line_bits
    }

    /// Memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.lines.len() * LINE_BYTES
    }

    /// How often it was halved.
    pub(super) fn folds(&self) -> u8 {
        self.folds
    }

    /// Halves it, by putting two neighbouring lines into one; `false` if it has been halved often enough.
    pub(super) fn fold(&mut self) -> bool {
        if self.folds >= FOLDS_MAX || self.line_bits == 0 || !self.is_whole() {
            return false;
        }
        self.lines = self
            .lines
            .chunks_exact(2)
            .map(|pair| {
                Line(std::array::from_fn(|word| {
                    pair[0].0[word] | pair[1].0[word]
                }))
            })
            .collect();
        self.line_bits -= 1;
        self.folds += 1;
        true
    }
}
