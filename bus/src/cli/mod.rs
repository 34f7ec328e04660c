//! The command line: one file for each command, conventions in one place.
//!
//! Data goes to standard output; logs, progress and errors to standard error. Exit codes: 0 done,
//! 1 failed, 2 wrong usage, 74 the store failed while it was written, 78 wrong configuration.

mod bench;
mod build;
mod client;
mod connection;
mod demo;
mod dev;
mod fsck;
mod init;
pub mod mapping;
mod output;
mod publish;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Done.
const OK: u8 = 0;
/// Failed.
const FAILURE: u8 = 1;
/// Wrong usage, as clap has it.
const USAGE: u8 = 2;
/// The store failed while it was written: `EX_IOERR` of sysexits.h.
const STORE_FAILED: u8 = 74;
/// The configuration is wrong: `EX_CONFIG` of sysexits.h.
const CONFIGURATION: u8 = 78;

/// What a command could not do: its exit code and the words for standard error.
#[derive(Debug)]
struct Failure {
    /// The exit code.
    code: u8,
    /// What went wrong and what to do.
    message: String,
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self {
            code: FAILURE,
            message: message.into(),
        }
    }

    fn usage(message: impl Into<String>) -> Self {
        Self {
            code: USAGE,
            message: message.into(),
        }
    }

    fn configuration(message: impl Into<String>) -> Self {
        Self {
            code: CONFIGURATION,
            message: message.into(),
        }
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// A serverless event bus for the edge, on WebAssembly.
///
/// Publishers POST events, YAML rules match their content, matching events run sandboxed functions.
#[derive(Parser, Debug)]
#[command(
    name = "edgebus",
    version,
    propagate_version = true,
    after_help = "Examples:
  edgebus demo                                        see it work, on real events
  edgebus init hello                                  a project of your own, to start with
  edgebus serve --data ./data --create --manifest edgebus.yaml
  edgebus publish --type com.example.order.placed --source /shop --data '{\"total\": 12}'"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make a project: a manifest, a function with its unit test, an event, and what to type next.
    Init(init::Arguments),
    /// Build a project, serve it, watch it, and print the way of each event.
    Dev(dev::Arguments),
    /// Build the sample functions, serve them, publish sample events and show what happens.
    Demo(demo::Arguments),
    /// Serve a bus: open its store, put the manifest in force, listen.
    Serve(serve::Arguments),
    /// Publish events from flags, a file or standard input.
    Publish(Box<publish::Arguments>),
    /// Measure a bus over HTTP: events a second and latencies.
    Bench(bench::Arguments),
    /// Check every record of a store that no bus has open.
    Fsck(fsck::Arguments),
    /// Print the version.
    Version,
}

/// Parses the command line, runs the command and gives its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Init(arguments) => init::run(&arguments),
        Command::Dev(arguments) => with_runtime(dev::run(arguments)),
        Command::Demo(arguments) => with_runtime(demo::run(arguments)),
        Command::Serve(arguments) => with_runtime(serve::run(arguments)),
        Command::Publish(arguments) => with_runtime(publish::run(*arguments)),
        Command::Bench(arguments) => with_runtime(bench::run(arguments)),
        Command::Fsck(arguments) => fsck::run(&arguments),
        Command::Version => {
            output::print(&format!("edgebus {}", env!("CARGO_PKG_VERSION")));
            Ok(OK)
        }
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            output::note(&format!("error: {}", failure.message));
            ExitCode::from(failure.code)
        }
    }
}

/// How this program was called, for the commands that are shown to try next: they may be typed in
/// another folder, so a path is shown whole.
fn shown_program() -> String {
    let program = std::env::args_os().next().unwrap_or_default();
    let path = std::path::Path::new(&program);
    match path.components().count() {
        0 => "edgebus".to_owned(),
        1 => path.display().to_string(),
        _ => {
            let whole = path.canonicalize();
            whole.as_deref().unwrap_or(path).display().to_string()
        }
    }
}

fn with_runtime(command: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("the system gives no threads: {error}")))?;
    let result = runtime.block_on(command);
    // A blocking worker that still reads must not hold up the exit.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    result
}
