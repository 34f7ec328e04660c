//! Events on their way into requests: batches within the bus's limits, and what became of them.
//!
//! Never here: where events come from, and a repeat of a request that failed.

use bytes::Bytes;

use crate::Failure;
use crate::client::{self, Client};
use crate::output::Progress;
use edgebus_http::wire;
use edgebus_model::Event;
use edgebus_model::limits::BATCH_BYTES_MAX;

/// Room that a batch keeps for brackets and commas, in bytes.
const BATCH_SLACK: usize = 4 << 10;

/// What a run came to.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) accepted: u64,
    pub(super) duplicates: u64,
    pub(super) requests: u64,
}

/// A batch that fills, and the tally of those that were sent.
pub(super) struct Outbox<'a> {
    client: &'a Client,
    path: String,
    batch_events: u64,
    progress: &'a Progress,
    body: Vec<u8>,
    waiting: u64,
    pub(super) tally: Tally,
}

#[derive(serde::Deserialize)]
struct Results {
    results: Vec<Accepted>,
}

#[derive(serde::Deserialize)]
struct Accepted {
    duplicate: bool,
}

impl<'a> Outbox<'a> {
    /// An empty one that posts to `path`, `batch_events` at a time.
    pub(super) fn new(
        client: &'a Client,
        path: String,
        batch_events: u64,
        progress: &'a Progress,
    ) -> Self {
        Self {
            client,
            path,
            batch_events,
            progress,
            body: Vec::new(),
            waiting: 0,
            tally: Tally::default(),
        }
    }

    /// Takes an event, and sends the batch where it is full.
    pub(super) async fn add(&mut self, event: &Event) -> Result<(), Failure> {
        let mut encoded = Vec::new();
        wire::encode(&mut encoded, event);
        if self.body.len() + encoded.len() + BATCH_SLACK > BATCH_BYTES_MAX {
            self.flush().await?;
        }
        self.body.push(if self.waiting == 0 { b'[' } else { b',' });
        self.body.extend_from_slice(&encoded);
        self.waiting += 1;
        if self.waiting >= self.batch_events {
            self.flush().await?;
        }
        Ok(())
    }

    /// Sends what waits, if anything does.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        if self.waiting == 0 {
            return Ok(());
        }
        self.body.push(b']');
        let body = Bytes::from(std::mem::take(&mut self.body));
        let content_type = "application/cloudevents-batch+json";
        let answer = self.client.post(&self.path, content_type, body).await?;
        let results: Results = client::read(&answer)?;
        let results = results.results.iter();
        self.tally.accepted += self.waiting;
        self.tally.duplicates += results.filter(|accepted| accepted.duplicate).count() as u64;
        self.tally.requests += 1;
        self.waiting = 0;
        self.progress
            .detail(&format!("{} events", self.tally.accepted));
        Ok(())
    }
}
