//! A shadow replay: functions run again on what was delivered, their effects are thrown away, and what differs is
//! counted and kept.
//!
//! Never here: how a function is run, or what is compared with what.

use std::sync::Arc;

use bytes::Bytes;

use super::{BusId, DeliveryKey, Digest, Event, FunctionConfig, Name, Outcome, ReplaySpec};

/// What a shadow replay runs, and on what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShadowSpec {
    /// The events, and whose live deliveries of them: always those who got each event when it was accepted.
    pub range: ReplaySpec,
    /// Deliveries to this function alone.
    pub function: Option<Name>,
    /// What runs in place of the deployed function; only where `function` says which. Without one the deployed
    /// functions run, and are compared with what happened then.
    pub candidate: Option<Candidate>,
    /// It ends after so many runs.
    pub limit: Option<u64>,
}

/// What might be deployed as a function, and is not. The job keeps its component until it ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Which component.
    pub digest: Digest,
    /// What it is given.
    pub config: FunctionConfig,
}

/// What a shadow replay has found so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ShadowReport {
    /// The numbers.
    pub counts: ShadowCounts,
    /// The first differences, at most [`ShadowReport::DIFFERENCES_MAX`], in the order of the log.
    pub differences: Vec<Difference>,
}

impl ShadowReport {
    /// Differences that are kept.
    pub const DIFFERENCES_MAX: usize = 100;
}

/// How many deliveries were run in shadow, and what came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShadowCounts {
    /// Deliveries that were run.
    pub runs: u64,
    /// Those whose run was as it was compared with.
    pub same: u64,
    /// Those whose run differs.
    pub different: u64,
    /// Of those that differ, in the outcome.
    pub outcome: u64,
    /// In the emitted events.
    pub emitted: u64,
    /// In the state that is written.
    pub state: u64,
    /// Those with nothing to compare with: the delivery has not ended, or was discarded.
    pub unrecorded: u64,
    /// Those that came to no end of their own: the host failed, or state changed under each try.
    pub failed: u64,
    /// With a candidate: those that also differ from what happened then.
    pub different_then: u64,
    /// The time of the runs.
    pub time: ShadowTime,
    /// The time of what they are compared with.
    pub reference_time: ShadowTime,
}

impl ShadowCounts {
    /// Adds what a further part found.
    pub fn add(&mut self, more: &Self) {
        let pairs = [
            (&mut self.runs, more.runs),
            (&mut self.same, more.same),
            (&mut self.different, more.different),
            (&mut self.outcome, more.outcome),
            (&mut self.emitted, more.emitted),
            (&mut self.state, more.state),
            (&mut self.unrecorded, more.unrecorded),
            (&mut self.failed, more.failed),
            (&mut self.different_then, more.different_then),
        ];
        for (own, more) in pairs {
            *own = own.saturating_add(more);
        }
        self.time.add(more.time);
        self.reference_time.add(more.reference_time);
    }
}

/// How long runs took, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShadowTime {
    /// All of them together.
    pub us_total: u64,
    /// The longest one.
    pub us_max: u64,
}

impl ShadowTime {
    /// Adds what others took.
    pub fn add(&mut self, more: Self) {
        self.us_total = self.us_total.saturating_add(more.us_total);
        self.us_max = self.us_max.max(more.us_max);
    }

    /// Of one run.
    #[must_use]
    pub fn of(us: u64) -> Self {
        Self {
            us_total: us,
            us_max: us,
        }
    }
}

/// A delivery whose run in shadow was not as it was compared with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The live delivery.
    pub key: DeliveryKey,
    /// True if the outcomes differ.
    pub outcome: bool,
    /// True if the emitted events differ.
    pub emitted: bool,
    /// True if the written state differs.
    pub state: bool,
    /// What it was compared with.
    pub reference: Ran,
    /// What ran in shadow.
    pub shadow: Ran,
}

/// What a run did, or what is known of one that took place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ran {
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// How many events it emitted.
    pub emitted_total: u32,
    /// The first of them, in as far as they are known and small enough.
    pub emitted: Vec<(BusId, Arc<Event>)>,
    /// How many state keys it wrote; `None` where that is not known.
    pub writes_total: Option<u32>,
    /// The first of them, in as far as they are small enough; `None` deletes.
    pub writes: Vec<(Vec<u8>, Option<Bytes>)>,
}

impl Ran {
    /// Bytes of events and state that are kept of a run.
    pub const BYTES_MAX: usize = 16 << 10;
    /// Bytes of an outcome's message that are kept of a run.
    pub const MESSAGE_BYTES_MAX: usize = 1 << 10;

    /// Lets go of events and writes that would be too much to keep. How many there were stays.
    #[must_use]
    pub fn cut(mut self) -> Self {
        self.outcome = self.outcome.cut(Self::MESSAGE_BYTES_MAX);
        let mut left = Self::BYTES_MAX;
        let mut fits = |bytes: usize| {
            let fits = bytes <= left;
            left = if fits { left - bytes } else { 0 };
            fits
        };
        let events = self.emitted.iter();
        let events = events.take_while(|(_, event)| fits(event.size())).count();
        self.emitted.truncate(events);
        let writes = self.writes.iter();
        let writes = writes
            .take_while(|(key, value)| fits(key.len() + value.as_ref().map_or(0, Bytes::len)))
            .count();
        self.writes.truncate(writes);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_large_run_the_first_things_are_kept() {
        let value = |bytes: usize| Some(Bytes::from(vec![0; bytes]));
        let ran = Ran {
            outcome: Outcome::Reject {
                message: "x".repeat(9_000),
            },
            duration_us: 1,
            emitted_total: 0,
            emitted: Vec::new(),
            writes_total: Some(4),
            writes: vec![
                (vec![1], None),
                (vec![2], value(16_000)),
                (vec![3], value(16_000)),
                (vec![4], None),
            ],
        };
        let cut = ran.cut();
        assert_eq!((cut.writes.len(), cut.writes_total), (2, Some(4)));
        let Outcome::Reject { message } = cut.outcome else {
            panic!("another outcome");
        };
        assert!(message.len() <= Ran::MESSAGE_BYTES_MAX, "{}", message.len());
    }

    #[test]
    fn counts_add_up() {
        let part = ShadowCounts {
            runs: 3,
            same: 1,
            different: 2,
            state: 2,
            time: ShadowTime::of(7),
            ..ShadowCounts::default()
        };
        let mut sum = part;
        sum.add(&part);
        let time = ShadowTime {
            us_total: 14,
            us_max: 7,
        };
        assert_eq!((sum.runs, sum.same, sum.different), (6, 2, 4));
        assert_eq!((sum.state, sum.outcome, sum.time), (4, 0, time));
    }
}
