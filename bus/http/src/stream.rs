//! Server-sent events: a bus's log from a position on, as it grows.
//!
//! A reader holds one page at most; the next is read when the socket has taken it. Keep-alive comments show
//! that the connection is alive while the log is quiet. The stream ends when the server stops. Clients then
//! reconnect with `Last-Event-ID`, as every browser does.

use bytes::Bytes;
use edgebus_api as api;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::call::{Answer, Call, written};
use super::problem::{Cause, Problem};
use super::sse::{self, KEEP_ALIVE};
use super::{App, events, page};
use edgebus_engine::bus::EventFilter;
use edgebus_model::{Name, Position};

/// `GET /v1/buses/{bus}/events/stream`; `Last-Event-ID` goes before `after`.
pub(super) async fn open(call: Call) -> Answer {
    let bus = call.name("bus")?;
    let query: api::EventStreamQuery = call.query()?;
    let filter = events::filter(&call.app, query.kind, query.pattern).await?;
    let after = match call.headers.get("last-event-id") {
        None => query.after.unwrap_or(0),
        Some(id) => id
            .to_str()
            .ok()
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| Problem::input_error("", "Last-Event-ID must be a position", ""))?,
    };
    let newest = call.app.bus.newest(bus.as_str(), Position(after)).await?;
    if after > newest.0 {
        return Err(Problem::new(
            Cause::PositionAhead,
            format!(
                "the log of bus `{bus}` ends at position {newest}, before {after}: it is another log than the one that was read; begin again after 0"
            ),
        ));
    }
    let Ok(place) = call.app.streams.clone().try_acquire_owned() else {
        return Err(Problem::busy("too many streams of events are open"));
    };
    let mut cursor = Cursor {
        app: call.app,
        bus,
        filter,
        after: Position(after),
        oldest: Position(1),
        rows: 1,
        _place: place,
    };
    // A missing bus is reported with a status, before the stream begins.
    let first = cursor.read().await?;
    Ok(sse::answer(
        Some(first).filter(|bytes| !bytes.is_empty()),
        cursor,
    ))
}

/// Where a reader is.
struct Cursor {
    app: App,
    bus: Name,
    filter: EventFilter,
    after: Position,
    /// The first position that retention had not reached when the reader was told of it last.
    oldest: Position,
    /// How many events are read at once.
    rows: usize,
    _place: OwnedSemaphorePermit,
}

impl Cursor {
    /// What the log has after this place, at most a page; empty if nothing.
    async fn read(&mut self) -> Result<Bytes, Problem> {
        let page = self
            .app
            .bus
            .events(self.bus.as_str(), self.after, self.rows, &self.filter)
            .await?;
        let mut out = Vec::new();
        if page.oldest > self.oldest && page.oldest.0 > self.after.0 + 1 {
            note_removed(&mut out, self.after, page.oldest);
            self.oldest = page.oldest;
        }
        let noted = out.len();
        for stored in page.items {
            let json = written(&events::stored(&stored));
            write_message(&mut out, stored.position, &json);
        }
        if page.seen > self.after && out.len() == noted {
            // No event matched. A reader that comes back need not read them again.
            out.extend_from_slice(format!("id: {}\n\n", page.seen).as_bytes());
        }
        self.after = page.seen;
        self.rows = page::rows_next(self.rows, out.len());
        Ok(Bytes::from(out))
    }
}

impl sse::Source for Cursor {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let mut stopping = self.app.stopping.clone();
        loop {
            let wait = self.app.bus.wait_for_event(self.bus.as_str(), self.after);
            tokio::select! {
                biased;
                // An error means that the server is gone, which is a stop too.
                _ = stopping.wait_for(|stop| *stop) => return None,
                grown = timeout(KEEP_ALIVE, wait) => match grown {
                    Err(_) => return Some((Bytes::from_static(b": still here\n\n"), self)),
                    Ok(Err(_)) => return None,
                    Ok(Ok(())) => {}
                },
            }
            let piece = self.read().await.ok()?;
            if !piece.is_empty() {
                return Some((piece, self));
            }
        }
    }
}

/// What a reader has not read and never will. Of these positions, events that something is pending for still come.
fn note_removed(out: &mut Vec<u8>, after: Position, oldest: Position) {
    let passed = oldest.0 - after.0 - 1;
    let words = format!(
        ": {passed} positions behind {after} were removed by retention; the oldest is {oldest}\n\n"
    );
    out.extend_from_slice(words.as_bytes());
}

/// One message. JSON holds line ends only between its tokens, so that cutting there changes no value.
fn write_message(out: &mut Vec<u8>, position: Position, json: &[u8]) {
    out.extend_from_slice(format!("id: {position}\n").as_bytes());
    for line in json.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_its_json_over_line_ends() {
        let mut out = Vec::new();
        write_message(&mut out, Position(7), b"{\"a\":\r\n 1}");
        assert_eq!(out, b"id: 7\ndata: {\"a\":\ndata: \ndata:  1}\n\n");
    }
}
