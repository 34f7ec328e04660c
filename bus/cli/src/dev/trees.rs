//! What is on disk under the paths that a build watches: which folders to listen to, and a digest of
//! each file, so that a rewrite of the same text is no change. Links are followed, as a build follows them.
//!
//! Never here: folders that tools write (`target` and the like), because a build must not trigger the next
//! one.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Files that one look takes in.
const FILES_MAX: usize = 10_000;
/// Folders that one look takes in.
const FOLDERS_MAX: usize = 2_000;
/// Links to links that are followed.
const LINKS_MAX: usize = 16;
/// Of a file that is larger than this, in bytes, only size and time are compared.
const CONTENT_BYTES_MAX: u64 = 1 << 20;

/// Folders that tools fill, wherever they stand.
const FILLED_BY_TOOLS: [&str; 4] = ["target", "node_modules", "__pycache__", "dist"];

/// What one look found.
#[derive(Default)]
pub(super) struct Look {
    /// Every folder in which a change may happen.
    pub(super) folders: BTreeSet<PathBuf>,
    /// There are more files or folders than are checked.
    pub(super) cut: bool,
    files: BTreeSet<PathBuf>,
    /// Folders by number, so that links that lead around in a ring end.
    seen: BTreeSet<(u64, u64)>,
}

/// The digests of files by their paths.
pub(super) type Digests = BTreeMap<PathBuf, blake3::Hash>;

/// One digest of the names and contents of all these files but some.
pub(super) fn digest_of(files: &Digests, without: &BTreeSet<PathBuf>) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for (file, digest) in files.iter().filter(|(file, _)| !without.contains(*file)) {
        hasher.update(file.as_os_str().as_encoded_bytes());
        hasher.update(&[0]);
        hasher.update(digest.as_bytes());
    }
    hasher.finalize()
}

/// The folders in which a path's links, and what they lead to, may be replaced.
pub(super) fn homes(path: &Path) -> BTreeSet<PathBuf> {
    let mut homes = BTreeSet::new();
    let mut at = path.to_owned();
    for _ in 0..LINKS_MAX {
        let folder = at.parent().unwrap_or(&at).to_owned();
        homes.insert(nearest(&folder).to_owned());
        let Ok(target) = std::fs::read_link(&at) else {
            break;
        };
        at = folder.join(target);
    }
    // A folder on the way may be a link too.
    if let Some(real) = path.canonicalize().ok().as_deref().and_then(Path::parent) {
        homes.insert(real.to_owned());
    }
    homes
}

impl Look {
    /// Looks at `paths`, files or folders.
    pub(super) fn at(paths: &[PathBuf]) -> Self {
        let mut look = Self::default();
        for path in paths {
            match path.metadata() {
                Ok(found) if found.is_dir() => look.take_tree(path),
                Ok(_) => {
                    look.files.insert(path.clone());
                }
                // One that is not there is waited for.
                Err(_) => {}
            }
            // A path itself may be replaced, or come into being.
            look.folders.extend(homes(path));
        }
        look
    }

    /// The digest of each file.
    pub(super) fn digests(&self) -> Digests {
        let of = |file: &PathBuf| match content(file) {
            Ok(content) => blake3::hash(&content),
            Err(_) => blake3::hash(b"unreadable"),
        };
        let files = self.files.iter();
        files.map(|file| (file.clone(), of(file))).collect()
    }

    fn take_tree(&mut self, root: &Path) {
        let mut waiting = vec![root.to_owned()];
        while let Some(folder) = waiting.pop() {
            if self.folders.len() >= FOLDERS_MAX || self.files.len() >= FILES_MAX {
                self.cut = true;
                return;
            }
            let number = folder.metadata().map(|found| (found.dev(), found.ino()));
            if !number.is_ok_and(|number| self.seen.insert(number)) {
                continue;
            }
            let Ok(entries) = std::fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries.flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let Ok(kind) = entry.file_type() else {
                    continue;
                };
                let is_folder = match kind.is_symlink() {
                    true => {
                        self.folders.extend(homes(&entry.path()));
                        entry.path().is_dir()
                    }
                    false => kind.is_dir(),
                };
                if is_folder {
                    if !is_left_out(&name, &entry.path()) {
                        waiting.push(entry.path());
                    }
                } else if !is_of_an_editor(&name) && self.files.len() < FILES_MAX {
                    self.files.insert(entry.path());
                }
            }
            self.folders.insert(folder);
        }
    }
}

fn content(file: &Path) -> std::io::Result<Vec<u8>> {
    let found = file.metadata()?;
    if found.len() <= CONTENT_BYTES_MAX {
        return std::fs::read(file);
    }
    Ok(format!("{} {:?}", found.len(), found.modified()?).into_bytes())
}

/// The folder itself, or the nearest one above it that is there.
pub(super) fn nearest(folder: &Path) -> &Path {
    let mut above = folder
        .ancestors()
        .filter(|folder| !folder.as_os_str().is_empty());
    above
        .find(|folder| folder.is_dir())
        .unwrap_or(Path::new("."))
}

fn is_left_out(name: &str, folder: &Path) -> bool {
    name.starts_with('.') || FILLED_BY_TOOLS.contains(&name) || folder.join("CACHEDIR.TAG").exists()
}

/// True for the files that editors put beside the ones they write.
fn is_of_an_editor(name: &str) -> bool {
    name.starts_with('.')
        || name.starts_with('#')
        || [".swp", ".swx", ".tmp", "~"]
            .iter()
            .any(|ending| name.ends_with(ending))
        || name.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(paths: &[PathBuf]) -> blake3::Hash {
        digest_of(&Look::at(paths).digests(), &BTreeSet::new())
    }

    #[test]
    fn links_are_followed_and_a_ring_ends() {
        use std::os::unix::fs::symlink;
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        for folder in ["src", "elsewhere/common/deep", "files"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        std::fs::write(at("elsewhere/common/deep/a.rs"), "1").unwrap();
        std::fs::write(at("files/b.rs"), "1").unwrap();
        symlink("../elsewhere/common", at("src/common")).unwrap();
        symlink("../files/b.rs", at("src/b.rs")).unwrap();
        symlink("..", at("elsewhere/common/deep/ring")).unwrap();
        symlink("nowhere", at("src/broken")).unwrap();
        let paths = [at("src")];
        let look = Look::at(&paths);
        let real = |path: &str| at(path).canonicalize().unwrap();
        for folder in ["src/common/deep", "files"] {
            let listened = look
                .folders
                .iter()
                .any(|own| own.canonicalize().unwrap() == real(folder));
            assert!(listened, "{folder}: {:?}", look.folders);
        }
        assert!(!look.cut);
        for file in ["elsewhere/common/deep/a.rs", "files/b.rs"] {
            let before = all(&paths);
            std::fs::write(at(file), "2").unwrap();
            assert_ne!(all(&paths), before, "{file}");
        }
    }

    #[test]
    fn a_change_is_seen_and_what_tools_and_editors_write_is_not() {
        let home = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = home.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("src/lib.rs", "1");
        write("src/deep/more.rs", "1");
        write("other/CACHEDIR.TAG", "");
        let paths = [home.path().join("src"), home.path().to_owned()];
        let before = all(&paths);
        for (path, changes) in [
            ("src/lib.rs", false),
            ("target/x/y.o", false),
            (".git/index", false),
            ("src/.lib.rs.swp", false),
            ("src/4913", false),
            ("src/lib.rs~", false),
            ("other/built.o", false),
            ("src/deep/new.rs", true),
            ("src/deep/more.rs", true),
        ] {
            let before = all(&paths);
            let text = if changes { "2" } else { "1" };
            write(path, text);
            let differs = all(&paths) != before;
            assert_eq!(differs, changes, "{path}");
        }
        assert_ne!(all(&paths), before);
        let folders = Look::at(&paths).folders;
        assert!(folders.contains(&home.path().join("src/deep")));
        assert!(!folders.contains(&home.path().join("target")));
    }

    #[test]
    fn a_path_that_is_missing_is_waited_for_where_it_would_be() {
        let home = tempfile::tempdir().unwrap();
        let look = Look::at(&[home.path().join("a/b/c.rs")]);
        assert!(look.folders.contains(home.path()));
        assert_eq!(nearest(Path::new("")), Path::new("."));
    }
}
