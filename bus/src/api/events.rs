//! Publishing, and reading the log.

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::StatusCode;
use hyper::body::Body;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use super::call::{Answer, Call, Query, name};
use super::json::{Object, array};
use super::problem::Problem;
use super::serve::Payload;
use super::wire::{self, Mode};
use super::{App, body, page};
use crate::bus::{Accepted, Page, StoredEvent};
use crate::model::Position;
use crate::model::rule::DEFAULT_BUS;

/// `POST /v1/events`, where the path needed the router.
pub(super) async fn publish_default(call: Call) -> Answer {
    publish_through_router(call, DEFAULT_BUS.to_owned()).await
}

/// `POST /v1/buses/{bus}/events`, where the path needed the router.
pub(super) async fn publish(call: Call) -> Answer {
    let bus = call.path("bus").to_owned();
    publish_through_router(call, bus).await
}

async fn publish_through_router(call: Call, bus: String) -> Answer {
    let Call { app, headers, .. } = &call;
    let (app, headers) = (app.clone(), headers.clone());
    let (query, body) = call.into_rest();
    let answer = accept(&app, &bus, query.as_deref(), &headers, body).await?;
    Ok(answer.map(Payload::into_body))
}

/// Publishes what a request holds; answers when it is on stable storage.
pub(super) async fn accept<B>(
    app: &App,
    bus: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    body: B,
) -> Result<hyper::Response<Payload>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    Query::parse(query, &[])?;
    name(bus)?;
    if headers.contains_key("idempotency-key") {
        return Err(Problem::fault(
            "",
            "Idempotency-Key is not supported yet",
            "leave it out: (source, id) is the key, and repeating an event with both is safe",
        ));
    }
    let mode = wire::mode(headers)?;
    let bytes_max = match mode {
        Mode::Binary | Mode::Structured => app.limits.event_bytes_max,
        Mode::Batch => app.limits.batch_bytes_max,
    };
    let (bytes, _charge) = body::read(headers, body, bytes_max, &app.limits, &app.requests).await?;
    let events = wire::decode(mode, headers, bytes)?;
    let accepted = app.bus.publish(bus, events).await?;
    let mut out = Vec::with_capacity(96 * accepted.len().max(1));
    match (mode, accepted.as_slice()) {
        (Mode::Binary | Mode::Structured, [one]) => write_accepted(&mut out, one),
        (_, all) => {
            let mut object = Object::new(&mut out);
            array(object.member("results"), all, write_accepted);
            object.end();
        }
    }
    let mut response = hyper::Response::new(Payload::whole(out));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn write_accepted(out: &mut Vec<u8>, accepted: &Accepted) {
    let mut object = Object::new(out);
    object.text("id", &accepted.id);
    object.number("position", accepted.position.0);
    object.boolean("duplicate", accepted.duplicate);
    object.end();
}

/// `GET /v1/buses/{bus}/events?after=&limit=&type=`.
pub(super) async fn list(call: Call) -> Answer {
    let bus = call.name("bus")?;
    let query = call.query(&["after", "limit", "type"])?;
    let after = query.number("after", 0, u64::MAX)?.unwrap_or(0);
    let kind = query.get("type");
    let app = &call.app;
    let bus = bus.as_str();
    page::collect(
        app,
        "events",
        page::limit(&query)?,
        None,
        |next, rows| async move {
            let after = match next {
                None => after,
                // The bus's own `next`; one that is no position ends the page.
                Some(next) => match next.parse() {
                    Ok(after) => after,
                    Err(_) => {
                        return Ok(Page {
                            items: Vec::new(),
                            next: None,
                        });
                    }
                },
            };
            app.bus.events(bus, Position(after), rows, kind).await
        },
        |out, stored| write_stored(out, &stored),
    )
    .await
}

/// `GET /v1/buses/{bus}/events/{position}`.
pub(super) async fn get(call: Call) -> Answer {
    let bus = call.name("bus")?;
    call.query(&[])?;
    let text = call.path("position");
    let position = match text.parse::<u64>() {
        Ok(position) if !text.starts_with('+') => Position(position),
        _ => return Err(Problem::fault("", "a position is a whole number", "")),
    };
    let stored = call.app.bus.event(bus.as_str(), position).await?;
    let mut out = Vec::new();
    write_stored(&mut out, &stored);
    page::held(&call.app, out)
}

/// An event of the log with its place.
pub(super) fn write_stored(out: &mut Vec<u8>, stored: &StoredEvent) {
    let mut object = Object::new(out);
    object.number("position", stored.position.0);
    object.shown("accepted_at", &stored.accepted_at);
    wire::encode(object.member("event"), &stored.event);
    object.end();
}
