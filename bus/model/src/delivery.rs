//! A delivery and its life: one pure function from state and outcome to what comes next.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{
    Backoff, Code, Erased, Event, JobId, Lineage, Outcome, Position, RetryPolicy, SkipReason,
    SubscriptionId, Timestamp,
};

/// Names a delivery: an event pending for a subscription, live (replay 0) or under a replay's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeliveryKey {
    /// To whom.
    pub subscription: SubscriptionId,
    /// 0 for the live delivery, else the replay's number.
    pub replay: u32,
    /// Which event of the subscription's bus.
    pub position: Position,
}

impl fmt::Display for DeliveryKey {
    /// `SUBSCRIPTION-POSITION`, and `-rREPLAY` behind it for a replayed one.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.subscription.0, self.position)?;
        if self.replay > 0 {
            write!(out, "-r{}", self.replay)?;
        }
        Ok(())
    }
}

impl FromStr for DeliveryKey {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '-');
        let mut number = |strip: &str| -> Result<Option<u64>, ()> {
            match parts.next() {
                None => Ok(None),
                Some(part) => {
                    let digits = part.strip_prefix(strip).ok_or(())?;
                    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                        return Err(());
                    }
                    digits.parse().map(Some).map_err(|_| ())
                }
            }
        };
        let subscription = number("")?.ok_or(())?;
        let position = number("")?.ok_or(())?;
        let replay = number("r")?.unwrap_or(0);
        Ok(Self {
            subscription: SubscriptionId(u32::try_from(subscription).map_err(|_| ())?),
            replay: u32::try_from(replay).map_err(|_| ())?,
            position: Position(position),
        })
    }
}

/// One try that ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Counts from 1.
    pub number: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// What the function wrote, up to the limit.
    pub output: String,
}

impl Attempt {
    /// Cuts the output to what is kept of an attempt that is not the last.
    pub fn cut(&mut self) {
        super::outcome::cut(&mut self.output, Delivery::OUTPUT_BYTES_KEPT);
    }

    /// Replaces what the function wrote and said, for its event was erased; false if there is nothing to replace.
    pub fn erase(&mut self, erased: Erased) -> bool {
        let words = erased.words();
        let message = self.outcome.message_mut();
        let mut replaced = false;
        for text in message.into_iter().chain([&mut self.output]) {
            if !text.is_empty() && *text != words {
                text.clone_from(&words);
                replaced = true;
            }
        }
        replaced
    }
}

/// What scheduling needs of a delivery that is still pending: small, whatever its attempts said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pending {
    /// Which one.
    pub key: DeliveryKey,
    /// When the event was accepted: the age limit counts from here.
    pub accepted_at: Timestamp,
    /// Not before this time; `None` is at once.
    pub due_at: Option<Timestamp>,
    /// A settlement counts only if it names this number; every settlement and claim raises it.
    pub fence: u32,
    /// Attempts that ended.
    pub attempts_made: u32,
    /// Those of them that failed for reasons of the host's own, which spend none of the policy's attempts.
    pub host_failures: u32,
    /// Attempts in succession that were claimed and never ended, because a process died; 255 is that or more.
    pub claims: u8,
    /// The fingerprint of what keeps it in order with others; `None` where nothing does.
    pub order_key: Option<u64>,
    /// Set if it was a dead letter before.
    pub redriven: Option<Redriven>,
}

/// What is known of a delivery that was a dead letter and is pending again, or was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Redriven {
    /// How often it had died until then.
    pub deaths: u32,
    /// Why it died the last of these times.
    pub reason: DeadReason,
    /// When it became pending again: the age limit counts from here.
    pub at: Timestamp,
    /// The job that did it.
    pub job: JobId,
}

impl Pending {
    /// A delivery that nothing has happened to.
    #[must_use]
    pub fn new(key: DeliveryKey, accepted_at: Timestamp) -> Self {
        Self {
            key,
            accepted_at,
            due_at: None,
            fence: 0,
            attempts_made: 0,
            host_failures: 0,
            claims: 0,
            order_key: None,
            redriven: None,
        }
    }

    /// From when on its age counts: its acceptance, or the last time that it was redriven.
    #[must_use]
    pub fn age_from(&self) -> Timestamp {
        self.redriven.map_or(self.accepted_at, |again| again.at)
    }

    /// The job that made this delivery pending: its last redrive, or its replay.
    #[must_use]
    pub fn job(&self) -> Option<JobId> {
        let replay = (self.key.replay > 0).then_some(JobId(self.key.replay));
        self.redriven.map(|again| again.job).or(replay)
    }

    /// A dead letter's delivery as it is pending again, due at once: attempts begin anew, under a fence that none
    /// before had.
    #[must_use]
    pub fn redriven(self, reason: DeadReason, now: Timestamp, job: JobId) -> Self {
        Self {
            due_at: Some(now),
            fence: self.fence.saturating_add(1),
            order_key: self.order_key,
            redriven: Some(Redriven {
                deaths: self
                    .redriven
                    .map_or(0, |again| again.deaths)
                    .saturating_add(1),
                reason,
                at: now,
                job,
            }),
            ..Self::new(self.key, self.accepted_at)
        }
    }

    /// Notes that an attempt begins, under the next fence.
    pub fn claim(&mut self) {
        self.fence += 1;
        self.claims = self.claims.saturating_add(1);
    }

    /// The delivery after the attempt of this number, under the next fence; it is due at once. Claims that
    /// never ended are forgotten: this attempt ended, and the fence lets no other end beside it. `spared` says
    /// that the attempt spends none of the policy's.
    pub fn end(&mut self, attempt: u32, spared: bool) {
        self.due_at = None;
        self.host_failures += u32::from(spared);
        self.fence += 1;
        self.attempts_made = attempt;
        self.claims = 0;
    }
}

/// A claimed attempt that has not ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Running {
    /// Of which delivery.
    pub key: DeliveryKey,
    /// The fence that it runs under.
    pub fence: u32,
    /// The store's count of opens when it began: an earlier one is of a process that is gone.
    pub epoch: u64,
    /// When it was claimed.
    pub since: Timestamp,
}

/// A delivery with its history, as people look at it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Which one.
    pub key: DeliveryKey,
    /// When the event was accepted.
    pub accepted_at: Timestamp,
    /// Not before this time; `None` is at once.
    pub due_at: Option<Timestamp>,
    /// As [`Pending::fence`].
    pub fence: u32,
    /// Attempts that ended.
    pub attempts_made: u32,
    /// As [`Pending::host_failures`].
    pub host_failures: u32,
    /// As [`Pending::claims`].
    pub claims: u8,
    /// As [`Pending::order_key`].
    pub order_key: Option<u64>,
    /// As [`Pending::redriven`].
    pub redriven: Option<Redriven>,
    /// The attempts that ended, oldest first, at most [`Delivery::ATTEMPTS_KEPT`].
    pub attempts: Vec<Attempt>,
}

impl Delivery {
    /// Ended attempts that are kept with the delivery; of more, the first and the latest stay.
    pub const ATTEMPTS_KEPT: usize = 16;

    /// Output of an attempt that is not the last one, in bytes.
    pub const OUTPUT_BYTES_KEPT: usize = 1 << 10;

    /// Joins what scheduling knows with the attempts.
    #[must_use]
    pub fn new(pending: Pending, attempts: Vec<Attempt>) -> Self {
        Self {
            key: pending.key,
            accepted_at: pending.accepted_at,
            due_at: pending.due_at,
            fence: pending.fence,
            attempts_made: pending.attempts_made,
            host_failures: pending.host_failures,
            claims: pending.claims,
            order_key: pending.order_key,
            redriven: pending.redriven,
            attempts,
        }
    }

    /// The part that scheduling needs.
    #[must_use]
    pub fn pending(&self) -> Pending {
        Pending {
            key: self.key,
            accepted_at: self.accepted_at,
            due_at: self.due_at,
            fence: self.fence,
            attempts_made: self.attempts_made,
            host_failures: self.host_failures,
            claims: self.claims,
            order_key: self.order_key,
            redriven: self.redriven,
        }
    }

    /// Puts an ended attempt behind the others, whose output is cut, and lets the second oldest go where
    /// there are too many.
    pub fn record(&mut self, attempt: Attempt) {
        if let Some(before) = self.attempts.last_mut() {
            before.cut();
        }
        if self.attempts.len() >= Self::ATTEMPTS_KEPT {
            self.attempts.remove(1);
        }
        self.attempts.push(attempt);
    }
}

/// A delivery that ended in success, or that a job let go of without one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Succeeded {
    /// The delivery as it ended, its last attempt included.
    pub delivery: Delivery,
    /// When.
    pub settled_at: Timestamp,
    /// How many events it emitted.
    pub emitted: u32,
    /// Set if it is no success: a job let go of it.
    pub discarded: Option<Discarded>,
}

/// Which job let go of a delivery, and what it was then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Discarded {
    /// The job.
    pub job: JobId,
    /// What the job did.
    pub reason: DiscardReason,
}

/// How a delivery ended that never succeeded and is no dead letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiscardReason {
    /// It was a dead letter, and somebody purged it.
    Purged,
    /// It was pending, and its subscription was moved forward.
    Skipped,
    /// It was pending, and its event was erased.
    Erased,
}

impl DiscardReason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Purged, Self::Skipped, Self::Erased];

    /// One stable word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Purged => "purged",
            Self::Skipped => "skipped",
            Self::Erased => "erased",
        }
    }
}

/// Why a delivery ended without success.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeadReason {
    /// The function rejected the event.
    Rejected,
    /// The last attempt allowed failed.
    AttemptsExhausted,
    /// The delivery got too old for another attempt.
    AgeExceeded,
    /// An emitted event would have gone through too many functions.
    HopLimit,
    /// The published event at the chain's start has too many descendants.
    FanOutLimit,
    /// The function is not deployed.
    FunctionMissing,
    /// The stored event could not be read back intact.
    Corrupt,
}

impl DeadReason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Rejected,
        Self::AttemptsExhausted,
        Self::AgeExceeded,
        Self::HopLimit,
        Self::FanOutLimit,
        Self::FunctionMissing,
        Self::Corrupt,
    ];

    /// One stable word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::AttemptsExhausted => "attempts-exhausted",
            Self::AgeExceeded => "age-exceeded",
            Self::HopLimit => "hop-limit",
            Self::FanOutLimit => "fan-out-limit",
            Self::FunctionMissing => "function-missing",
            Self::Corrupt => "corrupt",
        }
    }

    /// Its code, for its page.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            // The reason and the outcome are one thing, and have one page.
            Self::Rejected => Code::OutcomeReject,
            Self::AttemptsExhausted => Code::DeadAttemptsExhausted,
            Self::AgeExceeded => Code::DeadAgeExceeded,
            Self::HopLimit => Code::DeadHopLimit,
            Self::FanOutLimit => Code::DeadFanOutLimit,
            Self::FunctionMissing => Code::DeadFunctionMissing,
            Self::Corrupt => Code::DeadCorrupt,
        }
    }
}

/// A delivery that ended without success, with its own copy of the event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetter {
    /// The delivery as it ended.
    pub delivery: Delivery,
    /// Why.
    pub reason: DeadReason,
    /// When.
    pub died_at: Timestamp,
    /// The event, so that retention can't take it.
    pub event: Arc<Event>,
    /// When the event was accepted; a replay's delivery was made later.
    pub accepted_at: Timestamp,
    /// Where the event came from.
    pub lineage: Lineage,
}

impl DeadLetter {
    /// How often it has died, this time included.
    #[must_use]
    pub fn deaths(&self) -> u32 {
        let before = self.delivery.redriven.map_or(0, |again| again.deaths);
        before.saturating_add(1)
    }

    /// True if there is no event to run on: it could not be read back intact when this died.
    #[must_use]
    pub fn is_hollow(&self) -> bool {
        self.event.id.is_empty()
    }

    /// Why its event can't run again, if it can't.
    #[must_use]
    pub fn unfit(&self) -> Option<SkipReason> {
        let erased = self.event.erased().map(|_| SkipReason::Erased);
        self.is_hollow().then_some(SkipReason::Corrupt).or(erased)
    }
}

/// How an attempt ended, as the life of a delivery sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AttemptEnd<'a> {
    /// The outcome.
    pub outcome: &'a Outcome,
    /// Attempts made, this one included.
    pub attempts_made: u32,
    /// Those of them that failed for reasons of the host's own, this one included if it did.
    pub host_failures: u32,
    /// True if this attempt is one of those.
    pub spared: bool,
    /// From when on the delivery's age counts, as [`Pending::age_from`].
    pub age_from: Timestamp,
}

/// What comes after an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// It is done.
    Done,
    /// It is tried again at this time.
    Retry(Timestamp),
    /// It is a dead letter.
    Dead(DeadReason),
}

/// Decides what becomes of a delivery; the whole life is here.
///
/// `random` is any 64 bits, for the jitter. A retry that would be due only after the age limit is a
/// dead letter now. A function's own delay is honoured even where it is longer than the backoff's. What failed
/// for a reason of the host's own spends no attempt: it is tried again until the age limit, with a backoff of
/// its own.
#[must_use]
pub fn next(ending: AttemptEnd<'_>, policy: &RetryPolicy, now: Timestamp, random: u64) -> Next {
    let asked_ms = match ending.outcome {
        Outcome::Success => return Next::Done,
        Outcome::Reject { .. } => return Next::Dead(DeadReason::Rejected),
        Outcome::Retry { after_ms, .. } => *after_ms,
        _ => None,
    };
    let spent = ending.attempts_made.saturating_sub(ending.host_failures);
    let delay_ms = if ending.spared {
        Backoff::OF_THE_HOST.delay_ms(ending.host_failures, random)
    } else if spent >= policy.attempts_max {
        return Next::Dead(DeadReason::AttemptsExhausted);
    } else {
        asked_ms.unwrap_or_else(|| policy.backoff.delay_ms(spent, random))
    };
    let due = now.plus_ms(delay_ms);
    if due.ms_since(ending.age_from) > policy.age_ms_max {
        return Next::Dead(DeadReason::AgeExceeded);
    }
    Next::Retry(due)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TimeoutKind;

    fn retry(after_ms: Option<u64>) -> Outcome {
        Outcome::Retry {
            after_ms,
            message: "busy".into(),
        }
    }

    #[test]
    fn a_delivery_lives_by_the_table() {
        let policy = RetryPolicy {
            attempts_max: 3,
            backoff: Backoff {
                initial_ms: 100,
                factor: 2.0,
                ms_max: 1_000,
                jitter: false,
            },
            age_ms_max: 10_000,
        };
        let trap = Outcome::Trap {
            message: "unreachable".into(),
        };
        let timeout = Outcome::Timeout {
            kind: TimeoutKind::Cpu,
            limit_ms: 1,
        };
        let reject = Outcome::Reject {
            message: "no".into(),
        };
        let memory = Outcome::Memory { limit_bytes: 1 };
        // (outcome, attempts made, now) → next; the event was accepted at 1,000.
        let table = [
            (Outcome::Success, 1, 2_000, Next::Done),
            (Outcome::Success, 3, 99_000, Next::Done),
            (reject.clone(), 1, 2_000, Next::Dead(DeadReason::Rejected)),
            (reject, 3, 2_000, Next::Dead(DeadReason::Rejected)),
            (retry(None), 1, 2_000, Next::Retry(Timestamp(2_100))),
            (retry(None), 2, 2_000, Next::Retry(Timestamp(2_200))),
            (retry(Some(7_000)), 1, 2_000, Next::Retry(Timestamp(9_000))),
            (retry(Some(0)), 2, 2_000, Next::Retry(Timestamp(2_000))),
            (
                retry(Some(9_001)),
                1,
                2_000,
                Next::Dead(DeadReason::AgeExceeded),
            ),
            (
                retry(Some(u64::MAX)),
                1,
                2_000,
                Next::Dead(DeadReason::AgeExceeded),
            ),
            (
                retry(None),
                3,
                2_000,
                Next::Dead(DeadReason::AttemptsExhausted),
            ),
            (trap.clone(), 1, 2_000, Next::Retry(Timestamp(2_100))),
            (
                trap.clone(),
                3,
                2_000,
                Next::Dead(DeadReason::AttemptsExhausted),
            ),
            (trap, 1, 10_950, Next::Dead(DeadReason::AgeExceeded)),
            (timeout, 2, 2_000, Next::Retry(Timestamp(2_200))),
            (memory, 1, 2_000, Next::Retry(Timestamp(2_100))),
            (Outcome::Conflict, 2, 2_000, Next::Retry(Timestamp(2_200))),
            // A clock that jumped back neither stalls nor kills.
            (retry(None), 1, 10, Next::Retry(Timestamp(110))),
        ];
        for (outcome, attempts_made, now, expected) in table {
            let ending = AttemptEnd {
                outcome: &outcome,
                attempts_made,
                host_failures: 0,
                spared: false,
                age_from: Timestamp(1_000),
            };
            let got = next(ending, &policy, Timestamp(now), 0);
            assert_eq!(
                got, expected,
                "{outcome:?}, attempt {attempts_made}, at {now}"
            );
        }
    }

    #[test]
    fn keys_read_what_they_print() {
        for text in ["1-1", "7-123456", "7-1-r3"] {
            assert_eq!(text.parse::<DeliveryKey>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "1",
            "1-",
            "-1",
            "1-2-3",
            "1-2-r",
            "1-2-r1-4",
            "+1-2",
            "1-99999999999999999999",
        ] {
            assert!(text.parse::<DeliveryKey>().is_err(), "{text} was taken");
        }
    }

    #[test]
    fn a_redriven_delivery_begins_anew() {
        let died = Pending {
            fence: 7,
            attempts_made: 5,
            host_failures: 1,
            ..Pending::new("3-9".parse().unwrap(), Timestamp(10))
        };
        assert_eq!((died.age_from(), died.job()), (Timestamp(10), None));
        let again = died.redriven(DeadReason::Rejected, Timestamp(500), JobId(2));
        assert_eq!(
            (again.fence, again.attempts_made, again.host_failures),
            (8, 0, 0)
        );
        assert_eq!(
            (again.accepted_at, again.age_from()),
            (Timestamp(10), Timestamp(500))
        );
        assert_eq!(
            (again.due_at, again.job()),
            (Some(Timestamp(500)), Some(JobId(2)))
        );
        let third = again.redriven(DeadReason::AgeExceeded, Timestamp(900), JobId(4));
        let known = third.redriven.unwrap();
        assert_eq!((known.deaths, known.reason), (2, DeadReason::AgeExceeded));
        let replayed = Pending::new("3-9-r6".parse().unwrap(), Timestamp(10));
        assert_eq!(replayed.job(), Some(JobId(6)));
    }

    #[test]
    fn what_an_attempt_said_is_erased_once() {
        let erased = Erased {
            job: JobId(7),
            at: Timestamp(1),
        };
        let attempt = |outcome, output: &str| Attempt {
            number: 1,
            started_at: Timestamp(0),
            duration_us: 0,
            outcome,
            output: output.to_owned(),
        };
        // Whether there is something to erase, and whether there is afterwards.
        let table = [
            (attempt(Outcome::Success, ""), false),
            (attempt(Outcome::Success, "alice"), true),
            (attempt(retry(None), ""), true),
            (attempt(retry(None), "alice"), true),
            (attempt(Outcome::Conflict, ""), false),
        ];
        for (mut attempt, replaced) in table {
            assert_eq!(attempt.erase(erased), replaced, "{attempt:?}");
            assert!(!attempt.erase(erased), "{attempt:?}");
            assert!(!format!("{attempt:?}").contains("alice"));
        }
    }

    #[test]
    fn of_many_attempts_the_first_and_the_latest_stay() {
        let pending = Pending::new("1-1".parse().unwrap(), Timestamp(0));
        let mut delivery = Delivery::new(pending, Vec::new());
        for number in 1..=40 {
            delivery.record(Attempt {
                number,
                started_at: Timestamp(0),
                duration_us: 0,
                outcome: Outcome::Conflict,
                output: String::new(),
            });
        }
        let kept: Vec<u32> = delivery
            .attempts
            .iter()
            .map(|attempt| attempt.number)
            .collect();
        assert_eq!(kept.len(), Delivery::ATTEMPTS_KEPT);
        assert_eq!((kept[0], kept[1], kept[15]), (1, 26, 40));
    }

    #[test]
    fn what_the_host_failed_at_spends_no_attempt() {
        let policy = RetryPolicy {
            attempts_max: 2,
            age_ms_max: 3_600_000,
            ..RetryPolicy::default()
        };
        let host = Outcome::Host {
            message: "no instance was free".into(),
        };
        let trap = Outcome::Trap {
            message: "unreachable".into(),
        };
        let after = |outcome, attempts_made, host_failures, spared, now| {
            let ending = AttemptEnd {
                outcome,
                attempts_made,
                host_failures,
                spared,
                age_from: Timestamp(0),
            };
            next(ending, &policy, Timestamp(now), u64::MAX)
        };
        // A hundred failures of the host, and the delivery still has both attempts; the delay ends at a minute.
        assert_eq!(after(&host, 1, 1, true, 0), Next::Retry(Timestamp(1_000)));
        assert_eq!(
            after(&host, 100, 100, true, 0),
            Next::Retry(Timestamp(60_000))
        );
        assert_eq!(
            after(&trap, 101, 100, false, 0),
            Next::Retry(Timestamp(1_000))
        );
        let exhausted = Next::Dead(DeadReason::AttemptsExhausted);
        assert_eq!(after(&trap, 102, 100, false, 0), exhausted);
        // The age limit ends it; the death of a process spends an attempt as ever.
        let aged = Next::Dead(DeadReason::AgeExceeded);
        assert_eq!(after(&host, 3, 3, true, 3_600_000), aged);
        assert_eq!(after(&host, 2, 0, false, 0), exhausted);
    }
}
