//! Gives space that the store doesn't use back to the disk.
//!
//! The engine moves pages from the end of the file into free ones before them, in transactions of its own, and cuts
//! the file off. No record changes, and each transaction leaves a whole store: a process that is killed
//! in between leaves one that is larger than it could be. Never here: a store that others read.

use std::sync::mpsc;
use std::time::Duration;

use redb::CompactionError;

use super::RedbStore;
use super::tables::engine;
use crate::{Error, Kind};
use edgebus_model::{Code, Progress};

/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// What the file of a store had and has, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Compacted {
    /// Before.
    pub before: u64,
    /// After.
    pub after: u64,
}

impl RedbStore {
    /// Makes the file as short as it can be. Takes as long as it takes to read the store and to write the part of it that
    /// moves.
    ///
    /// # Errors
    /// The engine fails; the store is whole, and its next open recovers.
    pub fn compact(&mut self, progress: &Progress) -> Result<Compacted, Error> {
        let length = self.length.clone();
        let before = length.bytes();
        let Some(database) = self.database.as_mut() else {
            return Ok(Compacted {
                before,
                after: before,
            });
        };
        let (ended, end) = mpsc::channel::<()>();
        let done = std::thread::scope(|scope| {
            scope.spawn(|| {
                let end = end;
                while end.recv_timeout(TOLD_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                    let now = length.bytes() >> 20;
                    let detail = format!("{now} of {} MiB", before >> 20);
                    progress.tell("moving what is in use together", &detail);
                }
            });
            let done = super::guarded(|| Ok(database.compact()));
            drop(ended);
            done
        });
        match done? {
            Ok(_) => Ok(Compacted {
                before,
                after: length.bytes(),
            }),
            Err(CompactionError::Storage(error)) => Err(engine(error)),
            Err(error) => {
                let message = format!("the store can't be compacted: {error}");
                Err(Error::new(Kind::Refused, message).coded(Code::StoreInUse))
            }
        }
    }
}
