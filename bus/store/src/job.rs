//! The steps of jobs, and what both stores decide alike about them.
//!
//! An advance names the place that it begins at. It is refused if the job is elsewhere or does not run, so that an
//! advance that is repeated, or that a pause overtook, writes nothing. Each of its effects is checked in the
//! transaction, for itself: what has changed meanwhile is counted as skipped, and hinders no other. Never here: what
//! a job of some kind looks at next.

use super::catalog_state::CatalogState;
use bytes::Bytes;
use edgebus_model::{
    DeadLetter, Delivery, DeliveryKey, Digest, DiscardReason, Discarded, Erased, ErasedCounts,
    EventRef, Job, JobControl, JobId, JobPlace, JobSpec, JobState, Pending, Position, ShadowReport,
    SkipReason, Skipped, SubscriptionId, Succeeded, Target, Timestamp,
};

/// Makes a job, which runs from then on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StartJob {
    /// What it does.
    pub spec: JobSpec,
    /// As [`Job::rate`].
    pub rate: Option<u32>,
    /// As in the job's progress: how much there is to look at, about.
    pub of: u64,
    /// The component of a shadow replay's candidate, which is kept until the job is done or cancelled.
    pub component: Option<Bytes>,
    /// When.
    pub now: Timestamp,
}

/// Moves a job, with what that leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advance {
    /// Which one.
    pub job: JobId,
    /// The place that it is at.
    pub from: JobPlace,
    /// The place that it is at afterwards.
    pub to: JobPlace,
    /// Rows that were looked at for this.
    pub looked: u64,
    /// What was selected and passed over already while it was looked at.
    pub skipped: Skipped,
    /// What is done, at most [`Advance::EFFECTS_MAX`].
    pub effects: Vec<JobEffect>,
    /// What a shadow replay found in this part: its counts are added to those before, and its differences kept as
    /// far as there is room for them.
    pub shadow: Option<Box<ShadowReport>>,
    /// Set if the job ends with this.
    pub end: Option<JobEnd>,
    /// When.
    pub now: Timestamp,
}

impl Advance {
    /// Effects of one step.
    pub const EFFECTS_MAX: usize = 500;
}

/// How a job ends by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JobEnd {
    /// There is nothing left to do.
    Done,
    /// It can't go on, and why.
    Failed(String),
}

impl From<JobEnd> for JobState {
    fn from(end: JobEnd) -> Self {
        match end {
            JobEnd::Done => Self::Done,
            JobEnd::Failed(reason) => Self::Failed { reason },
        }
    }
}

/// One thing that a job does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobEffect {
    /// Makes a dead letter pending again, due at once. Its event is written back at its place if the log no longer
    /// has it.
    Redrive {
        /// Which one.
        key: DeliveryKey,
        /// The fence that it died under: one that has died again since is another's.
        fence: u32,
    },
    /// Lets go of a dead letter; that its event was delivered so is kept.
    Purge {
        /// Which one.
        key: DeliveryKey,
        /// As for a redrive.
        fence: u32,
    },
    /// Makes an event pending again, under the job's number, due at once. Its age counts from then.
    Deliver {
        /// To whom.
        subscription: SubscriptionId,
        /// Which event.
        position: Position,
    },
    /// Ends a pending delivery without an attempt; an attempt that runs has no effect any more.
    Skip {
        /// Which one.
        key: DeliveryKey,
    },
    /// Erases an event of the log, and what its deliveries said that have ended. What is pending for it ends without
    /// an attempt, as skipped deliveries do. Its dead letters have effects of their own.
    EraseEvent {
        /// Where it is.
        at: EventRef,
    },
    /// Erases a dead letter's copy of its event, and what its attempts said.
    EraseLetter {
        /// Which one.
        key: DeliveryKey,
    },
}

/// What came of an advance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advanced {
    /// The job as it is now.
    pub job: Job,
    /// Deliveries that wait now, with their due times.
    pub pending: Vec<(Timestamp, DeliveryKey)>,
    /// Deliveries that are no longer pending.
    pub ended: Vec<DeliveryKey>,
}

/// The new job, which is number `id`.
pub(super) fn started(start: &StartJob, id: JobId) -> Job {
    Job {
        id,
        spec: start.spec.clone(),
        state: JobState::Running,
        place: JobPlace::Start,
        progress: edgebus_model::JobProgress {
            of: start.of,
            ..Default::default()
        },
        results: edgebus_model::JobResults::default(),
        rate: start.rate,
        created_at: start.now,
        changed_at: start.now,
    }
}

/// Why no further job is made, if `unended` have not ended and `last` is the last number that was given.
pub(super) fn refusal(unended: usize, last: u32) -> Option<String> {
    if unended >= Job::UNENDED_MAX {
        return Some(format!(
            "{unended} jobs have not ended; cancel some, or wait until some are done"
        ));
    }
    (last == u32::MAX).then(|| "every number of a job is given".to_owned())
}

/// Why a replay can't begin with its subscriptions, if they are not there: the change that was to make them was denied.
pub(super) fn without_subscription(known: &CatalogState, spec: &JobSpec) -> Option<String> {
    let JobSpec::Replay(spec) = spec else {
        return None;
    };
    let gone = |id: &&SubscriptionId| !known.subscriptions.contains_key(id);
    let gone = spec.subscriptions.iter().find(gone)?;
    Some(format!("there is no subscription number {}", gone.0))
}

/// The component that a job keeps of its own, unless it has come to its end: one that failed may try again.
pub(super) fn needs_component(job: &Job) -> Option<Digest> {
    let JobSpec::Shadow(spec) = &job.spec else {
        return None;
    };
    let over = matches!(job.state, JobState::Done | JobState::Cancelled);
    let candidate = spec.candidate.as_ref().filter(|_| !over);
    candidate.map(|candidate| candidate.digest)
}

/// True if the advance fits the job.
pub(super) fn fits(job: &Job, advance: &Advance) -> bool {
    let fits = job.state == JobState::Running && job.place == advance.from;
    #[cfg(any(test, feature = "testing"))]
    let fits = fits || injected::TWICE.get();
    fits
}

/// Moves the job; its effects are counted by whoever made them.
pub(super) fn advance(
    job: &mut Job,
    step: &Advance,
    done: u64,
    (skipped, erased): (&Skipped, ErasedCounts),
) {
    job.place = step.to;
    job.changed_at = job.changed_at.max(step.now);
    let runs = step.shadow.as_ref().map_or(0, |found| found.counts.runs);
    let done = done.saturating_add(runs);
    let progress = &mut job.progress;
    progress.looked = progress.looked.saturating_add(step.looked);
    progress.of = progress.of.max(progress.looked);
    progress.done = progress.done.saturating_add(done);
    for (reason, count) in step.skipped.iter().chain(skipped.iter()) {
        progress.skipped.add(reason, count);
    }
    // Only an erasure has a place for them.
    if matches!(job.spec, JobSpec::Erase(_)) {
        progress.erased.add(erased);
    }
    if let Some(end) = &step.end {
        job.state = end.clone().into();
    }
    if job.state.is_final() {
        job.spec.forget();
    }
}

/// Tells the job something, or says why that can't be.
pub(super) fn control(job: &mut Job, control: JobControl, now: Timestamp) -> Result<(), String> {
    let told = control.after(&job.state);
    job.state = told.map_err(|reason| format!("job {}: {reason}", job.id))?;
    if let JobControl::Rate(rate) = control {
        job.rate = rate;
    }
    if job.state.is_final() {
        job.spec.forget();
    }
    job.changed_at = job.changed_at.max(now);
    Ok(())
}

/// Why a dead letter can't be redriven, if it can't.
pub(super) fn hindrance(
    known: &CatalogState,
    letter: &DeadLetter,
    fence: u32,
) -> Option<SkipReason> {
    if letter.delivery.fence != fence {
        return Some(SkipReason::Gone);
    }
    cannot_run(known, letter.delivery.key.subscription).or_else(|| letter.unfit())
}

/// Why no delivery of a subscription can run, if none can.
pub(super) fn cannot_run(known: &CatalogState, id: SubscriptionId) -> Option<SkipReason> {
    let subscription = known.subscriptions.get(&id);
    let Some(subscription) = subscription.filter(|own| own.active) else {
        return Some(SkipReason::SubscriptionEnded);
    };
    match &subscription.target.to {
        Target::Function(function) if !known.functions.contains_key(function) => {
            Some(SkipReason::FunctionMissing)
        }
        _ => None,
    }
}

/// What an effect of an erasure writes in place of what it erases.
pub(super) fn mark(step: &Advance) -> Erased {
    Erased {
        job: step.job,
        at: step.now,
    }
}

/// What is kept of a pending delivery that ended without an attempt.
pub(super) fn discarded(
    before: Pending,
    now: Timestamp,
    (job, reason): (JobId, DiscardReason),
) -> Succeeded {
    let ended = Pending {
        due_at: None,
        claims: 0,
        fence: before.fence.saturating_add(1),
        ..before
    };
    Succeeded {
        delivery: Delivery::new(ended, Vec::new()),
        settled_at: now,
        emitted: 0,
        discarded: Some(Discarded { job, reason }),
    }
}

/// What is kept of a dead letter that was purged.
pub(super) fn purged(ended: Pending, now: Timestamp, job: JobId) -> Succeeded {
    Succeeded {
        delivery: Delivery::new(ended, Vec::new()),
        settled_at: now,
        emitted: 0,
        discarded: Some(Discarded {
            job,
            reason: DiscardReason::Purged,
        }),
    }
}

/// Bugs that the tests must catch, on the thread that turns them on. Never in a release.
#[cfg(any(test, feature = "testing"))]
pub mod injected {
    use std::cell::Cell;

    thread_local! {
        /// An advance is taken wherever the job is, and whether it runs or not.
        pub static TWICE: Cell<bool> = const { Cell::new(false) };
        /// An erasure leaves what is pending for an event.
        pub static PENDING_KEPT: Cell<bool> = const { Cell::new(false) };
    }
}
