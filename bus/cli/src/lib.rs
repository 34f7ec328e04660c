//! The command line: one file for each command, conventions in one place.
//!
//! Data goes to standard output; logs, progress and errors to standard error. Exit codes: 0 done,
//! 1 failed, 2 wrong usage, 74 the store failed while it was written, 78 wrong configuration.

#![forbid(unsafe_code)]

mod apply;
mod bench;
mod build;
mod client;
mod compact;
mod connection;
mod dead_letters;
mod deliveries;
mod demo;
mod dev;
mod doctor;
mod event_file;
mod events;
mod explain;
mod follow;
mod fsck;
mod functions;
mod init;
mod jobs;
mod listing;
pub mod mapping;
mod moment;
mod output;
pub mod program;
mod publish;
mod query;
mod replays;
mod resource;
mod rules;
mod schema;
mod serve;
pub mod settings;
mod shell;
mod story;
mod subscriptions;
mod test;
mod top;
mod usage;
mod validate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::program::ThisProgram;
use edgebus_model::Code;

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

/// Why a command failed: its exit code and the message for standard error.
#[derive(Debug)]
struct Failure {
    /// The exit code.
    code: u8,
    /// What went wrong and what to do.
    message: String,
    /// The page that explains the error. Wrong usage has the help instead.
    page: Option<Code>,
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self {
            code: FAILURE,
            message: message.into(),
            page: None,
        }
    }

    fn usage(message: impl Into<String>) -> Self {
        Self {
            code: USAGE,
            ..Self::new(message)
        }
    }

    /// The end of a command whose output nobody reads any more: no message and no error.
    fn quiet() -> Self {
        Self {
            code: OK,
            ..Self::new("")
        }
    }

    fn configuration(message: impl Into<String>) -> Self {
        Self {
            code: CONFIGURATION,
            ..Self::new(message)
        }
    }

    /// The same failure with the page that explains it.
    fn coded(self, code: Code) -> Self {
        Self {
            page: Some(code),
            ..self
        }
    }

    /// Says it on standard error.
    fn tell(&self) {
        output::note(&match self.page {
            None => format!("error: {}", self.message),
            Some(code) => format!(
                "error[{code}]: {}\nsee: edgebus explain {code}",
                self.message.trim_end()
            ),
        });
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
  edgebus publish --type com.example.order.placed --source /shop --data '{\"total\": 12}'

Exit codes: 0 done, 1 failed, 2 wrong usage, 74 the store failed while it was written, 78 wrong
configuration. `edgebus explain CODE` tells more of an error."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Create a project: a manifest, a function with its unit test, and an event.
    Init(init::Arguments),
    /// Build, serve and watch a project, and trace each event.
    Dev(dev::Arguments),
    /// Build the sample functions, serve them, publish sample events and show what happens.
    Demo(demo::Arguments),
    /// Serve a bus: open its store, apply the manifest, listen.
    Serve(serve::Arguments),
    /// Check a manifest and the files that it names; report all errors at once.
    Validate(validate::Arguments),
    /// Run the tests of a manifest: events with the rules that they must match.
    Test(test::Arguments),
    /// Show what a manifest would change on a running bus, ask, and apply it.
    Apply(apply::Arguments),
    /// Publish events from flags, a file or standard input.
    Publish(Box<publish::Arguments>),
    /// List, follow, export and explain events.
    Events(events::Arguments),
    /// Deploy, inspect and try functions, and tail their logs.
    Functions(functions::Arguments),
    /// List the active rules, or try one on an event.
    Rules(rules::Arguments),
    /// List and show subscriptions: each rule with each of its targets, and its lag.
    Subscriptions(subscriptions::Arguments),
    /// List deliveries and show each attempt.
    Deliveries(deliveries::Arguments),
    /// List, redrive and purge deliveries that ended without success.
    DeadLetters(dead_letters::Arguments),
    /// Deliver events of the log again.
    Replays(replays::Arguments),
    /// List jobs: work that the bus does itself. Pause, resume or cancel them.
    Jobs(jobs::Arguments),
    /// Measure a bus over HTTP: events a second and latencies.
    Bench(bench::Arguments),
    /// Watch rates, lag and failures by subscription.
    Top(top::Arguments),
    /// Check what building and serving need: toolchain, folder, disk, port, clock.
    Doctor(doctor::Arguments),
    /// Check every record of a store that no bus has open.
    Fsck(fsck::Arguments),
    /// Give space that a store doesn't use back to the disk; no bus may have it open.
    Compact(compact::Arguments),
    /// Print a completion script for a shell.
    Completions(shell::CompletionsArguments),
    /// Print the manual, or write a page for each command.
    Man(shell::ManArguments),
    /// Explain an error by its code, as in EB0201.
    Explain(explain::Arguments),
    /// Print the JSON Schema of the manifest, for editors.
    Schema(schema::Arguments),
    /// Print the version.
    #[command(after_help = "Example:
  edgebus version")]
    Version,
}

/// Parses the command line, runs the command in `program` and gives the exit code.
#[must_use]
pub fn main(program: ThisProgram) -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage::refused(&error),
    };
    let result = match arguments.command {
        Command::Init(arguments) => init::run(&arguments),
        Command::Dev(arguments) => with_runtime(dev::run(program, arguments)),
        Command::Demo(arguments) => with_runtime(demo::run(program, arguments)),
        Command::Serve(arguments) => with_runtime(serve::run(program, arguments)),
        Command::Validate(arguments) => with_runtime(validate::run(arguments)),
        Command::Test(arguments) => test::run(&arguments),
        Command::Apply(arguments) => with_runtime(apply::run(arguments)),
        Command::Publish(arguments) => with_runtime(publish::run(*arguments)),
        Command::Events(arguments) => with_runtime(events::run(arguments)),
        Command::Functions(arguments) => with_runtime(functions::run(arguments)),
        Command::Rules(arguments) => with_runtime(rules::run(arguments)),
        Command::Subscriptions(arguments) => with_runtime(subscriptions::run(arguments)),
        Command::Deliveries(arguments) => with_runtime(deliveries::run(arguments)),
        Command::DeadLetters(arguments) => with_runtime(dead_letters::run(arguments)),
        Command::Replays(arguments) => with_runtime(replays::run(arguments)),
        Command::Jobs(arguments) => with_runtime(jobs::run(arguments)),
        Command::Bench(arguments) => with_runtime(bench::run(arguments)),
        Command::Top(arguments) => with_runtime(top::run(arguments)),
        Command::Doctor(arguments) => with_runtime(doctor::run(program, arguments)),
        Command::Fsck(arguments) => fsck::run(program, &arguments),
        Command::Compact(arguments) => compact::run(program, &arguments),
        Command::Completions(arguments) => shell::completions(&arguments),
        Command::Man(arguments) => shell::man(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Version => {
            output::print(&format!("edgebus {}", env!("CARGO_PKG_VERSION")));
            Ok(OK)
        }
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) if failure.code == OK => ExitCode::from(OK),
        Err(failure) => {
            failure.tell();
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
        .map_err(|error| {
            Failure::new(format!("the system gives no threads: {error}")).coded(Code::SystemRefused)
        })?;
    let result = runtime.block_on(command);
    // A blocking thread that still reads must not delay the exit.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    result
}
