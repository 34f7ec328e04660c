//! A job: work that the bus does itself, by bounded steps, with a place that is stored.
//!
//! A step moves the place and writes what it leads to together, so that a job is resumed where it was, and does
//! nothing twice. Never here: how a job of some kind works, or what a step writes.

use std::fmt;
use std::str::FromStr;

use super::{
    DeadReason, DeliveryKey, EraseSpec, ErasedCounts, EventRef, ReplaySpec, ShadowSpec, SkipSpec,
    SubscriptionId, Timestamp,
};

/// A job's number. Numbers count from 1, and none is given again. It is also the number of a replay, as in
/// [`DeliveryKey::replay`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobId(pub u32);

impl fmt::Display for JobId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl FromStr for JobId {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse().ok()).flatten();
        number.filter(|number| *number > 0).map(Self).ok_or(())
    }
}

/// What a job does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JobSpec {
    /// Makes dead letters pending again.
    Redrive(LetterSelection),
    /// Lets go of dead letters.
    Purge(LetterSelection),
    /// Delivers events again.
    Replay(ReplaySpec),
    /// Ends pending deliveries without an attempt.
    Skip(SkipSpec),
    /// Replaces the data of events by a mark.
    Erase(EraseSpec),
    /// Runs functions again without effects, and tells what differs.
    Shadow(Box<ShadowSpec>),
}

impl JobSpec {
    /// One stable word for its kind.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Redrive(_) => "redrive",
            Self::Purge(_) => "purge",
            Self::Replay(_) => "replay",
            Self::Skip(_) => "skip",
            Self::Erase(_) => "erase",
            Self::Shadow(_) => "shadow",
        }
    }

    /// Forgets what is not to be kept of a job that goes on no more.
    pub fn forget(&mut self) {
        if let Self::Erase(spec) = self {
            spec.forget();
        }
    }
}

/// Which dead letters. What is not said does not narrow it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LetterSelection {
    /// These and no others, in order and each once; empty for all. At most [`LetterSelection::KEYS_MAX`].
    pub keys: Vec<DeliveryKey>,
    /// Those of these subscriptions, in order; empty for all.
    pub subscriptions: Vec<SubscriptionId>,
    /// Those that died for this reason.
    pub reason: Option<DeadReason>,
    /// Those that died at or after this time.
    pub since: Option<Timestamp>,
    /// Those that died before this time.
    pub until: Option<Timestamp>,
    /// Those of events of this type.
    pub kind: Option<String>,
    /// Those of events that match this pattern, as JSON text.
    pub pattern: Option<String>,
    /// The job ends after so many.
    pub limit: Option<u64>,
}

impl LetterSelection {
    /// Dead letters that can be named one by one.
    pub const KEYS_MAX: usize = 1_000;
    /// Subscriptions that can be named one by one.
    pub const SUBSCRIPTIONS_MAX: usize = 1_000;
    /// The longest pattern, in bytes.
    pub const PATTERN_BYTES_MAX: usize = 16 << 10;
}

/// Where a job stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JobState {
    /// It moves.
    Running,
    /// It stands still until it is resumed.
    Paused,
    /// It came to its end.
    Done,
    /// Somebody ended it; what it had done stays.
    Cancelled,
    /// It can't go on; resumed, it tries again where it is.
    Failed {
        /// Why.
        reason: String,
    },
}

impl JobState {
    /// One stable word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed { .. } => "failed",
        }
    }

    /// True if it never moves again, whatever it is told.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }

    /// True unless it moves, or may move again without being told to try again.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !matches!(self, Self::Running | Self::Paused)
    }
}

/// How far a job is: everything up to here, in the order of its kind, was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum JobPlace {
    /// Nothing was.
    #[default]
    Start,
    /// Deliveries or dead letters, in the order of their keys.
    Delivery(DeliveryKey),
    /// Events, in the order of bus and position.
    Event(EventRef),
}

/// Why a job passed something over that it was to work on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SkipReason {
    /// It is gone, or something else happened to it meanwhile.
    Gone,
    /// Its event could not be read back intact, so that there is nothing to run on.
    Corrupt,
    /// Its subscription left the manifest.
    SubscriptionEnded,
    /// The function of its subscription is not deployed.
    FunctionMissing,
    /// Retention removed the event before the job came to it.
    Removed,
    /// Its event was erased.
    Erased,
}

impl SkipReason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Gone,
        Self::Corrupt,
        Self::SubscriptionEnded,
        Self::FunctionMissing,
        Self::Removed,
        Self::Erased,
    ];

    /// One stable word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Corrupt => "corrupt",
            Self::SubscriptionEnded => "subscription-ended",
            Self::FunctionMissing => "function-missing",
            Self::Removed => "removed",
            Self::Erased => "erased",
        }
    }
}

/// How much was passed over, by reason; at most one entry for each, in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Skipped(Vec<(SkipReason, u64)>);

impl Skipped {
    /// Counts `count` more.
    pub fn add(&mut self, reason: SkipReason, count: u64) {
        if count == 0 {
            return;
        }
        match self.0.binary_search_by_key(&reason, |(known, _)| *known) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(count),
            Err(at) => self.0.insert(at, (reason, count)),
        }
    }

    /// Each reason that occurred, and how often.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (SkipReason, u64)> + '_ {
        self.0.iter().copied()
    }

    /// Over all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.iter()
            .fold(0, |sum, (_, count)| sum.saturating_add(count))
    }
}

/// What a job has done so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JobProgress {
    /// Rows that it looked at, of whatever it reads.
    pub looked: u64,
    /// Rows that there were to look at when it was made, about.
    pub of: u64,
    /// What it did: dead letters made pending, say.
    pub done: u64,
    /// What it passed over although it was selected.
    pub skipped: Skipped,
    /// Of an erasure: what it has erased.
    pub erased: ErasedCounts,
}

/// What became of the deliveries that a job made pending.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct JobResults {
    /// They succeeded.
    pub succeeded: u64,
    /// They are dead letters, or were until something else happened to them.
    pub died: u64,
    /// They ended without an attempt: a seek passed them, or somebody let go of what was pending.
    pub discarded: u64,
    /// They ended and nobody knows how: the record that counted them was corrupt.
    pub uncounted: u64,
}

impl JobResults {
    /// Deliveries that are no longer pending.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.succeeded
            .saturating_add(self.died)
            .saturating_add(self.discarded)
            .saturating_add(self.uncounted)
    }
}

/// A job as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// What it does.
    pub spec: JobSpec,
    /// Where it stands.
    pub state: JobState,
    /// How far it is.
    pub place: JobPlace,
    /// What it has done.
    pub progress: JobProgress,
    /// What became of what it made pending.
    pub results: JobResults,
    /// Things that it does in a second at most; `None` is as fast as it can. At least 1.
    pub rate: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last moved or was told something.
    pub changed_at: Timestamp,
}

impl Job {
    /// Jobs that have ended and are kept; of more, those with the lowest numbers go.
    pub const ENDED_KEPT: usize = 1_000;
    /// Jobs that have not ended; no more are made.
    pub const UNENDED_MAX: usize = 100;
}

/// How a delivery that a job made pending is no longer so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobResult {
    /// It succeeded.
    Succeeded,
    /// It is a dead letter.
    Died,
    /// It was let go without an attempt.
    Discarded,
}

impl JobResults {
    /// Counts one more.
    pub fn add(&mut self, result: JobResult) {
        let count = match result {
            JobResult::Succeeded => &mut self.succeeded,
            JobResult::Died => &mut self.died,
            JobResult::Discarded => &mut self.discarded,
        };
        *count = count.saturating_add(1);
    }
}

/// What a job is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobControl {
    /// Stand still.
    Pause,
    /// Go on, or try again.
    Resume,
    /// End.
    Cancel,
    /// From now on so many things a second at most; `None` is as fast as it can.
    Rate(Option<u32>),
}

impl JobControl {
    /// The job's state after it was told, or why it can't be.
    ///
    /// # Errors
    /// The job has ended, in words.
    pub fn after(self, state: &JobState) -> Result<JobState, String> {
        use JobState::{Cancelled, Done, Failed, Paused, Running};
        match (self, state) {
            (Self::Pause, Running | Paused) => Ok(Paused),
            (Self::Resume, Running | Paused | Failed { .. }) => Ok(Running),
            (Self::Cancel, Running | Paused | Failed { .. } | Cancelled) => Ok(Cancelled),
            (Self::Rate(_), Running | Paused | Failed { .. }) => Ok(state.clone()),
            (_, Done) => Err("it is done".to_owned()),
            (_, Cancelled) => Err("it was cancelled".to_owned()),
            (_, Failed { reason }) => Err(format!(
                "it has failed ({reason}); resume it, and it tries again"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_lives_by_the_table() {
        use JobControl::{Cancel, Pause, Rate, Resume};
        use JobState::{Cancelled, Done, Paused, Running};
        let failed = JobState::Failed {
            reason: "no".into(),
        };
        let table = [
            (Pause, Running, Some(Paused)),
            (Pause, Paused, Some(Paused)),
            (Pause, Done, None),
            (Pause, failed.clone(), None),
            (Resume, Running, Some(Running)),
            (Resume, Paused, Some(Running)),
            (Resume, failed.clone(), Some(Running)),
            (Resume, Cancelled, None),
            (Cancel, Running, Some(Cancelled)),
            (Cancel, failed.clone(), Some(Cancelled)),
            (Cancel, Cancelled, Some(Cancelled)),
            (Cancel, Done, None),
            (Rate(Some(3)), Paused, Some(Paused)),
            (Rate(None), failed.clone(), Some(failed)),
            (Rate(None), Done, None),
        ];
        for (control, state, expected) in table {
            let after = control.after(&state);
            assert_eq!(after.ok(), expected, "{control:?} of {state:?}");
        }
    }

    #[test]
    fn numbers_read_what_they_print() {
        assert_eq!("17".parse(), Ok(JobId(17)));
        for text in ["", "0", "+1", "1 ", "r1", "4294967296"] {
            assert_eq!(text.parse::<JobId>(), Err(()), "{text}");
        }
    }

    #[test]
    fn what_is_skipped_is_counted_by_reason() {
        let mut skipped = Skipped::default();
        skipped.add(SkipReason::Corrupt, 2);
        skipped.add(SkipReason::Gone, 1);
        skipped.add(SkipReason::Corrupt, 1);
        skipped.add(SkipReason::FunctionMissing, 0);
        let seen: Vec<_> = skipped.iter().collect();
        assert_eq!(seen, [(SkipReason::Gone, 1), (SkipReason::Corrupt, 3)]);
        assert_eq!(skipped.total(), 4);
    }
}
