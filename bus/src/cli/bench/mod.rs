//! `edgebus bench`: a whole bus over HTTP, measured from outside.
//!
//! It starts a bus of its own in another process and a new folder, so that the processor time of server
//! and client can be told apart. With a rate, events are due at fixed times and latency counts from the
//! time when an event was due, whether or not the bus kept up (no coordinated omission). Flat out, each
//! connection sends as soon as its last answer came, and latency counts from there.

mod latency;
mod load;
mod report;
mod requests;
mod server;
mod settlements;

use std::time::Duration;

use super::{Failure, OK};
use crate::model::Code;
use load::{Plan, Stage};

/// Arguments of `bench`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus bench                                       flat out, 64 connections, 10 s
  edgebus bench --batch 100                           in batches
  edgebus bench --rate 1000 --connections 16          latencies at 1,000 events a second
  edgebus bench --stage http                          the HTTP request alone")]
pub(super) struct Arguments {
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
    #[arg(long, value_enum, default_value_t = Stage::Whole)]
    stage: Stage,
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
    let server = server::Server::start(arguments.connections).await?;
    let plan = Plan {
        connections: arguments.connections,
        batch: arguments.batch,
        rate: arguments.rate,
        stage: arguments.stage,
        bytes: usize::try_from(arguments.bytes).unwrap_or(usize::MAX),
    };
    if arguments.warm_up > 0 {
        load::run(&server, &plan, Duration::from_secs(arguments.warm_up)).await?;
    }
    let measured = load::run(&server, &plan, Duration::from_secs(arguments.seconds)).await?;
    let shown = report::show(&plan, &measured, arguments.json);
    server.stop().await?;
    super::output::print(&shown);
    Ok(OK)
}
