//! The values that conditions compare: JSON scalars, borrowed from the event.
//!
//! A number keeps both its text and its binary64 value. Some numbers can be compared by one of the two only:
//! an identifier of twenty digits is not a binary64 and must be compared by its text. Nothing here allocates
//! for a number or for a string without escapes.

use std::borrow::Cow;

/// One scalar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar<'e> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number<'e>),
    /// A string, decoded.
    Text(Cow<'e, str>),
}

/// A JSON number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Number<'e> {
    /// The text as it was written.
    text: Cow<'e, str>,
    /// The nearest binary64. Infinite if the number is beyond its range.
    value: f64,
    /// Whether the text has exactly the value of the shortest form of `value`. `None` until it is computed,
    /// because few conditions need it and computing it may take longer than everything else.
    exact: Option<bool>,
}

impl<'e> Number<'e> {
    /// Reads the text of a JSON number.
    pub(crate) fn read(text: &'e str) -> Self {
        // JSON's numbers are a subset of what Rust parses, so this fallback is never used. It would give a
        // number for which no comparison holds.
        let value: f64 = text.parse().unwrap_or(f64::NAN);
        Number {
            text: Cow::Borrowed(text),
            value,
            exact: None,
        }
    }

    /// The same number, without a borrow of the text it was read from.
    pub(crate) fn into_owned(self) -> Number<'static> {
        Number {
            exact: Some(self.exact()),
            text: Cow::Owned(self.text.into_owned()),
            value: self.value,
        }
    }

    /// The nearest binary64.
    pub(crate) fn value(&self) -> f64 {
        self.value
    }

    /// Whether binary64 represents the number: its shortest form has the same value as the text.
    pub(crate) fn exact(&self) -> bool {
        let look = || self.value.is_finite() && is_exact(&self.text, self.value);
        self.exact.unwrap_or_else(look)
    }

    /// The text as it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Equal as numbers if binary64 represents both, else equal as text.
    pub(crate) fn equals(&self, other: &Number<'_>) -> bool {
        // Equal texts have equal values. So unequal values decide without checking exactness.
        self.value == other.value && (self.text == other.text || (self.exact() && other.exact()))
    }
}

/// Every decimal with at most this many significant digits can be converted to binary64 and back without
/// loss.
const DIGITS_ALWAYS_EXACT: usize = 15;
/// No shortest form of a binary64 has more significant digits.
const DIGITS_NEVER_EXACT: usize = 18;
/// A bound well inside binary64's range of normal numbers, where `DIGITS_ALWAYS_EXACT` is valid.
const EXPONENT_ALWAYS_NORMAL: i64 = 300;

fn is_exact(text: &str, value: f64) -> bool {
    if text.len() <= DIGITS_ALWAYS_EXACT && !text.contains(['e', 'E']) {
        return true;
    }
    let Some(written) = Decimal::of(text) else {
        return false;
    };
    match written.digits.len() {
        0 => true,
        DIGITS_NEVER_EXACT.. => false,
        ..=DIGITS_ALWAYS_EXACT if written.exponent.abs() < EXPONENT_ALWAYS_NORMAL => true,
        _ => Decimal::of(&format!("{value:e}")).is_some_and(|shortest| shortest == written),
    }
}

/// A decimal: its significant digits, and the power of ten of the first one. No digits mean zero.
#[derive(Debug, PartialEq)]
struct Decimal {
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    /// Reads a decimal. `None` if the exponent itself is too large and the number isn't zero.
    fn of(text: &str) -> Option<Decimal> {
        let unsigned = text.trim_start_matches('-');
        let (mantissa, power) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = || whole.bytes().chain(fraction.bytes());
        let leading = all().take_while(|&digit| digit == b'0').count();
        let nonzero = all().enumerate().filter(|&(_, digit)| digit != b'0');
        let Some(last) = nonzero.map(|(place, _)| place).last() else {
            return Some(Decimal {
                digits: Vec::new(),
                exponent: 0,
            });
        };
        let significant = last + 1 - leading;
        let power: i64 = power.trim_start_matches('+').parse().ok()?;
        let first_digit = i64::try_from(whole.len()).ok()? - 1 - i64::try_from(leading).ok()?;
        Some(Decimal {
            digits: all()
                .skip(leading)
                .take(significant.min(DIGITS_NEVER_EXACT))
                .collect(),
            exponent: power.checked_add(first_digit)?,
        })
    }
}

impl Scalar<'_> {
    /// The value as JSON, cut to a bounded excerpt.
    pub(crate) fn excerpt(&self) -> String {
        match self {
            Scalar::Null => "null".to_owned(),
            Scalar::Bool(value) => value.to_string(),
            Scalar::Number(number) => shorten(number.text()),
            Scalar::Text(text) => quote(text),
        }
    }
}

/// The text as a JSON string, cut to a bounded excerpt.
pub(crate) fn quote(text: &str) -> String {
    let shortened = shorten(text);
    serde_json::to_string(&shortened).unwrap_or(shortened)
}

/// The text, cut to a bounded excerpt.
pub(crate) fn shorten(text: &str) -> String {
    let limit = crate::limits::EXCERPT_CHARACTERS_MAX;
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
