//! Compiled code, kept between starts.
//!
//! wasmtime's own precompiled files can only be loaded by unsafe code, so the pieces of its incremental
//! compilation are kept instead: a component is still parsed and linked anew, but no function is compiled
//! twice. All pieces of one component are one file, `DIGEST-ENGINE.bundle`:
//!
//! ```text
//! 16 bytes   "edgebus code 01\n"
//! 32 bytes   BLAKE3 under the cache's key of: the 16 bytes, digest, engine's hash, all that follows
//! any number of pieces: u32 length, key, u32 length, code; lengths little-endian
//! ```
//!
//! The pieces are machine code: a file that wasn't written under our key, for this very component and
//! engine, is as good as none. It is written beside its place and renamed, and never read in part.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use ::wasmtime::{CacheStore, Engine};

use super::Settings;
use crate::model::Digest;

const MAGIC: &[u8; 16] = b"edgebus code 01\n";
const TAG_BYTES: usize = 32;

/// Pieces of code under Cranelift's keys.
pub(super) type Entries = HashMap<Vec<u8>, Vec<u8>>;

/// Thrown through the compiler when a component's time is over; nothing else can stop it.
pub(super) struct TimeOver;

/// The pieces of the component that is being compiled; there is one at a time.
#[derive(Default)]
pub(super) struct Cache {
    /// Locked for moments only; the compiler's thread is alone with it.
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    /// What was kept of it.
    kept: Entries,
    /// What this compilation used of that, and what it added.
    used: Entries,
    changed: bool,
    until: Option<Instant>,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Cache")
    }
}

impl Cache {
    /// A component's compilation begins, with the pieces that were kept of it.
    pub(super) fn begin(&self, kept: Option<Entries>, until: Instant) {
        *self.inside() = Inside {
            kept: kept.unwrap_or_default(),
            until: Some(until),
            ..Inside::default()
        };
    }

    /// It ended: all its pieces, if some were not kept yet.
    pub(super) fn end(&self) -> Option<Entries> {
        let inside = std::mem::take(&mut *self.inside());
        inside.changed.then_some(inside.used)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CacheStore for Cache {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let mut inside = self.inside();
        if inside.until.is_some_and(|until| Instant::now() > until) {
            drop(inside);
            // Not a panic: no message is printed, and the worker catches it.
            panic::resume_unwind(Box::new(TimeOver));
        }
        let code = inside
            .used
            .get(key)
            .or_else(|| inside.kept.get(key))
            .cloned()?;
        inside.used.insert(key.to_vec(), code.clone());
        Some(Cow::Owned(code))
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let mut inside = self.inside();
        inside.changed = true;
        inside.used.insert(key.to_vec(), value);
        true
    }
}

/// The files.
pub(super) struct Store {
    folder: PathBuf,
    key: [u8; 32],
    engine: [u8; 32],
    bytes_max: u64,
}

impl Store {
    /// The files in `settings.cache_dir`, which is made if it isn't there.
    pub(super) fn open(settings: &Settings, engine: &Engine) -> io::Result<Option<Self>> {
        let Some(folder) = &settings.cache_dir else {
            return Ok(None);
        };
        // For the owner alone, as all that is beside it.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let mut hasher = StableHasher(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Some(Self {
            folder: folder.clone(),
            key: settings.cache_key,
            engine: *hasher.0.finalize().as_bytes(),
            bytes_max: settings.cache_bytes_max,
        }))
    }

    /// What is kept of the component; anything doubtful is nothing.
    pub(super) fn read(&self, digest: Digest) -> Option<Entries> {
        let path = self.path(digest);
        let bytes = fs::read(&path).ok()?;
        let entries = self.open_bundle(digest, &bytes)?;
        // Marks it as used; if that fails, it goes earlier than it should.
        drop(
            fs::File::options()
                .append(true)
                .open(&path)
                .and_then(|file| file.set_modified(SystemTime::now())),
        );
        Some(entries)
    }

    /// Keeps the component's pieces. A cache that can't be written costs time at the next start only.
    pub(super) fn write(&self, digest: Digest, entries: &Entries) {
        let bundle = self.seal(digest, entries);
        if u64::try_from(bundle.len()).unwrap_or(u64::MAX) > self.bytes_max {
            return;
        }
        let path = self.path(digest);
        let beside = path.with_extension("new");
        let mut private = fs::File::options();
        private.write(true).create(true).truncate(true).mode(0o600);
        let written = private
            .open(&beside)
            .and_then(|mut file| file.write_all(&bundle))
            .and_then(|()| fs::rename(&beside, &path))
            .and_then(|()| self.shrink(&path));
        if let Err(error) = written {
            tracing::warn!(folder = %self.folder.display(), %error, "compiled code can't be kept");
        }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        let engine = blake3::Hash::from_bytes(self.engine).to_hex();
        self.folder
            .join(format!("{digest}-{}.bundle", &engine[..16]))
    }

    fn seal(&self, digest: Digest, entries: &Entries) -> Vec<u8> {
        let mut bundle = MAGIC.to_vec();
        bundle.extend_from_slice(&[0; TAG_BYTES]);
        for (key, code) in entries {
            for part in [key, code] {
                let length = u32::try_from(part.len()).expect("a piece of code is below 4 GiB");
                bundle.extend_from_slice(&length.to_le_bytes());
                bundle.extend_from_slice(part);
            }
        }
        let body = MAGIC.len() + TAG_BYTES;
        let tag = self.tag(digest, &bundle[body..]);
        bundle[MAGIC.len()..body].copy_from_slice(tag.as_bytes());
        bundle
    }

    fn open_bundle(&self, digest: Digest, bundle: &[u8]) -> Option<Entries> {
        let rest = bundle.strip_prefix(MAGIC)?;
        let (tag, body) = rest.split_first_chunk::<TAG_BYTES>()?;
        // `blake3::Hash` compares in constant time.
        if self.tag(digest, body) != blake3::Hash::from_bytes(*tag) {
            return None;
        }
        let mut entries = Entries::new();
        let mut rest = body;
        while !rest.is_empty() {
            let key = take_part(&mut rest)?;
            let code = take_part(&mut rest)?;
            entries.insert(key.to_vec(), code.to_vec());
        }
        Some(entries)
    }

    fn tag(&self, digest: Digest, body: &[u8]) -> blake3::Hash {
        blake3::Hasher::new_keyed(&self.key)
            .update(MAGIC)
            .update(&digest.0)
            .update(&self.engine)
            .update(body)
            .finalize()
    }

    /// Removes what was used longest ago until the rest is small enough; `newest` stays.
    fn shrink(&self, newest: &Path) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let path = entry.path();
            let ours = path
                .extension()
                .is_some_and(|extension| extension == "bundle" || extension == "new");
            if ours && path != newest {
                let metadata = entry.metadata()?;
                files.push((metadata.modified()?, metadata.len(), path));
            }
        }
        files.sort();
        let mut sum = fs::metadata(newest)?.len() + files.iter().map(|file| file.1).sum::<u64>();
        for (_, length, path) in files {
            if sum <= self.bytes_max {
                break;
            }
            fs::remove_file(path)?;
            sum -= length;
        }
        Ok(())
    }
}

fn take_part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (part, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some(part)
}

/// The standard hasher's output may change between releases; this one's doesn't.
struct StableHasher(blake3::Hasher);

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(folder: &Path, key: u8, bytes_max: u64) -> Store {
        Store {
            folder: folder.to_owned(),
            key: [key; 32],
            engine: [7; 32],
            bytes_max,
        }
    }

    fn entries(length: usize) -> Entries {
        Entries::from([(b"key".to_vec(), vec![1; length]), (Vec::new(), Vec::new())])
    }

    #[test]
    fn what_was_kept_comes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store(folder.path(), 1, 1 << 20);
        let digest = Digest([1; 32]);
        assert!(store.read(digest).is_none());
        store.write(digest, &entries(100));
        assert_eq!(store.read(digest), Some(entries(100)));
    }

    #[test]
    fn nothing_foreign_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let ours = store(folder.path(), 1, 1 << 20);
        let digest = Digest([1; 32]);
        ours.write(digest, &entries(100));
        assert!(
            store(folder.path(), 2, 1 << 20).read(digest).is_none(),
            "another key"
        );
        let other = Digest([2; 32]);
        fs::copy(ours.path(digest), ours.path(other)).expect("copied");
        assert!(ours.read(other).is_none(), "another component");
        let whole = fs::read(ours.path(digest)).expect("there");
        for index in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[index] ^= 1;
            assert!(ours.open_bundle(digest, &bytes).is_none(), "byte {index}");
            assert!(
                ours.open_bundle(digest, &whole[..index]).is_none(),
                "cut at {index}"
            );
        }
    }

    #[test]
    fn the_folder_stays_small() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store(folder.path(), 1, 2_500);
        for number in 0..5 {
            store.write(Digest([number; 32]), &entries(1_000));
            // File times are coarse; this is the order in which they were used.
            let file = fs::File::options()
                .append(true)
                .open(store.path(Digest([number; 32])));
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number.into());
            file.and_then(|file| file.set_modified(time)).expect("set");
        }
        let kept: Vec<u8> = (0..5)
            .filter(|number| store.path(Digest([*number; 32])).exists())
            .collect();
        assert_eq!(kept, [3, 4]);
        store.write(Digest([9; 32]), &entries(5_000));
        assert!(
            !store.path(Digest([9; 32])).exists(),
            "larger than all may be"
        );
    }
}
