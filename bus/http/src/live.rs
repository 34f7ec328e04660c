//! Server-sent events of what happens to deliveries, as their settlements become durable.
//!
//! A live view, not a log: a reader that falls behind misses the oldest entries, and a comment says how many.
//! Read the deliveries for what happened before.

use bytes::Bytes;
use edgebus_api as api;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{Receiver, error::RecvError, error::TryRecvError};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::call::{Answer, Call, written};
use super::problem::Problem;
use super::sse::{self, KEEP_ALIVE};
use edgebus_engine::bus::{AttemptEnded, TelemetryEvent};

/// Bytes after which a frame is sent, although more is waiting.
const FRAME_BYTES: usize = 64 << 10;

/// The comment that shows that a quiet stream is still connected.
const QUIET: &[u8] = b": quiet\n\n";

/// `GET /v1/deliveries/stream`: one event for each attempt that ends, or
/// for one of so many; with `output`, what the function wrote is in it.
pub(super) async fn open(call: Call) -> Answer {
    let query: api::DeliveryStreamQuery = call.query()?;
    let Ok(place) = call.app.streams.clone().try_acquire_owned() else {
        return Err(Problem::busy("too many streams of events are open"));
    };
    let source = LiveStream {
        told: call.app.bus.listen(),
        stopping: call.app.stopping.clone(),
        every: query.every.unwrap_or(1),
        function: query.function,
        rule: query.rule,
        output: query.output.unwrap_or(false),
        seen: 0,
        _place: place,
    };
    Ok(sse::answer(None, source))
}

struct LiveStream {
    told: Receiver<TelemetryEvent>,
    stopping: watch::Receiver<bool>,
    every: u64,
    /// Only attempts of this function.
    function: Option<String>,
    /// Only attempts of this rule's deliveries.
    rule: Option<String>,
    /// Whether to send what functions wrote.
    output: bool,
    seen: u64,
    _place: OwnedSemaphorePermit,
}

impl sse::Source for LiveStream {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let mut out = Vec::new();
        // Counted from the last piece that was sent, because most events may not be for this reader.
        let quiet_at = Instant::now() + KEEP_ALIVE;
        while out.is_empty() {
            let told = tokio::select! {
                told = timeout_at(quiet_at, self.told.recv()) => told,
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            };
            match told {
                Err(_) => out.extend_from_slice(QUIET),
                Ok(Ok(telemetry_event)) => self.write(&mut out, &telemetry_event),
                Ok(Err(RecvError::Lagged(lost))) => note_lost(&mut out, lost),
                Ok(Err(RecvError::Closed)) => return None,
            }
            while out.len() < FRAME_BYTES {
                match self.told.try_recv() {
                    Ok(telemetry_event) => self.write(&mut out, &telemetry_event),
                    Err(TryRecvError::Lagged(lost)) => note_lost(&mut out, lost),
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
                if Instant::now() >= quiet_at {
                    break;
                }
            }
            if out.is_empty() && Instant::now() >= quiet_at {
                out.extend_from_slice(QUIET);
            }
        }
        Some((Bytes::from(out), self))
    }
}

impl LiveStream {
    fn write(&mut self, out: &mut Vec<u8>, telemetry_event: &TelemetryEvent) {
        let TelemetryEvent::Attempt(attempt) = telemetry_event else {
            return;
        };
        let is = |wanted: &Option<String>, name: &String| {
            wanted.as_ref().is_none_or(|wanted| wanted == name)
        };
        if !is(&self.function, &attempt.function) || !is(&self.rule, &attempt.rule) {
            return;
        }
        self.seen += 1;
        if self.seen.is_multiple_of(self.every) {
            out.extend_from_slice(b"event: attempt\ndata: ");
            out.extend_from_slice(&written(&shown(attempt, self.output)));
            out.extend_from_slice(b"\n\n");
        }
    }
}

fn note_lost(out: &mut Vec<u8>, lost: u64) {
    out.extend_from_slice(format!(": {lost} lost, this reader is too slow\n\n").as_bytes());
}

fn shown(attempt: &AttemptEnded, output: bool) -> api::AttemptEnded {
    let outcome = &attempt.outcome;
    let dead = attempt.dead;
    api::AttemptEnded {
        id: attempt.key.to_string(),
        bus: attempt.bus.to_string(),
        position: attempt.key.position.0,
        kind: attempt.kind.clone(),
        rule: attempt.rule.clone(),
        target: api::TargetName::of("function", &attempt.function),
        attempt: u64::from(attempt.attempt),
        started_at: attempt.started_at.to_string(),
        outcome: api::Outcome::from(outcome.class()),
        code: outcome.code().map(|code| code.as_str().to_owned()),
        message: (!outcome.is_success()).then(|| outcome.to_string()),
        duration_us: attempt.duration_us,
        age_ms: attempt.age_ms,
        retry_at: attempt.retry_at.map(|at| at.to_string()),
        reason: dead.map(|reason| api::DeadReason::from(reason.word())),
        reason_code: dead.map(|reason| reason.code().as_str().to_owned()),
        output: output.then(|| attempt.output.clone()),
    }
}
