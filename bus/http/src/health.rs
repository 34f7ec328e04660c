//! Health, version and metrics, which respond when everything else is refused, and the description of the API.
//! Health and version are cheap and take no locks.

use edgebus_api as api;
use hyper::StatusCode;

use super::call::{Answer, Call, json, text};
use super::problem::Problem;
use edgebus_engine::bus::Bus;

const PLAIN: &str = "text/plain; charset=utf-8";

/// True for the paths that respond even at the connection limit.
pub(super) fn is_health(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/version" | "/metrics")
}

/// `GET /livez`: whether the process should go on.
pub(super) async fn live(call: Call) -> Answer {
    call.query::<api::NoQuery>()?;
    // A bus that is still starting is alive, however long it takes.
    let live = call.app.bus.bus().is_none_or(Bus::live);
    let words = if live {
        "ok\n"
    } else {
        "the store failed; this process ends\n"
    };
    Ok(word(live, words.to_owned()))
}

/// `GET /readyz(?verbose)`: whether it should get requests.
pub(super) async fn ready(call: Call) -> Answer {
    let query: api::ReadyQuery = call.query()?;
    let verbose = query.verbose.unwrap_or(false);
    let stopping = *call.app.stopping.borrow();
    let startup = &call.app.bus;
    let ready = match startup.bus() {
        _ if stopping => Err("stopping".to_owned()),
        None => Err(startup.words()),
        Some(bus) => bus.ready(),
    };
    let mut words = match (&ready, verbose) {
        (Ok(()), _) => "ready\n".to_owned(),
        (Err(reason), true) => format!("not ready: {reason}\n"),
        (Err(_), false) => "not ready\n".to_owned(),
    };
    if verbose {
        for line in startup.bus().map(Bus::notes).unwrap_or_default() {
            words.push_str(&line);
            words.push('\n');
        }
    }
    Ok(word(ready.is_ok(), words))
}

fn word(well: bool, words: String) -> axum::response::Response {
    let response = text(PLAIN, words);
    if well {
        response
    } else {
        let mut response = response;
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    }
}

/// `GET /openapi.json`: the description of this API. It is made at the first request for it, because it takes
/// some milliseconds and some mebibytes.
pub(super) async fn openapi(call: Call) -> Answer {
    call.query::<api::NoQuery>()?;
    let app = &call.app;
    let described = app.description.get_or_try_init(|| {
        let limits = app.limits.clone();
        app.judging.run(move || super::openapi::text(&limits))
    });
    let description = described.await.map_err(Problem::denied)?;
    Ok(text("application/json", description.clone()))
}

/// `GET /version`.
pub(super) async fn version(call: Call) -> Answer {
    call.query::<api::NoQuery>()?;
    Ok(json(&api::Version {
        name: "edgebus".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }))
}

/// Prometheus' text format.
pub(super) const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /metrics`.
pub(super) async fn metrics(call: Call) -> Answer {
    Ok(text(METRICS_TYPE, (call.app.metrics)()))
}
