//! `{"exists": true}` and `{"exists": false}`: whether there is a value at all.
//!
//! Only scalars are values: `{}` and `[]` are absent, `null` is present. A single value can't show absence,
//! so `matches` only says what a value does. The matchers call `by_absence` as well.

use crate::pattern::document::{Json, Node};
use crate::pattern::place::{Errors, JsonPlace};
use crate::scalar::Scalar;

/// The words that describe `{"exists": false}`.
pub(crate) const NO_VALUE: &str = "no value";

/// Whether a value is required.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operand {
    wanted: bool,
}

/// Reads the operand.
pub(crate) fn parse(
    node: &Node<'_>,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Operand> {
    if let Json::Bool(wanted) = node.json {
        return Some(Operand { wanted });
    }
    let reason = format!("exists takes true or false, not {}", node.kind());
    errors.add(
        node.offset,
        place,
        reason,
        "write {\"exists\": true} or {\"exists\": false}",
    );
    None
}

impl Operand {
    /// `{"exists": true}`.
    pub(crate) const ANY_VALUE: Operand = Operand { wanted: true };

    /// Whether this value meets it.
    pub(crate) fn matches(&self, _value: &Scalar<'_>) -> bool {
        self.wanted
    }

    /// Whether the operator is met when there is no value.
    pub(crate) fn by_absence(&self) -> bool {
        !self.wanted
    }

    /// As a pattern writes it.
    pub(crate) fn describe(&self) -> String {
        format!("{{\"exists\": {}}}", self.wanted)
    }

    /// What it wants, in words.
    pub(crate) fn in_words(&self) -> String {
        let words = if self.wanted { "any value" } else { NO_VALUE };
        words.to_owned()
    }
}
