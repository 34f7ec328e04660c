//! `{"numeric": ["<", 5]}` and `{"numeric": [">=", 1, "<", 5]}`: a number in a range.
//!
//! Only JSON numbers meet it, compared as binary64. Strings of digits never do. The operands must be exact in
//! binary64; otherwise the bound would move without notice. A range is written with its low bound first, and
//! its bounds must leave room between them. There is no `!=`.

use crate::pattern::document::{Json, Node};
use crate::pattern::place::{Errors, JsonPlace};
use crate::scalar::{Number, Scalar, quote, shorten};

/// A bound of the range.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound {
    value: f64,
    inclusive: bool,
}

/// An end of a range, and whether the end belongs to the range. `None` if the range has no such end.
pub(crate) type End = Option<(f64, bool)>;

/// A range. It may have one end only.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operand {
    low: Option<Bound>,
    high: Option<Bound>,
    /// The text as written.
    text: Box<str>,
}

const REMEDY: &str = "write [\"=\", 5], [\"<\", 5] (or <= > >=), or [\">=\", 1, \"<\", 5]";

/// Reads the operand.
pub(crate) fn parse(
    node: &Node<'_>,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Operand> {
    let Json::List(elements) = &node.json else {
        let reason = format!("numeric takes a list, not {}", node.kind());
        errors.add(node.offset, place, reason, REMEDY);
        return None;
    };
    let read = match elements.as_slice() {
        [sign, number] => one_bound(sign, number),
        [low_sign, low, high_sign, high] => two_bounds(low_sign, low, high_sign, high),
        _ => Err((
            node.offset,
            format!(
                "numeric takes one or two comparisons, not {} elements",
                elements.len()
            ),
        )),
    };
    match read {
        Ok(operand) => Some(operand),
        Err((offset, reason)) => {
            errors.add(offset, place, reason, REMEDY);
            None
        }
    }
}

type Refused = (usize, String);

fn one_bound(sign: &Node<'_>, number: &Node<'_>) -> Result<Operand, Refused> {
    let name = comparison(sign, &["=", "<", "<=", ">", ">="])?;
    let (value, text) = operand(number)?;
    let bound = Some(Bound {
        value,
        inclusive: name.contains('='),
    });
    Ok(Operand {
        low: bound.filter(|_| !name.starts_with('<')),
        high: bound.filter(|_| !name.starts_with('>')),
        text: format!("[\"{name}\", {text}]").into(),
    })
}

fn two_bounds(
    low_sign: &Node<'_>,
    low: &Node<'_>,
    high_sign: &Node<'_>,
    high: &Node<'_>,
) -> Result<Operand, Refused> {
    let low_name = comparison(low_sign, &[">", ">="])?;
    let (low_value, low_text) = operand(low)?;
    let high_name = comparison(high_sign, &["<", "<="])?;
    let (high_value, high_text) = operand(high)?;
    if low_value >= high_value {
        let (low_text, high_text) = (shorten(low_text), shorten(high_text));
        let reason = format!("the range from {low_text} to {high_text} is empty");
        return Err((high.offset, reason));
    }
    Ok(Operand {
        low: Some(Bound {
            value: low_value,
            inclusive: low_name == ">=",
        }),
        high: Some(Bound {
            value: high_value,
            inclusive: high_name == "<=",
        }),
        text: format!("[\"{low_name}\", {low_text}, \"{high_name}\", {high_text}]").into(),
    })
}

fn comparison(node: &Node<'_>, allowed: &[&'static str]) -> Result<&'static str, Refused> {
    let found = match &node.json {
        Json::Text(text) => allowed.iter().find(|name| *name == text).ok_or(quote(text)),
        _ => Err(node.kind().to_owned()),
    };
    found.copied().map_err(|found| {
        let reason = format!("{found} where one of {} is needed", allowed.join(" "));
        (node.offset, reason)
    })
}

fn operand<'p>(node: &Node<'p>) -> Result<(f64, &'p str), Refused> {
    let Json::Number(text) = node.json else {
        let reason = format!("{} where a number is needed", node.kind());
        return Err((node.offset, reason));
    };
    let number = Number::read(text);
    if number.exact() {
        return Ok((number.value(), text));
    }
    let reason = format!(
        "{} has more digits or a larger exponent than binary64 holds",
        shorten(text)
    );
    Err((node.offset, reason))
}

impl Operand {
    /// Whether every number in this range is in the other.
    pub(crate) fn is_within(&self, other: &Operand) -> bool {
        let low = match (self.low, other.low) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(own), Some(other)) => {
                own.value > other.value
                    || (own.value == other.value && (other.inclusive || !own.inclusive))
            }
        };
        let high = match (self.high, other.high) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(own), Some(other)) => {
                own.value < other.value
                    || (own.value == other.value && (other.inclusive || !own.inclusive))
            }
        };
        low && high
    }

    /// Whether this range ends before the other begins.
    pub(crate) fn is_below(&self, other: &Operand) -> bool {
        match (self.high, other.low) {
            (Some(high), Some(low)) => {
                high.value < low.value
                    || (high.value == low.value && !(high.inclusive && low.inclusive))
            }
            _ => false,
        }
    }

    /// Whether the value is a number in the range.
    pub(crate) fn matches(&self, value: &Scalar<'_>) -> bool {
        let Scalar::Number(number) = value else {
            return false;
        };
        let value = number.value();
        let above = self
            .low
            .is_none_or(|low| value > low.value || (low.inclusive && value == low.value));
        let below = self
            .high
            .is_none_or(|high| value < high.value || (high.inclusive && value == high.value));
        above && below
    }

    /// The low and the high end, each with whether it belongs to the range.
    pub(crate) fn bounds(&self) -> (End, End) {
        let pair = |bound: Bound| (bound.value, bound.inclusive);
        (self.low.map(pair), self.high.map(pair))
    }

    /// As a pattern writes it.
    pub(crate) fn describe(&self) -> String {
        format!("{{\"numeric\": {}}}", shorten(&self.text))
    }

    /// What it wants, in words.
    pub(crate) fn in_words(&self) -> String {
        let signs = shorten(&self.text).replace(['[', ']', '"', ','], "");
        let mut words = signs.split(' ');
        let mut said = String::from("a number");
        for joint in [" ", " and "] {
            if let (Some(sign), Some(number)) = (words.next(), words.next()) {
                said.push_str(joint);
                said.push_str(sign);
                said.push(' ');
                said.push_str(number);
            }
        }
        said
    }
}
