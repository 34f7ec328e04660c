//! Deliveries, attempts, successes and dead letters as bytes. The delivery's key is the row's key.

use std::sync::Arc;

use super::event::{read_event, read_lineage, write_event, write_lineage};
use super::{Reader, Writer};
use edgebus_model::{
    Attempt, DeadLetter, DeadReason, Delivery, DeliveryKey, DiscardReason, Discarded, JobId,
    Outcome, Pending, Redriven, Running, Succeeded, TimeoutKind, Timestamp,
};

/// Writes the row that scheduling reads.
pub(crate) fn write_pending(out: &mut Vec<u8>, pending: &Pending) {
    write_first(out, pending);
    write_redriven(out, pending.redriven);
}

/// What the row of a delivery begins with in each stage of its life.
fn write_first(out: &mut Vec<u8>, pending: &Pending) {
    out.u64(pending.accepted_at.0);
    out.option(pending.due_at, |out, due| out.u64(due.0));
    out.u32(pending.fence);
    out.u32(pending.attempts_made);
    out.u32(pending.host_failures);
    out.u8(pending.claims);
    out.option(pending.order_key, |out, print| out.u64(print));
}

/// Reads what [`write_pending`] wrote. Earlier formats kept the attempts in this row.
pub(crate) fn read_pending(from: &mut Reader<'_>, key: DeliveryKey) -> Option<Pending> {
    let first = read_first(from, key)?;
    let redriven = read_redriven(from)?;
    Some(Pending { redriven, ..first })
}

/// Writes at a row's end what only a delivery has that was a dead letter: rows of others are as in the first releases
/// of record format 3.
fn write_redriven(out: &mut Vec<u8>, redriven: Option<Redriven>) {
    if let Some(again) = redriven {
        out.u32(again.deaths);
        out.u8(reason_byte(again.reason));
        out.u64(again.at.0);
        out.u32(again.job.0);
    }
}

fn read_redriven(from: &mut Reader<'_>) -> Option<Option<Redriven>> {
    if from.is_at_end() {
        return Some(None);
    }
    Some(Some(Redriven {
        deaths: from.u32()?,
        reason: read_reason(from)?,
        at: Timestamp(from.u64()?),
        job: JobId(from.u32()?),
    }))
}

fn read_first(from: &mut Reader<'_>, key: DeliveryKey) -> Option<Pending> {
    if from.format() < 3 {
        return None;
    }
    Some(Pending {
        key,
        accepted_at: Timestamp(from.u64()?),
        due_at: from.option(|from| from.u64().map(Timestamp))?,
        fence: from.u32()?,
        attempts_made: from.u32()?,
        host_failures: from.u32()?,
        claims: from.u8()?,
        order_key: from.option(Reader::u64)?,
        redriven: None,
    })
}

pub(crate) fn write_running(out: &mut Vec<u8>, running: &Running) {
    out.u32(running.fence);
    out.u64(running.epoch);
    out.u64(running.since.0);
}

pub(crate) fn read_running(from: &mut Reader<'_>, key: DeliveryKey) -> Option<Running> {
    Some(Running {
        key,
        fence: from.u32()?,
        epoch: from.u64()?,
        since: Timestamp(from.u64()?),
    })
}

/// A delivery that ended, with the attempt that ended it; those before it are rows of their own.
fn write_ended(out: &mut Vec<u8>, delivery: &Delivery) {
    write_first(out, &delivery.pending());
    out.option(delivery.attempts.last(), write_attempt);
}

fn read_ended(from: &mut Reader<'_>, key: DeliveryKey) -> Option<Delivery> {
    let pending = read_first(from, key)?;
    let last = from.option(read_attempt)?;
    Some(Delivery::new(pending, last.into_iter().collect()))
}

pub(crate) fn write_settled(out: &mut Vec<u8>, settled: &Succeeded) {
    write_ended(out, &settled.delivery);
    out.u64(settled.settled_at.0);
    out.u32(settled.emitted);
    // Most rows end here, as in the first releases of record format 3.
    if settled.delivery.redriven.is_some() || settled.discarded.is_some() {
        out.option(settled.discarded, |out, discarded| {
            out.u32(discarded.job.0);
            out.u8(match discarded.reason {
                DiscardReason::Purged => 0,
                DiscardReason::Skipped => 1,
                DiscardReason::Erased => 3,
            });
        });
        write_redriven(out, settled.delivery.redriven);
    }
}

/// What a row among the successes is.
pub(crate) enum Settled {
    /// A success.
    Succeeded(Succeeded),
    /// What is left of a dead letter that was removed before its event.
    Expired,
}

/// Writes what is left of a dead letter that is removed at `now`.
pub(crate) fn write_expired(out: &mut Vec<u8>, pending: &Pending, now: Timestamp) {
    write_pending(out, pending);
    out.option(None::<&Attempt>, write_attempt);
    out.u64(now.0);
    out.u32(0);
    out.option(Some(()), |out, ()| {
        out.u32(0);
        out.u8(EXPIRED);
    });
    write_redriven(out, None);
}

/// Why a row is no success: a dead letter was removed. The other numbers are those of [`DiscardReason`].
const EXPIRED: u8 = 2;

/// Reads a success with its last attempt alone, or what is left of a dead letter.
pub(crate) fn read_settled(from: &mut Reader<'_>, key: DeliveryKey) -> Option<Settled> {
    let mut settled = Succeeded {
        delivery: read_ended(from, key)?,
        settled_at: Timestamp(from.u64()?),
        emitted: from.u32()?,
        discarded: None,
    };
    if from.is_at_end() {
        return Some(Settled::Succeeded(settled));
    }
    let discarded = from.option(|from| Some((JobId(from.u32()?), from.u8()?)))?;
    settled.delivery.redriven = read_redriven(from)?;
    let reason = match discarded {
        None => return Some(Settled::Succeeded(settled)),
        Some((_, EXPIRED)) => return Some(Settled::Expired),
        Some((_, 0)) => DiscardReason::Purged,
        Some((_, 1)) => DiscardReason::Skipped,
        Some((_, 3)) => DiscardReason::Erased,
        Some(_) => return None,
    };
    settled.discarded = discarded.map(|(job, _)| Discarded { job, reason });
    Some(Settled::Succeeded(settled))
}

pub(crate) fn write_dead(out: &mut Vec<u8>, letter: &DeadLetter) {
    write_ended(out, &letter.delivery);
    out.u8(reason_byte(letter.reason));
    out.u64(letter.died_at.0);
    write_lineage(out, &letter.lineage);
    write_event(out, &letter.event);
    let redriven = letter.delivery.redriven;
    if letter.delivery.key.replay == 0 {
        return write_redriven(out, redriven);
    }
    // The event of a replay's delivery is older than the delivery.
    write_redriven(out, Some(redriven.unwrap_or(NEVER)));
    out.u64(letter.accepted_at.0);
}

/// What stands for nothing where something must stand: it never died.
const NEVER: Redriven = Redriven {
    deaths: 0,
    reason: DeadReason::Rejected,
    at: Timestamp(0),
    job: JobId(0),
};

pub(super) fn reason_byte(reason: DeadReason) -> u8 {
    match reason {
        DeadReason::Rejected => 0,
        DeadReason::AttemptsExhausted => 1,
        DeadReason::AgeExceeded => 2,
        DeadReason::HopLimit => 3,
        DeadReason::FanOutLimit => 4,
        DeadReason::FunctionMissing => 5,
        DeadReason::Corrupt => 6,
    }
}

pub(super) fn read_reason(from: &mut Reader<'_>) -> Option<DeadReason> {
    Some(match from.u8()? {
        0 => DeadReason::Rejected,
        1 => DeadReason::AttemptsExhausted,
        2 => DeadReason::AgeExceeded,
        3 => DeadReason::HopLimit,
        4 => DeadReason::FanOutLimit,
        5 => DeadReason::FunctionMissing,
        6 => DeadReason::Corrupt,
        _ => return None,
    })
}

/// Reads a dead letter with its last attempt alone.
pub(crate) fn read_dead(from: &mut Reader<'_>, key: DeliveryKey) -> Option<DeadLetter> {
    let delivery = read_ended(from, key)?;
    let mut letter = read_rest(from, delivery)?;
    letter.delivery.redriven = read_redriven(from)?.filter(|again| again.deaths > 0);
    // The first releases with replays wrote no time.
    if !from.is_at_end() {
        letter.accepted_at = Timestamp(from.u64()?);
    }
    Some(letter)
}

/// What stands behind the delivery of a dead letter.
pub(super) fn read_rest(from: &mut Reader<'_>, delivery: Delivery) -> Option<DeadLetter> {
    Some(DeadLetter {
        accepted_at: delivery.accepted_at,
        delivery,
        reason: read_reason(from)?,
        died_at: Timestamp(from.u64()?),
        lineage: read_lineage(from)?,
        event: Arc::new(read_event(from)?),
    })
}

pub(crate) fn write_attempt(out: &mut Vec<u8>, attempt: &Attempt) {
    out.u32(attempt.number);
    out.u64(attempt.started_at.0);
    out.u64(attempt.duration_us);
    write_outcome(out, &attempt.outcome);
    out.bytes(attempt.output.as_bytes());
}

pub(super) fn write_outcome(out: &mut Vec<u8>, outcome: &Outcome) {
    let mut worded = |tag: u8, message: &str| {
        out.u8(tag);
        out.bytes(message.as_bytes());
    };
    match outcome {
        Outcome::Success => out.u8(0),
        Outcome::Retry { after_ms, message } => {
            worded(1, message);
            out.option(*after_ms, |out, delay| out.u64(delay));
        }
        Outcome::Reject { message } => worded(2, message),
        Outcome::Trap { message } => worded(3, message),
        Outcome::Timeout { kind, limit_ms } => {
            out.u8(4);
            out.u8(match kind {
                TimeoutKind::Cpu => 0,
                TimeoutKind::Wall => 1,
            });
            out.u64(*limit_ms);
        }
        Outcome::Memory { limit_bytes } => {
            out.u8(5);
            out.u64(*limit_bytes);
        }
        Outcome::Limit { message } => worded(6, message),
        Outcome::Conflict => out.u8(7),
        Outcome::Host { message } => worded(8, message),
    }
}

pub(crate) fn read_attempt(from: &mut Reader<'_>) -> Option<Attempt> {
    Some(Attempt {
        number: from.u32()?,
        started_at: Timestamp(from.u64()?),
        duration_us: from.u64()?,
        outcome: read_outcome(from)?,
        output: from.text()?,
    })
}

pub(super) fn read_outcome(from: &mut Reader<'_>) -> Option<Outcome> {
    Some(match from.u8()? {
        0 => Outcome::Success,
        1 => Outcome::Retry {
            message: from.text()?,
            after_ms: from.option(Reader::u64)?,
        },
        2 => Outcome::Reject {
            message: from.text()?,
        },
        3 => Outcome::Trap {
            message: from.text()?,
        },
        4 => Outcome::Timeout {
            kind: match from.u8()? {
                0 => TimeoutKind::Cpu,
                1 => TimeoutKind::Wall,
                _ => return None,
            },
            limit_ms: from.u64()?,
        },
        5 => Outcome::Memory {
            limit_bytes: from.u64()?,
        },
        6 => Outcome::Limit {
            message: from.text()?,
        },
        7 => Outcome::Conflict,
        8 => Outcome::Host {
            message: from.text()?,
        },
        _ => return None,
    })
}
