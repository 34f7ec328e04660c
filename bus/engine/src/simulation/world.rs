//! What stays when a process ends: the store, the disk under it, and the machine with its clocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::plan::{End, LifePlan};
use super::random::Random;
use crate::clock::MachineTime;
use edgebus_model::{BusId, Position};
use edgebus_store::memory::{InjectedFailure, MemoryStore};
use edgebus_store::redb::simulated_disk::{self, Disk};
use edgebus_store::{Error, Store};

/// When the first process starts, in microseconds since 1970.
const FIRST_START_US: u64 = 1_800_000_000_000_000;
/// How long the machine is up then, in microseconds.
const FIRST_UP_US: u64 = 3_600_000_000;
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
                End::Power => disk.after_the_cut(&mut simulated_disk::Random(random.next())),
                End::Stop | End::Kill => Disk::of(disk.live()),
            };
        }
    }

    /// Corrupts the record of an event; false where that is not simulated.
    pub(super) fn corrupt(&self, bus: BusId, position: Position) -> bool {
        match self {
            Self::Memory(store) => {
                store.corrupt(edgebus_store::memory::Row::Event(bus, position));
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
            Self::Memory(store) => store.inject(if random.once_in(2) {
                InjectedFailure::Landed
            } else {
                InjectedFailure::Lost
            }),
            Self::Redb(disk) => disk.cut_after(random.below(8)),
        }
    }
}

/// The machine under all lives.
pub(super) struct Hardware {
    /// Its clocks, were the wall clock right.
    clocks: MachineTime,
    boot: u8,
    /// What the wall clock is off by.
    pub(super) off_us: Arc<AtomicI64>,
}

impl Hardware {
    pub(super) fn new() -> Self {
        Self {
            clocks: MachineTime {
                wall_us: FIRST_START_US,
                boot_us: FIRST_UP_US,
            },
            boot: 1,
            off_us: Arc::default(),
        }
    }

    /// A life is over; what befalls the machine before the next one.
    pub(super) fn pass(&mut self, passed: Duration, plan: &LifePlan) {
        let passed_us = u64::try_from(passed.as_micros()).unwrap() + plan.away_ms * 1_000;
        self.clocks.wall_us += passed_us;
        self.clocks.boot_us += passed_us;
        if plan.reboot {
            self.boot += 1;
            self.clocks.boot_us = 1_000_000;
        }
        self.off_us.store(plan.off_ms * 1_000, Ordering::Relaxed);
    }

    /// The machine, as a process reads it that starts now.
    pub(super) fn machine(&self) -> (MachineTime, [u8; 16], Arc<AtomicI64>) {
        (self.clocks, [self.boot; 16], self.off_us.clone())
    }
}
