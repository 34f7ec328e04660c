//! Matches one event: runs the four stages in order and returns the keys of the rules that match.

use super::check;
use super::confirm::{Findings, MatchContext};
use super::core::Core;
use super::keys::Keys;
use super::probe;
use super::slab::Slab;
use super::values::{Event, Values};
use super::walk::{Manner, Walk};
use super::{Rule, RuleIndex, Trust};
use crate::error::EventError;
use crate::event::{Duplicates, Part};

impl<K: Clone> RuleIndex<K> {
    /// The keys of the rules that match an event, which is given by its top-level members. Each key comes
    /// once, in the order in which the keys were first added.
    ///
    /// The scratch keeps its buffers between matches, so that they are not allocated again. One scratch can
    /// be used with any number of indexes.
    ///
    /// # Errors
    /// An [`EventError`] when the event is too large, or a part isn't JSON, nests too deep, has a duplicate
    /// key that the caller refuses, or spells one path in too many ways.
    pub fn matches<'s>(
        &'s self,
        scratch: &'s mut Scratch,
        event: &[Part<'_>],
        duplicates: Duplicates,
        trust: Trust,
    ) -> Result<Matches<'s, K>, EventError> {
        self.matches_event(scratch, Event::Parts(event), duplicates, trust)
    }

    /// The same for an event that is one JSON document, which must be an object.
    ///
    /// # Errors
    /// As [`RuleIndex::matches`].
    pub fn matches_json<'s>(
        &'s self,
        scratch: &'s mut Scratch,
        event: &[u8],
        duplicates: Duplicates,
        trust: Trust,
    ) -> Result<Matches<'s, K>, EventError> {
        self.matches_event(scratch, Event::Document(event), duplicates, trust)
    }

    fn matches_event<'s>(
        &'s self,
        scratch: &'s mut Scratch,
        event: Event<'_>,
        duplicates: Duplicates,
        trust: Trust,
    ) -> Result<Matches<'s, K>, EventError> {
        check::size(event)?;
        event.touch();
        let trust = match trust {
            Trust::Unchecked => check::syntax(event, &mut scratch.keys)?,
            vouched => vouched,
        };
        let Scratch {
            keys: _,
            values,
            findings,
            folded,
            ordered,
        } = &mut *scratch;
        let core = &self.core;
        values.begin(core.trie.bound());
        findings.begin(core, self.rules.bound());
        ordered.clear();
        walk_event(core, values, event, duplicates, trust)?;
        values.join();
        let context = MatchContext {
            core,
            values,
            event,
        };
        probe::all(context, findings, folded)?;
        for place in 0..findings.unsure.len() {
            let number = findings.unsure[place];
            if self.meets(context, findings, number, duplicates)? {
                findings.rules.push(number);
            }
        }
        let found = findings.rules.iter();
        ordered.extend(found.filter_map(|&number| Some((self.rules.get(number)?.order, number))));
        ordered.sort_unstable();
        // Hashes may collide, so two look-ups may find the same sub-rule.
        ordered.dedup();
        Ok(Matches {
            rules: &self.rules,
            ordered: ordered.iter(),
        })
    }

    /// Whether a rule in `unsure` matches. The candidates alone can't decide this.
    fn meets(
        &self,
        context: MatchContext<'_>,
        findings: &mut Findings,
        number: u32,
        duplicates: Duplicates,
    ) -> Result<bool, EventError> {
        let Some(rule_entries) = self.rule_entries_of.get(number) else {
            return Ok(false);
        };
        if let Some(whole) = &rule_entries.whole {
            let keys = match context.event {
                Event::Document(bytes) => whole.matches_json(bytes, duplicates),
                Event::Parts(parts) => whole.matches(parts, duplicates),
            };
            return Ok(!keys?.is_empty());
        }
        // The sub-rules in their order, as the plain matcher evaluates them.
        for &number in &*rule_entries.branches {
            if let Some(branch) = self.core.branch(number)
                && findings.meets(context, branch, false)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn walk_event(
    core: &Core,
    values: &mut Values,
    event: Event<'_>,
    duplicates: Duplicates,
    trust: Trust,
) -> Result<(), EventError> {
    let manner = Manner {
        duplicates,
        plain: trust == Trust::Plain,
    };
    match event {
        Event::Document(bytes) => {
            let mut walk = Walk::new(&core.trie, values, manner, (bytes, 0));
            let walked = walk.document();
            walked.map_err(|stop| stop.error(None))
        }
        Event::Parts(parts) => {
            let object = values.open_object();
            for (source, part) in parts.iter().enumerate() {
                let (Part::Text { name, .. } | Part::Raw { name, .. }) = *part;
                let bytes = match part {
                    Part::Text { value, .. } => value.as_bytes(),
                    Part::Raw { json, .. } => json,
                };
                let text = (bytes, source as u32);
                let mut walk = Walk::new(&core.trie, values, manner, text);
                let walked = match part {
                    Part::Text { .. } => walk.member_string(object, name),
                    Part::Raw { .. } => walk.member_text(object, name),
                };
                walked.map_err(|stop| stop.error(Some(name)))?;
            }
            Ok(())
        }
    }
}

impl Trust {
    /// Reads an event once, given by its top-level members, and returns how far its bytes can be trusted.
    /// Call it when the event arrives. Each match of the event then reads no more bytes than it has to.
    ///
    /// # Errors
    /// An [`EventError`] when the event is too large, or a part isn't JSON or nests too deep.
    pub fn of(event: &[Part<'_>]) -> Result<Trust, EventError> {
        Trust::of_event(Event::Parts(event))
    }

    /// The same for an event that is one JSON document, which must be an object.
    ///
    /// # Errors
    /// As [`Trust::of`].
    pub fn of_json(event: &[u8]) -> Result<Trust, EventError> {
        Trust::of_event(Event::Document(event))
    }

    fn of_event(event: Event<'_>) -> Result<Trust, EventError> {
        check::size(event)?;
        check::syntax(event, &mut Keys::new())
    }
}

/// The buffers that matching needs, kept between matches. Each thread that matches has its own. They grow to
/// about fifty bytes for each rule of the largest index that was used, a few bytes for each byte of the
/// largest event, and four megabytes for the values found. If an event has more values than that, the next
/// event frees the surplus.
#[derive(Debug)]
pub struct Scratch {
    keys: Keys,
    values: Values,
    pub(super) findings: Findings,
    folded: String,
    /// The matching rules, sorted by the order in which they were added.
    ordered: Vec<(u64, u32)>,
}

impl Scratch {
    /// Empty buffers; they grow with the first matches.
    #[must_use]
    pub fn new() -> Self {
        Scratch {
            keys: Keys::new(),
            values: Values::new(),
            findings: Findings::new(),
            folded: String::new(),
            ordered: Vec::new(),
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch::new()
    }
}

/// The keys of the rules that match an event.
#[derive(Debug)]
pub struct Matches<'s, K> {
    rules: &'s Slab<Rule<K>>,
    ordered: std::slice::Iter<'s, (u64, u32)>,
}

impl<'s, K: Clone> Iterator for Matches<'s, K> {
    type Item = &'s K;

    fn next(&mut self) -> Option<&'s K> {
        let (_, number) = self.ordered.next()?;
        self.rules.get(*number).map(|rule| &rule.key)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ordered.size_hint()
    }
}

impl<K: Clone> ExactSizeIterator for Matches<'_, K> {}
