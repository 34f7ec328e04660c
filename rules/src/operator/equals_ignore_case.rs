//! `{"equals-ignore-case": "x"}`: the same string in any letter case.
//!
//! Each character of the pattern stands for itself, its lower form and its upper form (Unicode's default
//! mappings, which may have several characters): "straße" meets "STRASSE", but "STRASSE" doesn't meet
//! "straße". There is no locale and no normalisation. No form of a character is a proper beginning or end of
//! another form (a test checks all of Unicode). So taking the first form that fits is right, and there is no
//! backtracking.

use crate::pattern::document::{Json, Node};
use crate::pattern::place::{Errors, JsonPlace};
use crate::scalar::{Scalar, quote};

/// The string, as the pattern has it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operand {
    text: Box<str>,
}

/// Reads the operand.
pub(crate) fn parse(
    node: &Node<'_>,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Operand> {
    if let Json::Text(text) = &node.json {
        return Some(Operand {
            text: text.as_ref().into(),
        });
    }
    let reason = format!("equals-ignore-case takes a string, not {}", node.kind());
    let remedy = "write {\"equals-ignore-case\": \"…\"}, once for each alternative";
    errors.add(node.offset, place, reason, remedy);
    None
}

impl Operand {
    /// Whether the value is a string of these characters in any letter case.
    pub(crate) fn matches(&self, value: &Scalar<'_>) -> bool {
        match value {
            Scalar::Text(value) => self.strip_front(value).is_some_and(str::is_empty),
            _ => false,
        }
    }

    /// The characters, as the pattern has them.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// As a pattern writes it.
    pub(crate) fn describe(&self) -> String {
        format!("{{\"equals-ignore-case\": {}}}", quote(&self.text))
    }

    /// What it wants, in words.
    pub(crate) fn in_words(&self) -> String {
        format!("{} in any letter case", quote(&self.text))
    }

    /// The rest of the value, if it starts with these characters.
    pub(crate) fn strip_front<'v>(&self, value: &'v str) -> Option<&'v str> {
        strip_front(&self.text, value)
    }

    /// The beginning of the value, if it ends with these characters.
    pub(crate) fn strip_back<'v>(&self, value: &'v str) -> Option<&'v str> {
        strip_back(&self.text, value)
    }
}

/// The rest of the value, if it starts with this text in any letter case.
pub(crate) fn strip_front<'v>(text: &str, value: &'v str) -> Option<&'v str> {
    text.chars().try_fold(value, |value, wanted| {
        front(value, [wanted])
            .or_else(|| front(value, wanted.to_lowercase()))
            .or_else(|| front(value, wanted.to_uppercase()))
    })
}

/// The beginning of the value, if it ends with this text in any letter case.
pub(crate) fn strip_back<'v>(text: &str, value: &'v str) -> Option<&'v str> {
    text.chars().rev().try_fold(value, |value, wanted| {
        back(value, [wanted])
            .or_else(|| back(value, wanted.to_lowercase()))
            .or_else(|| back(value, wanted.to_uppercase()))
    })
}

fn front(value: &str, form: impl IntoIterator<Item = char>) -> Option<&str> {
    let mut characters = value.chars();
    for wanted in form {
        if characters.next() != Some(wanted) {
            return None;
        }
    }
    Some(characters.as_str())
}

fn back<I>(value: &str, form: I) -> Option<&str>
where
    I: IntoIterator<Item = char, IntoIter: DoubleEndedIterator>,
{
    let mut characters = value.chars();
    for wanted in form.into_iter().rev() {
        if characters.next_back() != Some(wanted) {
            return None;
        }
    }
    Some(characters.as_str())
}
