//! Paths of members and elements, and the cuts that they make in JSON text.
//!
//! All paths of a template are looked up in one walk: at each level the text is scanned once, held
//! to JSON's grammar, and only the parts that some path goes through are entered. What is found is
//! a part of the text as it is written, so no number loses a digit and nothing large is copied.
//! Of a member that is given twice the last counts. Recursion goes as deep as the paths do; how deep the rest
//! of the text may nest is the caller's to say, by [`Skip`].

use crate::filter::Step;
use crate::json::{Scanner, Syntax};
use crate::limits::EVENT_DEPTH_MAX;
use std::collections::BTreeMap;

/// Consumes one value.
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

/// Paths, joined where they begin alike. Each ends in a slot.
#[derive(Debug, Clone)]
pub(super) struct PathTree {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// The slots of the paths that end here.
    slots: Vec<usize>,
    members: BTreeMap<Box<str>, usize>,
    /// Elements by index; from the end where it is negative.
    elements: BTreeMap<i64, usize>,
}

impl PathTree {
    /// The place of the whole text.
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

    /// The place that a top-level member leads to.
    pub(super) fn top(&self, name: &str) -> Option<usize> {
        self.nodes[Self::TOP].members.get(name).copied()
    }

    /// Fills the slots at a place with a decoded string; nothing is below one.
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

    /// Fills the slots at a place and below it from this JSON text, of which all is read.
    pub(super) fn fill<'e>(
        &self,
        place: usize,
        json: &'e [u8],
        skip: Skip,
        found: &mut [Option<Found<'e>>],
    ) -> Result<(), Syntax> {
        // The scanner reports text that isn't UTF-8; what it takes can be borrowed as text.
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
    /// The values of an object's members that paths go through, the last of each name.
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

/// Consumes one value and gives its text.
fn value<'e>(scanner: &mut Scanner<'_>, text: &'e str, skip: Skip) -> Result<&'e str, Syntax> {
    scanner.peek()?;
    let from = scanner.offset();
    skip(scanner)?;
    Ok(&text[from..scanner.offset()])
}
