//! Writes files into a folder: all or none, and never over an existing file.

use std::path::{Path, PathBuf};

use super::super::Failure;

/// Existing files that an error names; the rest is counted.
const NAMED_MAX: usize = 10;

/// Puts `files` (path and text) into `folder`, which is made if it is missing.
///
/// # Errors
/// A file is there already, or can't be written; nothing was changed then.
pub(super) fn place(folder: &Path, files: &[(String, String)]) -> Result<(), Failure> {
    let taken: Vec<&str> = files
        .iter()
        .map(|(path, _)| path.as_str())
        .filter(|path| folder.join(path).symlink_metadata().is_ok())
        .collect();
    if !taken.is_empty() {
        let mut named = taken[..taken.len().min(NAMED_MAX)].join(", ");
        if taken.len() > NAMED_MAX {
            named.push_str(&format!(" and {} more", taken.len() - NAMED_MAX));
        }
        return Err(Failure::new(format!(
            "{} has files already that would be overwritten: {named}; nothing was written: choose a new folder, or move them away",
            folder.display()
        )));
    }
    let mut undo = Undo::default();
    let placed = write_all(folder, files, &mut undo);
    if placed.is_ok() {
        undo.made.clear();
    }
    placed.map_err(|(path, error)| {
        Failure::new(format!(
            "{} can't be written: {error}; nothing was left behind",
            path.display()
        ))
    })
}

/// Puts `files`, all of them below `inner`, in place of what is in `folder/inner`.
///
/// # Errors
/// A file can't be written; what was there is there still.
pub(super) fn replace(
    folder: &Path,
    inner: &str,
    files: &[(String, String)],
) -> Result<(), Failure> {
    let beside = folder.join(format!("{inner}-{:08x}", rand::random::<u32>()));
    let (new, old) = (beside.with_extension("new"), beside.with_extension("old"));
    place(&new, files)?;
    let target = folder.join(inner);
    let swapped = std::fs::rename(&target, &old).and_then(|()| {
        std::fs::rename(new.join(inner), &target).inspect_err(|_| {
            // This undoes a rename that just worked.
            let _ = std::fs::rename(&old, &target);
        })
    });
    // The name of a leftover folder says that it is one. It does no damage.
    let _ = std::fs::remove_dir_all(&new);
    let _ = std::fs::remove_dir_all(&old);
    swapped
        .map_err(|error| Failure::new(format!("{} can't be replaced: {error}", target.display())))
}

/// What was made so far, in order; taken back when dropped.
#[derive(Default)]
struct Undo {
    made: Vec<PathBuf>,
}

impl Drop for Undo {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // A folder in which somebody else has put something meanwhile stays.
            let _ = std::fs::remove_file(path).or_else(|_| std::fs::remove_dir(path));
        }
    }
}

fn write_all(
    folder: &Path,
    files: &[(String, String)],
    undo: &mut Undo,
) -> Result<(), (PathBuf, std::io::Error)> {
    for (path, text) in files {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        make_folders(parent, undo).map_err(|error| (parent.to_owned(), error))?;
        let made = std::fs::File::create_new(&path);
        let mut file = made.map_err(|error| (path.clone(), error))?;
        undo.made.push(path.clone());
        std::io::Write::write_all(&mut file, text.as_bytes()).map_err(|error| (path, error))?;
    }
    Ok(())
}

fn make_folders(folder: &Path, undo: &mut Undo) -> std::io::Result<()> {
    let missing: Vec<&Path> = folder
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())
        .collect();
    for folder in missing.into_iter().rev() {
        std::fs::create_dir(folder)?;
        undo.made.push(folder.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Vec<(String, String)> {
        let text = |path: &&str| ((*path).to_owned(), format!("text of {path}"));
        paths.iter().map(text).collect()
    }

    fn listed(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        super::super::tests::list(folder, folder, &mut found);
        found.sort();
        found
    }

    #[test]
    fn all_files_are_put_or_none() {
        let home = tempfile::tempdir().unwrap();
        let new = home.path().join("a/b");
        place(&new, &files(&["x", "c/y"])).unwrap();
        assert_eq!(listed(home.path()), ["a/b/c/y", "a/b/x"]);
        assert_eq!(
            std::fs::read_to_string(new.join("c/y")).unwrap(),
            "text of c/y"
        );
        let said = place(&new, &files(&["new", "x", "c/y"]))
            .unwrap_err()
            .message;
        assert!(said.contains("x, c/y"), "{said}");
        assert_eq!(listed(home.path()), ["a/b/c/y", "a/b/x"]);
        // `x` is a file, so nothing can be put below it.
        place(&new, &files(&["d/new", "x/z"])).unwrap_err();
        assert_eq!(listed(home.path()), ["a/b/c/y", "a/b/x"]);
        assert!(!new.join("d").exists(), "a folder was left behind");
    }

    #[test]
    fn a_folder_is_replaced_as_a_whole() {
        let home = tempfile::tempdir().unwrap();
        place(home.path(), &files(&["in/a", "in/b", "other"])).unwrap();
        replace(home.path(), "in", &files(&["in/c"])).unwrap();
        assert_eq!(listed(home.path()), ["in/c", "other"]);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 2);
    }
}
