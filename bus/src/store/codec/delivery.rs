//! Deliveries, attempts, successes and dead letters as bytes. The delivery's key is the row's key.

use std::sync::Arc;

use super::event::{read_event, read_lineage, write_event, write_lineage};
use super::{Reader, Writer};
use crate::model::{
    Attempt, DeadLetter, DeadReason, Delivery, DeliveryKey, Outcome, Settled, TimeoutKind,
    Timestamp,
};

pub(in crate::store) fn write_delivery(out: &mut Vec<u8>, delivery: &Delivery) {
    out.u64(delivery.accepted_at.0);
    out.u32(delivery.attempts_made);
    out.u32(delivery.fence);
    out.option(delivery.due_at, |out, due| out.u64(due.0));
    out.list(delivery.attempts.iter(), write_attempt);
}

pub(in crate::store) fn read_delivery(from: &mut Reader<'_>, key: DeliveryKey) -> Option<Delivery> {
    Some(Delivery {
        key,
        accepted_at: Timestamp(from.u64()?),
        attempts_made: from.u32()?,
        fence: from.u32()?,
        due_at: from.option(|from| from.u64().map(Timestamp))?,
        attempts: from.list(read_attempt)?,
    })
}

pub(in crate::store) fn write_settled(out: &mut Vec<u8>, settled: &Settled) {
    write_delivery(out, &settled.delivery);
    out.u64(settled.settled_at.0);
    out.u32(settled.emitted);
}

pub(in crate::store) fn read_settled(from: &mut Reader<'_>, key: DeliveryKey) -> Option<Settled> {
    Some(Settled {
        delivery: read_delivery(from, key)?,
        settled_at: Timestamp(from.u64()?),
        emitted: from.u32()?,
    })
}

pub(in crate::store) fn write_dead(out: &mut Vec<u8>, letter: &DeadLetter) {
    write_delivery(out, &letter.delivery);
    out.u8(match letter.reason {
        DeadReason::Rejected => 0,
        DeadReason::AttemptsExhausted => 1,
        DeadReason::AgeExceeded => 2,
        DeadReason::HopLimit => 3,
        DeadReason::FanOutLimit => 4,
        DeadReason::FunctionMissing => 5,
        DeadReason::Corrupt => 6,
    });
    out.u64(letter.died_at.0);
    write_lineage(out, &letter.lineage);
    write_event(out, &letter.event);
}

pub(in crate::store) fn read_dead(from: &mut Reader<'_>, key: DeliveryKey) -> Option<DeadLetter> {
    Some(DeadLetter {
        delivery: read_delivery(from, key)?,
        reason: match from.u8()? {
            0 => DeadReason::Rejected,
            1 => DeadReason::AttemptsExhausted,
            2 => DeadReason::AgeExceeded,
            3 => DeadReason::HopLimit,
            4 => DeadReason::FanOutLimit,
            5 => DeadReason::FunctionMissing,
            6 => DeadReason::Corrupt,
            _ => return None,
        },
        died_at: Timestamp(from.u64()?),
        lineage: read_lineage(from)?,
        event: Arc::new(read_event(from)?),
    })
}

fn write_attempt(out: &mut Vec<u8>, attempt: &Attempt) {
    out.u32(attempt.number);
    out.u64(attempt.started_at.0);
    out.u64(attempt.duration_us);
    let mut worded = |tag: u8, message: &str| {
        out.u8(tag);
        out.bytes(message.as_bytes());
    };
    match &attempt.outcome {
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
    out.bytes(attempt.output.as_bytes());
}

fn read_attempt(from: &mut Reader<'_>) -> Option<Attempt> {
    Some(Attempt {
        number: from.u32()?,
        started_at: Timestamp(from.u64()?),
        duration_us: from.u64()?,
        outcome: read_outcome(from)?,
        output: from.text()?,
    })
}

fn read_outcome(from: &mut Reader<'_>) -> Option<Outcome> {
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
