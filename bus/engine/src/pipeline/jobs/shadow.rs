//! The next step of a shadow replay: a few deliveries that are run again without effects, and what differs.
//!
//! Functions take their time, and the loop of the jobs may not wait for them. So a part of the log is run beside the
//! loop, on the workers, and the step is made when all of it has ended. A part that is cut short, by a pause or by the
//! end of the process, leaves nothing behind and is run again. Of all shadow replays one delivery runs at a time.
//! Never here: how a delivery is run, or a change of anything but the job.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::super::Secrets;
use super::super::context::Context;
use super::super::functions::{self, Compilation, Compiler};
use super::super::invoke::Attempts;
use super::super::shadow::{self, Shadowed};
use super::super::snapshot::{Deployed, Snapshot};
use super::super::tasks::caught;
use super::beside::Beside;
use super::replay::{Portion, Replay};
use super::{Budget, Moved, idle};
use edgebus_model::{
    BusId, Candidate, DeliveryKey, Job, JobId, JobPlace, Name, Position, Ran, Revision,
    ShadowReport, ShadowSpec, Skipped,
};
use edgebus_store::{Advance, Error, JobEnd, Kind};

/// Deliveries that one step runs.
const RUNS_MAX: usize = 16;
/// A step runs no further delivery after this.
const PART: Duration = Duration::from_secs(1);

/// What shadow replays share.
pub(in crate::pipeline) struct Stage {
    pub(in crate::pipeline) context: Arc<Context>,
    pub(in crate::pipeline) attempts: Arc<Attempts>,
    pub(in crate::pipeline) compiler: Arc<Compiler>,
    pub(in crate::pipeline) secrets: Secrets,
    /// Whoever has it runs deliveries.
    pub(in crate::pipeline) turn: Semaphore,
}

/// A shadow replay that runs.
pub(super) struct Shadow {
    stage: Arc<Stage>,
    spec: ShadowSpec,
    replay: Replay,
    candidate: Arc<OnceLock<Arc<Deployed>>>,
    /// What is being run. A plain mutex: the loop of the jobs alone looks into it.
    part: Mutex<Option<Part>>,
}

/// A part of the log that is being run.
struct Part {
    portion: Portion,
    found: Beside<Result<Found, Failed>>,
}

/// What the runs of a part found.
#[derive(Default)]
struct Found {
    report: ShadowReport,
    skipped: Skipped,
    /// How many of the part's deliveries that are.
    done: usize,
}

/// Why a part could not be run.
enum Failed {
    /// The job can't go on.
    Job(String),
    Store(Error),
    /// Not now: something is not compiled, and may be later.
    Later,
    /// The bus stops: the part is run again after the next start.
    Stopped,
}

impl Shadow {
    /// # Errors
    /// Why the pattern can't be read, in words.
    pub(super) fn new(stage: &Arc<Stage>, spec: ShadowSpec) -> Result<Self, String> {
        Ok(Self {
            stage: stage.clone(),
            replay: Replay::new(spec.range.clone())?,
            spec,
            candidate: Arc::default(),
            part: Mutex::new(None),
        })
    }

    fn part(&self) -> MutexGuard<'_, Option<Part>> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while deliveries run.
    pub(super) fn is_running(&self) -> bool {
        self.part().is_some()
    }

    /// The job's next step; `None` while its deliveries run.
    pub(super) fn step(
        &self,
        context: &Context,
        job: &Job,
        budget: Budget,
    ) -> Result<Option<Moved>, Error> {
        let mut part = self.part();
        let Some(running) = &*part else {
            return self.begin(&mut part, context, job, budget);
        };
        let Some(found) = running.found.take() else {
            return Ok(None);
        };
        let Some(Part { portion, .. }) = part.take() else {
            return Ok(None);
        };
        match found {
            // The first of its functions is not compiled.
            Ok(found) if found.done == 0 => Ok(None),
            Ok(found) => Ok(Some(self.moved(context, job, portion, found))),
            Err(Failed::Store(error)) => Err(error),
            Err(Failed::Job(reason)) => Ok(Some(Moved {
                step: super::ended(job, JobEnd::Failed(reason)),
                bytes: 0,
            })),
            Err(Failed::Later | Failed::Stopped) => Ok(None),
        }
    }

    /// Begins to run the next part; a step if there is nothing in it to run.
    fn begin(
        &self,
        part: &mut Option<Part>,
        context: &Context,
        job: &Job,
        budget: Budget,
    ) -> Result<Option<Moved>, Error> {
        let left = self.left(job.progress.done);
        let snapshot = context.snapshot();
        if !self.can_run(&snapshot) {
            return Ok(None);
        }
        let budget = Budget {
            effects: budget.effects.min(RUNS_MAX).min(left),
            ..budget
        };
        let portion = self
            .replay
            .portion(&*context.store, &snapshot, job.id, job.place, budget)?;
        if portion.keys.is_empty() {
            return Ok(Some(self.moved(context, job, portion, Found::default())));
        }
        let work = Work {
            stage: self.stage.clone(),
            job: job.id,
            function: self.spec.function.clone(),
            wanted: self.spec.candidate.clone(),
            candidate: self.candidate.clone(),
            bus: self.spec.range.bus,
            keys: portion.keys.clone(),
        };
        let running = async move {
            let done = work.run().await;
            (!matches!(done, Err(Failed::Stopped))).then_some(done)
        };
        let panicked = || {
            Err(Failed::Job(
                "the host panicked while it ran a delivery".to_owned(),
            ))
        };
        let found = Beside::begin(&context.executor, "shadow", running, panicked);
        *part = Some(Part { portion, found });
        Ok(None)
    }

    /// Runs that may still be made.
    fn left(&self, done: u64) -> usize {
        let limit = self.spec.limit.unwrap_or(u64::MAX);
        usize::try_from(limit.saturating_sub(done)).unwrap_or(usize::MAX)
    }

    /// False while a function that is to run is not compiled.
    fn can_run(&self, snapshot: &Snapshot) -> bool {
        let of = self.spec.function.iter();
        let mut of = of.filter_map(|name| snapshot.functions.get(name));
        of.all(|own| own.available())
    }

    /// The step that tells what a part came to.
    fn moved(&self, context: &Context, job: &Job, portion: Portion, found: Found) -> Moved {
        let whole = found.done >= portion.keys.len();
        let last = found
            .done
            .checked_sub(1)
            .and_then(|at| portion.keys.get(at));
        let to = match last {
            Some(last) if !whole => JobPlace::Delivery(*last),
            _ => portion.to,
        };
        let runs = found.report.counts.runs;
        let enough = self.left(job.progress.done.saturating_add(runs)) == 0;
        let behind = |place| self.position(place).0;
        let mut skipped = found.skipped;
        if whole {
            for (reason, count) in portion.missing.iter() {
                skipped.add(reason, count);
            }
        }
        let bytes = found.report.differences.len() * 2 * Ran::BYTES_MAX;
        Moved {
            bytes: portion.bytes.saturating_add(bytes),
            step: Advance {
                to,
                looked: behind(to).saturating_sub(behind(job.place)),
                skipped,
                shadow: Some(Box::new(found.report)),
                end: (enough || whole && portion.ended).then_some(JobEnd::Done),
                ..idle(job, context.clock.now())
            },
        }
    }

    /// The last event that was looked at as a whole.
    fn position(&self, place: JobPlace) -> Position {
        match place {
            JobPlace::Start => Position(self.spec.range.first.0.saturating_sub(1)),
            JobPlace::Event(event) => event.position,
            JobPlace::Delivery(key) => Position(key.position.0.saturating_sub(1)),
        }
    }
}

/// What the runs of a part need.
struct Work {
    stage: Arc<Stage>,
    job: JobId,
    function: Option<Name>,
    wanted: Option<Candidate>,
    candidate: Arc<OnceLock<Arc<Deployed>>>,
    bus: BusId,
    keys: Vec<DeliveryKey>,
}

impl Work {
    async fn run(self) -> Result<Found, Failed> {
        let candidate = self.candidate().await?;
        let clock = self.stage.context.clock.clone();
        // Nobody closes it.
        let _turn = self.stage.turn.acquire().await;
        let began = clock.instant();
        let mut found = Found::default();
        for key in self.keys {
            if found.done > 0 && clock.instant().saturating_duration_since(began) >= PART {
                break;
            }
            // Its deliveries were those of the live ones.
            let place = (self.bus, DeliveryKey { replay: 0, ..key });
            let (context, candidate) = (self.stage.context.clone(), candidate.clone());
            let one = move |_| async move {
                let snapshot = context.snapshot();
                caught(shadow::run(&context, &snapshot, candidate.as_ref(), place)).await
            };
            let run = self.stage.attempts.workers.spawn(one, || {});
            let shadowed = run.fallible().await.ok_or(Failed::Stopped)?;
            // The host panicked.
            let shadowed = shadowed.unwrap_or_else(|| Ok(Shadowed::failed()));
            match shadowed.map_err(Failed::Store)? {
                Shadowed::Later => break,
                Shadowed::Skipped(reason) => found.skipped.add(reason, 1),
                Shadowed::Run(counts, difference) => {
                    found.report.counts.add(&counts);
                    found.report.differences.extend(difference.map(|own| *own));
                }
            }
            found.done += 1;
        }
        Ok(found)
    }

    /// The candidate, compiled; the first part after a start of the bus does that.
    async fn candidate(&self) -> Result<Option<Arc<Deployed>>, Failed> {
        let (Some(wanted), Some(name)) = (&self.wanted, &self.function) else {
            return Ok(None);
        };
        if let Some(known) = self.candidate.get() {
            return Ok(Some(known.clone()));
        }
        let (store, id, digest) = (self.stage.context.store.clone(), self.job, wanted.digest);
        let executor = &self.stage.context.executor;
        let component = executor.blocking(move || store.job_component(id, digest));
        let component = match component.await {
            Ok(Ok(Some(component))) => component,
            Ok(Ok(None)) => return Err(Failed::Job("the component is gone".to_owned())),
            Ok(Err(error)) if error.kind == Kind::Corrupt => {
                return Err(Failed::Job(format!("the component can't be read: {error}")));
            }
            Ok(Err(error)) => return Err(Failed::Store(error)),
            Err(_) => return Err(Failed::Stopped),
        };
        let prepared = self.stage.compiler.prepare(digest, component).await;
        let function = prepared.map_err(|error| match error.kind {
            edgebus_runtime::error::Kind::Invalid => Failed::Job(error.message),
            // Another try may do it.
            _ => Failed::Later,
        })?;
        let revision = Revision {
            name: name.clone(),
            digest,
            number: 0,
            deployed_at: self.stage.context.clock.now(),
            config: wanted.config.clone(),
        };
        let (compilation, kept) = (Compilation::done(function), Arc::default());
        let made = functions::deployed(revision, compilation, &self.stage.secrets, kept);
        Ok(Some(self.candidate.get_or_init(|| made).clone()))
    }
}
