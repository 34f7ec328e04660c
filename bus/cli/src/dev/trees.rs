//! What is on disk under the paths that a build watches: which folders to listen to, and one digest of
//! all the files, so that a rewrite of the same text is no change.
//!
//! Never here: folders that tools fill (`target` and the like): a build must not ask for the next one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Files that one look takes in.
const FILES_MAX: usize = 10_000;
/// Folders that one look takes in.
const FOLDERS_MAX: usize = 2_000;
/// A larger file goes by its size and its time, in bytes.
const CONTENT_BYTES_MAX: u64 = 1 << 20;

/// Folders that tools fill, wherever they stand.
const FILLED_BY_TOOLS: [&str; 4] = ["target", "node_modules", "__pycache__", "dist"];

/// What one look found.
#[derive(Default)]
pub(super) struct Look {
    /// Every folder in which a change may happen.
    pub(super) folders: BTreeSet<PathBuf>,
    /// More files or folders than are looked at.
    pub(super) cut: bool,
    files: BTreeSet<PathBuf>,
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
            look.folders
                .insert(nearest(path.parent().unwrap_or(path)).to_owned());
        }
        look
    }

    /// One digest of the names and contents of all files.
    pub(super) fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for file in &self.files {
            hasher.update(file.as_os_str().as_encoded_bytes());
            hasher.update(&[0]);
            match content(file) {
                Ok(content) => hasher.update(blake3::hash(&content).as_bytes()),
                Err(_) => hasher.update(b"unreadable"),
            };
        }
        hasher.finalize()
    }

    fn take_tree(&mut self, root: &Path) {
        let mut waiting = vec![root.to_owned()];
        while let Some(folder) = waiting.pop() {
            if self.folders.len() >= FOLDERS_MAX || self.files.len() >= FILES_MAX {
                self.cut = true;
                return;
            }
            let Ok(entries) = std::fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries.flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                // Not through links, which may lead around in a ring.
                let Ok(kind) = entry.file_type() else {
                    continue;
                };
                if kind.is_dir() {
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
        let before = Look::at(&paths).digest();
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
            let before = Look::at(&paths).digest();
            let text = if changes { "2" } else { "1" };
            write(path, text);
            let differs = Look::at(&paths).digest() != before;
            assert_eq!(differs, changes, "{path}");
        }
        assert_ne!(Look::at(&paths).digest(), before);
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
