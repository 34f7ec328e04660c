//! The stages that process an event.
//!
//! ```text
//! publish ─▶ ingest ─▶ writer ─▶ scheduler ─▶ workers (invoke) ─▶ settle ─┐
//!            (match)   (append,   (ready         (fresh            (step)  │
//!                       flush)     queues)        instance)                │
//!              ▲         ▲  ▲                                              │
//!              │         │  └──────────────────────────────────────────────┘
//!           snapshot     │
//!                     deploy, apply
//! ```
//!
//! Each stage owns its state and a bounded inbox: the writer and the scheduler are loops of their own,
//! functions run on the workers' threads, and pages are read back on the scheduler's readers. `context` is
//! what all of them may use. [`Pipeline`] only joins them. All durable change goes through the one writer.
//! Never here: HTTP, YAML, the names of backends.

mod announce;
mod change;
mod checking;
mod context;
mod dead_letter;
mod foreground;
mod functions;
mod gauges;
mod ingest;
#[cfg(test)]
pub(crate) mod injected;
mod invoke;
mod jobs;
mod lifecycle;
mod matching;
mod overlay;
mod portions;
mod reading;
mod recover;
mod redact;
pub mod retention;
mod retire;
mod scheduler;
mod services;
mod settle;
mod shadow;
mod snapshot;
pub mod space;
mod state_reads;
mod target;
pub(crate) mod tasks;
#[cfg(test)]
mod tests;
mod trial;
mod turns;
mod workers;
mod writer;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

pub(crate) use change::changed;
pub use change::{FunctionSource, Starts};
pub use functions::Availability;
pub(crate) use jobs::{Budget, Erasure, Letters, Replay, last_before, no_job};
pub use matching::matches;
pub(crate) use matching::subscriptions;
#[cfg(test)]
pub(crate) use overlay::injected as state;
#[cfg(test)]
pub(crate) use reading::injected as listings;
pub(crate) use retention::accepted_before;
pub use scheduler::{Description, Limits, Pause, Situation};
#[cfg(test)]
pub(crate) use shadow::injected::in_shadow;
pub use snapshot::{Compiled, Snapshot};
pub use trial::Trial;

use crate::clock::Clock;
use crate::telemetry::Telemetry;
use crate::work_limiter::WorkLimiter;
use edgebus_model::error::{Error, Kind};
use edgebus_model::{BusId, Code, Position};
use edgebus_runtime::Runtime;
use edgebus_store::{Catalog, Corruption, Step, Store};

use context::Context;
use functions::Compiler;
use invoke::Attempts;
use reading::Newest;
use scheduler::{Scheduler, Stages};
use tasks::{Executor, Loop};
use workers::Workers;
use writer::Writer;

/// How long running attempts may go on after the stop began.
const DRAIN_MAX: Duration = Duration::from_secs(20);

/// Reads a secret by its name; `None` if it isn't set.
pub type Secrets = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

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
    /// The disk that the store is on.
    pub space: Box<dyn space::Disk>,
    /// What attempts may have of the machine.
    pub limits: Limits,
    /// Reads the secrets that manifests name; `None` if one isn't set.
    pub secrets: Secrets,
    /// Make no attempt before [`Pipeline::begin`]: a manifest is to be applied first, so that no old
    /// function runs on what is pending.
    pub hold: bool,
}

/// The running pipeline: the stages, joined. Dropping it ends their threads.
pub struct Pipeline {
    context: Arc<Context>,
    /// Compiles functions.
    compiler: Arc<Compiler>,
    secrets: Secrets,
    /// The room on the disk.
    space: space::Watch,
    /// The care of the store's records.
    checking: checking::Checking,
    /// What the buses hold, as retention sees it.
    holdings: Arc<retention::Holdings>,
    writer: Writer,
    scheduler: Scheduler,
    attempts: Arc<Attempts>,
    /// Has jobs looked at that were made or told something.
    jobs: jobs::Wake,
    /// The writer's, the scheduler's and the jobs'; taken and joined when the pipeline stops.
    loops: Mutex<Vec<Loop>>,
    stop: watch::Sender<bool>,
    /// Where events are matched whose filters take long.
    matching: WorkLimiter,
    /// Changes of manifest and functions, one at a time; what they bring is compiled before.
    changing: tokio::sync::Mutex<()>,
}

/// Lets the metrics show functions, dead letters and what retention keeps; returns what retention tells of that.
fn watched(context: &Arc<Context>) -> Arc<retention::Holdings> {
    let holdings = Arc::<retention::Holdings>::default();
    let (weak, held) = (Arc::downgrade(context), holdings.clone());
    context.telemetry.watch_functions(move || {
        let Some(context) = weak.upgrade() else {
            return String::new();
        };
        let snapshot = context.snapshot();
        let mut text = functions::metrics(&snapshot);
        text.push_str(&gauges::dead_letters(&*context.store, &snapshot));
        text.push_str(&held.metrics(&snapshot, context.clock.now()));
        text
    });
    holdings
}

impl Pipeline {
    /// Recovers and starts: makes the queues, and is ready when this returns unless the parts say to hold.
    /// Functions compile from now on, beside everything else.
    ///
    /// # Errors
    /// The store can't be read, or the system gives no thread.
    pub async fn start(parts: Parts) -> Result<Arc<Self>, Error> {
        Self::start_on(Executor::threads(), parts).await
    }

    /// As [`Pipeline::start`], on other threads than the machine's.
    pub(crate) async fn start_on(executor: Executor, parts: Parts) -> Result<Arc<Self>, Error> {
        let functions = functions::to_come(&parts.catalog, &parts.secrets);
        let snapshot = Snapshot::at_start(&parts.catalog, functions);
        if !parts.catalog.clean {
            tracing::info!(
                "unclean shutdown detected: pending deliveries are claimed before they are attempted"
            );
        }
        let no_thread = |error: std::io::Error| {
            let message = format!("the system gives no thread: {error}");
            Error::new(Kind::Unavailable, message).coded(Code::SystemRefused)
        };
        let newest = Newest::new(parts.store, parts.clock.clone()).map_err(read_error)?;
        let context = Context::new(
            Arc::new(newest),
            parts.clock,
            executor.clone(),
            parts.telemetry,
            snapshot,
            parts.catalog.secret,
        );
        let holdings = watched(&context);
        let scheduler = Scheduler::new();
        let (writer, writing) = Writer::start(&context, scheduler.clone()).map_err(no_thread)?;
        let space = space::Watch::new(parts.space);
        let attempts = Arc::new(Attempts {
            context: context.clone(),
            writer: writer.clone(),
            workers: Workers::start(&context).map_err(no_thread)?,
            claim_before_run: recover::claims_needed(&parts.catalog),
        });
        let stages = Stages {
            context: context.clone(),
            writer: writer.clone(),
            attempts: attempts.clone(),
        };
        let compiler = Compiler::new(context.clone(), parts.runtime, scheduler.clone());
        let scheduling = scheduler.start(parts.limits, stages).map_err(no_thread)?;
        let (stop, jobs) = (watch::Sender::new(false), jobs::Wake::default());
        let shadows = jobs::Stage {
            context: context.clone(),
            attempts: attempts.clone(),
            compiler: compiler.clone(),
            secrets: parts.secrets.clone(),
            turn: tokio::sync::Semaphore::new(1),
        };
        let moving = jobs::start(
            &context,
            Arc::new(shadows),
            writer.clone(),
            &jobs,
            space.subscribe(),
            stop.subscribe(),
        )
        .map_err(no_thread)?;
        let pipeline = Arc::new(Self {
            context,
            compiler,
            secrets: parts.secrets,
            space,
            checking: checking::Checking::default(),
            holdings,
            writer,
            scheduler,
            attempts,
            jobs,
            loops: Mutex::new(vec![writing, scheduling, moving]),
            stop,
            matching: WorkLimiter::new(matching::PLACES_MAX),
            changing: tokio::sync::Mutex::new(()),
        });
        pipeline.pause(Pause::Start, true);
        pipeline.prepare_queues(&parts.catalog);
        pipeline.tick();
        Compiler::start(&pipeline.compiler, pipeline.stop.subscribe());
        let (health, weak) = (&pipeline.context.health, Arc::downgrade(&pipeline));
        let housekeeping = housekeeping(weak.clone());
        let retiring = retire::keep_retiring(weak.clone());
        executor.essential_task("retirement of subscriptions", health.clone(), retiring);
        executor.essential_task("housekeeping", health.clone(), housekeeping);
        let retaining = retention::run(weak.clone());
        executor.essential_task("retention", health.clone(), retaining);
        let watching = space::run(weak.clone());
        executor.essential_task("watch of the disk", health.clone(), watching);
        let checking = checking::run(weak, parts.catalog.clean);
        executor.essential_task("care of the store", health.clone(), checking);
        if !parts.hold {
            pipeline.begin();
        }
        Ok(pipeline)
    }

    /// Ready: attempts begin. Calling it again changes nothing.
    pub fn begin(&self) {
        self.pause(Pause::Start, false);
        self.context.health.started();
    }

    /// Stops in order: no new publishes or attempts, running attempts get [`DRAIN_MAX`], then a durable
    /// mark of the clean stop. Calling it again waits for nothing.
    ///
    /// False if the log failed before the mark was durable: the process must say so with its exit code.
    pub async fn stop(&self) -> bool {
        // What happens from here on is not told.
        self.tell_lifecycle(true).await;
        self.context.health.stopping();
        if self.stop.send_replace(true) {
            return self.live();
        }
        self.scheduler.stop();
        let drained = self
            .clock()
            .timeout(DRAIN_MAX, self.scheduler.drain())
            .await;
        if drained.is_none() {
            tracing::warn!(
                "some attempts did not end within 20 s; they run again after the next start"
            );
        }
        // An attempt that was cut short may have run, so the next start must take care: not clean.
        let marked = self.writer.apply(Step::MarkClean(drained.is_some())).await;
        self.scheduler.end();
        self.abandon();
        let loops = std::mem::take(
            &mut *self
                .loops
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        if marked.is_ok() {
            self.context.executor.join(loops).await;
        }
        self.live()
    }

    /// Ends the functions' threads at once, for a process that does not wait: what was running runs again
    /// after the next start.
    pub fn abandon(&self) {
        self.attempts.workers.end();
    }

    /// Ok when publishes and reads are welcome, else why not.
    ///
    /// # Errors
    /// The reason in words.
    pub fn ready(&self) -> Result<(), String> {
        self.context.health.ready()
    }

    /// False after the bus failed.
    #[must_use]
    pub fn live(&self) -> bool {
        self.context.health.live()
    }

    /// Corrupt records: those that were met, and how many are in quarantine.
    #[must_use]
    pub fn corruption(&self) -> Corruption {
        self.store().corruption()
    }

    /// Resolves with the reason when the bus failed; the process must exit then.
    pub async fn failure(&self) -> String {
        self.context.health.failure().await
    }

    /// What is active.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.context.snapshot()
    }

    /// The store, for reading.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.context.store
    }

    /// Metrics and the live stream.
    #[must_use]
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.context.telemetry
    }

    /// Time and random numbers.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.context.clock
    }

    /// The room on the disk.
    #[must_use]
    pub fn space(&self) -> &space::Watch {
        &self.space
    }

    /// The check of the store's records.
    #[must_use]
    pub fn checking(&self) -> &checking::Checking {
        &self.checking
    }

    /// Begins no attempt for a reason, or ends that; what runs goes on.
    pub fn pause(&self, why: Pause, paused: bool) {
        self.scheduler.pause(why, paused);
    }

    /// Why each subscription's deliveries run or don't; `None` after the stop.
    pub async fn describe(&self) -> Option<Description> {
        self.scheduler.describe().await
    }

    /// The newest position of `bus`; 0 while it is empty.
    #[must_use]
    pub fn last_position(&self, bus: BusId) -> Position {
        self.context.last_position(bus)
    }

    /// Resolves when `bus` has an event after `after`, or the pipeline stops.
    pub async fn wait_for_event(&self, bus: BusId, after: Position) {
        let Some(mut last) = self.context.watch_positions(bus) else {
            return self.stopped().await;
        };
        tokio::select! {
            biased;
            _ = last.wait_for(|last| *last > after) => {}
            () = self.stopped() => {}
        }
    }

    /// Resolves when the pipeline stops.
    pub async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        let _ = stop.wait_for(|stop| *stop).await;
    }

    /// Makes a queue for each subscription; what is pending is read from the store.
    fn prepare_queues(&self, catalog: &Catalog) {
        for (id, _, last) in &catalog.buses {
            self.context.add_bus(*id, *last);
        }
        let snapshot = self.snapshot();
        self.scheduler.subscribe(
            catalog
                .subscriptions
                .iter()
                // One without a queue waits in the store.
                .filter(|own| !snapshot.waiting.contains(&own.id))
                .map(|own| (own.id, own.target.to.clone(), true))
                .collect(),
        );
        self.scheduler.changed();
    }

    fn tick(&self) {
        let telemetry = self.telemetry();
        let corruption = self.corruption();
        telemetry.set_corrupt(
            corruption.found,
            corruption.records,
            corruption.in_quarantine,
        );
        if !corruption.movable.is_empty() {
            self.checking.wake();
        }
        telemetry.set_in_memory(self.scheduler.in_memory());
        let totals = self.store().totals();
        telemetry.set_deliveries([totals.pending, totals.waiting, totals.dead]);
        telemetry.set_in_flight(self.scheduler.in_flight(), self.scheduler.leased_bytes());
        telemetry.set_functions(functions::count(&self.snapshot()));
        telemetry.upkeep();
    }
}

#[cfg(test)]
impl Pipeline {
    /// Settles what another attempt has or had, as one does that was thought dead.
    pub(crate) async fn settle_late(
        &self,
        settle: edgebus_store::Settle,
    ) -> Result<edgebus_store::StepOutcome, Error> {
        self.writer.apply(Step::Settle(Box::new(settle))).await
    }

    /// Deliveries in memory, attempts in flight, and bytes that are leased.
    pub(crate) fn in_use(&self) -> (usize, usize, u64) {
        let scheduler = &self.scheduler;
        (
            scheduler.in_memory(),
            scheduler.in_flight(),
            scheduler.leased_bytes(),
        )
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.scheduler.end();
    }
}

/// Once a second: gauges, upkeep of the metrics, the bus's own events.
async fn housekeeping(pipeline: std::sync::Weak<Pipeline>) {
    let Some(clock) = pipeline.upgrade().map(|pipeline| pipeline.clock().clone()) else {
        return;
    };
    let mut ticker = clock.ticker(Duration::from_secs(1));
    loop {
        ticker.tick().await;
        match pipeline.upgrade() {
            Some(pipeline) if !*pipeline.stop.borrow() => {
                pipeline.tick();
                pipeline.tell_lifecycle(false).await;
            }
            _ => return,
        }
    }
}

/// A failed read in the handle's words.
pub(crate) fn read_error(error: edgebus_store::Error) -> Error {
    let kind = match error.kind {
        edgebus_store::Kind::Corrupt => Kind::Corrupt,
        edgebus_store::Kind::Unknown | edgebus_store::Kind::Refused => Kind::Unavailable,
    };
    Error::new(kind, error.message)
}
