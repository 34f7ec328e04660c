//! Finds the parts of a pattern that no event can meet, and says why.
//!
//! Each finding is a proof. A part that is not found may still be dead. Some proofs need facts about the
//! events that only the caller knows, such as which members are always strings.

use super::relation::{Budget, TEXT, are_apart, is_empty, kinds};
use crate::operator::Operator;
use crate::path::{Path, display};
use crate::pattern::{Condition, Pattern};
use crate::scalar::shorten;
use std::collections::HashSet;

/// What all events have in common.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shape<'s> {
    /// Top-level members that are strings in every event that has them, such as a CloudEvent's `type`. No
    /// other member's name may begin with one of them and a dot.
    pub strings: &'s [&'s str],
    /// Those of `strings` that occur in every event.
    pub required: &'s [&'s str],
    /// The top-level members that may have any type, if all others are strings. Empty if nothing is known.
    pub others_but: &'s [&'s str],
}

/// The part that no event can meet.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// A sub-rule, by its number, counted from zero.
    SubRule(usize),
    /// One alternative of a field, as a pattern writes it. Events may meet the other alternatives.
    Alternative(String),
    /// A field that a later one on the same path replaces in every sub-rule.
    Field,
}

/// A part of a pattern that no event can meet.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DeadEnd {
    /// The part.
    pub scope: Scope,
    /// The field that shows this, its segments joined by dots, after aliases.
    pub path: String,
    /// Why, as one sentence without a full stop.
    pub reason: String,
    /// Whether an event with dots in its keys (`{"a": 1, "a.b": 2}`) could still meet it.
    pub unless_dotted: bool,
}

/// The findings.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct DeadEnds {
    /// Whether no event at all can match the pattern: each of its sub-rules is dead, even for keys with dots.
    pub never: bool,
    /// The dead parts: for each dead sub-rule the first reason, then alternatives and fields, in reading
    /// order.
    pub found: Vec<DeadEnd>,
}

/// Finds the parts of a pattern that no event of this shape can meet.
pub fn dead_ends(pattern: &Pattern, shape: &Shape<'_>) -> DeadEnds {
    let mut finder = Finder {
        pattern,
        shape,
        budget: Budget::new(),
    };
    let mut found = Vec::new();
    let mut certain = 0;
    for (sub_rule, branch) in pattern.branches().iter().enumerate() {
        let conditions: Vec<&Condition> = branch
            .iter()
            .map(|&index| &pattern.conditions()[usize::from(index)])
            .collect();
        let dead = conditions.iter().find_map(|condition| {
            let reason = finder.condition(condition)?;
            Some((finder.path(condition), reason, false))
        });
        let dead = dead.or_else(|| finder.above_and_below(&conditions));
        if let Some((path, reason, unless_dotted)) = dead {
            certain += usize::from(!unless_dotted);
            found.push(DeadEnd {
                scope: Scope::SubRule(sub_rule),
                path: display(path),
                reason,
                unless_dotted,
            });
        }
    }
    let used: HashSet<u16> = pattern.branches().iter().flatten().copied().collect();
    for (index, condition) in pattern.conditions().iter().enumerate() {
        let replaced = !u16::try_from(index).is_ok_and(|index| used.contains(&index));
        finder.parts(condition, replaced, &mut found);
    }
    DeadEnds {
        never: certain == pattern.branches().len(),
        found,
    }
}

struct Finder<'f> {
    pattern: &'f Pattern,
    shape: &'f Shape<'f>,
    budget: Budget,
}

impl Shape<'_> {
    /// Whether a top-level member is a string in every event that has it.
    fn is_text(&self, name: &str) -> bool {
        self.strings.contains(&name)
            || !self.others_but.is_empty() && !self.others_but.contains(&name)
    }
}

impl<'f> Finder<'f> {
    fn path(&self, condition: &Condition) -> &'f Path {
        &self.pattern.paths()[usize::from(condition.path)]
    }

    /// Whether the values of a condition are at most one string. False if nothing is known.
    fn always_text(&self, condition: &Condition) -> bool {
        match self.path(condition).as_slice() {
            [only] => self.shape.is_text(only),
            _ => false,
        }
    }

    /// The reason why no event meets a condition.
    fn condition(&mut self, condition: &Condition) -> Option<String> {
        let path = self.path(condition);
        let first = path.first()?;
        if path.len() > 1 && self.shape.is_text(first) && !condition.by_absence {
            return Some(format!(
                "{first} is always a string, so nothing is below it"
            ));
        }
        if condition.by_absence && !self.is_required(condition) {
            return None;
        }
        let mut last = None;
        for operator in condition.alternatives() {
            last = Some(self.alternative(condition, operator)?);
        }
        match condition.alternatives().len() {
            1 => last,
            _ => Some("none of its alternatives can be met".to_owned()),
        }
    }

    fn is_required(&self, condition: &Condition) -> bool {
        match self.path(condition).as_slice() {
            [only] => self.shape.required.contains(&&**only),
            _ => false,
        }
    }

    /// The reason why no event meets an alternative.
    fn alternative(&mut self, condition: &Condition, operator: &Operator) -> Option<String> {
        if operator.by_absence() {
            let required = self.is_required(condition);
            return required.then(|| "every event has it".to_owned());
        }
        if is_empty(operator, &mut self.budget) {
            return Some(format!("no value can be {}", operator.in_words()));
        }
        if !self.always_text(condition) {
            return None;
        }
        let apart = match operator {
            Operator::Exactly(operand) => {
                operand.values().len() > 1 || {
                    let literal = Operator::Exact(operand.values().first()?.clone());
                    kinds(&literal) & TEXT == 0
                }
            }
            // One string has to meet all of the list.
            Operator::ContainsAll(operand) => {
                let each = operand.each();
                each.iter().enumerate().any(|(place, one)| {
                    kinds(one) & TEXT == 0
                        || each[..place]
                            .iter()
                            .any(|other| are_apart(one, other, &mut self.budget))
                })
            }
            operator => kinds(operator) & TEXT == 0,
        };
        apart.then(|| {
            format!(
                "it is always one string, which can't be {}",
                operator.in_words()
            )
        })
    }

    /// A field that needs a value at a place where another field needs an object.
    fn above_and_below(&mut self, conditions: &[&Condition]) -> Option<(&'f Path, String, bool)> {
        let needs_value =
            |condition: &Condition| !condition.by_absence && !condition.needs_all_values();
        for above in conditions.iter().filter(|condition| needs_value(condition)) {
            for below in conditions.iter().filter(|condition| needs_value(condition)) {
                if !self.budget.spend() {
                    return None;
                }
                let (short, long) = (self.path(above), self.path(below));
                if long.len() > short.len() && long.starts_with(short) {
                    let reason = format!(
                        "it has to be a value and at the same time an object with {}",
                        shorten(&display(long))
                    );
                    return Some((short, reason, true));
                }
            }
        }
        None
    }

    /// Finds dead alternatives of a condition that isn't dead as a whole, and fields that are replaced.
    fn parts(&mut self, condition: &Condition, replaced: bool, found: &mut Vec<DeadEnd>) {
        let path = self.path(condition);
        let mut add = |scope, reason| {
            found.push(DeadEnd {
                scope,
                path: display(path),
                reason,
                unless_dotted: false,
            });
        };
        if replaced {
            let reason = "a later field on the same path replaces it";
            add(Scope::Field, reason.to_owned());
            return;
        }
        if self.condition(condition).is_some() {
            return;
        }
        for operator in condition.alternatives() {
            if let Some(reason) = self.alternative(condition, operator) {
                add(Scope::Alternative(operator.describe()), reason);
            }
        }
    }
}
