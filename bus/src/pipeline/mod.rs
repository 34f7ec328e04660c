//! The way of an event.
//!
//! ```text
//! publish ─▶ ingest ─▶ writer ─▶ dispatch ─▶ invoke ─▶ settle ─┐
//!            (match)   (append,    (ready      (fresh    (step)  │
//!                       flush)      queues)    instance)         │
//!              ▲         ▲  ▲         ▲                          │
//!              │         │  └─────────┼──────────────────────────┘
//!           snapshot     │          timer (due retries), recover (the start)
//!                     deploy, apply
//! ```
//!
//! All durable change goes through the one writer. Never here: HTTP, YAML, the names of backends.

mod change;
mod dispatch;
mod ingest;
mod invoke;
mod matching;
mod reading;
mod recover;
mod services;
mod settle;
mod snapshot;
#[cfg(test)]
pub(crate) mod tests;
mod timer;
mod trial;
mod writer;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

pub use change::FunctionSource;
pub(crate) use change::changed;
pub use matching::matches;
pub(crate) use matching::subscriptions;
pub use snapshot::{Compiled, Snapshot};
pub use trial::Trial;

use crate::clock::Clock;
use crate::error::{Error, Kind};
use crate::model::{BusId, DeliveryKey, Position, Progress, SubscriptionId};
use crate::runtime::Runtime;
use crate::store::{Catalog, Step, Store};
use crate::telemetry::Telemetry;

use dispatch::Dispatcher;
use timer::Timer;
use writer::Writer;

/// How long running attempts may go on after the stop began.
const DRAIN_MAX: Duration = Duration::from_secs(20);

/// Reads a secret by its name; `None` if it isn't set.
pub type Secrets = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What a pipeline is made of.
pub struct Parts {
    /// The durable store.
    pub store: Arc<dyn Store>,
    /// What the store knew at the start.
    pub catalog: Catalog,
    /// Compiles and runs functions.
    pub runtime: Arc<dyn Runtime>,
    /// Time and random numbers.
    pub clock: Clock,
    /// Metrics and the live stream.
    pub telemetry: Arc<Telemetry>,
    /// Is told how far the start is.
    pub progress: Progress,
    /// Free space on the disk above its floor, in bytes; asked once a second, and when so much was written.
    pub space: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Reads the secrets that manifests name; `None` if one isn't set.
    pub secrets: Secrets,
}

/// Where the pipeline stands.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    Starting = 0,
    Ready = 1,
    Stopping = 2,
    Failed = 3,
}

/// The running pipeline.
pub struct Pipeline {
    store: Arc<dyn Store>,
    runtime: Arc<dyn Runtime>,
    clock: Clock,
    telemetry: Arc<Telemetry>,
    /// The store's secret, from which the keys that guests see are made.
    secret: [u8; 32],
    secrets: Secrets,
    /// Free space above the floor.
    space: Box<dyn Fn() -> u64 + Send + Sync>,
    snapshot: ArcSwap<Snapshot>,
    dispatcher: Arc<Dispatcher>,
    timer: Timer,
    writer: Writer,
    /// Taken and joined when the pipeline stops.
    writer_thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    phase: Arc<AtomicU8>,
    stop: watch::Sender<bool>,
    failed: watch::Sender<Option<String>>,
    /// What may still be written before the disk is asked again, in bytes.
    space_left: AtomicU64,
    /// True after a record was found harmed, until the next start.
    harmed: AtomicBool,
    /// Which deliveries are claimed before their attempt, after an unclean stop.
    careful: recover::Careful,
    /// Whether the deliveries that a process died in are through; `None` while they run.
    suspects_done: watch::Sender<Option<bool>>,
    /// The last position of each bus, for those that wait for events. A plain mutex around a small map.
    positions: Mutex<HashMap<BusId, watch::Sender<Position>>>,
    /// Changes of manifest and functions, one at a time, held while functions compile.
    changing: tokio::sync::Mutex<()>,
    tasks: tokio::runtime::Handle,
}

impl Pipeline {
    /// Recovers and starts: compiles the deployed functions, makes the queues, and is ready when this returns.
    ///
    /// # Errors
    /// The store can't be read, a deployed function no longer compiles, or the system gives no thread.
    pub async fn start(parts: Parts) -> Result<Arc<Self>, Error> {
        let dispatcher = Dispatcher::new();
        let phase = Arc::new(AtomicU8::new(Phase::Starting as u8));
        let failed = watch::Sender::new(None);
        let (failing, told) = (phase.clone(), failed.clone());
        let (writer, thread) = Writer::start(
            parts.store.clone(),
            dispatcher.clone(),
            parts.telemetry.clone(),
            move |message| {
                failing.store(Phase::Failed as u8, Ordering::SeqCst);
                told.send_replace(Some(message.to_owned()));
            },
        )
        .map_err(|error| {
            Error::new(
                Kind::Unavailable,
                format!("no thread for the writer: {error}"),
            )
        })?;
        let functions = change::compile_all(
            &*parts.store,
            &parts.runtime,
            &parts.catalog,
            &parts.secrets,
            &parts.progress,
        )
        .await?;
        let snapshot = Snapshot::compile(&parts.catalog, functions, None).map_err(|fault| {
            Error::new(
                Kind::Corrupt,
                format!("a stored rule no longer compiles: {}", fault.reason),
            )
            .coded(crate::model::Code::NoLongerCompiles)
        })?;
        if !parts.catalog.clean {
            tracing::info!(
                "the last process did not stop in order: what it owed is claimed before it is attempted"
            );
        }
        parts.progress.tell("looking for what was owed", "");
        let suspects = recover::suspects(&*parts.store, &parts.catalog).map_err(read_error)?;
        let positions = parts
            .catalog
            .buses
            .iter()
            .map(|(id, _, last)| (*id, watch::Sender::new(*last)))
            .collect();
        let pipeline = Arc::new(Self {
            store: parts.store,
            runtime: parts.runtime,
            clock: parts.clock,
            telemetry: parts.telemetry,
            secret: parts.catalog.secret,
            secrets: parts.secrets,
            space: parts.space,
            snapshot: ArcSwap::from_pointee(snapshot),
            dispatcher,
            timer: Timer::new(),
            writer,
            writer_thread: Mutex::new(Some(thread)),
            phase,
            stop: watch::Sender::new(false),
            failed,
            space_left: AtomicU64::new(0),
            harmed: AtomicBool::new(false),
            careful: recover::care(&parts.catalog),
            suspects_done: watch::Sender::new(None),
            positions: Mutex::new(positions),
            changing: tokio::sync::Mutex::new(()),
            tasks: tokio::runtime::Handle::current(),
        });
        pipeline.dispatcher.connect(&pipeline);
        pipeline.prepare_queues(&parts.catalog, &suspects);
        pipeline.keep_house();
        pipeline.dispatcher.fill_lagging();
        let caring = pipeline.clone();
        pipeline.tasks.spawn(async move {
            let done = recover::run_suspects(&caring, suspects).await;
            caring.suspects_done.send_replace(Some(done));
        });
        pipeline.tasks.spawn(timer::run(pipeline.clone()));
        pipeline.tasks.spawn(housekeeping(pipeline.clone()));
        let _ = pipeline.phase.compare_exchange(
            Phase::Starting as u8,
            Phase::Ready as u8,
            Ordering::SeqCst,
            Ordering::SeqCst,
        );
        Ok(pipeline)
    }

    /// Stops in order: no new publishes or attempts, running attempts get [`DRAIN_MAX`], then a durable
    /// mark of the clean stop. Calling it again waits for nothing.
    ///
    /// False if the log failed before the mark was durable: the process must say so with its exit code.
    pub async fn stop(&self) -> bool {
        if self.phase.swap(Phase::Stopping as u8, Ordering::SeqCst) == Phase::Failed as u8 {
            self.phase.store(Phase::Failed as u8, Ordering::SeqCst);
        }
        self.stop.send_replace(true);
        let mut suspects_done = self.suspects_done.subscribe();
        let quiet = async {
            let done = suspects_done
                .wait_for(Option::is_some)
                .await
                .is_ok_and(|done| *done == Some(true));
            self.dispatcher.drain().await;
            done
        };
        self.dispatcher.stop();
        let drained = tokio::time::timeout(DRAIN_MAX, quiet).await;
        if drained.is_err() {
            tracing::warn!(
                "some attempts did not end within 20 s; they run again after the next start"
            );
        }
        // An attempt that was cut short may have run, so the next start must take care: not clean.
        let clean = drained.unwrap_or(false);
        if self.writer.apply(Step::MarkClean(clean)).await.is_err() {
            return self.live();
        }
        let thread = self
            .writer_thread
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        self.live()
    }

    /// Ok when publishes and reads are welcome, else why not.
    ///
    /// # Errors
    /// The reason in words.
    pub fn ready(&self) -> Result<(), String> {
        match self.phase.load(Ordering::SeqCst) {
            phase if phase == Phase::Ready as u8 => Ok(()),
            phase if phase == Phase::Starting as u8 => Err("the bus is starting".to_owned()),
            phase if phase == Phase::Stopping as u8 => Err("the bus is stopping".to_owned()),
            _ => {
                Err("the log failed while it was written; the process is about to exit".to_owned())
            }
        }
    }

    /// False after a commit failed.
    #[must_use]
    pub fn live(&self) -> bool {
        self.phase.load(Ordering::SeqCst) != Phase::Failed as u8
    }

    /// True after a record was found harmed.
    #[must_use]
    pub fn harmed(&self) -> bool {
        self.harmed.load(Ordering::Relaxed)
    }

    /// Resolves with the reason when a commit failed; the process must exit then.
    pub async fn failure(&self) -> String {
        let mut failed = self.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // The sender lives as long as the pipeline.
            Err(_) => std::future::pending().await,
        }
    }

    /// What is in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The store, for reading.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Metrics and the live stream.
    #[must_use]
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    /// Time and random numbers.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Deliveries of a subscription that wait in memory.
    #[must_use]
    pub fn in_memory(&self, id: SubscriptionId) -> usize {
        self.dispatcher.in_memory(id)
    }

    /// The newest position of `bus`; 0 while it is empty.
    #[must_use]
    pub fn last_position(&self, bus: BusId) -> Position {
        self.positions
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(&bus)
            .map_or(Position(0), |last| *last.borrow())
    }

    /// Resolves when `bus` has an event after `after`, or the pipeline stops.
    pub async fn wait_for_event(&self, bus: BusId, after: Position) {
        let Some(mut last) = self
            .positions
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(&bus)
            .map(watch::Sender::subscribe)
        else {
            return self.stopped().await;
        };
        tokio::select! {
            _ = last.wait_for(|last| *last > after) => {}
            () = self.stopped() => {}
        }
    }

    /// Resolves when the pipeline stops.
    pub async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        let _ = stop.wait_for(|stop| *stop).await;
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    fn careful(&self) -> &recover::Careful {
        &self.careful
    }

    /// Makes a queue for each subscription, and keeps the suspects out of them.
    fn prepare_queues(&self, catalog: &Catalog, suspects: &[DeliveryKey]) {
        for key in suspects {
            self.dispatcher.hold(*key);
        }
        self.dispatcher.pause(!suspects.is_empty());
        for subscription in &catalog.subscriptions {
            let function = &subscription.target.function;
            self.dispatcher
                .add_queue(subscription.id, function, Position(0), true);
        }
    }

    fn writer(&self) -> &Writer {
        &self.writer
    }

    fn dispatcher(&self) -> &Arc<Dispatcher> {
        &self.dispatcher
    }

    fn timer(&self) -> &Timer {
        &self.timer
    }

    fn tasks(&self) -> &tokio::runtime::Handle {
        &self.tasks
    }

    /// The key that a handler gets: the same on all attempts of one delivery, and not to be guessed.
    fn idempotency_key(&self, key: DeliveryKey) -> String {
        self.keyed(b"delivery", key, 0)
    }

    /// The id of the `index`th event that a delivery emits, the same however often its attempt runs.
    fn emitted_id(&self, key: DeliveryKey, index: usize) -> String {
        self.keyed(b"emitted", key, index as u64)
    }

    fn keyed(&self, purpose: &[u8], key: DeliveryKey, index: u64) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(purpose);
        hasher.update(&key.subscription.0.to_be_bytes());
        hasher.update(&key.replay.to_be_bytes());
        hasher.update(&key.position.0.to_be_bytes());
        hasher.update(&index.to_be_bytes());
        hasher.finalize().to_hex()[..32].to_owned()
    }

    fn tell_position(&self, bus: BusId, position: Position) {
        let positions = self
            .positions
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(sender) = positions.get(&bus) {
            sender.send_if_modified(|known| {
                let later = position > *known;
                *known = position.max(*known);
                later
            });
        }
    }

    /// Ends the bus: it is no longer live, and whoever awaits [`Pipeline::failure`] hears of it.
    fn fail(&self, reason: &str) {
        self.phase.store(Phase::Failed as u8, Ordering::SeqCst);
        self.failed.send_replace(Some(reason.to_owned()));
    }

    fn keep_house(&self) {
        if self.store.harmed().records > 0 && !self.harmed.swap(true, Ordering::Relaxed) {
            self.telemetry
                .count_harmed("a page passed over harmed records");
        }
        self.space_left.store((self.space)(), Ordering::Relaxed);
        self.telemetry
            .set_in_memory(self.dispatcher.ready_count() + self.dispatcher.held_count());
        self.telemetry.upkeep();
    }
}

/// Once a second: the disk's free space, gauges, upkeep of the metrics.
async fn housekeeping(pipeline: Arc<Pipeline>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = tick.tick() => pipeline.keep_house(),
            () = pipeline.stopped() => return,
        }
    }
}

/// A failed read in the handle's words.
pub(crate) fn read_error(error: crate::store::Error) -> Error {
    let kind = match error.kind {
        crate::store::Kind::Corrupt => Kind::Corrupt,
        crate::store::Kind::Unknown | crate::store::Kind::Refused => Kind::Unavailable,
    };
    Error::new(kind, error.message)
}
