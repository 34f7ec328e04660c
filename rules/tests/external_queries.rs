//! JSONPath's compliance test suite, given in `EDGEBUS_JSONPATH_CASES`: what its queries select.
//!
//! The variable lists files in the suite's own form, separated by colons. Each valid query has to select
//! what its case says, and each invalid one has to be refused.

#![allow(
    clippy::panic,
    reason = "a test fails by panicking, with the file and the case"
)]

use edgebus_rules::{Context, EventDocument, Filter, Part, Steps, Transform, TransformSpec};
use serde_json::Value;

/// The selected values, through an input that takes them from an event's `data`.
fn selected(selector: &str, document: &Value) -> Result<Value, String> {
    // The document is below `data`, where `$` of the query and of its filters has to lead.
    let query = selector.replace('$', "$.data");
    let spec = TransformSpec::Path(&query);
    let transform = Transform::parse(&spec, &[]).map_err(|errors| errors[0].to_string())?;
    let json = document.to_string();
    let parts = [Part::Raw {
        name: "data",
        json: json.as_bytes(),
    }];
    let context = Context {
        rule_name: "r",
        rule_arn: None,
        ingested_at: "",
    };
    let made = transform
        .apply(&EventDocument::new(&parts), &context)
        .map_err(|error| error.to_string())?;
    serde_json::from_slice(&made).map_err(|error| error.to_string())
}

fn check(case: &Value) -> Result<(), String> {
    let selector = case["selector"].as_str().unwrap_or_default();
    let document = &case["document"];
    let results: Vec<&Value> = match &case["results"] {
        Value::Array(several) => several.iter().collect(),
        _ => vec![&case["result"]],
    };
    let filter = match (Filter::parse(selector), case["invalid_selector"] == true) {
        (Ok(_), true) => return Err("accepted".to_owned()),
        (Err(_), true) => return Ok(()),
        (parsed, false) => parsed.map_err(|error| error.to_string())?,
    };
    let holds = filter.holds(document, &mut Steps::of_event());
    let wanted = results[0].as_array().is_some_and(|nodes| !nodes.is_empty());
    if holds != Ok(wanted) {
        return Err(format!("holds: {holds:?}"));
    }
    let plain = !selector.contains("'$") && !selector.contains("\"$") && !selector.contains("$'");
    if !plain {
        return Ok(());
    }
    let made = selected(selector, document)?;
    // One place gives its value, all others a list.
    let one = |result: &&Value| result.get(0).unwrap_or(&Value::Null) == &made;
    match results.iter().any(|result| **result == made) || results.iter().any(one) {
        true => Ok(()),
        false => Err(format!("selected {made}")),
    }
}

#[test]
fn external_queries() {
    let Some(files) = std::env::var_os("EDGEBUS_JSONPATH_CASES") else {
        println!("EDGEBUS_JSONPATH_CASES is not set: no external queries were run");
        return;
    };
    let mut run = 0;
    let mut wrong = Vec::new();
    for file in std::env::split_paths(&files) {
        let text = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let suite: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for case in suite["tests"].as_array().into_iter().flatten() {
            run += 1;
            if let Err(found) = check(case) {
                wrong.push(format!("{}: {}: {found}", case["name"], case["selector"]));
            }
        }
    }
    println!("{run} external queries");
    assert!(run > 0, "EDGEBUS_JSONPATH_CASES is set but holds no case");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
