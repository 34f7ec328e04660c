//! Explains why a pattern matches an event, or why it doesn't.
//!
//! The plain matcher itself decides about each sub-rule and each condition, so an explanation can't
//! contradict a match. What is shown is bounded: values and operands are cut, and so is the number of
//! sub-rules. A sub-rule that matched is always shown. Control characters are shown as escapes, so that no
//! event can send control sequences to a terminal.

mod hint;
mod render;

pub use render::Style;

use crate::error::EventError;
use crate::event::{Duplicates, Part};
use crate::flatten::{self, Flat};
use crate::limits::{EXPLAINED_BRANCHES_MAX, EXPLAINED_VALUES_MAX};
use crate::naive::{MatchContext, intern};
use crate::operator::Operator;
use crate::path::{PathId, TrieBuilder, display};
use crate::pattern::{Condition, Pattern};
use std::cmp::{Ordering, Reverse};

/// Why a pattern matches an event, or why it doesn't. For people it is text in several lines (`{}`, or
/// [`Explanation::render`] with colours). For programs it can be serialized with the names of the fields
/// below.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Explanation {
    /// Whether the pattern matches: at least one of its sub-rules does.
    pub matched: bool,
    /// How many sub-rules the pattern has after every `$or` is multiplied out.
    pub sub_rules: usize,
    /// The sub-rules in reading order, up to a bound.
    pub branches: Vec<BranchExplanation>,
}

/// The result of one sub-rule.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BranchExplanation {
    /// Its number among the sub-rules, counted from zero.
    pub sub_rule: usize,
    /// Whether it matches.
    pub matched: bool,
    /// Index of the first condition, in reading order, that no value met.
    pub first_missed: Option<usize>,
    /// Whether every condition holds by itself, but not with values from the same element of an array.
    pub array_inconsistent: bool,
    /// Its conditions, in reading order.
    pub conditions: Vec<ConditionExplanation>,
}

/// The result of one condition.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ConditionExplanation {
    /// The field, its segments joined by dots, after aliases.
    pub path: String,
    /// The alternatives, as a pattern writes them.
    pub wanted: Vec<String>,
    /// The alternatives in words.
    pub wanted_in_words: Vec<String>,
    /// The first few values at the path, as JSON, each cut to a bounded excerpt.
    pub seen: Vec<String>,
    /// How many values there are at the path.
    pub seen_total: usize,
    /// Whether the condition holds. In a sub-rule that matches, it holds together with the others. In one
    /// that doesn't, it holds by itself, or by absence in an array element where the missed conditions have
    /// their values.
    pub held: bool,
    /// The first alternative that held, as a pattern writes it.
    pub held_by: Option<String>,
    /// The index of that alternative, counted from zero.
    pub held_alternative: Option<usize>,
    /// A hint if a value came close, such as one of another type or in another letter case.
    pub hint: Option<String>,
}

/// How near a pattern came to matching an event. A greater value is nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Nearness {
    /// Whether it matched. This is the nearest.
    pub matched: bool,
    /// How many conditions of the nearest sub-rule hold.
    pub held: usize,
    /// How many conditions the nearest sub-rule has.
    pub total: usize,
}

impl Ord for Nearness {
    fn cmp(&self, other: &Self) -> Ordering {
        let share = (self.held * other.total.max(1)).cmp(&(other.held * self.total.max(1)));
        let matched = self.matched.cmp(&other.matched);
        // If the shares are equal, the one that misses fewer conditions is nearer.
        let missed = |nearness: &Nearness| Reverse(nearness.total - nearness.held);
        matched
            .then(share)
            .then_with(|| missed(self).cmp(&missed(other)))
            .then_with(|| self.held.cmp(&other.held))
    }
}

impl PartialOrd for Nearness {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Explanation {
    /// The sub-rule that matched, or else the nearest one: the one with the largest share of conditions that
    /// hold. If several are equal, the first.
    pub fn nearest_branch(&self) -> Option<&BranchExplanation> {
        let best = self
            .branches
            .iter()
            .map(BranchExplanation::nearness)
            .max()?;
        self.branches
            .iter()
            .find(|branch| branch.nearness() == best)
    }

    /// How near the pattern came: the nearness of its nearest sub-rule.
    pub fn nearness(&self) -> Nearness {
        let none = Nearness {
            matched: false,
            held: 0,
            total: 0,
        };
        self.nearest_branch()
            .map_or(none, BranchExplanation::nearness)
    }

    /// The first condition that the nearest sub-rule missed. `None` if the pattern matched, or if each
    /// condition holds but not in the same element of an array.
    pub fn missed(&self) -> Option<&ConditionExplanation> {
        self.nearest_branch()?.missed()
    }
}

impl BranchExplanation {
    /// How near the sub-rule came.
    pub fn nearness(&self) -> Nearness {
        Nearness {
            matched: self.matched,
            held: self
                .conditions
                .iter()
                .filter(|condition| condition.held)
                .count(),
            total: self.conditions.len(),
        }
    }

    /// The first condition that the sub-rule missed.
    pub fn missed(&self) -> Option<&ConditionExplanation> {
        self.conditions.get(self.first_missed?)
    }
}

/// Explains why a pattern matches an event, or why it doesn't. The event is given by its top-level members.
/// If a key is duplicate, the last one counts.
///
/// # Errors
/// As [`RuleSet::matches`](crate::RuleSet::matches).
pub fn explain(pattern: &Pattern, event: &[Part<'_>]) -> Result<Explanation, EventError> {
    let mut builder = TrieBuilder::new();
    let paths = intern(pattern, &mut builder);
    let flat = flatten::parts(&builder.build(), event, Duplicates::LastWins)?;
    explain_flat(pattern, &paths, &flat)
}

/// The same for an event that is one JSON document, which must be an object.
///
/// # Errors
/// As [`RuleSet::matches_json`](crate::RuleSet::matches_json).
pub fn explain_json(pattern: &Pattern, event: &[u8]) -> Result<Explanation, EventError> {
    let mut builder = TrieBuilder::new();
    let paths = intern(pattern, &mut builder);
    let flat = flatten::document(&builder.build(), event, Duplicates::LastWins)?;
    explain_flat(pattern, &paths, &flat)
}

fn explain_flat(
    pattern: &Pattern,
    paths: &[PathId],
    flat: &Flat<'_>,
) -> Result<Explanation, EventError> {
    let mut context = MatchContext::new(pattern, paths, flat);
    // Whether each condition is met by itself. Sub-rules share conditions.
    let mut alone = vec![None; pattern.conditions().len()];
    let mut shown = Vec::with_capacity(pattern.branches().len());
    for (sub_rule, branch) in pattern.branches().iter().enumerate() {
        let matched = context.meets(branch)?;
        let held = match matched {
            true => branch.len(),
            false => {
                let met = met_alone(&mut context, branch, &mut alone)?;
                met.iter().filter(|met| **met).count()
            }
        };
        let nearness = Nearness {
            matched,
            held,
            total: branch.len(),
        };
        shown.push((Reverse(nearness), sub_rule));
    }
    shown.sort_unstable();
    let matched = shown.first().is_some_and(|(nearest, _)| nearest.0.matched);
    shown.truncate(EXPLAINED_BRANCHES_MAX);
    shown.sort_unstable_by_key(|&(_, sub_rule)| sub_rule);
    let mut branches = Vec::with_capacity(shown.len());
    for (Reverse(nearness), sub_rule) in shown {
        let branch = &pattern.branches()[sub_rule];
        let held = match nearness.matched {
            true => vec![Held::WithAll; branch.len()],
            false => held_in(&mut context, branch, &mut alone)?,
        };
        branches.push(explain_branch(&mut context, pattern, sub_rule, &held)?);
    }
    Ok(Explanation {
        matched,
        sub_rules: pattern.branches().len(),
        branches,
    })
}

/// How a condition of a sub-rule holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    No,
    /// Together with all other conditions.
    WithAll,
    /// By itself, in a sub-rule that doesn't match.
    Alone,
    /// By absence, in an element where the missed conditions have their values.
    Beside,
}

/// Which conditions of a sub-rule are met by themselves. `alone` keeps the results, because sub-rules share
/// conditions.
fn met_alone(
    context: &mut MatchContext<'_>,
    branch: &[u16],
    alone: &mut [Option<bool>],
) -> Result<Vec<bool>, EventError> {
    let mut met = Vec::with_capacity(branch.len());
    for &index in branch {
        let known = &mut alone[usize::from(index)];
        met.push(match known {
            Some(met) => *met,
            None => *known.insert(context.meets(&[index])?),
        });
    }
    Ok(met)
}

/// How the conditions of a sub-rule that doesn't match hold.
fn held_in(
    context: &mut MatchContext<'_>,
    branch: &[u16],
    alone: &mut [Option<bool>],
) -> Result<Vec<Held>, EventError> {
    let met = met_alone(context, branch, alone)?;
    let beside = context.absent_beside(branch, &met)?;
    let held = met.iter().zip(beside).map(|verdicts| match verdicts {
        (true, _) => Held::Alone,
        (false, true) => Held::Beside,
        (false, false) => Held::No,
    });
    Ok(held.collect())
}

fn explain_branch(
    context: &mut MatchContext<'_>,
    pattern: &Pattern,
    sub_rule: usize,
    held: &[Held],
) -> Result<BranchExplanation, EventError> {
    let branch = &pattern.branches()[sub_rule];
    let mut conditions = Vec::with_capacity(branch.len());
    for (&index, &held) in branch.iter().zip(held) {
        let condition = &pattern.conditions()[usize::from(index)];
        let by_absence = || {
            let mut alternatives = condition.alternatives().iter();
            alternatives.position(Operator::by_absence)
        };
        let alternative = match held {
            Held::No => None,
            Held::WithAll => context.held_within(branch, index, 1)?.first().copied(),
            Held::Alone => context.held_within(&[index], index, 1)?.first().copied(),
            Held::Beside => by_absence(),
        };
        let held = held != Held::No;
        conditions.push(explain_condition(
            context,
            pattern,
            condition,
            held,
            alternative,
        ));
    }
    let first_missed = conditions.iter().position(|condition| !condition.held);
    let matched = held.iter().all(|held| *held == Held::WithAll);
    Ok(BranchExplanation {
        sub_rule,
        matched,
        first_missed,
        array_inconsistent: !matched && first_missed.is_none(),
        conditions,
    })
}

fn explain_condition(
    context: &MatchContext<'_>,
    pattern: &Pattern,
    condition: &Condition,
    held: bool,
    held_alternative: Option<usize>,
) -> ConditionExplanation {
    let alternatives = condition.alternatives();
    let values = context.values(condition);
    let shown = values.iter().take(EXPLAINED_VALUES_MAX);
    ConditionExplanation {
        path: printable(&display(&pattern.paths()[usize::from(condition.path)])),
        wanted: said(alternatives, Operator::describe),
        wanted_in_words: said(alternatives, Operator::in_words),
        seen: shown
            .map(|value| printable(&value.scalar.excerpt()))
            .collect(),
        seen_total: values.len(),
        held,
        held_by: held_alternative.map(|place| printable(&alternatives[place].describe())),
        held_alternative,
        hint: if held {
            None
        } else {
            hint::of(alternatives, values)
        },
    }
}

fn said(alternatives: &[Operator], say: fn(&Operator) -> String) -> Vec<String> {
    let said = alternatives
        .iter()
        .map(|operator| printable(&say(operator)));
    said.collect()
}

/// The text with control characters written as escapes, which JSON allows too.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests;
