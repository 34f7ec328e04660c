//! Functions: deploy, show, remove and try them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edgebus_api as api;
use hyper::StatusCode;

use super::call::{Answer, Call, json, name};
use super::problem::{Cause, Problem};
use super::wire::{self, Encoded, Mode};
use super::{body, page, query};
use edgebus_engine::bus::{Availability, Trial};
use edgebus_model::Revision;
use edgebus_model::error::Kind;
use edgebus_model::rule::DEFAULT_BUS;

/// `GET /v1/functions`.
pub(super) async fn list(call: Call) -> Answer {
    call.query::<api::NoQuery>()?;
    let functions = call.app.bus.functions().into_iter();
    let list = api::FunctionList {
        functions: functions
            .map(|(revision, availability)| shown(&revision, &availability))
            .collect(),
    };
    page::held(&call.app, &list)
}

/// `GET /v1/functions/{name}`.
pub(super) async fn get(call: Call) -> Answer {
    let name = call.name("name")?;
    call.query::<api::NoQuery>()?;
    let Some((revision, availability)) = call.app.bus.function(name.as_str()) else {
        return Err(Problem::new(
            Cause::Handle(Kind::NotFound),
            format!("no function is deployed as `{name}`"),
        ));
    };
    Ok(json(&shown(&revision, &availability)))
}

/// `PUT /v1/functions/{name}`.
pub(super) async fn deploy(call: Call) -> Answer {
    let name = call.name("name")?;
    call.query::<api::NoQuery>()?;
    let app = call.app.clone();
    let (component, reservation) = call
        .body(&["application/wasm"], app.limits.component_bytes_max)
        .await?;
    // If the client leaves, the component outlives the request. It counts for as long as it is held.
    let component = reservation.with(component);
    let revision = app.bus.deploy(name.as_str(), component).await?;
    let mut response = json(&shown(&revision, &Availability::Ready));
    if revision.number == 1 {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

/// `DELETE /v1/functions/{name}`.
pub(super) async fn remove(call: Call) -> Answer {
    let name = call.name("name")?;
    call.query::<api::NoQuery>()?;
    call.app.bus.remove_function(name.as_str()).await?;
    let mut response = axum::response::Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// `POST /v1/functions/{name}/invoke`: runs it once on the event in the body, which is sent as a
/// publish is, and commits nothing.
pub(super) async fn invoke(call: Call) -> Answer {
    let function = call.name("name")?;
    let Call { app, headers, .. } = &call;
    let (app, headers) = (app.clone(), headers.clone());
    let (query, body) = call.into_rest();
    let query: api::InvokeQuery = query::parse(query.as_deref())?;
    let bus = name(query.bus.as_deref().unwrap_or(DEFAULT_BUS))?;
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
    page::held(&app, &tried(&trial))
}

fn tried(trial: &Trial) -> api::Trial<Encoded<'_>> {
    let outcome = &trial.outcome;
    let emitted = trial.emitted.iter().map(|emitted| api::WouldEmit {
        bus: emitted.bus.clone(),
        subscriptions: emitted.subscriptions.clone(),
        event: Encoded(&emitted.event),
    });
    let writes = trial.writes.iter();
    let state = writes.map(|(key, value)| would_write(key, value.as_deref()));
    api::Trial {
        function: trial.revision.name.to_string(),
        revision: u64::from(trial.revision.number),
        digest: trial.revision.digest.to_string(),
        committed: false,
        outcome: api::Outcome::from(outcome.class()),
        message: (!outcome.is_success()).then(|| outcome.to_string()),
        duration_us: u64::try_from(trial.duration.as_micros()).unwrap_or(u64::MAX),
        output: trial.output.clone(),
        emitted: emitted.collect(),
        state: state.collect(),
    }
}

/// A write of state; without a value it deletes.
pub(super) fn would_write(key: &[u8], value: Option<&[u8]>) -> api::WouldWrite {
    let (key, key_base64) = text_or_base64(key);
    let (value_text, value_base64) = value.map(text_or_base64).unwrap_or_default();
    api::WouldWrite {
        key,
        key_base64,
        value: value_text,
        value_base64,
        deleted: value.is_none(),
    }
}

/// Bytes as text if they are UTF-8, else in Base64.
fn text_or_base64(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(STANDARD.encode(bytes))),
    }
}

fn shown(revision: &Revision, availability: &Availability) -> api::Function {
    let config = &revision.config;
    let limits = &config.limits;
    api::Function {
        name: revision.name.to_string(),
        digest: revision.digest.to_string(),
        revision: u64::from(revision.number),
        deployed_at: revision.deployed_at.to_string(),
        state: api::FunctionState::from(availability.word()),
        reason: match availability {
            Availability::Unavailable { reason } => Some(reason.clone()),
            _ => None,
        },
        limits: api::FunctionLimits {
            memory_bytes: limits.memory_bytes_max,
            cpu_ms: limits.cpu_ms_max,
            timeout_ms: limits.timeout_ms_max,
            concurrency: u64::from(limits.concurrency_max),
            emits: u64::from(limits.emits_max),
            emit_bytes: limits.emit_bytes_max,
            state_writes: u64::from(limits.state_writes_max),
            state_bytes: limits.state_bytes_max,
            output_bytes: limits.output_bytes_max,
        },
        config: config.config.clone(),
        secrets: config.secrets.clone(),
        allow_http: config.allow_http.clone(),
    }
}
