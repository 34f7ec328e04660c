//! The import table, sizes, lints and banned calls, as a test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    crate::support::root().to_owned()
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

pub(crate) fn sources(folder: &str) -> Vec<(String, String)> {
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
    [
        "/tests/",
        "/benches/",
        "tests.rs",
        "conformance",
        "fake.rs",
        "simulat",
    ]
    .iter()
    .any(|mark| path.contains(mark))
}

/// Crate → the crates of ours that it may depend on.
const CRATES: [(&str, &[&str]); 11] = [
    ("api", &[]),
    ("client", &["api"]),
    ("model", &[]),
    ("manifest", &["model"]),
    ("store", &["model"]),
    ("runtime", &["model"]),
    ("wasmtime", &["model", "runtime"]),
    ("engine", &["manifest", "model", "runtime", "store"]),
    ("http", &["api", "engine", "manifest", "model"]),
    (
        "cli",
        &[
            "api", "client", "engine", "http", "manifest", "model", "store",
        ],
    ),
    (
        "edgebus",
        &["cli", "engine", "model", "runtime", "store", "wasmtime"],
    ),
];

/// The crates of ours in the section of dependencies of a `Cargo.toml`.
fn dependencies(manifest: &str) -> Vec<&str> {
    manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.strip_prefix("edgebus-")?.split(['.', ' ']).next())
        .filter(|name| !["rules", "sdk"].contains(name))
        .collect()
}

#[test]
fn crates_depend_only_on_what_the_table_allows() {
    let folders: BTreeSet<String> = std::fs::read_dir(root().join("bus"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let known: BTreeSet<String> = CRATES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(
        folders, known,
        "each folder of bus/ is a crate of the table"
    );
    for (name, allowed) in CRATES {
        let file = root().join("bus").join(name).join("Cargo.toml");
        let manifest = std::fs::read_to_string(file).unwrap();
        assert_eq!(dependencies(&manifest), allowed, "bus/{name}/Cargo.toml");
    }
}

/// Module of the engine → the other modules that it may import.
const MODULES: [(&str, &[&str]); 6] = [
    ("clock", &[]),
    ("work_limiter", &[]),
    ("secrets", &[]),
    ("telemetry", &[]),
    ("pipeline", &["clock", "work_limiter", "telemetry"]),
    // The handle shows what the pipeline does; it decides nothing.
    ("bus", &["pipeline", "telemetry"]),
];

/// The modules that one line names after `crate::`.
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
fn modules_of_the_engine_import_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for (path, text) in sources("bus/engine/src")
        .into_iter()
        .filter(|(path, _)| !is_test(path) && !path.ends_with("/lib.rs"))
    {
        let inside = path.strip_prefix("bus/engine/src/").unwrap();
        let module = inside.split(['/', '.']).next().unwrap();
        let known = MODULES.iter().find(|(name, _)| *name == module);
        let (_, allowed) =
            known.unwrap_or_else(|| panic!("{path}: the module `{module}` is not in the table"));
        for line in without_tests(&text).filter(|line| !line.trim_start().starts_with("//")) {
            for name in imports(line) {
                if name != module && !allowed.contains(&name.as_str()) {
                    wrong.push(format!("{path}: {module} imports {name}: {}", line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        imports("use crate::{clock::Clock, work_limiter};"),
        ["clock", "work_limiter"],
        "the reader of imports sees both"
    );
}

#[test]
fn every_module_of_the_engine_is_used() {
    let sources: Vec<(String, String)> = sources("bus")
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .collect();
    for (module, _) in MODULES {
        let inside = format!("bus/engine/src/{module}");
        let named = [
            format!("crate::{module}"),
            format!("edgebus_engine::{module}"),
        ];
        let used = sources
            .iter()
            .filter(|(path, _)| !path.starts_with(&inside))
            .any(|(_, text)| named.iter().any(|name| text.contains(name)));
        assert!(used, "nothing uses the module `{module}` of the engine");
    }
}

#[test]
fn each_foreign_library_stays_in_its_place() {
    // Library → where its name may stand.
    let places: [(&str, &[&str]); 16] = [
        ("redb::", &["bus/store/src/redb/"]),
        ("edgebus_store::redb", &["bus/edgebus/src/"]),
        ("wasmtime", &["bus/wasmtime/src/"]),
        ("axum::", &["bus/http/src/"]),
        (
            "hyper::",
            &["bus/http/src/", "bus/client/src/", "bus/cli/src/bench/"],
        ),
        ("rustls", &["bus/client/src/"]),
        ("schemars::", &["bus/api/src/", "bus/http/src/"]),
        ("clap::", &["bus/cli/src/"]),
        ("clap_complete::", &["bus/cli/src/shell.rs"]),
        ("clap_mangen::", &["bus/cli/src/shell.rs"]),
        ("ratatui::", &["bus/cli/src/top/"]),
        ("indicatif::", &["bus/cli/src/"]),
        ("comfy_table", &["bus/cli/src/output/"]),
        (
            "serde_saphyr",
            &["bus/manifest/src/", "bus/cli/src/output/"],
        ),
        ("notify::", &["bus/cli/src/dev/watch.rs"]),
        (
            "metrics_exporter_prometheus",
            &["bus/engine/src/telemetry/"],
        ),
    ];
    let mut wrong = Vec::new();
    for (path, text) in sources("bus")
        .into_iter()
        .filter(|(path, _)| !is_test(path))
    {
        for (library, allowed) in &places {
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
fn every_file_is_a_module() {
    // A file that no `mod` names is not compiled, and the compiler does not report it.
    let mut wrong = Vec::new();
    for folder in ["bus", "rules/src", "guest-sdk", "samples", "tests"] {
        for (path, _) in sources(folder) {
            let alone = [
                "/lib.rs",
                "/main.rs",
                "/build.rs",
                "/benches/",
                "/templates/",
            ];
            // The tests' support is a module of two programs by its path.
            if alone.iter().any(|mark| path.contains(mark)) || path == "tests/support/mod.rs" {
                continue;
            }
            let path = PathBuf::from(&path);
            let module = match path.ends_with("mod.rs") {
                true => path.parent().unwrap().to_owned(),
                false => path.with_extension(""),
            };
            let (above, name) = (module.parent().unwrap(), module.file_name().unwrap());
            let named = format!("mod {};", name.to_str().unwrap());
            let parents = ["mod.rs", "lib.rs", "main.rs"].map(|file| above.join(file));
            let mut parents = parents.into_iter().chain([above.with_extension("rs")]);
            let is_named = parents.any(|parent| {
                let text = std::fs::read_to_string(root().join(parent)).unwrap_or_default();
                text.lines().any(|line| line.trim_end().ends_with(&named))
            });
            if !is_named {
                wrong.push(format!("{}: write `{named}` above it", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_stay_small() {
    let mut wrong = Vec::new();
    for folder in ["bus", "rules/src", "guest-sdk", "samples"] {
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
    // It can't be a member, because every build of all targets would link libFuzzer's main. So it repeats the
    // most important lint.
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
const TRUSTED: &str = "bus/wasmtime/src/trusted.rs";

#[test]
fn unsafe_code_has_one_file() {
    // A forbidden lint can't be allowed again, so the crate with the one file only denies it.
    for (path, text) in sources("") {
        let root = path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs");
        let ours = !path.contains("/templates/") && !path.starts_with("rules/fuzz/");
        if root && ours && path != "bus/wasmtime/src/lib.rs" {
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
            &["bus/engine/src/clock.rs", "bus/wasmtime/src/cache.rs"],
        ),
        ("unbounded_channel", &[]),
        ("mpsc::channel()", &[]),
        (
            "std::thread::sleep",
            &["bus/cli/src/bench/", "bus/wasmtime/src/"],
        ),
        (".unwrap()", &[]),
        ("todo!(", &[]),
        ("unsafe {", &[TRUSTED]),
        // Only what this program compiled may be vouched for.
        ("Code::from_own_compiler", &["bus/wasmtime/src/compile/"]),
    ];
    let mut wrong = Vec::new();
    for folder in ["bus", "rules/src"] {
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
    ("Condvar", &["foreground.rs", "workers.rs"]),
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
    let injected = "tokio::select! {\n    x = y => {}\n}\ntokio::time::sleep(z).await;\n";
    assert_eq!(not_simulated("injected.rs", injected).len(), 2);
    let wrong: Vec<_> = sources("bus/engine/src/pipeline")
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .flat_map(|(path, text)| {
            not_simulated(path.trim_start_matches("bus/engine/src/pipeline/"), &text)
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "sleep by the clock, and start tasks by the executor:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn modules_open_with_what_they_are() {
    for folder in ["bus", "rules/src"] {
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
