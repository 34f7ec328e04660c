//! `{"prefix": "x"}` and `{"prefix": {"equals-ignore-case": "x"}}`: a string that starts so.
//!
//! `""` is met by every string. Nothing but strings ever meets it.

use super::equals_ignore_case;
use crate::pattern::document::{Json, Node};
use crate::pattern::place::{Errors, JsonPlace};
use crate::scalar::{Scalar, quote};

/// How the string has to start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    Text(Box<str>),
    IgnoreCase(equals_ignore_case::Operand),
}

/// Reads the operand.
pub(crate) fn parse(
    node: &Node<'_>,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Operand> {
    match &node.json {
        Json::Text(text) => Some(Operand::Text(text.as_ref().into())),
        Json::Object(members) => {
            let remedy = "write {\"prefix\": {\"equals-ignore-case\": \"…\"}}";
            match members.as_slice() {
                [only] if only.key == "equals-ignore-case" => {
                    let place = JsonPlace::Key(place, &only.key);
                    equals_ignore_case::parse(&only.value, &place, errors).map(Operand::IgnoreCase)
                }
                [only] => {
                    let reason = format!("unknown operator {} in prefix", quote(&only.key));
                    errors.add(only.offset, place, reason, remedy);
                    None
                }
                _ => {
                    let reason = "prefix takes an object of exactly one key";
                    errors.add(node.offset, place, reason, remedy);
                    None
                }
            }
        }
        _ => {
            let reason = format!("prefix takes a string, not {}", node.kind());
            let remedy = "write {\"prefix\": \"…\"}, once for each alternative";
            errors.add(node.offset, place, reason, remedy);
            None
        }
    }
}

impl Operand {
    /// Whether the value is a string that starts so.
    pub(crate) fn matches(&self, value: &Scalar<'_>) -> bool {
        let Scalar::Text(value) = value else {
            return false;
        };
        match self {
            Operand::Text(wanted) => value.starts_with(&**wanted),
            Operand::IgnoreCase(wanted) => wanted.strip_front(value).is_some(),
        }
    }

    /// As a pattern writes it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Operand::Text(text) => format!("{{\"prefix\": {}}}", quote(text)),
            Operand::IgnoreCase(operand) => format!("{{\"prefix\": {}}}", operand.describe()),
        }
    }

    /// What it wants, in words.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Operand::Text(text) => format!("a string starting with {}", quote(text)),
            Operand::IgnoreCase(operand) => {
                format!("a string starting with {}", operand.in_words())
            }
        }
    }
}
