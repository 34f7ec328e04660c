//! What stays when a process ends: the store, and the disk under it.

use std::sync::Arc;

use super::plan::End;
use super::random::Random;
use crate::model::{BusId, Position};
use crate::store::memory::{MemoryStore, PlantedFailure};
use crate::store::redb::tests::power::{self, Disk};
use crate::store::{Error, Store};

/// The store of a run, whoever has it open.
pub(super) enum World {
    Memory(Arc<MemoryStore>),
    Redb(Disk),
}

/// Makes commits fail, from outside of the process.
#[derive(Clone)]
pub(super) enum Failing {
    Memory(Arc<MemoryStore>),
    Redb(Disk),
}

impl World {
    pub(super) fn new(redb: bool) -> Self {
        if redb {
            Self::Redb(Disk::with_new_store())
        } else {
            Self::Memory(Arc::new(MemoryStore::new()))
        }
    }

    /// Opens the store, as a process does that starts.
    pub(super) fn open(&mut self) -> Result<(Arc<dyn Store>, Failing), Error> {
        Ok(match self {
            Self::Memory(store) => {
                *store = Arc::new(store.reopen());
                (store.clone(), Failing::Memory(store.clone()))
            }
            Self::Redb(disk) => {
                let store: Arc<dyn Store> = Arc::new(disk.open()?);
                (store, Failing::Redb(disk.clone()))
            }
        })
    }

    /// The process is about to be gone: from here on it writes nothing.
    pub(super) fn cut(&self) {
        if let Self::Redb(disk) = self {
            disk.cut_after(0);
        }
    }

    /// The process is gone; what it leaves.
    pub(super) fn end(&mut self, how: End, random: &mut Random) {
        if let Self::Redb(disk) = self {
            *disk = match how {
                End::Power => disk.after_the_cut(&mut power::Random(random.next())),
                End::Stop | End::Kill => Disk::of(disk.live()),
            };
        }
    }

    /// Harms the record of an event; false where that is not simulated.
    pub(super) fn harm(&self, bus: BusId, position: Position) -> bool {
        match self {
            Self::Memory(store) => {
                store.harm(crate::store::memory::Row::Event(bus, position));
                true
            }
            Self::Redb(_) => false,
        }
    }
}

impl Failing {
    /// Lets the next commit fail.
    pub(super) fn fail(&self, random: &mut Random) {
        match self {
            Self::Memory(store) => store.plant(if random.once_in(2) {
                PlantedFailure::Landed
            } else {
                PlantedFailure::Lost
            }),
            Self::Redb(disk) => disk.cut_after(random.below(8)),
        }
    }
}
