//! Deliveries and dead letters, described.

use serde_json::json;

use super::events::limit;
use super::operation::Operation;
use super::schema::{delivery_id, text, word};
use super::shapes;
use crate::api::live::EVERY_MAX;
use crate::api::problem::Cause;
use crate::api::serve::Limits;
use crate::error::Kind;

fn page(operation: Operation) -> Operation {
    let operation = operation
        .query(
            "subscription",
            text("A subscription."),
            "Only this one's: RULE/FUNCTION, or its number.",
            json!("orders/enricher"),
        )
        .query(
            "after",
            delivery_id("A delivery."),
            "A page's `next`.",
            json!("3-6"),
        )
        .problem(
            Cause::Handle(Kind::NotFound),
            "There is no such subscription.",
        )
        .reads();
    limit(operation)
}

fn one(operation: Operation) -> Operation {
    operation
        .path(
            "id",
            delivery_id("A delivery."),
            "The delivery's id.",
            json!("3-13"),
        )
        .answers_shape(200, "The delivery with all its attempts.", "Delivery")
        .reads()
}

/// `GET /v1/deliveries`.
pub(in crate::api) fn list(_: &Limits) -> Operation {
    let operation = Operation::new(
        "listDeliveries",
        "deliveries",
        "See what is owed, or what has ended",
    )
    .about("By subscription and position. Each row has its last attempt, without output.")
    .query(
        "stage",
        word("A stage.", &["owed", "succeeded", "dead"]),
        "Which; without it, those that are owed.",
        json!("succeeded"),
    )
    .answers_shape(200, "A page.", "DeliveryPage");
    page(operation)
}

/// `GET /v1/deliveries/stream`.
pub(in crate::api) fn live(_: &Limits) -> Operation {
    let message = format!(
        "event: attempt\ndata: {}\n\n",
        shapes::example("AttemptEnded")
    );
    Operation::new("streamAttempts", "deliveries", "Follow attempts as they end")
        .about("Server-sent events named `attempt`, one for each attempt whose settlement is durable. A live view, not a log: it begins now, and a reader that falls behind loses the oldest and is told how many in a comment.")
        .query("every", json!({"type": "integer", "minimum": 1, "maximum": EVERY_MAX, "default": 1}), "Only one attempt of so many.", json!(1))
        .answers(200, "One attempt after the other.", "text/event-stream", json!({"type": "string"}), &[("one", json!(message))])
        .sends("AttemptEnded")
        .everyday()
}

/// `GET /v1/deliveries/{id}`.
pub(in crate::api) fn get(_: &Limits) -> Operation {
    one(Operation::new(
        "getDelivery",
        "deliveries",
        "See one delivery, attempt by attempt",
    ))
    .problem(Cause::Handle(Kind::NotFound), "There is no such delivery.")
}

/// `GET /v1/dead-letters`.
pub(in crate::api) fn list_dead(_: &Limits) -> Operation {
    let operation = Operation::new(
        "listDeadLetters",
        "deliveries",
        "See what ended without success",
    )
    .answers_shape(200, "A page.", "DeadLetterPage");
    page(operation)
}

/// `GET /v1/dead-letters/{id}`.
pub(in crate::api) fn get_dead(_: &Limits) -> Operation {
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
