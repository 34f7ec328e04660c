//! Settlements: listens for them and joins them with the times at which their events were due.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::Request;

use super::latency::{histogram, lock, record};
use super::requests::{One, connect};
use super::server::Server;
use crate::Failure;

/// Joins two streams: when an event was due, and when it was settled; either may come first.
pub(super) struct Settlements {
    due: BTreeMap<u64, Instant>,
    early: BTreeMap<u64, Instant>,
    to_settled: Histogram<u64>,
}

/// Positions without their counterpart that are kept at most; the oldest go first, because flat out most
/// settlements are not sampled.
const UNJOINED_MAX: usize = 100_000;

impl Settlements {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {
            due: BTreeMap::new(),
            early: BTreeMap::new(),
            to_settled: histogram()?,
        })
    }

    pub(super) fn due(&mut self, position: u64, due: Instant) {
        match self.early.remove(&position) {
            Some(settled) => record(&mut self.to_settled, settled.saturating_duration_since(due)),
            None => keep(&mut self.due, position, due),
        }
    }

    /// An event that was due and never sent: its latency is at least what it has waited.
    pub(super) fn never(&mut self, due: Instant) {
        record(&mut self.to_settled, due.elapsed());
    }

    /// The latencies; with `waiting`, what is not settled counts with the time that it has waited.
    pub(super) fn end(&mut self, waiting: bool) -> Histogram<u64> {
        if waiting {
            for due in std::mem::take(&mut self.due).into_values() {
                record(&mut self.to_settled, due.elapsed());
            }
        }
        self.to_settled.clone()
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

/// Hears of each settlement as it happens, or of one of so many; of one function's or of all.
pub(super) async fn listen(
    server: &Server,
    settlements: Arc<Mutex<Settlements>>,
    every: u64,
    function: Option<&str>,
) -> Result<tokio::task::JoinHandle<()>, Failure> {
    let mut connection = connect(&server.authority).await?;
    let mut path = format!("/v1/deliveries/stream?every={every}");
    if let Some(function) = function {
        path.push_str("&function=");
        path.push_str(function);
    }
    let request = Request::get(path)
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
            let mut joined = lock(&settlements);
            for line in rest[..whole].split(|byte| *byte == b'\n') {
                if let Some(json) = line.strip_prefix(b"data:")
                    && let Ok(one) = serde_json::from_slice::<One>(json)
                {
                    joined.settled(one.position, at);
                }
            }
            drop(joined);
            rest.drain(..whole);
        }
    }))
}
