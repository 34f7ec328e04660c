//! Maps numbers to words that sort in the same order, and ranges of words to blocks.
//!
//! At most two aligned blocks cover a range. The size of a block is a power of two, and each block is less
//! than twice as wide as the part of the range that it covers. A value lies in one block of each width. So
//! the ranges that may contain it are found with one look-up for each width in use. A block may contain words
//! outside of its range. These are excluded when the candidate is compared.

use crate::operator::numeric::End;

/// A range of words. Both ends are included.
pub(super) type Range = (u64, u64);

/// A word that sorts as the number does. 0 and -0 have the same word.
pub(super) fn word(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

/// The words between two bounds. A bound is a number and whether it is included.
pub(super) fn range(low: End, high: End) -> Range {
    let low = low.map_or(0, |(value, included)| word(value) + u64::from(!included));
    let high = high.map_or(u64::MAX, |(value, included)| {
        word(value) - u64::from(!included)
    });
    (low, high)
}

/// A block: the number of leading bits that its words share, and those bits.
pub(super) type Block = (u32, u64);

/// The block of this width that contains a word.
pub(super) fn around(word: u64, bits: u32) -> Block {
    (bits, word.checked_shr(64 - bits).unwrap_or(0))
}

/// The blocks that cover a range.
pub(super) fn cover((low, high): Range) -> (Block, Option<Block>) {
    let shared = (low ^ high).leading_zeros();
    if shared == 64 {
        return (around(low, 64), None);
    }
    // The two ends first differ in one bit. Words with 0 there are on the side of the low end, words with 1
    // on the side of the high end.
    let below = u64::MAX >> shared >> 1;
    let (left, right) = (low & below, high & below);
    if left == 0 && right == below {
        return (around(low, shared), None);
    }
    let left = (!left & below).leading_zeros();
    let right = right.leading_zeros();
    (around(low, left), Some(around(high, right)))
}

/// The binary64 nearest to a JSON number's text. `None` if the text isn't a number.
pub(super) fn parse(text: &[u8]) -> Option<f64> {
    fast_float2::parse(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_sort_as_numbers() {
        let ascending = [
            f64::NEG_INFINITY,
            -1e300,
            -122.5,
            -122.4,
            -5e-324,
            0.0,
            5e-324,
            1.0,
            1.5,
            1e300,
            f64::INFINITY,
        ];
        assert!(
            ascending
                .windows(2)
                .all(|pair| word(pair[0]) < word(pair[1]))
        );
        assert_eq!(word(0.0), word(-0.0));
        assert_eq!(
            range(Some((1.0, true)), Some((1.0, true))),
            (word(1.0), word(1.0))
        );
        assert!(range(Some((1.0, false)), None).0 > word(1.0));
    }

    proptest! {
        #[test]
        fn blocks_cover_their_range(one: u64, other: u64, shift in 0..64_u32, inside: u64) {
            let (low, high) = ((one.min(other)) >> shift, (one.max(other)) >> shift);
            let (first, second) = cover((low, high));
            let covered = |word: u64| {
                around(word, first.0) == first
                    || second.is_some_and(|second| around(word, second.0) == second)
            };
            let inside = match (high - low).checked_add(1) {
                Some(width) => low + inside % width,
                None => inside,
            };
            prop_assert!(covered(low) && covered(high) && covered(inside));
            let width = |block: Block| if block.0 == 0 { u128::MAX } else { 1_u128 << (64 - block.0) };
            let widths = width(first).saturating_add(second.map_or(0, width));
            let spanned = u128::from(high - low) + 1;
            prop_assert!(first.0 == 0 || widths <= 2 * spanned, "{widths} for {spanned}");
        }

        #[test]
        fn parsing_agrees_with_the_standard_library(text in "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,17})?([eE][+-]?[0-9]{1,3})?") {
            let wanted: f64 = text.parse().expect("it is a number");
            prop_assert_eq!(parse(text.as_bytes()).map(f64::to_bits), Some(wanted.to_bits()));
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["", "-", ".", "1.2.3", "a", "1-2", "1e", "--1", "\u{ff}"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        for text in ["1e400", "-1e400"] {
            assert!(parse(text.as_bytes()).is_some_and(f64::is_infinite));
        }
    }
}
