//! `{"contains-all": ["bug", {"prefix": "p"}]}`: an array in which each listed alternative is met by
//! some value.
//!
//! An extension of ours. It tests the values of one array together, so `matches` is false for every single
//! value. The matcher forms the arrays and calls `matches_list`. One value may meet several of the
//! alternatives, and other values don't matter.

use super::{Operator, literals_and_operators};
use crate::pattern::document::Node;
use crate::pattern::place::{Errors, JsonPlace};
use crate::scalar::Scalar;

/// The alternatives, each of which has to be met.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operand {
    each: Box<[Operator]>,
}

const REMEDY: &str = "write {\"contains-all\": [\"a\", \"b\"]}";

/// Reads the operand.
pub(crate) fn parse(
    node: &Node<'_>,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Operand> {
    let each = literals_and_operators("contains-all", node, REMEDY, place, errors)?;
    Some(Operand { each: each.into() })
}

impl Operand {
    /// No value meets it alone.
    pub(crate) fn matches(&self, _value: &Scalar<'_>) -> bool {
        false
    }

    /// Whether the values of an array together meet it.
    pub(crate) fn matches_list(&self, values: &[&Scalar<'_>]) -> bool {
        let met = |operator: &Operator| values.iter().any(|value| operator.matches(value));
        self.each.iter().all(met)
    }

    /// The alternatives, each of which has to be met.
    pub(crate) fn each(&self) -> &[Operator] {
        &self.each
    }

    /// As a pattern writes it.
    pub(crate) fn describe(&self) -> String {
        format!(
            "{{\"contains-all\": [{}]}}",
            super::listed(&self.each, Operator::describe)
        )
    }

    /// What it wants, in words.
    pub(crate) fn in_words(&self) -> String {
        format!(
            "all of {} in one array",
            super::listed(&self.each, Operator::in_words)
        )
    }
}
