//! A field's list: the alternatives, one of which has to hold.
//!
//! Each is a literal or an object of exactly one operator. Lists don't nest, and no list is empty:
//! an empty one could never hold, which nobody means.

use super::document::{Json, Member, Node};
use super::place::{Faults, Place};
use crate::operator::{Operator, exact};
use crate::scalar::Scalar;

/// What a pattern asks at one path.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    /// Index of the path among the pattern's.
    pub(crate) path: u16,
    /// Whether there being no value meets it.
    pub(crate) by_absence: bool,
    alternatives: Box<[Operator]>,
}

impl Condition {
    pub(crate) fn new(path: u16, alternatives: Vec<Operator>) -> Condition {
        let by_absence = alternatives
            .iter()
            .any(|operator| matches!(operator, Operator::Exists(exists) if exists.by_absence()));
        Condition {
            path,
            by_absence,
            alternatives: alternatives.into(),
        }
    }

    /// Whether a value meets it.
    pub(crate) fn matches(&self, value: &Scalar<'_>) -> bool {
        self.alternatives
            .iter()
            .any(|operator| operator.matches(value))
    }

    /// Whether it asks something of several values together. No operator does yet.
    pub(crate) fn needs_all_values(&self) -> bool {
        false
    }

    /// The alternatives, in reading order.
    pub(crate) fn alternatives(&self) -> &[Operator] {
        &self.alternatives
    }
}

/// Reads a field's list.
pub(crate) fn alternatives(
    node: &Node<'_>,
    elements: &[Node<'_>],
    place: &Place<'_>,
    faults: &mut Faults,
) -> Vec<Operator> {
    if elements.is_empty() {
        let remedy = "write at least one value; [{\"exists\": false}] means none";
        faults.add(node.offset, place, "an empty list", remedy);
    }
    let mut alternatives = Vec::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        let place = Place::Index(place, index);
        let operator = match &element.json {
            Json::Object(members) => one_operator(element, members, &place, faults),
            Json::List(_) => {
                let reason = "a list inside a field's list";
                let remedy = "write its values without the inner brackets";
                faults.add(element.offset, &place, reason, remedy);
                None
            }
            _ => exact::parse(element, &place, faults).map(Operator::Exact),
        };
        alternatives.extend(operator);
    }
    alternatives
}

fn one_operator(
    node: &Node<'_>,
    members: &[Member<'_>],
    place: &Place<'_>,
    faults: &mut Faults,
) -> Option<Operator> {
    if let [member] = members {
        let place = Place::Key(place, &member.key);
        return Operator::parse(&member.key, member.offset, &member.value, &place, faults);
    }
    let reason = format!("{} keys where one operator is needed", members.len());
    let remedy = "write one object for each operator: [{\"prefix\": \"a\"}, {\"suffix\": \"z\"}]";
    faults.add(node.offset, place, reason, remedy);
    None
}
