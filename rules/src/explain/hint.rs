//! Guesses what was meant when a value looks like a literal that it misses.
//!
//! Two mistakes are common: a number with quotes or without them, and letter case. Hints are given only for
//! literals, and only for values that are shown. Never here: a change of a result.

use crate::flatten::Occurrence;
use crate::limits::EXPLAINED_VALUES_MAX;
use crate::operator::Operator;
use crate::scalar::{Scalar, quote};

/// How many alternatives are compared.
const ALTERNATIVES_COMPARED: usize = 100;

/// A hint at what alternatives mean that none of the values met.
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
