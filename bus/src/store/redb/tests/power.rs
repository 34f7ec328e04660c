//! Power cuts: what was not flushed is lost, reordered or torn at 512 bytes, and what was
//! acknowledged is still there. `EDGEBUS_POWER_CUTS` sets how many.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard};

use ::redb::{Builder, StorageBackend};

use super::*;
use crate::model::Progress;
use crate::store::conformance::random::everything;
use crate::store::memory::MemoryStore;

thread_local! {
    /// Each commit records the free pages, as in a large file.
    pub(super) static RECORDED: Cell<bool> = const { Cell::new(false) };
}

const SECTOR: usize = 512;
pub(super) const ID: [u8; 16] = [9; 16];

/// Numbers that a seed decides.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
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
pub(crate) struct Disk(Arc<Mutex<Platter>>);

impl Disk {
    pub(crate) fn of(image: Vec<u8>) -> Self {
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
    pub(crate) fn live(&self) -> Vec<u8> {
        self.lock().live.clone()
    }

    pub(crate) fn cut_after(&self, operations: u64) {
        self.lock().operations_left = Some(operations);
    }

    /// What is left after the power went: flushed bytes, and of the others what chance let through.
    pub(crate) fn after_the_cut(&self, random: &mut Random) -> Self {
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

    pub(crate) fn open(&self) -> Result<RedbStore, Error> {
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
    pub(crate) fn with_new_store() -> Self {
        let disk = Self::default();
        let database = Builder::new().create_with_backend(disk.clone()).unwrap();
        let identity = Identity {
            format: catalog::STORE_FORMAT,
            store_id: ID,
            secret: [3; 32],
        };
        open::write_new(&database, &identity).unwrap();
        drop(database);
        disk
    }

    /// A new store on a new disk, with the rules.
    pub(super) fn with_store() -> (Self, RedbStore) {
        let disk = Self::with_new_store();
        let store = disk.open().unwrap();
        store.commit(&[rules(1_000_000)]).unwrap();
        (disk, store)
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

/// A batch of the random workload; fences are remembered for the deliveries that still live.
pub(super) fn batch(
    random: &mut Random,
    fences: &mut HashMap<u64, u32>,
    next_id: &mut u64,
) -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..=random.below(4) {
        if random.below(2) == 0 || fences.is_empty() {
            let mut events = Vec::new();
            for _ in 0..=random.below(6) {
                let repeat = random.below(5) == 0 && *next_id > 0;
                let id = if repeat {
                    random.below(*next_id)
                } else {
                    *next_id
                };
                *next_id = (*next_id).max(id + 1);
                let size = [10, 900, 6_000][random.below(3) as usize];
                events.push(event(&id.to_string(), vec![id as u8; size]));
            }
            steps.push(append(events, 1_000));
        } else {
            let nth = random.below(fences.len() as u64) as usize;
            let mut owed: Vec<_> = fences.keys().copied().collect();
            owed.sort_unstable();
            let position = owed[nth];
            let fence = fences[&position];
            let end = match random.below(4) {
                0 => {
                    fences.insert(position, fence + 1);
                    SettleEnd::Retry {
                        due_at: Timestamp(random.below(500)),
                    }
                }
                1 => {
                    fences.remove(&position);
                    SettleEnd::Dead {
                        reason: DeadReason::Rejected,
                    }
                }
                _ => {
                    fences.remove(&position);
                    let emit = event(&format!("e{position}"), vec![1; 50]);
                    SettleEnd::Done(Effects {
                        version: conformance::next_version(),
                        writes: vec![(
                            position.to_le_bytes().to_vec(),
                            Some(bytes::Bytes::from(vec![2; 40])),
                        )],
                        emits: vec![(BusId(1), emit)],
                    })
                }
            };
            steps.push(settle(position, fence, end));
        }
    }
    steps
}

/// The model after these batches.
fn model(batches: &[Vec<Step>]) -> MemoryStore {
    let model = MemoryStore::new();
    model.commit(&[rules(1_000_000)]).unwrap();
    for steps in batches {
        model.commit(steps).unwrap();
    }
    model
}

/// One life: work until the power goes, perhaps again during recovery, then look at what is there.
///
/// Every other disk holds a file in which each commit records its free pages.
fn power_cut(seed: u64) -> Result<(), String> {
    let mut random = Random(seed);
    RECORDED.set(seed % 2 == 1);
    let (mut disk, store) = Disk::with_store();
    disk.cut_after(random.below(400));
    let mut acknowledged: Vec<Vec<Step>> = Vec::new();
    let mut unknown = None;
    let (mut fences, mut next_id) = (HashMap::new(), 0);
    for _ in 0..30 {
        let steps = batch(&mut random, &mut fences, &mut next_id);
        match store.commit(&steps) {
            Ok(outcomes) => {
                for outcome in &outcomes {
                    let StepOutcome::Appended(places) = outcome else {
                        continue;
                    };
                    let fresh = places.iter().filter(|place| !place.duplicate);
                    fences.extend(fresh.map(|place| (place.position.0, 0)));
                }
                acknowledged.push(steps);
            }
            Err(error) => {
                assert_eq!(error.kind, Kind::Unknown);
                let again = store.commit(&[Step::MarkClean(false)]).unwrap_err();
                assert_eq!(again.kind, Kind::Unknown, "the handle went on");
                unknown = Some(steps);
                break;
            }
        }
    }
    // A running process closes in order on drop; a cut one must not.
    disk.cut_after(0);
    drop(store);
    disk = disk.after_the_cut(&mut random);
    if random.below(3) == 0 {
        disk.cut_after(random.below(40));
        drop(disk.open());
        disk.cut_after(0);
        disk = disk.after_the_cut(&mut random);
    }
    let store = disk
        .open()
        .map_err(|error| format!("does not open: {error}"))?;
    let harm = verified(&store);
    if !harm.is_empty() {
        return Err(format!("harmed: {harm:?}"));
    }
    let mut truth = model(&acknowledged);
    let there = everything(&store);
    if there != everything(&truth) {
        let all: Vec<_> = acknowledged.iter().cloned().chain(unknown).collect();
        truth = model(&all);
        if there != everything(&truth) {
            return Err("neither what was acknowledged nor with the unknown batch".into());
        }
    }
    let ids = (0..next_id).map(|id| event(&id.to_string(), vec![]));
    let repeat = [append(ids.collect(), 1_001)];
    let (got, expected) = (
        store.commit(&repeat).unwrap(),
        truth.commit(&repeat).unwrap(),
    );
    if got != expected {
        return Err("a repeated id got another answer".into());
    }
    Ok(())
}

fn cuts() -> u64 {
    let count = std::env::var("EDGEBUS_POWER_CUTS");
    count.ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

#[test]
fn nothing_acknowledged_is_lost() {
    for seed in 0..cuts() {
        if let Err(fault) = power_cut(seed) {
            panic!("seed {seed}: {fault}");
        }
    }
}

fn some_seed_fails() -> bool {
    (0..60).any(|seed| std::panic::catch_unwind(|| power_cut(seed)).is_ok_and(|end| end.is_err()))
}

#[test]
fn a_store_that_does_not_flush_is_caught() {
    planted::NO_FLUSH.set(true);
    let caught = some_seed_fails();
    planted::NO_FLUSH.set(false);
    assert!(caught);
}

#[test]
fn a_store_that_splits_a_batch_is_caught() {
    planted::SPLIT.set(true);
    let caught = some_seed_fails();
    planted::SPLIT.set(false);
    assert!(caught);
}

#[test]
fn a_store_without_fences_is_caught() {
    let settled_twice = || {
        let (_disk, store) = Disk::with_store();
        store
            .commit(&[append(vec![event("a", vec![])], 1)])
            .unwrap();
        let end = || SettleEnd::Retry {
            due_at: Timestamp(1),
        };
        store.commit(&[settle(1, 0, end())]).unwrap();
        store.commit(&[settle(1, 0, end())]).unwrap()[0] != StepOutcome::Stale
    };
    assert!(!settled_twice());
    planted::NO_FENCE.set(true);
    assert!(settled_twice());
    planted::NO_FENCE.set(false);
}
