//! Patterns that can match but are probably mistakes: a key that is nearly the name of an attribute, and a
//! plain value with a `*` in it.
//!
//! Never here: what can't match (`patterns`).

use serde_json::Value;

use super::super::document::{Document, Side};
use super::super::errors::{join, shown};
use super::super::nearest::nearest;
use super::super::pattern::KNOWN;
use edgebus_model::RuleConfig;
use edgebus_model::error::InputError;

/// Extension attributes that are in use and near the name of another one.
const EXTENSIONS: [&str; 9] = [
    "dataref",
    "sequence",
    "traceparent",
    "tracestate",
    "partitionkey",
    "expirytime",
    "correlationid",
    "causationid",
    "replayname",
];
/// Warnings of one kind for one rule.
const WARNINGS_MAX: usize = 20;

/// What was found in a pattern.
#[derive(Default)]
pub(super) struct Slips {
    /// Keys that are nearly the name of an attribute.
    pub(super) near: Vec<InputError>,
    /// Plain values with a star.
    pub(super) stars: Vec<InputError>,
}

/// Looks at a rule's pattern.
pub(super) fn check(document: &Document, rule: &RuleConfig) -> Slips {
    let mut own = Slips::default();
    let pattern = rule.pattern.as_deref();
    let Some(Value::Object(members)) = pattern.and_then(|text| serde_json::from_str(text).ok())
    else {
        return own;
    };
    let at = format!("/rules/{}/match", rule.name);
    attributes(document, &members, &at, &mut own.near);
    for (key, value) in &members {
        let pointer = join(&at, &spelled(document, &at, key));
        stars(document, key, value, &pointer, &mut own.stars);
    }
    own.near.truncate(WARNINGS_MAX);
    own.stars.truncate(WARNINGS_MAX);
    own
}

/// The key as the manifest has it: a pattern may be written with EventBridge's names.
fn spelled(document: &Document, at: &str, key: &str) -> String {
    let (first, rest) = key.split_at(key.find('.').unwrap_or(key.len()));
    let alias = crate::view::ALIASES.iter().find(|(_, ours)| *ours == first);
    let foreign = alias.map(|(alias, _)| format!("{alias}{rest}"));
    let is_there =
        |key: &str| document.place(&join(at, key), Side::Key) != document.place(at, Side::Key);
    match foreign {
        Some(foreign) if !is_there(key) => foreign,
        _ => key.to_owned(),
    }
}

/// Keys at the top, and in `$or` there.
fn attributes(
    document: &Document,
    members: &serde_json::Map<String, Value>,
    at: &str,
    found: &mut Vec<InputError>,
) {
    for (key, value) in members {
        let pointer = join(at, key);
        if let ("$or", Value::Array(choices)) = (key.as_str(), value) {
            for (index, choice) in choices.iter().enumerate() {
                if let Value::Object(members) = choice {
                    attributes(
                        document,
                        members,
                        &join(&pointer, &index.to_string()),
                        found,
                    );
                }
            }
            continue;
        }
        let name = key.split('.').next().unwrap_or_default();
        if name == "resources" {
            found.push(document.note(
                &pointer,
                Side::Key,
                "EventBridge's `resources` is a list, and no attribute of an event is one",
                "publish it in the data, and write `data: { resources: … }`",
            ));
            continue;
        }
        if KNOWN.contains(&name) || EXTENSIONS.contains(&name) || name.len() < 3 {
            continue;
        }
        // A longer or shorter name is likely to be meant as it is.
        let core = KNOWN.into_iter();
        let core = core.filter(|own| own.len() > 2 && own.len().abs_diff(name.len()) <= 1);
        let Some(near) = nearest(name, core.collect::<Vec<_>>().iter().copied()) else {
            continue;
        };
        found.push(document.note(
            &pointer,
            Side::Key,
            format!("`{name}` is an attribute of its own, and nearly `{near}`"),
            format!(
                "did you mean `{near}`? Leave it if events have an extension attribute `{name}`"
            ),
        ));
    }
}

/// Plain values with a star, which is only a star there.
fn stars(document: &Document, key: &str, value: &Value, at: &str, found: &mut Vec<InputError>) {
    let below =
        |members: &serde_json::Map<String, Value>, at: &str, found: &mut Vec<InputError>| {
            for (key, value) in members {
                stars(document, key, value, &join(at, key), found);
            }
        };
    match value {
        Value::Object(members) => below(members, at, found),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let at = join(at, &index.to_string());
                match item {
                    Value::String(text) if text.contains('*') => found.push(document.note(
                        &at,
                        Side::Value,
                        format!(
                            "`{}` is compared as it stands: its `*` is only a star",
                            shown(text)
                        ),
                        remedy(text),
                    )),
                    // In `$or` there are fields; everywhere else this is an operator, whose star means what it says.
                    Value::Object(members) if key == "$or" => below(members, &at, found),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

fn remedy(text: &str) -> String {
    match text.trim_start().starts_with('{') {
        true => "write the operator as a mapping, without the quotes around it".to_owned(),
        false => format!(
            "write {{ wildcard: '{0}' }} for any text there; {{ wildcard: '{1}' }} if a star is meant",
            shown(text),
            shown(text).replace('*', "\\*")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_told_where_they_are() {
        let check = |pattern: &str, expected: &[(&str, &str)]| {
            let text = format!(
                "version: 1\nfunctions: {{ f: {{}} }}\nrules:\n  r: {{ match: {{ {pattern} }}, to: [{{ function: f }}] }}"
            );
            let document = Document::read(&text);
            assert!(document.errors.is_empty(), "{:?}", document.errors);
            let slips = super::check(&document, &document.manifest.rules[0]);
            let found = [slips.near, slips.stars].concat();
            assert_eq!(found.len(), expected.len(), "{pattern}: {found:?}");
            for (error, (written, words)) in found.iter().zip(expected) {
                let told = format!("{} | {}", error.reason, error.remedy);
                assert!(told.contains(words), "{pattern}: {told}");
                let (line, column) = error.place.unwrap();
                let line: String = text.lines().nth(line as usize - 1).unwrap().into();
                let at: String = line.chars().skip(column as usize - 1).collect();
                assert!(at.starts_with(written), "{pattern}: {at}");
            }
        };
        check("resources: [x]", &[("resources", "data: { resources")]);
        check("typ: [x]", &[("typ", "did you mean `type`?")]);
        check("sorce.a: [x]", &[("sorce", "did you mean `source`?")]);
        check("$or: [{ tipe: [x] }, { type: [y] }]", &[("tipe", "`type`")]);
        check(
            "type: [com.example.*]",
            &[("com.example.*", "{ wildcard: 'com.example.*' }")],
        );
        check("detail: { a: [b, 'c*'] }", &[("'c*'", "wildcard: 'c\\*'")]);
        check(
            "data: { $or: [{ a: ['*'] }, { b: [1] }] }",
            &[("'*'", "only a star")],
        );
        check(
            "type: ['{ \"wildcard\": \"a*\" }']",
            &[("'{", "as a mapping")],
        );
        for fine in [
            "type: [{ wildcard: 'a*' }], source: [{ anything-but: ['a*'] }]",
            "partitionkey: [x], region: [eu], version: ['0'], account: ['1']",
            "data: { typ: [x] }",
            "sourceid: [x], sequence: ['1'], traceparent: [x], tracestate: [x]",
        ] {
            check(fine, &[]);
        }
    }
}
