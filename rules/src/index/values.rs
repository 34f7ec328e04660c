//! The values that the walk found at the paths of rules. They are not copied.
//!
//! A value is a place in the caller's bytes. Only strings with escapes are decoded, into one buffer that is
//! reused. All data lives in the caller's scratch, so a match allocates nothing once the buffers have grown.
//! Marks are event numbers that rise with each event, so tables needn't be cleared.

use super::core::Branch;
use crate::array_trail::{Element, Trail};
use crate::event::Part;
use crate::scalar::{Number, Scalar};
use std::borrow::Cow;
use std::collections::HashMap;

/// The type of a scalar value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    True,
    False,
    Number,
    Text,
}

/// A value to be compared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'v> {
    pub(super) kind: Kind,
    /// The value's text. For a string: decoded and without quotes.
    pub(super) bytes: &'v [u8],
    /// The word of a number, if a condition at its path needs it.
    pub(super) word: u64,
}

impl<'v> Value<'v> {
    /// The value as operators take it. `None` if trusted bytes aren't UTF-8.
    pub(super) fn scalar(self) -> Option<Scalar<'v>> {
        Some(match self.kind {
            Kind::Null => Scalar::Null,
            Kind::True => Scalar::Bool(true),
            Kind::False => Scalar::Bool(false),
            Kind::Number => Scalar::Number(Number::read(self.text()?)),
            Kind::Text => Scalar::Text(Cow::Borrowed(self.text()?)),
        })
    }

    /// Whether the value is this string.
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
    /// One document.
    Document(&'e [u8]),
    /// The event's top-level members.
    Parts(&'e [Part<'e>]),
}

/// The number of cache lines that are read before the walk.
const LINES: usize = 16;
const LINE_BYTES: usize = 64;

impl<'e> Event<'e> {
    /// Reads the first cache lines all at once, for events that aren't in the processor's caches. A walk
    /// would wait for them one after the other, because where it reads next depends on what it has read. The
    /// bytes that are read have no effect.
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

/// No value, or no node.
pub(super) const NONE: u32 = u32::MAX;
/// The source of values that were decoded.
pub(super) const DECODED: u32 = u32::MAX;

/// A value that was found, and its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// The node of the value's path. `NONE` once a later duplicate key has replaced the value.
    pub(super) node: u32,
    /// The innermost array element around the value.
    pub(super) element: Element,
    pub(super) kind: Kind,
    pub(super) source: u32,
    pub(super) from: u32,
    pub(super) length: u32,
    /// The next value at the same path, in reading order.
    pub(super) next: u32,
    pub(super) word: u64,
}

/// What a match has found for one node of the trie.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// The object in which the node's key was found last, and the range of the values found there.
    object: u32,
    from: u32,
    to: u32,
    /// The last event in which the node had values. The fields below belong to that event.
    pub(super) event: u32,
    pub(super) first: u32,
    last: u32,
    pub(super) count: u32,
    /// Whether one of them lies in an array.
    pub(super) in_arrays: bool,
}

/// The capacity for values that is kept between events.
pub(super) const KEPT_MAX: usize = 1 << 16;

/// All values of an event.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) found: Vec<Found>,
    pub(super) trail: Trail,
    pub(super) decoded: String,
    seen: Vec<Seen>,
    /// Dotted keys: from the object and the node they led to, to the range of the values found there. This is
    /// a map because an object may have very many. Its hashes are keyed, because events choose what is
    /// inserted.
    dotted: HashMap<(u32, u32), (u32, u32)>,
    /// Whether a dotted key led to the path of a rule. Then one path may be spelled in several ways.
    pub(super) spelled: bool,
    objects: u32,
    pub(super) event: u32,
}

/// Where a member's values are recorded. `close_member` needs it when all of them are there.
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

    /// Prepares for the next event.
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

    /// A number for an object that opens. Each object has its own.
    pub(super) fn open_object(&mut self) -> u32 {
        self.objects = self.objects.wrapping_add(1);
        self.objects
    }

    /// Records a key that leads to `node`. Returns false if the object already had a key that leads there.
    ///
    /// Between two keys of one object, no other object has a key that leads to the same node. Dotted keys are
    /// an exception and are recorded apart.
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

    /// Drops the values that an earlier key of the same name gave.
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

    /// Records that all values of a member were found.
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

    /// Links the values of each path in reading order, after the walk.
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

    /// What was found for a node in this event, if it has values.
    pub(super) fn seen(&self, node: u32) -> Option<&Seen> {
        let seen = self.seen.get(node as usize)?;
        (seen.event == self.event).then_some(seen)
    }

    /// Whether the path of a sub-rule's first condition has several values.
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
