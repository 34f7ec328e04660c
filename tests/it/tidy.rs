//! The import table, sizes, lints and banned calls, as a test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                files(&path, ending, found);
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    files(&root().join(folder), ".rs", &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (
                path.strip_prefix(root()).unwrap().display().to_string(),
                text,
            )
        })
        .collect()
}

/// The lines before the file's own module of unit tests.
fn without_tests(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| !(line.starts_with("mod ") && line.ends_with("tests {")))
}

fn is_test(path: &str) -> bool {
    ["/tests/", "tests.rs", "conformance", "fake.rs", "simulat"]
        .iter()
        .any(|mark| path.contains(mark))
}

/// Room → the rooms of ours that it may import.
fn table() -> BTreeMap<&'static str, Vec<&'static str>> {
    let all = vec![
        "api",
        "assembly",
        "bus",
        "cli",
        "clock",
        "error",
        "machine",
        "manifest",
        "model",
        "pipeline",
        "places",
        "runtime",
        "settings",
        "store",
        "telemetry",
        "view",
    ];
    BTreeMap::from([
        ("model", vec![]),
        ("error", vec!["model"]),
        ("settings", vec![]),
        ("machine", vec![]),
        ("clock", vec!["model"]),
        ("places", vec![]),
        ("telemetry", vec!["model"]),
        ("manifest", vec!["model", "error", "view"]),
        ("view", vec!["model"]),
        ("store", vec!["model"]),
        ("runtime", vec!["model"]),
        (
            "pipeline",
            vec![
                "model",
                "error",
                "clock",
                "telemetry",
                "places",
                "store",
                "runtime",
                "view",
            ],
        ),
        // The handle reads manifests and shows store pages; it decides nothing.
        (
            "bus",
            vec![
                "model",
                "error",
                "manifest",
                "pipeline",
                "store",
                "telemetry",
                "view",
            ],
        ),
        ("api", vec!["bus", "model", "error", "places", "view"]),
        // `serve` joins the faces to a running bus; publishing encodes with the API's wire format; what
        // people type as `15m` ago counts from the clock.
        (
            "cli",
            vec![
                "api", "assembly", "bus", "clock", "error", "manifest", "model", "settings",
                "store", "view",
            ],
        ),
        ("assembly", all.clone()),
        ("lib", all),
        ("main", vec!["cli"]),
    ])
}

fn room(path: &str) -> &str {
    let rest = path.strip_prefix("bus/src/").unwrap();
    rest.split(['/', '.']).next().unwrap()
}

/// The rooms that one line names after `crate::`.
fn imports(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (index, _) in line.match_indices("crate::") {
        let word = |text: &str| {
            text.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect::<String>()
        };
        let rest = &line[index + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.push(word(rest)),
            Some(list) => found.extend(list.split(',').map(|item| word(item.trim()))),
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let table = table();
    let mut wrong = Vec::new();
    for (path, text) in sources("bus/src")
        .into_iter()
        .filter(|(path, _)| !is_test(path))
    {
        let room = room(&path);
        let allowed = table
            .get(room)
            .unwrap_or_else(|| panic!("{path}: the room `{room}` is not in the table"));
        for line in without_tests(&text).filter(|line| !line.trim_start().starts_with("//")) {
            for name in imports(line) {
                if name != room && !allowed.contains(&name.as_str()) {
                    wrong.push(format!("{path}: {room} imports {name}: {}", line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        imports("use crate::{model::Event, store};"),
        ["model", "store"],
        "the reader of imports sees both"
    );
}

#[test]
fn each_foreign_library_stays_in_its_room() {
    // Library → where its name may stand.
    let rooms: [(&str, &[&str]); 13] = [
        ("redb::", &["bus/src/store/redb/", "bus/src/assembly.rs"]),
        ("wasmtime", &["bus/src/runtime/", "bus/src/assembly.rs"]),
        ("axum::", &["bus/src/api/"]),
        (
            "hyper::",
            &[
                "bus/src/api/",
                "bus/src/cli/client.rs",
                "bus/src/cli/bench/",
            ],
        ),
        ("clap::", &["bus/src/cli/"]),
        ("clap_complete::", &["bus/src/cli/shell.rs"]),
        ("clap_mangen::", &["bus/src/cli/shell.rs"]),
        ("ratatui::", &["bus/src/cli/top/"]),
        ("indicatif::", &["bus/src/cli/"]),
        ("comfy_table", &["bus/src/cli/output/"]),
        (
            "serde_saphyr",
            &["bus/src/manifest/", "bus/src/cli/output/"],
        ),
        ("notify::", &["bus/src/cli/dev/watch.rs"]),
        ("metrics_exporter_prometheus", &["bus/src/telemetry/"]),
    ];
    let mut wrong = Vec::new();
    for (path, text) in sources("bus/src") {
        for (library, allowed) in &rooms {
            let named = without_tests(&text)
                .filter(|line| !line.trim_start().starts_with("//"))
                .any(|line| {
                    line.contains(&format!("use {library}"))
                        || line.contains(&format!(" {library}"))
                        || line.contains(&format!("({library}"))
                });
            if named && !allowed.iter().any(|folder| path.starts_with(folder)) {
                wrong.push(format!("{path} names {library}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_stay_small() {
    let mut wrong = Vec::new();
    for folder in ["bus/src", "rules/src", "guest-sdk", "samples"] {
        for (path, text) in sources(folder) {
            let lines = without_tests(&text).count();
            if !is_test(&path) && lines > 600 {
                wrong.push(format!("{path}: {lines} lines"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "over 600 lines before their tests:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_crate_inherits_the_lints() {
    let mut manifests = Vec::new();
    files(&root(), "Cargo.toml", &mut manifests);
    let crates: Vec<_> = manifests
        .into_iter()
        .filter(|path| *path != root().join("Cargo.toml"))
        .collect();
    assert!(crates.len() >= 5, "{crates:?}");
    // It can't be a member, for every build of all targets would link libFuzzer's main; so it says again
    // what counts most.
    let outside = root().join("rules/fuzz/Cargo.toml");
    for path in crates {
        let text = std::fs::read_to_string(&path).unwrap();
        if path == outside {
            assert!(text.contains("\n[workspace]\n") && text.contains("unsafe_code = \"forbid\""));
            continue;
        }
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{} does not inherit the lints",
            path.display()
        );
    }
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(workspace.contains("unsafe_code = \"deny\""));
}

/// The one file that may say `unsafe`, with its argument.
const TRUSTED: &str = "bus/src/runtime/wasmtime/trusted.rs";

#[test]
fn unsafe_code_has_one_file() {
    // A lint that is forbidden can't be allowed again; where one file needs it, it is only denied.
    for (path, text) in sources("") {
        let root = path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs");
        let ours = !path.contains("/templates/") && !path.starts_with("rules/fuzz/");
        if root && ours && path != "bus/src/lib.rs" {
            assert!(
                text.contains("\n#![forbid(unsafe_code)]\n"),
                "{path} does not forbid unsafe code"
            );
        }
        // This file names what it looks for.
        if path == "tests/it/tidy.rs" {
            continue;
        }
        for mark in ["unsafe {", "unsafe fn", "unsafe impl", "(unsafe_code,"] {
            let found = text.matches(mark).count();
            let allowed = usize::from(path == TRUSTED && mark == "unsafe {");
            assert!(found <= allowed, "{path} says `{mark}` {found} times");
        }
    }
    let trusted = std::fs::read_to_string(root().join(TRUSTED)).unwrap();
    assert_eq!(trusted.matches("#![allow(\n    unsafe_code,").count(), 1);
    assert_eq!(trusted.matches("// SAFETY: ").count(), 1);
}

#[test]
fn banned_calls_stay_out() {
    // What is banned → where it may stand, with the reason there.
    let banned: [(&str, &[&str]); 8] = [
        // The code cache marks its files as used; no decision of the bus sees that time.
        (
            "SystemTime::now",
            &["bus/src/clock.rs", "bus/src/runtime/wasmtime/cache.rs"],
        ),
        ("unbounded_channel", &[]),
        ("mpsc::channel()", &[]),
        (
            "std::thread::sleep",
            &["bus/src/cli/bench/", "bus/src/runtime/wasmtime/"],
        ),
        (".unwrap()", &[]),
        ("todo!(", &[]),
        ("unsafe {", &[TRUSTED]),
        // Only what this program compiled may be vouched for.
        (
            "Code::from_own_compiler",
            &["bus/src/runtime/wasmtime/compile/"],
        ),
    ];
    let mut wrong = Vec::new();
    for folder in ["bus/src", "rules/src"] {
        for (path, text) in sources(folder)
            .into_iter()
            .filter(|(path, _)| !is_test(path))
        {
            for line in without_tests(&text).filter(|line| !line.trim_start().starts_with("//")) {
                for (call, allowed) in &banned {
                    if line.contains(call) && !allowed.iter().any(|folder| path.starts_with(folder))
                    {
                        wrong.push(format!("{path}: {}", line.trim()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the simulation can't see or repeat → the files of the pipeline that may say it.
const NOT_SIMULATED: [(&str, &[&str]); 11] = [
    ("tokio::time", &[]),
    ("Instant::now", &[]),
    ("SystemTime", &[]),
    ("rand::", &[]),
    ("tokio::spawn", &[]),
    ("JoinSet", &[]),
    ("spawn_blocking", &["tasks.rs"]),
    ("Handle::current", &["tasks.rs"]),
    // Functions have threads of two priorities.
    ("thread::Builder", &["tasks.rs", "workers.rs"]),
    ("Condvar", &["workers.rs"]),
    ("blocking_recv", &[]),
];

/// Lines of a file of the pipeline that the simulation would not see or could not repeat.
fn not_simulated(name: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut lines = without_tests(text)
        .filter(|line| !line.trim_start().starts_with("//"))
        .peekable();
    while let Some(line) = lines.next() {
        let named =
            |(call, allowed): &(&str, &[&str])| line.contains(call) && !allowed.contains(&name);
        // A random branch goes first unless it says otherwise.
        let random = line.contains("tokio::select! {")
            && lines.peek().is_none_or(|next| next.trim() != "biased;");
        if random || NOT_SIMULATED.iter().any(named) {
            wrong.push(format!("pipeline/{name}: {}", line.trim()));
        }
    }
    wrong
}

#[test]
fn the_pipeline_can_be_simulated() {
    let planted = "tokio::select! {\n    x = y => {}\n}\ntokio::time::sleep(z).await;\n";
    assert_eq!(not_simulated("planted.rs", planted).len(), 2);
    let wrong: Vec<_> = sources("bus/src/pipeline")
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .flat_map(|(path, text)| not_simulated(path.trim_start_matches("bus/src/pipeline/"), &text))
        .collect();
    assert!(
        wrong.is_empty(),
        "sleep by the clock, and start tasks by the executor:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn modules_open_with_what_they_are() {
    for folder in ["bus/src", "rules/src"] {
        for (path, text) in sources(folder)
            .into_iter()
            .filter(|(path, _)| !is_test(path))
        {
            assert!(
                text.starts_with("//!"),
                "{path} does not open with what it is"
            );
        }
    }
}
