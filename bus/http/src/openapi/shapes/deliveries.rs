//! Deliveries, attempts and dead letters, and what the live stream tells.

use serde_json::{Value, json};

use super::super::schema::{
    Object, code, delivery_id, list, name, next, number, object, reference, text, time, word,
};
use super::{AT, Shape, order};
use edgebus_model::{DeadReason, Outcome};

/// The word of an outcome.
pub(super) fn outcome(words: &str) -> Value {
    word(words, &Outcome::CLASSES)
}

fn reason(words: &str) -> Value {
    word(words, &DeadReason::ALL.map(DeadReason::word))
}

/// The delivery shapes.
pub(super) fn shapes() -> Vec<Shape> {
    let last = json!({
        "number": 3, "started_at": AT, "duration_us": 236, "outcome": "retry", "code": "EB0411",
        "message": "config `RATE_JPY` is not set",
    });
    let mut attempt_example = last.clone();
    attempt_example["output"] = json!("");
    let mut row_example = json!({
        "id": "3-13", "stage": "dead", "bus": "default", "subscription": "orders/enricher", "rule": "orders", "function": "enricher",
        "position": 13, "accepted_at": AT, "attempts_made": 3, "reason": "attempts-exhausted", "reason_code": "EB0421", "died_at": AT,
    });
    let mut whole_example = row_example.clone();
    row_example["last_attempt"] = last.clone();
    row_example["event"] =
        json!({"id": "o-1004", "source": "/shop", "type": "com.example.order.placed"});
    whole_example["attempts"] = json!([attempt_example]);
    whole_example["event"] = order();
    let key = object("Dead: what names the event.")
        .has("id", text("Its id."))
        .has("source", text("Its source."))
        .has("type", text("Its type."))
        .done();
    let attempt = attempt(object("An attempt."))
        .has("output", text("What the function wrote, up to its limit."))
        .done();
    let attempts = "Those that ended, oldest first; of more than 16 the first and the latest.";
    let with_output = format!("With `output`: {attempts}");
    let either = json!({
        "anyOf": [key, reference("Event")],
        "description": "Dead: what names the event; with `output` the whole event.",
    });
    let row = delivery(object(
        "A delivery as lists show it: with its last attempt, or with `output` as it is shown on its own.",
    ))
    .may("last_attempt", reference("AttemptRow"))
    .may("attempts", list(&with_output, reference("Attempt")))
    .may("event", either)
    .done();
    let whole = delivery(object(
        "A delivery with all its attempts; a dead one with its event.",
    ))
    .has("attempts", list(attempts, reference("Attempt")))
    .may("event", reference("Event"))
    .done();
    vec![
        (
            "AttemptRow",
            self::attempt(object("An attempt as lists show it.")).done(),
            last,
        ),
        ("Attempt", attempt, attempt_example),
        ("DeliveryRow", row, row_example.clone()),
        ("Delivery", whole, whole_example),
        (
            "DeliveryPage",
            page("deliveries"),
            json!({"deliveries": [row_example], "next": null}),
        ),
        (
            "DeadLetterPage",
            page("dead_letters"),
            json!({"dead_letters": [row_example], "next": null}),
        ),
        ("AttemptEnded", told(), told_example()),
    ]
}

/// The members of an attempt that lists show as well.
fn attempt(object: Object) -> Object {
    failed(object)
        .has("number", number("Counts from 1.", 1))
        .has("started_at", time("When it began."))
        .has(
            "duration_us",
            number("How long it ran, in microseconds.", 0),
        )
        .has("outcome", outcome("How it ended."))
}

/// What an attempt that failed has besides.
fn failed(object: Object) -> Object {
    let message = "What happened; a trap's has a backtrace, one frame a line. Success has none.";
    object
        .may("code", code("The outcome's code; success has none."))
        .may("message", text(message))
}

/// The members of a delivery in any stage, and those that it has in some.
fn delivery(object: Object) -> Object {
    let stage = "`pending` has more attempts to come, `succeeded` and `dead` have ended.";
    let subscription =
        "Its name; the number alone of one that left the manifest and has nothing pending.";
    object
        .has("id", delivery_id("Its id."))
        .has("stage", word(stage, &["pending", "succeeded", "dead"]))
        .has("subscription", text(subscription))
        .has("position", number("The event's place in the bus's log.", 1))
        .has("accepted_at", time("When the event was accepted."))
        .has("attempts_made", number("Attempts that ended.", 0))
        .may(
            "host_failures",
            number(
                "Attempts of these that failed for reasons of the host's own and spent none of the policy's.",
                1,
            ),
        )
        .may("bus", name("The bus."))
        .may("rule", name("The rule."))
        .may("function", name("The function."))
        .may(
            "replay",
            number("The replay's number, of a replayed delivery.", 1),
        )
        .may("due_at", time("Pending: not before this time."))
        .may("settled_at", time("Succeeded: when."))
        .may(
            "emitted",
            number("Succeeded: how many events it emitted.", 0),
        )
        .may("reason", reason("Dead: why."))
        .may("reason_code", code("Dead: the reason's code."))
        .may("died_at", time("Dead: when."))
}

fn page(member: &'static str) -> Value {
    let rows = list("Each with its last attempt.", reference("DeliveryRow"));
    object("A page of deliveries, by subscription and position.")
        .has(member, rows)
        .has(
            "next",
            next("Give it as `after` for the next page; null at the end."),
        )
        .may(
            "older",
            next("With `last`: give it as `before` for older ones; null where there are none."),
        )
        .done()
}

/// The live stream's news.
fn told() -> Value {
    failed(object("An attempt ended, and its settlement is durable."))
        .has("id", delivery_id("The delivery."))
        .has("bus", name("The bus."))
        .has("position", number("The event's place in its log.", 1))
        .has("type", text("The event's type."))
        .has("rule", name("The rule."))
        .has("function", name("The function."))
        .has("attempt", number("The attempt's number.", 1))
        .has("started_at", time("When it began."))
        .has("outcome", outcome("How it ended."))
        .has(
            "duration_us",
            number("How long it ran, in microseconds.", 0),
        )
        .has(
            "age_ms",
            number("From acceptance to settlement, in milliseconds.", 0),
        )
        .may("retry_at", time("When it is tried again, if it is."))
        .may("reason", reason("Why it is a dead letter, if it is."))
        .may("reason_code", code("The reason's code."))
        .may(
            "output",
            text("What the function wrote, up to its limit; only if `output` was asked for."),
        )
        .done()
}

fn told_example() -> Value {
    json!({
        "id": "3-6", "bus": "default", "position": 6, "type": "com.example.order.placed", "rule": "orders",
        "function": "enricher", "attempt": 1, "started_at": AT, "outcome": "success", "duration_us": 236, "age_ms": 1,
    })
}
