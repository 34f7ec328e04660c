//! What a start left unchecked is checked while the bus runs, a few rows at a time.
//!
//! After an unclean stop the engine walks over the whole file, unless the last commit recorded its free
//! pages. Then nobody has looked at every record, and this does. Each page has a snapshot of its own,
//! because one that stays open keeps the engine from using its free pages again.

use std::sync::PoisonError;

use super::verify::Walk;
use super::{RedbStore, guarded};
use crate::store::codec::Table;
use crate::store::{Checked, Error};

/// A check that goes on beside everything else.
#[derive(Debug, Default)]
pub(super) struct Unchecked {
    walk: Walk,
    progress: Checked,
}

impl RedbStore {
    /// Checks the next rows of what the start left unchecked. Harm is noted as if a read had met it.
    pub(super) fn check_page(&self, rows_max: u64) -> Result<Option<Checked>, Error> {
        let mut unchecked = self
            .unchecked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(check) = unchecked.as_mut() else {
            return Ok(None);
        };
        let seen = guarded(|| {
            let rows = self.snapshot()?;
            if check.progress.of == 0 {
                for table in Table::ALL {
                    check.progress.of += rows.count(table)?;
                }
            }
            check
                .walk
                .page(&rows, rows_max.max(1), &mut |harm| self.harmed.note(harm))
        });
        match seen {
            Ok(seen) if seen.records > 0 => {
                check.progress.records += seen.records;
                check.progress.harmed += seen.harmed;
                // Rows are added and removed meanwhile.
                check.progress.of = check.progress.of.max(check.progress.records);
                Ok(Some(check.progress))
            }
            Ok(_) => {
                *unchecked = None;
                Ok(None)
            }
            Err(error) => {
                *unchecked = None;
                Err(error)
            }
        }
    }
}
