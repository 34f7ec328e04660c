//! Functions: deploy a component, see what is deployed, take it away.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;

use super::call::{Answer, Call, Query, json, name};
use super::json::{Object, string};
use super::problem::{Cause, Problem};
use super::wire::{self, Mode};
use super::{body, page};
use edgebus_engine::bus::{Availability, Trial};
use edgebus_model::Revision;
use edgebus_model::error::Kind;
use edgebus_model::rule::DEFAULT_BUS;

/// `GET /v1/functions`.
pub(super) async fn list(call: Call) -> Answer {
    call.query(&[])?;
    page::whole(
        &call.app,
        "functions",
        call.app.bus.functions(),
        |out, (revision, availability)| {
            write(out, &revision, &availability);
        },
    )
}

/// `GET /v1/functions/{name}`.
pub(super) async fn get(call: Call) -> Answer {
    let name = call.name("name")?;
    call.query(&[])?;
    let Some((revision, availability)) = call.app.bus.function(name.as_str()) else {
        return Err(Problem::new(
            Cause::Handle(Kind::NotFound),
            format!("no function is deployed as `{name}`"),
        ));
    };
    let mut out = Vec::new();
    write(&mut out, &revision, &availability);
    Ok(json(out))
}

/// `PUT /v1/functions/{name}`.
pub(super) async fn deploy(call: Call) -> Answer {
    let name = call.name("name")?;
    call.query(&[])?;
    let app = call.app.clone();
    let (component, reservation) = call
        .body(&["application/wasm"], app.limits.component_bytes_max)
        .await?;
    // The component outlives the request if its client goes, and is charged for as long as it is held.
    let component = reservation.with(component);
    let revision = app.bus.deploy(name.as_str(), component).await?;
    let mut out = Vec::new();
    write(&mut out, &revision, &Availability::Ready);
    let mut response = json(out);
    if revision.number == 1 {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

/// `DELETE /v1/functions/{name}`.
pub(super) async fn remove(call: Call) -> Answer {
    let name = call.name("name")?;
    call.query(&[])?;
    call.app.bus.remove_function(name.as_str()).await?;
    let mut response = axum::response::Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// `POST /v1/functions/{name}/invoke?bus=`: runs it once on the event in the body, which is sent as a
/// publish is, and commits nothing.
pub(super) async fn invoke(call: Call) -> Answer {
    let function = call.name("name")?;
    let Call { app, headers, .. } = &call;
    let (app, headers) = (app.clone(), headers.clone());
    let (query, body) = call.into_rest();
    let query = Query::parse(query.as_deref(), &["bus"])?;
    let bus = name(query.get("bus").unwrap_or(DEFAULT_BUS))?;
    let mode = wire::mode(&headers)?;
    if mode == Mode::Batch {
        return Err(Problem::new(
            Cause::UnsupportedMedia,
            "a function is tried on one event: send application/cloudevents+json, or binary mode",
        ));
    }
    let bytes_max = app.limits.event_bytes_max;
    let (bytes, _reservation) =
        body::read(&headers, body, bytes_max, &app.limits, &app.requests).await?;
    let Some(event) = wire::decode(mode, &headers, bytes)?.pop() else {
        return Err(Problem::input_error("", "the request holds no event", ""));
    };
    let Ok(_place) = app.trials.try_acquire() else {
        return Err(Problem::busy("too many functions are being tried"));
    };
    let trial = app
        .bus
        .try_function(function.as_str(), bus.as_str(), event)
        .await?;
    let mut out = Vec::new();
    write_trial(&mut out, &trial);
    page::held(&app, out)
}

fn write_trial(out: &mut Vec<u8>, trial: &Trial) {
    let mut object = Object::new(out);
    object.text("function", trial.revision.name.as_str());
    object.number("revision", u64::from(trial.revision.number));
    object.shown("digest", &trial.revision.digest);
    object.boolean("committed", false);
    object.text("outcome", trial.outcome.class());
    if !trial.outcome.is_success() {
        object.shown("message", &trial.outcome);
    }
    let micros = u64::try_from(trial.duration.as_micros()).unwrap_or(u64::MAX);
    object.number("duration_us", micros);
    object.text("output", &trial.output);
    object.array("emitted", &trial.emitted, |out, emitted| {
        let mut object = Object::new(out);
        object.text("bus", &emitted.bus);
        object.array("subscriptions", &emitted.subscriptions, |out, label| {
            string(out, label);
        });
        wire::encode(object.member("event"), &emitted.event);
        object.end();
    });
    object.array("state", &trial.writes, |out, (key, value)| {
        let mut object = Object::new(out);
        write_bytes(&mut object, "key", key);
        match value {
            Some(value) => write_bytes(&mut object, "value", value),
            None => object.boolean("deleted", true),
        }
        object.end();
    });
    object.end();
}

/// Bytes as a string if they are UTF-8, else in Base64 under the name with `_base64` behind it.
fn write_bytes(object: &mut Object<'_>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.text(name, text),
        Err(_) => object.text(&format!("{name}_base64"), &STANDARD.encode(bytes)),
    }
}

fn write(out: &mut Vec<u8>, revision: &Revision, availability: &Availability) {
    let mut object = Object::new(out);
    object.text("name", revision.name.as_str());
    object.shown("digest", &revision.digest);
    object.number("revision", u64::from(revision.number));
    object.shown("deployed_at", &revision.deployed_at);
    object.text("state", availability.word());
    if let Availability::Unavailable { reason } = availability {
        object.text("reason", reason);
    }
    let limits = &revision.config.limits;
    let mut own = Object::new(object.member("limits"));
    for (name, value) in [
        ("memory_bytes", limits.memory_bytes_max),
        ("cpu_ms", limits.cpu_ms_max),
        ("timeout_ms", limits.timeout_ms_max),
        ("concurrency", u64::from(limits.concurrency_max)),
        ("emits", u64::from(limits.emits_max)),
        ("emit_bytes", limits.emit_bytes_max),
        ("state_writes", u64::from(limits.state_writes_max)),
        ("state_bytes", limits.state_bytes_max),
        ("output_bytes", limits.output_bytes_max),
    ] {
        own.number(name, value);
    }
    own.end();
    let mut own = Object::new(object.member("config"));
    for (key, value) in &revision.config.config {
        own.text(key, value);
    }
    own.end();
    let text = |out: &mut Vec<u8>, text: &String| string(out, text);
    object.array("secrets", &revision.config.secrets, text);
    object.array("allow_http", &revision.config.allow_http, text);
    object.end();
}
