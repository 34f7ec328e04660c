//! The shapes of bodies that have a name, each with its example.
//!
//! Each is what one of the writers beside the handlers writes; a test asks the real server for every one.

mod deliveries;
mod events;
mod functions;
mod rules;
mod trial;
mod verdict;

use serde_json::{Map, Value, json};

use super::problems;

pub(super) use events::order;

/// Name, schema, example.
type Shape = (&'static str, Value, Value);

/// When everything in the examples happens.
const AT: &str = "2026-11-21T10:15:30.125Z";

/// The digest of every component in the examples.
const DIGEST: &str = "6b3c0f3ce1a1d2a1f6d2a2a9a3a3b1b0c7f1c8d1e9a4f0b2c3d4e5f60718293a";

/// A component's digest.
fn digest(words: &str) -> Value {
    json!({"type": "string", "pattern": "^[0-9a-f]{64}$", "description": words})
}

/// All shapes, by name.
pub(super) fn all() -> Map<String, Value> {
    table()
        .into_iter()
        .map(|(name, schema, _)| (name.to_owned(), schema))
        .collect()
}

/// The example of the shape `name`.
pub(super) fn example(name: &str) -> Value {
    table()
        .into_iter()
        .find(|(own, ..)| *own == name)
        .map_or(Value::Null, |(_, _, example)| example)
}

fn table() -> Vec<Shape> {
    let mut all = vec![
        ("Problem", problems::schema(), problems::example()),
        (
            "InputError",
            problems::input_error(),
            problems::error_example(),
        ),
    ];
    all.extend(events::shapes());
    all.extend(functions::shapes());
    all.extend(trial::shapes());
    all.extend(rules::shapes());
    all.extend(verdict::shapes());
    all.extend(deliveries::shapes());
    all
}
