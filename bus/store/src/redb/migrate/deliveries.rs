//! Deliveries of format 1 had their attempts, and the count of claims, in the row that scheduling reads.

use super::{Migration, Next, Page};
use crate::Error;
use crate::codec::{Table, delivery, earlier, unseal};
use crate::redb::tables::{Tables, attempt_key, delivery_of};
use edgebus_model::{Attempt, DeliveryKey, Running, Timestamp};

pub(super) const DELIVERIES: Migration = Migration {
    name: "deliveries",
    doing: "rewriting deliveries",
    table: Table::Deliveries,
    step,
};

fn step(tables: &mut Tables<'_>, after: &[u8]) -> Result<Next, Error> {
    let page = Page::behind(tables, Table::Deliveries, after)?;
    for (key, record) in &page.rows {
        let read = unseal(Table::Deliveries, key, record, |from| {
            earlier::read_delivery(from, delivery_of(key)?)
        });
        let Ok(before) = read else { continue };
        let pending = before.pending();
        tables.put(Table::Deliveries, key, |out| {
            delivery::write_pending(out, &pending);
        })?;
        if pending.claims > 0 {
            // Which process claimed it, and when, was not noted.
            let running = Running {
                key: before.key,
                fence: before.fence,
                epoch: 0,
                since: Timestamp(0),
            };
            tables.put(Table::Running, key, |out| {
                delivery::write_running(out, &running);
            })?;
        }
        write_attempts(tables, before.key, &before.attempts)?;
    }
    Ok(page.next())
}

/// Gives attempts that are not the one that ended the delivery their own rows.
pub(super) fn write_attempts(
    tables: &mut Tables<'_>,
    key: DeliveryKey,
    attempts: &[Attempt],
) -> Result<(), Error> {
    for attempt in attempts {
        let place = attempt_key(key, attempt.number);
        tables.put(Table::Attempts, &place, |out| {
            delivery::write_attempt(out, attempt);
        })?;
    }
    Ok(())
}
