//! The `edgebus` binary: parses, runs, exits.

use std::process::ExitCode;

fn main() -> ExitCode {
    edgebus::cli::main()
}
