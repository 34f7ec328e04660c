//! Events for metrics and the live stream: one struct for each kind, with its metric, its log line and its
//! place in the live stream that `demo` and `dev` print.
//!
//! Never here: decisions, or labels without a bound.

mod subscription_counters;

use std::sync::{Arc, OnceLock};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::sync::broadcast;

use edgebus_model::{DeadReason, DeliveryKey, Outcome, Position, SubscriptionId, Timestamp};
use subscription_counters::CounterMap;

pub use subscription_counters::SubscriptionCounters;

/// Things that the live stream keeps for a slow listener before it loses the oldest.
const STREAM_KEPT_MAX: usize = 4096;

/// Upper ends of the buckets of times, in seconds.
const SECONDS: [f64; 12] = [
    0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0,
];
/// Upper ends of the buckets of steps in one transaction.
const STEPS: [f64; 10] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0,
];
/// The histogram that counts steps; all others are of times.
const COMMIT_STEPS: &str = "edgebus_commit_steps";

/// What counters count.
const COUNTERS: [(&str, &str); 12] = [
    (
        "edgebus_events_accepted_total",
        "Published events that were stored.",
    ),
    (
        "edgebus_events_duplicate_total",
        "Published events that were known by (source, id).",
    ),
    (
        "edgebus_events_id_reused_total",
        "Events refused because their (source, id) is known with another type, subject or data.",
    ),
    (
        "edgebus_publishes_refused_total",
        "Publish requests refused for want of room.",
    ),
    (
        "edgebus_filter_budgets_used_up_total",
        "Events whose where filters took more steps than they may: some rules didn't match for that.",
    ),
    (
        "edgebus_events_emitted_total",
        "Events that functions emitted.",
    ),
    ("edgebus_attempts_total", "Ended attempts by outcome."),
    (
        "edgebus_dead_letters_total",
        "Deliveries that ended without success.",
    ),
    ("edgebus_retries_total", "Retries that were scheduled."),
    (
        "edgebus_corrupt_records_found_total",
        "Corrupt records that were found, whatever became of them.",
    ),
    ("edgebus_commits_total", "Transactions of the writer."),
    (
        "edgebus_clock_jumps_total",
        "Jumps of the machine's wall clock by more than a minute.",
    ),
];
/// What gauges show.
const GAUGES: [(&str, &str); 9] = [
    (
        "edgebus_corrupt_records",
        "Corrupt records that are known and not in quarantine.",
    ),
    (
        "edgebus_quarantined_records",
        "Records in quarantine; `edgebus fsck` lists them.",
    ),
    ("edgebus_attempts_in_flight", "Attempts that run."),
    (
        "edgebus_attempts_memory_bytes",
        "Memory that the attempts that run may use.",
    ),
    (
        "edgebus_deliveries_in_memory",
        "Deliveries that are ready or running.",
    ),
    (
        "edgebus_deliveries",
        "Deliveries in the store that did not succeed: pending, waiting for a due time, dead.",
    ),
    (
        "edgebus_writer_inbox_steps",
        "Steps that wait for the writer.",
    ),
    ("edgebus_store_bytes", "Bytes of the store's file."),
    (
        "edgebus_disk_free_bytes",
        "Free bytes on the disk of the store.",
    ),
];
/// What histograms measure.
const HISTOGRAMS: [(&str, &str); 5] = [
    (
        "edgebus_commit_seconds",
        "How long transactions took, the flush included.",
    ),
    (COMMIT_STEPS, "Steps in one transaction."),
    (
        "edgebus_commit_queue_seconds",
        "How long the first step of a transaction waited for the writer.",
    ),
    ("edgebus_attempt_seconds", "How long attempts took."),
    (
        "edgebus_delivery_seconds",
        "From an event's acceptance to the end of its delivery.",
    ),
];

/// What the disk has, looked at when metrics are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disk {
    /// Bytes of the store's file.
    pub store_bytes: u64,
    /// Free bytes on its disk.
    pub free_bytes: u64,
}

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
    /// The names of the subscriptions that get it.
    pub subscriptions: Vec<String>,
    /// The rules that those belong to, each once.
    pub rules: Vec<String>,
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
pub enum TelemetryEvent {
    /// An event was accepted.
    Accepted(EventAccepted),
    /// An attempt ended.
    Attempt(Box<AttemptEnded>),
}

/// Metrics and the live stream; shared by everything that has something to tell.
pub struct Telemetry {
    stream: broadcast::Sender<TelemetryEvent>,
    metrics: PrometheusHandle,
    accepted: Counter,
    duplicates: Counter,
    reused: Counter,
    refused: Counter,
    filters_used_up: Counter,
    emitted: Counter,
    attempts: Vec<(&'static str, Counter)>,
    dead: Counter,
    retries: Counter,
    corrupt_found: Counter,
    corrupt: Gauge,
    in_quarantine: Gauge,
    commits: Counter,
    clock_jumps: Counter,
    commit_seconds: Histogram,
    commit_steps: Histogram,
    commit_queue_seconds: Histogram,
    attempt_seconds: Histogram,
    delivery_seconds: Histogram,
    in_memory: Gauge,
    in_flight: Gauge,
    leased_bytes: Gauge,
    inbox: Gauge,
    store_bytes: Gauge,
    free_bytes: Gauge,
    /// Looks at the disk; set once, at the start.
    disk: OnceLock<Box<dyn Fn() -> Disk + Send + Sync>>,
    /// What is shown of functions; set once, at the start.
    of_functions: OnceLock<Box<dyn Fn() -> String + Send + Sync>>,
    /// One for each state of a delivery that did not succeed.
    deliveries: Vec<Gauge>,
    /// One for each state of a function.
    functions: Vec<Gauge>,
    counter_map: CounterMap,
}

impl Telemetry {
    /// Fresh metrics, all at zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        // Buckets are constants of this file, so this can't fail; without them histograms become summaries.
        let recorder = PrometheusBuilder::new()
            .set_buckets(&SECONDS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Full(COMMIT_STEPS.to_owned()), &STEPS)
            })
            .map_or_else(
                |_| PrometheusBuilder::new().build_recorder(),
                PrometheusBuilder::build_recorder,
            );
        let metadata = Metadata::new("edgebus", Level::INFO, None);
        for (name, text) in COUNTERS {
            recorder.describe_counter(KeyName::from(name), None, text.into());
        }
        for (name, text) in GAUGES {
            recorder.describe_gauge(KeyName::from(name), None, text.into());
        }
        for (name, text) in HISTOGRAMS {
            recorder.describe_histogram(KeyName::from(name), None, text.into());
        }
        let counter =
            |name: &'static str| recorder.register_counter(&Key::from_static_name(name), &metadata);
        let histogram = |name: &'static str| {
            recorder.register_histogram(&Key::from_static_name(name), &metadata)
        };
        let gauge =
            |name: &'static str| recorder.register_gauge(&Key::from_static_name(name), &metadata);
        Arc::new(Self {
            stream: broadcast::Sender::new(STREAM_KEPT_MAX),
            accepted: counter("edgebus_events_accepted_total"),
            duplicates: counter("edgebus_events_duplicate_total"),
            reused: counter("edgebus_events_id_reused_total"),
            refused: counter("edgebus_publishes_refused_total"),
            filters_used_up: counter("edgebus_filter_budgets_used_up_total"),
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
            corrupt_found: counter("edgebus_corrupt_records_found_total"),
            corrupt: gauge("edgebus_corrupt_records"),
            in_quarantine: gauge("edgebus_quarantined_records"),
            commits: counter("edgebus_commits_total"),
            clock_jumps: counter("edgebus_clock_jumps_total"),
            commit_seconds: histogram("edgebus_commit_seconds"),
            commit_steps: histogram(COMMIT_STEPS),
            commit_queue_seconds: histogram("edgebus_commit_queue_seconds"),
            attempt_seconds: histogram("edgebus_attempt_seconds"),
            delivery_seconds: histogram("edgebus_delivery_seconds"),
            in_memory: gauge("edgebus_deliveries_in_memory"),
            in_flight: gauge("edgebus_attempts_in_flight"),
            leased_bytes: gauge("edgebus_attempts_memory_bytes"),
            inbox: gauge("edgebus_writer_inbox_steps"),
            store_bytes: gauge("edgebus_store_bytes"),
            free_bytes: gauge("edgebus_disk_free_bytes"),
            disk: OnceLock::new(),
            of_functions: OnceLock::new(),
            deliveries: ["pending", "waiting", "dead"]
                .iter()
                .map(|state| {
                    let label = vec![Label::new("state", *state)];
                    let key = Key::from_parts("edgebus_deliveries", label);
                    recorder.register_gauge(&key, &metadata)
                })
                .collect(),
            functions: ["ready", "compiling", "unavailable"]
                .iter()
                .map(|state| {
                    let label = vec![Label::new("state", *state)];
                    let key = Key::from_parts("edgebus_functions", label);
                    recorder.register_gauge(&key, &metadata)
                })
                .collect(),
            metrics: recorder.handle(),
            counter_map: CounterMap::default(),
        })
    }

    /// The live stream from now on; a listener that falls behind loses the oldest, never holds up the bus.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<TelemetryEvent> {
        self.stream.subscribe()
    }

    /// True if somebody listens; otherwise no message needs to be built.
    #[must_use]
    pub fn has_listeners(&self) -> bool {
        self.stream.receiver_count() > 0
    }

    /// Publishes to the live stream.
    pub fn publish(&self, telemetry_event: TelemetryEvent) {
        // No listener is the usual case and no error.
        let _ = self.stream.send(telemetry_event);
    }

    /// Counts accepted events and duplicates of one append.
    pub fn count_accepted(&self, accepted: u64, duplicates: u64) {
        self.accepted.increment(accepted);
        if duplicates > 0 {
            self.duplicates.increment(duplicates);
        }
    }

    /// Counts events whose (source, id) is another event's.
    pub fn count_reused(&self, events: u64) {
        self.reused.increment(events);
    }

    /// Counts a publish that was refused for want of room.
    pub fn count_refused(&self) {
        self.refused.increment(1);
    }

    /// Counts an event whose filters used up their steps, if they did.
    pub fn count_filters(&self, used_up: bool) {
        if used_up {
            self.filters_used_up.increment(1);
        }
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
        self.counter_map
            .count(subscription, retry, dead, duration_us);
    }

    /// What a subscription's deliveries came to since this process started.
    #[must_use]
    pub fn subscription_counters(&self, subscription: SubscriptionId) -> SubscriptionCounters {
        self.counter_map.of(subscription)
    }

    /// Says how many corrupt records were found since the start, how many of them are not in quarantine,
    /// and how many records are.
    pub fn set_corrupt(&self, found: u64, known: u64, in_quarantine: u64) {
        let gauge = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        self.corrupt_found.absolute(found);
        self.corrupt.set(gauge(known));
        self.in_quarantine.set(gauge(in_quarantine));
    }

    /// Counts a jump of the machine's wall clock.
    pub fn count_clock_jump(&self) {
        self.clock_jumps.increment(1);
    }

    /// Counts a transaction of `steps` steps, the first of which had `waited` for it; `left` wait for
    /// the next.
    pub fn count_commit(
        &self,
        steps: usize,
        waited: std::time::Duration,
        took: std::time::Duration,
        left: usize,
    ) {
        self.commits.increment(1);
        self.commit_queue_seconds.record(waited);
        self.inbox
            .set(f64::from(u32::try_from(left).unwrap_or(u32::MAX)));
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

    /// Looks at the disk with `look` whenever metrics are read; the first one given counts.
    pub fn watch_disk(&self, look: impl Fn() -> Disk + Send + Sync + 'static) {
        let _ = self.disk.set(Box::new(look));
    }

    /// Adds the Prometheus text that `show` gives whenever metrics are read; the first one given counts.
    pub fn watch_functions(&self, show: impl Fn() -> String + Send + Sync + 'static) {
        let _ = self.of_functions.set(Box::new(show));
    }

    /// Sets how many deliveries in the store are pending, waiting and dead.
    pub fn set_deliveries(&self, counts: [u64; 3]) {
        for (gauge, count) in self.deliveries.iter().zip(counts) {
            // Exact up to 2^53.
            gauge.set(count as f64);
        }
    }

    /// Sets how many functions are ready, compiling and unavailable.
    pub fn set_functions(&self, counts: [u32; 3]) {
        for (gauge, count) in self.functions.iter().zip(counts) {
            gauge.set(f64::from(count));
        }
    }

    /// Folds what was recorded into the buckets, so that nothing piles up between two scrapes.
    pub fn upkeep(&self) {
        self.metrics.run_upkeep();
    }

    /// The metrics as Prometheus text.
    #[must_use]
    pub fn render(&self) -> String {
        if let Some(look) = self.disk.get() {
            let disk = look();
            // Exact up to 8 PiB.
            self.store_bytes.set(disk.store_bytes as f64);
            self.free_bytes.set(disk.free_bytes as f64);
        }
        self.metrics.run_upkeep();
        let mut text = self.metrics.render();
        if let Some(show) = self.of_functions.get() {
            text.push_str(&show());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    /// The value of the sample that begins so.
    fn sample(text: &str, start: &str) -> Option<f64> {
        let line = text.lines().find(|line| line.starts_with(start))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    #[test]
    fn steps_and_times_have_buckets_of_their_own() {
        let telemetry = Telemetry::new();
        telemetry.count_commit(300, Duration::from_millis(2), Duration::from_millis(20), 7);
        let text = telemetry.render();
        for (start, expected) in [
            ("edgebus_commit_steps_bucket{le=\"200\"}", 0.0),
            ("edgebus_commit_steps_bucket{le=\"500\"}", 1.0),
            ("edgebus_commit_seconds_bucket{le=\"0.01\"}", 0.0),
            ("edgebus_commit_seconds_bucket{le=\"0.03\"}", 1.0),
            ("edgebus_commit_queue_seconds_bucket{le=\"0.001\"}", 0.0),
            ("edgebus_commit_queue_seconds_bucket{le=\"0.003\"}", 1.0),
            ("edgebus_writer_inbox_steps", 7.0),
        ] {
            assert_eq!(sample(&text, start), Some(expected), "{start}\n{text}");
        }
        assert_eq!(
            sample(&text, "edgebus_commit_steps_bucket{le=\"30\"}"),
            None
        );
    }

    #[test]
    fn the_disk_is_looked_at_when_metrics_are_read() {
        let telemetry = Telemetry::new();
        telemetry.watch_disk(|| Disk {
            store_bytes: 5,
            free_bytes: 1 << 40,
        });
        let text = telemetry.render();
        assert_eq!(sample(&text, "edgebus_store_bytes "), Some(5.0));
        let free = (1_u64 << 40) as f64;
        assert_eq!(sample(&text, "edgebus_disk_free_bytes "), Some(free));
    }
}
