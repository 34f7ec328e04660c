//! `{"all": [{"prefix": "EC2"}, {"not": "EC2Test"}]}`: one value that meets every condition listed.
//!
//! An extension of ours. The alternatives of a field are joined by "or"; these conditions are joined by
//! "and". Absence never meets it.

use super::{Operator, literals_and_operators};
use crate::pattern::document::Node;
use crate::pattern::place::{Errors, JsonPlace};
use crate::scalar::Scalar;

/// The conditions that a value has to meet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operand {
    each: Box<[Operator]>,
}

const REMEDY: &str = "write {\"all\": [{\"prefix\": \"a\"}, {\"not\": \"ab\"}]}";

/// Reads the operand.
pub(crate) fn parse(
    node: &Node<'_>,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Operand> {
    let each = literals_and_operators("all", node, REMEDY, place, errors)?;
    Some(Operand { each: each.into() })
}

impl Operand {
    /// Whether the value meets every condition.
    pub(crate) fn matches(&self, value: &Scalar<'_>) -> bool {
        self.each.iter().all(|operator| operator.matches(value))
    }

    /// The conditions that a value has to meet.
    pub(crate) fn each(&self) -> &[Operator] {
        &self.each
    }

    /// As a pattern writes it.
    pub(crate) fn describe(&self) -> String {
        format!(
            "{{\"all\": [{}]}}",
            super::listed(&self.each, Operator::describe)
        )
    }

    /// What it wants, in words.
    pub(crate) fn in_words(&self) -> String {
        format!("all of ({})", super::listed(&self.each, Operator::in_words))
    }
}
