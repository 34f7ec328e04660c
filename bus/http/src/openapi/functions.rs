//! Functions and the manifest, described.

use edgebus_api::{self as api, schema};
use serde_json::{Value, json};

use super::events::binary;
use super::examples::{DIGEST, MANIFEST};
use super::operation::{JSON, Operation};
use crate::manifest::TYPES;
use crate::problem::Cause;
use crate::serve::Limits;
use edgebus_model::Code;
use edgebus_model::error::Kind;

const INVALID: Cause = Cause::Handle(Kind::Invalid);
const BUSY: Cause = Cause::Handle(Kind::Busy {
    retry_after_ms: 1_000,
});

fn function(operation: Operation) -> Operation {
    operation.path::<schema::Name>("name", "The function's name.", "enricher")
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
        .answers_json::<api::FunctionList>(200, "The functions.")
        .everyday()
}

/// `GET /v1/functions/{name}`.
pub(crate) fn get(_: &Limits) -> Operation {
    function(Operation::new(
        "getFunction",
        "functions",
        "See one function",
    ))
    .answers_json::<api::Function>(200, "The function.")
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
        .answers_json::<api::Function>(200, "A later revision is deployed.")
        .answers_json::<api::Function>(201, "The first revision is deployed; also for the same component again, which is no new revision.");
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
        .query::<api::InvokeQuery>()
        .takes_json::<api::Event>(body.clone(), "application/cloudevents+json")
        .answers_json::<api::Trial>(200, "What came of it.")
        .coded_problem(INVALID, Code::EventInvalid, "The body is not a CloudEvent.")
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
    Operation::new("stageComponent", "functions", "Send a component ahead of a manifest")
        .about("Keeps the component in memory for a manifest that names its digest within ten minutes, so that functions and rules change in one transaction. Nothing is deployed; sending it again changes nothing.")
        .path::<schema::AnyDigest>("digest", "The component's digest, BLAKE3 of its bytes.", DIGEST)
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

fn yaml() -> Value {
    json!({"type": "string", "description": "The manifest's text."})
}

/// A header of one entity tag.
fn tag() -> Value {
    json!({"type": "string", "description": "An entity tag."})
}

/// `PUT /v1/manifest`.
pub(crate) fn apply(limits: &Limits) -> Operation {
    let body = format!(
        "The manifest in YAML, at most {} bytes; or in JSON, with the digests of components that were sent ahead of it.",
        limits.manifest_bytes_max
    );
    let mut operation = Operation::new("applyManifest", "functions", "Apply a manifest, or plan it")
        .about("The whole manifest takes the place of the one before, in one transaction. A function whose component is a path, or not named, must be deployed already: only the command line reads files. Deliveries in flight end under the rules that matched them.")
        .query::<api::ApplyQuery>()
        .header("If-Match", tag(), "Only if this is still the ETag: of a dry run, so that what is applied is what was shown. `*` is any.", json!("\"1\""));
    for media_type in TYPES {
        operation = match media_type {
            JSON => operation.takes_json::<api::ManifestEnvelope>(body.clone(), media_type),
            _ => operation.takes(
                body.clone(),
                media_type,
                yaml(),
                &[("one", json!(MANIFEST))],
            ),
        };
    }
    compiles(operation)
        .answers_json::<api::Plan>(200, "What changed, or would.")
        .answers_header(200, "ETag", tag(), "The plan's `version`, quoted.")
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
        .answers_header(200, "ETag", tag(), "The rule-set version, quoted.")
        .problem(
            Cause::Handle(Kind::NotFound),
            "No manifest was applied yet.",
        )
        .everyday()
}
