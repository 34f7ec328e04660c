//! A persistent multimap from hashes to numbers. A copy is free, and a change copies little.
//!
//! It is a tree whose nodes have 64 branches, for six bits of the hash at each level. Its leaves are buckets
//! of sorted pairs. A bucket that grows past `BUCKET_MAX` splits. If all its hashes are equal it can't split,
//! and past `CHUNK_MAX` it becomes a list of chunks. So a change copies at most six nodes and one bucket or
//! chunk. If very many numbers share a hash, it also copies the list of their chunks. Never here: keys. The
//! caller has to compare what the numbers stand for.

use std::sync::Arc;

/// A hash and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pair {
    hash: u32,
    /// The number.
    pub(super) to: u32,
}

/// A bucket with more pairs than this splits.
const BUCKET_MAX: usize = 48;
/// A node with at most this many pairs becomes a bucket again.
const BUCKET_AGAIN: usize = 16;
/// The largest number of pairs in a chunk.
const CHUNK_MAX: usize = 512;
const FANOUT: usize = 64;
/// A search that goes further than this from the guess continues as a binary search.
const GUESS_OFF_MAX: usize = 8;

#[derive(Debug, Clone)]
enum Node {
    Bucket(Arc<[Pair]>),
    /// The pairs of one hash, sorted, in chunks. No chunk is empty.
    Chunks(Arc<[Arc<[Pair]>]>),
    Inner(Arc<[Node; FANOUT]>),
}

/// The map.
#[derive(Debug, Clone)]
pub(super) struct MultiMap {
    root: Node,
}

impl MultiMap {
    pub(super) fn new() -> Self {
        MultiMap {
            root: Node::Bucket(Arc::from([])),
        }
    }

    /// Whether there are no pairs.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        matches!(&self.root, Node::Bucket(pairs) if pairs.is_empty())
    }

    /// The pairs of a hash, by ascending number.
    pub(super) fn find(&self, hash: u32) -> Run<'_> {
        self.bucket(hash).find(hash)
    }

    /// The bucket that holds the pairs of a hash, if there are any.
    #[inline]
    pub(super) fn bucket(&self, hash: u32) -> Bucket<'_> {
        let mut node = &self.root;
        let mut bits = hash;
        loop {
            match node {
                Node::Inner(children) => {
                    node = &children[bits as usize % FANOUT];
                    bits >>= 6;
                }
                Node::Bucket(pairs) => return Bucket { pairs, chunks: &[] },
                Node::Chunks(chunks) => return Bucket { pairs: &[], chunks },
            }
        }
    }

    /// Adds a pair. The pair must not be there yet.
    pub(super) fn insert(&mut self, hash: u32, to: u32) {
        insert(&mut self.root, Pair { hash, to }, 0);
    }

    /// Removes a pair, if it is there.
    pub(super) fn remove(&mut self, hash: u32, to: u32) {
        remove(&mut self.root, Pair { hash, to }, 0);
    }
}

/// Sorted pairs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket<'m> {
    pairs: &'m [Pair],
    chunks: &'m [Arc<[Pair]>],
}

impl<'m> Bucket<'m> {
    pub(super) const EMPTY: Bucket<'static> = Bucket {
        pairs: &[],
        chunks: &[],
    };

    /// The expected place of a hash's pairs. Hashes are spread evenly, so the hash and the number of pairs
    /// nearly give the place. Starting there reads one cache line. A binary search would read several.
    fn guess(self, hash: u32) -> usize {
        ((u64::from(hash) * self.pairs.len() as u64) >> 32) as usize
    }

    /// Reads the memory that `find` will read first. The result has no meaning.
    #[inline]
    pub(super) fn touch(self, hash: u32) -> u32 {
        self.pairs.get(self.guess(hash)).map_or(0, |pair| pair.hash)
    }

    /// The pairs of a hash, by ascending number.
    pub(super) fn find(self, hash: u32) -> Run<'m> {
        if let Some(first) = self.chunks.first() {
            let alike = first.first().is_some_and(|pair| pair.hash == hash);
            let chunks = if alike { self.chunks } else { &[] };
            return Run { pairs: &[], chunks };
        }
        let pairs = self.pairs;
        let guess = self.guess(hash);
        let mut from = guess;
        while from < pairs.len() && pairs[from].hash < hash && from < guess + GUESS_OFF_MAX {
            from += 1;
        }
        while from > 0 && pairs[from - 1].hash >= hash && from + GUESS_OFF_MAX > guess {
            from -= 1;
        }
        let sure = pairs.get(from).is_none_or(|pair| pair.hash >= hash)
            && (from == 0 || pairs[from - 1].hash < hash);
        if !sure {
            from = pairs.partition_point(|pair| pair.hash < hash);
        }
        let rest = &pairs[from..];
        let near = rest.iter().take(GUESS_OFF_MAX);
        let mut count = near.take_while(|pair| pair.hash == hash).count();
        if count == GUESS_OFF_MAX {
            count = rest.partition_point(|pair| pair.hash == hash);
        }
        let pairs = &rest[..count];
        Run { pairs, chunks: &[] }
    }
}

/// The pairs of one hash.
#[derive(Debug, Clone)]
pub(super) struct Run<'m> {
    pairs: &'m [Pair],
    chunks: &'m [Arc<[Pair]>],
}

impl Run<'_> {
    /// The number of pairs that are left.
    pub(super) fn count_all(&self) -> usize {
        let chunks = self.chunks.iter().map(|chunk| chunk.len());
        self.pairs.len() + chunks.sum::<usize>()
    }
}

impl Iterator for Run<'_> {
    type Item = Pair;

    #[inline]
    fn next(&mut self) -> Option<Pair> {
        if self.pairs.is_empty() {
            let (first, rest) = self.chunks.split_first()?;
            (self.pairs, self.chunks) = (first, rest);
        }
        let (first, rest) = self.pairs.split_first()?;
        self.pairs = rest;
        Some(*first)
    }
}

fn branch(hash: u32, level: u32) -> usize {
    (hash >> (6 * level)) as usize % FANOUT
}

fn with(pairs: &[Pair], at: usize, pair: Pair) -> Vec<Pair> {
    let mut grown = Vec::with_capacity(pairs.len() + 1);
    grown.extend_from_slice(&pairs[..at]);
    grown.push(pair);
    grown.extend_from_slice(&pairs[at..]);
    grown
}

fn without(pairs: &[Pair], at: usize) -> Arc<[Pair]> {
    pairs[..at]
        .iter()
        .chain(&pairs[at + 1..])
        .copied()
        .collect()
}

/// A leaf with these pairs, or the nodes that they need.
fn leaf(pairs: Vec<Pair>, level: u32) -> Node {
    let alike = match (pairs.first(), pairs.last()) {
        (Some(first), Some(last)) => first.hash == last.hash,
        _ => true,
    };
    if !alike && pairs.len() > BUCKET_MAX {
        let mut parts: [Vec<Pair>; FANOUT] = std::array::from_fn(|_| Vec::new());
        for pair in pairs {
            parts[branch(pair.hash, level)].push(pair);
        }
        let empty: Arc<[Pair]> = Arc::from([]);
        let children = parts.map(|part| match part.is_empty() {
            true => Node::Bucket(empty.clone()),
            false => leaf(part, level + 1),
        });
        return Node::Inner(Arc::new(children));
    }
    if pairs.len() > CHUNK_MAX {
        return Node::Chunks(pairs.chunks(CHUNK_MAX / 2).map(Arc::from).collect());
    }
    Node::Bucket(pairs.into())
}

fn insert(node: &mut Node, pair: Pair, level: u32) {
    match node {
        Node::Inner(children) => {
            let child = &mut Arc::make_mut(children)[branch(pair.hash, level)];
            insert(child, pair, level + 1);
        }
        Node::Bucket(pairs) => {
            if let Err(at) = pairs.binary_search(&pair) {
                *node = leaf(with(pairs, at, pair), level);
            }
        }
        Node::Chunks(chunks) if chunks[0][0].hash != pair.hash => {
            // The new pair has another hash, so the chunks move one level down.
            let empty: Arc<[Pair]> = Arc::from([]);
            let mut children = std::array::from_fn(|_| Node::Bucket(empty.clone()));
            children[branch(chunks[0][0].hash, level)] = Node::Chunks(chunks.clone());
            *node = Node::Inner(Arc::new(children));
            insert(node, pair, level);
        }
        Node::Chunks(chunks) => {
            let place = chunks.partition_point(|chunk| chunk[0] <= pair).max(1) - 1;
            let Err(at) = chunks[place].binary_search(&pair) else {
                return;
            };
            let grown = with(&chunks[place], at, pair);
            if grown.len() <= CHUNK_MAX {
                Arc::make_mut(chunks)[place] = grown.into();
                return;
            }
            let halves = grown.chunks(grown.len().div_ceil(2)).map(Arc::from);
            let (before, after) = (&chunks[..place], &chunks[place + 1..]);
            let all = before
                .iter()
                .cloned()
                .chain(halves)
                .chain(after.iter().cloned());
            *node = Node::Chunks(all.collect());
        }
    }
}

fn remove(node: &mut Node, pair: Pair, level: u32) {
    match node {
        Node::Inner(children) => {
            let children = Arc::make_mut(children);
            remove(&mut children[branch(pair.hash, level)], pair, level + 1);
            let sizes = children.iter().map(|child| match child {
                Node::Bucket(pairs) => pairs.len(),
                Node::Inner(_) | Node::Chunks(_) => FANOUT,
            });
            if sizes.sum::<usize>() <= BUCKET_AGAIN {
                let mut left = Vec::with_capacity(BUCKET_AGAIN);
                for child in children.iter() {
                    if let Node::Bucket(pairs) = child {
                        left.extend_from_slice(pairs);
                    }
                }
                left.sort_unstable();
                *node = Node::Bucket(left.into());
            }
        }
        Node::Bucket(pairs) => {
            if let Ok(at) = pairs.binary_search(&pair) {
                *node = Node::Bucket(without(pairs, at));
            }
        }
        Node::Chunks(chunks) => {
            let place = chunks.partition_point(|chunk| chunk[0] <= pair).max(1) - 1;
            let Ok(at) = chunks[place].binary_search(&pair) else {
                return;
            };
            let left = without(&chunks[place], at);
            if chunks.len() == 1 {
                *node = Node::Bucket(left);
            } else if left.is_empty() {
                let (before, after) = (&chunks[..place], &chunks[place + 1..]);
                *node = Node::Chunks(before.iter().chain(after).cloned().collect());
            } else {
                Arc::make_mut(chunks)[place] = left;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Makes random changes to the map and to a set of the standard library, and keeps snapshots.
    #[test]
    fn it_is_a_set_of_pairs() {
        let mut state: u64 = 1;
        let mut next = |bound: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % bound
        };
        let mut map = MultiMap::new();
        let mut model = BTreeSet::new();
        let mut kept = Vec::new();
        for step in 0..60_000 {
            // A few hashes with many numbers, many hashes with a few, and hashes that share their low bits.
            let hash = match next(3) {
                0 => next(4) as u32 | next(2).wrapping_mul(3 << 30) as u32,
                1 => (next(1000) as u32) << 20,
                _ => next(3000) as u32,
            };
            let to = next(if hash == 2 { 3000 } else { 300 }) as u32;
            if next(if step < 30_000 { 4 } else { 2 }) == 0 {
                map.remove(hash, to);
                model.remove(&(hash, to));
            } else {
                map.insert(hash, to);
                model.insert((hash, to));
            }
            if step % 10_000 == 0 {
                kept.push((map.clone(), model.clone()));
            }
        }
        for pair in model.clone() {
            map.remove(pair.0, pair.1);
        }
        kept.push((map, BTreeSet::new()));
        for (map, model) in kept {
            let high = (0..4).map(|low| low | 3 << 30);
            for hash in (0..3000)
                .chain((0..1000).map(|high| high << 20))
                .chain(high)
            {
                let run = map.find(hash);
                let count = run.count_all();
                let found: Vec<u32> = run.map(|pair| pair.to).collect();
                assert_eq!(found.len(), count);
                let wanted = model.range((hash, 0)..=(hash, u32::MAX));
                let wanted: Vec<u32> = wanted.map(|&(_, to)| to).collect();
                assert_eq!(found, wanted, "{hash}");
            }
        }
    }
}
