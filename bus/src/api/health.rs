//! Health, version and metrics: cheap, without locks, and answered when everything else is refused.

use hyper::StatusCode;

use super::call::{Answer, Call, json, text};
use super::json::Object;

/// True for the paths that a full house still answers.
pub(super) fn is_health(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/version" | "/metrics")
}

/// `GET /livez`: whether the process should go on.
pub(super) async fn live(call: Call) -> Answer {
    call.query(&[])?;
    let live = call.app.bus.live();
    let words = if live {
        "ok\n"
    } else {
        "the store failed; this process ends\n"
    };
    Ok(word(live, words.to_owned()))
}

/// `GET /readyz(?verbose)`: whether it should get requests.
pub(super) async fn ready(call: Call) -> Answer {
    let verbose = call.query(&["verbose"])?.flag("verbose")?;
    let stopping = *call.app.stopping.borrow();
    let ready = if stopping {
        Err("stopping".to_owned())
    } else {
        call.app.bus.ready()
    };
    let mut words = match (&ready, verbose) {
        (Ok(()), _) => "ready\n".to_owned(),
        (Err(reason), true) => format!("not ready: {reason}\n"),
        (Err(_), false) => "not ready\n".to_owned(),
    };
    if verbose {
        for remark in call.app.bus.remarks() {
            words.push_str(&remark);
            words.push('\n');
        }
    }
    Ok(word(ready.is_ok(), words))
}

fn word(well: bool, words: String) -> axum::response::Response {
    let response = text("text/plain; charset=utf-8", words);
    if well {
        response
    } else {
        let mut response = response;
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    }
}

/// `GET /openapi.json`: the description of this API, made once.
pub(super) async fn openapi(call: Call) -> Answer {
    call.query(&[])?;
    Ok(text("application/json", call.app.description.clone()))
}

/// `GET /version`.
pub(super) async fn version(call: Call) -> Answer {
    call.query(&[])?;
    let mut out = Vec::new();
    let mut object = Object::new(&mut out);
    object.text("name", "edgebus");
    object.text("version", env!("CARGO_PKG_VERSION"));
    object.end();
    Ok(json(out))
}

/// Prometheus' text format.
pub(super) const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /metrics`.
pub(super) async fn metrics(call: Call) -> Answer {
    Ok(text(METRICS_TYPE, (call.app.metrics)()))
}
