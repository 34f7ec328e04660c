//! Format 1 had no counters: they are summed up from the rows, after these have been rewritten.

use super::{Migration, Next, Page};
use crate::codec::{Table, delivery, unseal};
use crate::redb::counters::{
    bus_key, read_bus, read_subscription, subscription_key, write_bus, write_subscription,
};
use crate::redb::tables::{Tables, delivery_of};
use crate::{BusCounts, Counts, Error};
use edgebus_model::{BusId, SubscriptionId};

pub(super) const EVENTS: Migration = Migration {
    name: "counters of events",
    doing: "counting events",
    table: Table::Events,
    step: events,
};

pub(super) const DELIVERIES: Migration = Migration {
    name: "counters of deliveries",
    doing: "counting deliveries",
    table: Table::Deliveries,
    step: deliveries,
};

pub(super) const DEAD_LETTERS: Migration = Migration {
    name: "counters of dead letters",
    doing: "counting dead letters",
    table: Table::DeadLetters,
    step: dead_letters,
};

fn events(tables: &mut Tables<'_>, after: &[u8]) -> Result<Next, Error> {
    let page = Page::behind(tables, Table::Events, after)?;
    for (key, record) in &page.rows {
        let Some(bus) = key.first_chunk::<4>() else {
            continue;
        };
        let key = bus_key(BusId(u32::from_be_bytes(*bus)));
        let row = tables.get(Table::Counters, &key, read_bus)?;
        let before = row.and_then(Result::ok).unwrap_or_default();
        let counts = BusCounts {
            events: before.events + 1,
            bytes: before.bytes + record.len() as u64,
        };
        tables.put(Table::Counters, &key, |out| write_bus(out, counts))?;
    }
    Ok(page.next())
}

fn deliveries(tables: &mut Tables<'_>, after: &[u8]) -> Result<Next, Error> {
    let page = Page::behind(tables, Table::Deliveries, after)?;
    for (key, record) in &page.rows {
        let read = unseal(Table::Deliveries, key, record, |from| {
            delivery::read_pending(from, delivery_of(key)?)
        });
        let Ok(row) = read else { continue };
        let waits = row.due_at.is_some();
        add(tables, row.key.subscription, |counts| {
            *counts.pending_mut(waits) += 1
        })?;
    }
    Ok(page.next())
}

fn dead_letters(tables: &mut Tables<'_>, after: &[u8]) -> Result<Next, Error> {
    let page = Page::behind(tables, Table::DeadLetters, after)?;
    for (key, _) in &page.rows {
        if let Some(key) = delivery_of(key) {
            add(tables, key.subscription, |counts| counts.dead += 1)?;
        }
    }
    Ok(page.next())
}

fn add(
    tables: &mut Tables<'_>,
    id: SubscriptionId,
    change: impl FnOnce(&mut Counts),
) -> Result<(), Error> {
    let key = subscription_key(id);
    let row = tables.get(Table::Counters, &key, read_subscription)?;
    let mut counts = row.and_then(Result::ok).unwrap_or_default();
    change(&mut counts);
    tables.put(Table::Counters, &key, |out| write_subscription(out, counts))
}
