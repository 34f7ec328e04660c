//! `edgebus demo`: the main job, end to end, on the sample functions and events of the repository.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;

use super::build::{self, build_functions, repository};
use super::client::{self, Client};
use super::output::{self, Progress};
use super::serve::{Serving, Signals};
use super::{FAILURE, Failure, OK};
use crate::program::ThisProgram;
use crate::settings;
use edgebus_engine::bus::{AttemptEnded, Happening};
use edgebus_model::Code;

/// The sample functions.
const PACKAGES: [&str; 3] = ["triage", "order-totals", "enricher"];
/// How long the deliveries of the demo may take, retries included.
const DELIVERIES_MAX: Duration = Duration::from_secs(60);

/// Arguments of `demo`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus demo
  edgebus demo --keep          leave it running, to look around with the other commands")]
pub(super) struct Arguments {
    /// Leave the bus running until it is stopped with Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Where to listen; a free port is taken if this one is not free.
    #[arg(long, value_name = "ADDR", default_value_t = settings::LISTEN)]
    listen: SocketAddr,
}

pub(super) async fn run(program: ThisProgram, arguments: Arguments) -> Result<u8, Failure> {
    let began = Instant::now();
    let mut signals = Signals::install()?;
    let progress = Progress::start();
    let repository = repository().map_err(build::failed)?;
    let samples = repository.join("samples");
    let built = build_functions(&repository, &PACKAGES, &progress).await;
    progress.finish();
    let built = built.map_err(build::failed)?;
    let built_after = began.elapsed();
    let folder = std::env::temp_dir().join(format!("edgebus-demo-{:08x}", rand::random::<u32>()));
    let settings = settings::Serve {
        data: folder.clone(),
        create: true,
        listen: free(arguments.listen).await,
        manifest: Some(samples.join("edgebus.yaml")),
        free_bytes_min: Some(64 << 20),
        ..settings::Serve::default()
    };
    let Some(serving) = Serving::start(program, &settings, signals.stop_or_hangup()).await? else {
        return Ok(OK);
    };
    let url = format!("http://{}", serving.address);
    output::print(&format!("edgebus listens on {url}"));
    output::print(&format!(
        "  functions  {} from {} (built in {:.1} s)",
        PACKAGES.join(", "),
        built.display(),
        built_after.as_secs_f64()
    ));
    output::print(&format!("  store      {}", folder.display()));
    output::print(&format!(
        "  manifest   {}\n",
        samples.join("edgebus.yaml").display()
    ));
    let told = serving.running.bus.listen();
    let events = publish(&url, &samples.join("events.jsonl")).await?;
    let dead = tokio::time::timeout(DELIVERIES_MAX, watch(told, events)).await;
    let dead = match dead {
        Ok(dead) => dead?,
        Err(_) => {
            serving.stop().await;
            return Err(Failure::new(format!(
                "some deliveries did not end within {} s",
                DELIVERIES_MAX.as_secs()
            ))
            .coded(Code::NotSettledInTime));
        }
    };
    output::print(&format!(
        "\n{events} events published; the whole took {:.1} s, building included.",
        began.elapsed().as_secs_f64()
    ));
    next_steps(arguments.keep, &url, &folder, &samples, dead.as_deref());
    if arguments.keep {
        signals.stop_or_hangup().await;
    }
    serving.stop().await;
    Ok(if dead.is_some() { OK } else { FAILURE })
}

/// The address if it is free, else one with a free port.
async fn free(wanted: SocketAddr) -> SocketAddr {
    match tokio::net::TcpListener::bind(wanted).await {
        Ok(_) => wanted,
        Err(_) => SocketAddr::new(wanted.ip(), 0),
    }
}

#[derive(serde::Deserialize)]
struct Accepted {
    id: String,
    position: u64,
    duplicate: bool,
}

/// Publishes the events in the file over HTTP, one request each, and returns how many were new.
async fn publish(url: &str, file: &Path) -> Result<usize, Failure> {
    let client = Client::new(url)?;
    let text = tokio::fs::read_to_string(file).await.map_err(|error| {
        Failure::new(format!("{} can't be read: {error}", file.display()))
            .coded(Code::FileUnreadable)
    })?;
    let mut events = 0;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let answer = client
            .post(
                "/v1/events",
                "application/cloudevents+json",
                Bytes::copy_from_slice(line.as_bytes()),
            )
            .await?;
        let accepted: Accepted = client::read(&answer)?;
        if accepted.duplicate {
            output::print(&format!(
                "{} is a duplicate of #{}: answered, and not delivered again",
                accepted.id, accepted.position
            ));
        } else {
            events += 1;
        }
    }
    Ok(events)
}

/// Prints what happens until every accepted event's deliveries have ended; returns a dead letter's id.
async fn watch(
    mut told: tokio::sync::broadcast::Receiver<Happening>,
    published: usize,
) -> Result<Option<String>, Failure> {
    let (mut accepted, mut expected) = (0, published);
    let mut owed: HashMap<(String, u64), usize> = HashMap::new();
    let mut ended_early: HashMap<(String, u64), usize> = HashMap::new();
    let mut dead = None;
    loop {
        let happening = match told.recv().await {
            Ok(happening) => happening,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => {
                return Err(Failure::new("the bus stopped").coded(Code::NotSettledInTime));
            }
        };
        match happening {
            Happening::Accepted(event) => {
                // Emitted events are accepted too, after the attempt that emitted them.
                accepted += 1;
                if event.subscriptions.is_empty() {
                    output::print(&format!(
                        "{:<34} → no rule matched",
                        format!("{} #{}", event.kind, event.position)
                    ));
                }
                let key = (event.bus.to_string(), event.position.0);
                let done = ended_early.remove(&key).unwrap_or(0);
                owed.insert(key, event.subscriptions.len().saturating_sub(done));
            }
            Happening::Attempt(attempt) => {
                output::print(&line(&attempt));
                expected += attempt.emitted;
                if attempt.retry_at.is_none() {
                    let key = (attempt.bus.to_string(), attempt.key.position.0);
                    match owed.get_mut(&key) {
                        Some(left) => *left = left.saturating_sub(1),
                        None => *ended_early.entry(key).or_insert(0) += 1,
                    }
                }
                if attempt.dead.is_some() {
                    dead = Some(attempt.key.to_string());
                }
            }
        }
        if accepted >= expected && ended_early.is_empty() && owed.values().all(|left| *left == 0) {
            return Ok(dead);
        }
    }
}

/// One attempt on one line: event → rule → function → outcome, with its times.
pub(super) fn line(attempt: &AttemptEnded) -> String {
    let outcome = match (attempt.dead, attempt.outcome.is_success()) {
        (_, true) => paint("32", "success"),
        (Some(reason), _) => paint(
            "31",
            &format!(
                "dead letter ({}): {}",
                reason.word(),
                first_line(&attempt.outcome.to_string())
            ),
        ),
        (None, _) => paint(
            "33",
            &format!(
                "{}, tried again: {}",
                attempt.outcome.class(),
                first_line(&attempt.outcome.to_string())
            ),
        ),
    };
    let count = if attempt.attempt > 1 || !attempt.outcome.is_success() {
        format!(" (attempt {})", attempt.attempt)
    } else {
        String::new()
    };
    format!(
        "{:<34} → {} → {}{count} → {outcome}  [ran {}, settled {} ms after it was accepted]",
        format!("{} #{}", attempt.kind, attempt.key.position),
        attempt.rule,
        attempt.function,
        output::duration(attempt.duration_us),
        attempt.age_ms
    )
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}

fn paint(colour: &str, text: &str) -> String {
    if output::coloured() {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

fn next_steps(keep: bool, url: &str, folder: &Path, samples: &Path, dead: Option<&str>) {
    let program = if std::env::var_os("CARGO").is_some() {
        "cargo run --release --".to_owned()
    } else {
        super::shown_program()
    };
    output::print("Try next:");
    let mut url = url.to_owned();
    if keep {
        output::print("  (the bus goes on here; stop it with Ctrl-C)");
    } else {
        url = format!("http://{}", settings::LISTEN);
        output::print(&format!(
            "  {program} serve --data {} --manifest {}",
            folder.display(),
            samples.join("edgebus.yaml").display()
        ));
        output::print("  and in another terminal:");
    }
    // The usual address needs no flag.
    let at = if url == format!("http://{}", settings::LISTEN) {
        String::new()
    } else {
        format!(" --url {url}")
    };
    output::print(&format!(
        "  {program} events ls{at}                     # the log"
    ));
    if let Some(dead) = dead {
        output::print(&format!(
            "  {program} deliveries get {dead}{at}           # why one event did not succeed"
        ));
    }
    output::print(&format!(
        "  {program} top{at}                           # rates, lag and failures, live"
    ));
    output::print(&format!(
        "  {program} publish{at} --type com.example.order.placed --source /shop --data @{}",
        samples.join("order.json").display()
    ));
}
