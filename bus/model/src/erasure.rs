//! What an erasure erases, what stands in its place, and what it has come to.
//!
//! An erasure is a job that replaces the data of events by a mark. Never here: how the log is read, or what matches.

use super::{BusId, JobId, Position, Timestamp};

/// The mark that stands where the data was of an event that was erased.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Erased {
    /// The job that did it.
    pub job: JobId,
    /// When.
    pub at: Timestamp,
}

impl Erased {
    /// What stands in place of text that came of an erased event.
    #[must_use]
    pub fn words(self) -> String {
        format!("[erased by job {}]", self.job)
    }
}

/// Which events of a bus are erased: those that a subject and a pattern select, of which one is there at least.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EraseSpec {
    /// The bus.
    pub bus: BusId,
    /// The first position.
    pub first: Position,
    /// The last position, known when the job is made: what comes later is not erased.
    pub last: Position,
    /// Events with exactly this subject alone.
    pub subject: Option<String>,
    /// Events alone that this pattern matches, as JSON text.
    pub pattern: Option<String>,
}

impl EraseSpec {
    /// The longest pattern, in bytes.
    pub const PATTERN_BYTES_MAX: usize = 16 << 10;

    /// True if an event at this position may be selected.
    #[must_use]
    pub fn covers(&self, position: Position) -> bool {
        (self.first..=self.last).contains(&position)
    }

    /// Forgets subject and pattern, which may name the person whose data was erased.
    pub fn forget(&mut self) {
        self.subject = None;
        self.pattern = None;
    }
}

/// What an erasure has erased.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ErasedCounts {
    /// Events of the log.
    pub events: u64,
    /// Dead letters' copies of events.
    pub dead_letters: u64,
    /// Attempts whose output or message was replaced.
    pub attempts: u64,
    /// Pending deliveries that ended without an attempt.
    pub deliveries: u64,
}

impl ErasedCounts {
    /// Counts what another one counts, too.
    pub fn add(&mut self, more: Self) {
        self.events = self.events.saturating_add(more.events);
        self.dead_letters = self.dead_letters.saturating_add(more.dead_letters);
        self.attempts = self.attempts.saturating_add(more.attempts);
        self.deliveries = self.deliveries.saturating_add(more.deliveries);
    }
}
