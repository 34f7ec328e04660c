//! The values that the walk found at the paths of rules. None of them is copied.
//!
//! A value is a place in the caller's bytes; only strings with escapes are decoded, into one buffer
//! that is kept. All of it lives in the caller's scratch, so that a match allocates nothing once the
//! buffers have grown. Marks are numbers that grow with each event, so nothing is ever cleared.

use super::core::Branch;
use crate::array_trail::{Element, Trail};
use crate::event::Part;
use crate::scalar::{Number, Scalar};
use std::borrow::Cow;
use std::collections::HashMap;

/// What sort of scalar a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    True,
    False,
    Number,
    Text,
}

/// A value, to be compared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'v> {
    pub(super) kind: Kind,
    /// Its text; a string's without quotes, decoded.
    pub(super) bytes: &'v [u8],
    /// A number's word, if a condition at its path needs it.
    pub(super) word: u64,
}

impl<'v> Value<'v> {
    /// The value as operators take it; none if bytes that were trusted aren't UTF-8.
    pub(super) fn scalar(self) -> Option<Scalar<'v>> {
        Some(match self.kind {
            Kind::Null => Scalar::Null,
            Kind::True => Scalar::Bool(true),
            Kind::False => Scalar::Bool(false),
            Kind::Number => Scalar::Number(Number::read(self.text()?)),
            Kind::Text => Scalar::Text(Cow::Borrowed(self.text()?)),
        })
    }

    /// Whether it is this string.
    pub(super) fn is_text(self, text: &[u8]) -> bool {
        self.kind == Kind::Text && self.bytes == text
    }

    pub(super) fn text(self) -> Option<&'v str> {
        std::str::from_utf8(self.bytes).ok()
    }
}

/// Where the bytes of an event are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event<'e> {
    /// In one document.
    Document(&'e [u8]),
    /// In its top-level members.
    Parts(&'e [Part<'e>]),
}

/// The lines of memory that a walk finds near.
const LINES: usize = 16;
const LINE_BYTES: usize = 64;

impl<'e> Event<'e> {
    /// Asks for the first lines of memory all at once, for events that aren't in the processor's caches.
    /// A walk would wait for them one after the other, since where it reads next depends on what it
    /// has read. Decides nothing by what it sees.
    #[inline]
    pub(super) fn touch(self) {
        let touch = |bytes: &[u8]| {
            let lines = bytes.iter().step_by(LINE_BYTES).take(LINES);
            std::hint::black_box(lines.fold(0, |all, byte| all ^ byte));
        };
        match self {
            Event::Document(bytes) => touch(bytes),
            Event::Parts(parts) => parts.iter().for_each(|part| {
                if let Part::Raw { json, .. } = part {
                    touch(json);
                }
            }),
        }
    }

    fn source(self, number: u32) -> &'e [u8] {
        match self {
            Event::Document(bytes) => bytes,
            Event::Parts(parts) => match parts.get(number as usize) {
                Some(Part::Text { value, .. }) => value.as_bytes(),
                Some(Part::Raw { json, .. }) => json,
                None => &[],
            },
        }
    }
}

/// No value, no node.
pub(super) const NONE: u32 = u32::MAX;
/// The source of values that were decoded.
pub(super) const DECODED: u32 = u32::MAX;

/// A place where a value is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// The node of its path; `NONE` once a later duplicate has replaced it.
    pub(super) node: u32,
    /// The innermost array element around it.
    pub(super) element: Element,
    pub(super) kind: Kind,
    pub(super) source: u32,
    pub(super) from: u32,
    pub(super) length: u32,
    /// The next value at the same path, in reading order.
    pub(super) next: u32,
    pub(super) word: u64,
}

/// What one node of the trie has seen of the event.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// The object in which its key was met last, and the values found there.
    object: u32,
    from: u32,
    to: u32,
    /// The event in which it had values last; the rest is about that event.
    pub(super) event: u32,
    pub(super) first: u32,
    last: u32,
    pub(super) count: u32,
    /// Whether one of them lies in an array.
    pub(super) in_arrays: bool,
}

/// Capacity for values that is kept between events.
pub(super) const KEPT_MAX: usize = 1 << 16;

/// All values of an event.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) found: Vec<Found>,
    pub(super) trail: Trail,
    pub(super) decoded: String,
    seen: Vec<Seen>,
    /// Dotted keys by their object and where they led: the values found there. A map because an
    /// object may have very many; its hashes are keyed, since events choose what goes in.
    dotted: HashMap<(u32, u32), (u32, u32)>,
    /// Whether a dotted key led to a rule's path: then one path may be spelled in several ways.
    pub(super) spelled: bool,
    objects: u32,
    pub(super) event: u32,
}

/// Where a member's values went, to be told when all are there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Member {
    Plain(u32),
    Dotted(u32, u32),
}

impl Values {
    pub(super) fn new() -> Self {
        Values {
            found: Vec::new(),
            trail: Trail::new(),
            decoded: String::new(),
            seen: Vec::new(),
            dotted: HashMap::new(),
            spelled: false,
            objects: 0,
            event: 0,
        }
    }

    /// Forgets the last event.
    pub(super) fn begin(&mut self, nodes: usize) {
        self.found.clear();
        if self.found.capacity() > KEPT_MAX {
            self.give_back();
        }
        self.trail.clear();
        self.decoded.clear();
        self.dotted.clear();
        self.spelled = false;
        if self.event >= NONE - 1 || self.objects >= NONE / 2 {
            self.seen.clear();
            self.event = 0;
            self.objects = 0;
        }
        self.event += 1;
        if self.seen.len() < nodes {
            self.seen.resize(nodes, Seen::default());
        }
    }

    #[cold]
    fn give_back(&mut self) {
        self.found.shrink_to(KEPT_MAX);
        self.trail = Trail::new();
    }

    /// A number for an object that opens.
    pub(super) fn open_object(&mut self) -> u32 {
        self.objects = self.objects.wrapping_add(1);
        self.objects
    }

    /// Notes a key that leads to `node`; false if it did so before in this object.
    ///
    /// Between two keys of one object no other object has keys that lead to the same node, except
    /// through dotted keys, which are kept apart.
    pub(super) fn open_member(&mut self, object: u32, node: u32, dotted: bool) -> (Member, bool) {
        let now = self.found.len() as u32;
        if dotted {
            self.spelled = true;
            let known = self.dotted.insert((object, node), (now, now));
            if let Some(range) = known {
                self.dotted.insert((object, node), range);
            }
            return (Member::Dotted(object, node), known.is_none());
        }
        let Some(seen) = self.seen.get_mut(node as usize) else {
            return (Member::Plain(node), true);
        };
        if seen.object == object {
            return (Member::Plain(node), false);
        }
        seen.object = object;
        seen.from = now;
        seen.to = now;
        (Member::Plain(node), true)
    }

    /// Forgets what an earlier key of the same name gave.
    pub(super) fn replace(&mut self, member: Member) {
        let now = self.found.len() as u32;
        let Some((from, to)) = self.range(member) else {
            return;
        };
        let replaced = *from as usize..*to as usize;
        (*from, *to) = (now, now);
        for found in &mut self.found[replaced] {
            found.node = NONE;
        }
    }

    /// Notes that all values of a member are there.
    pub(super) fn close_member(&mut self, member: Member) {
        let now = self.found.len() as u32;
        if let Some((_, to)) = self.range(member) {
            *to = now;
        }
    }

    fn range(&mut self, member: Member) -> Option<(&mut u32, &mut u32)> {
        match member {
            Member::Plain(node) => {
                let seen = self.seen.get_mut(node as usize)?;
                Some((&mut seen.from, &mut seen.to))
            }
            Member::Dotted(object, node) => {
                let (from, to) = self.dotted.get_mut(&(object, node))?;
                Some((from, to))
            }
        }
    }

    /// Joins the values of each path, in reading order, once the walk is over.
    pub(super) fn join(&mut self) {
        for place in 0..self.found.len() {
            let found = self.found[place];
            let Some(seen) = self.seen.get_mut(found.node as usize) else {
                continue;
            };
            if seen.event == self.event {
                self.found[seen.last as usize].next = place as u32;
                seen.count += 1;
            } else {
                seen.event = self.event;
                seen.first = place as u32;
                seen.count = 1;
                seen.in_arrays = false;
            }
            seen.in_arrays |= found.element != Trail::WHOLE;
            seen.last = place as u32;
        }
    }

    /// What a node has seen of this event, if it has values.
    pub(super) fn seen(&self, node: u32) -> Option<&Seen> {
        let seen = self.seen.get(node as usize)?;
        (seen.event == self.event).then_some(seen)
    }

    /// Whether the path at which a sub-rule waits has several values.
    pub(super) fn several(&self, branch: &Branch) -> bool {
        let seen = branch.node().and_then(|node| self.seen(node));
        seen.is_some_and(|seen| seen.count > 1)
    }

    /// The places of a node's values, in reading order.
    pub(super) fn places(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        let mut next = self.seen(node).map_or(NONE, |seen| seen.first);
        std::iter::from_fn(move || {
            let place = next;
            next = self.found.get(place as usize)?.next;
            Some(place)
        })
    }

    /// The value at a place.
    pub(super) fn at<'v>(&'v self, event: Event<'v>, place: u32) -> Option<Value<'v>> {
        let found = self.found.get(place as usize)?;
        Some(self.value(event, found))
    }

    /// The value that was found.
    pub(super) fn value<'v>(&'v self, event: Event<'v>, found: &Found) -> Value<'v> {
        let source = match found.source {
            DECODED => self.decoded.as_bytes(),
            number => event.source(number),
        };
        let from = found.from as usize;
        let bytes = source.get(from..from + found.length as usize);
        Value {
            kind: found.kind,
            bytes: bytes.unwrap_or_default(),
            word: found.word,
        }
    }
}
