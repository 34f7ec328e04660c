//! How many positions a block spans, and how its fingerprints go into rows and lines of a filter.
//!
//! Plain numbers that follow from two: the positions of a sealed block, and how many blocks one merge puts
//! together. Both are powers of two, so that rows and lines are chosen by a fingerprint's first bits.

/// Positions of one row of the tail: complete rows are written, the rest is in the log alone.
pub(super) const RUN: u64 = 64;
/// The highest level: a block of it is never merged.
pub(super) const LEVEL_MAX: u8 = 2;
/// Rows in one part of a block: a merge makes a part in one step.
const PART_ROWS_BITS: u32 = 5;

/// The two numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) struct Geometry {
    /// A sealed block spans 2^this positions.
    pub(in super::super) block_bits: u32,
    /// A merge puts 2^this blocks together.
    pub(in super::super) fan_bits: u32,
}

impl Geometry {
    /// Blocks of 16,384 positions, merged by 16: 262,144 and 4,194,304.
    pub(in super::super) const STORED: Self = Self {
        block_bits: 14,
        fan_bits: 4,
    };

    fn bits(self, level: u8) -> u32 {
        self.block_bits + self.fan_bits * u32::from(level)
    }

    /// Positions of a block of `level`.
    pub(in super::super) fn span(self, level: u8) -> u64 {
        1 << self.bits(level)
    }

    /// The first position of the block of `level` that `position` is in.
    pub(super) fn first(self, level: u8, position: u64) -> u64 {
        let span = self.span(level);
        (position - 1) / span * span + 1
    }

    /// A row holds about 64 fingerprints: how many of the first bits choose it.
    pub(super) fn row_bits(self, level: u8) -> u32 {
        self.bits(level) - 6
    }

    /// A line stands for about 32 fingerprints: how many of the first bits choose it.
    pub(super) fn line_bits(self, level: u8) -> u32 {
        self.bits(level) - 5
    }

    /// Rows of a block.
    pub(super) fn rows(self, level: u8) -> u32 {
        1 << self.row_bits(level)
    }

    /// Rows of a part.
    pub(super) fn part_rows(self, level: u8) -> u32 {
        1 << self.row_bits(level).min(PART_ROWS_BITS)
    }

    /// Lines of a part.
    pub(super) fn part_lines(self, level: u8) -> usize {
        2 * self.part_rows(level) as usize
    }

    /// Parts of a block.
    pub(super) fn parts(self, level: u8) -> u32 {
        self.rows(level) / self.part_rows(level)
    }
}
