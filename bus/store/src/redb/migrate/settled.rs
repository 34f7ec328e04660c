//! Successes of format 1 stood under their delivery's key, by subscription, with all their attempts. Their
//! new keys are longer, and stand in the same table: what is longer has been through already.

use std::collections::HashMap;

use super::deliveries::write_attempts;
use super::{Migration, Next, Page};
use crate::Error;
use crate::codec::{Table, catalog as rows_of, delivery, earlier, unseal};
use crate::redb::catalog::numbered;
use crate::redb::tables::{Tables, delivery_of, settled_key};
use edgebus_model::{BusId, SubscriptionId};

pub(super) const SETTLED: Migration = Migration {
    name: "settled",
    doing: "rewriting successes",
    table: Table::Settled,
    step,
};

fn step(tables: &mut Tables<'_>, after: &[u8]) -> Result<Next, Error> {
    let page = Page::behind(tables, Table::Settled, after)?;
    let mut buses = HashMap::new();
    for (key, record) in page.rows.iter().filter(|(key, _)| key.len() == 16) {
        let read = unseal(Table::Settled, key, record, |from| {
            earlier::read_settled(from, delivery_of(key)?)
        });
        let Ok(row) = read else { continue };
        let Some(bus) = bus_of(tables, &mut buses, row.delivery.key.subscription)? else {
            continue;
        };
        if let Some((_, earlier)) = row.delivery.attempts.split_last() {
            write_attempts(tables, row.delivery.key, earlier)?;
        }
        tables.remove(Table::Settled, key)?;
        tables.put(Table::Settled, &settled_key(bus, row.delivery.key), |out| {
            delivery::write_settled(out, &row);
        })?;
    }
    Ok(page.next())
}

/// The bus of a subscription, whose row never leaves the catalog; `None` where it is corrupt.
fn bus_of(
    tables: &mut Tables<'_>,
    known: &mut HashMap<SubscriptionId, Option<BusId>>,
    id: SubscriptionId,
) -> Result<Option<BusId>, Error> {
    if let Some(bus) = known.get(&id) {
        return Ok(*bus);
    }
    let row = tables.get(Table::Catalog, &numbered(b's', id.0), |from| {
        rows_of::read_subscription(from, id)
    })?;
    let bus = row
        .and_then(Result::ok)
        .map(|subscription| subscription.bus);
    known.insert(id, bus);
    Ok(bus)
}
