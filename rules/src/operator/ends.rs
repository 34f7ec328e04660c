//! `{"prefix": "x"}` and `{"suffix": "x"}`: a string that starts or ends with this text. Both also take
//! `{"equals-ignore-case": "x"}` in place of the text.
//!
//! Every string meets `""`. Only strings meet these operators.

use super::equals_ignore_case;
use crate::pattern::document::{Json, Node};
use crate::pattern::place::{Errors, JsonPlace};
use crate::scalar::{Scalar, quote};

/// The required start of a string.
pub(crate) type Prefix = Operand<true>;

/// The required end of a string.
pub(crate) type Suffix = Operand<false>;

/// The required text at the start of a string (`FRONT`) or at its end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand<const FRONT: bool> {
    Text(Box<str>),
    IgnoreCase(equals_ignore_case::Operand),
}

/// Reads the operand.
pub(crate) fn parse<const FRONT: bool>(
    node: &Node<'_>,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Operand<FRONT>> {
    let name = Operand::<FRONT>::NAME;
    match &node.json {
        Json::Text(text) => Some(Operand::Text(text.as_ref().into())),
        Json::Object(members) => {
            let remedy = format!("write {{\"{name}\": {{\"equals-ignore-case\": \"…\"}}}}");
            match members.as_slice() {
                [only] if only.key == "equals-ignore-case" => {
                    let place = JsonPlace::Key(place, &only.key);
                    equals_ignore_case::parse(&only.value, &place, errors).map(Operand::IgnoreCase)
                }
                [only] => {
                    let reason = format!("unknown operator {} in {name}", quote(&only.key));
                    errors.add(only.offset, place, reason, remedy);
                    None
                }
                _ => {
                    let reason = format!("{name} takes an object of exactly one key");
                    errors.add(node.offset, place, reason, remedy);
                    None
                }
            }
        }
        _ => {
            let reason = format!("{name} takes a string, not {}", node.kind());
            let remedy = format!("write {{\"{name}\": \"…\"}}, once for each alternative");
            errors.add(node.offset, place, reason, remedy);
            None
        }
    }
}

impl<const FRONT: bool> Operand<FRONT> {
    /// The operator's name.
    const NAME: &str = if FRONT { "prefix" } else { "suffix" };

    /// Whether the value is a string that starts or ends with the text.
    pub(crate) fn matches(&self, value: &Scalar<'_>) -> bool {
        let Scalar::Text(value) = value else {
            return false;
        };
        match self {
            Self::Text(wanted) if FRONT => value.starts_with(&**wanted),
            Self::Text(wanted) => value.ends_with(&**wanted),
            Self::IgnoreCase(wanted) if FRONT => wanted.strip_front(value).is_some(),
            Self::IgnoreCase(wanted) => wanted.strip_back(value).is_some(),
        }
    }

    /// As a pattern writes it.
    pub(crate) fn describe(&self) -> String {
        let operand = match self {
            Self::Text(text) => quote(text),
            Self::IgnoreCase(operand) => operand.describe(),
        };
        format!("{{\"{}\": {operand}}}", Self::NAME)
    }

    /// What it wants, in words.
    pub(crate) fn in_words(&self) -> String {
        let how = if FRONT { "starting" } else { "ending" };
        let wanted = match self {
            Self::Text(text) => quote(text),
            Self::IgnoreCase(operand) => operand.in_words(),
        };
        format!("a string {how} with {wanted}")
    }
}
