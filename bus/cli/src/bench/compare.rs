//! Compares a scenario with the plain run: two buses, measured in turn, so that other load on the machine
//! affects both.
//!
//! While one is measured, the other is stopped (SIGSTOP). A turn is a warm-up, then the load at a fixed rate
//! far below what the plain bus can do (latencies compare only at the same rate), with a prober of `/livez`
//! beside it, then the load flat out. Never here: what a scenario is, and how it is shown.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::beside::Beside;
use super::load::{self, Plan};
use super::measure::Turn;
use super::prober;
use super::scenario::{Backlog, OTHER, Scenario, TypeSuffix, plain_manifest};
use super::server::{self, Server};
use crate::Failure;
use crate::output::Progress;

/// How long a bus may calm down before its memory is read.
const CALM: Duration = Duration::from_secs(1);
/// The plain load that the rate is made from.
const TRIAL: Duration = Duration::from_secs(2);
/// The rate is the plain run's, flat out, divided by this.
const RATE_DIVISOR: u64 = 4;
/// Events of a backlog that are published in one request.
const BACKLOG_BATCH: u64 = 1_000;
/// How much longer than its loads a turn may take at most, if nothing is answered and settled in time.
const WAITS_MAX: Duration = Duration::from_secs(120);

/// What to do.
pub(super) struct Settings {
    /// The binary of both buses.
    pub(super) program: PathBuf,
    /// The load; its rate, if it has one, is the one at which latencies are measured.
    pub(super) plan: Plan,
    pub(super) rounds: u64,
    /// How long each load is measured.
    pub(super) each: Duration,
    pub(super) warm_up: Duration,
}

/// What was seen.
pub(super) struct Compared {
    pub(super) plain: Side,
    pub(super) loaded: Side,
    /// Events a second at which latencies were measured.
    pub(super) rate: u64,
    /// Subscriptions of the backlog that had something pending after the last round.
    pub(super) busy: u64,
    /// Subscriptions that the backlog has.
    pub(super) others: u64,
    /// Events that were published for others beside the load.
    pub(super) beside: u64,
}

/// One bus, over all rounds.
#[derive(Default)]
pub(super) struct Side {
    pub(super) turns: Vec<Turn>,
    pub(super) memory_before: u64,
    pub(super) memory_after: u64,
}

/// A bus with what was seen of it.
struct Bus {
    name: &'static str,
    server: Server,
    /// How many types the events for it have.
    kinds: u64,
    /// How often an event for others is published while it is measured.
    beside: Option<Duration>,
    published_beside: u64,
    side: Side,
}

/// Measures both buses.
pub(super) async fn run(scenario: Scenario, settings: &Settings) -> Result<Compared, Failure> {
    let progress = Progress::start();
    let components = server::build(&["bench-parse", "hostile", "tally"], &progress).await?;
    progress.say("starting a plain bus");
    let manifest = plain_manifest(&components);
    let mut plain = Bus::start("plain", &manifest, 1, settings).await?;
    plain.calm().await;
    progress.say("starting a bus under load");
    let manifest = scenario.manifest(&components);
    let mut loaded = Bus::start(scenario.name(), &manifest, scenario.kinds(), settings).await?;
    loaded.beside = scenario.beside();
    let backlog = scenario.backlog(settings.longest());
    if let Some(backlog) = &backlog {
        progress.say(&format!("publishing {} events for it", backlog.events));
        publish(&loaded.server, backlog).await?;
    }
    loaded.calm().await;
    progress.say("finding the rate");
    let rate = match settings.plan.rate {
        Some(rate) => rate,
        None => plain.quarter(&settings.plan).await?,
    };
    for round in 1..=settings.rounds {
        // Both go first about equally often.
        let pair = if round % 2 == 1 {
            [&mut plain, &mut loaded]
        } else {
            [&mut loaded, &mut plain]
        };
        for bus in pair {
            progress.say(&format!(
                "round {round} of {}: {}",
                settings.rounds, bus.name
            ));
            bus.turn(rate, settings).await?;
        }
    }
    loaded.server.resume();
    let busy = match &backlog {
        Some(backlog) if backlog.script.is_some() => loaded.server.lagging(OTHER).await?,
        _ => 0,
    };
    progress.finish();
    // Both are killed: an orderly stop would wait for attempts that sleep, and both folders are removed
    // anyway.
    plain.server.kill().await;
    loaded.server.kill().await;
    Ok(Compared {
        plain: plain.side,
        beside: loaded.published_beside,
        loaded: loaded.side,
        rate,
        busy,
        others: backlog.map_or(0, |backlog| {
            backlog.script.as_ref().map_or(0, |_| backlog.kinds)
        }),
    })
}

impl Settings {
    /// How long the bus under load is measured at most, and so how long its backlog must last.
    fn longest(&self) -> Duration {
        let turn = self.warm_up + self.each * 2 + WAITS_MAX;
        turn.saturating_mul(u32::try_from(self.rounds).unwrap_or(u32::MAX))
    }
}

impl Bus {
    async fn start(
        name: &'static str,
        manifest: &str,
        kinds: u64,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        Ok(Self {
            name,
            server: Server::start(&settings.program, manifest, settings.plan.connections).await?,
            kinds,
            beside: None,
            published_beside: 0,
            side: Side::default(),
        })
    }

    /// Waits until it is idle, notes its memory, and stops it (SIGSTOP).
    async fn calm(&mut self) {
        tokio::time::sleep(CALM).await;
        self.side.memory_before = self.server.resident_bytes();
        self.server.pause();
    }

    /// A part of what it can do.
    async fn quarter(&self, plan: &Plan) -> Result<u64, Failure> {
        self.server.resume();
        let trial = Plan {
            beside: true,
            ..*plan
        };
        let trial = load::run(&self.server, &trial, TRIAL).await?;
        self.server.pause();
        Ok((trial.accepted / TRIAL.as_secs() / RATE_DIVISOR).max(1))
    }

    /// One round's turn.
    async fn turn(&mut self, rate: u64, settings: &Settings) -> Result<(), Failure> {
        let server = &self.server;
        let flat_out = Plan {
            rate: None,
            kinds: self.kinds,
            beside: true,
            ..settings.plan
        };
        let paced = Plan {
            rate: Some(rate),
            ..flat_out
        };
        server.resume();
        let beside = match self.beside {
            Some(every) => Some(Beside::start(&server.authority, every).await?),
            None => None,
        };
        if !settings.warm_up.is_zero() {
            load::run(server, &paced, settings.warm_up).await?;
        }
        let prober = prober::start(server.authority.clone(), settings.each)?;
        let seen = load::run(server, &paced, settings.each).await?;
        let probed = tokio::task::spawn_blocking(move || prober.join())
            .await
            .map_err(|error| Failure::new(error.to_string()))?
            .map_err(|_| Failure::new("the prober of /livez panicked"))?;
        let fast = load::run(server, &flat_out, settings.each).await?;
        if let Some(beside) = beside {
            self.published_beside += beside.end().await?;
        }
        self.side.memory_after = server.resident_bytes();
        server.pause();
        self.side.turns.push(Turn {
            paced: seen,
            live: probed.latencies,
            live_failed: probed.failed,
            flat_out: fast,
        });
        Ok(())
    }
}

/// Publishes a backlog in batches, over a few connections where the order does not matter.
async fn publish(server: &Server, backlog: &Backlog) -> Result<(), Failure> {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let sender = async || -> Result<(), Failure> {
        loop {
            let from = next.fetch_add(BACKLOG_BATCH, Ordering::Relaxed);
            if from >= backlog.events {
                return Ok(());
            }
            let to = (from + BACKLOG_BATCH).min(backlog.events);
            let kind = "application/cloudevents-batch+json";
            let body = Bytes::from(batch(backlog, from, to));
            let request = server.client.request("POST", "/v1/events");
            let sent = request.body(kind, body).send().await;
            sent.map_err(|error| {
                Failure::new(format!(
                    "after {} s and {from} of {} events of the backlog: {error}",
                    began.elapsed().as_secs(),
                    backlog.events
                ))
            })?;
        }
    };
    if backlog.script.is_some() {
        return sender().await;
    }
    tokio::try_join!(sender(), sender(), sender(), sender())?;
    Ok(())
}

/// Events of a backlog as one request.
fn batch(backlog: &Backlog, from: u64, to: u64) -> String {
    let mut body = String::from("[");
    for number in from..to {
        let comma = if number == from { "" } else { "," };
        let kind = TypeSuffix::of(backlog.kinds, number);
        // Writing to a String can't fail.
        let _ = match &backlog.script {
            Some(script) => write!(
                body,
                r#"{comma}{{"specversion":"1.0","id":"{OTHER}-{number}","source":"/bench","type":"com.example.{OTHER}{kind}","datacontenttype":"application/json","data":{{"do":"{script}"}}}}"#,
            ),
            None => write!(
                body,
                r#"{comma}{{"specversion":"1.0","id":"{OTHER}-{number}","source":"/bench","type":"{OTHER}"}}"#,
            ),
        };
    }
    body.push(']');
    body
}
