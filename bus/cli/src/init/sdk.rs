//! The SDK that functions are written with, embedded in the binary, so that it always fits the bus.
//!
//! A project gets the sources as they are in this repository, in a workspace of their own whose
//! `Cargo.toml` is made from the repository's: the same versions of the same libraries.

use std::fmt::Write as _;

/// Where a project has it.
pub(super) const FOLDER: &str = ".edgebus/sdk";

/// Path from the repository's folder, and text; `build.rs` lists them.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk_files.rs"));

/// The repository's workspace, whose versions the SDK takes over.
const WORKSPACE: &str = include_str!("../../../../Cargo.toml");

/// The SDK's files: paths in a project's folder, and texts.
pub(super) fn files() -> Vec<(String, String)> {
    let embedded = FILES
        .iter()
        .map(|(path, text)| (format!("{FOLDER}/{path}"), (*text).to_owned()));
    let mut files: Vec<_> = embedded.collect();
    files.push((format!("{FOLDER}/Cargo.toml"), workspace()));
    files
}

/// The `Cargo.toml` around the SDK's crates, so that what they inherit is there.
fn workspace() -> String {
    let mut text = format!(
        "# The SDK of edgebus {}; `edgebus init --sdk-only` puts a newer one in its place.\n[workspace]\nresolver = \"3\"\nmembers = [\"guest-sdk\", \"guest-sdk/macros\"]\n\n[workspace.package]\n",
        env!("CARGO_PKG_VERSION")
    );
    for line in section("[workspace.package]") {
        let _ = writeln!(text, "{line}");
    }
    text.push_str("\n[workspace.dependencies]\n");
    for line in section("[workspace.dependencies]").filter(|line| is_wanted(line)) {
        let _ = writeln!(text, "{line}");
    }
    // A newer compiler may have more to say of the SDK, and its reader can't change that.
    text.push_str("\n[workspace.lints.rust]\nwarnings = \"allow\"\n");
    text
}

/// The entries under a heading of the repository's `Cargo.toml`.
fn section(heading: &str) -> impl Iterator<Item = &'static str> {
    WORKSPACE
        .lines()
        .skip_while(move |line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// True for a dependency that a crate of the SDK inherits.
fn is_wanted(line: &str) -> bool {
    let name = line.split(' ').next().unwrap_or(line);
    let inherits = format!("\n{name}.workspace = true\n");
    FILES
        .iter()
        .filter(|(path, _)| path.ends_with("Cargo.toml"))
        .any(|(_, text)| text.contains(&inherits))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::list;
    use super::*;

    #[test]
    fn every_source_of_the_sdk_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut on_disk = vec!["LICENSE-APACHE".to_owned(), "LICENSE-MIT".to_owned()];
        for folder in ["guest-sdk", "wit"] {
            list(&root, &root.join(folder), &mut on_disk);
        }
        // What editors and patches leave behind does not count; a new kind of source does.
        on_disk.retain(|path| {
            let name = path.rsplit('/').next().unwrap_or(path);
            !name.starts_with('.') && ![".orig", ".rej", "~"].iter().any(|end| name.ends_with(end))
        });
        on_disk.sort();
        let embedded: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
        assert_eq!(embedded, on_disk);
    }

    #[test]
    fn what_the_crates_inherit_is_in_their_workspace() {
        let made = workspace();
        for (path, text) in FILES
            .iter()
            .filter(|(path, _)| path.ends_with("Cargo.toml"))
        {
            for line in text
                .lines()
                .filter(|line| line.ends_with(".workspace = true"))
            {
                let name = line.trim_end_matches(".workspace = true");
                let own = made
                    .lines()
                    .find(|own| own.starts_with(&format!("{name} = ")))
                    .unwrap_or_else(|| panic!("{path} inherits {name}, which is not in\n{made}"));
                assert!(WORKSPACE.lines().any(|line| line == own), "{own}");
            }
        }
        assert!(!made.contains("tokio"), "only what the SDK needs:\n{made}");
    }
}
