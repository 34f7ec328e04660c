//! The plain matcher: tries every rule, condition by condition.
//!
//! The fast matcher must agree with it, so it follows the specification literally. It flattens the event,
//! then checks for each sub-rule whether values can be chosen for all its paths. The cost grows with the
//! number of rules. It keeps nothing between events. Only an invalid event is an error.

mod lists;

use crate::array_trail::{self, Absence, TooManySpellings, Trail, Wanted};
use crate::error::EventError;
use crate::event::{Duplicates, Part};
use crate::flatten::{self, Flat, Occurrence};
use crate::limits::SPELLING_CHOICES_MAX;
use crate::operator::{Operator, exists};
use crate::path::{PathId, Trie, TrieBuilder};
use crate::pattern::{Condition, Pattern};

/// An immutable set of patterns, each under a key that the caller chooses. It is built once and then shared
/// by readers. It tries every pattern. So use it for a few patterns, or to check a
/// [`RuleIndex`](crate::RuleIndex), which gives the same result faster.
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
    /// Builds the set. Keys may repeat. A key is returned once for each of its patterns that matches.
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

    /// The keys of the patterns that match an event, in the order in which the set was built. The event is
    /// given by its top-level members.
    ///
    /// # Errors
    /// An [`EventError`] when a part isn't JSON, nests too deep, has a duplicate key that the
    /// caller refuses, or spells one path in too many ways, or when the event is too large.
    pub fn matches<'s>(
        &'s self,
        event: &[Part<'_>],
        duplicates: Duplicates,
    ) -> Result<Vec<&'s K>, EventError> {
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
    ) -> Result<Vec<&'s K>, EventError> {
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

    fn keys(&self, flat: &Flat<'_>) -> Result<Vec<&K>, EventError> {
        let mut keys = Vec::new();
        for rule in &self.rules {
            let mut context = MatchContext::new(&rule.pattern, &rule.paths, flat);
            for branch in rule.pattern.branches() {
                if context.meets(branch)? {
                    keys.push(&rule.key);
                    break;
                }
            }
        }
        Ok(keys)
    }
}

/// Adds the pattern's paths to the trie. Returns their numbers, in the pattern's order.
pub(crate) fn intern(pattern: &Pattern, builder: &mut TrieBuilder) -> Vec<PathId> {
    let paths = pattern.paths().iter();
    paths.map(|path| builder.intern(path)).collect()
}

impl From<TooManySpellings> for EventError {
    fn from(_: TooManySpellings) -> Self {
        EventError {
            offset: 0,
            part: None,
            reason: format!(
                "the event spells paths with and without dots in more than \
                 {SPELLING_CHOICES_MAX} combinations, the limit"
            ),
        }
    }
}

/// The values that one pattern can see of one event. Results are kept, because sub-rules share conditions.
pub(crate) struct MatchContext<'f> {
    conditions: &'f [Condition],
    paths: &'f [PathId],
    flat: &'f Flat<'f>,
    /// For each condition that was evaluated on values in arrays, the results. Empty until there is one.
    found: Vec<Option<Verdicts<'f>>>,
    /// Conditions that replace others: the index of the replaced one, and the new one. Sorted by index.
    instead: Vec<(u16, Condition)>,
}

/// The results of one condition for the values at its path.
struct Verdicts<'f> {
    /// The values, including those that stand for lists that meet the condition. `None` if there are no such
    /// lists.
    with_lists: Option<Vec<Occurrence<'f>>>,
    /// Which of them meet the condition.
    held: Box<[bool]>,
}

impl<'f> MatchContext<'f> {
    pub(crate) fn new(pattern: &'f Pattern, paths: &'f [PathId], flat: &'f Flat<'f>) -> Self {
        MatchContext {
            conditions: pattern.conditions(),
            paths,
            flat,
            found: Vec::new(),
            instead: Vec::new(),
        }
    }

    fn condition(&self, index: u16) -> &Condition {
        let place = self.instead.binary_search_by_key(&index, |(own, _)| *own);
        match place {
            Ok(place) => &self.instead[place].1,
            Err(_) => &self.conditions[usize::from(index)],
        }
    }

    /// The values at a condition's path, in reading order.
    pub(crate) fn values(&self, condition: &Condition) -> &'f [Occurrence<'f>] {
        self.flat.values(self.path(condition))
    }

    /// Which alternatives of a condition hold in a sub-rule that the event meets: with any one of them alone
    /// in place of the condition, the event still meets it. Returns at least one and at most `most`, in
    /// reading order.
    pub(crate) fn held_within(
        &mut self,
        branch: &[u16],
        index: u16,
        most: usize,
    ) -> Result<Vec<usize>, TooManySpellings> {
        let condition = &self.conditions[usize::from(index)];
        let mut held = Vec::new();
        for (place, alternative) in condition.alternatives().iter().enumerate() {
            if held.len() == most {
                break;
            }
            if !alternative.by_absence() && !self.is_met(condition, alternative) {
                continue;
            }
            let alone = Condition::new(condition.path, vec![alternative.clone()]);
            self.instead = vec![(index, alone)];
            self.forget(index);
            let met = self.meets(branch);
            self.instead.clear();
            self.forget(index);
            if met? {
                held.push(place);
            }
        }
        Ok(held)
    }

    /// Drops the results of a condition.
    fn forget(&mut self, index: u16) {
        if let Some(found) = self.found.get_mut(usize::from(index)) {
            *found = None;
        }
    }

    /// For a sub-rule that isn't met: the conditions that absence would meet if each missed condition
    /// accepted the values at its path. In an element where those have a value, such a condition has none.
    /// `met` says of each condition whether it is met by itself.
    pub(crate) fn absent_beside(
        &self,
        branch: &[u16],
        met: &[bool],
    ) -> Result<Vec<bool>, TooManySpellings> {
        let mut others = Vec::with_capacity(branch.len() + 1);
        let mut instead = Vec::new();
        for (&index, &met) in branch.iter().zip(met) {
            let condition = &self.conditions[usize::from(index)];
            if met {
                others.push(index);
            } else if !condition.by_absence && !self.values(condition).is_empty() {
                others.push(index);
                let any = Operator::Exists(exists::Operand::ANY_VALUE);
                instead.push((index, Condition::new(condition.path, vec![any])));
            }
        }
        let missed = !instead.is_empty();
        instead.sort_unstable_by_key(|(index, _)| *index);
        let mut context = MatchContext {
            instead,
            found: Vec::new(),
            ..*self
        };
        let mut served = Vec::with_capacity(branch.len());
        for (&index, &met) in branch.iter().zip(met) {
            let by_absence = self.conditions[usize::from(index)].by_absence;
            others.push(index);
            served.push(missed && !met && by_absence && context.meets(&others)?);
            others.pop();
        }
        Ok(served)
    }

    /// Whether some value at a condition's path, or some list of them, meets this alternative.
    fn is_met(&self, condition: &Condition, alternative: &Operator) -> bool {
        let values = self.values(condition);
        values
            .iter()
            .any(|value| alternative.matches(&value.scalar))
            || (alternative.needs_all_values()
                && lists::of(&self.flat.trail, values)
                    .iter()
                    .any(|list| alternative.matches_list(&list.values)))
    }

    /// The path of a condition in the event.
    fn path(&self, condition: &Condition) -> PathId {
        self.paths[usize::from(condition.path)]
    }

    /// Whether the event meets all of these conditions together.
    pub(crate) fn meets(&mut self, branch: &[u16]) -> Result<bool, TooManySpellings> {
        let mut in_arrays = Vec::new();
        for &index in branch {
            let condition = self.condition(index);
            let by_absence = condition.by_absence;
            let values = self.flat.values(self.path(condition));
            if values.is_empty() {
                if !by_absence {
                    return Ok(false);
                }
            } else if !condition.needs_all_values()
                && values.iter().all(|value| value.element == Trail::WHOLE)
            {
                // A value outside of arrays is consistent with every choice of elements, and is never absent.
                if !values.iter().any(|value| condition.matches(&value.scalar)) {
                    return Ok(false);
                }
            } else {
                if !self.any_held(index) && !by_absence {
                    return Ok(false);
                }
                in_arrays.push(index);
            }
        }
        if in_arrays.is_empty() {
            return Ok(true);
        }
        let wanted: Vec<Wanted<'_>> = in_arrays.iter().map(|&index| self.wanted(index)).collect();
        array_trail::consistent(&self.flat.trail, &wanted)
    }

    /// Whether one of the values, or a list of them, meets a condition. Keeps the result for each.
    fn any_held(&mut self, index: u16) -> bool {
        let place = usize::from(index);
        if self.found.is_empty() {
            self.found.resize_with(self.conditions.len(), || None);
        }
        if self.found[place].is_none() {
            self.found[place] = Some(self.verdicts(self.condition(index)));
        }
        let verdicts = self.found[place].as_ref();
        verdicts.is_some_and(|verdicts| verdicts.held.contains(&true))
    }

    fn verdicts(&self, condition: &Condition) -> Verdicts<'f> {
        let values = self.values(condition);
        if condition.needs_all_values() {
            let (values, held) = lists::with_lists(&self.flat.trail, values, condition);
            return Verdicts {
                with_lists: Some(values),
                held: held.into(),
            };
        }
        let verdicts = values.iter().map(|value| condition.matches(&value.scalar));
        Verdicts {
            with_lists: None,
            held: verdicts.collect(),
        }
    }

    fn wanted(&self, index: u16) -> Wanted<'_> {
        let condition = self.condition(index);
        let found = self.found.get(usize::from(index)).and_then(Option::as_ref);
        let with_lists = found.and_then(|verdicts| verdicts.with_lists.as_deref());
        Wanted {
            values: with_lists.unwrap_or(self.values(condition)),
            held: found.map_or(&[], |verdicts| &*verdicts.held),
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
