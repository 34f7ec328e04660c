//! Functions: deploy a component, see what is deployed, take it away.

use hyper::StatusCode;

use super::call::{Answer, Call, json};
use super::json::{Object, string};
use super::page;
use super::problem::{Cause, Problem};
use crate::error::Kind;
use crate::model::Revision;

/// `GET /v1/functions`.
pub(super) async fn list(call: Call) -> Answer {
    call.query(&[])?;
    page::whole(
        &call.app,
        "functions",
        call.app.bus.functions(),
        |out, revision| {
            write(out, &revision);
        },
    )
}

/// `GET /v1/functions/{name}`.
pub(super) async fn get(call: Call) -> Answer {
    let name = call.name("name")?;
    call.query(&[])?;
    let functions = call.app.bus.functions();
    let Some(revision) = functions.iter().find(|revision| revision.name == name) else {
        return Err(Problem::new(
            Cause::Handle(Kind::NotFound),
            format!("no function is deployed as `{name}`"),
        ));
    };
    let mut out = Vec::new();
    write(&mut out, revision);
    Ok(json(out))
}

/// `PUT /v1/functions/{name}`.
pub(super) async fn deploy(call: Call) -> Answer {
    let name = call.name("name")?;
    call.query(&[])?;
    let app = call.app.clone();
    let (component, _charge) = call
        .body(&["application/wasm"], app.limits.component_bytes_max)
        .await?;
    let revision = app.bus.deploy(name.as_str(), component).await?;
    let mut out = Vec::new();
    write(&mut out, &revision);
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

fn write(out: &mut Vec<u8>, revision: &Revision) {
    let mut object = Object::new(out);
    object.text("name", revision.name.as_str());
    object.shown("digest", &revision.digest);
    object.number("revision", u64::from(revision.number));
    object.shown("deployed_at", &revision.deployed_at);
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
