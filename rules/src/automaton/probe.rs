//! From values to sub-rules: each value knocks at the doors of its path.
//!
//! A value looks up only the kinds and lengths that some sub-rule waits behind. Its text is hashed
//! once for all prefixes, once for all suffixes, and folded once. Work is linear in the value for
//! each kind, and beyond that follows the sub-rules found.

use super::confirm::{Findings, Sight};
use super::door::{self, Kind, block_hash, network_hash};
use super::fold::fold;
use super::hash::{Run, Seed};
use super::order;
use super::trie::{Entrance, Node};
use super::values::{self, NONE, Value};
use crate::array_trail::TooManySpellings;
use crate::operator::exact;

/// Finds and confirms all sub-rules that may hold.
pub(super) fn all(
    sight: Sight<'_>,
    findings: &mut Findings,
    folded: &mut String,
) -> Result<(), TooManySpellings> {
    for place in 0..sight.values.found.len() as u32 {
        let found = sight.values.found.get(place as usize);
        let node = found.and_then(|found| Some((found.node, sight.core.trie.node(found.node)?)));
        let value = sight.values.at(sight.event, place);
        if let (Some((number, node)), Some(value)) = (node, value) {
            Knock {
                sight,
                findings,
                folded,
                number,
                place,
                value,
            }
            .at(node)?;
        }
    }
    for pair in sight.core.absent.find(0) {
        let seen = sight.values.seen(pair.to);
        if seen.is_none_or(|seen| seen.in_arrays) {
            let seed = sight.core.seed.of(pair.to, Kind::Absent as u8);
            for waiting in sight.core.doors.find(seed.word(0)) {
                findings.confirm(sight, waiting.to, NONE)?;
            }
        }
    }
    Ok(())
}

/// One value at the doors of its path.
struct Knock<'k> {
    sight: Sight<'k>,
    findings: &'k mut Findings,
    folded: &'k mut String,
    number: u32,
    place: u32,
    value: Value<'k>,
}

/// A hash that grows with the lengths in use.
struct Ends {
    kind: Kind,
    run: Run,
    taken: usize,
}

impl Knock<'_> {
    fn at(&mut self, node: &Node) -> Result<(), TooManySpellings> {
        if self.value.kind == values::Kind::Number {
            for (range, waiting) in &node.ranges {
                if (range.0..=range.1).contains(&self.value.word) {
                    self.findings.confirm(self.sight, *waiting, self.place)?;
                }
            }
        }
        let mut ends: Option<Ends> = None;
        let mut is_folded = false;
        let mut address = None;
        for entrance in &node.entrances {
            let seed = self.sight.core.seed.of(self.number, entrance.kind as u8);
            let hash = match (entrance.kind, self.value.kind) {
                (Kind::Present, _) => door::present(self.sight.core.seed, self.number).hash,
                (Kind::Null, values::Kind::Null)
                | (Kind::True, values::Kind::True)
                | (Kind::False, values::Kind::False) => seed.word(0),
                (Kind::Number, values::Kind::Number) => seed.word(self.value.word),
                (Kind::Digits, values::Kind::Number) | (Kind::Text, values::Kind::Text) => {
                    seed.bytes(self.value.bytes)
                }
                (Kind::Block, values::Kind::Number) => {
                    let (bits, prefix) = order::around(self.value.word, entrance.length);
                    block_hash(seed, bits, prefix)
                }
                (Kind::Prefix | Kind::Suffix, values::Kind::Text) => {
                    match end_hash(seed, *entrance, self.value.bytes, &mut ends) {
                        Some(hash) => hash,
                        None => continue,
                    }
                }
                (Kind::Folded | Kind::FoldedPrefix | Kind::FoldedSuffix, values::Kind::Text) => {
                    if !is_folded {
                        self.folded.clear();
                        fold(self.value.text().unwrap_or_default(), self.folded);
                        is_folded = true;
                    }
                    let hash = if entrance.kind == Kind::Folded {
                        Some(seed.bytes(self.folded.as_bytes()))
                    } else {
                        end_hash(seed, *entrance, self.folded.as_bytes(), &mut ends)
                    };
                    match hash {
                        Some(hash) => hash,
                        None => continue,
                    }
                }
                (Kind::Network4 | Kind::Network6, values::Kind::Text) => {
                    let spelled = || self.value.text().and_then(exact::address);
                    match *address.get_or_insert_with(spelled) {
                        Some(address) if (entrance.kind == Kind::Network4) == address.is_ipv4() => {
                            network_hash(seed, address, entrance.length)
                        }
                        _ => continue,
                    }
                }
                (Kind::Gram, values::Kind::Text) => {
                    self.grams(seed, entrance.length as usize)?;
                    continue;
                }
                _ => continue,
            };
            self.open(hash)?;
        }
        Ok(())
    }

    /// Confirms all who wait behind a door.
    fn open(&mut self, hash: u32) -> Result<(), TooManySpellings> {
        for waiting in self.sight.core.doors.find(hash) {
            self.findings.confirm(self.sight, waiting.to, self.place)?;
        }
        Ok(())
    }

    fn grams(&mut self, seed: Seed, length: usize) -> Result<(), TooManySpellings> {
        for gram in self.value.bytes.windows(length.max(1)) {
            self.open(seed.bytes(gram))?;
        }
        Ok(())
    }
}

/// The hash of a text's first or last bytes; none if it hasn't so many. Lengths ascend by kind.
fn end_hash(seed: Seed, entrance: Entrance, text: &[u8], ends: &mut Option<Ends>) -> Option<u32> {
    let length = entrance.length as usize;
    if length > text.len() {
        return None;
    }
    if ends.as_ref().is_none_or(|ends| ends.kind != entrance.kind) {
        *ends = Some(Ends {
            kind: entrance.kind,
            run: seed.run(),
            taken: 0,
        });
    }
    let ends = ends.as_mut()?;
    if matches!(entrance.kind, Kind::Suffix | Kind::FoldedSuffix) {
        let next = &text[text.len() - length..text.len() - ends.taken];
        ends.run.extend(next.iter().rev());
    } else {
        ends.run.extend(text[ends.taken..length].iter());
    }
    ends.taken = length;
    Some(ends.run.hash())
}
