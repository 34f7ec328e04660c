//! What a replay delivers again, and what a seek skips.
//!
//! Both are work of a job: the replay's number is the job's. Never here: how the log is read, or what matches.

use super::{BusId, JobId, Name, Position, SubscriptionId, Timestamp};

/// A range of a bus's log that is delivered again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplaySpec {
    /// What its deliveries and the events that they emit are marked with; `None` is `replay-` and its number.
    pub name: Option<Name>,
    /// Who asked for it.
    pub purpose: ReplayPurpose,
    /// The bus.
    pub bus: BusId,
    /// The first position.
    pub first: Position,
    /// The last position; the highest number there is for one that ends where events are live for its subscriptions.
    pub last: Position,
    /// To whom, in order; empty for all. At most [`ReplaySpec::SUBSCRIPTIONS_MAX`].
    pub subscriptions: Vec<SubscriptionId>,
    /// Events of this type alone.
    pub kind: Option<String>,
    /// Events alone that match this pattern, as JSON text.
    pub pattern: Option<String>,
    /// To those who got each event then, instead of those whose rules match it today.
    pub as_matched: bool,
}

impl ReplaySpec {
    /// Subscriptions that can be named one by one.
    pub const SUBSCRIPTIONS_MAX: usize = 1_000;
    /// The longest pattern, in bytes.
    pub const PATTERN_BYTES_MAX: usize = 16 << 10;
    /// Deliveries of one replay that are pending at the same time: it makes no more until some have ended.
    pub const PENDING_MAX: u64 = 1_000;

    /// Its name, if its number is `number`.
    #[must_use]
    pub fn name(&self, number: u32) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => format!("replay-{number}"),
        }
    }

    /// True if it goes to this subscription.
    #[must_use]
    pub fn goes_to(&self, id: SubscriptionId) -> bool {
        self.subscriptions.is_empty() || self.subscriptions.binary_search(&id).is_ok()
    }
}

/// Where the new subscriptions of a rule begin.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum StartPosition {
    /// With what is accepted from now on.
    #[default]
    Now,
    /// With the oldest event of the log.
    Earliest,
    /// With the first event that was accepted at this time or later.
    Time(Timestamp),
}

/// Who asked for a replay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplayPurpose {
    /// A person, or a program.
    Replay,
    /// A subscription was moved back: what of the range is still pending live is left out.
    Seek,
    /// A subscription is new, and its rule wants the past: what it gets live is left out.
    Start,
}

impl ReplayPurpose {
    /// One stable word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Seek => "seek",
            Self::Start => "start",
        }
    }
}

/// Pending deliveries that end without an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SkipSpec {
    /// Live ones of a subscription: it was moved forward.
    Live {
        /// Whose.
        subscription: SubscriptionId,
        /// Those of events before this position.
        before: Position,
    },
    /// All of a replay: it has ended, and somebody let go of what it had made.
    Replay(JobId),
}
