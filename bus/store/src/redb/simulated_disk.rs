//! A disk in memory for tests: its power can go, and what was not flushed is then lost, reordered or torn at
//! 512 bytes. Never in a release.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::cell::Cell;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use ::redb::{Builder, StorageBackend};
use edgebus_model::Progress;

use super::catalog::{self, Identity};
use super::device::Device;
use super::{RedbStore, engine, open};
use crate::Error;

thread_local! {
    /// Each commit records the free pages, as in a large file.
    pub(super) static RECORDED: Cell<bool> = const { Cell::new(false) };
}

const SECTOR: usize = 512;
pub(super) const ID: [u8; 16] = [9; 16];

/// Numbers that a seed decides.
pub struct Random(pub u64);

impl Random {
    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[derive(Debug, Default)]
struct Platter {
    /// What the running process sees.
    live: Vec<u8>,
    /// What was flushed.
    durable: Vec<u8>,
    /// Sectors written since, in order, and lengths set.
    unflushed: Vec<(usize, Vec<u8>)>,
    /// Writes, lengths and flushes until the power goes; `None` is never.
    operations_left: Option<u64>,
}

/// A disk whose power can go.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<Platter>>);

impl Disk {
    /// A disk that holds `image`, all of it flushed.
    pub fn of(image: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Platter {
            durable: image.clone(),
            live: image,
            ..Platter::default()
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap()
    }

    /// What a process that stopped without closing leaves when the power stays on.
    pub fn live(&self) -> Vec<u8> {
        self.lock().live.clone()
    }

    /// Lets the power go after so many operations.
    pub fn cut_after(&self, operations: u64) {
        self.lock().operations_left = Some(operations);
    }

    /// What is left after the power went: flushed bytes, and of the others what chance let through.
    pub fn after_the_cut(&self, random: &mut Random) -> Self {
        let platter = self.lock();
        let mut image = platter.durable.clone();
        let mut kept: Vec<&(usize, Vec<u8>)> = Vec::new();
        let share = random.below(5);
        for sector in &platter.unflushed {
            if random.below(4) < share {
                let place = random.below(kept.len() as u64 + 1) as usize;
                // Mostly in order, sometimes anywhere.
                let place = if random.below(4) == 0 {
                    place
                } else {
                    kept.len()
                };
                kept.insert(place, sector);
            }
        }
        for (offset, bytes) in kept {
            if image.len() < offset + bytes.len() {
                image.resize(offset + bytes.len(), 0);
            }
            image[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        if random.below(2) == 0 && image.len() < platter.live.len() {
            image.resize(platter.live.len(), 0);
        }
        Self::of(image)
    }

    /// Opens the store on it.
    ///
    /// # Errors
    /// The power is gone, or what is left can't be opened.
    pub fn open(&self) -> Result<RedbStore, Error> {
        self.open_with(1 << 20)
    }

    /// Opens with so much memory for filters.
    pub(super) fn open_with(&self, filter_bytes_max: usize) -> Result<RedbStore, Error> {
        let recorded_from = if RECORDED.get() { 0 } else { u64::MAX };
        let device = Device::new(self.clone(), recorded_from).unwrap();
        let opened = open::open_device(device, 1 << 20, &Progress::silent())?;
        RedbStore::start(
            opened.map_err(engine)?,
            ID,
            filter_bytes_max,
            &Progress::silent(),
        )
    }

    /// A new store on a new disk.
    pub fn with_new_store() -> Self {
        let disk = Self::default();
        let database = Builder::new().create_with_backend(disk.clone()).unwrap();
        let identity = Identity {
            format: catalog::MADE_FORMAT,
            store_id: ID,
            secret: [3; 32],
        };
        open::write_new(&database, &identity).unwrap();
        drop(database);
        disk
    }
}

impl Platter {
    fn count(&mut self) -> io::Result<()> {
        match &mut self.operations_left {
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.lock();
        if platter.operations_left == Some(0) {
            return Err(io::Error::other("the power is gone"));
        }
        let offset = usize::try_from(offset).unwrap();
        let bytes = platter.live.get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut platter = self.lock();
        platter.count()?;
        let len = usize::try_from(len).unwrap();
        platter.live.resize(len, 0);
        if len < platter.durable.len() {
            platter.durable.truncate(len);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.lock();
        platter.count()?;
        let Platter {
            live,
            durable,
            unflushed,
            ..
        } = &mut *platter;
        durable.resize(live.len(), 0);
        for (offset, bytes) in unflushed.drain(..) {
            let end = (offset + bytes.len()).min(durable.len());
            if offset < end {
                durable[offset..end].copy_from_slice(&bytes[..end - offset]);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.lock();
        platter.count()?;
        let start = usize::try_from(offset).unwrap();
        if platter.live.len() < start + data.len() {
            platter.live.resize(start + data.len(), 0);
        }
        platter.live[start..start + data.len()].copy_from_slice(data);
        let mut at = 0;
        while at < data.len() {
            let to_border = SECTOR - (start + at) % SECTOR;
            let end = (at + to_border).min(data.len());
            platter.unflushed.push((start + at, data[at..end].to_vec()));
            at = end;
        }
        Ok(())
    }
}
