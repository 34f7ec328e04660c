//! Writes the store's file anew, so that nothing is left in it but the rows that there are.
//!
//! The engine keeps bytes of rows that were replaced: in pages that are free, and in pages that are in use, behind the
//! rows. Moving pages together moves the latter along. So what was erased is gone for certain only in a file that never
//! held it: each row is copied into a new one, which takes the old one's place when it is whole and flushed. A process
//! that is killed before leaves the old file as it was, and a part of the new one beside it that nobody reads. Never
//! here: a row that changes, or one that is left out.

use std::fs;
use std::path::Path;

use redb::{Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::catalog::ERASED_FORMAT;
use super::compact::Compacted;
use super::device::Length;
use super::open::{self, FILE};
use super::tables::{definition, engine};
use super::{RedbStore, begin, guarded};
use crate::codec::Table;
use crate::{Error, Kind};
use edgebus_model::{Code, Progress};

/// The new file's name until it is whole.
const COPYING: &str = "edgebus.redb.copying";
/// Bytes of rows of one transaction.
const BYTES_AT_ONCE: usize = 8 << 20;
/// Memory for cached pages of the new file, in bytes.
const CACHE_BYTES: usize = 32 << 20;

impl RedbStore {
    /// True if something was erased in this store, or was to be: what was erased is in the file until it is
    /// written anew.
    #[must_use]
    pub fn has_erased(&self) -> bool {
        let memory = self.memory.lock();
        let memory = memory.unwrap_or_else(std::sync::PoisonError::into_inner);
        memory.0.format >= ERASED_FORMAT
    }

    /// Writes the file of the store in `folder` anew, without what is no longer in use. It needs as much room on the
    /// disk as the rows that there are.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] for a table whose rows can't be read one by one: `fsck` tells more. What the disk can meet. The
    /// store is as it was.
    pub fn rewrite(self, folder: &Path, progress: &Progress) -> Result<Compacted, Error> {
        let (copying, file) = (folder.join(COPYING), folder.join(FILE));
        let before = self.length.bytes();
        let copied = guarded(|| copy(self.database(), &copying, &self.length, progress));
        let taken = copied
            .and_then(|()| fs::rename(&copying, &file).map_err(open::at(&file, "name")))
            .and_then(|()| open::flush_folder(folder));
        if let Err(error) = taken {
            // What can't be removed is removed by the next one.
            let _ = fs::remove_file(&copying);
            return Err(error);
        }
        // The old file keeps the lock until here, and is gone with it.
        drop(self);
        let after = fs::metadata(&file).map_err(open::at(&file, "look at"))?;
        Ok(Compacted {
            before,
            after: after.len(),
        })
    }
}

/// Copies all rows into a new file, which is flushed and closed then.
fn copy(from: &Database, path: &Path, length: &Length, progress: &Progress) -> Result<(), Error> {
    let file = open::make_file(path)?;
    let flushing = file.try_clone().map_err(open::at(path, "make"))?;
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    let mut database = builder.create_file(file).map_err(engine)?;
    let rows = from.begin_read().map_err(engine)?;
    let (mut bytes, whole) = (0_u64, length.bytes() >> 20);
    for table in Table::ALL {
        let opened = rows.open_table(definition(table)).map_err(engine)?;
        let count = opened.len().map_err(engine)?;
        let mut copied = 0_u64;
        let mut all = opened.iter().map_err(engine)?.peekable();
        loop {
            let transaction = begin(&database, length)?;
            {
                let mut target = transaction.open_table(definition(table)).map_err(engine)?;
                let mut written = 0;
                while written < BYTES_AT_ONCE
                    && let Some(row) = all.next()
                {
                    let (key, record) = row.map_err(engine)?;
                    let (key, record) = (key.value(), record.value());
                    let before = target.insert(key, record).map_err(engine)?;
                    if before.is_some() {
                        return Err(unreadable(table));
                    }
                    written += key.len() + record.len();
                    copied += 1;
                }
                bytes += written as u64;
            }
            transaction.commit().map_err(engine)?;
            let detail = format!("{} of at most {whole} MiB", bytes >> 20);
            progress.tell("writing what is in use anew", &detail);
            if all.peek().is_none() {
                break;
            }
        }
        if copied != count {
            return Err(unreadable(table));
        }
    }
    database
        .compact()
        .map_err(|error| Error::new(Kind::Unknown, format!("redb: {error}")))?;
    drop(database);
    flushing.sync_all().map_err(open::at(path, "flush"))
}

/// A table that a copy would lose something of.
fn unreadable(table: Table) -> Error {
    let message = format!(
        "the table {} holds rows that can't be read one by one: run edgebus fsck",
        table.name()
    );
    Error::new(Kind::Corrupt, message).coded(Code::RecordCorrupt)
}
