//! The document in itself: its golden file, its examples, and that nothing is left out.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::problem::Cause;
use super::*;

fn whole() -> Value {
    document(&crate::table(), &Limits::default())
}

/// Every operation with its path and method.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            all.push((path.clone(), method.clone(), operation.clone()));
        }
    }
    all
}

#[test]
fn the_document_is_as_it_was() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/formats/openapi.json");
    let text = format!("{:#}\n", whole());
    if std::env::var_os("EDGEBUS_REWRITE_GOLDEN").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        text == golden,
        "tests/formats/openapi.json differs; EDGEBUS_REWRITE_GOLDEN=1 rewrites it, and git shows how"
    );
}

#[test]
fn every_operation_is_told_whole() {
    let document = whole();
    let tags: Vec<&str> = TAGS.iter().map(|(name, _)| *name).collect();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let place = format!("{method} {path}");
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{place}: {id} is there twice");
        assert!(
            tags.contains(&operation["tags"][0].as_str().unwrap()),
            "{place}"
        );
        assert!(
            operation["summary"]
                .as_str()
                .is_some_and(|words| words.len() > 8),
            "{place}"
        );
        let parameters = operation["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let named: BTreeSet<&str> = parameters
            .iter()
            .filter(|own| own["in"] == "path")
            .map(|own| own["name"].as_str().unwrap())
            .collect();
        let parts: BTreeSet<&str> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        assert_eq!(named, parts, "{place}");
        let answers = operation["responses"].as_object().unwrap();
        assert!(
            answers.keys().any(|status| status.starts_with('2')),
            "{place}"
        );
        assert!(
            answers.keys().any(|status| status.starts_with('4')),
            "{place} has no errors"
        );
        let content = answers.values().chain(operation.get("requestBody"));
        for (media_type, media) in content
            .filter_map(|own| own["content"].as_object())
            .flatten()
        {
            // A component is bytes that no text can show.
            let shown = media["examples"]
                .as_object()
                .is_some_and(|all| !all.is_empty());
            assert!(
                shown || media_type == "application/wasm",
                "{place}: {media_type} has no example"
            );
        }
    }
}

#[test]
fn every_problem_is_there_and_every_reference_leads_somewhere() {
    let document = whole();
    let examples = document["components"]["examples"].as_object().unwrap();
    let kinds = &document["components"]["schemas"]["ProblemType"]["enum"];
    for cause in Cause::ALL {
        let name = problems::example_name(cause, cause.code());
        let example = &examples[&name]["value"];
        assert_eq!(example["type"], json!(cause.urn()));
        assert_eq!(example["status"], json!(cause.status()));
        assert_eq!(example["code"], json!(cause.code().as_str()));
        assert!(kinds.as_array().unwrap().contains(&json!(cause.urn())));
    }
    let text = document.to_string();
    for (at, _) in text.match_indices("\"#/") {
        let pointer = text[at + 2..].split('"').next().unwrap();
        assert!(
            document.pointer(pointer).is_some(),
            "{pointer} is not there"
        );
    }
    for name in document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
    {
        assert!(
            text.contains(&format!("schemas/{name}\"")),
            "nothing names the shape {name}"
        );
    }
    for name in examples.keys() {
        let of_no_route = name.starts_with("no-route") || name.starts_with("method-not-allowed");
        assert!(
            of_no_route || text.contains(&format!("examples/{name}\"")),
            "no operation names {name}"
        );
    }
}
