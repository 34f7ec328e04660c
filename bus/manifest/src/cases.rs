//! The section `tests`: events with the rules that they must match. Running them is the command line's.

use std::collections::BTreeSet;

use edgebus_model::rule::DEFAULT_BUS;
use edgebus_model::{Name, RuleConfig};

use super::cursor::{Cursor, Fields};
use super::errors::{Errors, shown};
use super::nearest::nearest;
use super::pattern::value_json;
use super::rules::known_name;
use super::shape::cases::{CASE, EXAMPLE};
use super::tree::Value;

/// Where a test's event comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EventSource {
    /// A file with CloudEvents in JSON, relative to the manifest's folder: one, an array of them, or
    /// (`.jsonl`) one on each line.
    Path(String),
    /// A CloudEvent in JSON, written in the manifest; numbers keep their spelling. `specversion`, `id`
    /// and `source` may be missing.
    Inline(String),
}

/// One test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestCase {
    /// What it shows.
    pub name: String,
    /// The bus that the event is published on.
    pub bus: Name,
    /// The events, each of which must do what is expected; never empty.
    pub events: Vec<EventSource>,
    /// The rules that must match. Without `expect_not` they are all that may match.
    pub expect: Vec<Name>,
    /// The rules that must not match; where given, rules in neither list may do either.
    pub expect_not: Option<Vec<Name>>,
    /// The data that targets must get, as JSON, by the name of a subscription or of a rule.
    pub expect_input: Vec<(String, String)>,
}

/// What a test may name.
pub(super) struct Declared<'n> {
    buses: &'n BTreeSet<String>,
    rules: &'n BTreeSet<String>,
    subscriptions: BTreeSet<&'n str>,
}

impl<'n> Declared<'n> {
    pub(super) fn of(
        buses: &'n BTreeSet<String>,
        rules: &'n BTreeSet<String>,
        items: &'n [RuleConfig],
    ) -> Self {
        let targets = items.iter().flat_map(|rule| &rule.targets);
        Self {
            buses,
            rules,
            subscriptions: targets.map(|target| target.name.as_str()).collect(),
        }
    }
}

/// Reads the section.
pub(super) fn read(
    section: Option<&Cursor<'_>>,
    declared: &Declared<'_>,
    errors: &mut Errors,
) -> Vec<TestCase> {
    let items = section
        .filter(|at| !at.node.is_null())
        .and_then(|at| at.items("`tests`", EXAMPLE, errors));
    let items = items.unwrap_or_default();
    items
        .iter()
        .filter_map(|at| case(at, declared, errors))
        .collect()
}

fn case(at: &Cursor<'_>, declared: &Declared<'_>, errors: &mut Errors) -> Option<TestCase> {
    let (buses, rules) = (declared.buses, declared.rules);
    let fields = at.fields(&CASE, errors)?;
    let name = fields
        .require("name", errors)
        .and_then(|at| at.filled_text(fields.words("name"), errors));
    let bus = match fields.get("bus") {
        Some(at) => known_name(at, "bus", buses, errors),
        None => Name::new(DEFAULT_BUS).ok(),
    };
    let events = fields
        .require("event", errors)
        .and_then(|at| events(at, &fields, errors));
    let expect_not = fields
        .get("expect_not")
        .is_some()
        .then(|| names(&fields, "expect_not", rules, errors));
    let expect = match expect_not {
        Some(_) if fields.get("expect").is_none() => Vec::new(),
        _ => {
            fields.require("expect", errors);
            names(&fields, "expect", rules, errors)
        }
    };
    let expect_input = inputs(&fields, declared, errors);
    Some(TestCase {
        name: name?.to_owned(),
        bus: bus?,
        events: events?,
        expect,
        expect_not,
        expect_input,
    })
}

/// The inputs that are expected, each under a subscription or a rule that is declared.
fn inputs(
    fields: &Fields<'_>,
    declared: &Declared<'_>,
    errors: &mut Errors,
) -> Vec<(String, String)> {
    let Some(at) = fields.get("expect_input") else {
        return Vec::new();
    };
    let entries = at.entries(
        "`expect_input`",
        "expect_input: { outside-bugs: 1 }",
        errors,
    );
    let mut expected = Vec::new();
    for entry in entries.unwrap_or_default() {
        let rule = entry.key.split('/').next().unwrap_or_default();
        if !declared.rules.contains(rule) && !declared.subscriptions.contains(entry.key) {
            let words = declared.rules.iter().take(100).map(String::as_str);
            let remedy = match nearest(rule, words) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write RULE, or the name of one of its targets".to_owned(),
            };
            errors.add(
                &entry.key_spot,
                format!("rule `{}` is not declared", shown(rule)),
                remedy,
            );
        }
        if let Some(json) = value_json(&entry.value, errors) {
            expected.push((entry.key.to_owned(), json));
        }
    }
    expected
}

/// One event or a list of them.
fn events(at: &Cursor<'_>, fields: &Fields<'_>, errors: &mut Errors) -> Option<Vec<EventSource>> {
    let (count, words) = (fields.bounds_of_list("event"), fields.words("event"));
    let items = match &at.node.value {
        Value::List(_) => at
            .items("`event`", "event: [events/opened.json]", errors)
            .unwrap_or_default(),
        _ => vec![at.clone()],
    };
    if items.len() < count.least || items.len() > count.most {
        errors.add(
            &at.spot(),
            format!("`event` has {} events", items.len()),
            format!(
                "write {} to {}, or put them into one file",
                count.least, count.most
            ),
        );
        return None;
    }
    items
        .iter()
        .map(|at| match at.node.value {
            Value::Map(_) => value_json(at, errors).map(EventSource::Inline),
            _ => at
                .filled_text(words, errors)
                .map(|path| EventSource::Path(path.to_owned())),
        })
        .collect()
}

fn names(
    fields: &Fields<'_>,
    key: &str,
    rules: &BTreeSet<String>,
    errors: &mut Errors,
) -> Vec<Name> {
    let items = fields.list(key, "[outside-bugs]", errors);
    items
        .iter()
        .filter_map(|at| known_name(at, "rule", rules, errors))
        .collect()
}
