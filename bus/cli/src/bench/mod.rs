//! `edgebus bench`: a whole bus over HTTP, measured from outside.
//!
//! It starts its own bus in another process and a new folder, so that the processor time of server and client
//! can be measured separately. With a rate, events are due at fixed times and latency counts from the time
//! when an event was due, whether or not the bus kept up (no coordinated omission). Flat out, each connection
//! sends as soon as its last answer came, and latency counts from there.
//!
//! With a scenario two such buses are measured in turn, a plain one and one with something beside the load,
//! and each number is shown as its ratio to the plain run's.

mod beside;
mod compare;
mod comparison;
mod idle;
mod latency;
mod load;
mod measure;
mod prober;
mod report;
mod requests;
mod scenario;
mod server;
mod settlements;

use std::path::PathBuf;
use std::time::Duration;

use super::output::{self, Progress};
use super::serve::Signals;
use super::{Failure, OK};
use edgebus_model::Code;
use load::{Plan, Stage};
use scenario::Choice;
use server::Server;

/// Arguments of `bench`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus bench                                       flat out, 64 connections, 10 s
  edgebus bench --batch 100                           in batches
  edgebus bench --rate 1000 --connections 16          latencies at 1,000 events a second
  edgebus bench --stage http                          the HTTP request alone
  edgebus bench --pending 1M --rounds 5               beside a million deliveries that are pending elsewhere
  edgebus bench --window 10M                          with ten million events within the dedupe window
  edgebus bench --spinners 64 --seconds 5             beside 64 attempts that compute
  edgebus bench --fan-out 1000                        beside events for 1,000 subscriptions
  edgebus bench --hot-key                             with a counter under one key of state
  edgebus bench --idle                                a bus that has nothing to do
  edgebus bench --program old/edgebus                 another version of edgebus

A scenario (--subscriptions, --functions, --pending, --window, --slow-functions, --spinners,
--fan-out, --hot-key) runs two buses, a plain one and one with what the scenario adds, in turn: in
each round each is measured for --seconds at a rate of a quarter of the plain throughput (or
--rate), for latencies, and for --seconds flat out, for throughput.
The report shows medians, the ratio of each number to the plain run's, and the goals.")]
pub(super) struct Arguments {
    #[command(flatten)]
    choice: Choice,
    /// Rounds of a scenario.
    #[arg(long, default_value_t = 3, requires = "scenario", value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// How long to publish, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Connections that publish.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=512))]
    connections: u64,
    /// Events in one request; 1 publishes each event alone.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    batch: u64,
    /// Events a second; without it, flat out.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: Option<u64>,
    /// The size of an event as it is sent, in bytes.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(256..=262_144))]
    bytes: u64,
    /// Seconds of load before the measurement begins.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=600))]
    warm_up: u64,
    /// How far events go: `http` is read and refused, `append` is stored and matches no rule, `whole` is
    /// handled by a function.
    #[arg(long, value_enum, default_value_t = Stage::Whole, conflicts_with = "scenario")]
    stage: Stage,
    /// Measure this binary of edgebus instead of the one that runs, to compare versions.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Print the numbers as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    measure(arguments).await.map_err(|failure| Failure {
        page: failure.page.or(Some(Code::NotSettledInTime)),
        ..failure
    })
}

async fn measure(arguments: Arguments) -> Result<u8, Failure> {
    // Dropping a bus kills it and removes its folder, which an end by a signal would not.
    let mut signals = Signals::install()?;
    let shown = tokio::select! {
        shown = shown(&arguments) => shown?,
        () = signals.stop() => return Err(Failure::new("stopped by a signal")),
    };
    output::print(&shown);
    Ok(OK)
}

/// Measures, and gives the report.
async fn shown(arguments: &Arguments) -> Result<String, Failure> {
    let plan = Plan {
        connections: arguments.connections,
        batch: arguments.batch,
        rate: arguments.rate,
        stage: arguments.stage,
        bytes: usize::try_from(arguments.bytes).unwrap_or(usize::MAX),
        kinds: 1,
        beside: false,
    };
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()
            .map_err(|error| Failure::new(format!("this binary can't be found: {error}")))?,
    };
    let (each, warm_up) = (
        Duration::from_secs(arguments.seconds),
        Duration::from_secs(arguments.warm_up),
    );
    if let Some(scenario) = arguments.choice.scenario() {
        let settings = compare::Settings {
            program,
            plan,
            rounds: arguments.rounds,
            each,
            warm_up,
        };
        let seen = compare::run(scenario, &settings).await?;
        return Ok(comparison::show(scenario, &settings, &seen, arguments.json));
    }
    let progress = Progress::start();
    let components = server::build(&["bench-parse"], &progress).await?;
    progress.say("starting a bus");
    let manifest = scenario::plain_manifest(&components);
    let server = Server::start(&program, &manifest, plan.connections).await?;
    progress.finish();
    let shown = if arguments.choice.idle {
        idle::show(&idle::measure(&server, warm_up, each).await, arguments.json)
    } else {
        if !warm_up.is_zero() {
            load::run(&server, &plan, warm_up).await?;
        }
        let measured = load::run(&server, &plan, each).await?;
        report::show(&plan, &measured, arguments.json)
    };
    server.stop().await?;
    Ok(shown)
}
