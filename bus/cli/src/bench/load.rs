//! The load: connections that publish, and a clock that says when.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;

use super::latency::{histogram, lock, record};
use super::requests::{connect, positions, request};
use super::scenario::{ORDERS, PARSE};
use super::server::{Server, cpu_seconds};
use super::settlements::{Settlements, listen};
use crate::Failure;

/// Requests that may be due and not yet taken by a connection: beyond it the clock waits, and the wait counts.
const DUE_MAX: usize = 65_536;
/// Flat out, one settlement of so many is timed.
const FLAT_OUT_SAMPLE: u64 = 64;
/// How long after the load the last settlements may take.
const DRAIN_MAX: Duration = Duration::from_secs(60);
/// The same where a rest is no error.
const DRAIN_MAX_BESIDE: Duration = Duration::from_secs(30);
/// How long after the load's end requests that were due before are still sent where a rest is no error.
const LATE_MAX: Duration = Duration::from_secs(5);

/// How far events go.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Parsed and validated, then rejected: the target bus does not exist.
    Http,
    /// Stored, for no rule.
    Append,
    /// Stored, matched, handled, settled.
    Whole,
}

impl Stage {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Http => "/v1/buses/nowhere/events",
            Self::Append | Self::Whole => "/v1/events",
        }
    }

    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Http | Self::Append => "com.example.unmatched",
            Self::Whole => "com.example.bench",
        }
    }

    fn status(self) -> hyper::StatusCode {
        match self {
            Self::Http => hyper::StatusCode::NOT_FOUND,
            Self::Append | Self::Whole => hyper::StatusCode::ACCEPTED,
        }
    }
}

/// What to do.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) stage: Stage,
    pub(super) connections: u64,
    pub(super) batch: u64,
    pub(super) rate: Option<u64>,
    pub(super) bytes: usize,
    /// How many types the events have, in turn.
    pub(super) kinds: u64,
    /// Whether other functions may run beside the load: then settlements are counted by subscription, and
    /// what the bus does not get done is counted instead of being an error.
    pub(super) beside: bool,
}

/// What was seen.
pub(super) struct Measured {
    pub(super) took: Duration,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) settled: u64,
    /// Requests that were due and never sent, because those before them took too long; their latencies
    /// are in the histograms with the time that they had waited.
    pub(super) unsent: u64,
    /// Accepted events that were not settled in time; likewise.
    pub(super) unsettled: u64,
    pub(super) drained_after: Duration,
    pub(super) to_accepted: Histogram<u64>,
    pub(super) to_settled: Histogram<u64>,
    pub(super) server_cpu: f64,
    pub(super) client_cpu: f64,
}

/// What the connections share.
struct Shared {
    numbers: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    unsent: AtomicU64,
    to_accepted: Mutex<Histogram<u64>>,
    settlements: Arc<Mutex<Settlements>>,
}

/// Publishes for `duration` and waits until everything is settled.
pub(super) async fn run(
    server: &Server,
    plan: &Plan,
    duration: Duration,
) -> Result<Measured, Failure> {
    let shared = Arc::new(Shared {
        numbers: AtomicU64::new(rand::random::<u64>() >> 16),
        accepted: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        unsent: AtomicU64::new(0),
        to_accepted: Mutex::new(histogram()?),
        settlements: Arc::new(Mutex::new(Settlements::new()?)),
    });
    // Hearing of each settlement costs both sides processor time: flat out a sample is enough.
    let every = if plan.rate.is_some() {
        1
    } else {
        FLAT_OUT_SAMPLE
    };
    let listener = match plan.stage {
        Stage::Whole => {
            // Where the load goes to many functions, there are no others.
            let function = (plan.beside && plan.kinds == 1).then_some(PARSE);
            Some(listen(server, shared.settlements.clone(), every, function).await?)
        }
        _ => None,
    };
    let settled_before = settled(server, plan).await?;
    let (server_before, client_before) = (server.cpu_seconds(), cpu_seconds("self"));
    let began = Instant::now();
    publish_all(server, plan, &shared, began, began + duration).await?;
    let took = began.elapsed();
    let settled = settled(server, plan).await? - settled_before;
    let (server_cpu, client_cpu) = (
        server.cpu_seconds() - server_before,
        cpu_seconds("self") - client_before,
    );
    let accepted = shared.accepted.load(Ordering::Relaxed);
    let pending = if plan.stage == Stage::Whole {
        settled_before + accepted
    } else {
        0
    };
    let unsettled = drain(server, plan, pending).await?;
    let drained_after = began.elapsed().saturating_sub(took);
    if let Some(mut listener) = listener {
        // All settlements have been sent. Wait a moment for the last lines to arrive.
        let _ = tokio::time::timeout(Duration::from_millis(200), &mut listener).await;
        listener.abort();
    }
    let to_settled = lock(&shared.settlements).end(unsettled > 0 && every == 1);
    let to_accepted = lock(&shared.to_accepted).clone();
    Ok(Measured {
        took,
        accepted,
        refused: shared.refused.load(Ordering::Relaxed),
        settled,
        unsent: shared.unsent.load(Ordering::Relaxed),
        unsettled,
        drained_after,
        to_accepted,
        to_settled,
        server_cpu,
        client_cpu,
    })
}

/// How many deliveries of the load the bus has settled.
async fn settled(server: &Server, plan: &Plan) -> Result<u64, Failure> {
    if plan.beside {
        return server.succeeded(ORDERS).await;
    }
    server.counter("edgebus_attempts_total", "success").await
}

/// Waits until `pending` deliveries are settled, and gives how many are not.
async fn drain(server: &Server, plan: &Plan, pending: u64) -> Result<u64, Failure> {
    // The list of subscriptions costs the bus more than its counters.
    let (pause, longest) = if plan.beside {
        (Duration::from_millis(50), DRAIN_MAX_BESIDE)
    } else {
        (Duration::from_millis(5), DRAIN_MAX)
    };
    let began = Instant::now();
    loop {
        let rest = pending.saturating_sub(settled(server, plan).await?);
        if rest == 0 || (plan.beside && began.elapsed() >= longest) {
            return Ok(rest);
        }
        if began.elapsed() >= longest {
            return Err(Failure::new(format!(
                "{rest} accepted events were not settled within {} s",
                longest.as_secs()
            )));
        }
        tokio::time::sleep(pause).await;
    }
}

/// Publishes over all connections from `began` to `end`.
async fn publish_all(
    server: &Server,
    plan: &Plan,
    shared: &Arc<Shared>,
    began: Instant,
    end: Instant,
) -> Result<(), Failure> {
    let due = pace(plan, began, end);
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..plan.connections {
        let connection = connect(&server.authority).await?;
        workers.spawn(publish(
            connection,
            server.authority.clone(),
            shared.clone(),
            due.clone(),
            end,
            *plan,
        ));
    }
    drop(due);
    while let Some(ended) = workers.join_next().await {
        ended.map_err(|error| Failure::new(error.to_string()))??;
    }
    Ok(())
}

type Due = Arc<tokio::sync::Mutex<tokio::sync::mpsc::Receiver<Instant>>>;

/// When requests are due, where there is a rate. A thread of its own keeps the time, because an async
/// timer is only exact to a millisecond.
fn pace(plan: &Plan, began: Instant, end: Instant) -> Option<Due> {
    let rate = plan.rate?;
    let (sender, receiver) = tokio::sync::mpsc::channel(DUE_MAX);
    #[expect(
        clippy::cast_precision_loss,
        reason = "rates and batches are far below 2^53"
    )]
    let interval = Duration::from_secs_f64(plan.batch as f64 / rate as f64);
    std::thread::spawn(move || {
        let mut next = began;
        while next < end {
            if let Some(rest) = next.checked_duration_since(Instant::now()) {
                std::thread::sleep(rest);
            }
            if sender.blocking_send(next).is_err() {
                return;
            }
            next += interval;
        }
    });
    Some(Arc::new(tokio::sync::Mutex::new(receiver)))
}

async fn publish(
    mut connection: SendRequest<Full<Bytes>>,
    authority: String,
    shared: Arc<Shared>,
    paced: Option<Due>,
    end: Instant,
    plan: Plan,
) -> Result<(), Failure> {
    let batch = plan.batch;
    let mut latencies = histogram()?;
    loop {
        let due = match &paced {
            Some(paced) => paced.lock().await.recv().await,
            None => Some(Instant::now()).filter(|now| *now < end),
        };
        let Some(due) = due else { break };
        if plan.beside && end.elapsed() > LATE_MAX {
            shared.unsent.fetch_add(1, Ordering::Relaxed);
            record(&mut latencies, due.elapsed());
            lock(&shared.settlements).never(due);
            continue;
        }
        let number = shared.numbers.fetch_add(batch, Ordering::Relaxed);
        let request = request(&authority, number, &plan)?;
        let lost = |error: hyper::Error| Failure::new(format!("the bus broke off: {error}"));
        connection.ready().await.map_err(lost)?;
        let answer = connection.send_request(request).await.map_err(lost)?;
        let accepted = answer.status() == plan.stage.status();
        let body = answer.into_body().collect().await.map_err(lost)?.to_bytes();
        if !accepted {
            shared.refused.fetch_add(batch, Ordering::Relaxed);
            continue;
        }
        shared.accepted.fetch_add(batch, Ordering::Relaxed);
        record(&mut latencies, due.elapsed());
        if plan.stage == Stage::Whole {
            let mut settlements = lock(&shared.settlements);
            for position in positions(batch, &body)? {
                settlements.due(position, due);
            }
        }
    }
    lock(&shared.to_accepted)
        .add(&latencies)
        .map_err(|error| Failure::new(error.to_string()))
}
