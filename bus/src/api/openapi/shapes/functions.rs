//! Functions, the plan of a manifest, and the version.

use serde_json::{Value, json};

use super::super::schema::{flag, list, name, number, object, reference, text, time};
use super::{AT, Shape};

/// The function shapes.
pub(super) fn shapes() -> Vec<Shape> {
    let revision = revision();
    let functions = object("What is deployed.")
        .has("functions", list("By name.", reference("Function")))
        .done();
    let changes = list("`+` added, `~` changed, `-` removed.", text("One change."));
    let plan = object("What applying a manifest did, or would do.")
        .has("dry_run", flag("True if nothing was changed."))
        .has(
            "version",
            number("The rule-set version in force afterwards.", 0),
        )
        .has("changes", changes)
        .done();
    let version = object("What answers here.")
        .has("name", json!({"const": "edgebus"}))
        .has("version", text("The release."))
        .done();
    let planned = json!({"dry_run": true, "version": 1, "changes": ["+ bus `audit`"]});
    let here = json!({"name": "edgebus", "version": env!("CARGO_PKG_VERSION")});
    vec![
        ("FunctionLimits", limits(), revision["limits"].clone()),
        ("Function", function(), revision.clone()),
        ("FunctionList", functions, json!({"functions": [revision]})),
        ("Plan", plan, planned),
        ("Version", version, here),
    ]
}

fn limits() -> Value {
    let bound = |words| number(words, 0);
    object("What one attempt may use.")
        .has(
            "memory_bytes",
            bound("All memories and tables together, in bytes."),
        )
        .has("cpu_ms", bound("Time on the processor, in milliseconds."))
        .has(
            "timeout_ms",
            bound("Wall-clock time around it all, in milliseconds."),
        )
        .has(
            "concurrency",
            bound("Attempts of this function at the same time."),
        )
        .has("emits", bound("Events that it may emit."))
        .has("emit_bytes", bound("Bytes of all events that it emits."))
        .has("state_writes", bound("State keys that it may write."))
        .has("state_bytes", bound("Bytes of all state that it writes."))
        .has("output_bytes", bound("Bytes of output that are kept."))
        .done()
}

fn function() -> Value {
    let digest = json!({
        "type": "string",
        "pattern": "^[0-9a-f]{64}$",
        "description": "BLAKE3 of the component's bytes.",
    });
    let config = json!({
        "type": "object",
        "additionalProperties": {"type": "string"},
        "description": "What its `config` interface answers.",
    });
    let secrets = list(
        "Secrets that it may read: names, never values.",
        text("A name."),
    );
    let origins = list(
        "Origins; outgoing HTTP is not there yet.",
        text("An origin."),
    );
    object("A deployed function.")
        .has("name", name("Its name."))
        .has("digest", digest)
        .has(
            "revision",
            number("Counts deployments of this function.", 1),
        )
        .has("deployed_at", time("When it was deployed."))
        .has("limits", reference("FunctionLimits"))
        .has("config", config)
        .has("secrets", secrets)
        .has("allow_http", origins)
        .done()
}

fn revision() -> Value {
    json!({
        "name": "enricher",
        "digest": "6b3c0f3ce1a1d2a1f6d2a2a9a3a3b1b0c7f1c8d1e9a4f0b2c3d4e5f60718293a",
        "revision": 1,
        "deployed_at": AT,
        "limits": {
            "memory_bytes": 67_108_864, "cpu_ms": 1_000, "timeout_ms": 30_000, "concurrency": 32, "emits": 64,
            "emit_bytes": 1_048_576, "state_writes": 256, "state_bytes": 1_048_576, "output_bytes": 65_536,
        },
        "config": {"CURRENCY": "EUR"},
        "secrets": [],
        "allow_http": [],
    })
}
