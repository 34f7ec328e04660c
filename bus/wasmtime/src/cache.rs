//! Keeps compiled code between starts, so that a start compiles nothing again.
//!
//! The code of one component is one file, `DIGEST-ENGINE.code`:
//!
//! ```text
//! 16 bytes   "edgebus code 02\n"
//! 32 bytes   BLAKE3 under the cache's key of: the 16 bytes, digest, engine's hash, all that follows
//! the rest   what wasmtime's compiler gave
//! ```
//!
//! A file that was not sealed under our key, for this component and engine, is ignored; see `trusted.rs`. A
//! file is written under another name and then renamed. It needs no flush, because a partial file is ignored
//! too. Only the owner may read the folder and its files.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ::wasmtime::Engine;

use super::Settings;
use super::trusted::{Code, HEAD_BYTES, Seal};
use edgebus_model::Digest;

/// The file extension of this format.
const ENDING: &str = "code";
/// The file extension while a file is written.
const ENDING_NEW: &str = "new";
/// The file extension of the previous format. Such files are removed.
const ENDING_BEFORE: &str = "bundle";

/// The cache: a folder of files.
pub(super) struct Cache {
    folder: PathBuf,
    key: [u8; 32],
    engine: [u8; 32],
    bytes_max: u64,
}

impl Cache {
    /// The cache in `settings.cache_dir`. Makes the folder if it doesn't exist.
    pub(super) fn open(settings: &Settings, engine: &Engine) -> io::Result<Option<Self>> {
        let Some(folder) = &settings.cache_dir else {
            return Ok(None);
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        for path in files(folder)? {
            if path
                .extension()
                .is_some_and(|ending| ending == ENDING_BEFORE)
            {
                fs::remove_file(path)?;
            }
        }
        let mut hasher = StableHasher(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Some(Self {
            folder: folder.clone(),
            key: settings.cache_key,
            engine: *hasher.0.finalize().as_bytes(),
            bytes_max: settings.cache_bytes_max,
        }))
    }

    /// The code that is kept for the component. `None` if there is none or it is doubtful.
    pub(super) fn read(&self, digest: Digest) -> Option<Code> {
        let path = self.path(digest);
        let mut file = fs::File::options()
            .read(true)
            .append(true)
            .open(&path)
            .ok()?;
        let length = file.metadata().ok()?.len().min(self.bytes_max);
        let mut head = [0; HEAD_BYTES];
        file.read_exact(&mut head).ok()?;
        let mut code = Vec::with_capacity(usize::try_from(length).ok()?);
        (&file).take(length).read_to_end(&mut code).ok()?;
        let code = Code::open(&head, code, self.seal(digest))?;
        // Marks the file as used. If that fails, the file is removed earlier than it should be.
        drop(file.set_modified(SystemTime::now()));
        Some(code)
    }

    /// Keeps the component's code. If the cache can't be written, only the next start takes longer.
    pub(super) fn write(&self, digest: Digest, code: &Code) {
        let (head, body) = code.seal(self.seal(digest));
        let length = u64::try_from(head.len() + body.len()).unwrap_or(u64::MAX);
        if length > self.bytes_max {
            return;
        }
        let path = self.path(digest);
        let beside = path.with_extension(ENDING_NEW);
        let written = write_owned(&beside, &[&head, body])
            .and_then(|()| fs::rename(&beside, &path))
            .and_then(|()| self.shrink(&path));
        if let Err(error) = written {
            drop(fs::remove_file(&beside));
            tracing::warn!(folder = %self.folder.display(), %error, "compiled code can't be kept");
        }
    }

    fn seal(&self, component: Digest) -> Seal<'_> {
        Seal {
            key: &self.key,
            component,
            engine: &self.engine,
        }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        let engine = blake3::Hash::from_bytes(self.engine).to_hex();
        self.folder
            .join(format!("{digest}-{}.{ENDING}", &engine[..16]))
    }

    /// Removes the least recently used files until the rest is small enough. Never removes `newest`. A start
    /// uses the code of every function that is deployed, so code that no function uses is removed first.
    fn shrink(&self, newest: &Path) -> io::Result<()> {
        let mut others = Vec::new();
        for path in files(&self.folder)? {
            let ours = path
                .extension()
                .is_some_and(|ending| ending == ENDING || ending == ENDING_NEW);
            // Another thread may have renamed it.
            if ours
                && path != newest
                && let Ok(metadata) = fs::metadata(&path)
            {
                others.push((metadata.modified()?, metadata.len(), path));
            }
        }
        others.sort();
        let mut sum = fs::metadata(newest)?.len() + others.iter().map(|file| file.1).sum::<u64>();
        for (_, length, path) in others {
            if sum <= self.bytes_max {
                break;
            }
            drop(fs::remove_file(path));
            sum -= length;
        }
        Ok(())
    }
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect()
}

/// Writes a file that only its owner may read.
fn write_owned(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    parts.iter().try_for_each(|part| file.write_all(part))
}

/// The output of the standard hasher may change between releases. The output of this one doesn't.
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn cache(folder: &Path, key: u8, bytes_max: u64) -> Cache {
        Cache {
            folder: folder.to_owned(),
            key: [key; 32],
            engine: [7; 32],
            bytes_max,
        }
    }

    fn code(length: usize) -> Code {
        Code::from_own_compiler(vec![1; length])
    }

    #[test]
    fn what_was_kept_comes_back_to_its_owner() {
        let folder = tempfile::tempdir().expect("a folder");
        let ours = cache(folder.path(), 1, 1 << 20);
        let digest = Digest([1; 32]);
        assert!(ours.read(digest).is_none());
        ours.write(digest, &code(100));
        assert!(ours.read(digest).is_some());
        assert!(cache(folder.path(), 2, 1 << 20).read(digest).is_none());
        let other = Digest([2; 32]);
        fs::copy(ours.path(digest), ours.path(other)).expect("copied");
        assert!(ours.read(other).is_none(), "another component");
        let whole = fs::read(ours.path(digest)).expect("there");
        fs::write(ours.path(digest), &whole[..HEAD_BYTES + 50]).expect("written");
        assert!(ours.read(digest).is_none(), "half of it");
        fs::write(ours.path(digest), &whole[..10]).expect("written");
        assert!(ours.read(digest).is_none(), "no head");
        ours.write(digest, &code(100));
        assert!(ours.read(digest).is_some(), "fixed");
        let mode = fs::metadata(ours.path(other)).expect("there").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn files_of_the_format_before_are_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let inside = folder.path().join("code-cache");
        fs::create_dir(&inside).expect("made");
        fs::write(inside.join("1.bundle"), b"old").expect("written");
        let settings = Settings {
            cache_dir: Some(inside.clone()),
            ..Settings::default()
        };
        Cache::open(&settings, &Engine::default()).expect("opened");
        assert_eq!(files(&inside).expect("read").len(), 0);
    }

    #[test]
    fn the_folder_stays_small() {
        let folder = tempfile::tempdir().expect("a folder");
        let ours = cache(folder.path(), 1, 2_500);
        for number in 0..5 {
            ours.write(Digest([number; 32]), &code(1_000));
            // File times are coarse. This sets the order in which the files were used.
            let file = fs::File::options()
                .append(true)
                .open(ours.path(Digest([number; 32])));
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number.into());
            file.and_then(|file| file.set_modified(time)).expect("set");
        }
        let kept: Vec<u8> = (0..5)
            .filter(|number| ours.path(Digest([*number; 32])).exists())
            .collect();
        assert_eq!(kept, [3, 4]);
        ours.write(Digest([9; 32]), &code(5_000));
        assert!(
            !ours.path(Digest([9; 32])).exists(),
            "larger than all may be"
        );
    }
}
