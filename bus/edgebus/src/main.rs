//! The `edgebus` binary: the one crate that names a store and a runtime, and joins them to a bus.
//!
//! Never here: commands, routes, decisions of the bus.

#![forbid(unsafe_code)]

mod assembly;
mod machine;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A bus starts this program once more for each component that it compiles.
    match edgebus_wasmtime::compile_if_told(std::env::args_os().skip(1)) {
        Some(code) => code,
        None => edgebus_cli::main(&assembly::Edgebus),
    }
}
