//! Shadow replays as bytes: what they are asked for, their numbers, and the differences that are kept.

use std::sync::Arc;

use bytes::Bytes;

use super::catalog::{read_config, write_config};
use super::delivery::{read_outcome, write_outcome};
use super::event::{read_event, write_event};
use super::job::{read_key, write_key};
use super::replay::{read_replay, write_replay};
use super::{Reader, Writer};
use edgebus_model::{
    BusId, Candidate, Difference, Digest, Ran, ShadowCounts, ShadowSpec, ShadowTime,
};

pub(super) fn write_shadow(out: &mut Vec<u8>, spec: &ShadowSpec) {
    write_replay(out, &spec.range);
    out.option(spec.function.as_ref(), |out, name| {
        out.bytes(name.as_str().as_bytes());
    });
    out.option(spec.candidate.as_ref(), |out, candidate| {
        out.extend_from_slice(&candidate.digest.0);
        write_config(out, &candidate.config);
    });
    out.option(spec.limit, |out, limit| out.u64(limit));
}

pub(super) fn read_shadow(from: &mut Reader<'_>) -> Option<ShadowSpec> {
    Some(ShadowSpec {
        range: read_replay(from)?,
        function: from.option(Reader::name)?,
        candidate: from.option(|from| {
            Some(Candidate {
                digest: Digest(from.array()?),
                config: read_config(from)?,
            })
        })?,
        limit: from.option(Reader::u64)?,
    })
}

/// What a shadow replay found, but for the differences.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) counts: ShadowCounts,
    /// Differences that are kept, each in a row of its own.
    pub(crate) kept: u32,
}

pub(crate) fn write_summary(out: &mut Vec<u8>, summary: &Summary) {
    let counts = &summary.counts;
    for count in [
        counts.runs,
        counts.same,
        counts.different,
        counts.outcome,
        counts.emitted,
        counts.state,
        counts.unrecorded,
        counts.failed,
        counts.different_then,
        counts.time.us_total,
        counts.time.us_max,
        counts.reference_time.us_total,
        counts.reference_time.us_max,
    ] {
        out.u64(count);
    }
    out.u32(summary.kept);
}

pub(crate) fn read_summary(from: &mut Reader<'_>) -> Option<Summary> {
    Some(Summary {
        counts: ShadowCounts {
            runs: from.u64()?,
            same: from.u64()?,
            different: from.u64()?,
            outcome: from.u64()?,
            emitted: from.u64()?,
            state: from.u64()?,
            unrecorded: from.u64()?,
            failed: from.u64()?,
            different_then: from.u64()?,
            time: read_time(from)?,
            reference_time: read_time(from)?,
        },
        kept: from.u32()?,
    })
}

fn read_time(from: &mut Reader<'_>) -> Option<ShadowTime> {
    Some(ShadowTime {
        us_total: from.u64()?,
        us_max: from.u64()?,
    })
}

pub(crate) fn write_difference(out: &mut Vec<u8>, difference: &Difference) {
    write_key(out, difference.key);
    out.flag(difference.outcome);
    out.flag(difference.emitted);
    out.flag(difference.state);
    write_ran(out, &difference.reference);
    write_ran(out, &difference.shadow);
}

pub(crate) fn read_difference(from: &mut Reader<'_>) -> Option<Difference> {
    Some(Difference {
        key: read_key(from)?,
        outcome: from.flag()?,
        emitted: from.flag()?,
        state: from.flag()?,
        reference: read_ran(from)?,
        shadow: read_ran(from)?,
    })
}

fn write_ran(out: &mut Vec<u8>, ran: &Ran) {
    write_outcome(out, &ran.outcome);
    out.u64(ran.duration_us);
    out.u32(ran.emitted_total);
    out.list(ran.emitted.iter(), |out, (bus, event)| {
        out.u32(bus.0);
        write_event(out, event);
    });
    out.option(ran.writes_total, |out, total| out.u32(total));
    out.list(ran.writes.iter(), |out, (key, value)| {
        out.bytes(key);
        out.option(value.as_ref(), |out, value| out.bytes(value));
    });
}

fn read_ran(from: &mut Reader<'_>) -> Option<Ran> {
    Some(Ran {
        outcome: read_outcome(from)?,
        duration_us: from.u64()?,
        emitted_total: from.u32()?,
        emitted: from.list(|from| Some((BusId(from.u32()?), Arc::new(read_event(from)?))))?,
        writes_total: from.option(Reader::u32)?,
        writes: from.list(|from| {
            let key = from.bytes()?.to_vec();
            let value = from.option(|from| from.bytes().map(Bytes::copy_from_slice))?;
            Some((key, value))
        })?,
    })
}
