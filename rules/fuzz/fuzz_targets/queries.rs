//! A query and an event: it ends within its budget, the same way each time, and `where` and `input` agree.
#![no_main]

use edgebus_rules::{
    ApplyError, Context, EventDocument, Filter, Part, Steps, Transform, TransformSpec,
};
use libfuzzer_sys::fuzz_target;
use rules_fuzz::{fixed, shape};
use serde_json::value::RawValue;

const CONTEXT: Context<'_> = Context {
    rule_name: "r",
    rule_arn: None,
    ingested_at: "2026-07-01T12:00:00Z",
};

fn check(query: &str, filter: &Filter, transform: &Transform, event: &str) {
    let Some(members) = shape::members(event.as_bytes()) else {
        return;
    };
    let parts: Vec<Part<'_>> = members
        .iter()
        .map(|(name, value)| Part::Raw {
            name,
            json: value.get().as_bytes(),
        })
        .collect();
    let document = EventDocument::new(&parts);
    let Ok(tree) = document.tree() else {
        return;
    };
    let mut steps = Steps::of_event();
    let holds = filter.holds(tree, &mut steps);
    let mut again = Steps::at_most(steps.used());
    assert_eq!(filter.holds(tree, &mut again), holds, "{query}");
    assert_eq!(again.used(), steps.used(), "{query}");
    if let Some(fewer) = steps.used().checked_sub(1) {
        assert!(
            filter.holds(tree, &mut Steps::at_most(fewer)).is_err(),
            "{query}"
        );
    }
    let _ = filter.may_outgrow();
    match transform.apply(&document, &CONTEXT) {
        // A query of several gives a list; one of a place gives its value, or null without one.
        Ok(made) if transform.needs_tree() => {
            // Raw, for a number beyond binary64 is no value of a tree.
            let made: Vec<&RawValue> = serde_json::from_slice(&made).unwrap_or_default();
            let some = !made.is_empty();
            // An input goes through all nodes, and `where` only to the first.
            assert!(holds.is_err() || holds == Ok(some), "{query} of {event}");
        }
        Err(ApplyError::UsedUp(_)) | Err(_) | Ok(_) => {}
    }
}

// The query up to a line end, and the event behind it; the query also meets the fixed events.
fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (query, event) = text.split_once('\n').unwrap_or((text, "{}"));
    let filter = Filter::parse(query);
    let transform = Transform::parse(&TransformSpec::Path(query), &[]);
    let (filter, transform) = match (filter, transform) {
        (Ok(filter), Ok(transform)) => (filter, transform),
        (Err(error), Err(_)) => {
            assert!(error.offset <= query.len(), "{error}");
            return;
        }
        _ => unreachable!("one takes what the other refuses: {query}"),
    };
    for event in fixed::EVENTS.iter().copied().chain([event]) {
        check(query, &filter, &transform, event);
    }
});
