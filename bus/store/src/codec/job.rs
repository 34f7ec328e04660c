//! Jobs as bytes. The job's number is the row's key; what became of what it made pending is a row beside it.

use super::delivery::{read_reason, reason_byte};
use super::replay::{read_erase, read_replay, read_skip, write_erase, write_replay, write_skip};
use super::shadow::{read_shadow, write_shadow};
use super::{Reader, Writer};
use edgebus_model::{
    BusId, DeliveryKey, ErasedCounts, EventRef, Job, JobId, JobPlace, JobProgress, JobResults,
    JobSpec, JobState, LetterSelection, Position, SkipReason, Skipped, SubscriptionId, Timestamp,
};

/// Writes a job without its results.
pub(crate) fn write_job(out: &mut Vec<u8>, job: &Job) {
    write_spec(out, &job.spec);
    match &job.state {
        JobState::Running => out.u8(0),
        JobState::Paused => out.u8(1),
        JobState::Done => out.u8(2),
        JobState::Cancelled => out.u8(3),
        JobState::Failed { reason } => {
            out.u8(4);
            out.bytes(reason.as_bytes());
        }
    }
    match job.place {
        JobPlace::Start => out.u8(0),
        JobPlace::Delivery(key) => {
            out.u8(1);
            write_key(out, key);
        }
        JobPlace::Event(event) => {
            out.u8(2);
            out.u32(event.bus.0);
            out.u64(event.position.0);
        }
    }
    out.u64(job.progress.looked);
    out.u64(job.progress.of);
    out.u64(job.progress.done);
    out.list(job.progress.skipped.iter(), |out, (reason, count)| {
        out.u8(match reason {
            SkipReason::Gone => 0,
            SkipReason::Corrupt => 1,
            SkipReason::SubscriptionEnded => 2,
            SkipReason::FunctionMissing => 3,
            SkipReason::Removed => 4,
            SkipReason::Erased => 5,
        });
        out.u64(count);
    });
    out.option(job.rate, |out, rate| out.u32(rate));
    out.u64(job.created_at.0);
    out.u64(job.changed_at.0);
    if matches!(job.spec, JobSpec::Erase(_)) {
        let erased = &job.progress.erased;
        out.u64(erased.events);
        out.u64(erased.dead_letters);
        out.u64(erased.attempts);
        out.u64(erased.deliveries);
    }
}

/// Reads what [`write_job`] wrote.
pub(crate) fn read_job(from: &mut Reader<'_>, id: JobId) -> Option<Job> {
    let spec = read_spec(from)?;
    let erases = matches!(spec, JobSpec::Erase(_));
    let mut job = Job {
        id,
        spec,
        state: match from.u8()? {
            0 => JobState::Running,
            1 => JobState::Paused,
            2 => JobState::Done,
            3 => JobState::Cancelled,
            4 => JobState::Failed {
                reason: from.text()?,
            },
            _ => return None,
        },
        place: match from.u8()? {
            0 => JobPlace::Start,
            1 => JobPlace::Delivery(read_key(from)?),
            2 => JobPlace::Event(EventRef {
                bus: BusId(from.u32()?),
                position: Position(from.u64()?),
            }),
            _ => return None,
        },
        progress: JobProgress {
            looked: from.u64()?,
            of: from.u64()?,
            done: from.u64()?,
            skipped: read_skipped(from)?,
            erased: ErasedCounts::default(),
        },
        results: JobResults::default(),
        rate: from.option(Reader::u32)?,
        created_at: Timestamp(from.u64()?),
        changed_at: Timestamp(from.u64()?),
    };
    if erases {
        job.progress.erased = ErasedCounts {
            events: from.u64()?,
            dead_letters: from.u64()?,
            attempts: from.u64()?,
            deliveries: from.u64()?,
        };
    }
    Some(job)
}

pub(crate) fn write_results(out: &mut Vec<u8>, results: JobResults) {
    out.u64(results.succeeded);
    out.u64(results.died);
    // Most rows end here, as in the first releases that had jobs.
    if results.uncounted > 0 || results.discarded > 0 {
        out.u64(results.uncounted);
        out.u64(results.discarded);
    }
}

pub(crate) fn read_results(from: &mut Reader<'_>) -> Option<JobResults> {
    let mut results = JobResults {
        succeeded: from.u64()?,
        died: from.u64()?,
        ..JobResults::default()
    };
    if !from.is_at_end() {
        results.uncounted = from.u64()?;
        results.discarded = from.u64()?;
    }
    Some(results)
}

fn write_spec(out: &mut Vec<u8>, spec: &JobSpec) {
    match spec {
        JobSpec::Redrive(selection) => {
            out.u8(0);
            write_selection(out, selection);
        }
        JobSpec::Purge(selection) => {
            out.u8(1);
            write_selection(out, selection);
        }
        JobSpec::Replay(spec) => {
            out.u8(2);
            write_replay(out, spec);
        }
        JobSpec::Skip(spec) => {
            out.u8(3);
            write_skip(out, *spec);
        }
        JobSpec::Erase(spec) => {
            out.u8(4);
            write_erase(out, spec);
        }
        JobSpec::Shadow(spec) => {
            out.u8(8);
            write_shadow(out, spec);
        }
    }
}

fn read_spec(from: &mut Reader<'_>) -> Option<JobSpec> {
    Some(match from.u8()? {
        0 => JobSpec::Redrive(read_selection(from)?),
        1 => JobSpec::Purge(read_selection(from)?),
        2 => JobSpec::Replay(read_replay(from)?),
        3 => JobSpec::Skip(read_skip(from)?),
        4 => JobSpec::Erase(read_erase(from)?),
        8 => JobSpec::Shadow(Box::new(read_shadow(from)?)),
        _ => return None,
    })
}

fn write_selection(out: &mut Vec<u8>, selection: &LetterSelection) {
    out.list(selection.keys.iter(), |out, key| write_key(out, *key));
    out.list(selection.subscriptions.iter(), |out, id| out.u32(id.0));
    out.option(selection.reason, |out, reason| out.u8(reason_byte(reason)));
    out.option(selection.since, |out, since| out.u64(since.0));
    out.option(selection.until, |out, until| out.u64(until.0));
    for text in [&selection.kind, &selection.pattern] {
        out.option(text.as_ref(), |out, text| out.bytes(text.as_bytes()));
    }
    out.option(selection.limit, |out, limit| out.u64(limit));
}

fn read_selection(from: &mut Reader<'_>) -> Option<LetterSelection> {
    Some(LetterSelection {
        keys: from.list(read_key)?,
        subscriptions: from.list(|from| from.u32().map(SubscriptionId))?,
        reason: from.option(read_reason)?,
        since: from.option(|from| from.u64().map(Timestamp))?,
        until: from.option(|from| from.u64().map(Timestamp))?,
        kind: from.option(Reader::text)?,
        pattern: from.option(Reader::text)?,
        limit: from.option(Reader::u64)?,
    })
}

fn read_skipped(from: &mut Reader<'_>) -> Option<Skipped> {
    let rows = from.list(|from| {
        let reason = match from.u8()? {
            0 => SkipReason::Gone,
            1 => SkipReason::Corrupt,
            2 => SkipReason::SubscriptionEnded,
            3 => SkipReason::FunctionMissing,
            4 => SkipReason::Removed,
            5 => SkipReason::Erased,
            _ => return None,
        };
        Some((reason, from.u64()?))
    })?;
    let mut skipped = Skipped::default();
    for (reason, count) in rows {
        skipped.add(reason, count);
    }
    Some(skipped)
}

pub(super) fn write_key(out: &mut Vec<u8>, key: DeliveryKey) {
    out.u32(key.subscription.0);
    out.u32(key.replay);
    out.u64(key.position.0);
}

pub(super) fn read_key(from: &mut Reader<'_>) -> Option<DeliveryKey> {
    Some(DeliveryKey {
        subscription: SubscriptionId(from.u32()?),
        replay: from.u32()?,
        position: Position(from.u64()?),
    })
}
