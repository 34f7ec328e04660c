//! A node with its pointer, and how mappings and lists are taken apart: unknown keys are told by name,
//! known words that have no meaning yet are refused by name, and nothing is passed over in silence.

use super::faults::{Faults, Spot, join, shown};
use super::nearest::nearest;
use super::tree::{Node, Place, Value};

/// A node and where it is.
#[derive(Clone)]
pub(super) struct Cursor<'t> {
    pub(super) node: &'t Node,
    pub(super) pointer: String,
}

/// What a mapping may hold.
pub(super) struct Shape {
    /// What it is, for messages: `a rule`.
    pub(super) what: &'static str,
    /// The keys that have a meaning.
    pub(super) known: &'static [&'static str],
    /// Words that are to come, each with what to do until then.
    pub(super) later: &'static [(&'static str, &'static str)],
    /// How one is written.
    pub(super) example: &'static str,
}

/// A mapping of known shape.
pub(super) struct Fields<'t> {
    spot: Spot,
    entries: Vec<(&'t str, Cursor<'t>)>,
    shape: &'static Shape,
}

/// One key of a mapping that is keyed by the user's own names.
pub(super) struct Named<'t> {
    pub(super) key: &'t str,
    pub(super) key_spot: Spot,
    pub(super) value: Cursor<'t>,
}

impl<'t> Cursor<'t> {
    pub(super) fn root(node: &'t Node) -> Self {
        Self {
            node,
            pointer: String::new(),
        }
    }

    pub(super) fn spot(&self) -> Spot {
        Spot::new(self.pointer.clone(), self.node.place)
    }

    /// The cursor of a value below this one.
    pub(super) fn child(&self, segment: &str, node: &'t Node) -> Self {
        Self {
            node,
            pointer: join(&self.pointer, segment),
        }
    }

    fn key_spot(&self, key: &str, place: Place) -> Spot {
        Spot::new(join(&self.pointer, key), place)
    }

    /// The keys of a mapping; nothing at all counts as an empty one.
    pub(super) fn entries(
        &self,
        what: &str,
        example: &str,
        faults: &mut Faults,
    ) -> Option<Vec<Named<'t>>> {
        match &self.node.value {
            Value::Map(entries) => Some(
                entries
                    .iter()
                    .map(|entry| Named {
                        key: &entry.key,
                        key_spot: self.key_spot(&entry.key, entry.key_place),
                        value: self.child(&entry.key, &entry.node),
                    })
                    .collect(),
            ),
            _ if self.node.is_null() => Some(Vec::new()),
            _ => {
                faults.add(
                    &self.spot(),
                    format!("{what} must be a mapping, not {}", self.node.kind()),
                    format!("write it as in `{example}`"),
                );
                None
            }
        }
    }

    /// The keys of a mapping of `shape`; what does not belong is reported here.
    pub(super) fn fields(&self, shape: &'static Shape, faults: &mut Faults) -> Option<Fields<'t>> {
        let mut fields = Fields {
            spot: self.spot(),
            entries: Vec::new(),
            shape,
        };
        for Named {
            key,
            key_spot,
            value,
        } in self.entries(shape.what, shape.example, faults)?
        {
            if let Some((_, remedy)) = shape.later.iter().find(|(word, _)| *word == key) {
                faults.add(&key_spot, format!("`{key}` is not supported yet"), *remedy);
            } else if !shape.known.contains(&key) {
                faults.add(
                    &key_spot,
                    format!("{} has no key `{}`", shape.what, shown(key)),
                    unknown_key_remedy(key, shape),
                );
                continue;
            }
            fields.entries.push((key, value));
        }
        Some(fields)
    }

    /// The items of a list.
    pub(super) fn items(
        &self,
        what: &str,
        example: &str,
        faults: &mut Faults,
    ) -> Option<Vec<Cursor<'t>>> {
        if let Value::List(items) = &self.node.value {
            let cursors = items.iter().enumerate();
            return Some(
                cursors
                    .map(|(index, node)| self.child(&index.to_string(), node))
                    .collect(),
            );
        }
        faults.add(
            &self.spot(),
            format!("{what} must be a list, not {}", self.node.kind()),
            format!("write it as in `{example}`"),
        );
        None
    }
}

impl<'t> Fields<'t> {
    /// Where the mapping is.
    pub(super) fn spot(&self) -> &Spot {
        &self.spot
    }

    /// The value of a key, if it is given.
    pub(super) fn get(&self, key: &str) -> Option<&Cursor<'t>> {
        debug_assert!(
            self.shape.known.contains(&key)
                || self.shape.later.iter().any(|(word, _)| *word == key),
            "{key} is not in the shape of {}",
            self.shape.what
        );
        self.entries
            .iter()
            .find(|(written, _)| *written == key)
            .map(|(_, cursor)| cursor)
    }

    /// The value of a key that must be given.
    pub(super) fn require(&self, key: &str, faults: &mut Faults) -> Option<&Cursor<'t>> {
        let found = self.get(key);
        if found.is_none() {
            faults.add(
                &self.spot,
                format!("{} needs `{key}`", self.shape.what),
                format!("write it as in `{}`", self.shape.example),
            );
        }
        found
    }
}

fn unknown_key_remedy(key: &str, shape: &Shape) -> String {
    let words = shape
        .known
        .iter()
        .copied()
        .chain(shape.later.iter().map(|(word, _)| *word));
    match nearest(key, words) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("it has {}", listed(shape.known)),
    }
}

/// `a`, `b` and `c`.
pub(super) fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
