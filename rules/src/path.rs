//! The paths of fields, and the trie of all paths that rules mention.
//!
//! Paths are interned. The event's keys are compared with the trie's segments as they are read. So no path of
//! an event is ever built as a string, and what no rule mentions is only validated. `"a.b"` and
//! `{"a":{"b":…}}` are one path, so a key with dots goes through several segments at once. Look-up compares
//! and never hashes, so no publisher can cause collisions.

use std::collections::BTreeMap;

/// A field's path: its segments from the top, with dotted keys split.
pub(crate) type Path = Vec<Box<str>>;

/// A node of the trie. The root is node 0.
pub(crate) type NodeId = u32;
/// A path that some rule mentions, numbered from zero.
pub(crate) type PathId = u32;

/// A path as people write it.
pub(crate) fn display(path: &Path) -> String {
    path.join(".")
}

/// A node while the trie is built: its children by segment, and the path that ends here.
type NodeDraft = (BTreeMap<Box<str>, NodeId>, Option<PathId>);

/// The trie while paths are added.
#[derive(Debug)]
pub(crate) struct TrieBuilder {
    nodes: Vec<NodeDraft>,
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

    /// The number of this path. Adds the path if it is new.
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
        let freeze = |(children, path): NodeDraft| {
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

/// Compares the lengths first. Most segments differ in length, and comparing lengths reads no text.
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

    /// Whether longer paths go through this node.
    pub(crate) fn has_children(&self, node: NodeId) -> bool {
        !self.nodes[node as usize].children.is_empty()
    }

    /// The node to which a key of an object at `node` leads. A key with dots has several segments.
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
