//! Each capability has all of its parts: docs/ARCHITECTURE.md, "Adding a capability".

use std::collections::{BTreeMap, BTreeSet};

use crate::support::root;

/// The names of the Rust files in a folder, without those that are no capability.
fn modules(folder: &str, others: &[&str]) -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap();
    entries
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_suffix(".rs")?.to_owned()))
        .filter(|name| !others.contains(&name.as_str()))
        .collect()
}

/// What stands between `start` and `end` in lines of a file that have both.
fn between(file: &str, start: &str, end: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let lines = text.lines().map(str::trim);
    let found = lines.filter_map(|line| line.strip_prefix(start)?.strip_suffix(end));
    found.map(str::to_owned).collect()
}

/// Modules of the SDK that lead to an interface.
fn of_the_sdk() -> BTreeSet<String> {
    let all = modules("guest-sdk/src", &[]);
    let leads = |name: &String| {
        let text = std::fs::read_to_string(root().join(format!("guest-sdk/src/{name}.rs")));
        let wanted = format!("bindings::edgebus::function::{name} as host");
        text.unwrap().contains(&wanted)
    };
    all.into_iter().filter(leads).collect()
}

/// Place → the capabilities that are there.
fn places() -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut interfaces = between("wit/function.wit", "interface ", " {");
    // What the others share, and what a function exports.
    interfaces.retain(|name| name != "types" && name != "handler");
    BTreeMap::from([
        ("wit/function.wit: interface NAME", interfaces),
        (
            "wit/function.wit: import NAME; in the world",
            between("wit/function.wit", "import ", ";"),
        ),
        (
            "bus/runtime/src/capabilities/NAME.rs",
            modules("bus/runtime/src/capabilities", &["mod"]),
        ),
        (
            "bus/runtime/src/capabilities/mod.rs: pub mod NAME;",
            between("bus/runtime/src/capabilities/mod.rs", "pub mod ", ";"),
        ),
        (
            "bus/wasmtime/src/host/NAME.rs",
            modules("bus/wasmtime/src/host", &["mod", "wasi"]),
        ),
        ("guest-sdk/src/NAME.rs", of_the_sdk()),
        (
            "guest-sdk/src/lib.rs: pub mod NAME;",
            between("guest-sdk/src/lib.rs", "pub mod ", ";")
                .into_iter()
                .filter(|name| name != "testing")
                .collect(),
        ),
        (
            "docs/glossary.md: NAME in the row `capability`",
            between(
                "docs/glossary.md",
                "| **capability** | What the host offers to a guest: ",
                ". | `wit/function.wit` |",
            )
            .iter()
            .flat_map(|list| list.split(", "))
            .map(str::to_owned)
            .collect(),
        ),
    ])
}

/// A line for each place that lacks a capability which another place has.
fn forgotten(places: &BTreeMap<&'static str, BTreeSet<String>>) -> Vec<String> {
    let all: BTreeSet<&String> = places.values().flatten().collect();
    let mut lines = Vec::new();
    for name in all {
        for (place, there) in places {
            if !there.contains(name) {
                lines.push(format!("`{name}` lacks {}", place.replace("NAME", name)));
            }
        }
    }
    lines
}

#[test]
fn each_capability_has_all_of_its_parts() {
    let places = places();
    let lines = forgotten(&places);
    assert!(
        lines.is_empty(),
        "{}\nsee \"Adding a capability\" in docs/ARCHITECTURE.md",
        lines.join("\n")
    );
    // The check itself: each place names what it alone lacks.
    for place in places.keys() {
        let mut without = places.clone();
        assert!(without.get_mut(place).unwrap().remove("state"), "{place}");
        let lacks = format!("`state` lacks {}", place.replace("NAME", "state"));
        assert_eq!(forgotten(&without), [lacks]);
    }
}

/// The page names the files that there are.
#[test]
fn the_page_names_files_that_exist() {
    let text = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let (_, section) = text
        .split_once("\n### Adding a capability\n")
        .expect("docs/ARCHITECTURE.md has \"Adding a capability\"");
    let (section, _) = section.split_once("\n## ").unwrap();
    let files: Vec<String> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(|file| file.replace("NAME", "state"))
        .collect();
    assert!((1..=7).contains(&files.len()), "at most seven: {files:?}");
    for file in files {
        assert!(root().join(&file).exists(), "{file} does not exist");
    }
}
