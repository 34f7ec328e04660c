//! The operators: what a pattern may ask of one value.
//!
//! One file each, and every file has the same parts: its operand, `parse`, `matches`, `describe` (as
//! a pattern writes it) and `in_words` (as a person would say it).
//! An operator sees one scalar and nothing else; presence, arrays and alternatives are dealt with
//! by the rooms above. What `parse` accepts, `matches` can't fail on.

pub(crate) mod anything_but;
pub(crate) mod cidr;
pub(crate) mod equals_ignore_case;
pub(crate) mod exact;
pub(crate) mod exists;
pub(crate) mod numeric;
pub(crate) mod prefix;
pub(crate) mod suffix;
pub(crate) mod wildcard;

use crate::pattern::document::Node;
use crate::pattern::place::{Faults, Place};
use crate::scalar::Scalar;

/// One alternative of a field.
#[derive(Debug, Clone)]
pub(crate) enum Operator {
    Exact(exact::Operand),
    Prefix(prefix::Operand),
    Suffix(suffix::Operand),
    EqualsIgnoreCase(equals_ignore_case::Operand),
    Wildcard(wildcard::Operand),
    AnythingBut(anything_but::Operand),
    Numeric(numeric::Operand),
    Exists(exists::Operand),
    Cidr(cidr::Operand),
}

/// The operators' names, as patterns write them.
pub(crate) const NAMES: [&str; 9] = [
    "exactly",
    "prefix",
    "suffix",
    "equals-ignore-case",
    "wildcard",
    "anything-but",
    "numeric",
    "exists",
    "cidr",
];

impl Operator {
    /// Reads the operand of the operator with this name; notes what is wrong with either.
    pub(crate) fn parse(
        name: &str,
        name_offset: usize,
        operand: &Node<'_>,
        place: &Place<'_>,
        faults: &mut Faults,
    ) -> Option<Operator> {
        match name {
            "exactly" => exact::parse_exactly(operand, place, faults).map(Operator::Exact),
            "prefix" => prefix::parse(operand, place, faults).map(Operator::Prefix),
            "suffix" => suffix::parse(operand, place, faults).map(Operator::Suffix),
            "equals-ignore-case" => {
                equals_ignore_case::parse(operand, place, faults).map(Operator::EqualsIgnoreCase)
            }
            "wildcard" => wildcard::parse(operand, place, faults).map(Operator::Wildcard),
            "anything-but" => {
                anything_but::parse(operand, place, faults).map(Operator::AnythingBut)
            }
            "numeric" => numeric::parse(operand, place, faults).map(Operator::Numeric),
            "exists" => exists::parse(operand, place, faults).map(Operator::Exists),
            "cidr" => cidr::parse(operand, place, faults).map(Operator::Cidr),
            unknown => {
                let reason = format!("unknown operator {}", crate::scalar::quote(unknown));
                faults.add(name_offset, place, reason, nearest(unknown, &NAMES));
                None
            }
        }
    }

    /// Whether a value meets it.
    pub(crate) fn matches(&self, value: &Scalar<'_>) -> bool {
        match self {
            Operator::Exact(operand) => operand.matches(value),
            Operator::Prefix(operand) => operand.matches(value),
            Operator::Suffix(operand) => operand.matches(value),
            Operator::EqualsIgnoreCase(operand) => operand.matches(value),
            Operator::Wildcard(operand) => operand.matches(value),
            Operator::AnythingBut(operand) => operand.matches(value),
            Operator::Numeric(operand) => operand.matches(value),
            Operator::Exists(operand) => operand.matches(value),
            Operator::Cidr(operand) => operand.matches(value),
        }
    }

    /// Whether there being no value meets it.
    pub(crate) fn by_absence(&self) -> bool {
        matches!(self, Operator::Exists(exists) if exists.by_absence())
    }

    /// As a pattern writes it, cut to a bounded excerpt.
    pub(crate) fn describe(&self) -> String {
        match self {
            Operator::Exact(operand) => operand.describe(),
            Operator::Prefix(operand) => operand.describe(),
            Operator::Suffix(operand) => operand.describe(),
            Operator::EqualsIgnoreCase(operand) => operand.describe(),
            Operator::Wildcard(operand) => operand.describe(),
            Operator::AnythingBut(operand) => operand.describe(),
            Operator::Numeric(operand) => operand.describe(),
            Operator::Exists(operand) => operand.describe(),
            Operator::Cidr(operand) => operand.describe(),
        }
    }

    /// What it wants, in words, cut to a bounded excerpt.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Operator::Exact(operand) => operand.in_words(),
            Operator::Prefix(operand) => operand.in_words(),
            Operator::Suffix(operand) => operand.in_words(),
            Operator::EqualsIgnoreCase(operand) => operand.in_words(),
            Operator::Wildcard(operand) => operand.in_words(),
            Operator::AnythingBut(operand) => operand.in_words(),
            Operator::Numeric(operand) => operand.in_words(),
            Operator::Exists(operand) => operand.in_words(),
            Operator::Cidr(operand) => operand.in_words(),
        }
    }
}

/// What to write instead of a name that isn't known.
pub(crate) fn nearest(unknown: &str, names: &[&str]) -> String {
    let lowered = crate::scalar::shorten(unknown).to_lowercase();
    let best = names
        .iter()
        .map(|name| (edits(&lowered, name), name))
        .min_by_key(|(edits, _)| *edits);
    match best {
        Some((edits, name)) if edits <= name.len() / 3 => format!("write \"{name}\""),
        _ => format!("the operators here are {}", names.join(", ")),
    }
}

/// How many single-character edits lead from one name to the other (Levenshtein).
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, character) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(character != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests;
