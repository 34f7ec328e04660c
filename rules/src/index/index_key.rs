//! Index keys: what a value is looked up under to find conditions.
//!
//! Each alternative of a condition has one key; a range may have two. A key consists of a kind, a length if
//! the kind needs one, and a hash. A value is looked up only under the kinds and lengths in use at its path.
//! A value that meets the alternative always finds it. Other values may find it too, so each candidate is
//! compared in full. Each key has a cost: the number of false candidates that it is expected to give. A
//! sub-rule is posted under the condition with the lowest cost. Operators without a better key use `Present`,
//! which every value of the path finds.

use super::fold::folded_pattern;
use super::hash::Seed;
use super::order::{self, Range};
use crate::operator::{Operator, ends, exact};
use std::net::IpAddr;

/// What is looked up of a value. A kind with a length is looked up once for each length in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Kind {
    /// Every value.
    Present,
    /// The path has no value, or has a value in an array. In the second case another element of the array may
    /// meet `exists: false`.
    Absent,
    Null,
    True,
    False,
    /// The value of a number.
    Number,
    /// The text of a number that binary64 can't represent.
    Digits,
    /// The block of a number: this many leading bits of its word.
    Block,
    Text,
    /// The first bytes of a string, as many as the length says.
    Prefix,
    /// The last bytes of a string, as many as the length says, hashed from the last byte on.
    Suffix,
    /// Any run of bytes of this length.
    Gram,
    /// The text with its letter case folded, and below its first and last bytes.
    Folded,
    FoldedPrefix,
    FoldedSuffix,
    /// The first bits of an IP address, as many as the length says.
    Network4,
    Network6,
}

/// One look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IndexKey {
    pub(super) kind: Kind,
    pub(super) length: u32,
    pub(super) hash: u32,
}

/// The index keys that the alternatives of a condition need.
#[derive(Debug, Default)]
pub(super) struct IndexKeys {
    pub(super) single: Vec<IndexKey>,
    /// Ranges are kept apart, because a path keeps its first few ranges in a list.
    pub(super) ranges: Vec<Range>,
    /// The number of expected false candidates. A relative number without a unit.
    pub(super) cost: u64,
}

impl IndexKeys {
    /// Whether a single value finds a sub-rule that is posted here at most once.
    pub(super) fn one(&self) -> bool {
        let gram = self
            .single
            .iter()
            .any(|index_key| index_key.kind == Kind::Gram);
        self.single.len() == 1 && self.ranges.is_empty() && !gram
    }
}

/// The cost of a literal that most events may have.
const PRICE_LITERAL: u64 = 32;
const COST_RANGE: u64 = 64;
/// The cost of a range with one end only.
const COST_HALF_RANGE: u64 = 4096;
const PRICE_PRESENT: u64 = 1 << 20;
/// The cost of a key of one byte; each further byte divides it by four.
const PRICE_BYTE: u64 = 256;
/// The largest length of a gram. Longer ones find no fewer candidates.
const GRAM_MAX: usize = 4;

impl IndexKeys {
    /// Adds the index keys of one alternative.
    pub(super) fn add(&mut self, seed: Seed, node: u32, operator: &Operator) {
        match operator {
            Operator::Exact(operand) => self.exact(seed, node, operand),
            Operator::Prefix(ends::Operand::Text(wanted)) => {
                self.ends(seed, node, Kind::Prefix, wanted);
            }
            Operator::Suffix(ends::Operand::Text(wanted)) => {
                self.ends(seed, node, Kind::Suffix, wanted);
            }
            Operator::Prefix(ends::Operand::IgnoreCase(wanted)) => {
                match folded_pattern(wanted.text()) {
                    Some(folded) => self.ends(seed, node, Kind::FoldedPrefix, &folded),
                    None => self.present(seed, node),
                }
            }
            Operator::Suffix(ends::Operand::IgnoreCase(wanted)) => {
                match folded_pattern(wanted.text()) {
                    Some(folded) => self.ends(seed, node, Kind::FoldedSuffix, &folded),
                    None => self.present(seed, node),
                }
            }
            Operator::EqualsIgnoreCase(wanted) => match folded_pattern(wanted.text()) {
                Some(folded) => self.folded(seed, node, folded.as_bytes()),
                None => self.present(seed, node),
            },
            Operator::Wildcard(wanted) => match wanted.anchors() {
                Some((first, rest)) => self.wildcard(seed, node, first, rest),
                None => self.present(seed, node),
            },
            Operator::Numeric(operand) => {
                let (low, high) = operand.bounds();
                self.range(order::range(low, high));
            }
            Operator::Cidr(operand) => {
                let (inside, bits) = operand.block();
                self.push(network(seed, node, inside, bits), COST_RANGE);
            }
            Operator::All(operand) => {
                // A value that meets all operands also meets the one with the fewest expected false
                // candidates. That one gives the keys.
                let each = operand.each().iter().map(|operator| {
                    let mut index_keys = IndexKeys::default();
                    index_keys.add(seed, node, operator);
                    index_keys
                });
                match each.min_by_key(|index_keys| index_keys.cost) {
                    Some(cheapest) => {
                        self.single.extend(cheapest.single);
                        self.ranges.extend(cheapest.ranges);
                        self.cost += cheapest.cost;
                    }
                    None => self.present(seed, node),
                }
            }
            // Only absence meets it, which has an index key of its own.
            Operator::Exists(operand) if operand.by_absence() => {}
            _ => self.present(seed, node),
        }
    }

    /// Adds the index key for absence.
    pub(super) fn absent(&mut self, seed: Seed, node: u32) {
        let absent = index_key(seed, node, Kind::Absent, 0, |seed| seed.word(0));
        self.push(absent, 2 * PRICE_PRESENT);
    }

    /// Adds a range.
    pub(super) fn range(&mut self, range: Range) {
        let half = range.0 == 0 || range.1 == u64::MAX;
        self.cost += if half { COST_HALF_RANGE } else { COST_RANGE };
        self.ranges.push(range);
    }

    /// Adds the index key of a literal string.
    pub(super) fn text(&mut self, seed: Seed, node: u32, text: &[u8]) {
        self.push(
            index_key(seed, node, Kind::Text, 0, |seed| seed.bytes(text)),
            0,
        );
    }

    /// Adds the index key of a string with its letter case folded.
    pub(super) fn folded(&mut self, seed: Seed, node: u32, text: &[u8]) {
        self.push(
            index_key(seed, node, Kind::Folded, 0, |seed| seed.bytes(text)),
            1,
        );
    }

    fn push(&mut self, index_key: IndexKey, cost: u64) {
        self.single.push(index_key);
        self.cost += cost;
    }

    /// Adds the key that every value of the path finds.
    pub(super) fn present(&mut self, seed: Seed, node: u32) {
        self.push(present(seed, node), PRICE_PRESENT);
    }

    fn exact(&mut self, seed: Seed, node: u32, operand: &exact::Operand) {
        let literal = |kind| index_key(seed, node, kind, 0, |seed| seed.word(0));
        match operand {
            exact::Operand::Null => self.push(literal(Kind::Null), PRICE_LITERAL),
            exact::Operand::Bool(true) => self.push(literal(Kind::True), PRICE_LITERAL),
            exact::Operand::Bool(false) => self.push(literal(Kind::False), PRICE_LITERAL),
            exact::Operand::Number(number) if number.exact() => {
                let word = order::word(number.value());
                self.push(
                    index_key(seed, node, Kind::Number, 0, |seed| seed.word(word)),
                    0,
                );
            }
            exact::Operand::Number(number) => {
                let digits = number.text().as_bytes();
                self.push(
                    index_key(seed, node, Kind::Digits, 0, |seed| seed.bytes(digits)),
                    0,
                );
            }
            exact::Operand::Text(wanted) => self.text(seed, node, wanted.as_bytes()),
            exact::Operand::Address(_, address) => {
                let bits = if address.is_ipv4() { 32 } else { 128 };
                self.push(network(seed, node, *address, bits), 0);
            }
        }
    }

    /// Adds the index key of a prefix or suffix.
    fn ends(&mut self, seed: Seed, node: u32, kind: Kind, wanted: &str) {
        let bytes = wanted.as_bytes();
        if bytes.is_empty() {
            self.present(seed, node);
            return;
        }
        let hash = |seed: Seed| {
            let mut run = seed.run();
            if matches!(kind, Kind::Suffix | Kind::FoldedSuffix) {
                run.extend(bytes.iter().rev());
            } else {
                run.extend(bytes.iter());
            }
            run.hash()
        };
        let index_key = index_key(seed, node, kind, bytes.len() as u32, hash);
        self.push(index_key, cost_of_bytes(bytes.len()));
    }

    /// Adds the index key of the most selective piece: one at either end, or else one in the middle.
    fn wildcard(&mut self, seed: Seed, node: u32, first: &str, rest: &[Box<str>]) {
        let Some((last, middle)) = rest.split_last() else {
            self.text(seed, node, first.as_bytes());
            return;
        };
        let longest = middle
            .iter()
            .map(|piece| piece.as_bytes())
            .max_by_key(|piece| piece.len());
        let gram = longest.unwrap_or_default();
        let gram = &gram[..gram.len().min(GRAM_MAX)];
        let ends = first.len().max(last.len());
        if ends == 0 && gram.is_empty() {
            self.present(seed, node);
        } else if gram.len() > ends {
            let length = gram.len() as u32;
            let index_key = index_key(seed, node, Kind::Gram, length, |seed| seed.bytes(gram));
            self.push(index_key, 4 * cost_of_bytes(gram.len()));
        } else if first.len() >= last.len() {
            self.ends(seed, node, Kind::Prefix, first);
        } else {
            self.ends(seed, node, Kind::Suffix, last);
        }
    }
}

fn cost_of_bytes(count: usize) -> u64 {
    (PRICE_BYTE >> (2 * (count - 1)).min(16)).max(2)
}

fn index_key(
    seed: Seed,
    node: u32,
    kind: Kind,
    length: u32,
    hash: impl FnOnce(Seed) -> u32,
) -> IndexKey {
    IndexKey {
        kind,
        length,
        hash: hash(seed.of(node, kind as u8)),
    }
}

/// The index key at which every value of a path is looked up.
fn present(seed: Seed, node: u32) -> IndexKey {
    index_key(seed, node, Kind::Present, 0, |seed| seed.word(0))
}

/// The index keys of the blocks that cover a range.
pub(super) fn blocks(seed: Seed, node: u32, range: Range) -> impl Iterator<Item = IndexKey> {
    let (first, second) = order::cover(range);
    let blocks = [Some(first), second].into_iter().flatten();
    blocks.map(move |(bits, prefix)| {
        index_key(seed, node, Kind::Block, bits, |seed| {
            block_hash(seed, bits, prefix)
        })
    })
}

/// The hash of a block, under the seed of its path and kind.
pub(super) fn block_hash(seed: Seed, bits: u32, prefix: u64) -> u32 {
    seed.word(prefix.rotate_left(7) ^ u64::from(bits))
}

fn network(seed: Seed, node: u32, inside: IpAddr, bits: u32) -> IndexKey {
    let kind = match inside {
        IpAddr::V4(_) => Kind::Network4,
        IpAddr::V6(_) => Kind::Network6,
    };
    index_key(seed, node, kind, bits, |seed| {
        network_hash(seed, inside, bits)
    })
}

/// The hash of an address's first bits, under the seed of its path and kind.
pub(super) fn network_hash(seed: Seed, address: IpAddr, bits: u32) -> u32 {
    let (all, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let prefix = all.checked_shr(width - bits.min(width)).unwrap_or(0);
    let mut bytes = [0; 17];
    bytes[..16].copy_from_slice(&prefix.to_le_bytes());
    bytes[16] = bits as u8;
    seed.bytes(&bytes)
}
