//! The file under the engine, which is not written where it would stay as it is.
//!
//! In a large file every commit records which pages are free, so that a start after an unclean stop
//! needs no walk over the whole file: 64 KiB to 128 KiB for each GiB, of which a commit changes a few
//! bytes. The record goes to one of a few places in turn. What was written to large pages last is kept
//! in memory, and only the blocks that differ are written again: a small commit stays a small write.
//!
//! Never here: what pages mean. A page that is not kept is written whole, so a wrong guess costs time only.

use std::collections::VecDeque;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{BackendError, StorageBackend};

/// What is compared and written as one piece, in bytes.
const BLOCK: usize = 4096;
/// Pages that are worth comparing, in bytes; the tables' own pages are smaller.
const LARGE: usize = 16 << 10;
/// What is kept at least, in bytes.
const KEPT_BYTES_MIN: u64 = 2 << 20;
/// A byte is kept for so many of the file: four times the record of free pages.
const FILE_BYTES_PER_KEPT: u64 = 2048;

/// A storage backend that knows its length and spares writes that change nothing.
#[derive(Debug)]
pub(super) struct Device<B> {
    inner: B,
    length: Length,
    /// A plain lock: the engine writes from one thread at a time.
    kept: Mutex<Kept>,
}

/// How long a device is, for those who don't hold it.
#[derive(Clone, Debug)]
pub(super) struct Length {
    bytes: Arc<AtomicU64>,
    /// From this length on each commit records the free pages, in bytes.
    recorded_from: u64,
}

impl Length {
    /// In bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// True if commits must record the free pages, so that no start has to walk over the whole file.
    pub(super) fn records_free_pages(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.recorded_from
    }
}

/// What was written to large pages: those written longest ago first.
#[derive(Debug, Default)]
struct Kept {
    pages: VecDeque<(u64, Vec<u8>)>,
    bytes: u64,
}

impl Kept {
    /// Takes out what is known of a page, and whatever else overlaps it.
    fn take(&mut self, offset: u64, length: usize) -> Option<Vec<u8>> {
        let end = offset + length as u64;
        let mut found = None;
        let mut place = 0;
        while let Some((at, page)) = self.pages.get(place) {
            if *at >= end || at + page.len() as u64 <= offset {
                place += 1;
                continue;
            }
            if let Some((at, page)) = self.pages.remove(place) {
                self.bytes -= page.len() as u64;
                if at == offset && page.len() == length {
                    found = Some(page);
                }
            }
        }
        found
    }

    fn keep(&mut self, offset: u64, page: Vec<u8>, bytes_max: u64) {
        self.bytes += page.len() as u64;
        self.pages.push_back((offset, page));
        while self.bytes > bytes_max {
            let Some((_, page)) = self.pages.pop_front() else {
                break;
            };
            self.bytes -= page.len() as u64;
        }
    }
}

impl<B: StorageBackend> Device<B> {
    /// A device over `inner`. From `recorded_from` bytes on, commits record the free pages.
    pub(super) fn new(inner: B, recorded_from: u64) -> io::Result<Self> {
        let bytes = Arc::new(AtomicU64::new(inner.len()?));
        Ok(Self {
            inner,
            length: Length {
                bytes,
                recorded_from,
            },
            kept: Mutex::default(),
        })
    }

    /// Its length from now on.
    pub(super) fn length(&self) -> Length {
        self.length.clone()
    }
}

/// Writes the blocks of `new` that differ from `old`, neighbours together.
fn write_changed(
    inner: &impl StorageBackend,
    offset: u64,
    old: &[u8],
    new: &[u8],
) -> io::Result<()> {
    let differs = |at: usize| {
        let end = (at + BLOCK).min(new.len());
        old[at..end] != new[at..end]
    };
    let mut at = 0;
    while at < new.len() {
        let start = at;
        while at < new.len() && differs(at) {
            at += BLOCK;
        }
        if at > start {
            let end = at.min(new.len());
            inner.write(offset + start as u64, &new[start..end])?;
        } else {
            at += BLOCK;
        }
    }
    Ok(())
}

impl<B: StorageBackend> StorageBackend for Device<B> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Kept::default();
        self.inner.set_len(length)?;
        self.length.bytes.store(length, Ordering::Relaxed);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out: after a failed write nobody knows what is there.
        let old = kept.take(offset, data.len());
        let Some(mut page) = old else {
            self.inner.write(offset, data)?;
            if data.len() >= LARGE && self.length.records_free_pages() {
                let length = self.length.bytes.load(Ordering::Relaxed);
                let bytes_max = KEPT_BYTES_MIN.max(length / FILE_BYTES_PER_KEPT);
                kept.keep(offset, data.to_vec(), bytes_max);
            }
            return Ok(());
        };
        write_changed(&self.inner, offset, &page, data)?;
        page.copy_from_slice(data);
        kept.keep(offset, page, u64::MAX);
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::redb::simulated_disk::Random;

    /// Bytes in memory, and how many were written.
    #[derive(Clone, Debug, Default)]
    struct Counting {
        bytes: Arc<Mutex<Vec<u8>>>,
        written: Arc<AtomicUsize>,
        failing: Arc<AtomicUsize>,
    }

    impl StorageBackend for Counting {
        fn len(&self) -> io::Result<u64> {
            Ok(self.bytes.lock().unwrap().len() as u64)
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            let offset = usize::try_from(offset).unwrap();
            out.copy_from_slice(&self.bytes.lock().unwrap()[offset..offset + out.len()]);
            Ok(())
        }

        fn set_len(&self, length: u64) -> io::Result<()> {
            let length = usize::try_from(length).unwrap();
            self.bytes.lock().unwrap().resize(length, 0);
            Ok(())
        }

        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            if self.failing.load(Ordering::Relaxed) > 0 {
                return Err(io::Error::other("no"));
            }
            let offset = usize::try_from(offset).unwrap();
            self.bytes.lock().unwrap()[offset..offset + data.len()].copy_from_slice(data);
            self.written.fetch_add(data.len(), Ordering::Relaxed);
            Ok(())
        }
    }

    fn device() -> (Counting, Device<Counting>) {
        let inner = Counting::default();
        let device = Device::new(inner.clone(), 0).unwrap();
        device.set_len(4 << 20).unwrap();
        (inner, device)
    }

    #[test]
    fn only_what_differs_is_written() {
        let (inner, device) = device();
        let mut page = vec![1; 256 << 10];
        let wrote = |offset: u64, data: &[u8]| {
            device.write(offset, data).unwrap();
            inner.written.swap(0, Ordering::Relaxed)
        };
        assert_eq!(wrote(0, &page), 256 << 10);
        assert_eq!(wrote(0, &page), 0);
        page[100] = 2;
        page[5_000] = 2;
        page[200 << 10] = 2;
        assert_eq!(wrote(0, &page), 3 * BLOCK);
        assert_eq!(wrote(1 << 20, &page), 256 << 10, "another place");
        // A small page amid it: what was there is no longer known.
        assert_eq!(wrote(8 << 10, &[9; BLOCK]), BLOCK);
        assert_eq!(wrote(0, &page), 256 << 10);
    }

    #[test]
    fn a_short_file_is_written_as_it_comes() {
        let inner = Counting::default();
        let device = Device::new(inner.clone(), 8 << 20).unwrap();
        device.set_len(4 << 20).unwrap();
        assert!(!device.length().records_free_pages());
        for _ in 0..2 {
            device.write(0, &[1; LARGE]).unwrap();
        }
        assert_eq!(inner.written.load(Ordering::Relaxed), 2 * LARGE);
        device.set_len(8 << 20).unwrap();
        assert!(device.length().records_free_pages());
    }

    /// Whatever is written, cut and refused: the file has what a plain one would have.
    #[test]
    fn the_file_holds_what_was_written() {
        let (inner, device) = device();
        let mut plain = vec![0; 4 << 20];
        let mut random = Random(3);
        for _ in 0..3_000 {
            let size = [BLOCK, LARGE, 64 << 10, 256 << 10][random.below(4) as usize];
            let place = random.below((4 << 20) / size as u64) as usize * size;
            let mut data = vec![random.below(2) as u8; size];
            data[random.below(size as u64) as usize] = 7;
            let fails = random.below(50) == 0;
            inner.failing.store(usize::from(fails), Ordering::Relaxed);
            let written = device.write(place as u64, &data);
            assert!(fails || written.is_ok());
            inner.failing.store(0, Ordering::Relaxed);
            if written.is_ok() {
                plain[place..place + size].copy_from_slice(&data);
            }
            if random.below(300) == 0 {
                device.set_len(1 << 20).unwrap();
                device.set_len(4 << 20).unwrap();
                plain[1 << 20..].fill(0);
            }
        }
        assert!(*inner.bytes.lock().unwrap() == plain);
    }
}
