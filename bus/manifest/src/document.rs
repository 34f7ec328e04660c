//! A manifest's text, its model as far as it could be read, and the place of each value. Later checks, such as
//! for missing files, use the places.
//!
//! Never here: what is right or wrong.

use std::collections::HashMap;
use std::sync::OnceLock;

use edgebus_model::error::InputError;

use super::cursor::Cursor;
use super::errors::{Errors, Spot};
use super::tree::{self, LineColumn, Node, Value};
use super::{Manifest, read};

/// A manifest that was read.
#[derive(Debug)]
pub struct Document {
    /// What could be read; all of it if there are no errors.
    pub manifest: Manifest,
    /// What is wrong, in the order of the text.
    pub errors: Vec<InputError>,
    root: Option<Node>,
    /// The places of the entries of each section, made at the first question. Without it, each question would
    /// search a section that may be as long as the text.
    sections: OnceLock<Sections>,
}

/// The places of entries by section and key.
type Sections = HashMap<String, HashMap<String, usize>>;

/// Which part of a mapping's entry is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The key.
    Key,
    /// The value.
    Value,
}

impl Document {
    /// Reads `text`; never fails, for the errors are a part of the answer.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut errors = Errors::default();
        let root = tree::read(text, &mut errors);
        let manifest = match &root {
            Some(root) => read(&Cursor::root(root), &mut errors),
            None => {
                if errors.is_empty() {
                    let start = Spot::new(String::new(), (1, 1));
                    errors.add(
                        &start,
                        "the manifest is empty",
                        "begin it with `version: 1`",
                    );
                }
                None
            }
        };
        Self {
            manifest: manifest.unwrap_or_default(),
            errors: errors.into_sorted(),
            root,
            sections: OnceLock::new(),
        }
    }

    /// An error (or warning) of what `pointer`, a JSON pointer, leads to.
    #[must_use]
    pub fn note(
        &self,
        pointer: &str,
        side: Side,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> InputError {
        InputError {
            pointer: pointer.to_owned(),
            place: self.place(pointer, side),
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }

    /// Where `pointer` leads to, or the nearest value around it.
    #[must_use]
    pub fn place(&self, pointer: &str, side: Side) -> Option<LineColumn> {
        let mut node = self.root.as_ref()?;
        let mut place = node.place;
        // The entries of the mapping that `node` is, where they are known by key.
        let mut known = None;
        let mut section = Some(self.sections.get_or_init(|| sections(node)));
        for segment in pointer.split('/').skip(1) {
            let segment = segment.replace("~1", "/").replace("~0", "~");
            let below = match &node.value {
                Value::List(items) => {
                    let index: Option<usize> = segment.parse().ok();
                    let item = index.and_then(|index| items.get(index));
                    item.map(|item| (item, item.place))
                }
                Value::Map(entries) => {
                    let entry = match known {
                        Some(known) => HashMap::get(known, &segment).map(|at| &entries[*at]),
                        None => entries.iter().find(|entry| entry.key == segment),
                    };
                    known = section.take().and_then(|all| all.get(&segment));
                    entry.map(|entry| {
                        let place = match side {
                            Side::Key => entry.key_place,
                            Side::Value => entry.node.place,
                        };
                        (&entry.node, place)
                    })
                }
                Value::Plain(_) | Value::Quoted(_) => None,
            };
            match below {
                Some((next, at)) => (node, place) = (next, at),
                None => break,
            }
        }
        Some(place)
    }
}

fn sections(root: &Node) -> Sections {
    let Value::Map(sections) = &root.value else {
        return Sections::new();
    };
    let places = |node: &Node| match &node.value {
        Value::Map(entries) => {
            let all = entries.iter().enumerate();
            Some(all.map(|(at, entry)| (entry.key.clone(), at)).collect())
        }
        _ => None,
    };
    let all = sections.iter();
    all.filter_map(|section| Some((section.key.clone(), places(&section.node)?)))
        .collect()
}
