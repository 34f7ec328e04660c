//! The full check: every record of every table, and what must hold between them.
//!
//! Checksums find a record that was changed; only the links between tables find one that is gone:
//! a log without gaps, and each delivery that an event owed in exactly one place of its life.

use std::ops::Bound;

use super::tables::{Snapshot, delivery_key, delivery_of, due_key, event_key, position_of};
use super::{catalog, dedupe};
use crate::model::{BusId, DeliveryKey};
use crate::store::codec::{Harm, Reader, Table, catalog as rows_of, delivery, event, unseal};
use crate::store::{Error, Verified};

/// Checks everything; each harm is one line.
pub(super) fn verify(rows: &Snapshot, harm: &mut dyn FnMut(String)) -> Result<Verified, Error> {
    let mut seen = Verified::default();
    for table in Table::ALL {
        rows.scan(table, Bound::Unbounded, Bound::Unbounded, |key, record| {
            seen.records += 1;
            let sound = unseal(table, key, record, |from| read_row(table, key, from));
            if let Err(found) = sound {
                seen.harmed += 1;
                harm(found.line());
            }
            true
        })?;
    }
    let mut lost = |found: Harm| {
        seen.harmed += 1;
        harm(found.line());
    };
    for (bus, head) in catalog::read_heads(rows)? {
        check_log(rows, bus, head, &mut lost)?;
    }
    check_due(rows, &mut lost)?;
    Ok(seen)
}

/// Decodes any row whole, and lets the result go.
fn read_row(table: Table, key: &[u8], from: &mut Reader<'_>) -> Option<()> {
    match table {
        Table::Heads => from.u64().map(|_| ()),
        Table::Events => event::read_stored(from, position_of(key)?).map(|_| ()),
        Table::Deliveries => delivery::read_delivery(from, delivery_of(key)?).map(|_| ()),
        Table::Settled => delivery::read_settled(from, delivery_of(key)?).map(|_| ()),
        Table::DeadLetters => delivery::read_dead(from, delivery_of(key)?).map(|_| ()),
        Table::Due => delivery_of(key.get(8..)?).map(|_| ()),
        Table::Descendants => from.u32().map(|_| ()),
        Table::Dedupe => dedupe::read_row(key, from),
        Table::Catalog => match key.first()? {
            b'b' => rows_of::read_bus(from).map(|_| ()),
            b'f' => rows_of::read_revision(from).map(|_| ()),
            b'r' => rows_of::read_rule(from).map(|_| ()),
            b's' => rows_of::read_subscription(from, crate::model::SubscriptionId(0)).map(|_| ()),
            _ => {
                from.rest();
                Some(())
            }
        },
        Table::Meta | Table::State | Table::Components => {
            from.rest();
            Some(())
        }
    }
}

/// Positions without gaps up to the head, and every delivery somewhere.
fn check_log(
    rows: &Snapshot,
    bus: BusId,
    head: u64,
    lost: &mut dyn FnMut(Harm),
) -> Result<(), Error> {
    let mut next = None;
    let mut failed = None;
    let (from, to) = (
        bus.0.to_be_bytes(),
        bus.0.checked_add(1).map(u32::to_be_bytes),
    );
    let to = to
        .as_ref()
        .map_or(Bound::Unbounded, |to| Bound::Excluded(&to[..]));
    rows.scan(Table::Events, Bound::Included(&from), to, |key, record| {
        let Some(position) = position_of(key) else {
            return true;
        };
        if next.is_some_and(|next| next != position.0) {
            lost(Harm::new(Table::Events, key, "comes after a gap"));
        }
        next = position.0.checked_add(1);
        let Ok(stored) = unseal(Table::Events, key, record, |from| {
            event::read_stored(from, position)
        }) else {
            return true;
        };
        for subscription in stored.subscriptions {
            let owed = delivery_key(DeliveryKey {
                subscription,
                replay: 0,
                position,
            });
            match places(rows, &owed) {
                Ok(1) => {}
                Ok(0) => lost(Harm::new(Table::Deliveries, &owed, "is in no table")),
                Ok(_) => lost(Harm::new(Table::Deliveries, &owed, "is in two tables")),
                Err(error) => failed = Some(error),
            }
        }
        failed.is_none()
    })?;
    if next.is_some_and(|next| next != head + 1) {
        let key = event_key(bus, crate::model::Position(head));
        lost(Harm::new(
            Table::Events,
            &key,
            "is the head, but not the last row",
        ));
    }
    failed.map_or(Ok(()), Err)
}

/// In how many stages of life the delivery is.
fn places(rows: &Snapshot, key: &[u8]) -> Result<usize, Error> {
    let mut count = 0;
    for table in [Table::Deliveries, Table::Settled, Table::DeadLetters] {
        let row = rows.get(table, key, |from| {
            from.rest();
            Some(())
        })?;
        count += usize::from(row.is_some());
    }
    Ok(count)
}

/// Every delivery with a due time has its row among the waiting.
fn check_due(rows: &Snapshot, lost: &mut dyn FnMut(Harm)) -> Result<(), Error> {
    let mut failed = None;
    rows.scan(
        Table::Deliveries,
        Bound::Unbounded,
        Bound::Unbounded,
        |key, record| {
            let Some(name) = delivery_of(key) else {
                return true;
            };
            let row = unseal(Table::Deliveries, key, record, |from| {
                delivery::read_delivery(from, name)
            });
            let Some(due) = row.ok().and_then(|row| row.due_at) else {
                return true;
            };
            match rows.get(Table::Due, &due_key(due, name), |_| Some(())) {
                Ok(Some(_)) => {}
                Ok(None) => lost(Harm::new(
                    Table::Deliveries,
                    key,
                    "has no row among the waiting",
                )),
                Err(error) => failed = Some(error),
            }
            failed.is_none()
        },
    )?;
    failed.map_or(Ok(()), Err)
}
