//! Events of the log as bytes. The data goes in and out as it came.

use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::{Reader, Writer};
use crate::{NewEvent, StoredEvent};
use edgebus_model::{
    Attribute, BusId, Data, DeliveryKey, Erased, Event, EventRef, JobId, Lineage, Position,
    SubscriptionId, Timestamp,
};

/// The record format that brought slot, version and keys.
const KEYS_FORMAT: u8 = 3;

/// Writes the record of an event that is accepted at `now`.
pub(crate) fn write_stored(out: &mut Vec<u8>, new: &NewEvent, now: Timestamp) {
    out.u64(now.0);
    out.u64(new.rules_version);
    out.list(new.subscriptions.iter(), |out, id| out.u32(id.0));
    write_lineage(out, &new.lineage);
    write_event(out, &new.event);
    out.u8(slot(&new.event));
    // No bus counts versions of its keys yet, and no subscription orders by one.
    out.option(None::<u64>, |out, version| out.u64(version));
    out.list([].iter(), |out, (subscription, key): &(u32, u64)| {
        out.u32(*subscription);
        out.u64(*key);
    });
}

/// One of 256 slots: a byte of the hash of the event's key, which is its extension `partitionkey`, else its
/// subject. An event without a key is in slot 0. A key's slot is the same for ever.
pub(crate) fn slot(event: &Event) -> u8 {
    let partition = event
        .extensions
        .iter()
        .find_map(|(name, value)| match value {
            Attribute::Text(text) if name == "partitionkey" => Some(text),
            _ => None,
        });
    let key = partition.or(event.subject.as_ref());
    key.map_or(0, |key| xxh3_64(key.as_bytes()).to_le_bytes()[0])
}

/// Reads what [`write_stored`] wrote; the position stands in the key.
pub(crate) fn read_stored(from: &mut Reader<'_>, position: Position) -> Option<StoredEvent> {
    let stored = StoredEvent {
        position,
        accepted_at: Timestamp(from.u64()?),
        rules_version: from.u64()?,
        subscriptions: from.list(|from| from.u32().map(SubscriptionId))?,
        lineage: read_lineage(from)?,
        event: Arc::new(read_event(from)?),
    };
    if from.format() >= KEYS_FORMAT {
        // Nobody asks for slot, version and keys yet.
        from.u8()?;
        from.option(Reader::u64)?;
        from.list(|from| Some((from.u32()?, from.u64()?)))?;
    }
    Some(stored)
}

/// Reads when an event was accepted and for whom, and passes over the rest.
pub(crate) fn read_start(from: &mut Reader<'_>) -> Option<(Timestamp, Vec<SubscriptionId>)> {
    let accepted = Timestamp(from.u64()?);
    from.u64()?;
    let subscriptions = from.list(|from| from.u32().map(SubscriptionId))?;
    from.rest();
    Some((accepted, subscriptions))
}

/// Writes how many events descend from one, and when the last of them came.
pub(crate) fn write_descendants(out: &mut Vec<u8>, count: u32, grown_at: Timestamp) {
    out.u32(count);
    out.u64(grown_at.0);
}

/// Reads what [`write_descendants`] wrote; the first releases of record format 3 noted no time.
pub(crate) fn read_descendants(from: &mut Reader<'_>) -> Option<(u32, Timestamp)> {
    let count = from.u32()?;
    if from.is_at_end() {
        return Some((count, Timestamp(0)));
    }
    Some((count, Timestamp(from.u64()?)))
}

pub(super) fn write_lineage(out: &mut Vec<u8>, lineage: &Lineage) {
    out.option(lineage.root, |out, root| {
        out.u32(root.bus.0);
        out.u64(root.position.0);
    });
    out.option(lineage.parent, |out, parent| {
        out.u32(parent.subscription.0);
        out.u32(parent.replay);
        out.u64(parent.position.0);
    });
    out.u8(lineage.hops);
}

pub(super) fn read_lineage(from: &mut Reader<'_>) -> Option<Lineage> {
    Some(Lineage {
        root: from.option(|from| {
            Some(EventRef {
                bus: BusId(from.u32()?),
                position: Position(from.u64()?),
            })
        })?,
        parent: from.option(|from| {
            Some(DeliveryKey {
                subscription: SubscriptionId(from.u32()?),
                replay: from.u32()?,
                position: Position(from.u64()?),
            })
        })?,
        hops: from.u8()?,
    })
}

pub(super) fn write_event(out: &mut Vec<u8>, event: &Event) {
    for required in [&event.id, &event.source, &event.kind] {
        out.bytes(required.as_bytes());
    }
    for optional in [
        &event.subject,
        &event.time,
        &event.data_content_type,
        &event.data_schema,
    ] {
        out.option(optional.as_ref(), |out, text| out.bytes(text.as_bytes()));
    }
    out.list(event.extensions.iter(), |out, (name, value)| {
        out.bytes(name.as_bytes());
        match value {
            Attribute::Text(text) => {
                out.u8(0);
                out.bytes(text.as_bytes());
            }
            Attribute::Integer(number) => {
                out.u8(1);
                out.u32(number.cast_unsigned());
            }
            Attribute::Boolean(value) => {
                out.u8(2);
                out.flag(*value);
            }
        }
    });
    match &event.data {
        Data::Absent => out.u8(0),
        Data::Json(data) => {
            out.u8(1);
            out.bytes(data);
        }
        Data::Opaque(data) => {
            out.u8(2);
            out.bytes(data);
        }
        Data::Erased(erased) => {
            out.u8(3);
            out.u32(erased.job.0);
            out.u64(erased.at.0);
        }
    }
}

pub(super) fn read_event(from: &mut Reader<'_>) -> Option<Event> {
    Some(Event {
        id: from.text()?,
        source: from.text()?,
        kind: from.text()?,
        subject: from.option(Reader::text)?,
        time: from.option(Reader::text)?,
        data_content_type: from.option(Reader::text)?,
        data_schema: from.option(Reader::text)?,
        extensions: from.list(|from| {
            let name = from.text()?;
            let value = match from.u8()? {
                0 => Attribute::Text(from.text()?),
                1 => Attribute::Integer(from.u32()?.cast_signed()),
                2 => Attribute::Boolean(from.flag()?),
                _ => return None,
            };
            Some((name, value))
        })?,
        data: match from.u8()? {
            0 => Data::Absent,
            1 => Data::Json(Bytes::copy_from_slice(from.bytes()?)),
            2 => Data::Opaque(Bytes::copy_from_slice(from.bytes()?)),
            3 => Data::Erased(Erased {
                job: JobId(from.u32()?),
                at: Timestamp(from.u64()?),
            }),
            _ => return None,
        },
    })
}
