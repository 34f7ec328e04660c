//! The plain matcher: every rule is tried, condition by condition.
//!
//! It is the oracle that a faster one has to agree with, so it follows the specification as it
//! reads: flatten the event, then for each sub-rule look whether values can be chosen for all of
//! its paths. Cost follows the number of rules. It keeps nothing between events and never fails on
//! a rule: only an event can be at fault.

use crate::array_trail::{self, Absence, TooManySpellings, Wanted};
use crate::error::EventFault;
use crate::flatten::{self, Duplicates, Flat, Part};
use crate::limits::SPELLING_CHOICES_MAX;
use crate::path::{PathId, Trie, TrieBuilder};
use crate::pattern::{Condition, Pattern};

/// An immutable set of patterns, each under a key of the caller's choosing. Built once, then shared
/// by readers.
#[derive(Debug)]
pub struct RuleSet<K> {
    rules: Vec<Rule<K>>,
    trie: Trie,
}

#[derive(Debug)]
struct Rule<K> {
    key: K,
    pattern: Pattern,
    paths: Vec<PathId>,
}

impl<K> RuleSet<K> {
    /// Builds the set. Keys may repeat; each is reported as often as one of its patterns matches.
    pub fn new(rules: impl IntoIterator<Item = (K, Pattern)>) -> Self {
        let mut builder = TrieBuilder::new();
        let rules = rules
            .into_iter()
            .map(|(key, pattern)| Rule {
                key,
                paths: intern(&pattern, &mut builder),
                pattern,
            })
            .collect();
        RuleSet {
            rules,
            trie: builder.build(),
        }
    }

    /// The keys of the patterns that match an event given by its top-level members, in the order
    /// the set was built in.
    ///
    /// # Errors
    /// An [`EventFault`] when a part isn't JSON, nests too deep, has a duplicate key that the
    /// caller refuses, or spells one path in too many ways.
    pub fn matches<'s>(
        &'s self,
        event: &[Part<'_>],
        duplicates: Duplicates,
    ) -> Result<Vec<&'s K>, EventFault> {
        self.keys(&flatten::parts(&self.trie, event, duplicates)?)
    }

    /// The same for an event that is one JSON document, which must be an object.
    ///
    /// # Errors
    /// As [`RuleSet::matches`].
    pub fn matches_json<'s>(
        &'s self,
        event: &[u8],
        duplicates: Duplicates,
    ) -> Result<Vec<&'s K>, EventFault> {
        self.keys(&flatten::document(&self.trie, event, duplicates)?)
    }

    /// How many patterns are in the set.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    fn keys(&self, flat: &Flat<'_>) -> Result<Vec<&K>, EventFault> {
        let mut keys = Vec::new();
        for rule in &self.rules {
            let mut sight = Sight::new(&rule.pattern, &rule.paths, flat);
            for branch in rule.pattern.branches() {
                if sight.meets(branch)? {
                    keys.push(&rule.key);
                    break;
                }
            }
        }
        Ok(keys)
    }
}

/// The trie's numbers for the pattern's paths, in the pattern's order.
pub(crate) fn intern(pattern: &Pattern, builder: &mut TrieBuilder) -> Vec<PathId> {
    let paths = pattern.paths().iter();
    paths.map(|path| builder.intern(path)).collect()
}

impl From<TooManySpellings> for EventFault {
    fn from(_: TooManySpellings) -> Self {
        EventFault {
            offset: 0,
            part: None,
            reason: format!(
                "the event spells paths with and without dots in more than \
                 {SPELLING_CHOICES_MAX} combinations, the limit"
            ),
        }
    }
}

/// What one pattern sees of one event. Verdicts are kept, because sub-rules share conditions.
pub(crate) struct Sight<'f> {
    pattern: &'f Pattern,
    paths: &'f [PathId],
    flat: &'f Flat<'f>,
    /// For each condition that was looked at, which values at its path meet it. Empty until the
    /// first value in an array.
    held: Vec<Option<Box<[bool]>>>,
}

impl<'f> Sight<'f> {
    pub(crate) fn new(pattern: &'f Pattern, paths: &'f [PathId], flat: &'f Flat<'f>) -> Self {
        Sight {
            pattern,
            paths,
            flat,
            held: Vec::new(),
        }
    }

    /// The path of a condition in the event.
    pub(crate) fn path(&self, condition: &Condition) -> PathId {
        self.paths[usize::from(condition.path)]
    }

    /// Whether the event meets all of these conditions together.
    pub(crate) fn meets(&mut self, branch: &[u16]) -> Result<bool, TooManySpellings> {
        let conditions = self.pattern.conditions();
        let mut in_arrays = false;
        // Most events miss most rules here: no value at some path does, wherever it is.
        for &index in branch {
            let condition = &conditions[usize::from(index)];
            let values = self.flat.values(self.path(condition));
            if values.is_empty() {
                if !condition.by_absence {
                    return Ok(false);
                }
                continue;
            }
            in_arrays |= !self.flat.trail.is_flat();
            let held = self.any_held(index, condition);
            if !held && !(condition.by_absence && in_arrays) {
                return Ok(false);
            }
        }
        if !in_arrays {
            return Ok(true);
        }
        let wanted: Vec<Wanted<'_>> = branch.iter().map(|&index| self.wanted(index)).collect();
        array_trail::consistent(&self.flat.trail, &wanted)
    }

    fn any_held(&mut self, index: u16, condition: &Condition) -> bool {
        let values = self.flat.values(self.path(condition));
        if self.flat.trail.is_flat() {
            return values.iter().any(|value| condition.matches(&value.scalar));
        }
        if self.held.is_empty() {
            self.held.resize(self.pattern.conditions().len(), None);
        }
        let slot = &mut self.held[usize::from(index)];
        let held = slot.get_or_insert_with(|| {
            let verdicts = values.iter().map(|value| condition.matches(&value.scalar));
            verdicts.collect()
        });
        held.contains(&true)
    }

    fn wanted(&self, index: u16) -> Wanted<'_> {
        let condition = &self.pattern.conditions()[usize::from(index)];
        let held = self.held.get(usize::from(index));
        Wanted {
            values: self.flat.values(self.path(condition)),
            held: held.and_then(Option::as_deref).unwrap_or_default(),
            absence: if condition.by_absence {
                Absence::Serves
            } else {
                Absence::Fails
            },
        }
    }
}

#[cfg(test)]
mod tests;
