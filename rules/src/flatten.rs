//! Reads an event once and collects the values at the paths that rules mention.
//!
//! The walk follows the trie of paths through the raw text. Everything else is validated and skipped. No tree
//! of the document is built, and a value is copied only if its string has escapes. Recursion goes as deep as
//! the event's brackets, at most `EVENT_DEPTH_MAX`. If a key on a path of the trie occurs twice in one
//! object, the caller decides: the event is refused, or the last value replaces the earlier ones. Elsewhere
//! duplicate keys change no match.

use crate::array_trail::{Element, Trail};
use crate::error::EventError;
use crate::event::{Duplicates, Part};
use crate::json::{Scanner, Syntax};
use crate::limits::{EVENT_BYTES_MAX, EVENT_DEPTH_MAX};
use crate::path::{NodeId, PathId, Trie};
use crate::scalar::{Number, Scalar};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

/// A value at a path that some rule mentions.
#[derive(Debug)]
pub(crate) struct Occurrence<'e> {
    /// Its path.
    pub(crate) path: PathId,
    /// The innermost array element around it.
    pub(crate) element: Element,
    /// The value.
    pub(crate) scalar: Scalar<'e>,
}

/// The path of a value that a later duplicate replaced. No trie has this many paths.
const REPLACED: PathId = PathId::MAX;

/// Everything that the rules can see of an event.
#[derive(Debug)]
pub(crate) struct Flat<'e> {
    /// Sorted by path, then in reading order.
    occurrences: Vec<Occurrence<'e>>,
    /// Where each path's values start, and the end of the last one.
    starts: Vec<u32>,
    /// The array elements around the values.
    pub(crate) trail: Trail,
}

impl<'e> Flat<'e> {
    /// The values at a path, in reading order.
    pub(crate) fn values(&self, path: PathId) -> &[Occurrence<'e>] {
        let path = path as usize;
        &self.occurrences[self.starts[path] as usize..self.starts[path + 1] as usize]
    }

    fn sorted(mut occurrences: Vec<Occurrence<'e>>, trail: Trail, paths: usize) -> Self {
        // The sort is stable, so the values of each path stay in reading order.
        occurrences.sort_by_key(|occurrence| occurrence.path);
        let mut starts = vec![0_u32; paths + 1];
        for occurrence in &occurrences {
            if occurrence.path != REPLACED {
                starts[occurrence.path as usize + 1] += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Flat {
            occurrences,
            starts,
            trail,
        }
    }
}

/// Reads an event that comes as its top-level members.
pub(crate) fn parts<'e>(
    trie: &Trie,
    event: &[Part<'e>],
    duplicates: Duplicates,
) -> Result<Flat<'e>, EventError> {
    let mut collected = Collected::new(trie, duplicates);
    let mut keys = Keys::of_object(&collected);
    let mut bytes: usize = 0;
    for part in event {
        let (Part::Text { name, .. } | Part::Raw { name, .. }) = *part;
        let length = match part {
            Part::Text { value, .. } => value.len(),
            Part::Raw { json, .. } => json.len(),
        };
        bytes = bytes.saturating_add(length);
        let read = check_size(bytes).and_then(|()| collected.part(part, &mut keys));
        read.map_err(|syntax| input_error(syntax, Some(name)))?;
    }
    Ok(collected.finish())
}

/// Reads an event that comes as one JSON document.
pub(crate) fn document<'e>(
    trie: &Trie,
    event: &'e [u8],
    duplicates: Duplicates,
) -> Result<Flat<'e>, EventError> {
    let mut collected = Collected::new(trie, duplicates);
    let read = check_size(event.len()).and_then(|()| {
        let mut scanner = Scanner::new(event)?;
        if scanner.peek()? != b'{' {
            return Err(scanner.error("an event must be a JSON object"));
        }
        collected.object(&mut scanner, Place::TOP)?;
        scanner.finish()
    });
    read.map_err(|syntax| input_error(syntax, None))?;
    Ok(collected.finish())
}

fn check_size(bytes: usize) -> Result<(), Syntax> {
    if bytes <= EVENT_BYTES_MAX {
        return Ok(());
    }
    Err(Syntax {
        offset: 0,
        reason: format!("the event is larger than {EVENT_BYTES_MAX} bytes, the limit").into(),
    })
}

fn input_error(syntax: Syntax, part: Option<&str>) -> EventError {
    EventError {
        offset: syntax.offset,
        part: part.map(str::to_owned),
        reason: syntax.reason.into_owned(),
    }
}

/// The place of the walk in the trie and in the arrays, and how many brackets are open around it.
#[derive(Clone, Copy)]
struct Place {
    node: NodeId,
    element: Element,
    depth: usize,
}

impl Place {
    const TOP: Place = Place {
        node: 0,
        element: Trail::WHOLE,
        depth: 0,
    };
    /// The place of a part's value. The bracket of the event itself is open around it.
    fn of_part(node: NodeId) -> Place {
        Place {
            node,
            depth: 1,
            ..Place::TOP
        }
    }
}

/// What the walk has found so far.
struct Collected<'t, 'e> {
    trie: &'t Trie,
    duplicates: Duplicates,
    occurrences: Vec<Occurrence<'e>>,
    trail: Trail,
    /// The keys of each open object, outer objects first: the nodes they led to, and the values they gave.
    keys: Vec<(NodeId, Range<usize>)>,
}

/// The keys of one object are compared one by one, up to this many. With more, they are hashed.
const KEYS_COMPARED_MAX: usize = 16;

/// The keys of one open object, which start at `first`.
struct Keys {
    first: usize,
    index: HashMap<NodeId, usize>,
}

impl Keys {
    fn of_object(collected: &Collected<'_, '_>) -> Keys {
        Keys {
            first: collected.keys.len(),
            index: HashMap::new(),
        }
    }
}

impl<'t, 'e> Collected<'t, 'e> {
    fn new(trie: &'t Trie, duplicates: Duplicates) -> Self {
        Collected {
            trie,
            duplicates,
            occurrences: Vec::new(),
            trail: Trail::new(),
            keys: Vec::new(),
        }
    }

    fn finish(self) -> Flat<'e> {
        Flat::sorted(self.occurrences, self.trail, self.trie.paths())
    }

    fn part(&mut self, part: &Part<'e>, keys: &mut Keys) -> Result<(), Syntax> {
        match *part {
            Part::Text { name, value } => {
                let Some(node) = self.trie.descend(0, name) else {
                    return Ok(());
                };
                self.member(keys, node, 0, |collected| {
                    let text = Scalar::Text(Cow::Borrowed(value));
                    collected.collect(Place::of_part(node), text);
                    Ok(())
                })
            }
            Part::Raw { name, json } => {
                let mut scanner = Scanner::new(json)?;
                match self.trie.descend(0, name) {
                    None => scanner.skip_value(EVENT_DEPTH_MAX - 1)?,
                    Some(node) => self.member(keys, node, 0, |collected| {
                        collected.value(&mut scanner, Place::of_part(node))
                    })?,
                }
                scanner.finish()
            }
        }
    }

    /// Reads one value at a path that rules mention, or above such a path.
    fn value(&mut self, scanner: &mut Scanner<'e>, place: Place) -> Result<(), Syntax> {
        let first = scanner.peek()?;
        let leaf = self.trie.path(place.node).is_some();
        let scalar = match first {
            b'{' if self.trie.has_children(place.node) => return self.object(scanner, place),
            b'[' => return self.array(scanner, place),
            _ if !leaf || first == b'{' => {
                return scanner.skip_value(EVENT_DEPTH_MAX.saturating_sub(place.depth));
            }
            b'"' => Scalar::Text(scanner.string()?),
            b't' => {
                scanner.word("true")?;
                Scalar::Bool(true)
            }
            b'f' => {
                scanner.word("false")?;
                Scalar::Bool(false)
            }
            b'n' => {
                scanner.word("null")?;
                Scalar::Null
            }
            b'-' | b'0'..=b'9' => Scalar::Number(Number::read(scanner.number()?)),
            _ => return Err(scanner.unexpected("a JSON value")),
        };
        self.collect(place, scalar);
        Ok(())
    }

    fn collect(&mut self, place: Place, scalar: Scalar<'e>) {
        if let Some(path) = self.trie.path(place.node) {
            self.occurrences.push(Occurrence {
                path,
                element: place.element,
                scalar,
            });
        }
    }

    fn object(&mut self, scanner: &mut Scanner<'e>, place: Place) -> Result<(), Syntax> {
        let depth = enter(scanner, place)?;
        if scanner.peek()? == b'}' {
            scanner.bump();
            return Ok(());
        }
        let mut keys = Keys::of_object(self);
        loop {
            scanner.peek()?;
            let offset = scanner.offset();
            let key = scanner.key()?;
            match self.trie.descend(place.node, &key) {
                None => scanner.skip_value(EVENT_DEPTH_MAX - depth)?,
                Some(node) => self.member(&mut keys, node, offset, |collected| {
                    let place = Place {
                        node,
                        depth,
                        ..place
                    };
                    collected.value(scanner, place)
                })?,
            }
            if !scanner.another(b'}')? {
                self.keys.truncate(keys.first);
                return Ok(());
            }
        }
    }

    /// Reads the value of a key that leads to `node`, and treats the key's second occurrence as the caller
    /// says.
    fn member(
        &mut self,
        keys: &mut Keys,
        node: NodeId,
        offset: usize,
        read: impl FnOnce(&mut Self) -> Result<(), Syntax>,
    ) -> Result<(), Syntax> {
        let known = if keys.index.is_empty() {
            let met = &self.keys[keys.first..];
            let place = met.iter().position(|(known, _)| *known == node);
            place.map(|place| keys.first + place)
        } else {
            keys.index.get(&node).copied()
        };
        if known.is_some() && self.duplicates == Duplicates::Refuse {
            return Err(Syntax {
                offset,
                reason: "a key that a rule mentions occurs twice in one object".into(),
            });
        }
        let slot = known.unwrap_or(self.keys.len());
        let from = self.occurrences.len();
        match known {
            Some(slot) => {
                for replaced in self.keys[slot].1.clone() {
                    self.occurrences[replaced].path = REPLACED;
                }
                self.keys[slot].1 = from..from;
            }
            None => {
                self.keys.push((node, from..from));
                let many = self.keys.len() - keys.first > KEYS_COMPARED_MAX;
                if many && keys.index.is_empty() {
                    let met = self.keys[keys.first..].iter().zip(keys.first..);
                    keys.index = met.map(|((node, _), slot)| (*node, slot)).collect();
                } else if many {
                    keys.index.insert(node, slot);
                }
            }
        }
        read(self)?;
        self.keys[slot].1.end = self.occurrences.len();
        Ok(())
    }

    fn array(&mut self, scanner: &mut Scanner<'e>, place: Place) -> Result<(), Syntax> {
        let depth = enter(scanner, place)?;
        if scanner.peek()? == b']' {
            scanner.bump();
            return Ok(());
        }
        let array = self.trail.open_array();
        loop {
            let before = self.occurrences.len();
            let element = self.trail.open_element(place.element, array);
            let inside = Place {
                element,
                depth,
                ..place
            };
            self.value(scanner, inside)?;
            let empty = self.occurrences.len() == before;
            self.trail.close_element(element, empty);
            if !scanner.another(b']')? {
                self.trail.close_array(array);
                return Ok(());
            }
        }
    }
}

/// Consumes an opening bracket. Returns how many are open now.
fn enter(scanner: &mut Scanner<'_>, place: Place) -> Result<usize, Syntax> {
    if place.depth >= EVENT_DEPTH_MAX {
        return Err(scanner.too_deep());
    }
    scanner.bump();
    Ok(place.depth + 1)
}

#[cfg(test)]
pub(crate) mod tests;
