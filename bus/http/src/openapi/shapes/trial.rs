//! What a trial of a function shows: how it ended, and what it would have emitted and written.

use serde_json::{Value, json};

use super::super::schema::{list, name, number, object, reference, text};
use super::deliveries::outcome;
use super::{DIGEST, Shape, digest, order};

/// The shapes of a trial.
pub(super) fn shapes() -> Vec<Shape> {
    let emitted_example = json!({
        "bus": "default", "subscriptions": ["enriched-orders/order-totals"], "event": order(),
    });
    let write_example = json!({"key": "total/ada", "value": "13800"});
    let example = json!({
        "function": "enricher", "revision": 1, "digest": DIGEST, "committed": false, "outcome": "success",
        "duration_us": 236, "output": "INFO converted\n", "emitted": [emitted_example], "state": [write_example],
    });
    let subscriptions = list(
        "The subscriptions that would get it, by name.",
        text("One."),
    );
    let emitted = object("An event that the function would have emitted.")
        .has("bus", name("Where it would go."))
        .has("subscriptions", subscriptions)
        .has("event", reference("Event"))
        .done();
    let message =
        "What happened; a trap's has a backtrace, one frame a line. Without it, it succeeded.";
    let events = "What it would have emitted; nothing unless it succeeded.";
    let state = "What it would have written, by key; nothing unless it succeeded.";
    let trial = object("What came of a trial.")
        .has("function", name("The function."))
        .has("revision", number("The revision that ran.", 1))
        .has("digest", digest("BLAKE3 of its component's bytes."))
        .has(
            "committed",
            json!({"const": false, "description": "A trial commits nothing."}),
        )
        .has("outcome", outcome("How it ended."))
        .may("message", text(message))
        .has(
            "duration_us",
            number("How long it ran, in microseconds.", 0),
        )
        .has("output", text("What the function wrote, up to its limit."))
        .has("emitted", list(events, reference("WouldEmit")))
        .has("state", list(state, reference("WouldWrite")))
        .done();
    vec![
        ("WouldEmit", emitted, emitted_example),
        ("WouldWrite", write(), write_example),
        ("Trial", trial, example),
    ]
}

/// A key with its value; either in Base64 where it is not UTF-8.
fn write() -> Value {
    let base64 =
        |words: &str| json!({"type": "string", "contentEncoding": "base64", "description": words});
    let deleted = json!({"const": true, "description": "The key would be deleted."});
    let mut write = object("A state key that the function would have written.")
        .may("key", text("The key."))
        .may("key_base64", base64("The key, where it is not UTF-8."))
        .may("value", text("The value."))
        .may("value_base64", base64("The value, where it is not UTF-8."))
        .may("deleted", deleted)
        .done();
    let one_of = |names: &[&str]| -> Value {
        let each: Vec<Value> = names
            .iter()
            .map(|name| json!({"required": [name]}))
            .collect();
        json!({"oneOf": each})
    };
    write["allOf"] = json!([
        one_of(&["key", "key_base64"]),
        one_of(&["value", "value_base64", "deleted"]),
    ]);
    write
}
