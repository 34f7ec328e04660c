//! Problems as the description shows them: an example of each, printed by the same code that prints the
//! real ones.

use serde_json::{Map, Value, json};

use crate::problem::{Cause, Problem};
use edgebus_model::Code;
use edgebus_model::error::{InputError, Kind};

/// A problem.
pub(super) fn example() -> Value {
    document(&sample(Cause::Handle(Kind::Invalid), Code::EventInvalid))
}

/// An event of a batch that was not stored.
pub(super) fn refused() -> Value {
    let error = InputError {
        pointer: "/1/type".to_owned(),
        place: None,
        reason: "is required".to_owned(),
        remedy: String::new(),
    };
    let problem = Problem::invalid("/1/type: is required", vec![error]).coded(Code::EventInvalid);
    json!({"problem": problem.document(None)})
}

/// What the example of a problem is called.
pub(super) fn example_name(cause: Cause, code: Code) -> String {
    format!("{}-{code}", cause.slug())
}

/// Codes of problems that are more exact than their cause.
const FINER: [(Cause, Code); 10] = [
    (INVALID, Code::EventInvalid),
    (INVALID, Code::FanOutTooLarge),
    (INVALID, Code::PatternInvalid),
    (INVALID, Code::ManifestInvalid),
    (INVALID, Code::FunctionNotDeployed),
    (INVALID, Code::NoComponent),
    (INVALID, Code::ComponentUnfit),
    (INVALID, Code::ComponentNotCompiled),
    (INVALID, Code::RuntimeFailed),
    (Cause::Handle(Kind::Conflict), Code::IdReused),
];
const INVALID: Cause = Cause::Handle(Kind::Invalid);

/// An example of every problem.
pub(super) fn examples() -> Map<String, Value> {
    let plain = Cause::ALL.iter().map(|cause| (*cause, cause.code()));
    plain
        .chain(FINER)
        .map(|(cause, code)| {
            let value = document(&sample(cause, code));
            let example = json!({"summary": code.title(), "value": value});
            (example_name(cause, code), example)
        })
        .collect()
}

/// The problem as it would be printed.
fn document(problem: &(Problem, &'static str)) -> Value {
    let (problem, path) = problem;
    json!(problem.document(Some(path)))
}

/// A problem that comes, and the path that is asked.
fn sample(cause: Cause, code: Code) -> (Problem, &'static str) {
    let (detail, path) = match code {
        Code::EventInvalid => ("/source: is required", "/v1/events"),
        Code::PatternInvalid => ("the pattern can't be read", "/v1/rules/test"),
        Code::ManifestInvalid | Code::FunctionNotDeployed => (
            "the manifest can't be applied; nothing was changed",
            "/v1/manifest",
        ),
        Code::NoComponent
        | Code::ComponentUnfit
        | Code::ComponentNotCompiled
        | Code::RuntimeFailed => (
            "the function `f` can't be deployed; nothing was changed",
            "/v1/functions/f",
        ),
        Code::InputInvalid => ("unknown query parameter `limt`", "/v1/deliveries"),
        Code::NotFound => ("there is no delivery 3-99", "/v1/deliveries/3-99"),
        Code::Conflict => (
            "function `f` is a target of rule `r`; take it out of the manifest first",
            "/v1/functions/f",
        ),
        Code::IdReused => (
            "the id `k1` of the source `/shop` is another event's, at position 6: its type, subject or data differ; nothing was stored",
            "/v1/events",
        ),
        Code::Changed => (
            "version 2 of the rules is active, not 1: plan again; nothing was changed",
            "/v1/manifest",
        ),
        Code::TooLarge => ("the body may have 1048576 bytes at most", "/v1/events"),
        Code::Busy => (
            "the writer's inbox is full; nothing was written",
            "/v1/events",
        ),
        Code::DiskNearlyFull => (
            "the disk is at its floor of free space; deliveries go on, and publishing opens again when there is room",
            "/v1/events",
        ),
        Code::LogFailed => (
            "the outcome is unknown: the log failed while it was written; repeat with the same source and id and get the first answer",
            "/v1/events",
        ),
        Code::RecordCorrupt => (
            "events bus 1 position 42: does not match its checksum",
            "/v1/buses/default/events",
        ),
        Code::Unavailable => ("the bus is stopping; nothing was written", "/v1/events"),
        Code::NoRoute => ("the routes of the API begin with /v1/", "/v2/events"),
        Code::MethodNotAllowed => ("see Allow for the methods of this path", "/v1/rules"),
        Code::MediaUnsupported => ("Content-Type must be application/wasm", "/v1/functions/f"),
        Code::BodyTimeout => ("only 512 bytes came in time", "/v1/events"),
        Code::BodyBroken => ("the body broke off after 512 bytes", "/v1/events"),
        Code::HostRefused => (
            "`evil.example` is not a name of this bus: use an IP address or localhost",
            "/v1/rules",
        ),
        Code::OriginRefused => (
            "a page of the origin `http://evil.example` may not use this bus",
            "/v1/rules",
        ),
        Code::TransferCoding => (
            "Transfer-Encoding may be `chunked` alone, not `gzip, chunked`",
            "/v1/events",
        ),
        Code::PositionAhead => (
            "the log of bus `default` ends at position 4, before 85: it is another log than the one that was read; begin again after 0",
            "/v1/buses/default/events/stream",
        ),
        Code::FanOutTooLarge => (
            "the events can't be accepted; nothing was stored",
            "/v1/events",
        ),
        Code::HeadersTooLarge => ("a request may have 64 header fields at most", "/v1/events"),
        other => (other.title(), "/v1/events"),
    };
    let problem = Problem::new(cause, detail).coded(code);
    (
        Problem {
            errors: errors_of(code),
            ..problem
        },
        path,
    )
}

fn errors_of(code: Code) -> Vec<InputError> {
    let error = |pointer: &str, place, reason: &str, remedy: &str| {
        vec![InputError {
            pointer: pointer.to_owned(),
            place,
            reason: reason.to_owned(),
            remedy: remedy.to_owned(),
        }]
    };
    match code {
        Code::InputInvalid => error(
            "",
            None,
            "unknown query parameter `limt`",
            "there are after, before, bus, function, last, limit, output, position, rule, since, stage, subscription",
        ),
        Code::EventInvalid => error("/source", None, "is required", ""),
        Code::FanOutTooLarge => error(
            "/type",
            None,
            "this event matches 12000 subscriptions, and 10000 are allowed",
            "make the patterns of the rules narrower, or publish it on another bus",
        ),
        Code::IdReused => error(
            "/id",
            None,
            "the id `k1` of the source `/shop` is another event's, at position 6: its type, subject or data differ",
            "publish it under an id of its own, or repeat the first one as it was",
        ),
        Code::PatternInvalid => error(
            "/match/type/0/prefx",
            None,
            "unknown operator \"prefx\"",
            "write \"prefix\"",
        ),
        Code::ManifestInvalid => error(
            "/busses",
            Some((2, 1)),
            "unknown key `busses`",
            "write `buses`",
        ),
        Code::FunctionNotDeployed => error(
            "/functions/f/component",
            None,
            "the function `f` is not deployed, and only the command line reads component files",
            "use `edgebus apply`, or deploy it first: curl -T f.wasm -H 'content-type: application/wasm' URL/v1/functions/f",
        ),
        Code::NoComponent => error(
            "/functions/f/component",
            None,
            "this is no WebAssembly component: build it with edgebus-sdk and `cargo build --release --target wasm32-wasip2`",
            "",
        ),
        Code::ComponentUnfit => error(
            "/functions/f/component",
            None,
            "the component exports nothing; `edgebus:function/handler@0.1.0` is missing: build it with edgebus-sdk and `cargo build --release --target wasm32-wasip2`",
            "",
        ),
        Code::ComponentNotCompiled => error(
            "/functions/f/component",
            None,
            "the component doesn't compile: failed to parse WebAssembly module: unexpected end-of-file (at offset 0x9)",
            "",
        ),
        Code::RuntimeFailed => error(
            "/functions/f/component",
            None,
            "16 components wait for the compiler; try again",
            "",
        ),
        _ => Vec::new(),
    }
}
