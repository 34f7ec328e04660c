//! Functions, the plan of a manifest, and the version.

use serde_json::{Value, json};

use super::super::schema::{flag, list, name, number, object, reference, text, time, word};
use super::{AT, DIGEST, Shape, digest};

/// The function shapes.
pub(super) fn shapes() -> Vec<Shape> {
    let revision = revision();
    let functions = object("What is deployed.")
        .has("functions", list("By name.", reference("Function")))
        .done();
    let version = object("What answers here.")
        .has("name", json!({"const": "edgebus"}))
        .has("version", text("The release."))
        .done();
    let here = json!({"name": "edgebus", "version": env!("CARGO_PKG_VERSION")});
    let mut all = vec![
        ("FunctionLimits", limits(), revision["limits"].clone()),
        ("Function", function(), revision.clone()),
        ("FunctionList", functions, json!({"functions": [revision]})),
        ("Version", version, here),
    ];
    all.extend(plans());
    all
}

/// The shapes of a plan.
fn plans() -> Vec<Shape> {
    let change_example = json!({
        "kind": "change", "what": "rule", "name": "orders", "aspects": ["match"],
        "effect": "applies to new events; 2 pending deliveries stay pending",
    });
    let example = json!({
        "dry_run": true, "version": 1, "changes": [change_example], "missing": [format!("blake3:{DIGEST}")],
    });
    let aspects = "What of it differs; empty for what is added or removed.";
    let change = object("One change of a plan.")
        .has("kind", word("What happens.", &["add", "change", "remove"]))
        .has(
            "what",
            word("To what.", &["bus", "function", "rule", "subscription"]),
        )
        .has("name", text("Its name."))
        .has("aspects", list(aspects, text("One.")))
        .has(
            "effect",
            text("What that does to deliveries in flight, in words."),
        )
        .done();
    let version =
        "The active rule-set version afterwards; of a dry run, the one that the plan starts from.";
    let missing = "Components that the bus has yet to be sent before the manifest can be applied; of a dry run only.";
    let prefixed = json!({"type": "string", "pattern": "^blake3:[0-9a-f]{64}$", "description": "A component's digest."});
    let plan = object("What applying a manifest did, or would do.")
        .has("dry_run", flag("True if nothing was changed."))
        .has("version", number(version, 0))
        .has(
            "changes",
            list("In the order of the sections.", reference("PlannedChange")),
        )
        .has("missing", list(missing, prefixed))
        .done();
    vec![
        ("PlannedChange", change, change_example),
        ("Plan", plan, example),
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
        .has("digest", digest("BLAKE3 of the component's bytes."))
        .has(
            "revision",
            number("Counts deployments of this function.", 1),
        )
        .has("deployed_at", time("When it was deployed."))
        .has(
            "state",
            word(
                "Whether it can be called; the deliveries of one that can't wait.",
                &["ready", "compiling", "unavailable"],
            ),
        )
        .may("reason", text("Why it is unavailable."))
        .has("limits", reference("FunctionLimits"))
        .has("config", config)
        .has("secrets", secrets)
        .has("allow_http", origins)
        .done()
}

fn revision() -> Value {
    json!({
        "name": "enricher",
        "digest": DIGEST,
        "revision": 1,
        "deployed_at": AT,
        "state": "ready",
        "limits": {
            "memory_bytes": 67_108_864, "cpu_ms": 1_000, "timeout_ms": 30_000, "concurrency": 32, "emits": 64,
            "emit_bytes": 1_048_576, "state_writes": 256, "state_bytes": 1_048_576, "output_bytes": 65_536,
        },
        "config": {"CURRENCY": "EUR"},
        "secrets": [],
        "allow_http": [],
    })
}
