//! The load: connections that publish, a clock that says when, and a listener that hears of settlements.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::server::{Server, cpu_seconds};
use crate::cli::Failure;

/// Requests that may be due and not yet taken by a connection: beyond it the clock waits, and the wait counts.
const DUE_MAX: usize = 65_536;
/// Flat out, one settlement of so many is timed.
const FLAT_OUT_SAMPLE: u64 = 64;
/// How long after the load the last settlements may take.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// How far events go.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Read and checked, for a bus that there isn't.
    Http,
    /// Stored, for no rule.
    Append,
    /// Stored, matched, handled, settled.
    Whole,
}

impl Stage {
    fn path(self) -> &'static str {
        match self {
            Self::Http => "/v1/buses/nowhere/events",
            Self::Append | Self::Whole => "/v1/events",
        }
    }

    fn kind(self) -> &'static str {
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
}

/// What was seen.
pub(super) struct Measured {
    pub(super) took: Duration,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) settled: u64,
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
    to_accepted: Mutex<Histogram<u64>>,
    settlements: Mutex<Settlements>,
}

/// Joins two streams: when an event was due, and when it was settled; either may come first.
struct Settlements {
    due: BTreeMap<u64, Instant>,
    early: BTreeMap<u64, Instant>,
    to_settled: Histogram<u64>,
}

/// Positions without their counterpart that are kept at most; the oldest go first, because flat out most
/// settlements are never told.
const UNJOINED_MAX: usize = 100_000;

impl Settlements {
    fn due(&mut self, position: u64, due: Instant) {
        match self.early.remove(&position) {
            Some(settled) => record(&mut self.to_settled, settled.saturating_duration_since(due)),
            None => keep(&mut self.due, position, due),
        }
    }

    fn settled(&mut self, position: u64, at: Instant) {
        match self.due.remove(&position) {
            Some(due) => record(&mut self.to_settled, at.saturating_duration_since(due)),
            None => keep(&mut self.early, position, at),
        }
    }
}

fn keep(unjoined: &mut BTreeMap<u64, Instant>, position: u64, at: Instant) {
    unjoined.insert(position, at);
    if unjoined.len() > UNJOINED_MAX {
        unjoined.pop_first();
    }
}

fn histogram() -> Result<Histogram<u64>, Failure> {
    // From 1 µs to 100 s with three digits.
    Histogram::new_with_bounds(1, 100_000_000, 3).map_err(|error| Failure::new(error.to_string()))
}

fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(
        u64::try_from(latency.as_micros())
            .unwrap_or(u64::MAX)
            .max(1),
    );
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
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
        to_accepted: Mutex::new(histogram()?),
        settlements: Mutex::new(Settlements {
            due: BTreeMap::new(),
            early: BTreeMap::new(),
            to_settled: histogram()?,
        }),
    });
    // Hearing of each settlement costs both sides processor time: flat out a sample is enough.
    let every = if plan.rate.is_some() {
        1
    } else {
        FLAT_OUT_SAMPLE
    };
    let listener = match plan.stage {
        Stage::Whole => Some(listen(server, shared.clone(), every).await?),
        _ => None,
    };
    let settled_before = server.counter("edgebus_attempts_total", "success").await?;
    let (server_before, client_before) = (server.cpu_seconds(), cpu_seconds("self"));
    let began = Instant::now();
    let end = began + duration;
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
    let took = began.elapsed();
    let settled = server.counter("edgebus_attempts_total", "success").await? - settled_before;
    let (server_cpu, client_cpu) = (
        server.cpu_seconds() - server_before,
        cpu_seconds("self") - client_before,
    );
    let accepted = shared.accepted.load(Ordering::Relaxed);
    let owed = if plan.stage == Stage::Whole {
        accepted
    } else {
        0
    };
    let mut all = settled;
    while all < owed && began.elapsed() < took + DRAIN_MAX {
        tokio::time::sleep(Duration::from_millis(5)).await;
        all = server.counter("edgebus_attempts_total", "success").await? - settled_before;
    }
    if all < owed {
        return Err(Failure::new(format!(
            "{} of {owed} accepted events were not settled within {} s",
            owed - all,
            DRAIN_MAX.as_secs()
        )));
    }
    let drained_after = began.elapsed().saturating_sub(took);
    if let Some(listener) = listener {
        // What is settled has been told; give the last lines a moment to arrive.
        let _ = tokio::time::timeout(Duration::from_millis(200), listener).await;
    }
    let (to_accepted, to_settled) = (
        lock(&shared.to_accepted).clone(),
        lock(&shared.settlements).to_settled.clone(),
    );
    Ok(Measured {
        took,
        accepted,
        refused: shared.refused.load(Ordering::Relaxed),
        settled,
        drained_after,
        to_accepted,
        to_settled,
        server_cpu,
        client_cpu,
    })
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

async fn connect(authority: &str) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let lost =
        |error: &dyn std::fmt::Display| Failure::new(format!("no connection to the bus: {error}"));
    let stream = TcpStream::connect(authority)
        .await
        .map_err(|error| lost(&error))?;
    stream.set_nodelay(true).map_err(|error| lost(&error))?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| lost(&error))?;
    tokio::spawn(async move {
        // An error shows at the sender's side as well.
        let _ = connection.await;
    });
    Ok(sender)
}

#[derive(serde::Deserialize)]
struct One {
    position: u64,
}

#[derive(serde::Deserialize)]
struct Many {
    results: Vec<One>,
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

fn positions(batch: u64, body: &[u8]) -> Result<Vec<u64>, Failure> {
    let unreadable =
        |error: serde_json::Error| Failure::new(format!("an answer that can't be read: {error}"));
    if batch == 1 {
        return Ok(vec![
            serde_json::from_slice::<One>(body)
                .map_err(unreadable)?
                .position,
        ]);
    }
    let many: Many = serde_json::from_slice(body).map_err(unreadable)?;
    Ok(many.results.into_iter().map(|one| one.position).collect())
}

fn request(authority: &str, number: u64, plan: &Plan) -> Result<Request<Full<Bytes>>, Failure> {
    let (batch, kind) = (plan.batch, plan.stage.kind());
    let room = (plan.bytes + 1) * usize::try_from(batch).unwrap_or(1) + 2;
    let mut body = String::with_capacity(room);
    let content_type = if batch == 1 {
        event(&mut body, number, kind, plan.bytes);
        "application/cloudevents+json"
    } else {
        for index in 0..batch {
            body.push(if index == 0 { '[' } else { ',' });
            event(&mut body, number + index, kind, plan.bytes);
        }
        body.push(']');
        "application/cloudevents-batch+json"
    };
    Request::post(plan.stage.path())
        .header("host", authority)
        .header("content-type", content_type)
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| Failure::new(error.to_string()))
}

/// Appends one event of `bytes` bytes: an order with lines, filled up by a note.
fn event(out: &mut String, number: u64, kind: &str, bytes: usize) {
    let start = out.len();
    // Writing into a String can't fail.
    let _ = write!(
        out,
        r#"{{"specversion":"1.0","id":"bench-{number}","source":"/bench","type":"{kind}","datacontenttype":"application/json","data":{{"kind":"order","number":{number},"customer":"c-{}","lines":[{{"sku":"A-{}","quantity":2,"cents":1999}},{{"sku":"B-{}","quantity":1,"cents":495}}],"note":""#,
        number % 5_000,
        number % 977,
        number % 331
    );
    let fill = bytes.saturating_sub(out.len() - start + 3);
    out.extend(std::iter::repeat_n('n', fill));
    out.push_str("\"}}");
}

/// Hears of each settlement as it happens.
async fn listen(
    server: &Server,
    shared: Arc<Shared>,
    every: u64,
) -> Result<tokio::task::JoinHandle<()>, Failure> {
    let mut connection = connect(&server.authority).await?;
    let request = Request::get(format!("/v1/deliveries/stream?every={every}"))
        .header("host", &server.authority)
        .body(Full::new(Bytes::new()))
        .map_err(|error| Failure::new(error.to_string()))?;
    let answer = connection
        .send_request(request)
        .await
        .map_err(|error| Failure::new(format!("no stream of settlements: {error}")))?;
    let mut body = answer.into_body();
    Ok(tokio::spawn(async move {
        // The connection lives as long as somebody reads from it.
        let _connection = connection;
        let mut rest = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            let at = Instant::now();
            let Some(data) = frame.data_ref() else {
                continue;
            };
            rest.extend_from_slice(data);
            let whole = rest
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1);
            let mut settlements = lock(&shared.settlements);
            for line in rest[..whole].split(|byte| *byte == b'\n') {
                if let Some(json) = line.strip_prefix(b"data:")
                    && let Ok(one) = serde_json::from_slice::<One>(json)
                {
                    settlements.settled(one.position, at);
                }
            }
            drop(settlements);
            rest.drain(..whole);
        }
    }))
}
