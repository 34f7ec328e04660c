//! Pages of rows, each from one short read transaction: bounded in rows and bytes, both ways.
//!
//! Corrupt rows are left out and noted, and the page goes on: one corrupt record hinders no other. A page of
//! successes jumps over the rows of other subscriptions, and looks at a bounded number of places.

use std::ops::Bound;

use super::RedbStore;
use super::tables::{
    ReadTx, Turn, attempt_key, delivery_key, delivery_of, delivery_range, event_key, position_of,
    settled_key, settled_of,
};
use crate::codec::delivery::Settled;
use crate::codec::{Reader, Table, catalog, delivery, event, unseal};
use crate::{DeliveryState, Direction, Error, Page, Rows, SETTLED_LOOKED_AT_MAX, StoredEvent};
use edgebus_model::{
    Attempt, BusId, DeadLetter, Delivery, DeliveryKey, Pending, Position, Running, SubscriptionId,
    Succeeded,
};

/// Where a scan begins and ends.
type Range<'k> = (Bound<&'k [u8]>, Bound<&'k [u8]>);

/// A row that has attempts elsewhere.
pub(super) trait Historied {
    /// The delivery whose earlier attempts belong in front of those that it has; `None` if it shows none.
    fn history(&mut self) -> Option<&mut Delivery>;
}

impl Historied for Pending {
    fn history(&mut self) -> Option<&mut Delivery> {
        None
    }
}

impl Historied for Delivery {
    fn history(&mut self) -> Option<&mut Delivery> {
        Some(self)
    }
}

impl Historied for Succeeded {
    fn history(&mut self) -> Option<&mut Delivery> {
        Some(&mut self.delivery)
    }
}

impl Historied for DeadLetter {
    fn history(&mut self) -> Option<&mut Delivery> {
        Some(&mut self.delivery)
    }
}

impl Historied for DeliveryState {
    fn history(&mut self) -> Option<&mut Delivery> {
        Some(match self {
            Self::Pending(delivery) => delivery,
            Self::Succeeded(settled) => &mut settled.delivery,
            Self::Dead(dead) => &mut dead.delivery,
        })
    }
}

/// The range of a page that goes on from `from`, within `first` and `last`.
fn range_of<'k>(
    (first, last): (&'k [u8], &'k [u8]),
    from: Option<&'k [u8]>,
    direction: Direction,
) -> Range<'k> {
    let (mut low, mut high) = (Bound::Included(first), Bound::Included(last));
    match (from, direction) {
        (Some(from), Direction::Forward) if from >= first => low = Bound::Excluded(from.min(last)),
        (Some(from), Direction::Backward) if from <= last => {
            high = Bound::Excluded(from.max(first))
        }
        _ => {}
    }
    (low, high)
}

/// A page on its way.
struct Filling<T, K> {
    page: Page,
    filled: Rows<T, K>,
}

impl<T, K> Filling<T, K> {
    fn new(page: Page) -> Self {
        Self {
            page,
            filled: Rows::none(),
        }
    }

    /// Counts a row that was looked at, the last one at `place`; false if that is enough.
    fn goes_on(&mut self, bytes: usize, place: Option<K>) -> bool {
        self.filled.bytes = self.filled.bytes.saturating_add(bytes);
        let full = self.page.is_full(self.filled.rows.len(), self.filled.bytes);
        if full && place.is_some() {
            self.filled.next = place;
        }
        !full
    }
}

impl RedbStore {
    /// The rows in a range. `read` makes a row of a key and a record, `place` reads a key, and `more` adds what
    /// stands in other tables and says what that weighs.
    pub(super) fn page<T, K>(
        &self,
        table: Table,
        range: Range<'_>,
        page: Page,
        place: impl Fn(&[u8]) -> Option<K>,
        read: impl FnMut(&[u8], &mut Reader<'_>) -> Option<T>,
        more: impl FnMut(&ReadTx, &mut T) -> Result<usize, Error>,
    ) -> Result<Rows<T, K>, Error> {
        let rows = self.checked(|| self.snapshot())?;
        self.page_of((&rows, table), range, page, place, read, more)
    }

    /// As [`RedbStore::page`], of a view that is there.
    pub(super) fn page_of<T, K>(
        &self,
        (rows, table): (&ReadTx, Table),
        range: Range<'_>,
        page: Page,
        place: impl Fn(&[u8]) -> Option<K>,
        mut read: impl FnMut(&[u8], &mut Reader<'_>) -> Option<T>,
        mut more: impl FnMut(&ReadTx, &mut T) -> Result<usize, Error>,
    ) -> Result<Rows<T, K>, Error> {
        let mut filling = Filling::new(page);
        if page.rows_max == 0 {
            return Ok(filling.filled);
        }
        self.checked(|| {
            let mut failed = None;
            let each = |key: &[u8], record: &[u8]| {
                let mut bytes = record.len();
                match unseal(table, key, record, |from| read(key, from)) {
                    Ok(mut row) => match more(rows, &mut row) {
                        Ok(further) => {
                            bytes += further;
                            filling.filled.rows.push(row);
                        }
                        Err(error) => failed = Some(error),
                    },
                    // A page never ends with it: its key may be of any place.
                    Err(corruption) => {
                        self.corrupt.note(&corruption);
                        return true;
                    }
                }
                failed.is_none() && filling.goes_on(bytes, place(key))
            };
            rows.scan_in(table, range, page.direction, each)?;
            failed.map_or(Ok(()), Err)
        })?;
        Ok(filling.filled)
    }

    /// A page of a bus's log.
    pub(super) fn log_page(
        &self,
        bus: BusId,
        from: Position,
        page: Page,
    ) -> Result<Rows<StoredEvent, Position>, Error> {
        let (first, last) = (
            event_key(bus, Position(0)),
            event_key(bus, Position(u64::MAX)),
        );
        // Read before the page: a page that ends by itself reaches it.
        let head = self.checked(|| self.head_of(&self.snapshot()?, bus))?;
        let key = event_key(bus, from);
        let range = range_of((&first, &last), Some(&key), page.direction);
        let read = |key: &[u8], from: &mut Reader<'_>| event::read_stored(from, position_of(key)?);
        let filled = self.page(Table::Events, range, page, position_of, read, |_, _| Ok(0))?;
        if page.rows_max > 0 {
            self.note_gaps((bus, head.last, head.floor), from, page.direction, &filled)?;
        }
        Ok(filled)
    }

    /// A page of one subscription's rows in a table that is in the order of deliveries' keys.
    pub(super) fn owned_page<T: Historied>(
        &self,
        table: Table,
        (subscription, from): (SubscriptionId, Option<DeliveryKey>),
        page: Page,
        read: impl Fn(&mut Reader<'_>, DeliveryKey) -> Option<T>,
    ) -> Result<Rows<T, DeliveryKey>, Error> {
        let (first, last) = delivery_range(subscription);
        let from = from.map(delivery_key);
        let from = from.as_ref().map(|from| &from[..]);
        let range = range_of((&first, &last), from, page.direction);
        let read = |key: &[u8], from: &mut Reader<'_>| read(from, delivery_of(key)?);
        let more = |rows: &ReadTx, row: &mut T| self.add_attempts(rows, row);
        self.page(table, range, page, delivery_of, read, more)
    }

    /// A page of the attempts that were claimed and have not ended.
    pub(super) fn all_running(
        &self,
        from: Option<DeliveryKey>,
        page: Page,
    ) -> Result<Rows<Running, DeliveryKey>, Error> {
        let (first, last) = ([0; 16], [u8::MAX; 16]);
        let from = from.map(delivery_key);
        let from = from.as_ref().map(|from| &from[..]);
        let range = range_of((&first, &last), from, page.direction);
        let read =
            |key: &[u8], from: &mut Reader<'_>| delivery::read_running(from, delivery_of(key)?);
        self.page(Table::Running, range, page, delivery_of, read, |_, _| Ok(0))
    }

    /// A page of a subscription's successes, which stand among those of others.
    pub(super) fn successes(
        &self,
        subscription: SubscriptionId,
        from: Option<DeliveryKey>,
        page: Page,
    ) -> Result<Rows<Succeeded, DeliveryKey>, Error> {
        let mut filling = Filling::new(page);
        if page.rows_max == 0 {
            return Ok(filling.filled);
        }
        self.checked(|| {
            let rows = self.snapshot()?;
            let Some(bus) = self.bus_of(&rows, subscription)? else {
                return Ok(());
            };
            let Some(range) = successes_range((bus, subscription), from, page.direction) else {
                return Ok(());
            };
            let (mut looked, mut failed) = (0, None);
            rows.skim(Table::Settled, range, page.direction, |key, record| {
                let Some((_, place)) = settled_of(key) else {
                    return Turn::On;
                };
                looked += 1;
                if place.subscription == subscription {
                    let read = unseal(Table::Settled, key, record, |from| {
                        delivery::read_settled(from, place)
                    });
                    let mut bytes = record.len();
                    match read {
                        Ok(Settled::Expired) => return Turn::On,
                        Ok(Settled::Succeeded(mut row)) => match self.add_attempts(&rows, &mut row)
                        {
                            Ok(further) => {
                                bytes += further;
                                filling.filled.rows.push(row);
                            }
                            Err(error) => failed = Some(error),
                        },
                        Err(corruption) => self.corrupt.note(&corruption),
                    }
                    if failed.is_some() || !filling.goes_on(bytes, Some(place)) {
                        return Turn::End;
                    }
                } else if looked >= SETTLED_LOOKED_AT_MAX {
                    filling.filled.next = Some(before(place, subscription, page.direction));
                    return Turn::End;
                } else {
                    return jump(bus, place, subscription, page.direction);
                }
                Turn::On
            })?;
            failed.map_or(Ok(()), Err)
        })?;
        Ok(filling.filled)
    }

    /// Puts the attempts before the last in front of it, and says what they weigh.
    pub(super) fn add_attempts(
        &self,
        rows: &ReadTx,
        row: &mut impl Historied,
    ) -> Result<usize, Error> {
        let Some(delivery) = row.history() else {
            return Ok(0);
        };
        // Most deliveries end with their first attempt, which stands in their own row.
        let in_row = u32::try_from(delivery.attempts.len()).unwrap_or(u32::MAX);
        if delivery.attempts_made <= in_row {
            return Ok(0);
        }
        let (from, to) = (
            attempt_key(delivery.key, 0),
            attempt_key(delivery.key, u32::MAX),
        );
        let (mut bytes, mut attempts) = (0, Vec::<Attempt>::new());
        let range = (Bound::Included(&from[..]), Bound::Included(&to[..]));
        rows.scan(Table::Attempts, range.0, range.1, |key, record| {
            bytes += record.len();
            match unseal(Table::Attempts, key, record, delivery::read_attempt) {
                Ok(attempt) => attempts.push(attempt),
                Err(corruption) => self.corrupt.note(&corruption),
            }
            true
        })?;
        attempts.append(&mut delivery.attempts);
        delivery.attempts = attempts;
        Ok(bytes)
    }

    /// The bus of a subscription; `None` if there is no such.
    pub(super) fn bus_of(&self, rows: &ReadTx, id: SubscriptionId) -> Result<Option<BusId>, Error> {
        let key = super::catalog::numbered(b's', id.0);
        let found = self.row(rows, Table::Catalog, &key, |from| {
            catalog::read_subscription(from, id)
        })?;
        Ok(found.map(|subscription| subscription.bus))
    }
}

/// The rows of a bus's successes that a page of one subscription goes through.
fn successes_range(
    (bus, subscription): (BusId, SubscriptionId),
    from: Option<DeliveryKey>,
    direction: Direction,
) -> Option<([u8; 20], [u8; 20])> {
    let place = |position, replay| {
        settled_key(
            bus,
            DeliveryKey {
                subscription,
                replay,
                position: Position(position),
            },
        )
    };
    let (mut first, mut last) = (place(0, 0), place(u64::MAX, u32::MAX));
    if let Some(DeliveryKey {
        replay, position, ..
    }) = from
    {
        match direction {
            Direction::Forward if replay < u32::MAX => first = place(position.0, replay + 1),
            Direction::Forward => first = place(position.0.checked_add(1)?, 0),
            Direction::Backward if replay > 0 => last = place(position.0, replay - 1),
            Direction::Backward => last = place(position.0.checked_sub(1)?, u32::MAX),
        }
    }
    Some((first, last))
}

/// Over the rows of other subscriptions, which begin at `place`, to where the next of ours may stand.
fn jump(bus: BusId, place: DeliveryKey, ours: SubscriptionId, direction: Direction) -> Turn {
    let (position, replay) = match direction {
        Direction::Forward if place.subscription < ours => (Some(place.position.0), 0),
        Direction::Forward => (place.position.0.checked_add(1), 0),
        Direction::Backward if place.subscription > ours => (Some(place.position.0), u32::MAX),
        Direction::Backward => (place.position.0.checked_sub(1), u32::MAX),
    };
    let Some(position) = position else {
        return Turn::End;
    };
    Turn::To(settled_key(
        bus,
        DeliveryKey {
            subscription: ours,
            replay,
            position: Position(position),
        },
    ))
}

/// The place of ours from which a page that has looked at enough goes on, so that it meets `place` again.
fn before(place: DeliveryKey, ours: SubscriptionId, direction: Direction) -> DeliveryKey {
    let (position, replay) = match direction {
        Direction::Forward => (place.position.0.saturating_sub(1), u32::MAX),
        Direction::Backward => (place.position.0.saturating_add(1), 0),
    };
    DeliveryKey {
        subscription: ours,
        replay,
        position: Position(position),
    }
}
