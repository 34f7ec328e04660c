//! Server-sent events of what happens to deliveries, as their settlements become durable.
//!
//! A live view, not a log: a reader that falls behind misses the oldest entries, and a comment says how many.
//! Read the deliveries for what happened before.

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{Receiver, error::RecvError, error::TryRecvError};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::call::{Answer, Call};
use super::json::Object;
use super::problem::Problem;
use super::sse::{self, KEEP_ALIVE};
use edgebus_engine::bus::{AttemptEnded, TelemetryEvent};

/// The thinnest sample.
pub(super) const EVERY_MAX: u64 = 1_000_000;
/// Bytes after which a frame is sent, although more is waiting.
const FRAME_BYTES: usize = 64 << 10;

/// The comment that tells a quiet stream from a broken line.
const QUIET: &[u8] = b": quiet\n\n";

/// `GET /v1/deliveries/stream?every=&function=&rule=&output=`: one event for each attempt that ends, or
/// for one of so many; with `output`, what the function wrote is in it.
pub(super) async fn open(call: Call) -> Answer {
    let query = call.query(&["every", "function", "rule", "output"])?;
    let every = query.number("every", 1, EVERY_MAX)?.unwrap_or(1);
    let Ok(place) = call.app.streams.clone().try_acquire_owned() else {
        return Err(Problem::busy("too many streams of events are open"));
    };
    let source = LiveStream {
        told: call.app.bus.listen(),
        stopping: call.app.stopping.clone(),
        every,
        function: query.get("function").map(str::to_owned),
        rule: query.get("rule").map(str::to_owned),
        output: query.flag("output")?,
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
        // Counted from the last piece, because much may happen that this reader does not want.
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
            write_attempt(out, attempt, self.output);
            out.extend_from_slice(b"\n\n");
        }
    }
}

fn note_lost(out: &mut Vec<u8>, lost: u64) {
    out.extend_from_slice(format!(": {lost} lost, this reader is too slow\n\n").as_bytes());
}

fn write_attempt(out: &mut Vec<u8>, attempt: &AttemptEnded, output: bool) {
    let mut object = Object::new(out);
    object.shown("id", &attempt.key);
    object.text("bus", &attempt.bus);
    object.number("position", attempt.key.position.0);
    object.text("type", &attempt.kind);
    object.text("rule", &attempt.rule);
    object.text("function", &attempt.function);
    object.number("attempt", u64::from(attempt.attempt));
    object.shown("started_at", &attempt.started_at);
    object.text("outcome", attempt.outcome.class());
    if let Some(code) = attempt.outcome.code() {
        object.text("code", code.as_str());
    }
    if !attempt.outcome.is_success() {
        object.shown("message", &attempt.outcome);
    }
    object.number("duration_us", attempt.duration_us);
    object.number("age_ms", attempt.age_ms);
    if let Some(at) = attempt.retry_at {
        object.shown("retry_at", &at);
    }
    if let Some(reason) = attempt.dead {
        object.text("reason", reason.word());
        object.text("reason_code", reason.code().as_str());
    }
    if output {
        object.text("output", &attempt.output);
    }
    object.end();
}
