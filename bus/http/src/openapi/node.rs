//! The description of health, version, metrics and of itself. Health responds even at the connection limit.

use edgebus_api as api;
use serde_json::json;

use super::operation::{JSON, Operation};
use crate::health::METRICS_TYPE;
use crate::problem::Cause;
use crate::serve::Limits;
use edgebus_model::error::Kind;

/// What words are sent as.
const PLAIN: &str = "text/plain; charset=utf-8";

fn quiet(operation: Operation) -> Operation {
    operation.problem(
        Cause::UnsupportedMedia,
        "The request has a Content-Encoding.",
    )
}

fn strict(operation: Operation) -> Operation {
    let when = "A query parameter is unknown or given twice.";
    quiet(operation).problem(Cause::Handle(Kind::Invalid), when)
}

/// `GET /livez`.
pub(crate) fn live(_: &Limits) -> Operation {
    let shape = || json!({"type": "string"});
    strict(Operation::new(
        "live",
        "node",
        "Ask whether the process should go on",
    ))
    .answers(
        200,
        "It should.",
        PLAIN,
        shape(),
        &[("live", json!("ok\n"))],
    )
    .answers(
        503,
        "Its store failed: it ends with exit code 74.",
        PLAIN,
        shape(),
        &[("failed", json!("the store failed; this process ends\n"))],
    )
}

/// `GET /readyz`.
pub(crate) fn ready(_: &Limits) -> Operation {
    let shape = || json!({"type": "string"});
    strict(Operation::new(
        "ready",
        "node",
        "Ask whether it should get requests",
    ))
    .query::<api::ReadyQuery>()
    .answers(
        200,
        "It should.",
        PLAIN,
        shape(),
        &[("ready", json!("ready\n"))],
    )
    .answers(
        503,
        "Not now: it starts, stops, or found a corrupt record that is not in quarantine yet.",
        PLAIN,
        shape(),
        &[
            ("quiet", json!("not ready\n")),
            ("verbose", json!("not ready: stopping\n")),
        ],
    )
}

/// `GET /version`.
pub(crate) fn version(_: &Limits) -> Operation {
    strict(Operation::new("version", "node", "Ask what answers here"))
        .answers_json::<api::Version>(200, "The release.")
}

/// `GET /metrics`.
pub(crate) fn metrics(_: &Limits) -> Operation {
    quiet(Operation::new("metrics", "node", "Read the metrics"))
        .about("Prometheus' text format. Any query is passed over, because scrapers send some.")
        .answers(
            200,
            "The metrics.",
            METRICS_TYPE,
            json!({"type": "string"}),
            &[(
                "one",
                json!("# TYPE edgebus_events_accepted_total counter\nedgebus_events_accepted_total 8\n"),
            )],
        )
}

/// `GET /openapi.json`.
pub(crate) fn openapi(_: &Limits) -> Operation {
    let shape = json!({
        "type": "object",
        "description": "An OpenAPI document.",
        "required": ["openapi", "info", "paths"],
        "additionalProperties": true,
        "properties": {"openapi": {"const": "3.1.0"}, "info": {"type": "object"}, "paths": {"type": "object"}},
    });
    let example = json!({"openapi": "3.1.0", "info": {"title": "edgebus", "version": env!("CARGO_PKG_VERSION")}, "paths": {}});
    strict(Operation::new("openapi", "node", "Read this description"))
        .answers(
            200,
            "This document.",
            JSON,
            shape,
            &[("beginning", example)],
        )
        .problem(
            Cause::Handle(Kind::Busy {
                retry_after_ms: 1_000,
            }),
            "The node is full.",
        )
}
