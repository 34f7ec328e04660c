//! The memory that this process may use: the machine's, or the limit of its control group.
//!
//! Never here: settings, decisions.

use std::path::Path;

/// What is assumed where the system doesn't say, in bytes.
const MEMORY_UNKNOWN: u64 = 1 << 30;

/// Memory that this process may use, in bytes: the machine's, or the limit of its control group if that is
/// smaller.
#[must_use]
pub(crate) fn memory_bytes() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total(&text))
        .unwrap_or(MEMORY_UNKNOWN);
    let group = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limits(&group, Path::new("/sys/fs/cgroup")).fold(machine, u64::min)
}

/// `MemTotal` of `/proc/meminfo`.
fn total(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The memory limits of the control groups that `/proc/self/cgroup` names, of version 2 and 1, and of
/// their parents: the smallest of them binds. A container sees its own group at the root.
fn limits<'a>(group: &'a str, root: &'a Path) -> impl Iterator<Item = u64> + 'a {
    let own = group.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let path = path.trim_start_matches('/');
        match controllers {
            "" => Some((root.join(path), "memory.max")),
            "memory" => Some((root.join("memory").join(path), "memory.limit_in_bytes")),
            _ => None,
        }
    });
    own.flat_map(move |(folder, file)| {
        let folders: Vec<_> = folder
            .ancestors()
            .take_while(|folder| folder.starts_with(root))
            .map(|folder| folder.join(file))
            .collect();
        folders.into_iter()
    })
    .filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_of_the_group_and_its_parents_binds() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b");
        std::fs::create_dir_all(&folder).unwrap();
        let write = |file: &str, text: &str| std::fs::write(root.path().join(file), text).unwrap();
        write("a/memory.max", "300\n");
        write("a/b/memory.max", "max\n");
        let smallest = |group: &str| limits(group, root.path()).min();
        assert_eq!(smallest("0::/a/b\n"), Some(300));
        assert_eq!(smallest("0::/elsewhere\n"), None);
        assert_eq!(smallest("1:cpu:/a/b\n"), None);
        std::fs::create_dir_all(root.path().join("memory/c")).unwrap();
        write("memory/c/memory.limit_in_bytes", "200\n");
        assert_eq!(smallest("4:memory:/c\n0::/a\n"), Some(200));
    }

    #[test]
    fn the_machine_says_how_much_memory_it_has() {
        assert_eq!(
            total("MemFree: 1 kB\nMemTotal:       1024 kB\n"),
            Some(1 << 20)
        );
        assert_eq!(total("MemTotal: much\n"), None);
        assert!(memory_bytes() > 1 << 20);
    }
}
