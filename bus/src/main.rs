//! The `edgebus` binary: parses, runs, exits.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    edgebus::cli::main()
}
