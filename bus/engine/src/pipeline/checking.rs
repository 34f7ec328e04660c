//! Looks after the store's records: moves corrupt ones to quarantine, and checks every record slowly.
//!
//! Everything is checked after an unclean stop that left records unchecked, after something corrupt was found,
//! and once a week. A page of records is read, then nothing for nine times as long as that took: a tenth of one
//! thread and of the disk at most. The weekly check takes a fiftieth, and one page a second while functions
//! run. Between checks nothing is read and no timer runs but the one for the next check. Ends with the
//! pipeline. A page that can't be read ends the check and is logged.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Pipeline;
use super::lifecycle::Death;
use crate::clock::Clock;
use edgebus_model::{DeadReason, Timestamp};
use edgebus_store::{Checked, Corruption, Moved, Step, StepOutcome};

/// Records that are looked at in one go; at some µs each.
const PAGE_ROWS: u64 = 500;
/// Nothing is read for so many times as long as a page took, while there is reason to look.
const REST: u32 = 9;
/// The same for the weekly check.
const REST_WEEKLY: u32 = 49;
/// How long nothing is read at least.
const REST_MIN: Duration = Duration::from_millis(2);
/// The same for the weekly check while functions run.
const REST_BUSY: Duration = Duration::from_secs(1);
/// From the end of a check to the next one.
const WEEK_MS: u64 = 7 * 24 * 3_600_000;
/// From the start to the first check of a store that was never checked.
const FIRST: Duration = Duration::from_secs(3_600);
/// How often the place of a check is made durable.
const NOTED_EVERY: Duration = Duration::from_secs(60);
/// From one move of corrupt records to the next.
const MOVE_REST: Duration = Duration::from_millis(100);
/// Names of corrupt records that are logged at once.
const LOGGED_MAX: usize = 16;

/// Why everything is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    Unclean,
    Found,
    Weekly,
}

impl Why {
    fn words(self) -> &'static str {
        match self {
            Self::Unclean => " after an unclean stop",
            Self::Found => " because a corrupt record was found",
            Self::Weekly => "",
        }
    }
}

/// How far the check is, for those who ask.
#[derive(Debug, Default)]
pub struct Checking {
    /// `None` when nothing is checked. A plain lock, held for a copy.
    progress: Mutex<Option<(Why, Checked)>>,
    /// Something corrupt may wait to be moved.
    wake: Arc<Notify>,
}

impl Checking {
    /// How far the check is, in words; `None` if there is none.
    pub(crate) fn words(&self) -> Option<String> {
        let (why, checked) = (*self.progress())?;
        let percent = (checked.records.saturating_mul(100))
            .checked_div(checked.of)
            .unwrap_or(0);
        Some(format!(
            "checking the store{}: {percent} % of {} records, {} corrupt",
            why.words(),
            checked.of,
            checked.corrupt
        ))
    }

    /// Has corrupt records moved to quarantine.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Option<(Why, Checked)>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one turn came to.
enum Turn {
    /// Again after this.
    Rest(Duration),
    /// Nothing is to be done until then, or until it is woken.
    Until(Duration),
    /// The pipeline is gone.
    End,
}

/// The care of a pipeline's store.
struct Care {
    weak: Weak<Pipeline>,
    why: Why,
    /// What the check has seen so far.
    last: Option<Checked>,
    /// How many corrupt records were known when the check began.
    found: u64,
    noted: Instant,
    started: Instant,
    /// When the last check ended that this process began.
    ended: Option<Instant>,
    /// True while a check goes on that this process began.
    begun: bool,
    clock: Clock,
}

/// Checks and moves until the pipeline stops; `clean` if the last process stopped in order.
pub(super) async fn run(weak: Weak<Pipeline>, clean: bool) {
    let Some(pipeline) = weak.upgrade() else {
        return;
    };
    let (wake, clock) = (pipeline.checking.wake.clone(), pipeline.clock().clone());
    drop(pipeline);
    let mut claims_needed = Care {
        weak: weak.clone(),
        why: if clean { Why::Weekly } else { Why::Unclean },
        last: None,
        found: 0,
        noted: clock.instant(),
        started: clock.instant(),
        ended: None,
        begun: false,
        clock,
    };
    loop {
        let turn = claims_needed.turn().await;
        let Some(mut stop) = weak.upgrade().map(|pipeline| pipeline.stop.subscribe()) else {
            return;
        };
        let (rest, woken) = match turn {
            Turn::Rest(rest) => (rest, false),
            Turn::Until(rest) => (rest, true),
            Turn::End => return,
        };
        tokio::select! {
            biased;
            // Or the pipeline is gone.
            _ = stop.wait_for(|stop| *stop) => return,
            () = wake.notified(), if woken => {}
            () = claims_needed.clock.sleep(rest) => {}
        }
    }
}

impl Care {
    fn since(&self, then: Instant) -> Duration {
        self.clock.instant().saturating_duration_since(then)
    }

    async fn turn(&mut self) -> Turn {
        let Some(pipeline) = self.weak.upgrade() else {
            return Turn::End;
        };
        let store = pipeline.store().clone();
        let corruption = store.corruption();
        if !corruption.movable.is_empty() {
            move_aside(&pipeline, &corruption).await;
            return Turn::Rest(MOVE_REST);
        }
        let began = self.clock.instant();
        let executor = &pipeline.context.executor;
        let page = executor.blocking(move || store.check_next(PAGE_ROWS)).await;
        match page {
            Ok(Ok(Some(checked))) => {
                self.last = Some(checked);
                *pipeline.checking.progress() = Some((self.why, checked));
                if self.since(self.noted) > NOTED_EVERY {
                    self.note(&pipeline).await;
                }
                Turn::Rest(self.rest(&pipeline, self.since(began)))
            }
            Ok(Ok(None)) => self.ended(&pipeline).await,
            Ok(Err(error)) => {
                pipeline
                    .context
                    .reading_failed("a check of records", &error);
                self.last = None;
                *pipeline.checking.progress() = None;
                Turn::Until(Duration::from_millis(WEEK_MS))
            }
            // The process is stopping.
            Err(_) => Turn::End,
        }
    }

    fn rest(&self, pipeline: &Pipeline, took: Duration) -> Duration {
        if self.why != Why::Weekly {
            return (took * REST).max(REST_MIN);
        }
        let rest = (took * REST_WEEKLY).max(REST_MIN);
        if pipeline.scheduler.in_flight() > 0 {
            rest.max(REST_BUSY)
        } else {
            rest
        }
    }

    async fn note(&mut self, pipeline: &Pipeline) {
        let now = pipeline.clock().now();
        // It only saves work: without it the next start checks more than it must.
        let _ = pipeline.writer.apply(Step::NoteCheck { now }).await;
        self.noted = self.clock.instant();
    }

    /// No check goes on: says what the last one came to, and begins the next one when it is time.
    async fn ended(&mut self, pipeline: &Pipeline) -> Turn {
        *pipeline.checking.progress() = None;
        if std::mem::take(&mut self.begun) {
            self.ended = Some(self.clock.instant());
        }
        if let Some(checked) = self.last.take() {
            tracing::info!(
                records = checked.records,
                corrupt = checked.corrupt,
                "the store was checked{}",
                self.why.words()
            );
            self.note(pipeline).await;
        }
        let store = pipeline.store();
        let found = store.corruption().found;
        if found > self.found {
            // What was moved may have hidden more.
            self.found = found;
            return self.begin(pipeline, Why::Found);
        }
        let now = pipeline.clock().now();
        match self.wait(store.checked_at(), now) {
            Some(wait) => Turn::Until(wait),
            None => self.begin(pipeline, Why::Weekly),
        }
    }

    /// How long until the weekly check.
    fn wait(&self, ended: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
        let week = Duration::from_millis(WEEK_MS);
        // Of the one that this process saw: the store may not know of it.
        let own = self
            .ended
            .map(|ended| week.saturating_sub(self.since(ended)));
        let wait = match (own.filter(|own| !own.is_zero()), ended) {
            (Some(own), _) => own,
            (None, Some(ended)) => week.saturating_sub(Duration::from_millis(now.ms_since(ended))),
            (None, None) => FIRST.saturating_sub(self.since(self.started)),
        };
        (!wait.is_zero()).then_some(wait)
    }

    fn begin(&mut self, pipeline: &Pipeline, why: Why) -> Turn {
        self.why = why;
        self.noted = self.clock.instant();
        self.begun = true;
        pipeline.store().begin_check();
        Turn::Rest(REST_MIN)
    }
}

/// Moves what can be moved, and says so.
async fn move_aside(pipeline: &Pipeline, corruption: &Corruption) {
    for name in corruption.names.iter().take(LOGGED_MAX) {
        tracing::error!("{name}: the record is corrupt and was not used");
    }
    let step = Step::Quarantine {
        records: corruption.movable.clone(),
        now: pipeline.clock().now(),
    };
    let Ok(StepOutcome::Quarantined(moved)) = pipeline.writer.apply(step).await else {
        // The bus failed, or stops.
        return;
    };
    for key in &moved.dead {
        let death = Death {
            key: *key,
            fence: 0,
            attempts: 0,
            reason: DeadReason::Corrupt,
            at: pipeline.clock().now(),
        };
        let context = &pipeline.context;
        context.lifecycle.died(&context.snapshot(), death);
    }
    tell(&moved);
}

fn tell(moved: &Moved) {
    for name in moved.records.iter().take(LOGGED_MAX) {
        tracing::error!("{name}: moved to quarantine; `edgebus fsck` lists what is there (EB0207)");
    }
    for name in moved.repaired.iter().take(LOGGED_MAX) {
        tracing::warn!("{name}");
    }
    for (_, key) in moved.pending.iter().take(LOGGED_MAX) {
        tracing::warn!(delivery = %key, "a delivery with a corrupt record begins again");
    }
    for key in moved.dead.iter().take(LOGGED_MAX) {
        tracing::error!(delivery = %key, "a delivery with a corrupt record is a dead letter now");
    }
}
