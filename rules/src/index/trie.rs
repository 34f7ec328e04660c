//! The paths that rules mention, as a trie whose nodes change one at a time.
//!
//! Nodes have numbers and are stored in a persistent table. A change copies the nodes that it touches. The
//! children of a node are a flat table with the first eight bytes, the last eight bytes and the length of
//! each segment. So nearly every key of an event is found or rejected without reading the segment's text. If
//! a node has very many children, or too many that are alike, they are found by hash (`TABLE_MAX`,
//! `STEPS_MAX`). A node also has the kinds and lengths of the keys under which its conditions are found.

use super::block::outline_of;
use super::hash::Seed;
use super::index_key::{IndexKey, Kind};
use super::multimap::MultiMap;
use super::order::Range;
use super::slab::Slab;
use std::sync::Arc;

/// The root's number.
pub(super) const ROOT: u32 = 0;
/// A node with more children than this finds them by hash.
const TABLE_MAX: u32 = 512;
/// A node also finds its children by hash if a search in its table would take more steps than this. A search
/// starts at a place that depends on the first bytes and the length of a key, and rules may have very many
/// keys that are alike in both.
const STEPS_MAX: usize = 32;
/// The ranges of a path are compared one by one, up to this many. More are found by blocks.
pub(super) const RANGES_LISTED_MAX: usize = 16;
/// The purpose for hashes of segments. No kind of index key has this number.
const SEGMENT: u8 = u8::MAX;

/// The number of postings that a path has under keys of one kind and length.
#[derive(Debug, Clone, Copy)]
pub(super) struct PostingCount {
    pub(super) kind: Kind,
    pub(super) length: u32,
    count: u32,
}

/// An entry in the table of children. Its node is the root's number if the entry is empty.
#[derive(Debug, Clone, Copy, Default)]
struct Child {
    head: u64,
    tail: u64,
    length: u32,
    node: u32,
}

impl Child {
    fn outline(&self) -> u64 {
        outline_bit(self.head as u8, self.length as usize)
    }
}

#[derive(Debug, Clone)]
enum Children {
    /// A table with open addressing, at most half full.
    Table(Box<[Child]>),
    /// The children are in the trie's map. They stay there, even if only a few are left.
    Wide,
}

/// A node.
#[derive(Debug, Clone)]
pub(super) struct Node {
    parent: u32,
    segment: Arc<str>,
    /// The number of conditions here, plus the rules that mention the path without a condition on it.
    pub(super) users: u32,
    /// The number of conditions that need the words of numbers.
    pub(super) numbers: u32,
    count: u32,
    /// The number of children that have children. If there are any, a dotted key may lead to a path.
    deep: u32,
    /// The outlines of the children's segments (`block::outline_of`). If the children are in the map, also
    /// those of removed children.
    outlines: u64,
    children: Children,
    /// Sorted by kind and length.
    pub(super) posting_counts: Vec<PostingCount>,
    /// The ranges and the sub-rules posted under them.
    pub(super) ranges: Vec<(Range, u32)>,
}

impl Node {
    fn new(parent: u32, segment: &str) -> Node {
        Node {
            parent,
            segment: segment.into(),
            users: 0,
            numbers: 0,
            count: 0,
            deep: 0,
            outlines: 0,
            children: Children::Table([].into()),
            posting_counts: Vec::new(),
            ranges: Vec::new(),
        }
    }

    /// Whether some rule mentions this path.
    pub(super) fn is_path(&self) -> bool {
        self.users > 0
    }

    /// Whether longer paths go through this node.
    pub(super) fn has_children(&self) -> bool {
        self.count > 0
    }

    /// The number of children.
    pub(super) fn children(&self) -> u32 {
        self.count
    }

    /// The outlines of the keys that rules mention. `None` if a dotted key may lead to a path: then each key
    /// has to be read.
    #[inline]
    pub(super) fn outlines(&self) -> Option<u64> {
        (self.deep == 0).then_some(self.outlines)
    }

    fn posting_count(&self, index_key: IndexKey) -> Result<usize, usize> {
        let key = (index_key.kind, index_key.length);
        self.posting_counts
            .binary_search_by_key(&key, |posting_count| {
                (posting_count.kind, posting_count.length)
            })
    }

    /// Counts one more posting under an index key. True if it is the first of its kind and length.
    pub(super) fn enter(&mut self, index_key: IndexKey) -> bool {
        match self.posting_count(index_key) {
            Ok(place) => {
                self.posting_counts[place].count += 1;
                false
            }
            Err(place) => {
                let IndexKey { kind, length, .. } = index_key;
                let posting_count = PostingCount {
                    kind,
                    length,
                    count: 1,
                };
                self.posting_counts.insert(place, posting_count);
                true
            }
        }
    }

    /// Counts one posting less. True if it was the last.
    pub(super) fn leave(&mut self, index_key: IndexKey) -> bool {
        let Ok(place) = self.posting_count(index_key) else {
            return false;
        };
        self.posting_counts[place].count -= 1;
        let last = self.posting_counts[place].count == 0;
        if last {
            self.posting_counts.remove(place);
        }
        last
    }
}

/// The outline of a segment: a set with one bit.
#[inline]
fn outline_bit(first: u8, length: usize) -> u64 {
    // For an empty key, the walk reads the closing quote as its first byte.
    let first = if length == 0 { b'"' } else { first };
    1 << outline_of(first, length)
}

/// The first eight bytes. Missing bytes are zero.
fn head(segment: &[u8]) -> u64 {
    match segment.first_chunk::<8>() {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => segment
            .iter()
            .rev()
            .fold(0, |head, &byte| head << 8 | u64::from(byte)),
    }
}

/// The last eight bytes of a segment of more than eight bytes, otherwise zero.
fn tail(segment: &[u8]) -> u64 {
    match segment.last_chunk::<8>() {
        Some(chunk) if segment.len() > 8 => u64::from_le_bytes(*chunk),
        _ => 0,
    }
}

/// The head of a key inside of a text. Eight bytes usually follow there, so it needs no loop.
#[inline]
pub(super) fn head_at(text: &[u8], from: usize, length: usize) -> u64 {
    match text.get(from..).and_then(|rest| rest.first_chunk::<8>()) {
        Some(chunk) if length >= 8 => u64::from_le_bytes(*chunk),
        Some(chunk) => u64::from_le_bytes(*chunk) & !(u64::MAX << (8 * length)),
        None => head(text.get(from..from + length).unwrap_or_default()),
    }
}

/// The place at which a search in a table of `size` entries starts.
fn start(head: u64, length: u32, size: usize) -> usize {
    let mixed = (head ^ u64::from(length).rotate_left(56)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32) as usize & (size - 1)
}

/// The trie.
#[derive(Debug, Clone)]
pub(super) struct Trie {
    seed: Seed,
    nodes: Slab<Arc<Node>>,
    wide: MultiMap,
}

impl Trie {
    pub(super) fn new(seed: Seed) -> Self {
        let mut nodes = Slab::new();
        nodes.insert(Arc::new(Node::new(ROOT, "")));
        Trie {
            seed,
            nodes,
            wide: MultiMap::new(),
        }
    }

    /// One past the largest number of a node.
    pub(super) fn bound(&self) -> usize {
        self.nodes.bound()
    }

    pub(super) fn node(&self, number: u32) -> Option<&Node> {
        self.nodes.get(number).map(|node| &**node)
    }

    pub(super) fn node_mut(&mut self, number: u32) -> Option<&mut Node> {
        self.nodes.get_mut(number).map(Arc::make_mut)
    }

    /// The node to which a key of an object at this node leads, and whether the key has dots. A key with dots
    /// has several segments.
    #[inline]
    pub(super) fn descend(
        &self,
        number: u32,
        node: &Node,
        key: &[u8],
        head: u64,
    ) -> Option<(u32, bool)> {
        if node.deep == 0 && node.outlines & outline_bit(head as u8, key.len()) == 0 {
            return None;
        }
        self.look_down(number, node, key, head)
    }

    fn look_down(&self, number: u32, node: &Node, key: &[u8], head: u64) -> Option<(u32, bool)> {
        if let Some(child) = self.child_at(number, node, key, head) {
            return Some((child, false));
        }
        if node.deep == 0 || !key.contains(&b'.') {
            return None;
        }
        let mut at = number;
        for segment in key.split(|&byte| byte == b'.') {
            at = self.child(at, self.node(at)?, segment)?;
        }
        Some((at, true))
    }

    fn child(&self, number: u32, node: &Node, segment: &[u8]) -> Option<u32> {
        self.child_at(number, node, segment, head(segment))
    }

    #[inline]
    fn child_at(&self, number: u32, node: &Node, segment: &[u8], head: u64) -> Option<u32> {
        if node.outlines & outline_bit(head as u8, segment.len()) == 0 {
            return None;
        }
        match &node.children {
            Children::Table(table) => {
                let wanted = (head, segment.len() as u32);
                let mut place = start(wanted.0, wanted.1, table.len());
                loop {
                    let child = table[place];
                    if child.node == ROOT {
                        return None;
                    }
                    let same = (child.head, child.length) == wanted
                        && child.tail == tail(segment)
                        && (segment.len() <= 16 || self.is(child.node, segment));
                    if same {
                        return Some(child.node);
                    }
                    place = (place + 1) & (table.len() - 1);
                }
            }
            Children::Wide => {
                let pairs = self.wide.find(self.wide_hash(number, segment));
                let mut children = pairs.map(|pair| pair.to);
                children.find(|&child| {
                    self.node(child).is_some_and(|found| {
                        found.parent == number && found.segment.as_bytes() == segment
                    })
                })
            }
        }
    }

    fn is(&self, node: u32, segment: &[u8]) -> bool {
        self.node(node)
            .is_some_and(|node| node.segment.as_bytes() == segment)
    }

    fn wide_hash(&self, parent: u32, segment: &[u8]) -> u32 {
        self.seed.of(parent, SEGMENT).bytes(segment)
    }

    /// The node of a path, with one more user. Makes the node if there is none.
    pub(super) fn enter(&mut self, path: &[Box<str>]) -> u32 {
        let mut at = ROOT;
        for segment in path {
            let known = self
                .node(at)
                .and_then(|node| self.child(at, node, segment.as_bytes()));
            at = known.unwrap_or_else(|| self.add_child(at, segment));
        }
        if let Some(node) = self.node_mut(at) {
            node.users += 1;
        }
        at
    }

    /// Removes one user from a node. Removes the node if nothing needs it any more.
    pub(super) fn leave(&mut self, number: u32) {
        if let Some(node) = self.node_mut(number) {
            node.users -= 1;
        }
        let mut at = number;
        while let Some(node) = self.node(at) {
            if at == ROOT || node.users > 0 || node.count > 0 {
                break;
            }
            let parent = node.parent;
            self.remove_child(parent, at);
            at = parent;
        }
    }

    fn add_child(&mut self, parent: u32, segment: &str) -> u32 {
        let number = self.nodes.insert(Arc::new(Node::new(parent, segment)));
        let hash = self.wide_hash(parent, segment.as_bytes());
        let mut widened = Vec::new();
        let mut grandparent = None;
        if let Some(node) = self.node_mut(parent) {
            grandparent = (node.count == 0).then_some(node.parent);
            node.count += 1;
            node.outlines |= outline_bit(head(segment.as_bytes()) as u8, segment.len());
            if let Children::Table(table) = &node.children {
                let (head, length) = (head(segment.as_bytes()), segment.len() as u32);
                let child = Child {
                    head,
                    tail: tail(segment.as_bytes()),
                    length,
                    node: number,
                };
                let mut all: Vec<Child> = table
                    .iter()
                    .copied()
                    .filter(|child| child.node != ROOT)
                    .collect();
                all.push(child);
                let (table, steps) = table_of(&all);
                if node.count > TABLE_MAX || steps > STEPS_MAX {
                    widened = all;
                    node.children = Children::Wide;
                } else {
                    node.children = Children::Table(table);
                }
            } else {
                self.wide.insert(hash, number);
            }
        }
        for child in widened {
            if let Some(node) = self.node(child.node) {
                let hash = self.wide_hash(parent, node.segment.as_bytes());
                self.wide.insert(hash, child.node);
            }
        }
        if let Some(node) = grandparent
            .filter(|_| parent != ROOT)
            .and_then(|up| self.node_mut(up))
        {
            node.deep += 1;
        }
        number
    }

    fn remove_child(&mut self, parent: u32, number: u32) {
        let Some(child) = self.nodes.remove(number) else {
            return;
        };
        let hash = self.wide_hash(parent, child.segment.as_bytes());
        let mut grandparent = None;
        if let Some(node) = self.node_mut(parent) {
            node.count -= 1;
            grandparent = (node.count == 0).then_some(node.parent);
            if let Children::Table(table) = &node.children {
                let left: Vec<Child> = table
                    .iter()
                    .copied()
                    .filter(|child| child.node != ROOT && child.node != number)
                    .collect();
                let outlines = left.iter().map(|child| child.outline());
                node.outlines = outlines.fold(0, |all, bit| all | bit);
                node.children = Children::Table(table_of(&left).0);
            } else {
                self.wide.remove(hash, number);
            }
        }
        if let Some(node) = grandparent
            .filter(|_| parent != ROOT)
            .and_then(|up| self.node_mut(up))
        {
            node.deep -= 1;
        }
    }
}

/// A table of these children, and the most steps that finding one of them takes.
fn table_of(children: &[Child]) -> (Box<[Child]>, usize) {
    if children.is_empty() {
        return ([].into(), 0);
    }
    let size = (2 * children.len()).next_power_of_two();
    let mut table = vec![Child::default(); size];
    let mut most = 0;
    for child in children {
        let mut place = start(child.head, child.length, size);
        let mut steps = 1;
        while table[place].node != ROOT {
            place = (place + 1) & (size - 1);
            steps += 1;
        }
        table[place] = *child;
        most = most.max(steps);
    }
    (table.into(), most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_wide(names: impl Iterator<Item = String>) -> bool {
        let mut trie = Trie::new(Seed::random());
        for name in names {
            trie.enter(&[name.into()]);
        }
        let root = trie.node(ROOT);
        root.is_some_and(|root| matches!(root.children, Children::Wide))
    }

    #[test]
    fn tables_are_left_when_searches_grow_long() {
        assert!(!is_wide((0..512).map(|number| format!("{number:x}-name"))));
        assert!(is_wide((0..513).map(|number| format!("{number:x}-name"))));
        // These are alike in their first eight bytes and in their length.
        assert!(!is_wide(
            (0..32).map(|number| format!("attribute_{number:03}"))
        ));
        assert!(is_wide(
            (0..33).map(|number| format!("attribute_{number:03}"))
        ));
    }
}
