//! Looks up each value under the kinds of keys in use at its path. Look-ups and candidates are processed in
//! batches of sixteen. Each step of a look-up waits for memory. In a batch, the processor waits for all of
//! them at once.
//!
//! A value is looked up only under kinds and lengths that have postings. Its text is hashed once for all
//! prefixes and once for all suffixes, and folded once. Work is linear in the value for each kind, plus the
//! number of candidates found.

use super::confirm::{Findings, MatchContext};
use super::core::Branch;
use super::fold::fold;
use super::hash::{Run, Seed};
use super::index_key::{Kind, block_hash, network_hash};
use super::multimap::Bucket;
use super::order;
use super::trie::{Node, PostingCount};
use super::values::{self, NONE, Value};
use crate::array_trail::TooManySpellings;
use crate::operator::exact;

/// Finds and verifies all candidate sub-rules.
pub(super) fn all(
    context: MatchContext<'_>,
    findings: &mut Findings,
    folded: &mut String,
) -> Result<(), TooManySpellings> {
    let batch = ProbeBatch::new(context, findings);
    let mut probe = Prober { batch, folded };
    for (place, found) in (0..).zip(&context.values.found) {
        let node = context.core.trie.node(found.node);
        let value = context.values.at(context.event, place);
        if let (Some(node), Some(value)) = (node, value) {
            probe.at(found.node, node, place, value)?;
        }
    }
    let batch = &mut probe.batch;
    for pair in context.core.absent.find(0) {
        let seen = context.values.seen(pair.to);
        if seen.is_none_or(|seen| seen.in_arrays) {
            let seed = context.core.seed.of(pair.to, Kind::Absent as u8);
            batch.probe(seed.word(0), NONE)?;
        }
    }
    batch.open()
}

/// Look-ups and candidates that are processed together.
///
/// Each step of a look-up waits for memory. One short loop takes the same step for many look-ups, so the
/// processor waits for all of them at once.
struct ProbeBatch<'k> {
    context: MatchContext<'k>,
    findings: &'k mut Findings,
    probes: [(u32, u32); BATCH],
    probing: usize,
    /// The sub-rules that were found, and the places of the values that found them.
    candidates: [(u32, u32); BATCH],
    waiting: usize,
}

const BATCH: usize = 16;

impl<'k> ProbeBatch<'k> {
    fn new(context: MatchContext<'k>, findings: &'k mut Findings) -> Self {
        ProbeBatch {
            context,
            findings,
            probes: [(0, 0); BATCH],
            probing: 0,
            candidates: [(0, 0); BATCH],
            waiting: 0,
        }
    }

    /// Adds the look-up of a hash for the value at a place.
    fn probe(&mut self, hash: u32, place: u32) -> Result<(), TooManySpellings> {
        self.probes[self.probing] = (hash, place);
        self.probing += 1;
        if self.probing == BATCH {
            return self.open();
        }
        Ok(())
    }

    /// Does all look-ups of the batch and verifies the candidates that they find.
    fn open(&mut self) -> Result<(), TooManySpellings> {
        let probing = std::mem::take(&mut self.probing);
        let mut buckets = [Bucket::EMPTY; BATCH];
        let mut touched = 0_u32;
        for (bucket, (hash, _)) in buckets.iter_mut().zip(&self.probes[..probing]) {
            *bucket = self.context.core.index_keys.bucket(*hash);
            touched ^= bucket.touch(*hash);
        }
        std::hint::black_box(touched);
        for (turn, bucket) in buckets[..probing].iter().enumerate() {
            let (hash, place) = self.probes[turn];
            for pair in bucket.find(hash) {
                self.candidate(pair.to, place)?;
            }
        }
        self.confirm()
    }

    fn candidate(&mut self, number: u32, place: u32) -> Result<(), TooManySpellings> {
        self.candidates[self.waiting] = (number, place);
        self.waiting += 1;
        if self.waiting == BATCH {
            return self.confirm();
        }
        Ok(())
    }

    fn confirm(&mut self) -> Result<(), TooManySpellings> {
        let waiting = std::mem::take(&mut self.waiting);
        let mut branches: [Option<&Branch>; BATCH] = [None; BATCH];
        for (branch, (number, _)) in branches.iter_mut().zip(&self.candidates[..waiting]) {
            *branch = self.context.core.branch(*number);
        }
        if waiting > 1 {
            // Reads the first cache lines of each sub-rule, so that they are in the cache for the next loop.
            let read = |branch: &Option<&Branch>| branch.and_then(Branch::node).unwrap_or_default();
            let touched = branches[..waiting].iter().map(read);
            std::hint::black_box(touched.fold(0, |all, one| all ^ one));
        }
        for (turn, branch) in branches[..waiting].iter().enumerate() {
            if let Some(branch) = branch {
                let (number, place) = self.candidates[turn];
                self.findings.confirm(self.context, branch, number, place)?;
            }
        }
        Ok(())
    }
}

/// Looks up values under the index keys of their paths.
struct Prober<'k> {
    batch: ProbeBatch<'k>,
    folded: &'k mut String,
}

/// A hash of the first or last bytes, extended from one length in use to the next.
struct Ends {
    kind: Kind,
    run: Run,
    taken: usize,
}

impl Prober<'_> {
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
        let core_seed = self.batch.context.core.seed;
        let mut ends: Option<Ends> = None;
        let mut is_folded = false;
        let mut address = None;
        for posting_count in &node.posting_counts {
            let seed = core_seed.of(number, posting_count.kind as u8);
            let hash = match (posting_count.kind, value.kind) {
                (Kind::Present, _) => seed.word(0),
                (Kind::Null, values::Kind::Null)
                | (Kind::True, values::Kind::True)
                | (Kind::False, values::Kind::False) => seed.word(0),
                (Kind::Number, values::Kind::Number) => seed.word(value.word),
                (Kind::Digits, values::Kind::Number) | (Kind::Text, values::Kind::Text) => {
                    seed.bytes(value.bytes)
                }
                (Kind::Block, values::Kind::Number) => {
                    let (bits, prefix) = order::around(value.word, posting_count.length);
                    block_hash(seed, bits, prefix)
                }
                (Kind::Prefix | Kind::Suffix, values::Kind::Text) => {
                    match end_hash(seed, *posting_count, value.bytes, &mut ends) {
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
                    let hash = if posting_count.kind == Kind::Folded {
                        Some(seed.bytes(self.folded.as_bytes()))
                    } else {
                        end_hash(seed, *posting_count, self.folded.as_bytes(), &mut ends)
                    };
                    match hash {
                        Some(hash) => hash,
                        None => continue,
                    }
                }
                (Kind::Network4 | Kind::Network6, values::Kind::Text) => {
                    let spelled = || value.text().and_then(exact::address);
                    match *address.get_or_insert_with(spelled) {
                        Some(address)
                            if (posting_count.kind == Kind::Network4) == address.is_ipv4() =>
                        {
                            network_hash(seed, address, posting_count.length)
                        }
                        _ => continue,
                    }
                }
                (Kind::Gram, values::Kind::Text) => {
                    self.grams(seed, posting_count.length as usize, place, value)?;
                    continue;
                }
                _ => continue,
            };
            self.batch.probe(hash, place)?;
        }
        Ok(())
    }

    /// Compares a number with the ranges in the node's list.
    fn ranges(&mut self, node: &Node, place: u32, word: u64) -> Result<(), TooManySpellings> {
        for (range, waiting) in &node.ranges {
            if (range.0..=range.1).contains(&word) {
                self.batch.candidate(*waiting, place)?;
            }
        }
        Ok(())
    }

    /// Looks up all runs of this many bytes. A hash that has postings is looked up once.
    fn grams(
        &mut self,
        seed: Seed,
        length: usize,
        place: u32,
        value: Value<'_>,
    ) -> Result<(), TooManySpellings> {
        self.batch.findings.grams.clear();
        for gram in value.bytes.windows(length.max(1)) {
            let hash = seed.bytes(gram);
            let mut found = self.batch.context.core.index_keys.find(hash).peekable();
            if found.peek().is_some() && self.batch.findings.grams.insert(hash) {
                for pair in found {
                    self.batch.candidate(pair.to, place)?;
                }
            }
        }
        Ok(())
    }
}

/// The hash of a text's first or last bytes. `None` if the text is shorter. For each kind, lengths come in
/// ascending order.
fn end_hash(
    seed: Seed,
    posting_count: PostingCount,
    text: &[u8],
    ends: &mut Option<Ends>,
) -> Option<u32> {
    let length = posting_count.length as usize;
    if length > text.len() {
        return None;
    }
    if ends
        .as_ref()
        .is_none_or(|ends| ends.kind != posting_count.kind)
    {
        *ends = Some(Ends {
            kind: posting_count.kind,
            run: seed.run(),
            taken: 0,
        });
    }
    let ends = ends.as_mut()?;
    if matches!(posting_count.kind, Kind::Suffix | Kind::FoldedSuffix) {
        let next = &text[text.len() - length..text.len() - ends.taken];
        ends.run.extend(next.iter().rev());
    } else {
        ends.run.extend(text[ends.taken..length].iter());
    }
    ends.taken = length;
    Some(ends.run.hash())
}
