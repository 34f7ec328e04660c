//! The section `tests`: events with the rules that they must match. Running them is the command line's.

use std::collections::BTreeSet;

use crate::model::Name;
use crate::model::rule::DEFAULT_BUS;

use super::cursor::{Cursor, Fields, Shape};
use super::faults::Faults;
use super::pattern::value_json;
use super::rules::known_name;
use super::tree::Value;

/// Where a test's event comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EventSource {
    /// A file with a CloudEvent in JSON, relative to the manifest's folder.
    Path(String),
    /// A CloudEvent in JSON, written in the manifest; numbers keep their spelling.
    Inline(String),
}

/// One test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestCase {
    /// What it shows.
    pub name: String,
    /// The bus that the event is published on.
    pub bus: Name,
    /// The event.
    pub event: EventSource,
    /// The rules that must match. Without `expect_not` they are all that may match.
    pub expect: Vec<Name>,
    /// The rules that must not match; where given, rules in neither list may do either.
    pub expect_not: Option<Vec<Name>>,
}

const EXAMPLE: &str = "- { name: opened, event: events/opened.json, expect: [opened] }";

const CASE: Shape = Shape {
    what: "a test",
    known: &["name", "bus", "event", "expect", "expect_not"],
    later: &[],
    example: EXAMPLE,
};

const TEXT_BYTES_MAX: usize = 4_096;

/// Reads the section.
pub(super) fn read(
    section: Option<&Cursor<'_>>,
    buses: &BTreeSet<String>,
    rules: &BTreeSet<String>,
    faults: &mut Faults,
) -> Vec<TestCase> {
    let items = section
        .filter(|at| !at.node.is_null())
        .and_then(|at| at.items("`tests`", EXAMPLE, faults));
    let items = items.unwrap_or_default();
    items
        .iter()
        .filter_map(|at| case(at, buses, rules, faults))
        .collect()
}

fn case(
    at: &Cursor<'_>,
    buses: &BTreeSet<String>,
    rules: &BTreeSet<String>,
    faults: &mut Faults,
) -> Option<TestCase> {
    let fields = at.fields(&CASE, faults)?;
    let name = fields
        .require("name", faults)
        .and_then(|at| at.filled_text("the name of a test", TEXT_BYTES_MAX, faults));
    let bus = match fields.get("bus") {
        Some(at) => known_name(at, "bus", buses, faults),
        None => Name::new(DEFAULT_BUS).ok(),
    };
    let event = fields
        .require("event", faults)
        .and_then(|at| match at.node.value {
            Value::Map(_) => value_json(at, faults).map(EventSource::Inline),
            _ => at
                .filled_text("`event`", TEXT_BYTES_MAX, faults)
                .map(|path| EventSource::Path(path.to_owned())),
        });
    let expect_not = fields
        .get("expect_not")
        .is_some()
        .then(|| names(&fields, "expect_not", rules, faults));
    let expect = match expect_not {
        Some(_) if fields.get("expect").is_none() => Vec::new(),
        _ => {
            fields.require("expect", faults);
            names(&fields, "expect", rules, faults)
        }
    };
    Some(TestCase {
        name: name?.to_owned(),
        bus: bus?,
        event: event?,
        expect,
        expect_not,
    })
}

fn names(
    fields: &Fields<'_>,
    key: &str,
    rules: &BTreeSet<String>,
    faults: &mut Faults,
) -> Vec<Name> {
    let example = format!("{key}: [outside-bugs]");
    let items = fields
        .get(key)
        .and_then(|at| at.items(&format!("`{key}`"), &example, faults));
    let items = items.unwrap_or_default();
    items
        .iter()
        .filter_map(|at| known_name(at, "rule", rules, faults))
        .collect()
}
