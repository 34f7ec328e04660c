//! Pages and single rows, each from one short read transaction.
//!
//! A page leaves harmed rows out, notes them, and goes on until it is full or the rows end: one
//! harmed record hinders no other. A single read of a harmed row is [`Kind::Corrupt`](crate::store::Kind::Corrupt).

use std::ops::Bound;

use bytes::Bytes;

use super::tables::{
    Row, Snapshot, delivery_key, delivery_of, due_key, event_key, position_of, state_key,
};
use super::{RedbStore, catalog, guarded, verify};
use crate::model::{
    BusId, DeadLetter, Delivery, DeliveryKey, Digest, Name, Position, Settled, SubscriptionId,
    Timestamp,
};
use crate::store::codec::{Harm, Reader, Table, delivery, event, unseal};
use crate::store::known::Known;
use crate::store::{
    Catalog, Checked, DeliveryState, Error, Harmed, Step, StepOutcome, Store, StoredEvent,
    Verified, Versioned,
};

impl RedbStore {
    /// Up to `limit` rows between the bounds, harmed ones left out.
    fn page<T>(
        &self,
        table: Table,
        (from, to): (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
        mut read: impl FnMut(&[u8], &mut Reader<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let mut page = Vec::new();
        if limit == 0 {
            return Ok(page);
        }
        guarded(|| {
            let rows = self.snapshot()?;
            rows.scan(table, from, to, |key, record| {
                match unseal(table, key, record, |from| read(key, from)) {
                    Ok(row) => page.push(row),
                    Err(harm) => self.harmed.note(&harm),
                }
                page.len() < limit
            })
        })?;
        Ok(page)
    }

    /// Rows of one subscription behind `after`.
    fn delivery_page<T>(
        &self,
        table: Table,
        subscription: SubscriptionId,
        after: Option<DeliveryKey>,
        limit: usize,
        read: impl Fn(&mut Reader<'_>, DeliveryKey) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let end = |replay, position| {
            delivery_key(DeliveryKey {
                subscription,
                replay,
                position: Position(position),
            })
        };
        let (first, last) = (end(0, 0), end(u32::MAX, u64::MAX));
        let after = after.map(|after| delivery_key(after).clamp(first, last));
        let from = match &after {
            Some(after) if *after > first => Bound::Excluded(&after[..]),
            _ => Bound::Included(&first[..]),
        };
        self.page(table, (from, Bound::Included(&last)), limit, |key, from| {
            read(from, delivery_of(key)?)
        })
    }

    fn row<T>(
        &self,
        rows: &Snapshot,
        table: Table,
        key: &[u8],
        read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let row: Row<T> = rows.get(table, key, read);
        row?.transpose().map_err(|harm: Harm| {
            self.harmed.note(&harm);
            harm.into()
        })
    }

    fn one<T>(
        &self,
        table: Table,
        key: &[u8],
        read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        guarded(|| self.row(&self.snapshot()?, table, key, read))
    }
}

impl RedbStore {
    /// What is known, with what else the catalog tells.
    fn catalog_of(&self, rows: &Snapshot, known: Known) -> Result<Catalog, Error> {
        let heads = catalog::read_heads(rows)?;
        let head = |id: &BusId| Position(heads.get(id).copied().unwrap_or(0));
        let buses = known.buses.into_iter();
        Ok(Catalog {
            store_id: self.identity.store_id,
            secret: self.identity.secret,
            epoch: self.epoch,
            clean: self.was_clean,
            version: known.version,
            manifest: known.manifest,
            buses: buses.map(|(id, config)| (id, config, head(&id))).collect(),
            functions: known.functions.into_values().collect(),
            rules: known.rules,
            subscriptions: known.subscriptions.into_values().collect(),
        })
    }
}

impl Store for RedbStore {
    fn commit(&self, steps: &[Step]) -> Result<Vec<StepOutcome>, Error> {
        #[cfg(test)]
        if super::planted::SPLIT.get() {
            let one = |step| self.commit_batch(std::slice::from_ref(step));
            let outcomes = steps.iter().map(one).collect::<Result<Vec<_>, _>>()?;
            return Ok(outcomes.into_iter().flatten().collect());
        }
        self.commit_batch(steps)
    }

    fn catalog(&self) -> Result<Catalog, Error> {
        guarded(|| {
            let rows = self.snapshot()?;
            let known = catalog::read_known(&rows)?;
            self.catalog_of(&rows, known)
        })
    }

    fn plan(&self, step: &Step) -> Result<Result<Catalog, String>, Error> {
        guarded(|| {
            let rows = self.snapshot()?;
            let known = catalog::read_known(&rows)?;
            let held = catalog::held(&rows, step)?;
            match known.after(step, |digest| held.contains(&digest)) {
                Ok(next) => Ok(Ok(self.catalog_of(&rows, next)?)),
                Err(reason) => Ok(Err(reason)),
            }
        })
    }

    fn events(&self, bus: BusId, after: Position, limit: usize) -> Result<Vec<StoredEvent>, Error> {
        let from = event_key(bus, after);
        let to = event_key(bus, Position(u64::MAX));
        let range = (Bound::Excluded(&from[..]), Bound::Included(&to[..]));
        if after.0 == u64::MAX {
            return Ok(Vec::new());
        }
        self.page(Table::Events, range, limit, |key, from| {
            event::read_stored(from, position_of(key)?)
        })
    }

    fn event(&self, bus: BusId, position: Position) -> Result<Option<StoredEvent>, Error> {
        self.one(Table::Events, &event_key(bus, position), |from| {
            event::read_stored(from, position)
        })
    }

    fn deliveries(
        &self,
        subscription: SubscriptionId,
        after: Option<DeliveryKey>,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        let read = delivery::read_delivery;
        self.delivery_page(Table::Deliveries, subscription, after, limit, read)
    }

    fn waiting(
        &self,
        until: Timestamp,
        after: Option<(Timestamp, DeliveryKey)>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, DeliveryKey)>, Error> {
        let after = after.map(|(due, key)| due_key(due, key));
        if after.is_some_and(|after| after[..8] > until.0.to_be_bytes()[..]) {
            return Ok(Vec::new());
        }
        let from = after
            .as_ref()
            .map_or(Bound::Unbounded, |key| Bound::Excluded(&key[..]));
        let to = until.0.checked_add(1).map(u64::to_be_bytes);
        let to = to
            .as_ref()
            .map_or(Bound::Unbounded, |key| Bound::Excluded(&key[..]));
        let mut page = Vec::new();
        if limit == 0 {
            return Ok(page);
        }
        // A due row has no content: its key is told even where its checksum fails, because the delivery
        // itself says when it is due, and one that is passed over would wait for ever.
        guarded(|| {
            let rows = self.snapshot()?;
            rows.scan(Table::Due, from, to, |key, record| {
                if let Err(harm) = unseal(Table::Due, key, record, |_| Some(())) {
                    self.harmed.note(&harm);
                }
                if let Some((due, rest)) = key.split_first_chunk::<8>()
                    && let Some(delivery) = delivery_of(rest)
                {
                    page.push((Timestamp(u64::from_be_bytes(*due)), delivery));
                }
                page.len() < limit
            })
        })?;
        Ok(page)
    }

    fn delivery(&self, key: DeliveryKey) -> Result<Option<DeliveryState>, Error> {
        guarded(|| {
            let rows = self.snapshot()?;
            let row = delivery_key(key);
            let owed = self.row(&rows, Table::Deliveries, &row, |from| {
                delivery::read_delivery(from, key).map(DeliveryState::Owed)
            })?;
            if owed.is_some() {
                return Ok(owed);
            }
            let settled = self.row(&rows, Table::Settled, &row, |from| {
                delivery::read_settled(from, key).map(DeliveryState::Settled)
            })?;
            if settled.is_some() {
                return Ok(settled);
            }
            self.row(&rows, Table::DeadLetters, &row, |from| {
                delivery::read_dead(from, key).map(DeliveryState::Dead)
            })
        })
    }

    fn settled(
        &self,
        subscription: SubscriptionId,
        after: Option<DeliveryKey>,
        limit: usize,
    ) -> Result<Vec<Settled>, Error> {
        let read = delivery::read_settled;
        self.delivery_page(Table::Settled, subscription, after, limit, read)
    }

    fn dead_letters(
        &self,
        subscription: SubscriptionId,
        after: Option<DeliveryKey>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        let read = delivery::read_dead;
        self.delivery_page(Table::DeadLetters, subscription, after, limit, read)
    }

    fn state(&self, function: &Name, key: &[u8]) -> Result<Option<Versioned>, Error> {
        self.one(Table::State, &state_key(function, key), |from| {
            let version = from.u64()?;
            let value = Bytes::copy_from_slice(from.rest());
            Some(Versioned { value, version })
        })
    }

    fn state_keys(
        &self,
        function: &Name,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let first = state_key(function, prefix);
        let after = after.map(|after| state_key(function, after));
        let from = match &after {
            Some(after) if *after >= first => Bound::Excluded(&after[..]),
            _ => Bound::Included(&first[..]),
        };
        let to = after_prefix(&first);
        if after.as_ref().is_some_and(|after| *after >= to) {
            return Ok(Vec::new());
        }
        let owner = function.as_str().len() + 1;
        self.page(
            Table::State,
            (from, Bound::Excluded(&to)),
            limit,
            |key, from| {
                from.rest();
                key.get(owner..).map(<[u8]>::to_vec)
            },
        )
    }

    fn component(&self, digest: Digest) -> Result<Option<Bytes>, Error> {
        self.one(Table::Components, &digest.0, |from| {
            Some(Bytes::copy_from_slice(from.rest()))
        })
    }

    fn verify(&self, harm: &mut dyn FnMut(String)) -> Result<Verified, Error> {
        guarded(|| verify::verify(&self.snapshot()?, harm))
    }

    fn check_next(&self, rows: u64) -> Result<Option<Checked>, Error> {
        self.check_page(rows)
    }

    fn harmed(&self) -> Harmed {
        self.harmed.seen()
    }
}

/// The first key behind all that begin with `prefix`, which holds a byte below 255 (a name's).
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            break;
        }
    }
    end
}
