//! Single values: text, names, whole numbers, durations and sizes, each with its bounds; and what an
//! unquoted scalar is in JSON, by YAML 1.2's core schema.
//!
//! Never here: rounding, or a default for a value that is written wrong.

use edgebus_model::rule::UNLIMITED;
use edgebus_model::{BusConfig, Name, SubscriptionName};

use super::cursor::Cursor;
use super::errors::{Errors, Spot, shown};
use super::shape::{Bounds, Words};
use super::tree::Value;

/// The units of a duration, largest first, in milliseconds.
const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The units of a size, largest first, in bytes.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// What an unquoted scalar is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plain<'t> {
    Null,
    Boolean(bool),
    /// A number that JSON spells the same way.
    Number(&'t str),
    /// A number of YAML that JSON can't spell so: `.5`, `+1`, `007`, `0x1F`, `.inf`.
    ForeignNumber,
    Text,
}

/// Resolves an unquoted scalar by YAML 1.2's core schema.
pub(super) fn resolve(text: &str) -> Plain<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Null,
        "true" | "True" | "TRUE" => return Plain::Boolean(true),
        "false" | "False" | "FALSE" => return Plain::Boolean(false),
        ".nan" | ".NaN" | ".NAN" => return Plain::ForeignNumber,
        _ => {}
    }
    if is_json_number(text) {
        return Plain::Number(text);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let of = |digits: &str, good: fn(&u8) -> bool| {
        !digits.is_empty() && digits.as_bytes().iter().all(good)
    };
    let foreign = matches!(unsigned, ".inf" | ".Inf" | ".INF")
        || text
            .strip_prefix("0x")
            .is_some_and(|digits| of(digits, u8::is_ascii_hexdigit))
        || text
            .strip_prefix("0o")
            .is_some_and(|digits| of(digits, |digit| (b'0'..=b'7').contains(digit)))
        || is_yaml_float(unsigned);
    if foreign {
        Plain::ForeignNumber
    } else {
        Plain::Text
    }
}

/// Splits off the leading decimal digits.
fn digits(text: &str) -> (&str, &str) {
    let end = text
        .bytes()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// True for an exponent or nothing.
fn is_exponent(text: &str) -> bool {
    let Some(power) = text.strip_prefix(['e', 'E']) else {
        return text.is_empty();
    };
    let (power, rest) = digits(power.strip_prefix(['+', '-']).unwrap_or(power));
    !power.is_empty() && rest.is_empty()
}

fn is_json_number(text: &str) -> bool {
    let (whole, rest) = digits(text.strip_prefix('-').unwrap_or(text));
    if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
        return false;
    }
    match rest.strip_prefix('.') {
        None => is_exponent(rest),
        Some(rest) => {
            let (fraction, rest) = digits(rest);
            !fraction.is_empty() && is_exponent(rest)
        }
    }
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_yaml_float(text: &str) -> bool {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    !(whole.is_empty() && fraction.is_empty()) && is_exponent(rest)
}

impl<'t> Cursor<'t> {
    /// A single value's spelling, whatever its type; null and collections are errors.
    pub(super) fn text(&self, what: &str, errors: &mut Errors) -> Option<&'t str> {
        match &self.node.value {
            Value::Quoted(text) => Some(text),
            Value::Plain(text) if !self.node.is_null() => Some(text),
            _ => {
                errors.add(
                    &self.spot(),
                    format!("{what} must be a text, not {}", self.node.kind()),
                    "write one text behind the key, in quotes if it holds special characters",
                );
                None
            }
        }
    }

    /// A text that is not empty and not longer than it may be.
    pub(super) fn filled_text(&self, words: Words, errors: &mut Errors) -> Option<&'t str> {
        let Words { what, bytes_max } = words;
        let text = self.text(what, errors)?;
        if text.trim().is_empty() {
            errors.add(
                &self.spot(),
                format!("{what} is empty"),
                "write it, or leave the key out",
            );
            None
        } else if text.len() > bytes_max {
            errors.add(
                &self.spot(),
                format!("{what} is longer than {bytes_max} bytes"),
                "shorten it",
            );
            None
        } else {
            Some(text)
        }
    }

    /// A name.
    pub(super) fn name(&self, what: &str, errors: &mut Errors) -> Option<Name> {
        let text = self.text(what, errors)?;
        name_of(text, &self.spot(), errors)
    }

    /// True or false.
    pub(super) fn boolean(&self, what: &str, errors: &mut Errors) -> Option<bool> {
        if let Value::Plain(text) = &self.node.value
            && let Plain::Boolean(value) = resolve(text)
        {
            return Some(value);
        }
        errors.add(
            &self.spot(),
            format!("{what} must be true or false, not {}", self.seen()),
            "write `true` or `false` without quotes",
        );
        None
    }

    /// A whole number within bounds.
    pub(super) fn integer(&self, bounds: Bounds, errors: &mut Errors) -> Option<u64> {
        let range = format!(
            "write a whole number from {} to {}",
            bounds.least, bounds.most
        );
        let value = match &self.node.value {
            Value::Plain(text) => whole(text),
            _ => None,
        };
        self.bounded(value, bounds, "a whole number", &range, errors)
    }

    /// A finite number within bounds that are whole.
    pub(super) fn number(&self, bounds: Bounds, errors: &mut Errors) -> Option<f64> {
        let Bounds {
            what, least, most, ..
        } = bounds;
        let value = match &self.node.value {
            Value::Plain(text) if is_json_number(text) => text.parse::<f64>().ok(),
            _ => None,
        };
        #[expect(clippy::cast_precision_loss, reason = "the bounds are small numbers")]
        let inside = value.filter(|value| (least as f64..=most as f64).contains(value));
        if inside.is_none() {
            let reason = match value {
                Some(_) => format!("{what} is out of bounds: {}", self.seen()),
                None => format!("{what} must be a number, not {}", self.seen()),
            };
            errors.add(
                &self.spot(),
                reason,
                format!("write a number from {least} to {most}"),
            );
        }
        inside
    }

    /// A duration within bounds, in milliseconds.
    pub(super) fn duration_ms(&self, bounds: Bounds, errors: &mut Errors) -> Option<u64> {
        let range = format!(
            "write a whole number with ms, s, m, h or d behind it, from {} to {}{}",
            duration_text(bounds.least),
            duration_text(bounds.most),
            or_unlimited(bounds)
        );
        if self.is_unlimited(bounds) {
            return Some(UNLIMITED);
        }
        let value = self.measure(&DURATION_UNITS);
        self.bounded(value, bounds, "a duration", &range, errors)
    }

    /// A size within bounds, in bytes.
    pub(super) fn size_bytes(&self, bounds: Bounds, errors: &mut Errors) -> Option<u64> {
        let range = format!(
            "write a whole number with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB behind it, from {} to {}{}",
            size_text(bounds.least),
            size_text(bounds.most),
            or_unlimited(bounds)
        );
        if self.is_unlimited(bounds) {
            return Some(UNLIMITED);
        }
        let value = self.measure(&SIZE_UNITS);
        self.bounded(value, bounds, "a size", &range, errors)
    }

    /// True if it is the word for no limit, and there may be none.
    fn is_unlimited(&self, bounds: Bounds) -> bool {
        match &self.node.value {
            Value::Plain(text) | Value::Quoted(text) => bounds.unlimited == Some(text),
            _ => false,
        }
    }

    fn measure(&self, units: &[(&str, u64)]) -> Option<u64> {
        let (Value::Plain(text) | Value::Quoted(text)) = &self.node.value else {
            return None;
        };
        let (count, unit) = digits(text);
        let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
        Some(whole(count)?.saturating_mul(*factor))
    }

    fn bounded(
        &self,
        value: Option<u64>,
        bounds: Bounds,
        kind: &str,
        range: &str,
        errors: &mut Errors,
    ) -> Option<u64> {
        let Bounds {
            what, least, most, ..
        } = bounds;
        let reason = match value {
            Some(value) if value < least => format!("{what} is too small: {}", self.seen()),
            Some(value) if value > most => format!("{what} is too large: {}", self.seen()),
            Some(value) => return Some(value),
            None => format!("{what} must be {kind}, not {}", self.seen()),
        };
        errors.add(&self.spot(), reason, range);
        None
    }

    /// The value as it is written, for a message.
    fn seen(&self) -> String {
        match &self.node.value {
            Value::Quoted(text) => format!("{:?}", shown(text)),
            Value::Plain(text) if !self.node.is_null() => format!("`{}`", shown(text)),
            _ => self.node.kind().to_owned(),
        }
    }
}

/// A whole number in plain digits; more than 64 bits hold is the largest there is.
fn whole(text: &str) -> Option<u64> {
    match digits(text) {
        (count, "") if !count.is_empty() => Some(count.parse().unwrap_or(u64::MAX)),
        _ => None,
    }
}

/// A name from `text`.
pub(super) fn name_of(text: &str, at: &Spot, errors: &mut Errors) -> Option<Name> {
    let name = Name::new(text);
    name.map_err(|error| no_name(&error, at, errors)).ok()
}

/// The same for the name of a subscription.
pub(super) fn subscription_name_of(
    text: &str,
    at: &Spot,
    errors: &mut Errors,
) -> Option<SubscriptionName> {
    let name = SubscriptionName::new(text);
    name.map_err(|error| no_name(&error, at, errors)).ok()
}

fn no_name(error: &dyn std::error::Error, at: &Spot, errors: &mut Errors) {
    let words = error.to_string();
    let (reason, remedy) = words.split_once("; ").unwrap_or((&words, ""));
    errors.add(at, shown_long(reason), remedy);
}

fn shown_long(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect()
}

/// Milliseconds as the manifest would spell them.
#[must_use]
pub fn duration_text(ms: u64) -> String {
    if ms == UNLIMITED {
        return "forever".to_owned();
    }
    spelled(ms, &DURATION_UNITS)
}

/// How long a bus keeps its events, in words, as in `events for 7d, and at most 10GiB`.
#[must_use]
pub fn retention_text(bus: &BusConfig) -> String {
    let age = (bus.retention_age_ms != UNLIMITED)
        .then(|| format!("events for {}", duration_text(bus.retention_age_ms)));
    let size = (bus.retention_bytes != UNLIMITED).then(|| size_text(bus.retention_bytes));
    match (age, size) {
        (Some(age), Some(size)) => format!("{age}, and at most {size}"),
        (Some(age), None) => age,
        (None, Some(size)) => format!("at most {size} of events"),
        (None, None) => "events for ever".to_owned(),
    }
}

/// What to write for no limit, behind the bounds.
fn or_unlimited(bounds: Bounds) -> String {
    let word = |word| format!(", or `{word}` for no limit");
    bounds.unlimited.map_or_else(String::new, word)
}

/// Bytes as the manifest would spell them.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    if bytes == UNLIMITED {
        return "unlimited".to_owned();
    }
    spelled(bytes, &SIZE_UNITS)
}

fn spelled(value: u64, units: &[(&str, u64)]) -> String {
    let fits = |factor: u64| value >= factor && value.is_multiple_of(factor);
    match units.iter().find(|(_, factor)| fits(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", value / factor),
        None => units
            .last()
            .map_or_else(String::new, |(unit, _)| format!("{value}{unit}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for text in [
            "0",
            "-0",
            "300",
            "3.0e2",
            "1E+9",
            "12345678901234567890",
            "-1.5e-7",
        ] {
            assert_eq!(resolve(text), Plain::Number(text));
        }
        for text in [
            "007", "+1", ".5", "5.", "0x1F", "0o17", ".inf", "-.Inf", ".nan", "1.e3", "+.5e3",
            "-012",
        ] {
            assert_eq!(resolve(text), Plain::ForeignNumber, "{text}");
        }
        for text in [
            "yes",
            "no",
            "on",
            "nUll",
            "1_000",
            "1:30",
            "-",
            "+",
            ".",
            "e5",
            "0x",
            "0o8",
            "1e",
            "2026-11-21",
            "1.2.3",
            "tRue",
        ] {
            assert_eq!(resolve(text), Plain::Text, "{text}");
        }
        assert_eq!(resolve("~"), Plain::Null);
        assert_eq!(resolve("True"), Plain::Boolean(true));
    }

    #[test]
    fn what_is_spelled_is_the_largest_whole_unit() {
        for (ms, text) in [
            (0, "0ms"),
            (1, "1ms"),
            (1_500, "1500ms"),
            (60_000, "1m"),
            (604_800_000, "7d"),
            (5_400_000, "90m"),
        ] {
            assert_eq!(duration_text(ms), text);
        }
        for (bytes, text) in [
            (0, "0B"),
            (1 << 20, "1MiB"),
            (64_000_000, "64MB"),
            (10 << 30, "10GiB"),
            (1_001, "1001B"),
        ] {
            assert_eq!(size_text(bytes), text);
        }
    }
}
