//! Raw bytes as an input in each of its forms: errors lie within the text, and what is made is JSON.
#![no_main]

use edgebus_rules::{ApplyError, Context, EventDocument, Part, Transform, TransformSpec};
use libfuzzer_sys::fuzz_target;
use rules_fuzz::{fixed, shape};
use serde::de::IgnoredAny;

const CONTEXT: Context<'_> = Context {
    rule_name: "a \"rule\"\\ \u{1}",
    rule_arn: None,
    ingested_at: "2026-07-01T12:00:00Z",
};

fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

fn check(spec: &TransformSpec<'_>, longest: usize) {
    let transform = match Transform::parse(spec, &[("detail", "a")]) {
        Ok(transform) => transform,
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                assert!(error.offset <= longest, "{error}");
            }
            return;
        }
    };
    let nothing = transform.apply(&EventDocument::new(&[]), &CONTEXT);
    for event in fixed::EVENTS {
        let members = shape::members(event.as_bytes()).unwrap_or_default();
        let mut parts = vec![Part::Text {
            name: "type",
            value: "say \"on\"\\ \u{7}\u{2028}",
        }];
        parts.extend(members.iter().map(|(name, value)| Part::Raw {
            name,
            json: value.get().as_bytes(),
        }));
        let input = transform.apply(&EventDocument::new(&parts), &CONTEXT);
        if let Ok(input) = &input {
            assert!(
                is_json(input),
                "{} is no JSON",
                String::from_utf8_lossy(input)
            );
        }
        if let Err(ApplyError::Event(error)) = &input {
            // A tree of the event holds binary64 only; the events themselves are valid.
            assert!(
                transform.needs_tree() && error.reason.contains("out of range"),
                "{error}"
            );
        }
        if !transform.needs_event() {
            assert_eq!(input, nothing, "it needs no event, but depends on it");
        }
        if let (Some(constant), Ok(input)) = (transform.constant(), &input) {
            assert_eq!(constant.as_bytes(), input, "a constant that changes");
        }
    }
}

// The first byte chooses the form. In EventBridge's, lines up to an empty one are names and their paths.
fuzz_target!(|bytes: &[u8]| {
    let Some((&form, rest)) = bytes.split_first() else {
        return;
    };
    let text = std::str::from_utf8(rest);
    match (form % 4, text) {
        (0, Ok(text)) => check(&TransformSpec::Path(text), text.len()),
        (1, _) => check(&TransformSpec::Template(rest), rest.len()),
        (2, _) => check(&TransformSpec::Constant(rest), rest.len()),
        (3, Ok(text)) => {
            let (head, template) = text.split_once("\n\n").unwrap_or(("", text));
            let paths: Vec<(&str, &str)> = head
                .lines()
                .filter_map(|line| line.split_once('='))
                .collect();
            check(
                &TransformSpec::EventBridge {
                    paths: &paths,
                    template,
                },
                text.len(),
            );
        }
        _ => {}
    }
});
