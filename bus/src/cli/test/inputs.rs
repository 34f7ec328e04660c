//! The inputs that a test expects, held against those that targets get.
//!
//! Never here: how an input is made; that is what a running bus does with it.

use serde_json::Value;

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
    let same = match (&got, serde_json::from_str::<Value>(expected)) {
        (Ok(got), Ok(expected)) => {
            serde_json::from_str::<Value>(got).is_ok_and(|got| equal(&got, &expected))
        }
        _ => false,
    };
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

/// Equal as JSON; numbers by value, so that 1 is 1.0.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left == right || left.as_f64() == right.as_f64()
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| equal(value, other)))
        }
        (left, right) => left == right,
    }
}
