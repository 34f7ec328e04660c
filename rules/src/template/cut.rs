//! Paths of members and elements, and the parts of JSON text that they lead to.
//!
//! All paths of a template are looked up in one walk. At each level the text is scanned once and checked
//! against JSON's grammar. Only the parts that some path goes through are entered. A value that is found is a
//! part of the text as it is written. So no number loses a digit, and nothing large is copied. If a member
//! occurs twice, the last one counts. Recursion goes as deep as the paths do. The caller decides by [`Skip`]
//! how deep the rest of the text may nest.

use crate::filter::Step;
use crate::json::{Scanner, Syntax};
use crate::limits::EVENT_DEPTH_MAX;
use std::collections::BTreeMap;

/// A function that consumes one value.
pub(super) type Skip = fn(&mut Scanner<'_>) -> Result<(), Syntax>;

/// A value as an event may have it.
pub(super) const OF_EVENT: Skip = |scanner| scanner.skip_value(EVENT_DEPTH_MAX);

/// A value that a path leads to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Found<'e> {
    /// JSON text, without white space around it.
    Json(&'e str),
    /// A string that is already decoded.
    Text(&'e str),
}

/// A tree of paths. Paths with the same beginning share nodes. Each path ends in a slot.
#[derive(Debug, Clone)]
pub(super) struct PathTree {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// The slots of the paths that end here.
    slots: Vec<usize>,
    members: BTreeMap<Box<str>, usize>,
    /// Elements by index. A negative index counts from the end.
    elements: BTreeMap<i64, usize>,
}

impl PathTree {
    /// The node for the whole text.
    pub(super) const TOP: usize = 0;

    /// No paths.
    pub(super) fn new() -> Self {
        PathTree {
            nodes: vec![Node::default()],
        }
    }

    /// Adds a path whose value goes into this slot.
    pub(super) fn add(&mut self, path: &[Step], slot: usize) {
        let mut node = Self::TOP;
        for step in path {
            let next = self.nodes.len();
            let child = match step {
                Step::Member(name) => *self.nodes[node].members.entry(name.clone()).or_insert(next),
                Step::Element(index) => *self.nodes[node].elements.entry(*index).or_insert(next),
            };
            if child == next {
                self.nodes.push(Node::default());
            }
            node = child;
        }
        self.nodes[node].slots.push(slot);
    }

    /// The node that a top-level member leads to.
    pub(super) fn top(&self, name: &str) -> Option<usize> {
        self.nodes[Self::TOP].members.get(name).copied()
    }

    /// Fills the slots at a node with a decoded string. A string has nothing below it.
    pub(super) fn fill_text<'e>(
        &self,
        place: usize,
        text: &'e str,
        found: &mut [Option<Found<'e>>],
    ) {
        for &slot in &self.nodes[place].slots {
            found[slot] = Some(Found::Text(text));
        }
    }

    /// Fills the slots at a node and below it from this JSON text. Reads all of the text.
    pub(super) fn fill<'e>(
        &self,
        place: usize,
        json: &'e [u8],
        skip: Skip,
        found: &mut [Option<Found<'e>>],
    ) -> Result<(), Syntax> {
        // The scanner reports text that isn't UTF-8, so a text that it accepts can be borrowed as `str`.
        let mut scanner = Scanner::new(json)?;
        let text = std::str::from_utf8(json).unwrap_or_default();
        let value = value(&mut scanner, text, skip)?;
        scanner.finish()?;
        self.walk(place, value, skip, found)
    }

    fn walk<'e>(
        &self,
        place: usize,
        json: &'e str,
        skip: Skip,
        found: &mut [Option<Found<'e>>],
    ) -> Result<(), Syntax> {
        let node = &self.nodes[place];
        for &slot in &node.slots {
            found[slot] = Some(Found::Json(json));
        }
        let below = match json.as_bytes().first() {
            Some(b'{') if !node.members.is_empty() => node.members_of(json, skip)?,
            Some(b'[') if !node.elements.is_empty() => node.elements_of(json, skip)?,
            _ => return Ok(()),
        };
        for (child, value) in below {
            self.walk(child, value, skip, found)?;
        }
        Ok(())
    }
}

impl Node {
    /// The values of those members of an object that paths go through. If a name occurs twice, the last one
    /// counts.
    fn members_of<'e>(
        &self,
        json: &'e str,
        skip: Skip,
    ) -> Result<BTreeMap<usize, &'e str>, Syntax> {
        let mut below = BTreeMap::new();
        let mut scanner = Scanner::of_text(json);
        scanner.bump();
        if scanner.peek()? == b'}' {
            return Ok(below);
        }
        loop {
            let key = scanner.key()?;
            let value = value(&mut scanner, json, skip)?;
            if let Some(&child) = self.members.get(&*key) {
                below.insert(child, value);
            }
            if !scanner.another(b'}')? {
                return Ok(below);
            }
        }
    }

    /// The elements of an array that paths go through.
    fn elements_of<'e>(
        &self,
        json: &'e str,
        skip: Skip,
    ) -> Result<BTreeMap<usize, &'e str>, Syntax> {
        let mut elements = Vec::new();
        let mut scanner = Scanner::of_text(json);
        scanner.bump();
        if scanner.peek()? != b']' {
            loop {
                elements.push(value(&mut scanner, json, skip)?);
                if !scanner.another(b']')? {
                    break;
                }
            }
        }
        let place = |index: i64| match usize::try_from(index) {
            Ok(index) => Some(index),
            Err(_) => {
                let back = usize::try_from(index.unsigned_abs()).ok()?;
                elements.len().checked_sub(back)
            }
        };
        let wanted = self.elements.iter();
        Ok(wanted
            .filter_map(|(&index, &child)| Some((child, *elements.get(place(index)?)?)))
            .collect())
    }
}

/// Consumes one value and returns its text.
fn value<'e>(scanner: &mut Scanner<'_>, text: &'e str, skip: Skip) -> Result<&'e str, Syntax> {
    scanner.peek()?;
    let from = scanner.offset();
    skip(scanner)?;
    Ok(&text[from..scanner.offset()])
}
