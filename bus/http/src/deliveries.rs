//! Deliveries and dead letters: pending ones and past ones, with each attempt.
//!
//! Lists show the last attempt without its output. With `output` they show all attempts in full, as for one
//! delivery.

use super::call::{Answer, Call, Query, name};
use super::json::Object;
use super::problem::{Cause, Problem};
use super::{App, page, target, wire};
use edgebus_engine::bus::{DeliveryFilter, DeliveryPlace, DeliveryStage, DeliveryState, place_of};
use edgebus_model::error::Kind;
use edgebus_model::limits::PAGE_ROWS_MAX;
use edgebus_model::rule::DEFAULT_BUS;
use edgebus_model::{Attempt, DeadLetter, Delivery, DeliveryKey, Position, Timestamp};

/// Bytes after which the newest deliveries are enough.
const LAST_BYTES_MAX: usize = 4 << 20;

/// `GET /v1/deliveries?subscription=&function=&rule=&stage=&since=&after=&limit=&output=`; with
/// `position=&bus=` those of one event, with `last=` the newest ones, with `before=` those before them.
pub(super) async fn list(call: Call) -> Answer {
    let own = ["stage", "position", "bus", "last", "before", "output"];
    let query = call.query(&[&own[..], &FILTERS].concat())?;
    let stage = match query.get("stage") {
        None => None,
        Some("pending") => Some(DeliveryStage::Pending),
        Some("succeeded") => Some(DeliveryStage::Succeeded),
        Some("dead") => Some(DeliveryStage::Dead),
        Some(_) => {
            return Err(Problem::input_error(
                "",
                "query parameter `stage` must be pending, succeeded or dead",
                "",
            ));
        }
    };
    let whole = query.flag("output")?;
    let position = query.number("position", 0, u64::MAX)?;
    let last = query.number("last", 1, PAGE_ROWS_MAX as u64)?;
    let excluded: &[&str] = match (position, last) {
        (Some(_), _) => &["last", "before", "stage", "since"],
        (None, Some(_)) => &["after", "limit", "bus"],
        (None, None) => &["bus", "before"],
    };
    if let Some(name) = excluded.iter().find(|name| query.get(name).is_some()) {
        return Err(Problem::input_error(
            "",
            format!("query parameter `{name}` does not go with the others"),
            "`position` and `bus` ask for the deliveries of one event in any stage, `last` for the newest ones, and `last` with `before` for older ones",
        ));
    }
    let app = &call.app;
    match (position, last) {
        (Some(position), _) => list_of_event(app, &query, Position(position), whole).await,
        (None, Some(count)) => list_last(app, "deliveries", &query, stage, (count, whole)).await,
        (None, None) => {
            let stage = stage.unwrap_or(DeliveryStage::Pending);
            list_stage(app, "deliveries", &query, stage, whole).await
        }
    }
}

/// `GET /v1/dead-letters?subscription=&function=&rule=&since=&after=&limit=&last=&before=`.
pub(super) async fn list_dead(call: Call) -> Answer {
    let query = call.query(&[&["last", "before"][..], &FILTERS].concat())?;
    let (app, stage) = (&call.app, DeliveryStage::Dead);
    let Some(count) = query.number("last", 1, PAGE_ROWS_MAX as u64)? else {
        page::no_before(&query)?;
        return list_stage(app, "dead_letters", &query, stage, false).await;
    };
    for name in ["after", "limit"] {
        if query.get(name).is_some() {
            return Err(Problem::input_error(
                "",
                format!("query parameters `last` and `{name}` exclude each other"),
                "`last` gives the newest dead letters; older ones come with `before`",
            ));
        }
    }
    list_last(app, "dead_letters", &query, Some(stage), (count, false)).await
}

/// What every listing of deliveries takes.
const FILTERS: [&str; 6] = [
    "subscription",
    "function",
    "rule",
    "since",
    "after",
    "limit",
];

fn filter(query: &Query) -> Result<DeliveryFilter, Problem> {
    let text = |name: &str| query.get(name).map(str::to_owned);
    Ok(DeliveryFilter {
        subscription: text("subscription"),
        function: text("function"),
        rule: text("rule"),
        since: query.time("since")?,
    })
}

async fn list_stage(
    app: &App,
    name: &str,
    query: &Query,
    stage: DeliveryStage,
    whole: bool,
) -> Answer {
    let filter = &filter(query)?;
    page::collect(
        app,
        name,
        page::limit(query)?,
        query.get("after").map(str::to_owned),
        |after, rows| async move {
            app.bus
                .deliveries(filter, stage, after.as_deref(), rows)
                .await
        },
        |out, state| write(app, out, &state, whole),
    )
    .await
}

async fn list_of_event(app: &App, query: &Query, position: Position, whole: bool) -> Answer {
    let filter = &filter(query)?;
    let bus = name(query.get("bus").unwrap_or(DEFAULT_BUS))?;
    let bus = bus.as_str();
    page::collect(
        app,
        "deliveries",
        page::limit(query)?,
        query.get("after").map(str::to_owned),
        |after, rows| async move {
            app.bus
                .deliveries_of(bus, position, filter, after.as_deref(), rows)
                .await
        },
        |out, state| write(app, out, &state, whole),
    )
    .await
}

/// The newest deliveries, or those before a place, oldest first; fewer than asked for where they weigh much.
async fn list_last(
    app: &App,
    name: &str,
    query: &Query,
    stage: Option<DeliveryStage>,
    (count, whole): (u64, bool),
) -> Answer {
    let count = usize::try_from(count).unwrap_or(PAGE_ROWS_MAX);
    let before = query.get("before").map(place).transpose()?;
    let filter = filter(query)?;
    let (states, mut more) = app
        .bus
        .last_deliveries(&filter, stage, before, count)
        .await?;
    let (mut rows, mut bytes, mut oldest) = (Vec::new(), 0, None);
    for state in states.iter().rev() {
        let mut row = Vec::new();
        write(app, &mut row, state, whole);
        bytes += row.len();
        if bytes > LAST_BYTES_MAX && !rows.is_empty() {
            more = true;
            break;
        }
        rows.push(row);
        oldest = Some(place_of(state));
    }
    let mut out = Vec::new();
    let mut object = Object::new(&mut out);
    object.array(name, rows.iter().rev(), |out, row| {
        out.extend_from_slice(row);
    });
    object.member("next").extend_from_slice(b"null");
    let older = oldest.filter(|_| more);
    let older = older.map(|(accepted_at, key)| format!("{}.{key}", accepted_at.0));
    page::older(&mut object, older.as_ref());
    object.end();
    page::held(app, out)
}

/// Reads what `older` told.
fn place(text: &str) -> Result<DeliveryPlace, Problem> {
    let read = text.split_once('.').and_then(|(accepted_at, key)| {
        Some((Timestamp(accepted_at.parse().ok()?), key.parse().ok()?))
    });
    read.ok_or_else(|| {
        Problem::input_error(
            "",
            "query parameter `before` must be what `older` of a page says",
            "leave it out to begin with the newest",
        )
    })
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
        Problem::input_error(
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
        DeliveryState::Pending(delivery) => {
            write_delivery(app, &mut object, delivery, "pending", whole);
            if let Some(due_at) = delivery.due_at {
                object.shown("due_at", &due_at);
            }
        }
        DeliveryState::Succeeded(settled) => {
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
        Some((subscription, bus)) => {
            object.text("bus", &bus);
            object.text("subscription", subscription.name().as_str());
            object.text("rule", subscription.rule.as_str());
            target::write(object, &subscription.target.to);
        }
        // It left the manifest and has nothing pending any more: its number is all that is left.
        None => object.shown("subscription", &key.subscription.0),
    }
    object.number("position", key.position.0);
    if key.replay > 0 {
        object.number("replay", u64::from(key.replay));
    }
    object.shown("accepted_at", &delivery.accepted_at);
    object.number("attempts_made", u64::from(delivery.attempts_made));
    if delivery.host_failures > 0 {
        object.number("host_failures", u64::from(delivery.host_failures));
    }
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
