//! What every stage may use: the store for reading, the clock, the active rules, telemetry, and the state
//! of the bus's health.
//!
//! Never here: a stage, a queue, or a way to change the store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::foreground::Foreground;
use super::lifecycle::Lifecycle;
use super::reading::Newest;
use super::snapshot::Snapshot;
use super::tasks::Executor;
use crate::clock::Clock;
use crate::telemetry::Telemetry;
use edgebus_model::{BusId, DeliveryKey, Job, JobId, JobSpec, Position};
use edgebus_store::Store;

/// Where the pipeline stands.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    Starting = 0,
    Ready = 1,
    Stopping = 2,
    Failed = 3,
}

/// Whether the bus is well: starting, ready, stopping, or failed. Shared by every stage and task.
pub(super) struct Health {
    phase: AtomicU8,
    failed: watch::Sender<Option<String>>,
}

impl Health {
    /// Of a bus that starts.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            phase: AtomicU8::new(Phase::Starting as u8),
            failed: watch::Sender::new(None),
        })
    }

    /// The start is over, unless something failed meanwhile.
    pub(super) fn started(&self) {
        let _ = self.phase.compare_exchange(
            Phase::Starting as u8,
            Phase::Ready as u8,
            Ordering::SeqCst,
            Ordering::SeqCst,
        );
    }

    /// The stop begins; a failure stays a failure.
    pub(super) fn stopping(&self) {
        if self.phase.swap(Phase::Stopping as u8, Ordering::SeqCst) == Phase::Failed as u8 {
            self.phase.store(Phase::Failed as u8, Ordering::SeqCst);
        }
    }

    /// Ends the bus: it is no longer live, and whoever awaits [`Health::failure`] hears of it.
    pub(super) fn fail(&self, reason: &str) {
        self.phase.store(Phase::Failed as u8, Ordering::SeqCst);
        self.failed.send_replace(Some(reason.to_owned()));
    }

    /// Ok when publishes and reads are welcome, else why not, in words.
    pub(super) fn ready(&self) -> Result<(), String> {
        match self.phase.load(Ordering::SeqCst) {
            phase if phase == Phase::Ready as u8 => Ok(()),
            phase if phase == Phase::Starting as u8 => Err("the bus is starting".to_owned()),
            phase if phase == Phase::Stopping as u8 => Err("the bus is stopping".to_owned()),
            _ => Err(
                "the bus failed (the log names the reason) and the process is about to exit"
                    .to_owned(),
            ),
        }
    }

    /// False after a failure.
    pub(super) fn live(&self) -> bool {
        self.phase.load(Ordering::SeqCst) != Phase::Failed as u8
    }

    /// Resolves with the reason when the bus failed; the process must exit then.
    pub(super) async fn failure(&self) -> String {
        let mut failed = self.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // The sender lives as long as the bus.
            Err(_) => std::future::pending().await,
        }
    }
}

/// What every stage may use.
pub(super) struct Context {
    pub(super) store: Arc<dyn Store>,
    /// The state of functions, as attempts see it.
    pub(super) newest: Arc<Newest>,
    pub(super) clock: Clock,
    /// What loops, tasks and blocking work run on.
    pub(super) executor: Executor,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) health: Arc<Health>,
    /// The work that long attempts make room for.
    pub(super) foreground: Foreground,
    /// The active rules and functions; readers keep the one that they took.
    pub(super) snapshot: ArcSwap<Snapshot>,
    /// The store's secret, from which the keys that guests see are made.
    secret: [u8; 32],
    /// What is to be published of what happens to the bus.
    pub(super) lifecycle: Lifecycle,
    /// Commits of this process: what was read before the last of them may be another now.
    pub(super) commits: AtomicU64,
    /// The last position of each bus, for those that wait for events. A plain mutex around a small map.
    positions: Mutex<HashMap<BusId, watch::Sender<Position>>>,
}

impl Context {
    pub(super) fn new(
        newest: Arc<Newest>,
        clock: Clock,
        executor: Executor,
        telemetry: Arc<Telemetry>,
        snapshot: Snapshot,
        secret: [u8; 32],
    ) -> Arc<Self> {
        let foreground = Foreground::new(executor.processors());
        Arc::new(Self {
            store: newest.store.clone(),
            newest,
            clock,
            executor,
            telemetry,
            health: Health::new(),
            foreground,
            snapshot: ArcSwap::from_pointee(snapshot),
            secret,
            lifecycle: Lifecycle::default(),
            commits: AtomicU64::new(0),
            positions: Mutex::new(HashMap::new()),
        })
    }

    /// The active rules and functions.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    fn positions(&self) -> MutexGuard<'_, HashMap<BusId, watch::Sender<Position>>> {
        self.positions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a place for the last position of `bus`, if there is none.
    pub(super) fn add_bus(&self, bus: BusId, last: Position) {
        self.positions()
            .entry(bus)
            .or_insert_with(|| watch::Sender::new(last));
    }

    /// The newest position of `bus`; 0 while it is empty.
    pub(super) fn last_position(&self, bus: BusId) -> Position {
        self.positions()
            .get(&bus)
            .map_or(Position(0), |last| *last.borrow())
    }

    /// Hears of positions of `bus`; `None` for a bus that is not there.
    pub(super) fn watch_positions(&self, bus: BusId) -> Option<watch::Receiver<Position>> {
        self.positions().get(&bus).map(watch::Sender::subscribe)
    }

    /// Tells those that wait for events of `bus`.
    pub(super) fn publish_position(&self, bus: BusId, position: Position) {
        if let Some(sender) = self.positions().get(&bus) {
            sender.send_if_modified(|known| {
                let later = position > *known;
                *known = position.max(*known);
                later
            });
        }
    }

    /// The key that a handler gets: the same on all attempts of one delivery, and not to be guessed.
    pub(super) fn idempotency_key(&self, key: DeliveryKey) -> String {
        self.keyed(b"delivery", key, 0)
    }

    /// The name of a replay.
    pub(super) fn replay_name(&self, number: u32) -> String {
        match self.store.job(JobId(number)) {
            Ok(Some(Job {
                spec: JobSpec::Replay(spec),
                ..
            })) => spec.name(number),
            // It ended so long ago that nothing else is known of it.
            _ => format!("replay-{number}"),
        }
    }

    /// The id of the `index`th event that a delivery emits, the same however often its attempt runs.
    pub(super) fn emitted_id(&self, key: DeliveryKey, index: usize) -> String {
        self.keyed(b"emitted", key, index as u64)
    }

    /// The id of the event that is published when a delivery dies under this fence.
    pub(super) fn dead_letter_id(&self, key: DeliveryKey, fence: u32) -> String {
        self.keyed(b"dead letter", key, u64::from(fence))
    }

    /// The id of the event that tells of this death.
    pub(super) fn death_id(&self, key: DeliveryKey, fence: u32) -> String {
        self.keyed(b"death", key, u64::from(fence))
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

    /// Takes note of a failed read. A corrupt record is never used, and the store knows of it; an engine
    /// that can't read can't be trusted to write, so the process stops and recovers at the next start.
    pub(super) fn reading_failed(&self, what: &str, error: &edgebus_store::Error) {
        if error.kind == edgebus_store::Kind::Corrupt {
            tracing::error!(%error, "{what}: a stored record is corrupt and was not used");
        } else {
            tracing::error!(%error, "{what} can't be read");
            self.health.fail(&error.message);
        }
    }
}
