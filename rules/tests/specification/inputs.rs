//! What inputs are made of an event.

use crate::page::{Table, code, tables_of};
use edgebus_rules::{Context, EventDocument, Part, Transform, TransformSpec};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const OURS: &str = "template";
const EVENTBRIDGE: &str = "EventBridge's template";
pub(crate) const TABLES: &[&str] = &[OURS, EVENTBRIDGE];

/// The only table with this head, and the code in the head of its second column.
fn only(first: &str) -> (Table, String) {
    let mut tables = tables_of(first);
    assert_eq!(tables.len(), 1, "{first}");
    let table = tables.remove(0);
    let given = code(&table.columns[1]).0[0].to_owned();
    (table, given)
}

/// Holds each row's template to the input that it makes.
fn check<'t>(table: &'t Table, event: &str, spec: impl Fn(&'t str) -> TransformSpec<'t>) {
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_str(event).expect("the event is an object");
    let members = members.iter().map(|(name, value)| Part::Raw {
        name,
        json: value.get().as_bytes(),
    });
    let parts: Vec<Part<'_>> = members.collect();
    let context = Context {
        rule_name: "rule",
        rule_arn: None,
        ingested_at: "2026-07-01T12:00:00Z",
    };
    for row in &table.rows {
        let template = code(&row.cells[0]).0[0];
        let transform = Transform::parse(&spec(template), &[("detail", "data")]);
        let transform =
            transform.unwrap_or_else(|errors| panic!("PATTERNS.md:{}: {}", row.line, errors[0]));
        let made = transform.apply(&EventDocument::new(&parts), &context);
        let made: Value = serde_json::from_slice(&made.expect("the input is small"))
            .unwrap_or_else(|error| panic!("PATTERNS.md:{}: {error}", row.line));
        let said: Value = serde_json::from_str(code(&row.cells[1]).0[0]).expect("it is JSON");
        assert_eq!(made, said, "PATTERNS.md:{}: {template}", row.line);
    }
}

#[test]
fn templates_make_what_the_page_says() {
    let (table, event) = only(OURS);
    check(&table, &event, |template| {
        TransformSpec::Template(template.as_bytes())
    });
}

#[test]
fn templates_of_eventbridge_make_what_the_page_says() {
    let (_, event) = only(OURS);
    let (table, paths) = only(EVENTBRIDGE);
    let paths: Map<String, Value> = serde_json::from_str(&paths).expect("names and paths");
    let paths: Vec<(&str, &str)> = paths
        .iter()
        .map(|(name, path)| (name.as_str(), path.as_str().expect("a path is a string")))
        .collect();
    check(&table, &event, |template| TransformSpec::EventBridge {
        paths: &paths,
        template,
    });
}
