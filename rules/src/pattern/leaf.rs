//! Reads a field's list: the alternatives, at least one of which has to hold.
//!
//! Each alternative is a literal or an object of exactly one operator. Lists don't nest. An empty list is
//! refused, because it could never hold.

use super::Dialect;
use super::document::{Json, Member, Node};
use super::place::{Errors, JsonPlace};
use crate::operator::{NAMES, Operator, exact, is_extension, nearest};
use crate::scalar::{Scalar, quote};

/// A condition of a pattern on one path.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    /// Index of the path among the pattern's paths.
    pub(crate) path: u16,
    /// Whether the condition is met when there is no value.
    pub(crate) by_absence: bool,
    /// Whether an alternative depends on all values of one array together.
    needs_all_values: bool,
    alternatives: Box<[Operator]>,
}

impl Condition {
    pub(crate) fn new(path: u16, alternatives: Vec<Operator>) -> Condition {
        let by_absence = alternatives.iter().any(Operator::by_absence);
        Condition {
            path,
            by_absence,
            needs_all_values: alternatives.iter().any(Operator::needs_all_values),
            alternatives: alternatives.into(),
        }
    }

    /// Whether an alternative depends on all values of one array together. Then the values have to be checked
    /// list by list too (`matches_list`).
    pub(crate) fn needs_all_values(&self) -> bool {
        self.needs_all_values
    }

    /// Whether the values of one array together meet the condition.
    pub(crate) fn matches_list(&self, values: &[&Scalar<'_>]) -> bool {
        self.alternatives
            .iter()
            .any(|operator| operator.matches_list(values))
    }

    /// Whether a value alone meets the condition.
    pub(crate) fn matches(&self, value: &Scalar<'_>) -> bool {
        self.alternatives
            .iter()
            .any(|operator| operator.matches(value))
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
    dialect: Dialect,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Vec<Operator> {
    if elements.is_empty() {
        let remedy = "write at least one value; [{\"exists\": false}] means none";
        errors.add(node.offset, place, "an empty list", remedy);
    }
    let mut alternatives = Vec::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        let place = JsonPlace::Index(place, index);
        let operator = match &element.json {
            Json::Object(members) => one_operator(element, members, dialect, &place, errors),
            Json::List(_) => {
                let reason = "a list inside a field's list";
                let remedy = "write its values without the inner brackets";
                errors.add(element.offset, &place, reason, remedy);
                None
            }
            _ => exact::parse(element, &place, errors).map(Operator::Exact),
        };
        alternatives.extend(operator);
    }
    alternatives
}

fn one_operator(
    node: &Node<'_>,
    members: &[Member<'_>],
    dialect: Dialect,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Operator> {
    if let [member] = members {
        let place = JsonPlace::Key(place, &member.key);
        if dialect == Dialect::EventBridge && !strict(member, &place, errors) {
            return None;
        }
        return Operator::parse(&member.key, member.offset, &member.value, &place, errors);
    }
    let reason = format!("{} keys where one operator is needed", members.len());
    let remedy = "write one object for each operator: [{\"prefix\": \"a\"}, {\"suffix\": \"z\"}]";
    errors.add(node.offset, place, reason, remedy);
    None
}

/// Whether EventBridge knows an operator. Records an error if it doesn't.
fn strict(member: &Member<'_>, place: &JsonPlace<'_>, errors: &mut Errors) -> bool {
    if is_extension(&member.key, &member.value) {
        let reason = match member.value.json {
            _ if !NAMES.contains(&&*member.key) => member.key.to_string(),
            Json::List(_) => format!("{} with a list", member.key),
            _ => format!("{} with an object", member.key),
        };
        let reason = format!("{reason} is an extension of edgebus, which EventBridge doesn't have");
        let remedy = "write it with EventBridge's operators, or as a pattern of edgebus";
        errors.add(member.offset, place, reason, remedy);
        return false;
    }
    if !NAMES.contains(&&*member.key) {
        let reason = format!("unknown operator {}", quote(&member.key));
        errors.add(member.offset, place, reason, nearest(&member.key, NAMES));
        return false;
    }
    true
}
