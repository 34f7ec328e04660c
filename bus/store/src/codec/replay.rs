//! What replays, seeks and erasures are asked for, as bytes.

use super::{Reader, Writer};
use edgebus_model::{
    BusId, EraseSpec, JobId, Position, ReplayPurpose, ReplaySpec, SkipSpec, SubscriptionId,
};

pub(super) fn write_replay(out: &mut Vec<u8>, spec: &ReplaySpec) {
    out.option(spec.name.as_ref(), |out, name| {
        out.bytes(name.as_str().as_bytes());
    });
    out.u8(match spec.purpose {
        ReplayPurpose::Replay => 0,
        ReplayPurpose::Seek => 1,
        ReplayPurpose::Start => 2,
    });
    out.u32(spec.bus.0);
    out.u64(spec.first.0);
    out.u64(spec.last.0);
    out.list(spec.subscriptions.iter(), |out, id| out.u32(id.0));
    for text in [&spec.kind, &spec.pattern] {
        out.option(text.as_ref(), |out, text| out.bytes(text.as_bytes()));
    }
    out.flag(spec.as_matched);
}

pub(super) fn read_replay(from: &mut Reader<'_>) -> Option<ReplaySpec> {
    Some(ReplaySpec {
        name: from.option(Reader::name)?,
        purpose: match from.u8()? {
            0 => ReplayPurpose::Replay,
            1 => ReplayPurpose::Seek,
            2 => ReplayPurpose::Start,
            _ => return None,
        },
        bus: BusId(from.u32()?),
        first: Position(from.u64()?),
        last: Position(from.u64()?),
        subscriptions: from.list(|from| from.u32().map(SubscriptionId))?,
        kind: from.option(Reader::text)?,
        pattern: from.option(Reader::text)?,
        as_matched: from.flag()?,
    })
}

/// A number that no subscription has.
const NO_SUBSCRIPTION: u32 = 0;

pub(super) fn write_skip(out: &mut Vec<u8>, spec: SkipSpec) {
    match spec {
        SkipSpec::Live {
            subscription,
            before,
        } => {
            out.u32(subscription.0);
            out.u64(before.0);
        }
        SkipSpec::Replay(replay) => {
            out.u32(NO_SUBSCRIPTION);
            out.u64(u64::from(replay.0));
        }
    }
}

pub(super) fn read_skip(from: &mut Reader<'_>) -> Option<SkipSpec> {
    let (subscription, number) = (from.u32()?, from.u64()?);
    Some(match subscription {
        NO_SUBSCRIPTION => SkipSpec::Replay(JobId(u32::try_from(number).ok()?)),
        _ => SkipSpec::Live {
            subscription: SubscriptionId(subscription),
            before: Position(number),
        },
    })
}

pub(super) fn write_erase(out: &mut Vec<u8>, spec: &EraseSpec) {
    out.u32(spec.bus.0);
    out.u64(spec.first.0);
    out.u64(spec.last.0);
    for text in [&spec.subject, &spec.pattern] {
        out.option(text.as_ref(), |out, text| out.bytes(text.as_bytes()));
    }
}

pub(super) fn read_erase(from: &mut Reader<'_>) -> Option<EraseSpec> {
    Some(EraseSpec {
        bus: BusId(from.u32()?),
        first: Position(from.u64()?),
        last: Position(from.u64()?),
        subject: from.option(Reader::text)?,
        pattern: from.option(Reader::text)?,
    })
}
