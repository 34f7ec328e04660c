//! Deliveries and dead letters, described.

use serde_json::json;

use super::events::{before, last, limit, since, streams};
use super::operation::Operation;
use super::schema::{delivery_id, name, text, word};
use super::shapes;
use crate::live::EVERY_MAX;
use crate::problem::Cause;
use crate::serve::Limits;
use edgebus_model::error::Kind;

/// `function` and `rule`.
fn of(operation: Operation, what: &str) -> Operation {
    operation
        .query(
            "function",
            name("A function."),
            &format!("Only {what} of this function."),
            json!("enricher"),
        )
        .query(
            "rule",
            name("A rule."),
            &format!("Only {what} of this rule."),
            json!("orders"),
        )
}

/// `output`.
fn output(operation: Operation, words: &str) -> Operation {
    let shape = json!({"type": "boolean", "default": false});
    operation.query("output", shape, words, json!(true))
}

fn page(operation: Operation) -> Operation {
    let operation = operation
        .query(
            "subscription",
            text("A subscription."),
            "Only this one's: its name, or its number.",
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
            "There is no such subscription, function or rule.",
        )
        .reads();
    limit(since(of(operation, "deliveries")))
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
pub(crate) fn list(_: &Limits) -> Operation {
    let operation = Operation::new(
        "listDeliveries",
        "deliveries",
        "See what is pending, or what has ended",
    )
    .about("By subscription and position. Each row has its last attempt, without output. With `position` the deliveries that one event led to, in any stage, and neither `stage` nor `since`; with `last` the newest ones, oldest first, and those before them with `before`.")
    .query(
        "stage",
        word("A stage.", &["pending", "succeeded", "dead"]),
        "Which; without it those that are pending, with `last` those in any stage.",
        json!("succeeded"),
    )
    .query(
        "position",
        json!({"type": "integer", "minimum": 0}),
        "Only those of the event at this place in its bus's log.",
        json!(6),
    )
    .query(
        "bus",
        name("A bus."),
        "The bus of `position`; `default` unless named.",
        json!("default"),
    )
    .answers_shape(200, "A page, or the newest deliveries.", "DeliveryPage")
    .problem(Cause::Handle(Kind::NotFound), "There is no such bus.");
    let newest = "Only the newest ones, so many at most, and fewer where they weigh much; without `after` and `limit`.";
    let whole = "All attempts of each with their output, and a dead letter's whole event; naming it alone is true.";
    page(output(backwards(operation, newest), whole))
}

/// `last` and `before`.
fn backwards(operation: Operation, words: &str) -> Operation {
    let place = text("A place.");
    before(last(operation, words), place, json!("1763706616007.3-13"))
}

/// `GET /v1/deliveries/stream`.
pub(crate) fn live(limits: &Limits) -> Operation {
    let message = format!(
        "event: attempt\ndata: {}\n\n",
        shapes::example("AttemptEnded")
    );
    let operation = Operation::new("streamAttempts", "deliveries", "Follow attempts as they end")
        .about("Server-sent events named `attempt`, one for each attempt whose settlement is durable. A live view, not a log: it begins now, and a reader that falls behind loses the oldest and is told how many in a comment.")
        .query("every", json!({"type": "integer", "minimum": 1, "maximum": EVERY_MAX, "default": 1}), "Only one attempt of so many.", json!(1))
        .answers(200, "One attempt after the other.", "text/event-stream", json!({"type": "string"}), &[("one", json!(message))])
        .sends("AttemptEnded")
        .problem(Cause::Handle(Kind::Busy { retry_after_ms: 1_000 }), streams(limits))
        .everyday();
    let words = "What the function wrote is sent as well; naming it alone is true.";
    output(of(operation, "attempts"), words)
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
    .answers_shape(200, "A page, or the newest dead letters.", "DeadLetterPage");
    let newest = "Only the newest ones, so many at most, and fewer where they weigh much; without `after` and `limit`.";
    page(backwards(operation, newest))
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
