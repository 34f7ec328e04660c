//! Deliveries and dead letters, described.

use edgebus_api::{self as api, schema};
use serde_json::json;

use super::events::streams;
use super::examples::Example;
use super::operation::Operation;
use crate::problem::Cause;
use crate::serve::Limits;
use edgebus_model::error::Kind;

fn page(operation: Operation) -> Operation {
    operation
        .problem(
            Cause::Handle(Kind::NotFound),
            "There is no such subscription, function or rule.",
        )
        .reads()
}

fn one(operation: Operation) -> Operation {
    operation
        .path::<schema::DeliveryId>("id", "The delivery's id.", "3-13")
        .answers_json::<api::Delivery>(200, "The delivery with all its attempts.")
        .reads()
}

/// `GET /v1/deliveries`.
pub(crate) fn list(_: &Limits) -> Operation {
    let operation = Operation::new(
        "listDeliveries",
        "deliveries",
        "See what is pending, or what has ended",
    )
    .about("By subscription and position. Each row has its last attempt, without output. With `position` the deliveries that one event led to, in any stage, and neither `stage` nor `since`; with `last` the newest ones, oldest first, and those before them with `before`.")
    .query::<api::DeliveryQuery>()
    .answers_json::<api::DeliveryPage>(200, "A page, or the newest deliveries.")
    .problem(Cause::Handle(Kind::NotFound), "There is no such bus.");
    page(operation)
}

/// `GET /v1/deliveries/stream`.
pub(crate) fn live(limits: &Limits) -> Operation {
    let message = format!("event: attempt\ndata: {}\n\n", api::AttemptEnded::example());
    Operation::new("streamAttempts", "deliveries", "Follow attempts as they end")
        .about("Server-sent events named `attempt`, one for each attempt whose settlement is durable. A live view, not a log: it begins now, and a reader that falls behind loses the oldest and is told how many in a comment.")
        .query::<api::DeliveryStreamQuery>()
        .answers(200, "One attempt after the other.", "text/event-stream", json!({"type": "string"}), &[("one", json!(message))])
        .sends::<api::AttemptEnded>()
        .problem(Cause::Handle(Kind::Busy { retry_after_ms: 1_000 }), streams(limits))
        .everyday()
}

/// `GET /v1/deliveries/{id}`.
pub(crate) fn get(_: &Limits) -> Operation {
    one(Operation::new(
        "getDelivery",
        "deliveries",
        "See one delivery, attempt by attempt",
    ))
    .problem(Cause::Handle(Kind::NotFound), "There is no such delivery.")
}

/// `GET /v1/dead-letters`.
pub(crate) fn list_dead(_: &Limits) -> Operation {
    let operation = Operation::new(
        "listDeadLetters",
        "deliveries",
        "See what ended without success",
    )
    .about("By subscription and position; with `last` the newest ones, oldest first, and those before them with `before`.")
    .query::<api::DeadLetterQuery>()
    .answers_json::<api::DeadLetterPage>(200, "A page, or the newest dead letters.");
    page(operation)
}

/// `GET /v1/dead-letters/{id}`.
pub(crate) fn get_dead(_: &Limits) -> Operation {
    one(Operation::new(
        "getDeadLetter",
        "deliveries",
        "See one dead letter, with its copy of the event",
    ))
    .problem(
        Cause::Handle(Kind::NotFound),
        "There is no such delivery, or it is no dead letter.",
    )
}
