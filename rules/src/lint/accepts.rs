//! Whether a pattern can match an event with a certain string at a certain path.
//!
//! This finds the rules that want a `type` that never occurs. *False* is certain. *True* only means that this
//! string does not prevent a match.

use super::relation::{Budget, is_empty};
use crate::pattern::{Condition, Pattern};
use crate::scalar::Scalar;
use std::borrow::Cow;
use std::collections::BTreeSet;

impl Pattern {
    /// Whether some event can match that has this string at this path, as the only value there and outside of
    /// arrays. The path's segments are joined by dots.
    pub fn accepts(&self, path: &str, text: &str) -> bool {
        let value = Scalar::Text(Cow::Borrowed(text));
        let mut budget = Budget::new();
        self.branches().iter().any(|branch| {
            branch.iter().all(|&index| {
                let condition = &self.conditions()[usize::from(index)];
                if self.is_at(condition, path) {
                    return condition.matches(&value) || condition.matches_list(&[&value]);
                }
                let mut alternatives = condition.alternatives().iter();
                condition.by_absence
                    || !alternatives.all(|operator| is_empty(operator, &mut budget))
            })
        })
    }

    /// What the pattern's fields at this path want, as a pattern writes it, each once and in reading order.
    /// Empty if no sub-rule has a field at this path, so that any value is accepted.
    pub fn wanted_at(&self, path: &str) -> Vec<String> {
        let used: BTreeSet<u16> = self.branches().iter().flatten().copied().collect();
        let used = used
            .iter()
            .map(|&index| &self.conditions()[usize::from(index)]);
        let mut wanted = Vec::new();
        for condition in used.filter(|condition| self.is_at(condition, path)) {
            for operator in condition.alternatives() {
                let described = operator.describe();
                if !wanted.contains(&described) {
                    wanted.push(described);
                }
            }
        }
        wanted
    }

    fn is_at(&self, condition: &Condition, path: &str) -> bool {
        let own = &self.paths()[usize::from(condition.path)];
        own.iter().map(|segment| &**segment).eq(path.split('.'))
    }
}
