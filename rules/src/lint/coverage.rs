//! Records which parts of a pattern a set of events has reached.
//!
//! An event reaches a sub-rule if it matches the sub-rule. It reaches an alternative if a sub-rule that has
//! the alternative's field matches the event, and would also match with this alternative alone in the field.
//! A part that was never reached is untested or not needed. Never here: keeping events.

use crate::error::EventError;
use crate::event::{Duplicates, Part};
use crate::flatten::{self, Flat};
use crate::naive::{MatchContext, intern};
use crate::path::{PathId, Trie, TrieBuilder, display};
use crate::pattern::Pattern;
use std::collections::BTreeSet;

/// Counts which parts of one pattern events reach.
#[derive(Debug)]
pub struct Coverage {
    pattern: Pattern,
    trie: Trie,
    paths: Vec<PathId>,
    events: u64,
    matched: u64,
    /// For each sub-rule, the number of events that it matched.
    sub_rules: Vec<u64>,
    /// For each condition and each of its alternatives, the number of events that reached it.
    alternatives: Vec<Vec<u64>>,
}

/// Which parts the events have reached.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CoverageReport {
    /// How many events were observed.
    pub events: u64,
    /// How many of them matched.
    pub matched: u64,
    /// For each sub-rule, how many events it matched.
    pub sub_rules: Vec<u64>,
    /// Every alternative of every field, in reading order.
    pub alternatives: Vec<AlternativeCoverage>,
}

/// How often one alternative of a field was reached.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AlternativeCoverage {
    /// The field, its segments joined by dots, after aliases.
    pub path: String,
    /// The alternative, as a pattern writes it.
    pub alternative: String,
    /// The alternative, in words.
    pub in_words: String,
    /// How many events reached it.
    pub events: u64,
}

impl Coverage {
    /// Coverage before the first event.
    pub fn new(pattern: &Pattern) -> Self {
        let mut builder = TrieBuilder::new();
        let paths = intern(pattern, &mut builder);
        let conditions = pattern.conditions().iter();
        Coverage {
            trie: builder.build(),
            paths,
            events: 0,
            matched: 0,
            sub_rules: vec![0; pattern.branches().len()],
            alternatives: conditions
                .map(|condition| vec![0; condition.alternatives().len()])
                .collect(),
            pattern: pattern.clone(),
        }
    }

    /// Counts an event, which is given by its top-level members. Returns whether it matched.
    ///
    /// # Errors
    /// As [`RuleSet::matches`](crate::RuleSet::matches). An event with an error is not counted.
    pub fn observe(&mut self, event: &[Part<'_>]) -> Result<bool, EventError> {
        let flat = flatten::parts(&self.trie, event, Duplicates::LastWins)?;
        let (sub_rules, alternatives) = self.reached(&flat)?;
        Ok(self.count(&sub_rules, &alternatives))
    }

    /// The same for an event that is one JSON document, which must be an object.
    ///
    /// # Errors
    /// As [`RuleSet::matches_json`](crate::RuleSet::matches_json). An event with an error is not counted.
    pub fn observe_json(&mut self, event: &[u8]) -> Result<bool, EventError> {
        let flat = flatten::document(&self.trie, event, Duplicates::LastWins)?;
        let (sub_rules, alternatives) = self.reached(&flat)?;
        Ok(self.count(&sub_rules, &alternatives))
    }

    /// The sub-rules that match, and the alternatives that are met in them, as (condition, place).
    fn reached(&self, flat: &Flat<'_>) -> Result<Reached, EventError> {
        let mut context = MatchContext::new(&self.pattern, &self.paths, flat);
        let mut sub_rules = Vec::new();
        let mut alternatives = BTreeSet::new();
        for (sub_rule, branch) in self.pattern.branches().iter().enumerate() {
            if !context.meets(branch)? {
                continue;
            }
            sub_rules.push(sub_rule);
            for &index in branch {
                for place in context.held_within(branch, index, usize::MAX)? {
                    alternatives.insert((usize::from(index), place));
                }
            }
        }
        Ok((sub_rules, alternatives))
    }

    fn count(&mut self, sub_rules: &[usize], alternatives: &BTreeSet<(usize, usize)>) -> bool {
        self.events += 1;
        self.matched += u64::from(!sub_rules.is_empty());
        for &sub_rule in sub_rules {
            self.sub_rules[sub_rule] += 1;
        }
        for &(condition, place) in alternatives {
            self.alternatives[condition][place] += 1;
        }
        !sub_rules.is_empty()
    }

    /// The counts so far.
    pub fn report(&self) -> CoverageReport {
        let mut alternatives = Vec::new();
        for (condition, counts) in self.pattern.conditions().iter().zip(&self.alternatives) {
            let path = &self.pattern.paths()[usize::from(condition.path)];
            for (operator, &events) in condition.alternatives().iter().zip(counts) {
                alternatives.push(AlternativeCoverage {
                    path: display(path),
                    alternative: operator.describe(),
                    in_words: operator.in_words(),
                    events,
                });
            }
        }
        CoverageReport {
            events: self.events,
            matched: self.matched,
            sub_rules: self.sub_rules.clone(),
            alternatives,
        }
    }
}

impl CoverageReport {
    /// The alternatives that no event has reached.
    pub fn unreached(&self) -> impl Iterator<Item = &AlternativeCoverage> {
        self.alternatives
            .iter()
            .filter(|alternative| alternative.events == 0)
    }

    /// The sub-rules, counted from zero, that no event has reached.
    pub fn unreached_sub_rules(&self) -> impl Iterator<Item = usize> {
        let counted = self.sub_rules.iter().enumerate();
        counted
            .filter(|(_, events)| **events == 0)
            .map(|(sub_rule, _)| sub_rule)
    }
}

/// Sub-rules, and alternatives as (condition, place).
type Reached = (Vec<usize>, BTreeSet<(usize, usize)>);
