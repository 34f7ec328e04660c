//! A persistent multimap from hashes to numbers: copying it is free, and a change copies little.
//!
//! A tree of 64 branches a node, six bits of the hash a level. Its leaves are buckets of pairs in
//! order, so all numbers of one hash lie side by side. A bucket that grows past `BUCKET_MAX` splits
//! unless all its hashes are equal, so the numbers of a popular hash stay one slice. A change
//! copies at most five nodes and one bucket; a bucket is as long as the longest list of one hash
//! (eight bytes a number: even 100,000 of them are copied in a fraction of a millisecond).
//! Never here: keys. Who asks has to compare what the numbers stand for.

use std::sync::Arc;

/// A hash and what it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pair {
    hash: u32,
    /// What the hash leads to.
    pub(super) to: u32,
}

/// So many pairs share a bucket before it splits.
const BUCKET_MAX: usize = 48;
/// A node with so few pairs becomes a bucket again.
const BUCKET_AGAIN: usize = 16;
/// Levels of nodes above the buckets; there are no more bits in a hash.
const LEVELS_MAX: u32 = 5;
const FANOUT: usize = 64;
/// Further from the guess than this a search halves.
const GUESS_OFF_MAX: usize = 8;

#[derive(Debug, Clone)]
enum Node {
    Bucket(Arc<[Pair]>),
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
    pub(super) fn find(&self, hash: u32) -> &[Pair] {
        self.bucket(hash).find(hash)
    }

    /// The bucket in which the pairs of a hash are, if there are any.
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
                Node::Bucket(pairs) => return Bucket(pairs),
            }
        }
    }

    /// Adds a pair that isn't there yet.
    pub(super) fn insert(&mut self, hash: u32, to: u32) {
        insert(&mut self.root, Pair { hash, to }, 0);
    }

    /// Takes a pair away, if it is there.
    pub(super) fn remove(&mut self, hash: u32, to: u32) {
        remove(&mut self.root, Pair { hash, to }, 0);
    }
}

/// Pairs in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket<'m>(&'m [Pair]);

impl<'m> Bucket<'m> {
    pub(super) const EMPTY: Bucket<'static> = Bucket(&[]);

    /// Where the pairs of a hash should be. Hashes are spread evenly, so the place of one is nearly
    /// known from its size; looking there first touches one line of memory where halving would
    /// touch several.
    fn guess(self, hash: u32) -> usize {
        ((u64::from(hash) * self.0.len() as u64) >> 32) as usize
    }

    /// Reads the memory that `find` will read first, and decides nothing by it.
    #[inline]
    pub(super) fn touch(self, hash: u32) -> u32 {
        self.0.get(self.guess(hash)).map_or(0, |pair| pair.hash)
    }

    /// The pairs of a hash, by ascending number.
    pub(super) fn find(self, hash: u32) -> &'m [Pair] {
        let pairs = self.0;
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
        let near = near.take_while(|pair| pair.hash == hash).count();
        if near < GUESS_OFF_MAX {
            return &rest[..near];
        }
        &rest[..rest.partition_point(|pair| pair.hash == hash)]
    }
}

fn branch(hash: u32, level: u32) -> usize {
    (hash >> (6 * level)) as usize % FANOUT
}

fn insert(node: &mut Node, pair: Pair, level: u32) {
    match node {
        Node::Inner(children) => {
            let child = &mut Arc::make_mut(children)[branch(pair.hash, level)];
            insert(child, pair, level + 1);
        }
        Node::Bucket(pairs) => {
            let Err(at) = pairs.binary_search(&pair) else {
                return;
            };
            let (before, after) = pairs.split_at(at);
            let mut grown = Vec::with_capacity(pairs.len() + 1);
            grown.extend_from_slice(before);
            grown.push(pair);
            grown.extend_from_slice(after);
            let alike = grown[0].hash == grown[grown.len() - 1].hash;
            *node = if grown.len() > BUCKET_MAX && !alike && level < LEVELS_MAX {
                split(&grown, level)
            } else {
                Node::Bucket(grown.into())
            };
        }
    }
}

fn split(pairs: &[Pair], level: u32) -> Node {
    let mut parts: [Vec<Pair>; FANOUT] = std::array::from_fn(|_| Vec::new());
    for pair in pairs {
        parts[branch(pair.hash, level)].push(*pair);
    }
    let empty: Arc<[Pair]> = Arc::from([]);
    let children = parts.map(|part| match (part.first(), part.last()) {
        (Some(first), Some(last)) => {
            let alike = first.hash == last.hash;
            if part.len() > BUCKET_MAX && !alike && level + 1 < LEVELS_MAX {
                split(&part, level + 1)
            } else {
                Node::Bucket(part.into())
            }
        }
        _ => Node::Bucket(empty.clone()),
    });
    Node::Inner(Arc::new(children))
}

fn remove(node: &mut Node, pair: Pair, level: u32) {
    match node {
        Node::Inner(children) => {
            let children = Arc::make_mut(children);
            remove(&mut children[branch(pair.hash, level)], pair, level + 1);
            let sizes = children.iter().map(|child| match child {
                Node::Bucket(pairs) => pairs.len(),
                Node::Inner(_) => FANOUT,
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
                let (before, after) = pairs.split_at(at);
                let mut left = Vec::with_capacity(pairs.len() - 1);
                left.extend_from_slice(before);
                left.extend_from_slice(&after[1..]);
                *node = Node::Bucket(left.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Random changes on the map and on a set of the standard library, with snapshots kept.
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
            // Few hashes with many numbers, and many with few; also ones that share their low bits.
            let hash = match next(3) {
                0 => next(4) as u32,
                1 => (next(1000) as u32) << 20,
                _ => next(3000) as u32,
            };
            let to = next(300) as u32;
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
            for hash in (0..3000).chain((0..1000).map(|high| high << 20)) {
                let found: Vec<u32> = map.find(hash).iter().map(|pair| pair.to).collect();
                let wanted = model.range((hash, 0)..=(hash, u32::MAX));
                let wanted: Vec<u32> = wanted.map(|&(_, to)| to).collect();
                assert_eq!(found, wanted, "{hash}");
            }
        }
    }
}
