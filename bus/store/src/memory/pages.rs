//! Pages over the maps: rows and bytes, both ways, as `Page` says.
//!
//! What a row weighs here is near to what its record would; that a page ends is the same everywhere, where
//! it ends is not.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::Data;
use crate::{Direction, Page, Rows, StoredEvent};
use edgebus_model::{BusId, DeliveryKey, Position, SubscriptionId};

/// What rows weigh, in bytes.
pub(super) mod weights {
    use edgebus_model::Delivery;

    pub(in crate::memory) fn pending(_: &Delivery) -> usize {
        48
    }

    pub(in crate::memory) fn delivery(delivery: &Delivery) -> usize {
        let attempts = delivery.attempts.iter();
        attempts.fold(pending(delivery), |sum, attempt| {
            sum + 64 + attempt.output.len() + attempt.outcome.to_string().len()
        })
    }
}

/// The rows between two bounds, from `from` on, in the page's direction.
pub(super) fn in_direction<'m, K: Ord, T>(
    map: &'m BTreeMap<K, T>,
    first: Bound<K>,
    last: Bound<K>,
    from: Option<K>,
    page: Page,
) -> Box<dyn Iterator<Item = &'m T> + 'm> {
    let within = |place: &K| {
        let above = match &first {
            Bound::Included(first) => place >= first,
            Bound::Excluded(first) => place > first,
            Bound::Unbounded => true,
        };
        let below = match &last {
            Bound::Included(last) => place <= last,
            Bound::Excluded(last) => place < last,
            Bound::Unbounded => true,
        };
        (above, below)
    };
    match (page.direction, from) {
        (Direction::Forward, Some(from)) => match within(&from) {
            (true, true) => {
                let rows = map.range((Bound::Excluded(from), last));
                Box::new(rows.map(|(_, row)| row))
            }
            (true, false) => Box::new(std::iter::empty()),
            (false, _) => Box::new(map.range((first, last)).map(|(_, row)| row)),
        },
        (Direction::Backward, Some(from)) => match within(&from) {
            (true, true) => {
                let rows = map.range((first, Bound::Excluded(from)));
                Box::new(rows.rev().map(|(_, row)| row))
            }
            (true, false) => Box::new(map.range((first, last)).rev().map(|(_, row)| row)),
            (false, _) => Box::new(std::iter::empty()),
        },
        (Direction::Forward, None) => Box::new(map.range((first, last)).map(|(_, row)| row)),
        (Direction::Backward, None) => Box::new(map.range((first, last)).rev().map(|(_, row)| row)),
    }
}

/// The page of these rows.
pub(super) fn fill<'m, T: Clone + 'm, K>(
    rows: impl Iterator<Item = &'m T>,
    page: Page,
    key: impl Fn(&T) -> K,
    weight: impl Fn(&T) -> usize,
) -> Rows<T, K> {
    let mut filled = Rows::none();
    if page.rows_max == 0 {
        return filled;
    }
    for row in rows {
        filled.bytes += weight(row);
        filled.rows.push(row.clone());
        if page.is_full(filled.rows.len(), filled.bytes) {
            filled.next = Some(key(row));
            break;
        }
    }
    filled
}

/// Has a delivery's key.
pub(super) trait Keyed {
    fn key(&self) -> DeliveryKey;
}

impl Keyed for edgebus_model::Delivery {
    fn key(&self) -> DeliveryKey {
        self.key
    }
}

impl Keyed for edgebus_model::DeadLetter {
    fn key(&self) -> DeliveryKey {
        self.delivery.key
    }
}

/// A page of one subscription's rows.
pub(super) fn of_subscription<T: Clone + Keyed>(
    rows: &BTreeMap<DeliveryKey, T>,
    subscription: SubscriptionId,
    from: Option<DeliveryKey>,
    page: Page,
    (intact, weight): (impl Fn(DeliveryKey) -> bool, impl Fn(&T) -> usize),
) -> Rows<T, DeliveryKey> {
    let end = |replay, position| DeliveryKey {
        subscription,
        replay,
        position: Position(position),
    };
    let (first, last) = (end(0, 0), end(u32::MAX, u64::MAX));
    let rows = in_direction(
        rows,
        Bound::Included(first),
        Bound::Included(last),
        from,
        page,
    );
    let rows = rows.filter(|row| intact(row.key()));
    fill(rows, page, T::key, weight)
}

impl Data {
    /// A page of a bus's log.
    pub(super) fn events_page(
        &self,
        bus: BusId,
        from: Position,
        page: Page,
    ) -> Rows<StoredEvent, Position> {
        let Some(log) = self.logs.get(&bus) else {
            return Rows::none();
        };
        let intact = |row: &&StoredEvent| self.intact(bus, row.position);
        let weight = |row: &StoredEvent| row.event.size();
        match page.direction {
            Direction::Forward => {
                let range = (Bound::Excluded(from), Bound::Unbounded);
                let rows = log.events.range(range).map(|(_, row)| row);
                fill(rows.filter(intact), page, |row| row.position, weight)
            }
            Direction::Backward => {
                let rows = log.events.range(..from).rev().map(|(_, row)| row);
                fill(rows.filter(intact), page, |row| row.position, weight)
            }
        }
    }
}
