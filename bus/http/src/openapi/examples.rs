//! The example of each body of the API, all about one order.
//!
//! A test reads each with its struct and writes the same again.

use edgebus_api as api;
use serde_json::{Value, json};

use super::problems;

/// When everything in the examples happens.
const AT: &str = "2026-11-21T10:15:30.125Z";
/// The digest of every component in the examples.
pub(super) const DIGEST: &str = "6b3c0f3ce1a1d2a1f6d2a2a9a3a3b1b0c7f1c8d1e9a4f0b2c3d4e5f60718293a";

/// A body that has an example.
pub(super) trait Example {
    /// What the example is called.
    const NAME: &'static str;

    /// The example.
    fn example() -> Value;
}

macro_rules! examples {
    ($($name:ident: $example:expr;)+) => {
        $(impl Example for api::$name {
            const NAME: &'static str = stringify!($name);

            fn example() -> Value {
                $example
            }
        })+

        #[cfg(test)]
        pub(super) fn check_all() {
            $(tests::check::<api::$name>();)+
        }
    };
}

examples! {
    Problem: problems::example();
    Event: order();
    Accepted: accepted("o-1001", 6);
    AcceptedBatch: json!({"results": [accepted("o-1001", 6), accepted("o-1002", 7)]});
    AcceptedEach: json!({"results": [accepted("o-1001", 6), problems::refused()], "refused": 1});
    StoredEvent: json!({"position": 6, "accepted_at": AT, "event": order()});
    EventPage: json!({"events": [api::StoredEvent::example()], "next": "6"});
    Function: function();
    FunctionList: json!({"functions": [function()]});
    Version: json!({"name": "edgebus", "version": env!("CARGO_PKG_VERSION")});
    Plan: json!({
        "dry_run": true, "version": 1, "missing": [format!("blake3:{DIGEST}")],
        "changes": [{
            "kind": "change", "what": "rule", "name": "orders", "aspects": ["match"],
            "effect": "applies to new events; 2 pending deliveries stay pending",
        }],
    });
    Trial: json!({
        "function": "enricher", "revision": 1, "digest": DIGEST, "committed": false, "outcome": "success",
        "duration_us": 236, "output": "INFO converted\n",
        "emitted": [{"bus": "default", "subscriptions": ["enriched-orders/order-totals"], "event": order()}],
        "state": [{"key": "total/ada", "value": "13800"}],
    });
    RuleList: json!({"rules": [{
        "name": "orders", "bus": "default", "enabled": true, "match": {"type": ["com.example.order.placed"]},
        "where": [], "to": [{
            "function": "enricher", "name": "orders/enricher", "retry": retry(), "dead_letter_ms": 1_209_600_000,
            "dead_letter_bus": "failed",
        }],
    }]});
    SubscriptionList: json!({"subscriptions": [{
        "id": 3, "name": "orders/enricher", "rule": "orders", "function": "enricher", "bus": "default",
        "active": true, "in_memory": 0, "situation": "empty", "reason": "nothing is ready to run",
        "oldest_pending": "3-13", "oldest_accepted_at": AT, "oldest_age_ms": 1_200, "behind": 2,
        "pending": 1, "waiting": 1, "dead": 0,
        "since_start": {"succeeded": 12, "retried": 2, "dead": 0, "run_us": 4_500},
        "retry": retry(), "dead_letter_ms": 1_209_600_000, "dead_letter_bus": "failed",
    }]});
    RuleTest: json!({
        "match": {"type": ["com.example.order.placed"], "data": {"currency": [{"anything-but": ["EUR"]}]}},
        "where": ["$.data.lines[?@.quantity > 0]"],
        "input": "{$.data.id} of {$.data.customer}",
        "event": order(),
    });
    RuleTrial: json!({"matched": false, "explanation": explanation(), "where": []});
    ExplainedEvent: json!({
        "position": 6, "accepted_at": AT, "event": key(), "subscriptions": [], "rules": [],
        "verdicts": [{
            "rule": "orders", "bus": "default", "matched": false, "explanation": explanation(), "where": [],
            "inputs": [],
        }],
        "next": null, "more": 0,
    });
    Delivery: delivery(json!({"attempts": [attempt(json!({"output": ""}))], "event": order()}));
    DeliveryPage: json!({"deliveries": [row()], "next": null});
    DeadLetterPage: json!({"dead_letters": [row()], "next": null});
    AttemptEnded: json!({
        "id": "3-6", "bus": "default", "position": 6, "type": "com.example.order.placed", "rule": "orders",
        "function": "enricher", "attempt": 1, "started_at": AT, "outcome": "success", "duration_us": 236,
        "age_ms": 1,
    });
    ManifestEnvelope: json!({"manifest": MANIFEST, "components": {}});
    Job: job();
    JobPage: json!({"jobs": [erasure(), job()], "next": null});
    ReplayRequest: json!({
        "since": AT, "subscriptions": ["orders/enricher"], "match": {"data": {"country": ["DE"]}}, "rate": 50,
    });
    ErasureRequest: json!({"subject": "customer-17", "until": AT});
    ShadowRequest: json!({"function": "enricher", "component": format!("blake3:{DIGEST}"), "since": AT, "limit": 1_000});
    SeekRequest: json!({"to": AT});
    Seek: json!({"subscription": "orders/enricher", "position": 13, "replay": replay()});
    JobChange: json!({"state": "paused"});
    LetterSelection: json!({
        "subscription": "orders/enricher", "reason": "attempts-exhausted", "since": AT,
        "match": {"data": {"country": ["DE"]}}, "rate": 50,
    });
}

/// A manifest.
pub(super) const MANIFEST: &str = "version: 1\nbuses: { audit: {} }\n";

/// The sample event that all examples are about.
pub(super) fn order() -> Value {
    json!({
        "specversion": "1.0",
        "id": "o-1001",
        "source": "/shop",
        "type": "com.example.order.placed",
        "datacontenttype": "application/json",
        "data": {
            "id": "o-1001", "customer": "ada", "country": "DE", "currency": "EUR",
            "lines": [{"sku": "lamp", "quantity": 2, "unit_cents": 6900}],
        },
    })
}

fn key() -> Value {
    json!({"id": "o-1001", "source": "/shop", "type": "com.example.order.placed"})
}

fn accepted(id: &str, position: u64) -> Value {
    json!({"id": id, "position": position, "duplicate": false})
}

fn retry() -> Value {
    json!({"attempts": 3, "initial_ms": 200, "factor": 2.0, "max_ms": 1_000, "jitter": true, "max_age_ms": 86_400_000})
}

fn function() -> Value {
    json!({
        "name": "enricher", "digest": DIGEST, "revision": 1, "deployed_at": AT, "state": "ready",
        "limits": {
            "memory_bytes": 67_108_864, "cpu_ms": 1_000, "timeout_ms": 30_000, "concurrency": 32, "emits": 64,
            "emit_bytes": 1_048_576, "state_writes": 256, "state_bytes": 1_048_576, "output_bytes": 65_536,
        },
        "config": {"CURRENCY": "EUR"}, "secrets": [], "allow_http": [],
    })
}

fn explanation() -> Value {
    json!({"matched": false, "sub_rules": 1, "branches": [{
        "sub_rule": 0, "matched": false, "first_missed": 0, "array_inconsistent": false, "conditions": [{
            "path": "data.total", "wanted": ["{\"numeric\": [\">\", 10]}"], "wanted_in_words": ["a number > 10"],
            "seen": ["5"], "seen_total": 1, "held": false, "held_by": null, "held_alternative": null, "hint": null,
        }],
    }]})
}

/// `value` with the members of `more`.
fn with(mut value: Value, more: Value) -> Value {
    if let (Value::Object(own), Value::Object(more)) = (&mut value, more) {
        own.extend(more);
    }
    value
}

fn attempt(more: Value) -> Value {
    let attempt = json!({
        "number": 3, "started_at": AT, "duration_us": 236, "outcome": "retry", "code": "EB0411",
        "message": "config `RATE_JPY` is not set",
    });
    with(attempt, more)
}

/// A dead letter.
fn delivery(more: Value) -> Value {
    let delivery = json!({
        "id": "3-13", "stage": "dead", "bus": "default", "subscription": "orders/enricher", "rule": "orders",
        "function": "enricher", "position": 13, "accepted_at": AT, "attempts_made": 3,
        "reason": "attempts-exhausted", "reason_code": "EB0421", "died_at": AT, "deaths": 1,
    });
    with(delivery, more)
}

fn job() -> Value {
    json!({
        "id": 17, "kind": "redrive", "state": "running",
        "selection": {"subscriptions": ["orders/enricher"], "reason": "attempts-exhausted"},
        "rate": 50, "looked": 120, "of": 480, "done": 118, "skipped": 1,
        "skips": [{"reason": "corrupt", "count": 1}],
        "results": {"succeeded": 101, "waiting": 17, "died": 0}, "created_at": AT, "changed_at": AT,
    })
}

fn replay() -> Value {
    json!({
        "id": 18, "kind": "replay", "state": "running",
        "replay": {
            "name": "replay-18", "purpose": "seek", "bus": "default", "from": 13, "to": 492,
            "subscriptions": ["orders/enricher"], "as_matched": true,
        },
        "looked": 0, "of": 480, "done": 0, "skipped": 0,
        "results": {"succeeded": 0, "waiting": 0, "died": 0}, "created_at": AT, "changed_at": AT,
    })
}

/// What a replay would deliver.
pub(super) fn replay_count() -> Value {
    json!({
        "bus": "default", "from": 13, "to": 492, "events": 480, "deliveries": 120,
        "subscriptions": [{"subscription": "orders/enricher", "deliveries": 120}], "skipped": 0, "more": false,
    })
}

fn erasure() -> Value {
    json!({
        "id": 19, "kind": "erase", "state": "running",
        "erasure": {
            "bus": "default", "from": 1, "to": 492, "subject": "customer-17",
            "events": 12, "dead_letters": 1, "attempts": 14, "deliveries": 2,
        },
        "looked": 480, "of": 512, "done": 13, "skipped": 0, "created_at": AT, "changed_at": AT,
    })
}

/// What an erasure would erase.
pub(super) fn erasure_count() -> Value {
    json!({
        "bus": "default", "from": 1, "to": 492, "looked": 512, "events": 12, "dead_letters": 1, "more": false,
    })
}

/// What a redrive would take.
pub(super) fn preview() -> Value {
    json!({
        "selected": 480, "looked": 512, "skipped": 2, "skips": [{"reason": "function-missing", "count": 2}],
        "whole": true, "dead_letters": [row()],
    })
}

/// A delivery as lists show it.
fn row() -> Value {
    let event = json!({"id": "o-1004", "source": "/shop", "type": "com.example.order.placed"});
    delivery(json!({"last_attempt": attempt(json!({})), "event": event}))
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::Example;

    pub(super) fn check<T: Example + Serialize + DeserializeOwned>() {
        let example = T::example();
        let read: T = serde_json::from_value(example.clone())
            .unwrap_or_else(|error| panic!("{}: {error}", T::NAME));
        let mut written = serde_json::to_value(read).unwrap();
        // What names an event is read as an event, which has a version.
        for list in ["deliveries", "dead_letters"] {
            if let Some(event) = written.pointer_mut(&format!("/{list}/0/event")) {
                event.as_object_mut().unwrap().remove("specversion");
            }
        }
        assert_eq!(written, example, "{}", T::NAME);
    }

    #[test]
    fn each_example_is_what_its_struct_reads_and_writes() {
        super::check_all();
    }
}
