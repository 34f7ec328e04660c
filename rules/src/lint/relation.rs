//! Proves relations of two operators: that one implies the other, or that no value meets both.
//!
//! *true* is a proof. *false* only means that no proof was found. No result is ever negated, so *false* is
//! always safe. This also bounds the work.

use crate::limits::LINT_COMPARISONS_MAX;
use crate::operator::exact::Operand as Literal;
use crate::operator::{Operator, ends};

/// How many more pairs of operators may be compared.
pub(super) struct Budget {
    left: usize,
}

impl Budget {
    pub(super) fn new() -> Self {
        Budget {
            left: LINT_COMPARISONS_MAX,
        }
    }

    /// Takes one comparison from the budget. False if it is used up.
    pub(super) fn spend(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }
}

const NULL: u8 = 1;
const BOOLEAN: u8 = 2;
const NUMBER: u8 = 4;
pub(super) const TEXT: u8 = 8;
const ANY: u8 = NULL | BOOLEAN | NUMBER | TEXT;

/// The kinds of values that may meet an operator.
pub(super) fn kinds(operator: &Operator) -> u8 {
    match operator {
        Operator::Exact(Literal::Null) => NULL,
        Operator::Exact(Literal::Bool(_)) => BOOLEAN,
        Operator::Exact(Literal::Number(_)) | Operator::Numeric(_) => NUMBER,
        Operator::Exact(Literal::Text(_) | Literal::Address(..))
        | Operator::Prefix(_)
        | Operator::Suffix(_)
        | Operator::EqualsIgnoreCase(_)
        | Operator::Wildcard(_)
        | Operator::Regex(_)
        | Operator::Cidr(_) => TEXT,
        Operator::AnythingBut(operand) => without(operand.outside()),
        Operator::Not(operand) => without(operand.outside()),
        Operator::All(operand) => operand
            .each()
            .iter()
            .fold(ANY, |all, operator| all & kinds(operator)),
        Operator::Exists(_) | Operator::ContainsAll(_) | Operator::Exactly(_) => ANY,
    }
}

/// The kinds of values that these operators don't cover completely.
fn without(outside: &[Operator]) -> u8 {
    outside.iter().fold(ANY, |all, operator| match operator {
        Operator::Exact(Literal::Null) => all & !NULL,
        operator if any_text(operator) => all & !TEXT,
        _ => all,
    })
}

/// Whether every string meets the operator.
fn any_text(operator: &Operator) -> bool {
    let empty = |end: Option<&str>| end.is_none_or(str::is_empty);
    says_only_ends(operator) && empty(starts(operator)) && empty(ends(operator))
}

/// The text that every string that meets the operator starts with.
fn starts(operator: &Operator) -> Option<&str> {
    match operator {
        Operator::Prefix(ends::Operand::Text(text)) => Some(text),
        Operator::Wildcard(operand) => operand.anchors().map(|(first, _)| first),
        _ => None,
    }
}

/// The text that every string that meets the operator ends with.
fn ends(operator: &Operator) -> Option<&str> {
    match operator {
        Operator::Suffix(ends::Operand::Text(text)) => Some(text),
        Operator::Wildcard(operand) => {
            let (first, rest) = operand.anchors()?;
            Some(rest.last().map_or(first, |last| last))
        }
        _ => None,
    }
}

/// Whether the operator only requires a beginning or an end. The other of the two is empty.
fn says_only_ends(operator: &Operator) -> bool {
    match operator {
        Operator::Prefix(ends::Operand::Text(_)) | Operator::Suffix(ends::Operand::Text(_)) => true,
        Operator::Wildcard(operand) => match operand.anchors() {
            Some((first, [last])) => first.is_empty() || last.is_empty(),
            _ => false,
        },
        _ => false,
    }
}

/// The operators that a value must not meet, if this is all that the operator requires.
fn outside(operator: &Operator) -> Option<&[Operator]> {
    match operator {
        Operator::AnythingBut(operand) => Some(operand.outside()),
        Operator::Not(operand) => Some(operand.outside()),
        _ => None,
    }
}

/// Whether it is certain that no value meets the operator.
pub(super) fn is_empty(operator: &Operator, budget: &mut Budget) -> bool {
    if !budget.spend() {
        return false;
    }
    match operator {
        Operator::All(operand) => {
            let each = operand.each();
            kinds(operator) == 0
                || each.iter().enumerate().any(|(place, one)| {
                    is_empty(one, budget)
                        || each[..place]
                            .iter()
                            .any(|other| are_apart(one, other, budget))
                })
        }
        Operator::ContainsAll(operand) => {
            let mut each = operand.each().iter();
            each.any(|operator| is_empty(operator, budget))
        }
        Operator::Exists(operand) => operand.by_absence(),
        _ => kinds(operator) == 0,
    }
}

/// Whether it is certain that no value meets both operators.
pub(super) fn are_apart(one: &Operator, other: &Operator, budget: &mut Budget) -> bool {
    is_apart(one, other, budget) || is_apart(other, one, budget)
}

fn is_apart(one: &Operator, other: &Operator, budget: &mut Budget) -> bool {
    if !budget.spend() {
        return false;
    }
    if kinds(one) & kinds(other) == 0 {
        return true;
    }
    if let Operator::All(operand) = one {
        let mut each = operand.each().iter();
        return each.any(|operator| are_apart(operator, other, budget));
    }
    if let Some(outside) = outside(one) {
        return outside
            .iter()
            .any(|operator| implies(other, operator, budget));
    }
    match (one, other) {
        (Operator::Exact(Literal::Address(_, address)), Operator::Cidr(block)) => {
            !block.has(*address)
        }
        (
            Operator::Exact(Literal::Address(_, address)),
            Operator::Exact(Literal::Address(_, other)),
        ) => address != other,
        (Operator::Exact(literal), _) => match literal.scalar() {
            Some(scalar) => !other.needs_all_values() && !other.matches(&scalar),
            None => false,
        },
        (Operator::Numeric(one), Operator::Numeric(other)) => {
            one.is_below(other) || other.is_below(one)
        }
        (Operator::Cidr(one), Operator::Cidr(other)) => one.is_apart(other),
        _ => {
            let unlike =
                |one: &str, other: &str| !one.starts_with(other) && !other.starts_with(one);
            let starts_differ = starts(one)
                .zip(starts(other))
                .is_some_and(|(one, other)| unlike(one, other));
            let ends_differ = ends(one)
                .zip(ends(other))
                .is_some_and(|(one, other)| !one.ends_with(other) && !other.ends_with(one));
            starts_differ || ends_differ
        }
    }
}

/// Whether it is certain that every value that meets `narrow` meets `wide`.
pub(super) fn implies(narrow: &Operator, wide: &Operator, budget: &mut Budget) -> bool {
    if !budget.spend() {
        return false;
    }
    if wide.needs_all_values() || narrow.needs_all_values() || wide.by_absence() {
        return false;
    }
    if narrow == wide || matches!(wide, Operator::Exists(_)) || is_empty(narrow, budget) {
        return true;
    }
    if let Operator::All(operand) = wide {
        let mut each = operand.each().iter();
        return each.all(|operator| implies(narrow, operator, budget));
    }
    if let Some(wide) = outside(wide) {
        let apart = wide
            .iter()
            .all(|operator| are_apart(narrow, operator, budget));
        let mut fewer = || {
            let narrow = outside(narrow)?;
            Some(wide.iter().all(|operator| {
                let mut narrow = narrow.iter();
                narrow.any(|other| implies(operator, other, budget))
            }))
        };
        if apart || fewer() == Some(true) {
            return true;
        }
    }
    if let Operator::All(operand) = narrow {
        let mut each = operand.each().iter();
        return each.any(|operator| implies(operator, wide, budget));
    }
    if kinds(narrow) == TEXT && any_text(wide) {
        return true;
    }
    match (narrow, wide) {
        (Operator::Exact(Literal::Address(_, address)), Operator::Cidr(block)) => {
            block.has(*address)
        }
        (
            Operator::Exact(Literal::Address(_, address)),
            Operator::Exact(Literal::Address(_, other)),
        ) => address == other,
        (Operator::Exact(literal), _) => {
            literal.scalar().is_some_and(|scalar| wide.matches(&scalar))
        }
        (Operator::Numeric(narrow), Operator::Numeric(wide)) => narrow.is_within(wide),
        (Operator::Cidr(narrow), Operator::Cidr(wide)) => narrow.is_within(wide),
        (_, Operator::Prefix(ends::Operand::IgnoreCase(wanted))) => {
            starts(narrow).is_some_and(|start| wanted.strip_front(start).is_some())
        }
        (_, Operator::Suffix(ends::Operand::IgnoreCase(wanted))) => {
            ends(narrow).is_some_and(|end| wanted.strip_back(end).is_some())
        }
        _ => implies_ends(narrow, wide),
    }
}

/// As `implies`, for operators that only require a beginning or an end.
fn implies_ends(narrow: &Operator, wide: &Operator) -> bool {
    if !says_only_ends(wide) {
        return false;
    }
    let start = match starts(wide) {
        Some("") | None => true,
        Some(wide) => starts(narrow).is_some_and(|narrow| narrow.starts_with(wide)),
    };
    let end = match ends(wide) {
        Some("") | None => true,
        Some(wide) => ends(narrow).is_some_and(|narrow| narrow.ends_with(wide)),
    };
    start && end && kinds(narrow) == TEXT
}
