//! Events of the log as bytes. The data goes in and out as it came.

use std::sync::Arc;

use bytes::Bytes;

use super::{Reader, Writer};
use crate::model::{
    Attribute, BusId, Data, DeliveryKey, Event, EventRef, Lineage, Position, SubscriptionId,
    Timestamp,
};
use crate::store::{NewEvent, StoredEvent};

/// Writes the record of an event that is accepted at `now`.
pub(in crate::store) fn write_stored(out: &mut Vec<u8>, new: &NewEvent, now: Timestamp) {
    out.u64(now.0);
    out.u64(new.rules_version);
    out.list(new.subscriptions.iter(), |out, id| out.u32(id.0));
    write_lineage(out, &new.lineage);
    write_event(out, &new.event);
}

/// Reads what [`write_stored`] wrote; the position stands in the key.
pub(in crate::store) fn read_stored(
    from: &mut Reader<'_>,
    position: Position,
) -> Option<StoredEvent> {
    Some(StoredEvent {
        position,
        accepted_at: Timestamp(from.u64()?),
        rules_version: from.u64()?,
        subscriptions: from.list(|from| from.u32().map(SubscriptionId))?,
        lineage: read_lineage(from)?,
        event: Arc::new(read_event(from)?),
    })
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
            _ => return None,
        },
    })
}
