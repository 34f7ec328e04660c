//! Finds queries whose cost may grow faster than the event's size. Needs no event.
//!
//! Most queries can't be like this: children are disjoint, and parts that are the same for the whole event
//! are evaluated once. The others multiply: `..` below `..`, lists that select a node more than once, and
//! regexes that each node brings. Never here: a refusal, because the budget of steps limits every query.

use super::plan::{Condition, Expression, From, Nodes, Operand, Plan, Segment, Selector, Step};

/// How often one query may select a node, through lists that name it more than once, before a warning.
const REPEATS_MAX: usize = 16;

/// The reason why the cost may grow faster than the event, if it may.
pub(super) fn of(plan: &Plan) -> Option<&'static str> {
    let mut reason = segments(&plan.segments, Way::default());
    for one in &plan.conditions {
        reason = reason.or_else(|| condition(one, Way::default()));
    }
    for one in &plan.operands {
        reason = reason.or_else(|| operand(one, Way::default()));
    }
    reason
}

/// The segments between the top and a place in the query.
#[derive(Clone, Copy)]
struct Way {
    descents: usize,
    repeats: usize,
}

impl Default for Way {
    fn default() -> Self {
        Way {
            descents: 0,
            repeats: 1,
        }
    }
}

fn segments(all: &[Segment], mut way: Way) -> Option<&'static str> {
    for segment in all {
        let selectors = match segment {
            Segment::Children(selectors) => selectors,
            Segment::Descendants(selectors) => {
                way.descents += 1;
                selectors
            }
        };
        if way.descents > 1 {
            return Some("`..` below another `..` looks at a node once for each level above it");
        }
        way.repeats = way.repeats.saturating_mul(overlaps(selectors));
        if way.repeats > REPEATS_MAX {
            return Some("lists that select a node more than once multiply each other");
        }
        let filters = selectors.iter().find_map(|selector| match selector {
            Selector::Filter(filter) => condition(filter, way),
            _ => None,
        });
        if filters.is_some() {
            return filters;
        }
    }
    None
}

/// How often a list may select the same child.
fn overlaps(selectors: &[Selector]) -> usize {
    let several = |selector: &&Selector| {
        !matches!(selector, Selector::Step(Step::Member(_) | Step::Element(_)))
    };
    let several = selectors.iter().filter(several).count();
    let equal = |one: &Selector| selectors.iter().filter(|other| *other == one).count();
    selectors.iter().map(equal).max().unwrap_or(1).max(several)
}

fn condition(one: &Condition, way: Way) -> Option<&'static str> {
    match one {
        Condition::Or(all) | Condition::And(all) => all.iter().find_map(|one| condition(one, way)),
        Condition::Not(one) => condition(one, way),
        Condition::Exists(of) => nodes(of, way),
        Condition::Compare(left, _, right) => operand(left, way).or_else(|| operand(right, way)),
        Condition::Regex(_, Expression::OfEvent(form, _)) if !form.is_constant() => {
            Some("a regex that differs from node to node is compiled for each")
        }
        Condition::Regex(text, _) => operand(text, way),
        // It is evaluated once, wherever it is.
        Condition::Once(_) => None,
    }
}

fn operand(one: &Operand, way: Way) -> Option<&'static str> {
    match one {
        Operand::Count(of) | Operand::Value(of) => nodes(of, way),
        Operand::Length(of) => operand(of, way),
        Operand::Literal(_) | Operand::Place(..) | Operand::Once(_) => None,
    }
}

fn nodes(of: &Nodes, way: Way) -> Option<&'static str> {
    match of {
        Nodes::Place(..) => None,
        Nodes::All(From::Current, all) => segments(all, way),
        Nodes::All(From::Top, all) => segments(all, Way::default()),
    }
}
