//! From values to sub-rules: each value knocks at the doors of its path.
//!
//! A value looks up only the kinds and lengths that some sub-rule waits behind. Its text is hashed
//! once for all prefixes, once for all suffixes, and folded once. Work is linear in the value for
//! each kind, and beyond that follows the sub-rules found.

use super::confirm::{Findings, Sight};
use super::core::Branch;
use super::door::{Kind, block_hash, network_hash};
use super::fold::fold;
use super::hash::{Run, Seed};
use super::multimap::Bucket;
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
    let crowd = Crowd::new(sight, findings);
    let mut knock = Knock { crowd, folded };
    for (place, found) in (0..).zip(&sight.values.found) {
        let node = sight.core.trie.node(found.node);
        let value = sight.values.at(sight.event, place);
        if let (Some(node), Some(value)) = (node, value) {
            knock.at(found.node, node, place, value)?;
        }
    }
    let crowd = &mut knock.crowd;
    for pair in sight.core.absent.find(0) {
        let seen = sight.values.seen(pair.to);
        if seen.is_none_or(|seen| seen.in_arrays) {
            let seed = sight.core.seed.of(pair.to, Kind::Absent as u8);
            crowd.knock(seed.word(0), NONE)?;
        }
    }
    crowd.open()
}

/// Look-ups and candidates that wait to be dealt with together.
///
/// Each step of a look-up waits for memory. Taking the same step for many of them in one short loop
/// lets the processor wait for all of them at once.
struct Crowd<'k> {
    sight: Sight<'k>,
    findings: &'k mut Findings,
    knocks: [(u32, u32); CROWD],
    knocking: usize,
    /// Sub-rules that were found, and the places of the values that found them.
    candidates: [(u32, u32); CROWD],
    waiting: usize,
}

const CROWD: usize = 16;

impl<'k> Crowd<'k> {
    fn new(sight: Sight<'k>, findings: &'k mut Findings) -> Self {
        Crowd {
            sight,
            findings,
            knocks: [(0, 0); CROWD],
            knocking: 0,
            candidates: [(0, 0); CROWD],
            waiting: 0,
        }
    }

    /// Looks up a hash for the value at a place.
    fn knock(&mut self, hash: u32, place: u32) -> Result<(), TooManySpellings> {
        self.knocks[self.knocking] = (hash, place);
        self.knocking += 1;
        if self.knocking == CROWD {
            return self.open();
        }
        Ok(())
    }

    /// Looks up all hashes and confirms whom they lead to.
    fn open(&mut self) -> Result<(), TooManySpellings> {
        let knocking = std::mem::take(&mut self.knocking);
        let mut buckets = [Bucket::EMPTY; CROWD];
        let mut touched = 0_u32;
        for (bucket, (hash, _)) in buckets.iter_mut().zip(&self.knocks[..knocking]) {
            *bucket = self.sight.core.doors.bucket(*hash);
            touched ^= bucket.touch(*hash);
        }
        std::hint::black_box(touched);
        for (turn, bucket) in buckets[..knocking].iter().enumerate() {
            let (hash, place) = self.knocks[turn];
            for pair in bucket.find(hash) {
                self.candidate(pair.to, place)?;
            }
        }
        self.confirm()
    }

    fn candidate(&mut self, number: u32, place: u32) -> Result<(), TooManySpellings> {
        self.candidates[self.waiting] = (number, place);
        self.waiting += 1;
        if self.waiting == CROWD {
            return self.confirm();
        }
        Ok(())
    }

    fn confirm(&mut self) -> Result<(), TooManySpellings> {
        let waiting = std::mem::take(&mut self.waiting);
        let mut branches: [Option<&Branch>; CROWD] = [None; CROWD];
        for (branch, (number, _)) in branches.iter_mut().zip(&self.candidates[..waiting]) {
            *branch = self.sight.core.branch(*number);
        }
        if waiting > 1 {
            // Reads the first lines of what is asked first, for the next loop to find them near.
            let read = |branch: &Option<&Branch>| branch.and_then(Branch::node).unwrap_or_default();
            let touched = branches[..waiting].iter().map(read);
            std::hint::black_box(touched.fold(0, |all, one| all ^ one));
        }
        for (turn, branch) in branches[..waiting].iter().enumerate() {
            if let Some(branch) = branch {
                let (number, place) = self.candidates[turn];
                self.findings.confirm(self.sight, branch, number, place)?;
            }
        }
        Ok(())
    }
}

/// Values at the doors of their paths.
struct Knock<'k> {
    crowd: Crowd<'k>,
    folded: &'k mut String,
}

/// A hash that grows with the lengths in use.
struct Ends {
    kind: Kind,
    run: Run,
    taken: usize,
}

impl Knock<'_> {
    fn at(
        &mut self,
        number: u32,
        node: &Node,
        place: u32,
        value: Value<'_>,
    ) -> Result<(), TooManySpellings> {
        if value.kind == values::Kind::Number {
            self.ranges(node, place, value.word)?;
        }
        let core_seed = self.crowd.sight.core.seed;
        let mut ends: Option<Ends> = None;
        let mut is_folded = false;
        let mut address = None;
        for entrance in &node.entrances {
            let seed = core_seed.of(number, entrance.kind as u8);
            let hash = match (entrance.kind, value.kind) {
                (Kind::Present, _) => seed.word(0),
                (Kind::Null, values::Kind::Null)
                | (Kind::True, values::Kind::True)
                | (Kind::False, values::Kind::False) => seed.word(0),
                (Kind::Number, values::Kind::Number) => seed.word(value.word),
                (Kind::Digits, values::Kind::Number) | (Kind::Text, values::Kind::Text) => {
                    seed.bytes(value.bytes)
                }
                (Kind::Block, values::Kind::Number) => {
                    let (bits, prefix) = order::around(value.word, entrance.length);
                    block_hash(seed, bits, prefix)
                }
                (Kind::Prefix | Kind::Suffix, values::Kind::Text) => {
                    match end_hash(seed, *entrance, value.bytes, &mut ends) {
                        Some(hash) => hash,
                        None => continue,
                    }
                }
                (Kind::Folded | Kind::FoldedPrefix | Kind::FoldedSuffix, values::Kind::Text) => {
                    if !is_folded {
                        self.folded.clear();
                        fold(value.text().unwrap_or_default(), self.folded);
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
                    let spelled = || value.text().and_then(exact::address);
                    match *address.get_or_insert_with(spelled) {
                        Some(address) if (entrance.kind == Kind::Network4) == address.is_ipv4() => {
                            network_hash(seed, address, entrance.length)
                        }
                        _ => continue,
                    }
                }
                (Kind::Gram, values::Kind::Text) => {
                    self.grams(seed, entrance.length as usize, place, value)?;
                    continue;
                }
                _ => continue,
            };
            self.crowd.knock(hash, place)?;
        }
        Ok(())
    }

    /// Compares a number with the ranges that are listed.
    fn ranges(&mut self, node: &Node, place: u32, word: u64) -> Result<(), TooManySpellings> {
        for (range, waiting) in &node.ranges {
            if (range.0..=range.1).contains(&word) {
                self.crowd.candidate(*waiting, place)?;
            }
        }
        Ok(())
    }

    /// Looks up all runs of so many bytes, each of those that lead somewhere once.
    fn grams(
        &mut self,
        seed: Seed,
        length: usize,
        place: u32,
        value: Value<'_>,
    ) -> Result<(), TooManySpellings> {
        self.crowd.findings.grams.clear();
        for gram in value.bytes.windows(length.max(1)) {
            let hash = seed.bytes(gram);
            let mut found = self.crowd.sight.core.doors.find(hash).peekable();
            if found.peek().is_some() && self.crowd.findings.grams.insert(hash) {
                for pair in found {
                    self.crowd.candidate(pair.to, place)?;
                }
            }
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
