//! The HTTP API of a bus: the table of all routes, and the service that handles every request.
//!
//! A handler takes a `Call` and answers JSON or a `Problem`; the status of a problem is chosen in `problem`,
//! the limits are kept in `serve`, CloudEvents are read in `wire`. Publishing bypasses the router, because it
//! is the most frequent request. Never here: decisions of the bus, the store, the pipeline; types of hyper and
//! axum never leave this module.

#![forbid(unsafe_code)]

mod body;
mod call;
mod deliveries;
mod erasures;
mod events;
mod explain;
mod functions;
mod health;
mod host;
mod jobs;
mod live;
mod manifest;
mod openapi;
mod page;
mod prefer;
mod problem;
mod query;
mod replays;
mod rules;
mod serve;
mod shadow;
mod sse;
mod startup;
mod stream;
mod subscriptions;
mod target;
#[cfg(test)]
mod tests;
pub mod verdict;
pub mod wire;

use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::Router;
use bytes::Bytes;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Method, Request, Response};
use tokio::net::TcpListener;
use tokio::sync::{OnceCell, Semaphore, watch};
use tower::ServiceExt as _;

use body::{ByteBudget, Reservation};
use edgebus_engine::work_limiter::WorkLimiter;
use edgebus_model::rule::DEFAULT_BUS;
use openapi::{self as describe, Route, delete, get, patch, post, put};
use problem::{Cause, Problem};
use serve::{Access, Inward, Payload};

pub use host::allowed_host;
pub use serve::Limits;
pub use startup::Startup;

/// Renders the metrics as Prometheus text.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// Every route, with what answers and what describes it: the router and `/openapi.json` are made from this.
#[rustfmt::skip]
fn table() -> Vec<Route> {
    vec![
        post("/v1/events", events::publish_default, describe::events::publish_default),
        post("/v1/buses/{bus}/events", events::publish, describe::events::publish),
        get("/v1/buses/{bus}/events", events::list, describe::events::list),
        get("/v1/buses/{bus}/events/stream", stream::open, describe::events::stream),
        get("/v1/buses/{bus}/events/{position}", events::get, describe::events::get),
        get("/v1/buses/{bus}/events/{position}/explain", explain::event, describe::events::explain),
        get("/v1/functions", functions::list, describe::functions::list),
        put("/v1/functions/{name}", functions::deploy, describe::functions::deploy),
        get("/v1/functions/{name}", functions::get, describe::functions::get),
        delete("/v1/functions/{name}", functions::remove, describe::functions::remove),
        post("/v1/functions/{name}/invoke", functions::invoke, describe::functions::invoke),
        put("/v1/components/{digest}", manifest::stage, describe::functions::stage),
        put("/v1/manifest", manifest::apply, describe::functions::apply),
        get("/v1/manifest", manifest::get, describe::functions::manifest),
        get("/v1/rules", rules::list, describe::rules::list),
        post("/v1/rules/test", rules::test, describe::rules::test),
        get("/v1/subscriptions", subscriptions::list, describe::rules::subscriptions),
        post("/v1/subscriptions/{name}/seek", replays::seek, describe::jobs::seek),
        get("/v1/deliveries", deliveries::list, describe::deliveries::list),
        get("/v1/deliveries/stream", live::open, describe::deliveries::live),
        get("/v1/deliveries/{id}", deliveries::get, describe::deliveries::get),
        get("/v1/dead-letters", deliveries::list_dead, describe::deliveries::list_dead),
        get("/v1/dead-letters/{id}", deliveries::get_dead, describe::deliveries::get_dead),
        post("/v1/dead-letters/redrive", jobs::redrive, describe::jobs::redrive),
        post("/v1/dead-letters/purge", jobs::purge, describe::jobs::purge),
        post("/v1/replays", replays::start, describe::jobs::replay),
        post("/v1/erasures", erasures::start, describe::jobs::erase),
        post("/v1/replays/shadow", shadow::start, describe::jobs::shadow),
        get("/v1/jobs", jobs::list, describe::jobs::list),
        get("/v1/jobs/{id}", jobs::get, describe::jobs::get),
        patch("/v1/jobs/{id}", jobs::change, describe::jobs::change),
        get("/livez", health::live, describe::node::live),
        get("/readyz", health::ready, describe::node::ready),
        get("/version", health::version, describe::node::version),
        get("/metrics", health::metrics, describe::node::metrics),
        get("/openapi.json", health::openapi, describe::node::openapi),
    ]
}

fn router(table: Vec<Route>) -> Router<App> {
    table
        .into_iter()
        .fold(Router::new(), |router, route| {
            router.route(route.path, route.handler)
        })
        .method_not_allowed_fallback(async || {
            Problem::new(
                Cause::MethodNotAllowed,
                "see Allow for the methods of this path",
            )
        })
        .fallback(async || {
            Problem::new(
                Cause::NoRoute,
                "the routes of the API begin with /v1/; /openapi.json describes them",
            )
        })
}

/// Serves the API of `bus`, which may still be starting, on `listener` until `shutdown`, then drains
/// within the limits; resolves when no connection and no task of the server is left.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    bus: impl Into<Startup>,
    metrics: Metrics,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let (stop, stopping) = watch::channel(false);
    let service = Service::new(bus.into(), metrics, limits.clone(), stopping);
    let shutdown = async move {
        shutdown.await;
        // Streams of events never end by themselves.
        stop.send_replace(true);
    };
    serve::run(listener, limits, service, shutdown).await
}

/// What handlers share.
#[derive(Clone)]
struct App(Arc<Shared>);

struct Shared {
    bus: Startup,
    metrics: Metrics,
    limits: Limits,
    /// Request bodies that are held.
    requests: ByteBudget,
    /// Pages that are held until their readers have them.
    answers: ByteBudget,
    /// Places for readers of server-sent events.
    streams: Arc<Semaphore>,
    /// Places for trials of functions.
    trials: Semaphore,
    /// Places for requests that evaluate or compile what they bring: explanations, trials of rules, patterns.
    judging: WorkLimiter,
    /// The answer of `/openapi.json`, once somebody has asked for it.
    description: OnceCell<Bytes>,
    /// True when the server stops.
    stopping: watch::Receiver<bool>,
}

impl std::ops::Deref for App {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// Handles every request.
#[derive(Clone)]
struct Service {
    app: App,
    router: Router,
}

impl Service {
    fn new(
        bus: Startup,
        metrics: Metrics,
        limits: Limits,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let app = App(Arc::new(Shared {
            bus,
            metrics,
            requests: ByteBudget::new(limits.request_bytes_in_flight_max),
            answers: ByteBudget::new(limits.answer_bytes_in_flight_max),
            streams: Arc::new(Semaphore::new(limits.event_streams_max)),
            trials: Semaphore::new(limits.trials_max),
            judging: WorkLimiter::new(limits.explanations_max),
            limits,
            description: OnceCell::new(),
            stopping,
        }));
        let router = router(table()).with_state(app.clone());
        Self { app, router }
    }

    async fn answer(self, request: Request<Inward>, access: Access) -> Response<Payload> {
        let path = request.uri().path();
        let listed = &self.app.limits.allowed_hosts;
        let for_us = host::check(request.version(), request.uri(), request.headers(), listed);
        let problem = if let Err(problem) = for_us {
            Some(problem)
        } else if request.headers().len() > self.app.limits.headers_max {
            let fields_max = self.app.limits.headers_max;
            Some(Problem::new(
                Cause::HeadersTooLarge,
                format!("a request may have {fields_max} header fields at most"),
            ))
        } else if access == Access::HealthOnly && !health::is_health(path) {
            Some(Problem::busy("too many connections are open"))
        } else if self.app.bus.bus().is_none() && !health::is_health(path) {
            Some(self.app.bus.problem())
        } else {
            let headers = request.headers();
            body::check_transfer(headers)
                .and_then(|()| body::check_encoding(headers))
                .err()
        };
        if let Some(problem) = problem {
            return payload(problem.render(path));
        }
        let (head, body) = request.into_parts();
        if head.method == Method::POST
            && let Some(bus) = published_bus(head.uri.path())
        {
            let query = head.uri.query();
            return match events::accept(&self.app, bus, query, &head.headers, body).await {
                Ok(answer) => answer,
                Err(problem) => payload(problem.render(head.uri.path())),
            };
        }
        let uri = head.uri.clone();
        let request = Request::from_parts(head, body);
        let response = match self.router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        match response.extensions().get::<Problem>() {
            None => payload(response),
            Some(problem) => {
                let mut rendered = problem.render(uri.path());
                // The router says which methods there are.
                if let Some(allow) = response.headers().get(hyper::header::ALLOW) {
                    rendered
                        .headers_mut()
                        .insert(hyper::header::ALLOW, allow.clone());
                }
                payload(rendered)
            }
        }
    }
}

impl serve::Handler for Service {
    fn call(
        &self,
        request: Request<Inward>,
        access: Access,
    ) -> impl Future<Output = Response<Payload>> + Send + 'static {
        let service = self.clone();
        async move {
            let mut response = service.answer(request, access).await;
            if access == Access::HealthOnly {
                // The connection's place is needed for the next request for health.
                response
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    }
}

fn payload(response: axum::response::Response) -> Response<Payload> {
    let held = response.extensions().get::<Arc<Reservation>>().cloned();
    response.map(|body| Payload::stream(body, held))
}

/// The bus that a POST to `path` publishes on, if it is a path to publish on and needs no decoding.
fn published_bus(path: &str) -> Option<&str> {
    match path.strip_prefix("/v1/")? {
        "events" => Some(DEFAULT_BUS),
        rest => {
            let bus = rest.strip_prefix("buses/")?.strip_suffix("/events")?;
            (!bus.is_empty() && !bus.contains(['/', '%'])).then_some(bus)
        }
    }
}
