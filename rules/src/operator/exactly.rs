//! `{"exactly": ["a", "b"]}`: an array whose values are these, no more and no fewer, in any order.
//!
//! An extension of ours. With a string instead of a list it is that literal, as in EventBridge. It tests the
//! values of one array together, so `matches` is false for every single value. The matcher forms the arrays
//! and calls `matches_list`. A value that is listed twice has to occur twice. Equality is that of literals,
//! which is an equivalence relation. So it is right to take the first equal value.

use super::exact;
use crate::limits::LISTED_CONDITIONS_MAX;
use crate::pattern::document::{Json, Node};
use crate::pattern::place::{Errors, JsonPlace};
use crate::scalar::Scalar;

/// The values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operand {
    values: Box<[exact::Operand]>,
}

const REMEDY: &str =
    "write {\"exactly\": [\"a\", \"b\"]}, or contains-all if other values may stand beside";

/// Reads the operand, a list.
pub(crate) fn parse(
    node: &Node<'_>,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Operand> {
    let Json::List(elements) = &node.json else {
        let reason = format!("exactly takes a string or a list, not {}", node.kind());
        let remedy = "write {\"exactly\": \"…\"}, or the plain value without an operator";
        errors.add(node.offset, place, reason, remedy);
        return None;
    };
    if elements.is_empty() {
        let reason = "an empty list in exactly";
        let remedy = "write {\"exists\": false}: an empty array has no values";
        errors.add(node.offset, place, reason, remedy);
        return None;
    }
    if elements.len() > LISTED_CONDITIONS_MAX {
        let reason = format!("more than {LISTED_CONDITIONS_MAX} values in exactly, the limit");
        errors.add(node.offset, place, reason, "write fewer values");
        return None;
    }
    let mut values = Vec::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        let place = JsonPlace::Index(place, index);
        if let Json::List(_) | Json::Object(_) = element.json {
            let reason = format!("{} in exactly, which takes literals", element.kind());
            errors.add(element.offset, &place, reason, REMEDY);
            return None;
        }
        values.push(exact::parse(element, &place, errors)?);
    }
    Some(Operand {
        values: values.into(),
    })
}

impl Operand {
    /// No value meets it alone.
    pub(crate) fn matches(&self, _value: &Scalar<'_>) -> bool {
        false
    }

    /// Whether the values of an array are these.
    pub(crate) fn matches_list(&self, values: &[&Scalar<'_>]) -> bool {
        if values.len() != self.values.len() {
            return false;
        }
        let mut wanted: Vec<&exact::Operand> = self.values.iter().collect();
        values.iter().all(|value| {
            let place = wanted.iter().position(|literal| literal.matches(value));
            place.map(|place| wanted.swap_remove(place)).is_some()
        })
    }

    /// The values, in reading order.
    pub(crate) fn values(&self) -> &[exact::Operand] {
        &self.values
    }

    /// As a pattern writes it.
    pub(crate) fn describe(&self) -> String {
        format!(
            "{{\"exactly\": [{}]}}",
            super::listed(&self.values, exact::Operand::describe)
        )
    }

    /// What it wants, in words.
    pub(crate) fn in_words(&self) -> String {
        format!(
            "exactly {} in one array",
            super::listed(&self.values, exact::Operand::describe)
        )
    }
}
