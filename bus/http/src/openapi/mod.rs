//! The description of the API, OpenAPI 3.1, made from the table that the router is made from.
//!
//! A route is one line in `api::table`: method, path, handler, description. So every route has a description.
//! Bodies and query parameters are described by the schemas of the structs in `api`, problems by `problem`,
//! codes by `model`. Tests check the rest: they call each route, compare its real answer with the schema, and
//! compare its query parameters and media types with the description. Never here: what a handler does.

pub(super) mod deliveries;
pub(super) mod events;
mod examples;
pub(super) mod functions;
pub(super) mod jobs;
pub(super) mod node;
mod operation;
mod problems;
pub(super) mod rules;
mod schemas;

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::App;
use super::serve::Limits;

pub(super) use operation::Operation;

/// A route with its description.
pub(super) struct Route {
    /// In lower case, as the description's key has it.
    method: &'static str,
    /// Where parts in braces are parameters.
    pub(super) path: &'static str,
    /// What answers.
    pub(super) handler: MethodRouter<App>,
    describe: fn(&Limits) -> Operation,
}

fn route<H, T>(
    method: (&'static str, MethodFilter),
    path: &'static str,
    handler: H,
    describe: fn(&Limits) -> Operation,
) -> Route
where
    H: Handler<T, App>,
    T: 'static,
{
    let (method, filter) = method;
    Route {
        method,
        path,
        handler: on(filter, handler),
        describe,
    }
}

/// A route that is read.
pub(super) fn get<H, T>(path: &'static str, handler: H, describe: fn(&Limits) -> Operation) -> Route
where
    H: Handler<T, App>,
    T: 'static,
{
    route(("get", MethodFilter::GET), path, handler, describe)
}

/// A route that is posted to.
pub(super) fn post<H, T>(
    path: &'static str,
    handler: H,
    describe: fn(&Limits) -> Operation,
) -> Route
where
    H: Handler<T, App>,
    T: 'static,
{
    route(("post", MethodFilter::POST), path, handler, describe)
}

/// A route that is put to.
pub(super) fn put<H, T>(path: &'static str, handler: H, describe: fn(&Limits) -> Operation) -> Route
where
    H: Handler<T, App>,
    T: 'static,
{
    route(("put", MethodFilter::PUT), path, handler, describe)
}

/// A route that is told what to change.
pub(super) fn patch<H, T>(
    path: &'static str,
    handler: H,
    describe: fn(&Limits) -> Operation,
) -> Route
where
    H: Handler<T, App>,
    T: 'static,
{
    route(("patch", MethodFilter::PATCH), path, handler, describe)
}

/// A route that takes something away.
pub(super) fn delete<H, T>(
    path: &'static str,
    handler: H,
    describe: fn(&Limits) -> Operation,
) -> Route
where
    H: Handler<T, App>,
    T: 'static,
{
    route(("delete", MethodFilter::DELETE), path, handler, describe)
}

const ABOUT: &str = "Publish CloudEvents, read the log, deploy functions, apply rules, and see \
what became of each delivery. Bodies are JSON; times are RFC 3339 in UTC; sizes are bytes unless a name \
says otherwise. Errors are problem documents (RFC 9457) with a stable `code`: `edgebus explain CODE` \
prints its page. A query parameter that a route doesn't know is refused, and so is one that is given \
twice. A GET route answers HEAD as well. The bus listens on loopback only, and there are no keys yet.";

/// The groups that operations are in, in reading order.
const TAGS: [(&str, &str); 6] = [
    ("events", "Publish events and read the log."),
    ("functions", "Deploy components; the manifest."),
    ("rules", "The active rules, and trying one."),
    (
        "deliveries",
        "What is pending, what happened, and what ended without success.",
    ),
    (
        "jobs",
        "What the bus does by itself: redrives and purges of dead letters.",
    ),
    ("node", "Health, version, metrics, and this description."),
];

/// The document of a server with these limits, as it is answered.
pub(super) fn text(limits: &Limits) -> Bytes {
    let document = document(&super::table(), limits);
    Bytes::from(format!("{document:#}\n"))
}

/// The whole document for a server with these limits.
pub(super) fn document(routes: &[Route], limits: &Limits) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    let mut schemas: Map<String, Value> = Map::new();
    for route in routes {
        let (operation, named) = (route.describe)(limits).document();
        schemas.extend(named);
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        methods[route.method] = operation;
    }
    let tags: Vec<Value> = TAGS
        .iter()
        .map(|(name, description)| json!({"name": name, "description": description}))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "edgebus",
            "summary": "A serverless event bus for the edge.",
            "description": ABOUT,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {
                "name": "MIT OR Apache-2.0",
                "identifier": "MIT OR Apache-2.0",
            },
        },
        "servers": [{
            "url": "http://127.0.0.1:7070",
            "description": "Where a bus listens unless told otherwise.",
        }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "examples": problems::examples(),
        },
    })
}

#[cfg(test)]
mod tests;
