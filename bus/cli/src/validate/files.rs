//! The files that a manifest names: components, events of tests, paths to watch.
//!
//! Never here: compiling a component; that is the runtime's, when it is applied.

use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;

use super::{Checked, Purpose};
use crate::test::events;
use edgebus_manifest::{ComponentSource, EventSource, FunctionDeclaration, Lint, Side};
use edgebus_model::Code;
use edgebus_model::error::InputError;
use edgebus_model::limits::COMPONENT_BYTES_MAX;

/// The first bytes of every component: magic, version 13, layer 1.
const COMPONENT_HEAD: &[u8] = b"\0asm\x0d\0\x01\0";

/// Checks the files that the manifest names, as far as `purpose` needs them.
pub(super) fn check(checked: &mut Checked, purpose: Purpose) {
    let manifest = checked.document.manifest.clone();
    for function in &manifest.functions {
        if purpose != Purpose::Test {
            component(checked, function, purpose);
        }
        if purpose == Purpose::Look {
            watched(checked, function);
        }
    }
    // The events of tests are nothing that a serving bus needs.
    if matches!(purpose, Purpose::Run | Purpose::Apply) {
        return;
    }
    for (index, test) in manifest.tests.iter().enumerate() {
        let several = test.events.len() > 1;
        for (place, source) in test.events.iter().enumerate() {
            let mut pointer = format!("/tests/{index}/event");
            // One event may be written without a list around it.
            let listed = format!("{pointer}/{place}");
            let alone = checked.document.place(&listed, Side::Value)
                == checked.document.place(&pointer, Side::Value);
            if several || !alone {
                pointer = listed;
            }
            let found = events::load(&checked.folder, source);
            let errors = found.err().unwrap_or_default();
            checked
                .errors
                .extend(errors.into_iter().map(|error| InputError {
                    place: checked.document.place(
                        &format!("{pointer}{}", error.pointer),
                        match source {
                            EventSource::Inline(_) if !error.pointer.is_empty() => Side::Key,
                            _ => Side::Value,
                        },
                    ),
                    pointer: pointer.clone(),
                    ..error
                }));
        }
    }
}

fn component(checked: &mut Checked, function: &FunctionDeclaration, purpose: Purpose) {
    let Some(ComponentSource::Path(path)) = &function.component else {
        return;
    };
    let note = |reason: String, remedy: String| {
        let pointer = format!("/functions/{}/component", function.name);
        checked.document.note(&pointer, Side::Value, reason, remedy)
    };
    let file = checked.folder.join(path);
    match read_component(&file) {
        Ok(bytes) => {
            checked.components.insert(function.name.clone(), bytes);
        }
        Err(Unusable::Missing) => {
            if matches!(purpose, Purpose::Run | Purpose::Apply) || function.build.is_none() {
                checked.file_code.get_or_insert(Code::ComponentUnreadable);
            }
            let reason = format!(
                "the component of function `{}` is not there: {}",
                function.name,
                file.display()
            );
            match &function.build {
                None => {
                    let remedy = "check the path, which begins in the manifest's folder, or say with `build` how it is made";
                    let error = note(reason, remedy.to_owned());
                    checked.errors.push(error);
                }
                Some(build) => {
                    let error = note(reason, format!("build it with `{}`", build.command));
                    match purpose {
                        Purpose::Run | Purpose::Apply => checked.errors.push(error),
                        Purpose::Look | Purpose::Test => {
                            checked.warnings.push(Lint::Unbuilt.warning(error));
                        }
                    }
                }
            }
        }
        Err(Unusable::Other(code, reason)) => {
            checked.file_code.get_or_insert(code);
            let build = function.build.as_ref().map_or_else(
                || "cargo build --release --target wasm32-wasip2".to_owned(),
                |build| build.command.clone(),
            );
            let error = note(
                format!("{} {reason}", file.display()),
                format!("build a component, as with `{build}`"),
            );
            checked.errors.push(error);
        }
    }
}

/// A component's bytes, if the file holds one.
///
/// # Errors
/// What the file is instead, and how to build a component.
pub(crate) fn component_of(file: &Path) -> Result<Bytes, (Code, String)> {
    let standard_input = file == Path::new("-");
    let shown = match standard_input {
        true => "standard input".to_owned(),
        false => file.display().to_string(),
    };
    let read = match standard_input {
        true => component_from(std::io::stdin().lock()),
        false => read_component(file),
    };
    read.map_err(|unusable| match unusable {
        Unusable::Missing => (Code::ComponentUnreadable, format!("{shown} is not there")),
        Unusable::Other(Code::NoComponent, reason) => (
            Code::NoComponent,
            format!("{shown} {reason}: build it with cargo build --release --target wasm32-wasip2"),
        ),
        Unusable::Other(code, reason) => (code, format!("{shown} {reason}")),
    })
}

/// Why a file can't be used as a component.
enum Unusable {
    Missing,
    Other(Code, String),
}

fn unreadable(error: std::io::Error) -> Unusable {
    match error.kind() {
        std::io::ErrorKind::NotFound => Unusable::Missing,
        _ => Unusable::Other(Code::ComponentUnreadable, format!("can't be read: {error}")),
    }
}

fn read_component(file: &Path) -> Result<Bytes, Unusable> {
    component_from(std::fs::File::open(file).map_err(unreadable)?)
}

fn component_from(input: impl std::io::Read) -> Result<Bytes, Unusable> {
    let mut bytes = Vec::new();
    input
        .take(COMPONENT_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() > COMPONENT_BYTES_MAX {
        return Err(Unusable::Other(
            Code::ComponentTooLarge,
            format!("has more than {COMPONENT_BYTES_MAX} bytes"),
        ));
    }
    // The whole check is the runtime's; this one comes before a store is opened or made.
    if bytes.starts_with(COMPONENT_HEAD) {
        return Ok(Bytes::from(bytes));
    }
    let what = if bytes.starts_with(b"\0asm") {
        "a core module"
    } else {
        "no WebAssembly"
    };
    Err(Unusable::Other(
        Code::NoComponent,
        format!("is {what}, not a component for wasm32-wasip2"),
    ))
}

fn watched(checked: &mut Checked, function: &FunctionDeclaration) {
    let Some(build) = &function.build else {
        return;
    };
    for (index, path) in build.watch.iter().enumerate() {
        if !checked.folder.join(path).exists() {
            let warning = checked.document.note(
                &format!("/functions/{}/build/watch/{index}", function.name),
                Side::Value,
                format!("there is nothing to watch at `{path}`"),
                "check the path, which begins in the manifest's folder",
            );
            checked.warnings.push(Lint::NothingToWatch.warning(warning));
        }
    }
}
