//! Records of earlier formats that a migration rewrites under other keys or in other tables.
//!
//! Never here: a record that is still read where it stands.

use super::Reader;
use super::delivery::{read_attempt, read_rest};
use edgebus_model::{DeadLetter, Delivery, DeliveryKey, Pending, Succeeded, Timestamp};

/// A delivery with its attempts in one row. Claims that never ended counted as attempts.
pub(crate) fn read_delivery(from: &mut Reader<'_>, key: DeliveryKey) -> Option<Delivery> {
    if from.format() >= 3 {
        return None;
    }
    let accepted_at = Timestamp(from.u64()?);
    let made = from.u32()?;
    let fence = from.u32()?;
    let due_at = from.option(|from| from.u64().map(Timestamp))?;
    let attempts = from.list(read_attempt)?;
    let ended = attempts.last().map_or(0, |attempt| attempt.number);
    let pending = Pending {
        due_at,
        fence,
        attempts_made: ended,
        claims: u8::try_from(made.saturating_sub(ended)).unwrap_or(u8::MAX),
        ..Pending::new(key, accepted_at)
    };
    Some(Delivery::new(pending, attempts))
}

/// A success with all its attempts.
pub(crate) fn read_settled(from: &mut Reader<'_>, key: DeliveryKey) -> Option<Succeeded> {
    Some(Succeeded {
        delivery: read_delivery(from, key)?,
        settled_at: Timestamp(from.u64()?),
        emitted: from.u32()?,
        discarded: None,
    })
}

/// A dead letter with all its attempts.
pub(crate) fn read_dead(from: &mut Reader<'_>, key: DeliveryKey) -> Option<DeadLetter> {
    let delivery = read_delivery(from, key)?;
    read_rest(from, delivery)
}
