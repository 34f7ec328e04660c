//! Checks whether a component is a function. If not, says what is wrong and how to build it correctly.

use ::wasmtime::Engine;
use ::wasmtime::component::types::ComponentItem;
use ::wasmtime::component::{Component, InstancePre};

use super::bindings::edgebus::function::types as wire;
use super::host::Guest;
use edgebus_model::Code;
use edgebus_runtime::capabilities::Capability;
use edgebus_runtime::error::{Error, Kind};

/// The interface that a function exports.
const HANDLER: &str = "edgebus:function/handler@0.1.";
/// The versions of our interfaces that the bus offers.
const VERSION: &str = "@0.1.";
/// The types that our interfaces share.
const TYPES: &str = "edgebus:function/types";
/// What a function may import of WASI 0.2.
const WASI: [&str; 5] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
];
/// These are linked, so that a standard library finds them, but every call is refused.
const REFUSED: &str = "wasi:sockets/";
/// How to build a component correctly.
const BUILD: &str = "build it with edgebus-sdk and `cargo build --release --target wasm32-wasip2`";

fn invalid(message: &str) -> Error {
    Error::new(Kind::Invalid, format!("{message}: {BUILD}"))
}

/// Checks the first bytes. The compiler's own message would be about offsets.
pub(super) fn check_bytes(bytes: &[u8]) -> Result<(), Error> {
    check_head(bytes).map_err(|error| error.coded(Code::NoComponent))
}

fn check_head(bytes: &[u8]) -> Result<(), Error> {
    match (bytes.get(..4), bytes.get(4..8)) {
        (Some(b"\0asm"), Some([0x0d, 0, 1, 0])) => Ok(()),
        (Some(b"\0asm"), Some([_, _, 0, 0])) => Err(invalid(
            "this is a WebAssembly module, not a component (wasm32-unknown-unknown and wasm32-wasip1 \
             make those)",
        )),
        (Some(b"\0asm"), _) => Err(invalid("this component has an unknown version")),
        _ => Err(invalid("this is no WebAssembly component")),
    }
}

/// Checks what the component exports and imports.
pub(super) fn check_world(engine: &Engine, component: &Component) -> Result<(), Error> {
    let world = component.component_type();
    let exports: Vec<&str> = world.exports(engine).map(|(name, _)| name).collect();
    if !exports.iter().any(|name| name.starts_with(HANDLER)) {
        let other = exports
            .iter()
            .find(|name| name.starts_with("edgebus:function/handler"));
        let message = match (other, exports.is_empty()) {
            (Some(other), _) => {
                format!("the component exports `{other}`; this bus runs `{HANDLER}0`")
            }
            (None, true) => format!("the component exports nothing; `{HANDLER}0` is missing"),
            (None, false) => format!(
                "the component exports `{}`; `{HANDLER}0` is missing",
                exports.join("`, `")
            ),
        };
        return Err(invalid(&message));
    }
    let unknown: Vec<&str> = world
        .imports(engine)
        .map(|(name, _)| name)
        .filter(|name| !offered(name) && !name.starts_with(REFUSED))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(invalid(&format!(
        "the component imports `{}`, which this bus doesn't offer",
        unknown.join("`, `")
    )))
}

/// True if a function may import the interface. Every capability is offered, whatever the manifest grants.
fn offered(import: &str) -> bool {
    let own = |interface: &str| {
        let version = import.strip_prefix(interface);
        version.is_some_and(|version| version.starts_with(VERSION))
    };
    own(TYPES)
        || Capability::ALL.iter().any(|known| own(known.interface()))
        || WASI.iter().any(|package| import.starts_with(package))
}

/// Compares the handler's types with ours. Otherwise the function would fail only at its first attempt.
pub(super) fn check_types(ready: &InstancePre<Guest>) -> Result<(), Error> {
    let handler = ready
        .component()
        .component_type()
        .exports(ready.engine())
        .find(|(name, _)| name.starts_with(HANDLER))
        .map(|(_, handler)| handler.ty);
    let handle = match &handler {
        Some(ComponentItem::ComponentInstance(handler)) => handler
            .exports(ready.engine())
            .find(|(name, _)| *name == "handle")
            .map(|(_, handle)| handle.ty),
        _ => None,
    };
    let Some(ComponentItem::ComponentFunc(handle)) = handle else {
        return Err(invalid(&format!("`{HANDLER}0` has no function `handle`")));
    };
    type Parameters<'a> = (wire::Event<'a>, wire::Context<'a>);
    type Results = (Result<Vec<wire::NewEvent>, wire::Failure>,);
    handle
        .typecheck::<Parameters<'_>, Results>(&ready.instance_type())
        .map_err(|error| unlinkable(&error))
}

/// The error of the linker or the bindings, after [`check_world`] found nothing.
pub(super) fn unlinkable(error: &::wasmtime::Error) -> Error {
    invalid(&format!("the component doesn't fit this bus: {error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &str) {
        let error = check_bytes(bytes).expect_err("no component");
        assert_eq!(error.kind, Kind::Invalid);
        assert!(error.message.contains(expected), "{}", error.message);
        assert!(error.message.contains("wasm32-wasip2"), "{}", error.message);
    }

    #[test]
    fn the_first_bytes_tell_what_it_is() {
        check(b"", "no WebAssembly");
        check(b"console.log(1)", "no WebAssembly");
        check(b"\0asm\x01\0\0\0", "a WebAssembly module");
        check(b"\0asm\x0e\0\x01\0", "unknown version");
        assert!(check_bytes(b"\0asm\x0d\0\x01\0").is_ok());
    }
}
