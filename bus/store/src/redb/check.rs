//! The check of every record goes on while the bus runs, a few rows at a time.
//!
//! It begins by itself where nobody has looked at every record: after an unclean stop the engine walks over
//! the whole file, unless the last commit recorded its free pages. Otherwise whoever runs the store begins it.
//! Each page has a snapshot of its own, because one that stays open keeps the engine from using its free
//! pages again. Where it is stands in `meta`, so that a restart does not begin anew. Never here: when to
//! check, or how fast.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::RedbStore;
use super::catalog::CHECK;
use super::changes::Changes;
use super::steps::Work;
use super::tables::ReadTx;
use super::verify::Walk;
use crate::codec::{Table, Writer};
use crate::{Checked, Error, StepOutcome};
use edgebus_model::Timestamp;

/// A check that goes on beside everything else.
#[derive(Debug, Default)]
struct Check {
    walk: Walk,
    progress: Checked,
}

/// The check of everything: the one that goes on, and when the last one ended.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// `None` while there is none. Locked by the one who checks.
    check: Mutex<Option<Check>>,
    ended: Mutex<Option<Timestamp>>,
    /// What commits change behind it.
    pub(super) changes: Changes,
}

impl Checks {
    /// What the last process left: a check goes on where it was. With `anew` nothing is taken as checked.
    /// A row that can't be read is as none.
    pub(super) fn load(rows: &ReadTx, anew: bool) -> Result<Self, Error> {
        let row = rows.get(Table::Meta, CHECK, |from| {
            let ended = from.option(|from| Some(Timestamp(from.u64()?)))?;
            Some((ended, from.option(Walk::read)?))
        })?;
        let (ended, walk) = match row {
            Some(Ok(row)) => row,
            _ => (None, None),
        };
        let walk = if anew { Some(Walk::default()) } else { walk };
        Ok(Self {
            check: Mutex::new(walk.map(|walk| Check {
                walk,
                progress: Checked::default(),
            })),
            ended: Mutex::new(ended),
            changes: Changes::default(),
        })
    }

    fn check(&self) -> MutexGuard<'_, Option<Check>> {
        self.check.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self) {
        self.check().get_or_insert_with(Check::default);
    }

    pub(super) fn ended(&self) -> Option<Timestamp> {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work<'_, '_> {
    /// Writes how far the check is, or when it ended.
    pub(super) fn note_check(&mut self, now: Timestamp) -> Result<StepOutcome, Error> {
        let checks = self.check;
        let check = checks.check();
        let mut ended = checks.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if check.is_none() {
            *ended = Some(now);
        }
        self.tables.put(Table::Meta, CHECK, |out| {
            out.option(*ended, |out, ended| out.u64(ended.0));
            out.option(check.as_ref(), |out, check| check.walk.write(out));
        })?;
        Ok(StepOutcome::Marked)
    }
}

impl RedbStore {
    /// Checks the next rows. Corruption is noted as if a read had met it.
    pub(super) fn check_page(&self, rows_max: u64) -> Result<Option<Checked>, Error> {
        let mut unchecked = self.checks.check();
        let Some(check) = unchecked.as_mut() else {
            return Ok(None);
        };
        let changes = &self.checks.changes;
        let seen = self.checked(|| {
            let (rows, meanwhile) = changes.begin_page(|| self.snapshot())?;
            check.walk.add(meanwhile);
            if check.progress.of == 0 {
                for table in Table::ALL {
                    check.progress.of += rows.count(table)?;
                }
            }
            check.walk.page(&rows, rows_max.max(1), &mut |corruption| {
                self.corrupt.note(corruption)
            })
        });
        for table in check.walk.take_agreed() {
            self.corrupt.agree(table);
        }
        match seen {
            Ok(seen) if seen.records > 0 => {
                let (table, last) = check.walk.place();
                changes.end_page(table, last);
                check.progress.records += seen.records;
                check.progress.corrupt += seen.corrupt;
                // Rows are added and removed meanwhile.
                check.progress.of = check.progress.of.max(check.progress.records);
                Ok(Some(check.progress))
            }
            Ok(_) => {
                *unchecked = None;
                changes.end();
                self.corrupt.checked_all();
                Ok(None)
            }
            Err(error) => {
                *unchecked = None;
                changes.end();
                Err(error)
            }
        }
    }
}
