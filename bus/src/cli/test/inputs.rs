//! The inputs that a test expects, held against those that targets get.
//!
//! Never here: how an input is made; that is what a running bus does with it.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::WrongInput;
use crate::bus::Rulebook;
use crate::model::{Data, Event, Name};

/// `None` if the target gets what is expected. `target` is `rule/function`, or the rule alone where it has
/// one target.
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
    let (rule, function) = match target.split_once('/') {
        Some((rule, function)) => (rule, Some(function)),
        None => (target, None),
    };
    let Some(rule) = rulebook.rule(rule) else {
        return Err(format!("there is no rule `{rule}`"));
    };
    if !matched.contains(&rule.name) {
        return Err(format!("nothing: the rule `{}` did not match", rule.name));
    }
    let function = match (function, rule.targets.as_slice()) {
        (Some(function), targets) => targets
            .iter()
            .map(|target| target.function.as_str())
            .find(|own| *own == function)
            .ok_or_else(|| format!("the rule `{}` has no target `{function}`", rule.name))?,
        (None, [only]) => only.function.as_str(),
        (None, _) => {
            return Err(format!(
                "the rule `{0}` has several targets: write `{0}/FUNCTION`",
                rule.name
            ));
        }
    };
    let verdict = rulebook
        .verdict(&rule.name, event)
        .ok_or_else(|| "the event can't be read".to_owned())?;
    let made = verdict.inputs.iter().find(|made| made.function == function);
    match made {
        Some(made) => match (&made.input, &made.fault) {
            (Some(input), _) => Ok(input.get().to_owned()),
            (None, fault) => Err(fault.clone().unwrap_or_default()),
        },
        // Without an `input` it is the event's own data.
        None => match &event.data {
            Data::Json(json) => Ok(String::from_utf8_lossy(json).into_owned()),
            _ => Err("the event has no JSON data".to_owned()),
        },
    }
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
