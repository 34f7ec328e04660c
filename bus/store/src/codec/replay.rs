//! What replays, seeks and erasures are asked for, as bytes.

use super::{Reader, Writer};
use edgebus_model::{
    BusId, EraseSpec, Position, ReplayPurpose, ReplaySpec, SkipSpec, SubscriptionId,
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

pub(super) fn write_skip(out: &mut Vec<u8>, spec: SkipSpec) {
    out.u32(spec.subscription.0);
    out.u64(spec.before.0);
}

pub(super) fn read_skip(from: &mut Reader<'_>) -> Option<SkipSpec> {
    Some(SkipSpec {
        subscription: SubscriptionId(from.u32()?),
        before: Position(from.u64()?),
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
