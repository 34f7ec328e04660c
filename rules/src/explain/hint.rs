//! What may have been meant, where a literal was missed by a value that looks like it.
//!
//! Two slips are common enough: a number in quotes (or one without), and letter case. A hint is said
//! only of literals, and only of values that are shown. Never here: a change to a verdict.

use crate::flatten::Occurrence;
use crate::limits::EXPLAINED_VALUES_MAX;
use crate::operator::Operator;
use crate::scalar::{Scalar, quote};

/// So many alternatives are compared.
const ALTERNATIVES_COMPARED: usize = 100;

/// What may have been meant by alternatives that none of the values met.
pub(super) fn of(alternatives: &[Operator], values: &[Occurrence<'_>]) -> Option<String> {
    let literals = alternatives.iter().filter_map(|operator| match operator {
        Operator::Exact(literal) => Some(literal.text()),
        _ => None,
    });
    for literal in literals.take(ALTERNATIVES_COMPARED) {
        for value in values.iter().take(EXPLAINED_VALUES_MAX) {
            let (text, kind) = match &value.scalar {
                Scalar::Text(text) => (text.as_ref(), "string"),
                Scalar::Number(number) => (number.text(), "number"),
                Scalar::Bool(true) => ("true", "boolean"),
                Scalar::Bool(false) => ("false", "boolean"),
                Scalar::Null => ("null", "null"),
            };
            let hint = if text == literal {
                format!(
                    "the value is {}: write {}",
                    article(kind),
                    value.scalar.excerpt()
                )
            } else if kind == "string" && text.to_lowercase() == literal.to_lowercase() {
                let remedy = format!("{{\"equals-ignore-case\": {}}}", quote(&literal));
                format!("only the letter case differs: write {remedy}")
            } else {
                continue;
            };
            return Some(super::printable(&hint));
        }
    }
    None
}

fn article(kind: &str) -> String {
    match kind {
        "null" => "null, not text".to_owned(),
        kind => format!("a {kind}"),
    }
}
