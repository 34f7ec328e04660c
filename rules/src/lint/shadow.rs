//! Proves that one pattern matches only what another one matches too.
//!
//! A sub-rule implies another one if, for each condition of the other, it has a condition on the same path
//! that implies it. Then the values chosen for the first also serve for the second. Absence is not chosen: it
//! depends on all values that are. So where absence may meet a condition, both sub-rules must have the same
//! paths and no conditions on lists.

use super::relation::{Budget, implies};
use crate::operator::Operator;
use crate::path::Path;
use crate::pattern::{Branch, Condition, Pattern};

/// How the sets of events that two patterns match relate, if that is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// Both match the same events.
    Same,
    /// The first matches only what the second matches as well.
    FirstWithinSecond,
    /// The second matches only what the first matches as well.
    SecondWithinFirst,
}

/// How the sets of events that two patterns match relate. `None` if nothing is certain.
pub fn overlap(first: &Pattern, second: &Pattern) -> Option<Overlap> {
    match (is_within(first, second), is_within(second, first)) {
        (true, true) => Some(Overlap::Same),
        (true, false) => Some(Overlap::FirstWithinSecond),
        (false, true) => Some(Overlap::SecondWithinFirst),
        (false, false) => None,
    }
}

/// Whether it is certain that `wide` matches every event that `narrow` matches.
pub fn is_within(narrow: &Pattern, wide: &Pattern) -> bool {
    let mut budget = Budget::new();
    let narrow = Side { pattern: narrow };
    let wide = Side { pattern: wide };
    narrow.pattern.branches().iter().all(|branch| {
        let mut others = wide.pattern.branches().iter();
        others.any(|other| branch_within(narrow, branch, wide, other, &mut budget))
    })
}

#[derive(Clone, Copy)]
struct Side<'p> {
    pattern: &'p Pattern,
}

impl<'p> Side<'p> {
    fn condition(self, index: u16) -> &'p Condition {
        &self.pattern.conditions()[usize::from(index)]
    }

    fn path(self, condition: &Condition) -> &'p Path {
        &self.pattern.paths()[usize::from(condition.path)]
    }
}

fn branch_within(
    narrow: Side<'_>,
    branch: &Branch,
    wide: Side<'_>,
    other: &Branch,
    budget: &mut Budget,
) -> bool {
    let mut absence = false;
    let mut lists = false;
    let mut identical = branch.len() == other.len();
    for &index in other {
        let wanted = wide.condition(index);
        let path = wide.path(wanted);
        let own = branch.iter().find_map(|&index| {
            let own = narrow.condition(index);
            (budget.spend() && narrow.path(own) == path).then_some(own)
        });
        let Some(own) = own else {
            return false;
        };
        if !condition_within(own, wanted, budget) {
            return false;
        }
        absence |= own.by_absence;
        lists |= wanted.needs_all_values();
        identical &= own.alternatives() == wanted.alternatives();
    }
    // Each path occurs once in a sub-rule, and this one has all paths of the other.
    identical || !absence || (branch.len() == other.len() && !lists)
}

/// Whether what meets one condition meets the other. Values and lists are compared separately.
fn condition_within(narrow: &Condition, wide: &Condition, budget: &mut Budget) -> bool {
    if narrow.alternatives() == wide.alternatives() {
        return true;
    }
    narrow.alternatives().iter().all(|own| {
        if own.by_absence() {
            return wide.by_absence;
        }
        let mut alternatives = wide.alternatives().iter();
        alternatives.any(|wanted| alternative_within(own, wanted, budget))
    })
}

fn alternative_within(narrow: &Operator, wide: &Operator, budget: &mut Budget) -> bool {
    let mut one_of = |narrow: &Operator, wide: &Operator| implies(narrow, wide, budget);
    match (narrow, wide) {
        (Operator::Exactly(narrow), Operator::Exactly(wide)) => narrow == wide,
        (Operator::Exactly(narrow), Operator::ContainsAll(wide)) => {
            let values: Vec<Operator> = narrow
                .values()
                .iter()
                .cloned()
                .map(Operator::Exact)
                .collect();
            let each = wide.each().iter();
            each.into_iter()
                .all(|wide| values.iter().any(|narrow| one_of(narrow, wide)))
        }
        (Operator::ContainsAll(narrow), Operator::ContainsAll(wide)) => {
            let mut each = wide.each().iter();
            each.all(|wide| narrow.each().iter().any(|narrow| one_of(narrow, wide)))
        }
        // A value is in its own list, and the list belongs to the same element as the value or to one around
        // it.
        (narrow, Operator::ContainsAll(wide)) if !narrow.needs_all_values() => {
            wide.each().iter().all(|wide| one_of(narrow, wide))
        }
        (narrow, wide) => one_of(narrow, wide),
    }
}
