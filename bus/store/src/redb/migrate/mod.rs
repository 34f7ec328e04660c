//! A store of an earlier format becomes one of this, at its first open.
//!
//! [`MIGRATIONS`] lists what is done, in order. Each is one file here, and one [`Migration`]: a name, what a
//! person reads while it runs, the table whose rows it goes through, and a step. A step gets the tables of a
//! write transaction and the place that the step before ended at (empty at first), does a bounded part of
//! the work, mostly of the rows that [`Page::behind`] hands out, and says where the next one goes on. The
//! frame commits that together with the place, which is `migration` in `meta`. So a process that is killed
//! anywhere goes on at the last commit, and a step needs no care of its own; it only must not depend on
//! anything that it kept in memory. What a step does to rows of a later place must leave them readable for
//! the steps that follow.
//!
//! The first transaction raises the store's format, before any row changes: an earlier release refuses the
//! store from then on, however far the migration came. The last one removes `migration`.
//!
//! To add one: write `<table>.rs` with a `pub(super) const` of type [`Migration`] and name it in the list.
//! Its name never changes, and none is taken out or moved before another, once a release has it.
//!
//! Never here: a read of a row that this format writes under the same key without looking at its record
//! format; corruption as a reason to stop. A corrupt row stays where it is, for `fsck`.

mod counters;
mod dead_letters;
mod deliveries;
mod settled;

use std::sync::Arc;

use redb::{Database, ReadableDatabase};

use super::catalog::{self, Identity, MADE_FORMAT};
use super::device::Length;
use super::tables::{ReadTx, Tables, engine};
use crate::codec::{CorruptRecord, Reader, Table, Writer};
use crate::{Error, Kind};
use edgebus_model::Progress;

/// Meta: the migration under way and its place; missing when there is none.
const MIGRATION: &[u8] = b"migration";
/// Rows that one step looks at.
const ROWS_MAX: usize = if cfg!(test) { 40 } else { 4_096 };
/// Bytes of records after which a step has enough; the row that passes it still belongs to the step.
const BYTES_MAX: usize = 4 << 20;

/// Everything that makes a store of format 1 one of format 3, in order.
const MIGRATIONS: &[Migration] = &[
    deliveries::DELIVERIES,
    settled::SETTLED,
    dead_letters::DEAD_LETTERS,
    counters::EVENTS,
    counters::DELIVERIES,
    counters::DEAD_LETTERS,
];

/// One table's rows of before, made into rows of now.
pub(super) struct Migration {
    /// Its name in `meta`.
    pub(super) name: &'static str,
    /// What a person reads while it runs, as in "rewriting deliveries".
    pub(super) doing: &'static str,
    /// The table that it goes through.
    pub(super) table: Table,
    /// Does the part of the work that begins behind the place given. An error is the engine's.
    pub(super) step: fn(&mut Tables<'_>, after: &[u8]) -> Result<Next, Error>,
}

/// What follows a step.
pub(super) enum Next {
    /// Another step, behind this place, after so many rows.
    At(Vec<u8>, usize),
    /// The next migration.
    Done,
}

/// The rows of one step.
pub(super) struct Page {
    /// Keys and records.
    pub(super) rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// True if the table ends with them.
    whole: bool,
}

impl Page {
    /// The next rows of `table` behind `after`; all its keys are longer than none.
    pub(super) fn behind(
        tables: &mut Tables<'_>,
        table: Table,
        after: &[u8],
    ) -> Result<Self, Error> {
        let (mut rows, mut bytes, mut whole) = (Vec::new(), 0, true);
        tables.scan_behind(table, after, |key, record| {
            if rows.len() == ROWS_MAX || bytes >= BYTES_MAX {
                whole = false;
                return false;
            }
            bytes += record.len();
            rows.push((key.to_vec(), record.to_vec()));
            true
        })?;
        Ok(Self { rows, whole })
    }

    /// Where to go on after these rows.
    pub(super) fn next(self) -> Next {
        match self.rows.last() {
            Some((key, _)) if !self.whole => Next::At(key.clone(), self.rows.len()),
            _ => Next::Done,
        }
    }
}

/// True if the store is of an earlier format, or its migration has not ended. Tables that are missing are
/// found before anything is written: a write transaction would silently make them anew.
pub(super) fn is_needed(rows: &ReadTx, identity: &Identity) -> Result<bool, Error> {
    for table in Table::of_format_1() {
        rows.check(table)?;
    }
    Ok(identity.format < MADE_FORMAT || place(rows)?.is_some())
}

/// Migrates the store, from wherever an earlier attempt came to.
///
/// # Errors
/// The engine fails; what was committed stays, and the next open goes on from there.
pub(super) fn run(
    database: &Database,
    length: &Length,
    mut identity: Identity,
    progress: &Progress,
) -> Result<(ReadTx, Identity), Error> {
    let mut transactions = 0;
    let mut transact = |work: &mut dyn FnMut(&mut Tables<'_>) -> Result<(), Error>| {
        #[cfg(any(test, feature = "testing"))]
        if transactions >= super::injected::MIGRATION_STOPS_AFTER.get() {
            return Err(Error::new(
                Kind::Unknown,
                "injected: the process was killed",
            ));
        }
        transactions += 1;
        let transaction = super::begin(database, length)?;
        let mut tables = Tables::new(&transaction, Arc::default());
        work(&mut tables)?;
        drop(tables);
        transaction.commit().map_err(engine)
    };
    let rows = || {
        let transaction = database.begin_read().map_err(engine)?;
        Ok::<_, Error>(ReadTx::new(transaction, Arc::default()))
    };
    if identity.format < MADE_FORMAT {
        let from = identity.format;
        tracing::info!(
            "the store has format {from} and becomes one of format {MADE_FORMAT}; earlier releases can't open it any more"
        );
        identity.format = MADE_FORMAT;
        transact(&mut |tables| {
            for table in Table::ALL {
                tables.touch(table)?;
            }
            catalog::write_identity(tables, &identity)?;
            write_place(
                tables,
                MIGRATIONS.first().map(|first| (first.name, &[][..])),
            )
        })?;
    }
    while let Some((name, mut after)) = place(&rows()?)? {
        let (index, migration) = known(&name)?;
        let of = rows()?.count(migration.table)?;
        let mut looked = 0;
        progress.tell(migration.doing, "");
        let mut going = true;
        while going {
            transact(&mut |tables| {
                let next = (migration.step)(tables, &after)?;
                match next {
                    Next::At(place, rows) => {
                        looked += rows as u64;
                        write_place(tables, Some((migration.name, &place)))?;
                        after = place;
                    }
                    Next::Done => {
                        going = false;
                        let next = MIGRATIONS.get(index + 1);
                        write_place(tables, next.map(|next| (next.name, &[][..])))?;
                    }
                }
                Ok(())
            })?;
            progress.tell(migration.doing, &format!("{looked} of {of}"));
        }
    }
    Ok((rows()?, identity))
}

/// The migration of this name, and its place in the list.
fn known(name: &str) -> Result<(usize, &'static Migration), Error> {
    let mut all = MIGRATIONS.iter().enumerate();
    let found = all.find(|(_, migration)| migration.name == name);
    found.ok_or_else(|| {
        let message = format!(
            "the store's migration `{name}` was begun by another release; open it with that one"
        );
        Error::new(Kind::Refused, message).coded(edgebus_model::Code::StoreNewer)
    })
}

fn place(rows: &ReadTx) -> Result<Option<(String, Vec<u8>)>, Error> {
    let read = |from: &mut Reader<'_>| Some((from.text()?, from.bytes()?.to_vec()));
    let row = rows.get(Table::Meta, MIGRATION, read)?;
    row.transpose()
        .map_err(|corruption: CorruptRecord| corruption.into())
}

fn write_place(tables: &mut Tables<'_>, place: Option<(&str, &[u8])>) -> Result<(), Error> {
    match place {
        Some((name, after)) => tables.put(Table::Meta, MIGRATION, |out| {
            out.bytes(name.as_bytes());
            out.bytes(after);
        }),
        None => tables.remove(Table::Meta, MIGRATION),
    }
}
