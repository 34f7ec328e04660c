//! The routes of one bus: publish on it, read and follow its log, explain its events.

use bytes::Bytes;
use serde::Serialize;

use super::error::Error;
use super::follow::Follow;
use super::request::{Client, read};
use super::routes::{path, queried};
use edgebus_api::{
    Accepted, AcceptedBatch, AcceptedEach, DEFAULT_BUS, Event, EventPage, EventQuery,
    EventStreamQuery, ExplainQuery, ExplainedEvent, StoredEvent,
};

/// The media type of one event in JSON.
pub const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

/// One bus of a node.
#[derive(Clone, Debug)]
pub struct Bus<'c> {
    client: &'c Client,
    /// Its log, as in `/v1/buses/default/events`.
    log: String,
}

impl Client {
    /// The bus of this name.
    #[must_use]
    pub fn bus(&self, name: &str) -> Bus<'_> {
        Bus {
            client: self,
            log: path(&["buses", name, "events"]),
        }
    }

    /// Publishes an event on the bus `default`. The answer means that it is on stable storage.
    ///
    /// # Errors
    /// The bus refuses, or nothing is known of the event: publish it again, it is taken once.
    pub async fn publish(&self, event: &Event) -> Result<Accepted, Error> {
        self.bus(DEFAULT_BUS).publish(event).await
    }
}

impl Bus<'_> {
    /// Publishes an event. The answer means that it is on stable storage.
    ///
    /// # Errors
    /// As [`Client::publish`].
    pub async fn publish(&self, event: &Event) -> Result<Accepted, Error> {
        self.publish_json(written(event)?).await
    }

    /// Publishes an event that is written in the JSON format already.
    ///
    /// # Errors
    /// As [`Client::publish`].
    pub async fn publish_json(&self, event: impl Into<Bytes>) -> Result<Accepted, Error> {
        let request = self.client.request("POST", &self.log);
        request.body(STRUCTURED, event).read().await
    }

    /// Publishes at most 1,000 events in one transaction: all of them, or none.
    ///
    /// # Errors
    /// As [`Client::publish`].
    pub async fn publish_batch(&self, events: &[Event]) -> Result<AcceptedBatch, Error> {
        let request = self.client.request("POST", &self.log);
        request.body(BATCH, written(events)?).read().await
    }

    /// Publishes those of at most 1,000 events that are fit, and says of each what became of it.
    ///
    /// # Errors
    /// As [`Client::publish`].
    pub async fn publish_lenient(&self, events: &[Event]) -> Result<AcceptedEach, Error> {
        let answer = self.publish_lenient_json(written(events)?).await?;
        read(&answer)
    }

    /// The same for a batch that is written in the JSON format already. The answer is an [`AcceptedEach`] as it
    /// came.
    ///
    /// # Errors
    /// As [`Client::publish`].
    pub async fn publish_lenient_json(&self, events: impl Into<Bytes>) -> Result<Bytes, Error> {
        let request = self.client.request("POST", &self.log);
        let request = request.header("prefer", "handling=lenient");
        request.body(BATCH, events).send().await
    }

    /// A page of the log.
    ///
    /// # Errors
    /// The bus refuses, or can't be reached.
    pub async fn events(&self, query: &EventQuery) -> Result<EventPage, Error> {
        let path = queried(&self.log, query)?;
        self.client.request("GET", path).read().await
    }

    /// One event of the log.
    ///
    /// # Errors
    /// There is none, or the bus can't be reached.
    pub async fn event(&self, position: u64) -> Result<StoredEvent, Error> {
        let path = format!("{}/{position}", self.log);
        self.client.request("GET", path).read().await
    }

    /// What the rules make of an event.
    ///
    /// # Errors
    /// There is no such event or rule, or the bus can't be reached.
    pub async fn explain(
        &self,
        position: u64,
        query: &ExplainQuery,
    ) -> Result<ExplainedEvent, Error> {
        let path = format!("{}/{position}/explain", self.log);
        let path = queried(&path, query)?;
        self.client.request("GET", path).read().await
    }

    /// Follows the log: its messages are [`StoredEvent`]s. It is opened by its first [`Follow::next`].
    ///
    /// # Errors
    /// The query can't be written.
    pub fn follow(&self, query: &EventStreamQuery) -> Result<Follow<StoredEvent>, Error> {
        let path = queried(&format!("{}/stream", self.log), query)?;
        Ok(Follow::new(self.client, path))
    }
}

fn written(value: &(impl Serialize + ?Sized)) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Unwritable(error.to_string()))
}
