//! Names and paths; and what the tests beside use to look at folders.

use super::*;

/// The files below `folder`, as paths from `root`.
pub(super) fn list(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(root, &path, found);
        } else {
            found.push(path.strip_prefix(root).unwrap().display().to_string());
        }
    }
}

#[test]
fn names_are_made_of_what_the_folder_is_called() {
    for (text, expected) in [
        ("hello", "hello"),
        ("My Project", "my-project"),
        ("__x--y__", "x-y"),
        ("Straße 7", "stra-e-7"),
        ("日本", "project"),
        ("", "project"),
    ] {
        assert_eq!(sanitised(text), expected, "{text}");
    }
    assert_eq!(sanitised(&"a-".repeat(100)).len(), NAME_BYTES_MAX - 1);
    assert_eq!(name_of(Path::new("/tmp/nowhere/Shop 2")), "shop-2");
    assert!(checked_name("shop-2").is_ok());
    let said = checked_name("Shop 2").unwrap_err();
    assert!(said.contains("`shop-2`"), "{said}");
}

#[test]
fn paths_are_shown_as_a_shell_takes_them() {
    assert_eq!(shown_path(Path::new("a/b-c")), "a/b-c");
    assert_eq!(shown_path(Path::new("it's mine")), r"'it'\''s mine'");
}
