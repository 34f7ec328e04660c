//! The disk under the store's folder: its free space, and the ballast, a file of real blocks.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate};

use edgebus_engine::pipeline::space::{Disk, Levels};
use edgebus_store::redb::BALLAST_FILE;

/// The folder of a store, as its disk.
#[derive(Debug)]
pub(super) struct Folder {
    folder: PathBuf,
    levels: Levels,
    /// Set once the ballast could not be made, so that it is reported once.
    told: AtomicBool,
}

impl Folder {
    /// The disk of `folder`, with the floor that was asked for, if one was.
    pub(super) fn new(folder: &Path, floor: Option<u64>) -> Self {
        Self {
            folder: folder.to_owned(),
            levels: levels_of(folder, floor),
            told: AtomicBool::new(false),
        }
    }

    /// Gives the ballast back if the disk is full, so that a store that is opened has room to write.
    pub(super) fn release_if_full(&self) {
        let full = self.free().is_some_and(|free| free < self.levels.critical);
        if full && self.release() {
            tracing::warn!(
                "the disk is full: the ballast was given back to open the store (EB0209)"
            );
        }
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join(BALLAST_FILE)
    }

    /// Makes the ballast of blocks that are really there.
    fn make(&self, path: &Path) -> io::Result<()> {
        let mut file = fs::File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        let reserved = fallocate(&file, FallocateFlags::empty(), 0, self.levels.ballast);
        if let Err(error) = reserved {
            if error == rustix::io::Errno::NOSPC {
                return Err(error.into());
            }
            // The file system can't reserve: what is written takes blocks as well.
            let zeros = vec![0; 64 << 10];
            let mut left = self.levels.ballast;
            while left > 0 {
                let piece = usize::try_from(left).map_or(zeros.len(), |left| left.min(zeros.len()));
                file.write_all(&zeros[..piece])?;
                left -= piece as u64;
            }
        }
        file.sync_all()
    }
}

impl Disk for Folder {
    fn free(&self) -> Option<u64> {
        free_bytes(&self.folder)
    }

    fn levels(&self) -> Levels {
        self.levels
    }

    fn has_ballast(&self) -> bool {
        // A part of it is there only if a crash cut its making short.
        let blocks = fs::metadata(self.ballast()).map_or(0, |found| found.blocks());
        blocks.saturating_mul(512) >= self.levels.ballast
    }

    fn release(&self) -> bool {
        let path = self.ballast();
        let held = fs::metadata(&path).is_ok_and(|found| found.blocks() > 0);
        if fs::remove_file(&path).is_err() {
            return false;
        }
        // Some file systems give blocks back when the folder's change is durable.
        let _ = fs::File::open(&self.folder).and_then(|folder| folder.sync_all());
        held
    }

    fn set_aside(&self) {
        if self.has_ballast() || self.told.load(Ordering::Relaxed) {
            return;
        }
        let path = self.ballast();
        if let Err(error) = self.make(&path) {
            let _ = fs::remove_file(&path);
            self.told.store(true, Ordering::Relaxed);
            tracing::warn!(file = %path.display(), %error, "no space can be set aside for a full disk");
        }
    }
}

/// Free space on the disk of `folder`, in bytes; `None` if the system does not say.
pub(super) fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// The levels of the disk of `folder`, with the floor that was asked for, if one was.
pub(super) fn levels_of(folder: &Path, floor: Option<u64>) -> Levels {
    let disk = rustix::fs::statvfs(folder).ok();
    let bytes = disk.and_then(|disk| disk.f_blocks.checked_mul(disk.f_frsize));
    Levels::of(floor, bytes.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_ballast_is_made_of_real_blocks_and_given_back_once() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder {
            levels: Levels {
                ballast: 1 << 20,
                ..Levels::default()
            },
            ..Folder::new(folder.path(), None)
        };
        assert!(!disk.release());
        let path = disk.ballast();
        // A crash may have left an empty one.
        fs::write(&path, b"").unwrap();
        disk.set_aside();
        let made = fs::metadata(&path).unwrap();
        assert!(made.blocks() * 512 >= 1 << 20, "{made:?}");
        let before = free_bytes(folder.path());
        assert!(before.is_some());
        fs::remove_file(&path).unwrap();
        disk.set_aside();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(disk.release());
        assert!(!path.exists() && !disk.release());
    }
}
