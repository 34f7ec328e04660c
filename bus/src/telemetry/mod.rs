//! What happens, told: one struct for each thing that happens, with its metric, its log line and its
//! place in the live stream that `demo` and `dev` print.
//!
//! Never here: decisions, or labels without a bound.

mod tallies;

use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::sync::broadcast;

use crate::model::{DeadReason, DeliveryKey, Outcome, Position, SubscriptionId, Timestamp};
use tallies::Tallies;

pub use tallies::Tally;

/// Things that the live stream keeps for a slow listener before it loses the oldest.
const STREAM_KEPT_MAX: usize = 4096;

/// An event was accepted.
#[derive(Clone, Debug)]
pub struct EventAccepted {
    /// The bus's name.
    pub bus: Arc<str>,
    /// Its place.
    pub position: Position,
    /// Its `type`.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// The labels of the subscriptions that get it.
    pub subscriptions: Vec<String>,
}

/// An attempt ended and its settlement is on stable storage.
#[derive(Clone, Debug)]
pub struct AttemptEnded {
    /// Which delivery.
    pub key: DeliveryKey,
    /// The bus's name.
    pub bus: Arc<str>,
    /// The event's type.
    pub kind: String,
    /// The rule.
    pub rule: String,
    /// The function.
    pub function: String,
    /// Counts from 1.
    pub attempt: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it ran, in microseconds.
    pub duration_us: u64,
    /// From acceptance to settlement, in milliseconds.
    pub age_ms: u64,
    /// How many new events it emitted; they are told after it.
    pub emitted: usize,
    /// When it is tried again.
    pub retry_at: Option<Timestamp>,
    /// Why it is a dead letter.
    pub dead: Option<DeadReason>,
    /// What the function wrote.
    pub output: String,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Happening {
    /// An event was accepted.
    Accepted(EventAccepted),
    /// An attempt ended.
    Attempt(Box<AttemptEnded>),
}

/// Metrics and the live stream; shared by everything that has something to tell.
pub struct Telemetry {
    stream: broadcast::Sender<Happening>,
    metrics: PrometheusHandle,
    accepted: Counter,
    duplicates: Counter,
    refused: Counter,
    emitted: Counter,
    attempts: Vec<(&'static str, Counter)>,
    dead: Counter,
    retries: Counter,
    harmed: Counter,
    commits: Counter,
    commit_seconds: Histogram,
    commit_steps: Histogram,
    attempt_seconds: Histogram,
    delivery_seconds: Histogram,
    in_memory: Gauge,
    in_flight: Gauge,
    leased_bytes: Gauge,
    disk_free: Gauge,
    tallies: Tallies,
}

impl Telemetry {
    /// Fresh metrics, all at zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let builder = PrometheusBuilder::new();
        // Buckets are constants of this file, so this can't fail; without them histograms become summaries.
        let recorder = builder
            .set_buckets(&[
                0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0,
            ])
            .map_or_else(
                |_| PrometheusBuilder::new().build_recorder(),
                PrometheusBuilder::build_recorder,
            );
        let metadata = Metadata::new("edgebus", Level::INFO, None);
        let describe = |name: &'static str, text: &'static str| {
            recorder.describe_counter(KeyName::from(name), None, text.into());
        };
        describe(
            "edgebus_events_accepted_total",
            "Published events that were stored.",
        );
        describe(
            "edgebus_events_duplicate_total",
            "Published events that were known by (source, id).",
        );
        describe(
            "edgebus_publishes_refused_total",
            "Publish requests refused for want of room.",
        );
        describe(
            "edgebus_events_emitted_total",
            "Events that functions emitted.",
        );
        describe("edgebus_attempts_total", "Ended attempts by outcome.");
        describe(
            "edgebus_dead_letters_total",
            "Deliveries that ended without success.",
        );
        describe("edgebus_retries_total", "Retries that were scheduled.");
        describe(
            "edgebus_harmed_records_total",
            "Stored records that failed their checksum.",
        );
        describe("edgebus_commits_total", "Transactions of the writer.");
        let counter =
            |name: &'static str| recorder.register_counter(&Key::from_static_name(name), &metadata);
        let histogram = |name: &'static str| {
            recorder.register_histogram(&Key::from_static_name(name), &metadata)
        };
        Arc::new(Self {
            stream: broadcast::Sender::new(STREAM_KEPT_MAX),
            accepted: counter("edgebus_events_accepted_total"),
            duplicates: counter("edgebus_events_duplicate_total"),
            refused: counter("edgebus_publishes_refused_total"),
            emitted: counter("edgebus_events_emitted_total"),
            attempts: Outcome::CLASSES
                .iter()
                .map(|class| {
                    let key = Key::from_parts(
                        "edgebus_attempts_total",
                        vec![Label::new("outcome", *class)],
                    );
                    (*class, recorder.register_counter(&key, &metadata))
                })
                .collect(),
            dead: counter("edgebus_dead_letters_total"),
            retries: counter("edgebus_retries_total"),
            harmed: counter("edgebus_harmed_records_total"),
            commits: counter("edgebus_commits_total"),
            commit_seconds: histogram("edgebus_commit_seconds"),
            commit_steps: histogram("edgebus_commit_steps"),
            attempt_seconds: histogram("edgebus_attempt_seconds"),
            delivery_seconds: histogram("edgebus_delivery_seconds"),
            in_memory: recorder.register_gauge(
                &Key::from_static_name("edgebus_deliveries_in_memory"),
                &metadata,
            ),
            in_flight: recorder.register_gauge(
                &Key::from_static_name("edgebus_attempts_in_flight"),
                &metadata,
            ),
            leased_bytes: recorder.register_gauge(
                &Key::from_static_name("edgebus_attempts_memory_bytes"),
                &metadata,
            ),
            disk_free: recorder
                .register_gauge(&Key::from_static_name("edgebus_disk_free_bytes"), &metadata),
            metrics: recorder.handle(),
            tallies: Tallies::default(),
        })
    }

    /// The live stream from now on; a listener that falls behind loses the oldest, never holds up the bus.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Happening> {
        self.stream.subscribe()
    }

    /// True if somebody listens, so that telling is worth building the words.
    #[must_use]
    pub fn heard(&self) -> bool {
        self.stream.receiver_count() > 0
    }

    /// Tells the live stream.
    pub fn tell(&self, happening: Happening) {
        // No listener is the usual case and no fault.
        let _ = self.stream.send(happening);
    }

    /// Counts accepted events and duplicates of one append.
    pub fn count_accepted(&self, accepted: u64, duplicates: u64) {
        self.accepted.increment(accepted);
        if duplicates > 0 {
            self.duplicates.increment(duplicates);
        }
    }

    /// Counts a publish that was refused for want of room.
    pub fn count_refused(&self) {
        self.refused.increment(1);
    }

    /// Counts events that a settlement emitted.
    pub fn count_emitted(&self, events: u64) {
        if events > 0 {
            self.emitted.increment(events);
        }
    }

    /// Counts an ended attempt.
    pub fn count_attempt(
        &self,
        subscription: SubscriptionId,
        outcome: &Outcome,
        duration_us: u64,
        age_ms: u64,
        retry: bool,
        dead: bool,
    ) {
        let class = outcome.class();
        if let Some((_, counter)) = self.attempts.iter().find(|(name, _)| *name == class) {
            counter.increment(1);
        }
        self.attempt_seconds
            .record(std::time::Duration::from_micros(duration_us));
        if retry {
            self.retries.increment(1);
        } else {
            self.delivery_seconds
                .record(std::time::Duration::from_millis(age_ms));
        }
        if dead {
            self.dead.increment(1);
        }
        self.tallies.count(subscription, retry, dead, duration_us);
    }

    /// What a subscription's deliveries came to since this process started.
    #[must_use]
    pub fn tally(&self, subscription: SubscriptionId) -> Tally {
        self.tallies.of(subscription)
    }

    /// Counts a record that failed its checksum.
    pub fn count_harmed(&self, what: &str) {
        self.harmed.increment(1);
        tracing::error!(%what, "a stored record is harmed and was not used; run `edgebus fsck`");
    }

    /// Counts a transaction of `steps` steps.
    pub fn count_commit(&self, steps: usize, took: std::time::Duration) {
        self.commits.increment(1);
        self.commit_seconds.record(took);
        self.commit_steps
            .record(u32::try_from(steps).unwrap_or(u32::MAX));
    }

    /// Sets how many deliveries are in memory.
    pub fn set_in_memory(&self, deliveries: usize) {
        self.in_memory
            .set(f64::from(u32::try_from(deliveries).unwrap_or(u32::MAX)));
    }

    /// Sets how many attempts are in flight, and the memory in bytes that they may use.
    pub fn set_in_flight(&self, attempts: usize, leased_bytes: u64) {
        self.in_flight
            .set(f64::from(u32::try_from(attempts).unwrap_or(u32::MAX)));
        // A gauge is a float; bytes are exact up to 2^53.
        self.leased_bytes.set(leased_bytes as f64);
    }

    /// Sets how much is free on the store's disk, in bytes.
    pub fn set_disk_free(&self, bytes: u64) {
        self.disk_free.set(bytes as f64);
    }

    /// Folds what was recorded into the buckets, so that nothing piles up between two scrapes.
    pub fn upkeep(&self) {
        self.metrics.run_upkeep();
    }

    /// The metrics as Prometheus text.
    #[must_use]
    pub fn render(&self) -> String {
        self.metrics.run_upkeep();
        self.metrics.render()
    }
}
