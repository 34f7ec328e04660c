//! Compares the inputs that a test expects with those that targets get.
//!
//! Never here: how an input is made; that is what a running bus does with it.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::WrongInput;
use edgebus_engine::bus::Rulebook;
use edgebus_model::{Data, Event, Name, RuleConfig};

/// `None` if the target gets what is expected. `target` is the subscription's name, or the rule's where it
/// has one target.
pub(super) fn wrong(
    rulebook: &Rulebook,
    event: &Event,
    matched: &[Name],
    target: &str,
    expected: &str,
) -> Option<WrongInput> {
    let got = got(rulebook, event, matched, target);
    let same = got
        .as_ref()
        .is_ok_and(|got| equal(got, expected) == Some(true));
    (!same).then(|| WrongInput {
        target: target.to_owned(),
        expected: expected.to_owned(),
        got: got.unwrap_or_else(|reason| reason),
    })
}

/// The input as JSON, or why there is none.
fn got(
    rulebook: &Rulebook,
    event: &Event,
    matched: &[Name],
    target: &str,
) -> Result<String, String> {
    let (rule, name) = match rulebook.subscription(target) {
        Some((rule, name)) => (rule, Some(name)),
        None => (named_rule(rulebook, target)?, None),
    };
    if !matched.contains(&rule.name) {
        return Err(format!("nothing: the rule `{}` did not match", rule.name));
    }
    let name = match (name, rule.targets.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => &only.name,
        (None, all) => {
            let names: Vec<&str> = all.iter().map(|target| target.name.as_str()).collect();
            return Err(format!(
                "the rule `{}` has several targets: write one of {}",
                rule.name,
                names.join(", ")
            ));
        }
    };
    let verdict = rulebook
        .verdict(&rule.name, event)
        .ok_or_else(|| "the event can't be read".to_owned())?;
    let mut inputs = verdict.inputs.iter();
    let made = inputs.find(|made| made.subscription == name.as_str());
    match made {
        Some(made) => match (&made.input, &made.error) {
            (Some(input), _) => Ok(input.get().to_owned()),
            (None, error) => Err(error.clone().unwrap_or_default()),
        },
        // Without an `input` it is the event's own data.
        None => match &event.data {
            Data::Json(json) => Ok(String::from_utf8_lossy(json).into_owned()),
            _ => Err("the event has no JSON data".to_owned()),
        },
    }
}

/// The rule that `target` names.
fn named_rule<'r>(rulebook: &'r Rulebook, target: &str) -> Result<&'r RuleConfig, String> {
    if let Some(rule) = rulebook.rule(target) {
        return Ok(rule);
    }
    let (rule, name) = target.split_once('/').unwrap_or((target, ""));
    Err(match rulebook.rule(rule) {
        Some(rule) => format!("the rule `{}` has no target `{name}`", rule.name),
        None => format!("there is no rule `{rule}`"),
    })
}

/// Whether two texts are equal as JSON; numbers by value, so that 1 is 1.0, and to their last digit. `None`
/// if one is not JSON.
fn equal(left: &str, right: &str) -> Option<bool> {
    let (left, right) = (left.trim_ascii(), right.trim_ascii());
    let kind = |text: &str| match text.bytes().next() {
        Some(b'-' | b'0'..=b'9') => b'0',
        first => first.unwrap_or_default(),
    };
    if kind(left) != kind(right) {
        return Some(false);
    }
    let all = |pairs: Vec<(&RawValue, &RawValue)>| {
        for (left, right) in pairs {
            if !equal(left.get(), right.get())? {
                return Some(false);
            }
        }
        Some(true)
    };
    match kind(left) {
        b'{' => {
            let left: BTreeMap<String, &RawValue> = serde_json::from_str(left).ok()?;
            let right: BTreeMap<String, &RawValue> = serde_json::from_str(right).ok()?;
            if !left.keys().eq(right.keys()) {
                return Some(false);
            }
            all(left.into_values().zip(right.into_values()).collect())
        }
        b'[' => {
            let left: Vec<&RawValue> = serde_json::from_str(left).ok()?;
            let right: Vec<&RawValue> = serde_json::from_str(right).ok()?;
            if left.len() != right.len() {
                return Some(false);
            }
            all(left.into_iter().zip(right).collect())
        }
        b'"' => {
            let left: String = serde_json::from_str(left).ok()?;
            let right: String = serde_json::from_str(right).ok()?;
            Some(left == right)
        }
        b'0' => Some(decimal(left)? == decimal(right)?),
        _ => Some(left == right),
    }
}

/// A number's sign, its digits without zeros around them, and the power of ten of the last one; alike
/// for all ways to write it.
fn decimal(text: &str) -> Option<(bool, String, i64)> {
    let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let unsigned = mantissa.trim_start_matches('-');
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let dropped = i64::try_from(digits.len() - significant.len()).ok()?;
    let power: i64 = power.parse().ok()?;
    let exponent = power
        .checked_sub(i64::try_from(fraction.len()).ok()?)?
        .checked_add(dropped)?;
    let significant = significant.trim_start_matches('0').to_owned();
    Some(match significant.is_empty() {
        true => (false, significant, 0),
        false => (mantissa.starts_with('-'), significant, exponent),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_equal_by_value_to_the_last_digit() {
        for (left, right, same) in [
            ("1", "1.0", true),
            ("300", "3.00e+2", true),
            ("-0", "0.000E5", true),
            ("0.001", "1e-3", true),
            ("-1", "1", false),
            ("10", "1", false),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567891",
                false,
            ),
            (
                "123456789012345678901234567890",
                "1.2345678901234567890123456789e29",
                true,
            ),
            (
                r#"{"a":[1,{"b":"x"}],"c":null}"#,
                r#"{ "c": null, "a": [1.0, {"b": "\u0078"}] }"#,
                true,
            ),
            (r#"{"a":1}"#, r#"{"a":1,"b":2}"#, false),
            ("[1]", "[1,1]", false),
            (r#""1""#, "1", false),
            ("null", "true", false),
        ] {
            assert_eq!(equal(left, right), Some(same), "{left} and {right}");
            assert_eq!(equal(right, left), Some(same), "{right} and {left}");
        }
    }
}
