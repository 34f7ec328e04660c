//! Notifies that something changed in a set of folders, without saying what.
//!
//! Many changes cause one notification. Never here: what a change means.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// Changes that follow each other faster than this are one.
const QUIET: Duration = Duration::from_millis(50);
/// If changes never stop, they are reported after this time.
const UNQUIET_MAX: Duration = Duration::from_millis(500);
/// How often to check if the system doesn't report changes.
const BLIND: Duration = Duration::from_secs(1);

/// Listens to folders, each for itself.
pub(super) struct Watcher {
    system: Option<RecommendedWatcher>,
    /// With the folder's number on its disk: one of the same name may have taken its place.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    woken: Arc<Notify>,
    /// Why some changes are not reported.
    blind: Option<String>,
}

impl Watcher {
    /// One that listens to nothing yet.
    pub(super) fn new() -> Self {
        let woken = Arc::new(Notify::new());
        let waker = woken.clone();
        let system = notify::recommended_watcher(move |told: notify::Result<notify::Event>| {
            // Reading a file is not a change, and we read many.
            let read = matches!(&told, Ok(event) if matches!(event.kind, EventKind::Access(_)));
            if !read {
                waker.notify_one();
            }
        });
        let mut watcher = Self {
            system: None,
            watched: BTreeMap::new(),
            woken,
            blind: None,
        };
        match system {
            Ok(system) => watcher.system = Some(system),
            Err(error) => watcher.blind = Some(error.to_string()),
        }
        watcher
    }

    /// Listens to exactly these folders; true if one is new, so that what happened in it before may
    /// have been missed.
    pub(super) fn set(&mut self, folders: &BTreeSet<PathBuf>) -> bool {
        let Some(system) = &mut self.system else {
            return false;
        };
        let wanted: BTreeMap<&Path, (u64, u64)> = folders
            .iter()
            .filter_map(|folder| {
                let found = folder.metadata().ok()?;
                Some((folder.as_path(), (found.dev(), found.ino())))
            })
            .collect();
        self.watched.retain(|folder, number| {
            let stays = wanted.get(folder.as_path()) == Some(number);
            if !stays {
                // One that is gone is not listened to any more as it is.
                let _ = system.unwatch(folder);
            }
            stays
        });
        let mut new = false;
        for (folder, number) in wanted {
            if self.watched.contains_key(folder) {
                continue;
            }
            match system.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(folder.to_owned(), number);
                    new = true;
                }
                Err(error) => self.blind = Some(error.to_string()),
            }
        }
        new
    }

    /// Why changes are checked once a second, if the system does not report them.
    pub(super) fn blind(&self) -> Option<&str> {
        self.blind.as_deref()
    }

    /// Resolves when something has changed and it has become quiet again.
    pub(super) async fn changed(&self) {
        if self.blind.is_some() {
            let _ = timeout(BLIND, self.woken.notified()).await;
            return;
        }
        self.woken.notified().await;
        let end = Instant::now() + UNQUIET_MAX;
        while Instant::now() < end {
            if timeout(QUIET, self.woken.notified()).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn writes_renames_and_new_folders_wake() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("src");
        std::fs::create_dir(&folder).unwrap();
        let mut watcher = Watcher::new();
        let folders = BTreeSet::from([folder.clone()]);
        assert!(watcher.set(&folders));
        assert!(!watcher.set(&folders), "it is listened to already");
        let file = folder.join("lib.rs");
        std::fs::write(&file, "1").unwrap();
        watcher.changed().await;
        // As editors save.
        std::fs::write(home.path().join("new"), "2").unwrap();
        std::fs::rename(home.path().join("new"), &file).unwrap();
        watcher.changed().await;
        // Another folder under the same name.
        std::fs::rename(&folder, home.path().join("old")).unwrap();
        std::fs::create_dir(&folder).unwrap();
        assert!(watcher.set(&folders), "it is another folder");
        std::fs::write(&file, "3").unwrap();
        watcher.changed().await;
        assert_eq!(watcher.blind(), None);
    }
}
