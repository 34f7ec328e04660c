//! A literal: `"x"`, `300`, `true`, `false`, `null`. `{"exactly": "x"}` means `"x"`.
//!
//! Strings are equal by code points, without normalisation. Strings that are IP addresses are compared as
//! addresses. Numbers are compared as numbers if binary64 represents them exactly, else by their text. A
//! string never equals a number.

use crate::pattern::document::{Json, Node};
use crate::pattern::place::{Errors, JsonPlace};
use crate::scalar::{Number, Scalar, quote, shorten};
use std::borrow::Cow;
use std::net::IpAddr;

/// The literal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    Null,
    Bool(bool),
    Number(Number<'static>),
    Text(Box<str>),
    /// A string that is an IP address: as written, and as an address.
    Address(Box<str>, IpAddr),
}

/// Reads a scalar.
pub(crate) fn parse(
    node: &Node<'_>,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Operand> {
    match &node.json {
        Json::Null => Some(Operand::Null),
        Json::Bool(value) => Some(Operand::Bool(*value)),
        Json::Number(text) => Some(Operand::Number(Number::read(text).into_owned())),
        Json::Text(text) => Some(match address(text) {
            Some(address) => Operand::Address(text.as_ref().into(), address),
            None => Operand::Text(text.as_ref().into()),
        }),
        Json::List(_) | Json::Object(_) => {
            let reason = format!("{} where a literal is needed", node.kind());
            errors.add(node.offset, place, reason, "write a string or a number");
            None
        }
    }
}

/// The address that a string contains. An IPv4-mapped IPv6 address becomes the IPv4 address.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    // The longest spelling of an IPv6 address has 45 bytes, and every address starts with one of these
    // characters.
    let possible = text.len() <= 45
        && text.starts_with(|first: char| first.is_ascii_hexdigit() || first == ':');
    if !possible {
        return None;
    }
    text.parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

impl Operand {
    /// Whether the value is this literal.
    pub(crate) fn matches(&self, value: &Scalar<'_>) -> bool {
        match (self, value) {
            (Operand::Null, Scalar::Null) => true,
            (Operand::Bool(wanted), Scalar::Bool(value)) => wanted == value,
            (Operand::Number(wanted), Scalar::Number(value)) => wanted.equals(value),
            (Operand::Text(wanted), Scalar::Text(value)) => **wanted == **value,
            (Operand::Address(_, wanted), Scalar::Text(value)) => address(value) == Some(*wanted),
            _ => false,
        }
    }

    /// The literal's text. For a string, its characters.
    pub(crate) fn text(&self) -> String {
        match self {
            Operand::Null => "null".to_owned(),
            Operand::Bool(value) => value.to_string(),
            Operand::Number(number) => number.text().to_owned(),
            Operand::Text(text) | Operand::Address(text, _) => text.to_string(),
        }
    }

    /// The literal as a value. `None` for an address, which has many spellings.
    pub(crate) fn scalar(&self) -> Option<Scalar<'_>> {
        match self {
            Operand::Null => Some(Scalar::Null),
            Operand::Bool(value) => Some(Scalar::Bool(*value)),
            Operand::Number(number) => Some(Scalar::Number(number.clone())),
            Operand::Text(text) => Some(Scalar::Text(Cow::Borrowed(text))),
            Operand::Address(..) => None,
        }
    }

    /// As a pattern writes it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Operand::Null => "null".to_owned(),
            Operand::Bool(value) => value.to_string(),
            Operand::Number(number) => shorten(number.text()),
            Operand::Text(text) | Operand::Address(text, _) => quote(text),
        }
    }

    /// What it wants, in words.
    pub(crate) fn in_words(&self) -> String {
        self.describe()
    }
}
