//! The durable store of one machine, on redb.
//!
//! Every commit is one write transaction, two-phase and flushed, because one-phase commit was seen
//! to roll an acknowledged commit back after rot. redb does not check its checksums on ordinary
//! reads, so every record carries its own. In a large file every commit also records which pages are
//! free, so that no start walks over the whole file; what that walk checked is checked while the bus
//! runs (`check.rs`). After any error of a commit the handle answers [`Kind::Unknown`] for ever. Tables and transactions of redb never leave this folder.

mod absent;
mod aside;
mod catalog;
mod changes;
mod check;
mod compact;
mod corruption_log;
mod counters;
mod dedupe;
mod deliver;
mod device;
mod erase;
mod fingerprint;
mod heads;
#[cfg(any(test, feature = "testing"))]
pub mod injected;
mod jobs;
mod migrate;
mod open;
mod pages;
mod quarantine;
mod read;
mod recount;
mod retention;
mod rewrite;
mod row_counts;
mod scan;
mod settle;
mod shadow;
#[cfg(any(test, feature = "testing"))]
pub mod simulated_disk;
mod steps;
mod stray;
mod tables;
#[cfg(test)]
mod tests;
mod unended;
mod verify;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{Database, Durability, ReadableDatabase, WriteTransaction};

use self::catalog::Identity;
use self::corruption_log::CorruptionLog;
use self::counters::Counters;
use self::device::Length;
use self::fingerprint::Fingerprints;
use self::steps::{Memory, Pending, Work};
use self::tables::{ReadTx, Tables, engine};
use super::catalog_state::CatalogState;
use super::codec::{CorruptRecord, Table, Writer};
use super::{Counts, Error, Kind, RecordId, Step, StepOutcome};
use edgebus_model::Progress;

/// A file in the folder that holds nothing but space, to be given back when the disk is full. It is made
/// and deleted by whoever looks after the disk, and is the store's as far as [`RedbStore::create`] goes.
pub const BALLAST_FILE: &str = "edgebus.ballast";

pub use compact::Compacted;

/// How the store uses the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Memory for cached pages, in bytes.
    pub cache_bytes: usize,
    /// From this length of the file on each commit records its free pages, in bytes: about 0.1 ms of
    /// work for each GiB, against a start after an unclean stop that walks over the file, 1 to 2 s a GiB.
    pub recorded_from_bytes: u64,
    /// Memory for the filters of fingerprints, in bytes: 2 for each event in the dedupe windows. With less, look-ups
    /// read more from the store.
    pub filter_bytes_max: usize,
}

impl Default for Settings {
    /// 64 MiB of cache; free pages are recorded from 1 GiB on; 256 MiB of filters, for 134 million events.
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            recorded_from_bytes: 1 << 30,
            filter_bytes_max: 256 << 20,
        }
    }
}

/// An open store.
pub struct RedbStore {
    /// There until the drop, which closes it.
    database: Option<Database>,
    identity: Identity,
    /// Counts opens, this one included.
    epoch: u64,
    /// What the last process left.
    was_clean: bool,
    /// A plain lock held through each commit: there is one writer, and it waits for the disk anyway.
    memory: Mutex<(Memory, dedupe::Index, unended::Replays)>,
    /// What is known after the last commit, for plans, which must not wait for the next one. A plain lock
    /// around one pointer; it is taken under `memory`'s by the writer.
    known: Mutex<Arc<CatalogState>>,
    /// Set by the first commit that fails, for ever.
    dead: AtomicBool,
    /// Corrupt records that this handle has met.
    corrupt: Arc<CorruptionLog>,
    /// Records in quarantine.
    in_quarantine: AtomicU64,
    /// What waits and what died, over all subscriptions; a plain lock around a copy.
    totals: Mutex<Counts>,
    /// How long the file is.
    length: Length,
    checks: check::Checks,
}

/// A database that was opened, and how.
struct Opened {
    database: Database,
    length: Length,
    /// True if the engine has walked over the whole file and checked every page.
    walked: bool,
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u128::from_be_bytes(self.identity.store_id);
        write!(out, "RedbStore({id:032x}, epoch {})", self.epoch)
    }
}

/// How a transaction ends.
#[derive(Clone, Copy)]
enum Transaction {
    Commit,
    Abort,
}

/// Turns a panic of the engine, which a corrupt page can cause, into an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let message = "redb panicked: a page of the file is corrupt";
        Err(Error::new(Kind::Corrupt, message))
    })
}

impl RedbStore {
    /// The file of the store in `folder`.
    pub fn file_in(folder: &std::path::Path) -> std::path::PathBuf {
        folder.join(open::FILE)
    }

    /// Begins an open: checks who the store is, counts the open, notes that it runs, and builds what
    /// is kept in memory.
    fn start(
        opened: Opened,
        store_id: [u8; 16],
        filter_bytes_max: usize,
        progress: &Progress,
    ) -> Result<Self, Error> {
        guarded(move || {
            let Opened {
                database,
                length,
                walked,
            } = opened;
            let corrupt = Arc::<CorruptionLog>::default();
            let rows = ReadTx::new(database.begin_read().map_err(engine)?, corrupt.clone());
            let identity = open::check_identity(&rows, store_id)?;
            let (rows, identity) = if migrate::is_needed(&rows, &identity)? {
                drop(rows);
                migrate::run(&database, &length, identity, progress)?
            } else {
                (rows, identity)
            };
            let mut note = |corruption: &CorruptRecord| corrupt.note(corruption);
            for table in Table::ALL {
                // A store of a release without jobs has no such table; this open makes it.
                if table != Table::Jobs || jobs::are_known(&rows)? {
                    rows.check(table)?;
                }
            }
            let jobs = jobs::Known::load(&rows, &mut note)?;
            progress.tell("reading what was published lately", "");
            let (opens, was_clean) = catalog::read_opens(&rows)?;
            let memory = Memory {
                known: Arc::new(catalog::read_known(&rows)?),
                heads: heads::read_heads(&rows)?,
                format: identity.format,
                state_version: catalog::read_counter(&rows)?,
                counters: Counters::load(&rows, &corrupt)?,
                gaps: catalog::read_clock(&rows, &corrupt)?
                    .map(|reading| reading.gaps)
                    .unwrap_or_default(),
                prints: Fingerprints::new(&identity.secret),
                jobs: jobs.unwrap_or_default(),
            };
            let checks = check::Checks::load(&rows, !was_clean && !walked)?;
            drop(rows);
            let epoch = opens + 1;
            let mut index =
                prepare_dedupe(&database, &length, &memory, (&corrupt, filter_bytes_max))?;
            let transaction = begin(&database, &length)?;
            let mut tables = Tables::new(&transaction, corrupt.clone());
            let in_quarantine = tables.count(Table::Quarantine)?;
            load_dedupe(&mut tables, &mut index, &memory, &corrupt)?;
            tables.put(Table::Meta, catalog::OPENS, |out| {
                out.u64(epoch);
                out.flag(false);
            })?;
            tables.touch(Table::Jobs)?;
            tables.put(Table::Meta, jobs::LAST, |out| memory.jobs.write(out))?;
            drop(tables);
            transaction.commit().map_err(engine)?;
            Ok(Self {
                database: Some(database),
                identity,
                epoch,
                was_clean,
                known: Mutex::new(memory.known.clone()),
                totals: Mutex::new(memory.counters.totals()),
                memory: Mutex::new((memory, index, unended::Replays::default())),
                dead: AtomicBool::new(false),
                corrupt,
                in_quarantine: AtomicU64::new(in_quarantine),
                length,
                checks,
            })
        })
    }

    fn database(&self) -> &Database {
        let database = self.database.as_ref();
        database.expect("the database is there until the drop")
    }

    fn commit_batch(&self, batch: &[Step]) -> Result<Vec<StepOutcome>, Error> {
        // A writer that panicked under this lock left the handle dead; the lock's poison adds nothing.
        let mut locked = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let (memory, dedupe, replays) = &mut *locked;
        if self.dead.load(Ordering::Acquire) {
            let message = "an earlier commit failed: this handle is dead, open again";
            return Err(Error::new(Kind::Unknown, message));
        }
        self.rehearse(memory, (dedupe, replays), batch);
        let done = guarded(|| self.transact(memory, (dedupe, replays), batch, Transaction::Commit));
        match done {
            Ok((outcomes, mut pending)) => {
                self.take_over(batch, std::mem::take(&mut pending.quarantine));
                if let Some(known) = &pending.known {
                    // The one before is let go of by whoever planned the change.
                    *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known.clone();
                }
                memory.absorb(pending);
                *self.totals.lock().unwrap_or_else(PoisonError::into_inner) =
                    memory.counters.totals();
                Ok(outcomes)
            }
            Err(error) => {
                self.dead.store(true, Ordering::Release);
                Err(Error::new(Kind::Unknown, error.message))
            }
        }
    }

    fn transact(
        &self,
        memory: &Memory,
        (dedupe, replays): (&mut dedupe::Index, &mut unended::Replays),
        batch: &[Step],
        end: Transaction,
    ) -> Result<(Vec<StepOutcome>, Pending), Error> {
        let transaction = begin(self.database(), &self.length)?;
        let mut tables = Tables::new(&transaction, self.corrupt.clone());
        if self.checks.changes.is_on() {
            tables.record();
        }
        let mut work = Work {
            tables,
            memory,
            pending: Pending::default(),
            dedupe,
            replays,
            corrupt: &self.corrupt,
            identity: &self.identity,
            check: &self.checks,
            epoch: self.epoch,
        };
        let outcomes = batch
            .iter()
            .map(|step| work.step(step))
            .collect::<Result<Vec<_>, _>>()?;
        let pending = match end {
            Transaction::Commit => {
                let (pending, recorded) = work.finish()?;
                let commit = || transaction.commit().map_err(engine);
                self.checks.changes.commit(recorded, commit)?;
                pending
            }
            Transaction::Abort => {
                // Without the end of a transaction's work, which changes what is in memory.
                drop(work);
                transaction.abort().map_err(engine)?;
                Pending::default()
            }
        };
        Ok((outcomes, pending))
    }

    /// Tries what moves corrupt records in a transaction that is thrown away: a page that is worse than
    /// it looks must not end the log. What can't be moved so stays where it is.
    fn rehearse(
        &self,
        memory: &Memory,
        (dedupe, replays): (&mut dedupe::Index, &mut unended::Replays),
        batch: &[Step],
    ) {
        for step in batch {
            let Step::Quarantine { records, now } = step else {
                continue;
            };
            // The index of fingerprints is not touched by such a step.
            let mut tried = |records: &[RecordId]| {
                let step = Step::Quarantine {
                    records: records.to_vec(),
                    now: *now,
                };
                let index = (&mut *dedupe, &mut *replays);
                let done = guarded(|| self.transact(memory, index, &[step], Transaction::Abort));
                // What it remembered of events did not take place.
                replays.unended.clear();
                done.is_ok()
            };
            if tried(records) {
                continue;
            }
            for one in records {
                if !tried(std::slice::from_ref(one)) {
                    self.corrupt.keep(one);
                }
            }
        }
    }

    /// Takes note of what was moved.
    fn take_over(&self, batch: &[Step], done: quarantine::Done) {
        if let Some(rows) = done.rows {
            self.in_quarantine.store(rows, Ordering::Relaxed);
        }
        for id in &done.over {
            self.corrupt.forget(id);
        }
        for step in batch {
            let Step::Quarantine { records, .. } = step else {
                continue;
            };
            // What waits for another record is tried again while others are moved.
            if done.over.is_empty() {
                records.iter().for_each(|id| self.corrupt.keep(id));
            }
        }
    }

    fn snapshot(&self) -> Result<ReadTx, Error> {
        self.snapshot_noting(self.corrupt.clone())
    }

    fn snapshot_noting(&self, corrupt: Arc<CorruptionLog>) -> Result<ReadTx, Error> {
        let transaction = self.database().begin_read().map_err(engine)?;
        Ok(ReadTx::new(transaction, corrupt))
    }
}

impl Drop for RedbStore {
    /// Closing writes the engine's own records; a corrupt page can make it panic there, too. Nothing
    /// that was acknowledged depends on it: the next open recovers.
    fn drop(&mut self) {
        let database = self.database.take();
        let closed = guarded(|| {
            drop(database);
            Ok(())
        });
        drop(closed);
    }
}

/// A write transaction as RELIABILITY asks for it.
fn begin(database: &Database, length: &Length) -> Result<WriteTransaction, Error> {
    let mut transaction = database.begin_write().map_err(engine)?;
    transaction
        .set_durability(Durability::Immediate)
        .map_err(engine)?;
    transaction.set_two_phase_commit(true);
    transaction.set_quick_repair(length.records_free_pages());
    #[cfg(any(test, feature = "testing"))]
    {
        transaction.set_two_phase_commit(!injected::ONE_PHASE.get());
        if injected::NO_FLUSH.get() {
            transaction
                .set_durability(Durability::None)
                .map_err(engine)?;
        }
    }
    Ok(transaction)
}

/// An index without blocks yet. Blocks that a store of an earlier release left without heads get them,
/// some in each transaction: a stop in between loses nothing.
fn prepare_dedupe(
    database: &Database,
    length: &Length,
    memory: &Memory,
    (corrupt, filter_bytes_max): (&CorruptionLog, usize),
) -> Result<dedupe::Index, Error> {
    #[cfg(not(any(test, feature = "testing")))]
    let geometry = dedupe::Geometry::STORED;
    #[cfg(any(test, feature = "testing"))]
    let geometry = injected::GEOMETRY.get();
    let index = dedupe::Index::new(geometry, filter_bytes_max);
    for (bus, head) in &memory.heads {
        loop {
            let transaction = begin(database, length)?;
            let mut tables = Tables::new(&transaction, Arc::default());
            let mut context = dedupe::Context {
                tables: &mut tables,
                prints: &memory.prints,
                corrupt,
            };
            let (completed, more) = index.complete(&mut context, (*bus, head.last))?;
            drop(tables);
            if completed == 0 {
                transaction.abort().map_err(engine)?;
            } else {
                tracing::info!("the index of {completed} blocks of fingerprints was written");
                transaction.commit().map_err(engine)?;
            }
            if !more {
                break;
            }
        }
    }
    Ok(index)
}

/// Reads the fingerprints of every bus.
fn load_dedupe(
    tables: &mut Tables<'_>,
    index: &mut dedupe::Index,
    memory: &Memory,
    corrupt: &CorruptionLog,
) -> Result<(), Error> {
    for (bus, head) in &memory.heads {
        let mut context = dedupe::Context {
            tables: &mut *tables,
            prints: &memory.prints,
            corrupt,
        };
        index.load(&mut context, (*bus, head.last))?;
    }
    Ok(())
}
