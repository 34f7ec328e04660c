//! Deliveries and dead letters: what is owed and what happened, attempt by attempt.
//!
//! Lists show the last attempt without its output; one delivery shows them all.

use super::call::{Answer, Call, Query};
use super::json::Object;
use super::problem::{Cause, Problem};
use super::{App, page, wire};
use crate::bus::{DeliveryStage, DeliveryState};
use crate::error::Kind;
use crate::model::{Attempt, DeadLetter, Delivery, DeliveryKey};

/// `GET /v1/deliveries?subscription=&stage=&after=&limit=`.
pub(super) async fn list(call: Call) -> Answer {
    let query = call.query(&["subscription", "stage", "after", "limit"])?;
    let stage = match query.get("stage") {
        None | Some("owed") => DeliveryStage::Owed,
        Some("succeeded") => DeliveryStage::Succeeded,
        Some("dead") => DeliveryStage::Dead,
        Some(_) => {
            return Err(Problem::fault(
                "",
                "query parameter `stage` must be owed, succeeded or dead",
                "",
            ));
        }
    };
    list_stage(&call.app, "deliveries", &query, stage).await
}

/// `GET /v1/dead-letters?subscription=&after=&limit=`.
pub(super) async fn list_dead(call: Call) -> Answer {
    let query = call.query(&["subscription", "after", "limit"])?;
    list_stage(&call.app, "dead_letters", &query, DeliveryStage::Dead).await
}

async fn list_stage(app: &App, name: &str, query: &Query, stage: DeliveryStage) -> Answer {
    let subscription = query.get("subscription");
    page::collect(
        app,
        name,
        page::limit(query)?,
        query.get("after").map(str::to_owned),
        |after, rows| async move {
            app.bus
                .deliveries(subscription, stage, after.as_deref(), rows)
                .await
        },
        |out, state| write(app, out, &state, false),
    )
    .await
}

/// `GET /v1/deliveries/{id}`.
pub(super) async fn get(call: Call) -> Answer {
    let (app, state) = find(call).await?;
    let mut out = Vec::new();
    write(&app, &mut out, &state, true);
    page::held(&app, out)
}

/// `GET /v1/dead-letters/{id}`.
pub(super) async fn get_dead(call: Call) -> Answer {
    let (app, state) = find(call).await?;
    if !matches!(state, DeliveryState::Dead(_)) {
        return Err(Problem::new(
            Cause::Handle(Kind::NotFound),
            "this delivery is no dead letter; see /v1/deliveries",
        ));
    }
    let mut out = Vec::new();
    write(&app, &mut out, &state, true);
    page::held(&app, out)
}

async fn find(call: Call) -> Result<(App, DeliveryState), Problem> {
    call.query(&[])?;
    let key: DeliveryKey = call.path("id").parse().map_err(|()| {
        Problem::fault(
            "",
            "a delivery's id is SUBSCRIPTION-POSITION, and -rREPLAY behind it for a replayed one",
            "",
        )
    })?;
    let state = call.app.bus.delivery(key).await?;
    Ok((call.app, state))
}

fn write(app: &App, out: &mut Vec<u8>, state: &DeliveryState, whole: bool) {
    let mut object = Object::new(out);
    match state {
        DeliveryState::Owed(delivery) => {
            write_delivery(app, &mut object, delivery, "owed", whole);
            if let Some(due_at) = delivery.due_at {
                object.shown("due_at", &due_at);
            }
        }
        DeliveryState::Settled(settled) => {
            write_delivery(app, &mut object, &settled.delivery, "succeeded", whole);
            object.shown("settled_at", &settled.settled_at);
            object.number("emitted", u64::from(settled.emitted));
        }
        DeliveryState::Dead(letter) => {
            write_delivery(app, &mut object, &letter.delivery, "dead", whole);
            write_letter(&mut object, letter, whole);
        }
    }
    object.end();
}

fn write_delivery(
    app: &App,
    object: &mut Object<'_>,
    delivery: &Delivery,
    stage: &str,
    whole: bool,
) {
    let key = delivery.key;
    object.shown("id", &key);
    object.text("stage", stage);
    match app.bus.subscription(key.subscription) {
        Some(subscription) => {
            object.text("subscription", &subscription.label());
            object.text("rule", subscription.rule.as_str());
            object.text("function", subscription.target.function.as_str());
        }
        // It left the manifest and owes nothing more: its number is all that is left.
        None => object.shown("subscription", &key.subscription.0),
    }
    object.number("position", key.position.0);
    if key.replay > 0 {
        object.number("replay", u64::from(key.replay));
    }
    object.shown("accepted_at", &delivery.accepted_at);
    object.number("attempts_made", u64::from(delivery.attempts_made));
    if whole {
        object.array("attempts", &delivery.attempts, |out, attempt| {
            write_attempt(out, attempt, true);
        });
    } else if let Some(last) = delivery.attempts.last() {
        write_attempt(object.member("last_attempt"), last, false);
    }
}

fn write_attempt(out: &mut Vec<u8>, attempt: &Attempt, whole: bool) {
    let mut object = Object::new(out);
    object.number("number", u64::from(attempt.number));
    object.shown("started_at", &attempt.started_at);
    object.number("duration_us", attempt.duration_us);
    object.text("outcome", attempt.outcome.class());
    if let Some(code) = attempt.outcome.code() {
        object.text("code", code.as_str());
    }
    if !attempt.outcome.is_success() {
        object.shown("message", &attempt.outcome);
    }
    if whole {
        object.text("output", &attempt.output);
    }
    object.end();
}

fn write_letter(object: &mut Object<'_>, letter: &DeadLetter, whole: bool) {
    object.text("reason", letter.reason.word());
    object.text("reason_code", letter.reason.code().as_str());
    object.shown("died_at", &letter.died_at);
    if whole {
        wire::encode(object.member("event"), &letter.event);
    } else {
        let mut own = Object::new(object.member("event"));
        own.text("id", &letter.event.id);
        own.text("source", &letter.event.source);
        own.text("type", &letter.event.kind);
        own.end();
    }
}
