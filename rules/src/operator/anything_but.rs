//! `{"anything-but": …}`: a value that is present and not in a set.
//!
//! The set is a string, a number, a list of strings or a list of numbers. Or it is `prefix`, `suffix`,
//! `equals-ignore-case` or `wildcard` with a string or a list of strings. A value of any other kind is not in
//! the set, and neither is null. Absence never meets it, and neither does an empty array. No other operators
//! can stand inside, so nothing nests deeper.

use super::{Operator, exact, nearest};
use crate::pattern::document::{Json, Member, Node};
use crate::pattern::place::{Errors, JsonPlace};
use crate::scalar::Scalar;

/// The set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operand {
    outside: Box<[Operator]>,
}

/// The operators that may be inside.
const INSIDE: [&str; 4] = ["prefix", "suffix", "equals-ignore-case", "wildcard"];

const REMEDY: &str = "write a string, a number, a list of strings or of numbers, \
                      or one of prefix, suffix, equals-ignore-case, wildcard in braces";

/// Reads the operand.
pub(crate) fn parse(
    node: &Node<'_>,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Operand> {
    let outside = match &node.json {
        Json::Text(_) | Json::Number(_) => {
            vec![Operator::Exact(exact::parse(node, place, errors)?)]
        }
        Json::List(elements) => literals(node, elements, place, errors)?,
        Json::Object(members) => match members.as_slice() {
            [only] => inside(only, place, errors)?,
            _ => {
                let reason = "anything-but takes an object of exactly one key";
                errors.add(node.offset, place, reason, REMEDY);
                return None;
            }
        },
        Json::Null | Json::Bool(_) => {
            let reason = format!("anything-but doesn't take {}", node.kind());
            errors.add(node.offset, place, reason, REMEDY);
            return None;
        }
    };
    Some(Operand {
        outside: outside.into(),
    })
}

fn literals(
    node: &Node<'_>,
    elements: &[Node<'_>],
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Vec<Operator>> {
    let Some(first) = elements.first() else {
        errors.add(node.offset, place, "an empty list in anything-but", REMEDY);
        return None;
    };
    let mut literals = Vec::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        let place = JsonPlace::Index(place, index);
        let reason = match &element.json {
            Json::Text(_) | Json::Number(_) if element.kind() == first.kind() => {
                literals.extend(exact::parse(element, &place, errors).map(Operator::Exact));
                continue;
            }
            Json::Text(_) | Json::Number(_) => {
                format!("{} after {} in one list", element.kind(), first.kind())
            }
            _ => format!("{} in anything-but's list", element.kind()),
        };
        let remedy = "write a list of strings or a list of numbers";
        errors.add(element.offset, &place, reason, remedy);
        return None;
    }
    Some(literals)
}

fn inside(
    member: &Member<'_>,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Vec<Operator>> {
    let name = member.key.as_ref();
    let inner = JsonPlace::Key(place, name);
    if !INSIDE.contains(&name) {
        let reason = format!("anything-but doesn't take {}", crate::scalar::quote(name));
        errors.add(member.offset, &inner, reason, nearest(name, &INSIDE));
        return None;
    }
    let Json::List(elements) = &member.value.json else {
        return Some(vec![text(
            name,
            member.offset,
            &member.value,
            &inner,
            errors,
        )?]);
    };
    if elements.is_empty() {
        let reason = format!("an empty list in anything-but's {name}");
        errors.add(
            member.value.offset,
            &inner,
            reason,
            "write at least one string",
        );
        return None;
    }
    let read = elements.iter().enumerate().map(|(index, element)| {
        let place = JsonPlace::Index(&inner, index);
        text(name, member.offset, element, &place, errors)
    });
    read.collect()
}

/// One string of the inner operator.
fn text(
    name: &str,
    name_offset: usize,
    node: &Node<'_>,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Operator> {
    let empty_invalid = matches!(name, "prefix" | "suffix");
    match &node.json {
        Json::Text(text) if text.is_empty() && empty_invalid => {
            let reason = format!("an empty {name} excludes every string");
            errors.add(node.offset, place, reason, "write at least one character");
            None
        }
        Json::Text(_) => Operator::parse(name, name_offset, node, place, errors),
        _ => {
            let reason = format!("anything-but's {name} takes strings, not {}", node.kind());
            let remedy = format!("write {{\"{name}\": \"…\"}} or {{\"{name}\": [\"…\", \"…\"]}}");
            errors.add(node.offset, place, reason, remedy);
            None
        }
    }
}

impl Operand {
    /// Whether the value is not in the set.
    pub(crate) fn matches(&self, value: &Scalar<'_>) -> bool {
        !self.outside.iter().any(|operator| operator.matches(value))
    }

    /// The operators that a value must not meet.
    pub(crate) fn outside(&self) -> &[Operator] {
        &self.outside
    }

    /// As a pattern writes it.
    pub(crate) fn describe(&self) -> String {
        let outside = super::listed(&self.outside, |operator| match operator.operand() {
            Some((_, text)) => text,
            None => operator.describe(),
        });
        // All of them are the same operator, or literals.
        match self.outside.first().and_then(Operator::operand) {
            Some((name, text)) if self.outside.len() == 1 => {
                format!("{{\"anything-but\": {{\"{name}\": {text}}}}}")
            }
            Some((name, _)) => format!("{{\"anything-but\": {{\"{name}\": [{outside}]}}}}"),
            None => format!("{{\"anything-but\": [{outside}]}}"),
        }
    }

    /// What it wants, in words.
    pub(crate) fn in_words(&self) -> String {
        let outside = super::listed(&self.outside, Operator::in_words);
        match &*self.outside {
            [_] => format!("anything but {outside}"),
            _ => format!("anything but one of ({outside})"),
        }
    }
}

impl Operator {
    /// The name and the text of an operator that may be inside.
    fn operand(&self) -> Option<(&'static str, String)> {
        let name = match self {
            Operator::Prefix(_) => "prefix",
            Operator::Suffix(_) => "suffix",
            Operator::EqualsIgnoreCase(_) => "equals-ignore-case",
            Operator::Wildcard(_) => "wildcard",
            _ => return None,
        };
        let written = self.describe();
        let text = written.strip_prefix(&format!("{{\"{name}\": "))?;
        Some((name, text.strip_suffix('}')?.to_owned()))
    }
}
