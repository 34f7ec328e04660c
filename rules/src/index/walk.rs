//! Finds the values of an event in one walk over its bytes. Trusts the bytes to be JSON.
//!
//! The walk follows the trie and skips everything else. Containers are skipped sixty-four bytes at a time. It
//! checks only as much of the grammar as it needs. Text that isn't JSON gives an error or some values. It
//! never causes a panic, a read out of bounds, or more than linear work. Text that is not trusted is checked
//! first (`check.rs`). Recursion goes as deep as `EVENT_DEPTH_MAX`.

use super::block;
use super::order;
use super::trie::{Node, ROOT, Trie, head_at};
use super::values::{DECODED, Found, Kind, NONE, Values};
use crate::array_trail::{Element, Trail};
use crate::error::EventError;
use crate::event::Duplicates;
use crate::json::Scanner;
use crate::limits::EVENT_DEPTH_MAX;

/// Why a walk ends early, and the byte at which it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Malformed(usize),
    Deep(usize),
    Twice(usize),
    /// Nothing that a rule mentions can follow. This is no error.
    Done,
}

impl Stop {
    /// The reason as an error with a message.
    pub(super) fn error(self, part: Option<&str>) -> EventError {
        let (offset, reason) = match self {
            Stop::Done => (0, String::new()),
            Stop::Malformed(offset) => (offset, "not the JSON that it was said to be".to_owned()),
            Stop::Deep(offset) => {
                let reason =
                    format!("nested deeper than {EVENT_DEPTH_MAX} brackets, the limit for events");
                (offset, reason)
            }
            Stop::Twice(offset) => {
                let reason = "a key that a rule mentions occurs twice in one object";
                (offset, reason.to_owned())
            }
        };
        let part = part.map(str::to_owned);
        EventError {
            offset,
            part,
            reason,
        }
    }
}

/// The array element in which the walk is, and how many brackets are open.
#[derive(Clone, Copy)]
struct Place {
    element: Element,
    depth: usize,
    /// Whether the keys here are known to be unique and without dots.
    plain: bool,
    /// Whether no rule needs anything that comes after this value.
    last: bool,
}

/// How the walk treats duplicate keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) duplicates: Duplicates,
    /// Whether keys outside of arrays are known to be unique and without dots.
    pub(super) plain: bool,
}

/// The node to which a key leads, and whether the key has dots.
type Route = Option<(u32, bool)>;

/// After the last member that matters, this many more members are read one by one. Then the rest of the
/// object is skipped at once.
const PATIENCE: u32 = 2;

/// A walk over one text.
pub(super) struct Walk<'w> {
    trie: &'w Trie,
    values: &'w mut Values,
    manner: Manner,
    bytes: &'w [u8],
    /// The number of the text among the texts of the event.
    source: u32,
    at: usize,
}

impl<'w> Walk<'w> {
    /// A walk that starts at the first byte of a text. The text comes with its number.
    pub(super) fn new(
        trie: &'w Trie,
        values: &'w mut Values,
        manner: Manner,
        (bytes, source): (&'w [u8], u32),
    ) -> Self {
        Walk {
            trie,
            values,
            manner,
            bytes,
            source,
            at: 0,
        }
    }

    /// Reads a document.
    pub(super) fn document(&mut self) -> Result<(), Stop> {
        if self.peek()? != b'{' {
            return Err(self.malformed());
        }
        if let Some(root) = self.trie.node(ROOT) {
            let place = Place {
                element: Trail::WHOLE,
                depth: 0,
                plain: self.manner.plain,
                last: true,
            };
            match self.object(ROOT, root, place) {
                Err(Stop::Done) => return Ok(()),
                read => read?,
            }
        }
        self.finish()
    }

    /// Reads a text that is the value of the event's member `name`.
    pub(super) fn member_text(&mut self, object: u32, name: &str) -> Result<(), Stop> {
        let Some((child, dotted)) = self.route(ROOT, name.as_bytes()) else {
            return Ok(());
        };
        let place = Place {
            element: Trail::WHOLE,
            depth: 1,
            plain: self.manner.plain,
            last: true,
        };
        match self.member(object, (child, dotted), 0, place) {
            // Other parts may follow, so only this part is done.
            Err(Stop::Done) => Ok(()),
            read => read.and_then(|()| self.finish()),
        }
    }

    /// Records a string that is already decoded as the value of the event's member `name`.
    pub(super) fn member_string(&mut self, object: u32, name: &str) -> Result<(), Stop> {
        let Some((child, dotted)) = self.route(ROOT, name.as_bytes()) else {
            return Ok(());
        };
        let member = self.open(object, child, dotted, 0)?;
        if self.trie.node(child).is_some_and(Node::is_path) {
            let length = self.bytes.len();
            self.collect(child, Trail::WHOLE, Kind::Text, 0, length);
        }
        self.values.close_member(member);
        Ok(())
    }

    fn route(&self, number: u32, key: &[u8]) -> Option<(u32, bool)> {
        let node = self.trie.node(number)?;
        let head = head_at(key, 0, key.len());
        self.trie.descend(number, node, key, head)
    }

    fn malformed(&self) -> Stop {
        Stop::Malformed(self.at)
    }

    /// The next byte that isn't white space.
    fn peek(&mut self) -> Result<u8, Stop> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(&byte) => return Ok(byte),
                None => return Err(self.malformed()),
            }
        }
    }

    fn finish(&mut self) -> Result<(), Stop> {
        match self.peek() {
            Err(_) => Ok(()),
            Ok(_) => Err(self.malformed()),
        }
    }

    /// Consumes an opening bracket.
    fn enter(&mut self, place: Place) -> Result<Place, Stop> {
        if place.depth >= EVENT_DEPTH_MAX {
            return Err(Stop::Deep(self.at));
        }
        self.at += 1;
        Ok(Place {
            depth: place.depth + 1,
            ..place
        })
    }

    fn object(&mut self, number: u32, node: &Node, place: Place) -> Result<(), Stop> {
        let inside = self.enter(place)?;
        let mut byte = self.peek()?;
        if byte == b'}' {
            self.at += 1;
            return Ok(());
        }
        let object = self.values.open_object();
        let mut left = node.children();
        let mut patience = PATIENCE;
        // The place is kept in a local variable. In a field of `self`, each step would go through memory.
        let bytes = self.bytes;
        let mut at = self.at;
        loop {
            if byte != b'"' {
                return Err(Stop::Malformed(at));
            }
            if let Some(outlines) = node.outlines()
                && (left > 0 || !place.plain)
            {
                at = block::pass_members(bytes, at, outlines);
            }
            let offset = at;
            let child;
            (child, at) = self.key(number, node, at)?;
            at = block::solid(bytes, at);
            if bytes.get(at) != Some(&b':') {
                return Err(Stop::Malformed(at));
            }
            at = block::solid(bytes, at + 1);
            if let Some(child) = child {
                left = left.saturating_sub(1);
                let last = place.plain && left == 0 && place.last;
                self.at = at;
                self.member(object, child, offset, Place { last, ..inside })?;
                at = self.at;
                if last {
                    return Err(Stop::Done);
                }
            } else if place.plain && left == 0 && patience == 0 {
                // No rule needs anything more of this object, and much of it may be left.
                self.at = block::enclosing_end(bytes, at).ok_or(Stop::Malformed(at))?;
                return Ok(());
            } else {
                patience = patience.saturating_sub(u32::from(left == 0));
                at = block::value_end(bytes, at).ok_or(Stop::Malformed(at))?;
            }
            at = block::solid(bytes, at);
            match bytes.get(at) {
                Some(b',') => {
                    at = block::solid(bytes, at + 1);
                    byte = bytes.get(at).copied().unwrap_or_default();
                }
                Some(b'}') => {
                    self.at = at + 1;
                    return Ok(());
                }
                _ => return Err(Stop::Malformed(at)),
            }
        }
    }

    /// The node to which the key at `at` leads, and the end of the key.
    #[inline]
    fn key(&mut self, number: u32, node: &Node, at: usize) -> Result<(Route, usize), Stop> {
        let stop = block::string_stop(self.bytes, at + 1).ok_or(Stop::Malformed(at))?;
        if self.bytes.get(stop) == Some(&b'"') {
            let key = self.bytes.get(at + 1..stop).unwrap_or_default();
            let head = head_at(self.bytes, at + 1, key.len());
            return Ok((self.trie.descend(number, node, key, head), stop + 1));
        }
        self.at = at;
        let start = self.values.decoded.len();
        self.decode()?;
        let key = &self.values.decoded.as_bytes()[start..];
        let head = head_at(key, 0, key.len());
        let child = self.trie.descend(number, node, key, head);
        self.values.decoded.truncate(start);
        Ok((child, self.at))
    }

    /// Consumes a string with escapes and appends its decoded text to `decoded`.
    fn decode(&mut self) -> Result<(), Stop> {
        let from = self.at;
        self.at = block::string_end(self.bytes, from).ok_or(Stop::Malformed(from))?;
        let raw = self.bytes.get(from..self.at).unwrap_or_default();
        let malformed = Stop::Malformed(from);
        let mut scanner = Scanner::new(raw).map_err(|_| malformed)?;
        let text = scanner.string().map_err(|_| malformed)?;
        self.values.decoded.push_str(&text);
        Ok(())
    }

    fn open(
        &mut self,
        object: u32,
        child: u32,
        dotted: bool,
        offset: usize,
    ) -> Result<super::values::Member, Stop> {
        let (member, new) = self.values.open_member(object, child, dotted);
        if !new {
            if self.manner.duplicates == Duplicates::Refuse {
                return Err(Stop::Twice(offset));
            }
            self.values.replace(member);
        }
        Ok(member)
    }

    fn member(
        &mut self,
        object: u32,
        (child, dotted): (u32, bool),
        offset: usize,
        place: Place,
    ) -> Result<(), Stop> {
        let first = self.peek()?;
        if place.plain {
            return match self.trie.node(child) {
                Some(node) => self.value(child, node, first, place),
                None => self.skip(),
            };
        }
        let member = self.open(object, child, dotted, offset)?;
        match self.trie.node(child) {
            Some(node) => self.value(child, node, first, place)?,
            None => self.skip()?,
        }
        self.values.close_member(member);
        Ok(())
    }

    /// Consumes a value at a path that rules mention, or above such a path.
    fn value(&mut self, number: u32, node: &Node, first: u8, place: Place) -> Result<(), Stop> {
        match first {
            b'{' if node.has_children() => return self.object(number, node, place),
            b'[' => return self.array(number, node, place),
            b'{' => return self.skip(),
            _ if !node.is_path() => return self.skip(),
            _ => {}
        }
        let from = self.at;
        let kind = match first {
            b'"' => return self.string(number, place),
            b'-' | b'0'..=b'9' => Kind::Number,
            b't' => Kind::True,
            b'f' => Kind::False,
            b'n' => Kind::Null,
            _ => return Err(self.malformed()),
        };
        self.at = block::scalar_end(self.bytes, from);
        self.collect(number, place.element, kind, from, self.at - from);
        if kind == Kind::Number && node.numbers > 0 {
            let value = order::parse(self.bytes.get(from..self.at).unwrap_or_default());
            if let (Some(value), Some(found)) = (value, self.values.found.last_mut()) {
                found.word = order::word(value);
            }
        }
        Ok(())
    }

    fn string(&mut self, number: u32, place: Place) -> Result<(), Stop> {
        let from = self.at + 1;
        let stop = block::string_stop(self.bytes, from).ok_or(self.malformed())?;
        if self.bytes.get(stop) == Some(&b'"') {
            self.at = stop + 1;
            self.collect(number, place.element, Kind::Text, from, stop - from);
            return Ok(());
        }
        let start = self.values.decoded.len();
        self.decode()?;
        let length = self.values.decoded.len() - start;
        self.collect(number, place.element, Kind::Text, start, length);
        if let Some(found) = self.values.found.last_mut() {
            found.source = DECODED;
        }
        Ok(())
    }

    fn collect(&mut self, node: u32, element: Element, kind: Kind, from: usize, length: usize) {
        // Events are much smaller than 32 bits can count.
        self.values.found.push(Found {
            node,
            element,
            kind,
            source: self.source,
            from: from as u32,
            length: length as u32,
            next: NONE,
            word: 0,
        });
    }

    fn array(&mut self, number: u32, node: &Node, place: Place) -> Result<(), Stop> {
        let inside = self.enter(place)?;
        let mut first = self.peek()?;
        if first == b']' {
            self.at += 1;
            return Ok(());
        }
        let inside = Place {
            plain: false,
            last: false,
            ..inside
        };
        let array = self.values.trail.open_array();
        loop {
            let before = self.values.found.len();
            let element = self.values.trail.open_element(place.element, array);
            let inside = Place { element, ..inside };
            self.value(number, node, first, inside)?;
            let empty = self.values.found.len() == before;
            self.values.trail.close_element(element, empty);
            match self.peek()? {
                b',' => {
                    self.at += 1;
                    first = self.peek()?;
                }
                b']' => {
                    self.at += 1;
                    self.values.trail.close_array(array);
                    return Ok(());
                }
                _ => return Err(self.malformed()),
            }
        }
    }

    /// Consumes a value that no rule needs.
    fn skip(&mut self) -> Result<(), Stop> {
        self.at = block::value_end(self.bytes, self.at).ok_or(self.malformed())?;
        Ok(())
    }
}
