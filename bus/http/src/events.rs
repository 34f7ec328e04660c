//! Publishing, and reading the log.

use std::sync::Arc;

use bytes::Bytes;
use edgebus_rules::RuleIndex;
use hyper::HeaderMap;
use hyper::StatusCode;
use hyper::body::Body;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use super::call::{Answer, Call, Query, name};
use super::json::{Object, array};
use super::problem::Problem;
use super::serve::Payload;
use super::wire::{self, Mode};
use super::{App, body, page, prefer, rules};
use edgebus_engine::bus::{Accepted, EventFilter, Page, StoredEvent};
use edgebus_model::Position;
use edgebus_model::error::{Error, Kind};
use edgebus_model::limits::PAGE_ROWS_MAX;
use edgebus_model::rule::DEFAULT_BUS;

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
        return Err(Problem::input_error(
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
    let (bytes, _reservation) =
        body::read(headers, body, bytes_max, &app.limits, &app.requests).await?;
    if mode == Mode::Batch && prefer::lenient(headers) {
        return each(app, bus, &bytes).await;
    }
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
    Ok(accepted_answer(out))
}

/// Publishes those events of a batch that can be, and answers for each.
async fn each(app: &App, bus: &str, body: &Bytes) -> Result<hyper::Response<Payload>, Problem> {
    let mut entries = Vec::new();
    let mut events = Vec::new();
    for entry in wire::decode_each(body)? {
        entries.push(entry.map(|event| events.push(event)));
    }
    let mut published = app.bus.publish_each(bus, events).await?.into_iter();
    let mut refused = 0;
    let mut out = Vec::with_capacity(96 * entries.len().max(1));
    let mut object = Object::new(&mut out);
    let entries = entries.into_iter().enumerate();
    object.array("results", entries, |out, (index, entry)| {
        let lost = || Err(Error::new(Kind::Unknown, "nothing is known of this event"));
        let end = entry.and_then(|()| {
            let published = published.next().unwrap_or_else(lost);
            published.map_err(|error| Problem::from(error).within(&format!("/{index}")))
        });
        match end {
            Ok(accepted) => write_accepted(out, &accepted),
            Err(problem) => {
                refused += 1;
                let mut object = Object::new(out);
                problem.write(object.member("problem"), None);
                object.end();
            }
        }
    });
    object.number("refused", refused);
    object.end();
    let mut response = accepted_answer(out);
    let applied = HeaderValue::from_static(prefer::LENIENT);
    response
        .headers_mut()
        .insert(prefer::PREFERENCE_APPLIED, applied);
    Ok(response)
}

fn accepted_answer(body: Vec<u8>) -> hyper::Response<Payload> {
    let mut response = hyper::Response::new(Payload::whole(body));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn write_accepted(out: &mut Vec<u8>, accepted: &Accepted) {
    let mut object = Object::new(out);
    object.text("id", &accepted.id);
    object.number("position", accepted.position.0);
    object.boolean("duplicate", accepted.duplicate);
    object.end();
}

/// The parameters of [`filter`] that a stream has too.
const FILTERS: [&str; 2] = ["type", "match"];

/// Reads `type` and `match`: the events that a reader wants.
pub(super) async fn filter(app: &App, query: &Query) -> Result<EventFilter, Problem> {
    let pattern = match query.get("match").map(str::to_owned) {
        None => None,
        // Its regexes take a while to compile.
        Some(text) => {
            let index = move || -> Result<Arc<RuleIndex<()>>, Problem> {
                let pattern = rules::parsed(&text)?;
                Ok(Arc::new([((), pattern)].into_iter().collect()))
            };
            Some(app.judging.run(index).await.map_err(Problem::denied)??)
        }
    };
    Ok(EventFilter {
        kind: query.get("type").map(str::to_owned),
        pattern,
        since: None,
        until: None,
    })
}

/// `GET /v1/buses/{bus}/events?after=&limit=&last=&before=&type=&match=&since=&until=`.
pub(super) async fn list(call: Call) -> Answer {
    let bus = call.name("bus")?;
    let own = ["after", "limit", "last", "before", "since", "until"];
    let query = call.query(&[&own[..], &FILTERS].concat())?;
    let filter = EventFilter {
        since: query.time("since")?,
        until: query.time("until")?,
        ..filter(&call.app, &query).await?
    };
    let app = &call.app;
    let bus = bus.as_str();
    if let Some(count) = query.number("last", 1, PAGE_ROWS_MAX as u64)? {
        for name in ["after", "limit"] {
            if query.get(name).is_some() {
                return Err(Problem::input_error(
                    "",
                    format!("query parameters `last` and `{name}` exclude each other"),
                    "`last` gives the newest events; older ones come with `before`",
                ));
            }
        }
        let before = query.number("before", 0, u64::MAX)?.map(Position);
        let count = usize::try_from(count).unwrap_or(1);
        return list_last(app, bus, count, before, &filter).await;
    }
    page::no_before(&query)?;
    let after = Position(query.number("after", 0, u64::MAX)?.unwrap_or(0));
    let limit = page::limit(&query)?;
    let start = app.bus.start_of(bus, after, &filter).await?;
    let filter = &filter;
    page::collect(
        app,
        "events",
        limit,
        None,
        |next, rows| async move {
            let after = match next {
                None => start,
                // The bus's own `next`; one that is no position ends the page.
                Some(next) => match next.parse() {
                    Ok(after) => Position(after),
                    Err(_) => {
                        return Ok(Page {
                            items: Vec::new(),
                            next: None,
                        });
                    }
                },
            };
            let page = app.bus.events(bus, after, rows, filter).await?;
            Ok(Page {
                items: page.items,
                next: page.more.then(|| page.seen.to_string()),
            })
        },
        |out, stored| write_stored(out, &stored),
    )
    .await
}

/// The newest events, or those before a place, oldest first, with the log's last position, from which a
/// stream goes on.
async fn list_last(
    app: &App,
    bus: &str,
    count: usize,
    before: Option<Position>,
    filter: &EventFilter,
) -> Answer {
    let last = app.bus.last_events(bus, count, before, filter).await?;
    let mut out = Vec::new();
    let mut object = Object::new(&mut out);
    object.array("events", &last.items, write_stored);
    object.member("next").extend_from_slice(b"null");
    page::older(&mut object, last.older.as_ref());
    object.number("newest", last.newest.0);
    object.end();
    page::held(app, out)
}

/// `GET /v1/buses/{bus}/events/{position}`.
pub(super) async fn get(call: Call) -> Answer {
    let bus = call.name("bus")?;
    call.query(&[])?;
    let position = position(&call)?;
    let stored = call.app.bus.event(bus.as_str(), position).await?;
    let mut out = Vec::new();
    write_stored(&mut out, &stored);
    page::held(&call.app, out)
}

/// The position in a path.
pub(super) fn position(call: &Call) -> Result<Position, Problem> {
    let text = call.path("position");
    match text.parse::<u64>() {
        Ok(position) if !text.starts_with('+') => Ok(Position(position)),
        _ => Err(Problem::input_error("", "a position is a whole number", "")),
    }
}

/// An event of the log with its place.
pub(super) fn write_stored(out: &mut Vec<u8>, stored: &StoredEvent) {
    let mut object = Object::new(out);
    object.number("position", stored.position.0);
    object.shown("accepted_at", &stored.accepted_at);
    wire::encode(object.member("event"), &stored.event);
    object.end();
}
