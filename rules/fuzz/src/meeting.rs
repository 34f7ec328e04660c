//! Events that come close to a pattern: for each of its fields a value that meets one alternative, or nearly.
//!
//! Without them few events would meet more than `anything-but`. They are drawn from the pattern's text, so
//! numbers keep their digits. Values are also put into arrays, together or apart.

use crate::choices::{Choices, quoted};
use crate::event::{spelled, value};
use crate::shape::Members;
use serde_json::value::RawValue;

/// The members, as JSON, of an event that comes close to this pattern.
pub fn members(choices: &mut Choices<'_>, pattern: &str) -> Vec<String> {
    let fields: Result<Members<'_>, _> = serde_json::from_str(pattern);
    let mut members = Vec::new();
    for (key, asked) in fields.map(|fields| fields.0).unwrap_or_default() {
        if key == "$or" {
            let any: Vec<&RawValue> = serde_json::from_str(asked.get()).unwrap_or_default();
            let chosen = any.get(choices.below(any.len().clamp(1, 256)));
            let chosen = chosen.map_or("{}", |chosen| chosen.get());
            members.extend(self::members(choices, chosen));
        } else if asked.get().starts_with('{') {
            let below = self::members(choices, asked.get());
            let below = apart(choices, below);
            let key = spelled(choices, &key);
            members.push(format!("{key}:{below}"));
        } else if let Some(met) = field(choices, asked.get()) {
            let key = spelled(choices, &key);
            members.push(format!("{key}:{met}"));
        }
    }
    members
}

/// The members as one object, or in elements of arrays.
fn apart(choices: &mut Choices<'_>, mut members: Vec<String>) -> String {
    let whole = |members: &[String]| format!("{{{}}}", members.join(","));
    match choices.below(10) {
        0 => {
            let other = members.split_off(members.len() / 2);
            format!("[{},{}]", whole(&members), whole(&other))
        }
        1 => {
            let other = members.split_off(members.len() / 2);
            format!("[{},[{}]]", whole(&other), whole(&members))
        }
        2 => format!("[{},{}]", value(choices, 4), whole(&members)),
        3 => format!("[{},{{}},{}]", whole(&members), whole(&members)),
        4 => format!("[[],[{}]]", whole(&members)),
        _ => whole(&members),
    }
}

/// A value for one alternative of a field; none for absence.
fn field(choices: &mut Choices<'_>, list: &str) -> Option<String> {
    let alternatives: Vec<&RawValue> = serde_json::from_str(list).ok()?;
    let chosen = choices.below(alternatives.len().clamp(1, 256));
    let met = alternative(choices, alternatives.get(chosen)?.get());
    match choices.below(10) {
        0 => Some(format!("[{},{met}]", value(choices, 5))),
        1 => Some(format!("[{met},[{met}]]")),
        2 => Some(value(choices, 3)),
        _ if met.is_empty() => None,
        _ => Some(met),
    }
    .map(|met| met.replace("[,", "[").replace(",]", "]"))
}

/// A value that meets an alternative, or nearly; empty for absence.
fn alternative(choices: &mut Choices<'_>, asked: &str) -> String {
    let operator: Result<Members<'_>, _> = serde_json::from_str(asked);
    let Some((name, operand)) = operator
        .ok()
        .and_then(|members| members.0.into_iter().next())
    else {
        // A literal.
        return match serde_json::from_str::<String>(asked) {
            Ok(text) => spelled(choices, &text),
            Err(_) if asked.starts_with(['-', '0', '1', '2', '3', '9']) => {
                choices.another_spelling(asked)
            }
            Err(_) => asked.to_owned(),
        };
    };
    let operand = operand.get();
    match name.as_str() {
        "exists" if operand == "false" => String::new(),
        "exists" | "not" | "anything-but" => value(choices, 5),
        "regex" => quoted(choices.one(&["a", "abc", "yab", "b", "ÉX", "1.10", "abé"])),
        "cidr" => choices
            .one(&["\"10.0.0.1\"", "\"::1\"", "\"2001:db8::1\""])
            .to_owned(),
        "numeric" => {
            let parts: Vec<&RawValue> = serde_json::from_str(operand).unwrap_or_default();
            let number = parts.get(choices.below(2) * 2 + 1).or(parts.get(1));
            let number = number.map_or("0", |number| number.get());
            choices.another_spelling(number)
        }
        "all" | "exactly" | "contains-all" => {
            let inner: Vec<&RawValue> = serde_json::from_str(operand).unwrap_or_default();
            let met: Vec<String> = inner
                .iter()
                .map(|inner| alternative(choices, inner.get()))
                .collect();
            if name == "all" {
                met.into_iter().next().unwrap_or_default()
            } else {
                format!("[{}]", met.join(","))
            }
        }
        _ => {
            let inner: Result<Members<'_>, _> = serde_json::from_str(operand);
            let inner = inner.ok().and_then(|inner| inner.0.into_iter().next());
            let text = inner.as_ref().map_or(operand, |(_, text)| text.get());
            let text: String = serde_json::from_str(text).unwrap_or_default();
            let text = shaped(choices, &name, &text);
            quoted(&if inner.is_some() || name == "equals-ignore-case" {
                choices.in_any_case(&text)
            } else {
                text
            })
        }
    }
}

fn shaped(choices: &mut Choices<'_>, name: &str, text: &str) -> String {
    match name {
        "prefix" => text.to_owned() + &choices.letters(),
        "suffix" => choices.letters() + text,
        "wildcard" => {
            let mut shaped = String::new();
            let mut characters = text.chars();
            while let Some(character) = characters.next() {
                match character {
                    '*' => shaped += &choices.letters(),
                    '\\' => shaped.extend(characters.next()),
                    other => shaped.push(other),
                }
            }
            shaped
        }
        _ => text.to_owned(),
    }
}
