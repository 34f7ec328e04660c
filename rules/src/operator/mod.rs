//! The operators: the conditions that a pattern can put on a value.
//!
//! Each has its own file (`ends` has two operators, for both ends of a string). Every file has the same
//! parts: the operand, `parse`, `matches`, `describe` (as a pattern writes it) and `in_words` (as a person
//! would say it). An operator sees one scalar and nothing else. Two operators also see the scalars of one
//! array (`matches_list`). Other modules handle presence, arrays and alternatives. `matches` can't fail on an
//! operand that `parse` accepted. Some operators are our extensions, which the EventBridge dialect refuses.

pub(crate) mod all;
pub(crate) mod anything_but;
pub(crate) mod cidr;
pub(crate) mod contains_all;
pub(crate) mod ends;
pub(crate) mod equals_ignore_case;
pub(crate) mod exact;
pub(crate) mod exactly;
pub(crate) mod exists;
pub(crate) mod not;
pub(crate) mod numeric;
pub(crate) mod regex;
pub(crate) mod wildcard;

use crate::limits::{EXPLAINED_VALUES_MAX, LISTED_CONDITIONS_MAX};
use crate::pattern::document::{Json, Node};
use crate::pattern::place::{Errors, JsonPlace};
use crate::scalar::Scalar;

macro_rules! operators {
    (
        literals: $literal:ident($literal_operand:ty),
        eventbridge: { $($theirs:literal => $theirs_variant:ident($theirs_operand:ty) by $theirs_parse:path,)* },
        extensions: { $($ours:literal => $ours_variant:ident($ours_operand:ty) by $ours_parse:path,)* },
    ) => {
        /// One alternative of a field.
        #[derive(Debug, Clone, PartialEq)]
        pub(crate) enum Operator {
            $literal($literal_operand),
            $($theirs_variant($theirs_operand),)*
            $($ours_variant($ours_operand),)*
        }

        /// EventBridge's operators, as patterns write them.
        pub(crate) const NAMES: &[&str] = &[$($theirs),*];

        /// The operators that are our extensions.
        pub(crate) const EXTENSIONS: &[&str] = &[$($ours),*];

        impl Operator {
            /// Reads the operand of the operator with this name. `None` if there is no such operator.
            fn read(
                name: &str,
                operand: &Node<'_>,
                place: &JsonPlace<'_>,
                errors: &mut Errors,
            ) -> Option<Option<Operator>> {
                Some(match name {
                    $($theirs => $theirs_parse(operand, place, errors).map(Operator::$theirs_variant),)*
                    $($ours => $ours_parse(operand, place, errors).map(Operator::$ours_variant),)*
                    _ => return None,
                })
            }

            /// Whether a value meets it.
            pub(crate) fn matches(&self, value: &Scalar<'_>) -> bool {
                match self {
                    Operator::$literal(operand) => operand.matches(value),
                    $(Operator::$theirs_variant(operand) => operand.matches(value),)*
                    $(Operator::$ours_variant(operand) => operand.matches(value),)*
                }
            }

            /// As a pattern writes it, cut to a bounded excerpt.
            pub(crate) fn describe(&self) -> String {
                match self {
                    Operator::$literal(operand) => operand.describe(),
                    $(Operator::$theirs_variant(operand) => operand.describe(),)*
                    $(Operator::$ours_variant(operand) => operand.describe(),)*
                }
            }

            /// What it wants, in words, cut to a bounded excerpt.
            pub(crate) fn in_words(&self) -> String {
                match self {
                    Operator::$literal(operand) => operand.in_words(),
                    $(Operator::$theirs_variant(operand) => operand.in_words(),)*
                    $(Operator::$ours_variant(operand) => operand.in_words(),)*
                }
            }
        }
    };
}

// The table of all operators: name, operand, and the function that reads it.
operators! {
    literals: Exact(exact::Operand),
    eventbridge: {
        // With a single string it is a literal.
        "exactly" => Exactly(exactly::Operand) by exactly::parse,
        "prefix" => Prefix(ends::Prefix) by ends::parse,
        "suffix" => Suffix(ends::Suffix) by ends::parse,
        "equals-ignore-case" => EqualsIgnoreCase(equals_ignore_case::Operand) by equals_ignore_case::parse,
        "wildcard" => Wildcard(wildcard::Operand) by wildcard::parse,
        "anything-but" => AnythingBut(anything_but::Operand) by anything_but::parse,
        "numeric" => Numeric(numeric::Operand) by numeric::parse,
        "exists" => Exists(exists::Operand) by exists::parse,
        "cidr" => Cidr(cidr::Operand) by cidr::parse,
    },
    extensions: {
        "all" => All(all::Operand) by all::parse,
        "not" => Not(not::Operand) by not::parse,
        "regex" => Regex(regex::Operand) by regex::parse,
        "contains-all" => ContainsAll(contains_all::Operand) by contains_all::parse,
    },
}

/// Whether this operator with this operand is an extension of ours.
pub(crate) fn is_extension(name: &str, operand: &Node<'_>) -> bool {
    match (name, &operand.json) {
        ("exactly", Json::List(_)) | ("wildcard", Json::Object(_)) => true,
        _ => EXTENSIONS.contains(&name),
    }
}

impl Operator {
    /// Reads the operand of the operator with this name. Records errors in the name or the operand.
    pub(crate) fn parse(
        name: &str,
        name_offset: usize,
        operand: &Node<'_>,
        place: &JsonPlace<'_>,
        errors: &mut Errors,
    ) -> Option<Operator> {
        if let ("exactly", Json::Text(_)) = (name, &operand.json) {
            return exact::parse(operand, place, errors).map(Operator::Exact);
        }
        Operator::read(name, operand, place, errors).unwrap_or_else(|| {
            let reason = format!("unknown operator {}", crate::scalar::quote(name));
            let names = [NAMES, EXTENSIONS].concat();
            errors.add(name_offset, place, reason, nearest(name, &names));
            None
        })
    }

    /// Whether the operator depends on all values of one array together. If so, `matches` is false.
    pub(crate) fn needs_all_values(&self) -> bool {
        matches!(self, Operator::ContainsAll(_) | Operator::Exactly(_))
    }

    /// Whether the values of one array together meet it.
    pub(crate) fn matches_list(&self, values: &[&Scalar<'_>]) -> bool {
        match self {
            Operator::ContainsAll(operand) => operand.matches_list(values),
            Operator::Exactly(operand) => operand.matches_list(values),
            _ => false,
        }
    }

    /// Whether the operator is met when there is no value.
    pub(crate) fn by_absence(&self) -> bool {
        matches!(self, Operator::Exists(exists) if exists.by_absence())
    }
}

/// Reads a literal or an operator inside of another operator. It must be one that applies to a single value.
pub(crate) fn literal_or_operator(
    outer: &str,
    node: &Node<'_>,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Operator> {
    let (reason, remedy) = match &node.json {
        Json::Object(members) => match members.as_slice() {
            [only] if only.key == "exists" => (
                format!("exists inside {outer}: it speaks of the field, not of a value"),
                "write {\"exists\": …} as an alternative of the field".to_owned(),
            ),
            [only]
                if only.key == "contains-all"
                    || (only.key == "exactly" && matches!(only.value.json, Json::List(_))) =>
            {
                (
                    format!("{} inside {outer}: it speaks of a whole array", only.key),
                    format!(
                        "write {{\"{}\": …}} as an alternative of the field",
                        only.key
                    ),
                )
            }
            [only] => {
                let place = JsonPlace::Key(place, &only.key);
                return Operator::parse(&only.key, only.offset, &only.value, &place, errors);
            }
            _ => (
                format!("{} keys where one operator is needed", members.len()),
                "write one object for each operator".to_owned(),
            ),
        },
        Json::List(_) => (
            format!("a list inside {outer}"),
            "write its values without the inner brackets".to_owned(),
        ),
        _ => return exact::parse(node, place, errors).map(Operator::Exact),
    };
    errors.add(node.offset, place, reason, remedy);
    None
}

/// Reads a list of literals and operators inside of another operator.
pub(crate) fn literals_and_operators(
    outer: &str,
    node: &Node<'_>,
    remedy: &str,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Vec<Operator>> {
    let reason = match &node.json {
        Json::List(elements) if elements.len() > LISTED_CONDITIONS_MAX => {
            format!("more than {LISTED_CONDITIONS_MAX} conditions in {outer}, the limit")
        }
        Json::List(elements) if !elements.is_empty() => {
            let mut read = Vec::with_capacity(elements.len());
            for (index, element) in elements.iter().enumerate() {
                let place = JsonPlace::Index(place, index);
                read.extend(literal_or_operator(outer, element, &place, errors));
            }
            return (read.len() == elements.len()).then_some(read);
        }
        Json::List(_) => format!("an empty list in {outer}"),
        _ => format!("{outer} takes a list, not {}", node.kind()),
    };
    errors.add(node.offset, place, reason, remedy);
    None
}

/// The first few items, joined by commas.
fn listed<T>(all: &[T], say: impl Fn(&T) -> String) -> String {
    let shown = all.iter().take(EXPLAINED_VALUES_MAX);
    let mut said: Vec<String> = shown.map(say).collect();
    let more = all.len() - said.len();
    if more > 0 {
        said.push(format!("… {more} more"));
    }
    said.join(", ")
}

/// What to write instead of an unknown name: the nearest name, or else all names.
pub(crate) fn nearest(unknown: &str, names: &[&str]) -> String {
    let lowered = crate::scalar::shorten(unknown).to_lowercase();
    let best = names
        .iter()
        .map(|name| (strsim::osa_distance(&lowered, name), name))
        .min_by_key(|(edits, _)| *edits);
    match best {
        Some((edits, name)) if edits <= name.len() / 3 => format!("write \"{name}\""),
        _ => format!("the operators here are {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests;
