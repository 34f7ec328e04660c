//! Functions and the manifest, described.

use serde_json::{Value, json};

use super::events::binary;
use super::operation::{JSON, Operation};
use super::schema::{name, object, reference, text};
use super::shapes;
use crate::manifest::TYPES;
use crate::problem::Cause;
use crate::serve::Limits;
use edgebus_model::Code;
use edgebus_model::error::Kind;
use edgebus_model::rule::DEFAULT_BUS;

const INVALID: Cause = Cause::Handle(Kind::Invalid);
const BUSY: Cause = Cause::Handle(Kind::Busy {
    retry_after_ms: 1_000,
});

fn function(operation: Operation) -> Operation {
    operation.path(
        "name",
        name("A function."),
        "The function's name.",
        json!("enricher"),
    )
}

/// What a component can lack, for the operations that compile one.
fn compiles(operation: Operation) -> Operation {
    operation
        .coded_problem(INVALID, Code::NoComponent, "The bytes are not a component.")
        .coded_problem(
            INVALID,
            Code::ComponentUnfit,
            "The component lacks the handler, or wants what this bus doesn't offer.",
        )
        .coded_problem(
            INVALID,
            Code::ComponentNotCompiled,
            "It doesn't compile, or not in time.",
        )
        .coded_problem(
            INVALID,
            Code::RuntimeFailed,
            "The compiler's queue is full.",
        )
}

/// `GET /v1/functions`.
pub(crate) fn list(_: &Limits) -> Operation {
    Operation::new("listFunctions", "functions", "See what is deployed")
        .answers_shape(200, "The functions.", "FunctionList")
        .everyday()
}

/// `GET /v1/functions/{name}`.
pub(crate) fn get(_: &Limits) -> Operation {
    function(Operation::new(
        "getFunction",
        "functions",
        "See one function",
    ))
    .answers_shape(200, "The function.", "Function")
    .problem(
        Cause::Handle(Kind::NotFound),
        "No function is deployed under this name.",
    )
    .everyday()
}

/// `PUT /v1/functions/{name}`.
pub(crate) fn deploy(limits: &Limits) -> Operation {
    let body = format!(
        "The component's bytes, at most {}.",
        limits.component_bytes_max
    );
    let shape = json!({"type": "string", "format": "binary"});
    let operation = Operation::new("deployFunction", "functions", "Deploy a component")
        .about("Compiles the component and puts it in the place of the one before, in one transaction. Limits, configuration and secrets stay what the manifest says. Attempts that run go on with the revision that they began with.")
        .takes(body, "application/wasm", shape, &[])
        .answers_shape(200, "A later revision is deployed.", "Function")
        .answers_shape(201, "The first revision is deployed; also for the same component again, which is no new revision.", "Function");
    compiles(function(operation))
        .problem(
            Cause::UnsupportedMedia,
            "Content-Type is not application/wasm.",
        )
        .problem(
            Cause::Handle(Kind::Conflict),
            "It was removed at the same time.",
        )
        .reads_body()
        .writes()
}

/// `DELETE /v1/functions/{name}`.
pub(crate) fn remove(_: &Limits) -> Operation {
    function(Operation::new(
        "removeFunction",
        "functions",
        "Take a function away",
    ))
    .answers_empty(204, "It is gone.")
    .problem(
        Cause::Handle(Kind::NotFound),
        "No function is deployed under this name.",
    )
    .problem(Cause::Handle(Kind::Conflict), "An active rule names it.")
    .writes()
}

/// `POST /v1/functions/{name}/invoke`.
pub(crate) fn invoke(limits: &Limits) -> Operation {
    let body = format!(
        "One CloudEvent, structured, or binary as a publish takes it, in a body of at most {} bytes.",
        limits.event_bytes_max
    );
    let operation = Operation::new("invokeFunction", "functions", "Try a function on an event")
        .about("Runs the deployed function once, in the sandbox, with its configuration, its secrets and its state as it is, and commits nothing: no state, no emitted event, no delivery. A failed outcome is an answer as well.")
        .query("bus", name("A bus."), "The bus that the event counts as published on.", json!(DEFAULT_BUS))
        .takes(body.clone(), "application/cloudevents+json", reference("Event"), &[("structured", shapes::order())])
        .answers_shape(200, "What came of it.", "Trial")
        .coded_problem(INVALID, Code::EventInvalid, "The body is no CloudEvent.")
        .problem(BUSY, format!("{} functions are being tried.", limits.trials_max));
    function(binary(operation, body))
        .problem(
            Cause::Handle(Kind::NotFound),
            "No function is deployed under this name, or there is no such bus.",
        )
        .problem(Cause::UnsupportedMedia, "The body is a batch.")
        .reads_body()
        .reads()
}

/// `PUT /v1/components/{digest}`.
pub(crate) fn stage(limits: &Limits) -> Operation {
    let body = format!(
        "The component's bytes, at most {}.",
        limits.component_bytes_max
    );
    let digest = json!({"type": "string", "pattern": DIGEST, "description": "BLAKE3 of the component's bytes."});
    Operation::new("stageComponent", "functions", "Send a component ahead of a manifest")
        .about("Keeps the component in memory for a manifest that names its digest within ten minutes, so that functions and rules change in one transaction. Nothing is deployed; sending it again changes nothing.")
        .path("digest", digest, "The component's digest.", json!("6b3c0f3ce1a1d2a1f6d2a2a9a3a3b1b0c7f1c8d1e9a4f0b2c3d4e5f60718293a"))
        .takes(body, "application/wasm", json!({"type": "string", "format": "binary"}), &[])
        .answers_empty(204, "It waits for its manifest.")
        .problem(INVALID, "This is no digest, or another component's.")
        .problem(BUSY, "Too many components wait for their manifest.")
        .problem(
            Cause::UnsupportedMedia,
            "Content-Type is not application/wasm.",
        )
        .reads_body()
        .everyday()
}

/// How a component's digest may be written.
const DIGEST: &str = "^(blake3:)?[0-9a-fA-F]{64}$";

const MANIFEST: &str = "version: 1\nbuses: { audit: {} }\n";

fn yaml() -> Value {
    json!({"type": "string", "description": "The manifest's text."})
}

/// The manifest with what was sent ahead of it.
fn envelope() -> Value {
    let digest = json!({"type": "string", "pattern": DIGEST});
    let components = json!({
        "type": "object",
        "additionalProperties": digest,
        "description": "Functions with the digests of their components, which are deployed or were sent ahead.",
    });
    object("A manifest with its components.")
        .has("manifest", yaml())
        .may("components", components)
        .done()
}

/// `PUT /v1/manifest`.
pub(crate) fn apply(limits: &Limits) -> Operation {
    let body = format!(
        "The manifest in YAML, at most {} bytes; or in JSON, with the digests of components that were sent ahead of it.",
        limits.manifest_bytes_max
    );
    let mut operation = Operation::new("applyManifest", "functions", "Apply a manifest, or plan it")
        .about("The whole manifest takes the place of the one before, in one transaction. A function whose component is a path, or not named, must be deployed already: only the command line reads files. Deliveries in flight end under the rules that matched them.")
        .query("dry_run", json!({"type": "boolean", "default": false}), "Only says what would change.", json!(true))
        .header("If-Match", text("An entity tag."), "Only if this is still the ETag: of a dry run, so that what is applied is what was shown. `*` is any.", json!("\"1\""));
    for media_type in TYPES {
        let (shape, example) = match media_type {
            JSON => (envelope(), json!({"manifest": MANIFEST, "components": {}})),
            _ => (yaml(), json!(MANIFEST)),
        };
        operation = operation.takes(body.clone(), media_type, shape, &[("one", example)]);
    }
    compiles(operation)
        .answers_shape(200, "What changed, or would.", "Plan")
        .answers_header(
            200,
            "ETag",
            text("An entity tag."),
            "The plan's `version`, quoted.",
        )
        .coded_problem(
            INVALID,
            Code::ManifestInvalid,
            "It has errors: each with pointer, line, column and remedy. Nothing was changed.",
        )
        .coded_problem(
            INVALID,
            Code::FunctionNotDeployed,
            "It names a function that is not deployed.",
        )
        .problem(
            Cause::UnsupportedMedia,
            "Content-Type is neither one of YAML's nor JSON's.",
        )
        .problem(
            Cause::Handle(Kind::Changed),
            "Another version than that of If-Match is active.",
        )
        .problem(
            Cause::Handle(Kind::Conflict),
            "The store refuses it in its present state.",
        )
        .reads_body()
        .writes()
}

/// `GET /v1/manifest`.
pub(crate) fn manifest(_: &Limits) -> Operation {
    Operation::new("getManifest", "functions", "See the active manifest")
        .about("Its text, byte for byte.")
        .answers(
            200,
            "The manifest.",
            TYPES[0],
            yaml(),
            &[("one", json!(MANIFEST))],
        )
        .answers_header(
            200,
            "ETag",
            text("An entity tag."),
            "The rule-set version, quoted.",
        )
        .problem(
            Cause::Handle(Kind::NotFound),
            "No manifest was applied yet.",
        )
        .everyday()
}
