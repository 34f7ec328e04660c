//! Why a pattern matches an event, or doesn't.
//!
//! The verdict is the plain matcher's own, asked branch by branch and condition by condition, so an
//! explanation can't disagree with a match. What is shown is bounded: values and operands are cut,
//! and so is the number of sub-rules; a sub-rule that matched is never the one left out.

use crate::error::EventFault;
use crate::flatten::{self, Duplicates, Part};
use crate::limits::{EXPLAINED_BRANCHES_MAX, EXPLAINED_VALUES_MAX};
use crate::naive::{Sight, intern};
use crate::operator::Operator;
use crate::path::{TrieBuilder, display};
use crate::pattern::{Condition, Pattern};
use std::fmt;

/// Why a pattern matches an event, or doesn't.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Explanation {
    /// Whether the pattern matches: whether one of its sub-rules does.
    pub matched: bool,
    /// How many sub-rules the pattern has once every `$or` is multiplied out.
    pub sub_rules: usize,
    /// The sub-rules in reading order: all of them, up to a bound.
    pub branches: Vec<BranchExplanation>,
}

/// What one sub-rule made of the event.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BranchExplanation {
    /// Its number among the sub-rules, counted from zero.
    pub sub_rule: usize,
    /// Whether it matches.
    pub matched: bool,
    /// Index of the first condition, in reading order, that no value met.
    pub first_missed: Option<usize>,
    /// Every condition holds by itself, but not with values from the same element of an array.
    pub array_inconsistent: bool,
    /// Its conditions, in reading order.
    pub conditions: Vec<ConditionExplanation>,
}

/// What one condition made of the event.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ConditionExplanation {
    /// The field, its segments joined by dots, after aliases.
    pub path: String,
    /// The alternatives, as a pattern writes them.
    pub wanted: Vec<String>,
    /// The first few values at the path, as JSON, each cut to a bounded excerpt.
    pub seen: Vec<String>,
    /// How many values there are at the path.
    pub seen_total: usize,
    /// Whether it holds: in a sub-rule that matches, together with the others; else by itself.
    pub held: bool,
    /// The first alternative that held.
    pub held_by: Option<String>,
}

/// Says why a pattern matches an event, or doesn't. Of duplicate keys the last one counts.
///
/// # Errors
/// As [`RuleSet::matches`](crate::RuleSet::matches).
pub fn explain(pattern: &Pattern, event: &[Part<'_>]) -> Result<Explanation, EventFault> {
    let mut builder = TrieBuilder::new();
    let paths = intern(pattern, &mut builder);
    let flat = flatten::parts(&builder.build(), event, Duplicates::LastWins)?;
    let mut sight = Sight::new(pattern, &paths, &flat);
    let mut shown = Vec::with_capacity(pattern.branches().len());
    for (sub_rule, branch) in pattern.branches().iter().enumerate() {
        shown.push((!sight.meets(branch)?, sub_rule));
    }
    shown.sort_unstable();
    let matched = shown.first().is_some_and(|(missed, _)| !missed);
    shown.truncate(EXPLAINED_BRANCHES_MAX);
    shown.sort_unstable_by_key(|&(_, sub_rule)| sub_rule);
    let mut branches = Vec::with_capacity(shown.len());
    for (missed, sub_rule) in shown {
        branches.push(explain_branch(
            &mut sight,
            pattern,
            sub_rule,
            !missed,
            |condition, path| {
                let values = flat.values(path);
                let by = held_by(condition, values.iter().map(|value| &value.scalar));
                let seen = values.iter().take(EXPLAINED_VALUES_MAX);
                (
                    seen.map(|value| value.scalar.excerpt()).collect(),
                    values.len(),
                    by,
                )
            },
        )?);
    }
    Ok(Explanation {
        matched,
        sub_rules: pattern.branches().len(),
        branches,
    })
}

/// The values at a path (a few of them, and how many), and the alternative that one of them met.
type Seen = (Vec<String>, usize, Option<String>);

fn explain_branch(
    sight: &mut Sight<'_>,
    pattern: &Pattern,
    sub_rule: usize,
    matched: bool,
    look: impl Fn(&Condition, u32) -> Seen,
) -> Result<BranchExplanation, EventFault> {
    let branch = &pattern.branches()[sub_rule];
    let mut conditions = Vec::with_capacity(branch.len());
    for &index in branch {
        let condition = &pattern.conditions()[usize::from(index)];
        let held = matched || sight.meets(&[index])?;
        let (seen, seen_total, by_value) = look(condition, sight.path(condition));
        let absent = || Some("{\"exists\": false}".to_owned());
        let path = &pattern.paths()[usize::from(condition.path)];
        conditions.push(ConditionExplanation {
            path: display(path),
            wanted: condition
                .alternatives()
                .iter()
                .map(Operator::describe)
                .collect(),
            seen,
            seen_total,
            held,
            held_by: by_value.or_else(absent).filter(|_| held),
        });
    }
    let first_missed = conditions.iter().position(|condition| !condition.held);
    Ok(BranchExplanation {
        sub_rule,
        matched,
        first_missed,
        array_inconsistent: !matched && first_missed.is_none(),
        conditions,
    })
}

fn held_by<'s>(
    condition: &Condition,
    mut values: impl Iterator<Item = &'s crate::scalar::Scalar<'s>> + Clone,
) -> Option<String> {
    let held = condition
        .alternatives()
        .iter()
        .find(|operator| values.clone().any(|value| operator.matches(value)));
    values.next().and(held).map(Operator::describe)
}

impl fmt::Display for Explanation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{}",
            if self.matched {
                "matched"
            } else {
                "not matched"
            }
        )?;
        for branch in &self.branches {
            if self.sub_rules > 1 {
                let verdict = if branch.matched { "matched" } else { "missed" };
                writeln!(
                    out,
                    "sub-rule {} of {}: {verdict}",
                    branch.sub_rule + 1,
                    self.sub_rules
                )?;
            }
            write!(out, "{branch}")?;
        }
        match self.sub_rules - self.branches.len() {
            0 => Ok(()),
            more => writeln!(out, "{more} more sub-rules not shown"),
        }
    }
}

impl fmt::Display for BranchExplanation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, condition) in self.conditions.iter().enumerate() {
            let mark = match (condition.held, self.first_missed == Some(index)) {
                (true, _) => "held  ",
                (false, true) => "MISSED",
                (false, false) => "missed",
            };
            writeln!(out, "  {mark} {condition}")?;
        }
        if self.array_inconsistent {
            writeln!(
                out,
                "  each condition holds, but not within the same element of an array"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for ConditionExplanation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: wanted {}", self.path, self.wanted.join(" or "))?;
        match self.seen_total - self.seen.len() {
            _ if self.seen_total == 0 => write!(out, "; no value")?,
            0 => write!(out, "; saw {}", self.seen.join(", "))?,
            more => write!(out, "; saw {} and {more} more", self.seen.join(", "))?,
        }
        match &self.held_by {
            Some(by) if self.wanted.len() > 1 => write!(out, "; held by {by}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
