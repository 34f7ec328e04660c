//! Events, as they are published and read.

use serde_json::{Value, json};

use super::super::schema::{flag, list, next, number, object, reference, text, time};
use super::{AT, Shape};
use crate::problem::Cause;
use edgebus_model::error::Kind;
use edgebus_model::{Code, Event};

/// The event shapes.
pub(super) fn shapes() -> Vec<Shape> {
    let accepted = json!({"id": "o-1001", "position": 6, "duplicate": false});
    let another = json!({"id": "o-1002", "position": 7, "duplicate": false});
    let stored = json!({"position": 6, "accepted_at": AT, "event": order()});
    let accepted_schema = object("One event is on stable storage.")
        .has("id", text("The event's id."))
        .has(
            "position",
            number(
                "Its place in the bus's log; a duplicate's is the first one's.",
                1,
            ),
        )
        .has(
            "duplicate",
            flag("True if source and id were published before, within the dedupe window."),
        )
        .done();
    let batch = object("The events of a batch are on stable storage, all in one transaction.")
        .has(
            "results",
            list("One for each event, in order.", reference("Accepted")),
        )
        .done();
    let refused_schema = object("An event of the batch that was not stored.")
        .has("problem", reference("Problem"))
        .done();
    let refused = json!({"problem": {
        "type": Cause::Handle(Kind::Invalid).urn(),
        "code": Code::EventInvalid.as_str(),
        "title": "The input is invalid",
        "status": 400,
        "detail": "/1/type: is required",
        "errors": [{"pointer": "/1/type", "reason": "is required"}],
    }});
    let each = object(
        "What became of each event of a batch that was sent with `Prefer: handling=lenient`.",
    )
    .has(
        "results",
        list(
            "One for each event, in order.",
            json!({"oneOf": [reference("Accepted"), reference("Refused")]}),
        ),
    )
    .has("refused", number("How many of them were not stored.", 0))
    .done();
    let stored_schema = object("An event with its place in the log.")
        .has("position", number("Its place in the bus's log.", 1))
        .has("accepted_at", time("When it was accepted."))
        .has("event", reference("Event"))
        .done();
    let page = object("A page of a bus's log, oldest first.")
        .has(
            "events",
            list(
                "The events; may be few although there are more.",
                reference("StoredEvent"),
            ),
        )
        .has(
            "next",
            next("Give it as `after` for the next page; null at the end."),
        )
        .may(
            "older",
            next("With `last`: give it as `before` for those before these; null at the log's beginning."),
        )
        .may(
            "newest",
            number(
                "With `last`: the log's last position, from which a stream goes on.",
                0,
            ),
        )
        .done();
    vec![
        ("Event", event(), order()),
        ("Accepted", accepted_schema, accepted.clone()),
        (
            "AcceptedBatch",
            batch,
            json!({"results": [accepted, another]}),
        ),
        ("Refused", refused_schema, refused.clone()),
        (
            "AcceptedEach",
            each,
            json!({"results": [accepted, refused], "refused": 1}),
        ),
        ("StoredEvent", stored_schema, stored.clone()),
        ("EventPage", page, json!({"events": [stored], "next": "6"})),
    ]
}

/// The sample event that all examples are about.
pub(in crate::openapi) fn order() -> Value {
    json!({
        "specversion": "1.0",
        "id": "o-1001",
        "source": "/shop",
        "type": "com.example.order.placed",
        "datacontenttype": "application/json",
        "data": {
            "id": "o-1001", "customer": "ada", "country": "DE", "currency": "EUR",
            "lines": [{"sku": "lamp", "quantity": 2, "unit_cents": 6900}],
        },
    })
}

fn attribute(words: &str) -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": Event::ATTRIBUTE_BYTES_MAX,
        "description": words,
    })
}

/// A CloudEvent in the JSON format.
fn event() -> Value {
    let words = format!(
        "A CloudEvent 1.0 in the JSON format. Other members are extension attributes: at most {} of them, \
         with names of 1 to {} lower-case letters and digits. An attribute has at most {} bytes.",
        Event::EXTENSIONS_MAX,
        Event::NAME_BYTES_MAX,
        Event::ATTRIBUTE_BYTES_MAX
    );
    let extension = json!({
        "type": ["string", "integer", "boolean"],
        "description": "An extension attribute.",
    });
    json!({
        "type": "object",
        "description": words,
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": {"const": "1.0", "description": "The version of CloudEvents."},
            "id": attribute("With `source`, unique for each distinct event: a repeated pair is a duplicate."),
            "source": attribute("Where it comes from: a URI reference."),
            "type": attribute("What happened, as in com.example.order.placed."),
            "subject": attribute("What it is about."),
            "time": {"type": "string", "format": "date-time", "description": "When it happened: RFC 3339, kept as it was written."},
            "datacontenttype": attribute("The media type of the data."),
            "dataschema": attribute("The URI of the data's schema."),
            "data": {"description": "The data as JSON, or as text; kept byte for byte."},
            "data_base64": {"type": "string", "contentEncoding": "base64", "description": "The data where it is neither; instead of `data`."},
        },
        "additionalProperties": extension,
        "not": {"required": ["data", "data_base64"]},
    })
}
