//! Publishing, and reading the log, described.

use edgebus_api::{self as api, schema};
use serde_json::json;

use super::examples::{Example, order};
use super::operation::{JSON, Operation};
use crate::explain::RULES_MAX;
use crate::prefer;
use crate::problem::Cause;
use crate::serve::Limits;
use edgebus_model::Code;
use edgebus_model::error::Kind;
use edgebus_model::limits::{BATCH_EVENTS_MAX, EVENT_BYTES_MAX};
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
        .path::<schema::Name>("bus", "The bus's name.", DEFAULT_BUS)
        .problem(Cause::Handle(Kind::NotFound), "There is no such bus.")
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
    let mut second = order();
    second["id"] = json!("o-1002");
    let mut operation = Operation::new(id, "events", summary)
        .about(PUBLISHING)
        .header(
            "Prefer",
            json!({"type": "string", "description": "Preferences (RFC 7240)."}),
            "`handling=lenient`: a batch is taken event by event, and the answer says of each where it is or why it was not stored.",
            json!(prefer::LENIENT),
        )
        .takes_json::<api::Event>(body.clone(), "application/cloudevents+json");
    // openapi-python-client (0.29) makes code of a list beside a struct that Python refuses; what is in `allOf`
    // it skips, and publishes single events.
    let batch = json!({"allOf": [{
        "type": "array",
        "maxItems": BATCH_EVENTS_MAX,
        "items": operation.part::<api::Event>(),
    }]});
    let answers = json!({"oneOf": [
        operation.part::<api::Accepted>(),
        operation.part::<api::AcceptedBatch>(),
        operation.part::<api::AcceptedEach>(),
    ]});
    let operation = operation
        .takes(
            body.clone(),
            "application/cloudevents-batch+json",
            batch,
            &[("batch", json!([order(), second]))],
        )
        .answers(
            202,
            "On stable storage.",
            JSON,
            answers,
            &[
                ("one", api::Accepted::example()),
                ("batch", api::AcceptedBatch::example()),
                ("lenient", api::AcceptedEach::example()),
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
            "An event is not a CloudEvent, or its data can't be read by a rule; nothing was stored.",
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
    let header = || json!({"type": "string", "description": "Binary mode."});
    operation
        .header("ce-specversion", header(), "Binary mode: always 1.0.", json!("1.0"))
        .header("ce-id", header(), "Binary mode: the event's id, percent-encoded.", json!("o-1001"))
        .header("ce-source", header(), "Binary mode: its source.", json!("/shop"))
        .header("ce-type", header(), "Binary mode: its type. Other attributes go in `ce-` headers as well.", json!("com.example.order.placed"))
        .takes(body, "*/*", json!({"description": "Binary mode: the data as it is; Content-Type is `datacontenttype`."}), &[("binary", order()["data"].clone())])
}

/// `POST /v1/events`.
pub(crate) fn publish_default(limits: &Limits) -> Operation {
    publishing("publish", "Publish on the default bus", limits)
}

/// `POST /v1/buses/{bus}/events`.
pub(crate) fn publish(limits: &Limits) -> Operation {
    bus(publishing("publishOnBus", "Publish on a bus", limits))
}

/// `type` and `match`.
fn filtered(operation: Operation) -> Operation {
    operation.coded_problem(
        Cause::Handle(Kind::Invalid),
        Code::PatternInvalid,
        "The pattern can't be read.",
    )
}

/// `GET /v1/buses/{bus}/events`.
pub(crate) fn list(_: &Limits) -> Operation {
    let operation = Operation::new("listEvents", "events", "Read a bus's log, page by page")
        .about("Oldest first. With a filter a page looks at a bounded number of events, so that it may be empty and still have a `next`. With `last` it is the newest events, and those before them with `before`; neither `after` nor `limit` goes with it.")
        .query::<api::EventQuery>()
        .answers_json::<api::EventPage>(200, "A page, or the newest events.")
        .reads();
    bus(filtered(operation))
}

/// When a stream is refused for want of a place.
pub(super) fn streams(limits: &Limits) -> String {
    format!("{} streams are open.", limits.event_streams_max)
}

/// `GET /v1/buses/{bus}/events/stream`.
pub(crate) fn stream(limits: &Limits) -> Operation {
    let message = format!("id: 6\ndata: {}\n\n", api::StoredEvent::example());
    let operation = Operation::new("streamEvents", "events", "Follow a bus's log")
        .about("Server-sent events: what the log has after a position, and then what comes, until the server stops. The id of each is its position, so that a client that comes back with Last-Event-ID misses nothing. A quiet stream has a comment every 15 seconds.")
        .query::<api::EventStreamQuery>()
        .header("Last-Event-ID", json!({"type": "integer", "minimum": 0}), "Goes before `after`.", json!(6))
        .answers(200, "One event after the other.", "text/event-stream", json!({"type": "string"}), &[("one", json!(message))])
        .sends::<api::StoredEvent>()
        .problem(Cause::PositionAhead, "The log ends before the position.")
        .problem(Cause::Handle(Kind::Busy { retry_after_ms: 1_000 }), streams(limits))
        .reads();
    bus(filtered(operation))
}

/// An event of the log in the path.
fn one(operation: Operation) -> Operation {
    let operation = operation
        .path::<u64>("position", "Its place in the bus's log.", 6)
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
    one(operation.answers_json::<api::StoredEvent>(200, "The event."))
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
        "What each rule of the bus makes of the event, those that match and those that don't, in the manifest's order. The rules are those active now; `subscriptions` is who got the event when it came. At most {RULES_MAX} of them in an answer, fewer for a large event: `next` goes on. With `dead_letter`, an event that the log no longer has is explained by the letter's copy."
    );
    let full = full_of_judging(limits);
    let operation = Operation::new(
        "explainEvent",
        "events",
        "See why rules took an event, or didn't",
    )
    .about(about)
    .query::<api::ExplainQuery>()
    .answers_json::<api::ExplainedEvent>(200, "The verdicts.")
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
