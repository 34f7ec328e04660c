//! `edgebus demo`: the main job, end to end, on the sample functions and events of the repository.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::broadcast::error::RecvError;

use super::build::{self, build_functions, repository};
use super::client::Client;
use super::dev::Story;
use super::output::{self, Progress, counted};
use super::serve::{Serving, Signals};
use super::{FAILURE, Failure, OK};
use crate::program::ThisProgram;
use crate::settings;
use edgebus_engine::bus::{EventAccepted, TelemetryEvent};
use edgebus_model::Code;
use edgebus_model::rule::DEFAULT_BUS;

/// The sample functions.
const PACKAGES: [&str; 3] = ["triage", "order-totals", "enricher"];
/// How long the deliveries of the demo may take, retries included.
const DELIVERIES_MAX: Duration = Duration::from_secs(60);

/// Arguments of `demo`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus demo
  edgebus demo --keep          leave it running, to look around with the other commands

The store is in a temporary folder and is removed at the end.")]
pub(super) struct Arguments {
    /// Keep the bus running until it is stopped with Ctrl-C.
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
    let folder = Folder::new();
    let settings = settings::Serve {
        data: folder.path.clone(),
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
    output::print(&format!(
        "  store      {} (removed at the end)",
        folder.path.display()
    ));
    output::print(&format!(
        "  manifest   {}\n",
        samples.join("edgebus.yaml").display()
    ));
    let told = serving.running.bus.listen();
    let story = Story::new(serving.running.bus.clone());
    let published = publish(&url, &samples.join("events.jsonl")).await?;
    let new = published.events - published.duplicates;
    let dead = tokio::time::timeout(DELIVERIES_MAX, watch(told, story, new)).await;
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
        "\n{} published, {}; the whole took {:.1} s, building included.",
        counted(published.events, "event", "events"),
        counted(published.duplicates, "duplicate", "duplicates"),
        began.elapsed().as_secs_f64()
    ));
    next_steps(arguments.keep, &url, &samples, dead.as_deref());
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

/// What was published.
#[derive(Default)]
struct Published {
    events: usize,
    /// Of these.
    duplicates: usize,
}

/// Publishes the events in the file over HTTP, one request each.
async fn publish(url: &str, file: &Path) -> Result<Published, Failure> {
    let client = Client::new(url)?;
    let text = tokio::fs::read_to_string(file).await.map_err(|error| {
        Failure::new(format!("{} can't be read: {error}", file.display()))
            .coded(Code::FileUnreadable)
    })?;
    let mut published = Published::default();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let accepted = client
            .bus(DEFAULT_BUS)
            .publish_json(line.to_owned())
            .await?;
        published.events += 1;
        if accepted.duplicate {
            published.duplicates += 1;
            output::print(&format!(
                "{} is a duplicate of #{}: acknowledged, and not delivered again\n",
                accepted.id, accepted.position
            ));
        }
    }
    Ok(published)
}

/// The folder of the store; it is removed when this is dropped.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let name = format!("edgebus-demo-{:08x}", rand::random::<u32>());
        Self {
            path: std::env::temp_dir().join(name),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed stays in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Prints what happens until every accepted event's deliveries have ended; returns a dead letter's id.
async fn watch(
    mut told: tokio::sync::broadcast::Receiver<TelemetryEvent>,
    mut story: Story,
    published: usize,
) -> Result<Option<String>, Failure> {
    let (mut accepted, mut expected) = (0, published);
    let mut pending = Pending::default();
    let mut dead = None;
    loop {
        let telemetry_event = match told.recv().await {
            Ok(telemetry_event) => telemetry_event,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => {
                return Err(Failure::new("the bus stopped").coded(Code::NotSettledInTime));
            }
        };
        match telemetry_event {
            TelemetryEvent::Accepted(event) => {
                // Emitted events are accepted too, after the attempt that emitted them.
                accepted += 1;
                show(&story.accepted(&event).await);
                pending.accepted(&event);
            }
            TelemetryEvent::Attempt(attempt) => {
                show(&story.attempt(&attempt).await);
                expected += attempt.emitted;
                if attempt.retry_at.is_none() {
                    pending.ended((attempt.bus.to_string(), attempt.key.position.0));
                }
                if attempt.dead.is_some() {
                    dead = Some(attempt.key.to_string());
                }
            }
        }
        if accepted >= expected && pending.is_over() {
            return Ok(dead);
        }
    }
}

/// Deliveries that have yet to end, by bus and position of their event.
#[derive(Default)]
struct Pending {
    left: HashMap<(String, u64), usize>,
    /// Those that ended before their event was reported.
    early: HashMap<(String, u64), usize>,
}

impl Pending {
    fn accepted(&mut self, event: &EventAccepted) {
        let key = (event.bus.to_string(), event.position.0);
        let done = self.early.remove(&key).unwrap_or(0);
        self.left
            .insert(key, event.subscriptions.len().saturating_sub(done));
    }

    fn ended(&mut self, key: (String, u64)) {
        match self.left.get_mut(&key) {
            Some(left) => *left = left.saturating_sub(1),
            None => *self.early.entry(key).or_insert(0) += 1,
        }
    }

    fn is_over(&self) -> bool {
        self.early.is_empty() && self.left.values().all(|left| *left == 0)
    }
}

/// Prints a part of the story, within the terminal's width.
fn show(text: &str) {
    let text = text.trim_end();
    match output::width() {
        Some(width) => output::print(&output::folded(text, usize::from(width), 0)),
        None => output::print(text),
    };
}

fn next_steps(keep: bool, url: &str, samples: &Path, dead: Option<&str>) {
    let program = if std::env::var_os("CARGO").is_some() {
        "cargo run --release --".to_owned()
    } else {
        super::shown_program()
    };
    output::print("Try next:");
    if !keep {
        output::print(&format!(
            "  {program} demo --keep    the same, but the bus keeps running for these commands:"
        ));
    } else {
        output::print("  (the bus keeps running; stop it with Ctrl-C)");
    }
    // The usual address needs no flag.
    let at = if !keep || url == format!("http://{}", settings::LISTEN) {
        String::new()
    } else {
        format!(" --url {url}")
    };
    output::print(&format!("  {program} events ls{at}    the log"));
    if let Some(dead) = dead {
        output::print(&format!(
            "  {program} deliveries get {dead}{at}    why one event did not succeed"
        ));
    }
    output::print(&format!(
        "  {program} top{at}    rates, lag and failures, live"
    ));
    output::print(&format!(
        "  {program} publish{at} --type com.example.order.placed --source /shop --data @{}",
        samples.join("order.json").display()
    ));
}
