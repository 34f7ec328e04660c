//! Multiplies out `$or`: a pattern becomes sub-rules, each of them a conjunction.
//!
//! If a sub-rule would have two conditions on one path, the later one in reading order replaces the earlier,
//! as with any duplicate key: `{"a":[1],"$or":[{"a":[2]},{"b":[3]}]}` means a = 2, or a = 1 and b = 3.
//! `count` runs first, so `branches` never builds more sub-rules than the limit.

use super::Branch;
use super::fields::Clause;
use super::leaf::Condition;

/// How many sub-rules the clauses make. Saturates.
pub(crate) fn count(clauses: &[Clause]) -> usize {
    clauses
        .iter()
        .fold(1, |product: usize, clause| match clause {
            Clause::Field(_) => product,
            Clause::Any(alternatives) => {
                let sum = alternatives
                    .iter()
                    .fold(0, |sum: usize, inner| sum.saturating_add(count(inner)));
                product.saturating_mul(sum)
            }
        })
}

/// The sub-rules, in reading order.
pub(crate) fn branches(clauses: &[Clause], conditions: &[Condition]) -> Vec<Branch> {
    extend(vec![Branch::new()], clauses, conditions)
}

fn extend(seeds: Vec<Branch>, clauses: &[Clause], conditions: &[Condition]) -> Vec<Branch> {
    clauses
        .iter()
        .fold(seeds, |mut branches, clause| match clause {
            Clause::Field(index) => {
                for branch in &mut branches {
                    add(branch, *index, conditions);
                }
                branches
            }
            Clause::Any(alternatives) => branches
                .into_iter()
                .flat_map(|branch| {
                    alternatives
                        .iter()
                        .flat_map(move |inner| extend(vec![branch.clone()], inner, conditions))
                })
                .collect(),
        })
}

fn add(branch: &mut Branch, index: u16, conditions: &[Condition]) {
    let path = conditions[usize::from(index)].path;
    branch.retain(|&earlier| conditions[usize::from(earlier)].path != path);
    branch.push(index);
}
