//! `{"not": {"numeric": [">", 5]}}`: a value that is present and meets neither the condition nor any of
//! several.
//!
//! An extension of ours: `anything-but` for every operator. As there, a value of any other kind meets it, and
//! so does null. Absence and an empty array never do. An array does if one of its values does.

use super::{Operator, literal_or_operator, literals_and_operators};
use crate::pattern::document::{Json, Node};
use crate::pattern::place::{Errors, JsonPlace};
use crate::scalar::Scalar;

/// The operators that a value must not meet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operand {
    none: Box<[Operator]>,
}

const REMEDY: &str =
    "write {\"not\": {\"numeric\": [\">\", 5]}}, or a list of what a value must not meet";

/// Reads the operand.
pub(crate) fn parse(
    node: &Node<'_>,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Operand> {
    let none = match &node.json {
        Json::List(_) => literals_and_operators("not", node, REMEDY, place, errors)?,
        _ => vec![literal_or_operator("not", node, place, errors)?],
    };
    Some(Operand { none: none.into() })
}

impl Operand {
    /// Whether the value meets none of the conditions.
    pub(crate) fn matches(&self, value: &Scalar<'_>) -> bool {
        !self.none.iter().any(|operator| operator.matches(value))
    }

    /// The operators that a value must not meet.
    pub(crate) fn outside(&self) -> &[Operator] {
        &self.none
    }

    /// As a pattern writes it.
    pub(crate) fn describe(&self) -> String {
        match &*self.none {
            [only] => format!("{{\"not\": {}}}", only.describe()),
            none => format!("{{\"not\": [{}]}}", super::listed(none, Operator::describe)),
        }
    }

    /// What it wants, in words.
    pub(crate) fn in_words(&self) -> String {
        let none = super::listed(&self.none, Operator::in_words);
        match &*self.none {
            [_] => format!("a value that isn't {none}"),
            _ => format!("a value that is none of ({none})"),
        }
    }
}
