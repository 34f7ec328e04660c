//! Moves jobs: a loop on its own thread, which gives every running job a turn.
//!
//! A turn reads a bounded part of what the job is about, and sends the writer one step that moves the job and does
//! what follows from that part. So a job goes on where it was after a restart, and does nothing twice. Each kind of
//! job has a file here that says what its next step is; it reads, and writes nothing.
//!
//! A job has one step at a time at the writer, and rests as long as that took: publishes and settlements have at least
//! half of the writer, however many jobs there are. Jobs take turns, so none waits for the end of another. Never
//! here: a change of a delivery, which the store makes and checks.

mod beside;
mod erase;
mod letters;
mod replay;
mod shadow;
mod skip;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::Pipeline;
use super::context::Context;
#[cfg(test)]
use super::injected;
use super::space::Space;
use super::tasks::Loop;
use super::writer::Writer;
use edgebus_model::error::{Error, Kind};
use edgebus_model::{
    Job, JobControl, JobId, JobSpec, JobState, ShadowSpec, SkipSpec, Skipped, Timestamp,
};
use edgebus_store::{Advance, JobEnd, Page, StartJob, Step, StepOutcome};

pub(crate) use erase::Erasure;
pub(crate) use letters::Letters;
pub(crate) use replay::{Replay, last_before};
pub(in crate::pipeline) use shadow::Stage;

/// Rows that one step looks at.
const ROWS_MAX: usize = 256;
/// Bytes of rows after which a step has enough.
const BYTES_MAX: usize = 512 << 10;
/// Steps of a job with a rate come so often, unless it does less than one thing in this time.
const SLICE: Duration = Duration::from_millis(100);
/// How long jobs rest after a step at most.
const REST_MAX: Duration = Duration::from_millis(200);
/// How long a job rests while the disk is full, and all of them after a read that failed.
const REST_FULL: Duration = Duration::from_secs(1);
/// Things that one step does while the disk is full: what frees space writes first.
const EFFECTS_FULL: usize = 32;
/// How long the loop rests when no job runs.
const IDLE: Duration = Duration::from_secs(3_600);
/// How long a job waits that has nothing to do now; twice as long each time, up to the second.
const WAIT: Duration = Duration::from_millis(10);
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Jobs that are read at once.
const JOBS_AT_ONCE: usize = 256;

/// What a step may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Things that are done.
    pub(crate) effects: usize,
    /// Rows that are looked at.
    pub(crate) rows: usize,
    /// Bytes of them.
    pub(crate) bytes: usize,
}

/// The next step of a job, and what its rows weighed, in bytes.
struct Moved {
    step: Advance,
    bytes: usize,
}

/// Wakes the loop; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Wake(Arc<Notify>);

impl Wake {
    pub(super) fn wake(&self) {
        self.0.notify_one();
    }
}

/// Starts the loop, which ends with `stop`.
///
/// # Errors
/// The operating system gives no thread.
pub(super) fn start(
    context: &Arc<Context>,
    shadows: Arc<Stage>,
    writer: Writer,
    wake: &Wake,
    space: watch::Receiver<Space>,
    stop: watch::Receiver<bool>,
) -> std::io::Result<Loop> {
    let runner = Runner {
        context: context.clone(),
        shadows,
        writer,
        wake: wake.clone(),
        space,
        stop,
        running: BTreeMap::new(),
        erasing: false,
        last: None,
    };
    let health = context.health.clone();
    context
        .executor
        .essential_loop("jobs", health, runner.run())
}

/// A job that runs.
struct Moving {
    job: Job,
    /// What is kept of it between steps.
    prepared: Prepared,
    /// Its next turn is not before this.
    next: Instant,
    /// How long it waited last, if it had nothing to do.
    waited: Duration,
}

/// What a job needs beside what is stored of it.
enum Prepared {
    Letters(Box<Letters>),
    Replay(Box<Replay>),
    Skip(SkipSpec),
    Erase(Box<Erasure>),
    Shadow(Box<shadow::Shadow>),
    /// It can't be moved, and why.
    Unfit(String),
}

impl Prepared {
    fn of(spec: &JobSpec, shadows: &Arc<Stage>) -> Self {
        let prepared = match spec {
            JobSpec::Redrive(selection) | JobSpec::Purge(selection) => {
                Letters::new(selection.clone()).map(|own| Self::Letters(Box::new(own)))
            }
            JobSpec::Replay(spec) => {
                Replay::new(spec.clone()).map(|own| Self::Replay(Box::new(own)))
            }
            JobSpec::Skip(spec) => Ok(Self::Skip(*spec)),
            JobSpec::Erase(spec) => {
                Erasure::new(spec.clone()).map(|own| Self::Erase(Box::new(own)))
            }
            JobSpec::Shadow(spec) => {
                let own = shadow::Shadow::new(shadows, (**spec).clone());
                own.map(|own| Self::Shadow(Box::new(own)))
            }
        };
        prepared.unwrap_or_else(Self::Unfit)
    }
}

struct Runner {
    context: Arc<Context>,
    shadows: Arc<Stage>,
    writer: Writer,
    wake: Wake,
    space: watch::Receiver<Space>,
    stop: watch::Receiver<bool>,
    running: BTreeMap<JobId, Moving>,
    /// True while an erasure has not come to its end, whether it moves or not: redrives wait.
    erasing: bool,
    /// The one that had the last turn.
    last: Option<JobId>,
}

impl Runner {
    async fn run(mut self) {
        self.look();
        loop {
            let rest = match self.next() {
                Ok(id) => match self.turn(id).await {
                    Some(rest) => rest,
                    None => return,
                },
                Err(rest) => rest,
            };
            let clock = self.context.clock.clone();
            let woken = tokio::select! {
                biased;
                // Or the pipeline is gone.
                _ = self.stop.wait_for(|stop| *stop) => return,
                () = self.wake.0.notified() => true,
                () = clock.sleep(rest) => false,
            };
            if woken {
                self.look();
            }
        }
    }

    /// Reads which jobs run.
    fn look(&mut self) {
        let (mut found, mut erasing) = (BTreeMap::new(), false);
        let mut from = None;
        loop {
            let page = Page::forward(JOBS_AT_ONCE, usize::MAX);
            let page = match self.context.store.jobs_page(from, page) {
                Ok(page) => page,
                Err(error) => return self.context.reading_failed("the jobs", &error),
            };
            for job in page.rows {
                erasing |= matches!(job.spec, JobSpec::Erase(_)) && !job.state.is_final();
                if job.state == JobState::Running {
                    let known = self.running.remove(&job.id);
                    let moving = known.unwrap_or_else(|| Moving {
                        prepared: Prepared::of(&job.spec, &self.shadows),
                        next: self.context.clock.instant(),
                        waited: Duration::ZERO,
                        job: job.clone(),
                    });
                    found.insert(job.id, Moving { job, ..moving });
                }
            }
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        (self.running, self.erasing) = (found, erasing);
    }

    /// The job whose turn it is, or how long it is until there is one.
    fn next(&self) -> Result<JobId, Duration> {
        let now = self.context.clock.instant();
        let ready = |(id, moving): (&JobId, &Moving)| (moving.next <= now).then_some(*id);
        let behind = self
            .last
            .map_or(JobId(0), |last| JobId(last.0.saturating_add(1)));
        let turn = self.running.range(behind..).find_map(ready);
        let turn = turn.or_else(|| self.running.iter().find_map(ready));
        turn.ok_or_else(|| {
            let waits = self.running.values().map(|moving| moving.next);
            waits
                .min()
                .map_or(IDLE, |next| next.saturating_duration_since(now))
        })
    }

    /// Moves a job by one step; how long jobs rest afterwards, or `None` if the bus stops.
    async fn turn(&mut self, id: JobId) -> Option<Duration> {
        self.last = Some(id);
        let clock = self.context.clock.clone();
        let began = clock.instant();
        let space = *self.space.borrow();
        if let Some(moving) = self.running.get_mut(&id)
            && space > most_space_for(&moving.job.spec)
        {
            moving.next = began + REST_FULL;
            return Some(Duration::ZERO);
        }
        let Some(moving) = self.running.get(&id) else {
            return Some(Duration::ZERO);
        };
        let rate = moving.job.rate;
        let moved = match self.step(moving, space) {
            Ok(Some(moved)) => moved,
            Ok(None) => {
                let moving = self.running.get_mut(&id)?;
                // Its deliveries run beside this loop, and it costs nothing to ask for them.
                let waited_max = match &moving.prepared {
                    Prepared::Shadow(own) if own.is_running() => WAIT,
                    _ => WAIT_MAX,
                };
                moving.waited = (moving.waited * 2).clamp(WAIT, waited_max);
                moving.next = began + moving.waited;
                return Some(Duration::ZERO);
            }
            Err(error) => {
                // One corrupt record ends this job; an engine that can't read ends the bus.
                self.context.reading_failed("what a job is about", &error);
                Moved {
                    step: ended(&moving.job, JobEnd::Failed(error.message)),
                    bytes: 0,
                }
            }
        };
        #[cfg(test)]
        let again = injected::is(injected::Bug::AdvanceTwice).then(|| moved.step.clone());
        let outcome = self.writer.advance(moved.step, moved.bytes).await;
        #[cfg(test)]
        if let Some(step) = again {
            let _ = self.writer.advance(step, 0).await;
        }
        // The writer has stopped, or the commit failed.
        let outcome = outcome.ok()?;
        let took = clock.instant().saturating_duration_since(began);
        match outcome {
            StepOutcome::Advanced(advanced) => {
                let job = advanced.job;
                if job.state == JobState::Running
                    && let Some(moving) = self.running.get_mut(&id)
                {
                    let done = job.progress.done.saturating_sub(moving.job.progress.done);
                    moving.next = clock.instant() + pause(rate, done);
                    moving.waited = Duration::ZERO;
                    moving.job = job;
                } else {
                    tell(&job);
                    let lifecycle = &self.context.lifecycle;
                    lifecycle.job_ended(&self.context.snapshot(), &job);
                    self.running.remove(&id);
                    if self.erasing {
                        self.look();
                    }
                }
            }
            // It was told something meanwhile.
            _ => self.look(),
        }
        Some(took.min(REST_MAX))
    }

    /// The job's next step; `None` if it has nothing to do now.
    fn step(&self, moving: &Moving, space: Space) -> Result<Option<Moved>, edgebus_store::Error> {
        let job = &moving.job;
        let effects = effects_max(job.rate);
        let budget = Budget {
            effects: match space {
                Space::Ample | Space::Low => effects,
                Space::Critical | Space::Exhausted => effects.min(EFFECTS_FULL),
            },
            rows: ROWS_MAX,
            bytes: BYTES_MAX,
        };
        match &moving.prepared {
            // What is erased must not come back from a dead letter behind the erasure's place.
            Prepared::Letters(_) if self.erasing && matches!(job.spec, JobSpec::Redrive(_)) => {
                Ok(None)
            }
            Prepared::Letters(letters) => letters.step(&self.context, job, budget).map(Some),
            Prepared::Replay(replay) => replay.step(&self.context, job, budget),
            Prepared::Skip(spec) => skip::step(&self.context, *spec, job, budget).map(Some),
            Prepared::Erase(erasure) => erasure.step(&self.context, job, budget).map(Some),
            Prepared::Shadow(own) => own.step(&self.context, job, budget),
            Prepared::Unfit(reason) => Ok(Some(Moved {
                step: ended(job, JobEnd::Failed(reason.clone())),
                bytes: 0,
            })),
        }
    }
}

/// The worst level of space at which a job moves. A purge frees space, so it goes on for longer than others.
fn most_space_for(spec: &JobSpec) -> Space {
    match spec {
        JobSpec::Purge(_) => Space::Critical,
        JobSpec::Redrive(_)
        | JobSpec::Replay(_)
        | JobSpec::Skip(_)
        | JobSpec::Erase(_)
        | JobSpec::Shadow(_) => Space::Low,
    }
}

/// Things that one step of a job with this rate does.
fn effects_max(rate: Option<u32>) -> usize {
    let all = Advance::EFFECTS_MAX.min(ROWS_MAX);
    let Some(rate) = rate else {
        return all;
    };
    let slice = u64::from(rate) * u64::try_from(SLICE.as_millis()).unwrap_or(0) / 1_000;
    usize::try_from(slice).unwrap_or(all).clamp(1, all)
}

/// How long a job of this rate waits after it has done so many things.
fn pause(rate: Option<u32>, done: u64) -> Duration {
    rate.map_or(Duration::ZERO, |rate| {
        let ms = done.saturating_mul(1_000) / u64::from(rate.max(1));
        Duration::from_millis(ms)
    })
}

/// A step that leaves a job where it is and does nothing.
fn idle(job: &Job, now: Timestamp) -> Advance {
    Advance {
        job: job.id,
        from: job.place,
        to: job.place,
        looked: 0,
        skipped: Skipped::default(),
        effects: Vec::new(),
        shadow: None,
        end: None,
        now,
    }
}

/// The step that ends a job where it is.
fn ended(job: &Job, end: JobEnd) -> Advance {
    Advance {
        end: Some(end),
        ..idle(job, job.changed_at)
    }
}

fn tell(job: &Job) {
    let (id, kind, progress) = (job.id.0, job.spec.word(), &job.progress);
    let skipped = progress.skipped.total();
    match &job.state {
        JobState::Failed { reason } => {
            tracing::error!(
                job = id,
                kind,
                done = progress.done,
                "a job failed: {reason}"
            );
        }
        _ => tracing::info!(
            job = id,
            kind,
            done = progress.done,
            skipped,
            "a job is done"
        ),
    }
}

impl Pipeline {
    /// Makes a job, which runs from now on; `of` is how much there is to look at, about.
    ///
    /// # Errors
    /// [`Kind::Conflict`] while too many have not ended; [`Kind::Unknown`], [`Kind::Unavailable`].
    pub async fn start_job(&self, spec: JobSpec, rate: Option<u32>, of: u64) -> Result<Job, Error> {
        self.start_job_with(spec, rate, of, None).await
    }

    async fn start_job_with(
        &self,
        spec: JobSpec,
        rate: Option<u32>,
        of: u64,
        component: Option<Bytes>,
    ) -> Result<Job, Error> {
        let step = Step::StartJob(Box::new(StartJob {
            spec,
            rate,
            of,
            component,
            now: self.clock().now(),
        }));
        self.told(step, None).await
    }

    /// Makes a shadow replay. A candidate's component that is not deployed comes with it, and is compiled first.
    ///
    /// # Errors
    /// As [`Pipeline::start_job`]; [`Kind::Invalid`] for a component that is no function; [`Kind::Busy`] if too many
    /// compile.
    pub async fn start_shadow(
        &self,
        spec: ShadowSpec,
        component: Option<Bytes>,
        rate: Option<u32>,
        of: u64,
    ) -> Result<Job, Error> {
        if let (Some(component), Some(name), Some(candidate)) =
            (&component, &spec.function, &spec.candidate)
        {
            let new = (name.clone(), candidate.digest, component.clone());
            self.compiler.compile_new(vec![new]).await?;
        }
        let spec = JobSpec::Shadow(Box::new(spec));
        self.start_job_with(spec, rate, of, component).await
    }

    /// Tells a job something.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Conflict`] if it has ended; [`Kind::Unknown`], [`Kind::Unavailable`].
    pub async fn control_job(&self, job: JobId, control: JobControl) -> Result<Job, Error> {
        let now = self.clock().now();
        let step = Step::ControlJob { job, control, now };
        self.told(step, Some(job)).await
    }

    async fn told(&self, step: Step, id: Option<JobId>) -> Result<Job, Error> {
        self.ready()
            .map_err(|reason| Error::new(Kind::Unavailable, reason))?;
        let outcome = self.writer.apply(step).await?;
        self.jobs.wake();
        match outcome {
            StepOutcome::Job(job) => Ok(*job),
            StepOutcome::Denied(reason) => Err(Error::new(Kind::Conflict, reason)),
            _ => Err(no_job(id.unwrap_or(JobId(0)))),
        }
    }
}

/// What is said of a number that no job has.
pub(crate) fn no_job(id: JobId) -> Error {
    let kept = Job::ENDED_KEPT;
    Error::new(
        Kind::NotFound,
        format!("there is no job {id}; the last {kept} that ended are kept"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_in_small_steps() {
        // Rate, things in a step, how long the job waits after a full step in milliseconds.
        let table = [
            (None, ROWS_MAX, 0),
            (Some(1), 1, 1_000),
            (Some(10), 1, 100),
            (Some(100), 10, 100),
            (Some(2_000), 200, 100),
            (Some(u32::MAX), ROWS_MAX, 0),
        ];
        for (rate, effects, ms) in table {
            assert_eq!(effects_max(rate), effects, "{rate:?}");
            let pause = pause(rate, effects as u64).as_millis();
            assert_eq!(pause, ms, "{rate:?}");
        }
    }
}
