//! Where a field is: its path, and the trie of all the paths that rules mention.
//!
//! Paths are interned: the event's keys are compared with the trie's segments as they are read,
//! so no path of an event is ever built as a string, and what no rule mentions is only validated.
//! `"a.b"` and `{"a":{"b":…}}` are one path, so a key with dots walks several segments at once.
//! Look-up is by comparison, never by hashing: no publisher can make it collide.

use std::collections::BTreeMap;

/// A field's path: its segments from the top, dotted keys split.
pub(crate) type Path = Vec<Box<str>>;

/// A node of the trie; the root is node 0.
pub(crate) type NodeId = u32;
/// A path that some rule mentions, numbered from zero.
pub(crate) type PathId = u32;

/// A path as people write it.
pub(crate) fn display(path: &Path) -> String {
    path.join(".")
}

/// The trie while paths are still joining.
#[derive(Debug)]
pub(crate) struct TrieBuilder {
    nodes: Vec<(BTreeMap<Box<str>, NodeId>, Option<PathId>)>,
    paths: PathId,
}

impl TrieBuilder {
    /// A trie of no paths.
    pub(crate) fn new() -> Self {
        TrieBuilder {
            nodes: vec![(BTreeMap::new(), None)],
            paths: 0,
        }
    }

    /// The number of this path, new or known.
    pub(crate) fn intern(&mut self, path: &Path) -> PathId {
        let mut node = 0;
        for segment in path {
            let known = self.nodes[node].0.get(segment).copied();
            node = match known {
                Some(child) => child as usize,
                None => {
                    let child = self.nodes.len();
                    self.nodes.push((BTreeMap::new(), None));
                    self.nodes[node].0.insert(segment.clone(), child as NodeId);
                    child
                }
            };
        }
        let next = self.paths;
        let id = *self.nodes[node].1.get_or_insert(next);
        if id == next {
            self.paths += 1;
        }
        id
    }

    /// The finished trie.
    pub(crate) fn build(self) -> Trie {
        let freeze = |(children, path): (BTreeMap<Box<str>, NodeId>, _)| {
            let mut children: Box<[_]> = children.into_iter().collect();
            children.sort_by(|(a, _), (b, _)| by_length(a, b));
            Node { children, path }
        };
        Trie {
            nodes: self.nodes.into_iter().map(freeze).collect(),
            paths: self.paths as usize,
        }
    }
}

/// Lengths first: most segments differ there, and it costs no look at the text.
fn by_length(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[derive(Debug)]
struct Node {
    /// Sorted by `by_length`.
    children: Box<[(Box<str>, NodeId)]>,
    path: Option<PathId>,
}

/// All the paths that a set of rules mentions.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Box<[Node]>,
    paths: usize,
}

impl Trie {
    /// How many paths there are.
    pub(crate) fn paths(&self) -> usize {
        self.paths
    }

    /// The path that ends at this node.
    pub(crate) fn path(&self, node: NodeId) -> Option<PathId> {
        self.nodes[node as usize].path
    }

    /// Whether any path goes on below this node.
    pub(crate) fn has_children(&self, node: NodeId) -> bool {
        !self.nodes[node as usize].children.is_empty()
    }

    /// Where a key of an object at `node` leads: one segment, or several when it has dots.
    pub(crate) fn descend(&self, node: NodeId, key: &str) -> Option<NodeId> {
        if !key.as_bytes().contains(&b'.') {
            return self.child(node, key);
        }
        key.split('.')
            .try_fold(node, |node, segment| self.child(node, segment))
    }

    fn child(&self, node: NodeId, segment: &str) -> Option<NodeId> {
        let children = &self.nodes[node as usize].children;
        let place = children
            .binary_search_by(|(name, _)| by_length(name, segment))
            .ok()?;
        Some(children[place].1)
    }
}
