//! Builds the guests that tests need, once for each test process, and says where they are.
//!
//! Included by path into the unit tests of `bus` and into the integration tests; nothing here starts a
//! bus. The target is added with rustup if it is missing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Everything that [`path`] knows.
const PACKAGES: [&str; 7] = [
    "bench-parse",
    "hostile",
    "idle",
    "tally",
    "triage",
    "order-totals",
    "enricher",
];
const TARGET: &str = "wasm32-wasip2";

/// The workspace's folder; every package that includes this file is two folders below it.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the package is a folder of the workspace")
}

/// The component that the package `name` makes; builds all of them when first called.
pub(crate) fn path(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    assert!(
        PACKAGES.contains(&name),
        "`{name}` is no guest: {PACKAGES:?}"
    );
    let folder = FOLDER.get_or_init(build);
    folder.join(format!("{}.wasm", name.replace('-', "_")))
}

/// The component's bytes.
pub(crate) fn component(name: &str) -> Vec<u8> {
    let path = path(name);
    std::fs::read(&path)
        .map_err(|error| format!("{}: {error}", path.display()))
        .expect("the build made it")
}

fn build() -> PathBuf {
    let root = root();
    add_target(root);
    // The tests' own build holds the lock of its target folder no longer when tests run.
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(root)
        .args(["build", "--release", "--target", TARGET, "--target-dir"])
        .arg(&target);
    for package in PACKAGES {
        command.args(["-p", package]);
    }
    run(&mut command);
    target.join(TARGET).join("release")
}

fn add_target(root: &Path) {
    let listed = Command::new("rustup")
        .current_dir(root)
        .args(["target", "list", "--installed"])
        .output();
    // Without rustup the toolchain has the target or the build says that it hasn't.
    let Ok(listed) = listed else { return };
    if !String::from_utf8_lossy(&listed.stdout).contains(TARGET) {
        run(Command::new("rustup")
            .current_dir(root)
            .args(["target", "add", TARGET]));
    }
}

fn run(command: &mut Command) {
    // What cargo set for the tests' own build is not meant for this one.
    for name in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
    ] {
        command.env_remove(name);
    }
    let output = command.output().expect("cargo and rustup start");
    assert!(
        output.status.success(),
        "{command:?}:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
