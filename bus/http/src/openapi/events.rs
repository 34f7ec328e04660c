//! Publishing, and reading the log, described.

use serde_json::{Value, json};

use super::operation::{JSON, Operation};
use super::schema::{name, reference, text, time};
use super::shapes;
use crate::explain::RULES_MAX;
use crate::page;
use crate::prefer;
use crate::problem::Cause;
use crate::serve::Limits;
use edgebus_model::Code;
use edgebus_model::error::Kind;
use edgebus_model::limits::{BATCH_EVENTS_MAX, EVENT_BYTES_MAX, PAGE_ROWS_MAX};
use edgebus_model::rule::DEFAULT_BUS;

const PUBLISHING: &str = "The mode follows from Content-Type, as CloudEvents' HTTP binding has it: \
structured, batch, or (any other type) binary, with attributes in `ce-` headers and the body as data. \
202 leaves when the event, its dedupe record and its deliveries are on stable storage. Any other answer, \
or none, means unknown: repeat with the same `source` and `id`, and get the first answer with \
`duplicate: true`. The pair with another type, subject or data is another event's: 409, unless the bus says \
`differing: duplicate`. A batch is one transaction, all of it or nothing, unless it makes more than 4,000 rows: \
then it is stored in parts, and an error after the first part leaves what was stored before. With \
`Prefer: handling=lenient` a batch is taken event by event: those invalid are left out, and the answer is 202 with \
a result for each, even if none was stored.";

/// `bus` in the path.
pub(super) fn bus(operation: Operation) -> Operation {
    operation
        .path("bus", name("A bus."), "The bus's name.", json!(DEFAULT_BUS))
        .problem(Cause::Handle(Kind::NotFound), "There is no such bus.")
}

/// `limit`.
pub(super) fn limit(operation: Operation) -> Operation {
    operation.query(
        "limit",
        json!({"type": "integer", "minimum": 1, "maximum": PAGE_ROWS_MAX, "default": page::ROWS_DEFAULT}),
        "Rows of the page at most. A page that has grown past 4 MiB ends before.",
        json!(10),
    )
}

fn publishing(id: &'static str, summary: &'static str, limits: &Limits) -> Operation {
    let Limits {
        event_bytes_max,
        batch_bytes_max,
        ..
    } = limits;
    let body = format!(
        "One event of at most {EVENT_BYTES_MAX} bytes in a body of at most {event_bytes_max}, or a batch of at most {BATCH_EVENTS_MAX} events in a body of at most {batch_bytes_max}."
    );
    let batch = json!({
        "type": "array",
        "maxItems": BATCH_EVENTS_MAX,
        "items": reference("Event"),
    });
    let mut second = shapes::order();
    second["id"] = json!("o-1002");
    let operation = Operation::new(id, "events", summary)
        .about(PUBLISHING)
        .header(
            "Prefer",
            text("Preferences (RFC 7240)."),
            "`handling=lenient`: a batch is taken event by event, and the answer says of each where it is or why it was not stored.",
            json!(prefer::LENIENT),
        )
        .takes(
            body.clone(),
            "application/cloudevents+json",
            reference("Event"),
            &[("structured", shapes::order())],
        )
        .takes(
            body.clone(),
            "application/cloudevents-batch+json",
            batch,
            &[("batch", json!([shapes::order(), second]))],
        )
        .answers(
            202,
            "On stable storage.",
            JSON,
            json!({"anyOf": [reference("Accepted"), reference("AcceptedBatch"), reference("AcceptedEach")]}),
            &[
                ("one", shapes::example("Accepted")),
                ("batch", shapes::example("AcceptedBatch")),
                ("lenient", shapes::example("AcceptedEach")),
            ],
        )
        .answers_header(
            202,
            "Preference-Applied",
            json!({"const": prefer::LENIENT}),
            "There where the events of a batch were taken one by one.",
        )
        .coded_problem(
            Cause::Handle(Kind::Invalid),
            Code::EventInvalid,
            "An event is no CloudEvent, or its data can't be read by a rule; nothing was stored.",
        )
        .coded_problem(
            Cause::Handle(Kind::Invalid),
            Code::FanOutTooLarge,
            "An event matches more than 10,000 subscriptions.",
        )
        .coded_problem(
            Cause::Handle(Kind::Conflict),
            Code::IdReused,
            "An event has the `source` and `id` of another one, whose type, subject or data differ; nothing was stored. `errors` tells which, and the position of the first.",
        )
        .problem(
            Cause::Handle(Kind::StorageFull),
            "The disk is at its floor of free space.",
        )
        .reads_body()
        .writes();
    binary(operation, body)
}

/// An event in binary mode, for the operations that take one event.
pub(super) fn binary(operation: Operation, body: String) -> Operation {
    let header = || text("Binary mode.");
    operation
        .header("ce-specversion", header(), "Binary mode: always 1.0.", json!("1.0"))
        .header("ce-id", header(), "Binary mode: the event's id, percent-encoded.", json!("o-1001"))
        .header("ce-source", header(), "Binary mode: its source.", json!("/shop"))
        .header("ce-type", header(), "Binary mode: its type. Other attributes go in `ce-` headers as well.", json!("com.example.order.placed"))
        .takes(body, "*/*", json!({"description": "Binary mode: the data as it is; Content-Type is `datacontenttype`."}), &[("binary", shapes::order()["data"].clone())])
}

/// `POST /v1/events`.
pub(crate) fn publish_default(limits: &Limits) -> Operation {
    publishing("publish", "Publish on the default bus", limits)
}

/// `POST /v1/buses/{bus}/events`.
pub(crate) fn publish(limits: &Limits) -> Operation {
    bus(publishing("publishOnBus", "Publish on a bus", limits))
}

fn after() -> Value {
    json!({"type": "integer", "minimum": 0, "default": 0})
}

/// `last`.
pub(super) fn last(operation: Operation, words: &str) -> Operation {
    let shape = json!({"type": "integer", "minimum": 1, "maximum": PAGE_ROWS_MAX});
    operation.query("last", shape, words, json!(10))
}

/// `before`.
pub(super) fn before(operation: Operation, shape: Value, example: Value) -> Operation {
    let words = "With `last`: only those before this place, which a page's `older` told.";
    operation.query("before", shape, words, example)
}

/// `since`.
pub(super) fn since(operation: Operation) -> Operation {
    operation.query(
        "since",
        time("A time."),
        "Only of events accepted at this time or later.",
        json!("2026-11-21T06:30:16Z"),
    )
}

/// `type` and `match`.
fn filtered(operation: Operation) -> Operation {
    operation
        .query(
            "type",
            text("A type."),
            "Only events of exactly this type.",
            json!("com.example.order.placed"),
        )
        .query(
            "match",
            json!({"type": "string", "contentMediaType": JSON}),
            "Only events that this pattern matches, in the language of rules.",
            json!(r#"{"data":{"country":["DE"]}}"#),
        )
        .coded_problem(
            Cause::Handle(Kind::Invalid),
            Code::PatternInvalid,
            "The pattern can't be read.",
        )
}

/// `GET /v1/buses/{bus}/events`.
pub(crate) fn list(_: &Limits) -> Operation {
    let operation = Operation::new("listEvents", "events", "Read a bus's log, page by page")
        .about("Oldest first. With a filter a page looks at a bounded number of events, so that it may be empty and still have a `next`. With `last` it is the newest events, and those before them with `before`; neither `after` nor `limit` goes with it.")
        .query("after", after(), "The position after which the page begins; a page's `next`.", json!(0))
        .query("until", time("A time."), "Only events accepted before this time.", json!("2026-11-21T06:45:16Z"))
        .answers_shape(200, "A page, or the newest events.", "EventPage")
        .reads();
    let newest = "Only the newest ones, so many at most: fewer where they weigh much, or where a filter passes over much.";
    let operation = last(limit(operation), newest);
    let place = json!({"type": "integer", "minimum": 0});
    bus(filtered(since(before(operation, place, json!(7)))))
}

/// When a stream is refused for want of a place.
pub(super) fn streams(limits: &Limits) -> String {
    format!("{} streams are open.", limits.event_streams_max)
}

/// `GET /v1/buses/{bus}/events/stream`.
pub(crate) fn stream(limits: &Limits) -> Operation {
    let message = format!("id: 6\ndata: {}\n\n", shapes::example("StoredEvent"));
    let operation = Operation::new("streamEvents", "events", "Follow a bus's log")
        .about("Server-sent events: what the log has after a position, and then what comes, until the server stops. The id of each is its position, so that a client that comes back with Last-Event-ID misses nothing. A quiet stream has a comment every 15 seconds.")
        .query("after", after(), "The position after which it begins.", json!(0))
        .header("Last-Event-ID", json!({"type": "integer", "minimum": 0}), "Goes before `after`.", json!(6))
        .answers(200, "One event after the other.", "text/event-stream", json!({"type": "string"}), &[("one", json!(message))])
        .sends("StoredEvent")
        .problem(Cause::PositionAhead, "The log ends before the position.")
        .problem(Cause::Handle(Kind::Busy { retry_after_ms: 1_000 }), streams(limits))
        .reads();
    bus(filtered(operation))
}

/// An event of the log in the path.
fn one(operation: Operation) -> Operation {
    let operation = operation
        .path(
            "position",
            json!({"type": "integer", "minimum": 0}),
            "Its place in the bus's log.",
            json!(6),
        )
        .problem(
            Cause::Handle(Kind::NotFound),
            "The bus holds no event there.",
        )
        .reads();
    bus(operation)
}

/// `GET /v1/buses/{bus}/events/{position}`.
pub(crate) fn get(_: &Limits) -> Operation {
    let operation = Operation::new("getEvent", "events", "Read one event");
    one(operation.answers_shape(200, "The event.", "StoredEvent"))
}

/// When there is no place for one more request that is judged.
pub(super) fn full_of_judging(limits: &Limits) -> String {
    format!(
        "{} requests are explaining events, trying rules or bringing patterns.",
        limits.explanations_max
    )
}

/// `GET /v1/buses/{bus}/events/{position}/explain`.
pub(crate) fn explain(limits: &Limits) -> Operation {
    let about = format!(
        "What each rule of the bus makes of the event, those that match and those that don't, in the manifest's order. The rules are those active now; `subscriptions` is who got the event when it came. At most {RULES_MAX} of them in an answer, fewer for a large event: `next` goes on."
    );
    let full = full_of_judging(limits);
    let operation = Operation::new(
        "explainEvent",
        "events",
        "See why rules took an event, or didn't",
    )
    .about(about)
    .query(
        "rule",
        name("A rule."),
        "Only this one's verdict.",
        json!("orders"),
    )
    .query(
        "after",
        name("A rule."),
        "Only verdicts of rules behind this one; an answer's `next`. Not with `rule`.",
        json!("orders"),
    )
    .answers_shape(200, "The verdicts.", "ExplainedEvent")
    .coded_problem(
        Cause::Handle(Kind::Invalid),
        Code::EventInvalid,
        "The event's data can't be read by a rule that was applied after it.",
    )
    .problem(
        Cause::Handle(Kind::NotFound),
        "There is no such rule on the bus.",
    )
    .problem(
        Cause::Handle(Kind::Busy {
            retry_after_ms: 1_000,
        }),
        full,
    );
    one(operation)
}
