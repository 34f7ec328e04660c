//! Dead letters of format 1 had all their attempts with them; now only the last one.

use super::deliveries::write_attempts;
use super::{Migration, Next, Page};
use crate::Error;
use crate::codec::{Table, delivery, earlier, unseal};
use crate::redb::tables::{Tables, delivery_of};

pub(super) const DEAD_LETTERS: Migration = Migration {
    name: "dead-letters",
    doing: "rewriting dead letters",
    table: Table::DeadLetters,
    step,
};

fn step(tables: &mut Tables<'_>, after: &[u8]) -> Result<Next, Error> {
    let page = Page::behind(tables, Table::DeadLetters, after)?;
    for (key, record) in &page.rows {
        let read = unseal(Table::DeadLetters, key, record, |from| {
            earlier::read_dead(from, delivery_of(key)?)
        });
        let Ok(letter) = read else { continue };
        if let Some((_, earlier)) = letter.delivery.attempts.split_last() {
            write_attempts(tables, letter.delivery.key, earlier)?;
        }
        tables.put(Table::DeadLetters, key, |out| {
            delivery::write_dead(out, &letter);
        })?;
    }
    Ok(page.next())
}
