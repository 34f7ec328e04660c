//! Builds the functions that come with the repository, and adds the WebAssembly target where it is missing.
//!
//! Never here: a network access of our own; `rustup` and `cargo` do what they do.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Failure;
use super::output::Progress;
use crate::model::Code;

/// The target that functions are compiled for.
pub(super) const TARGET: &str = "wasm32-wasip2";

/// A build that failed, with what the tool said.
pub(super) fn failed(reason: String) -> Failure {
    Failure::new(reason).coded(Code::BuildFailed)
}

/// The folder of the repository that this binary was built from, if it is still there.
///
/// # Errors
/// Says how to get a checkout.
pub(super) fn repository() -> Result<PathBuf, String> {
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
        .to_owned();
    for candidate in [PathBuf::from("."), built_in] {
        if candidate.join("samples/edgebus.yaml").is_file()
            && candidate.join("Cargo.toml").is_file()
        {
            return Ok(candidate);
        }
    }
    Err("the sample functions are built from the repository, and it is not here: run this inside a checkout of edgebus".to_owned())
}

/// Builds `packages` in release mode for [`TARGET`] and returns the folder of the components.
///
/// # Errors
/// The last lines of what the tool said.
pub(super) fn build_functions(
    repository: &Path,
    packages: &[&str],
    progress: &Progress,
) -> Result<PathBuf, String> {
    ensure_target(repository, progress)?;
    progress.say("building the functions with cargo");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(repository)
        .args(["build", "--release", "--target", TARGET]);
    for package in packages {
        command.args(["-p", package]);
    }
    run(&mut command, progress)?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| repository.join("target"), PathBuf::from);
    Ok(target.join(TARGET).join("release"))
}

fn ensure_target(repository: &Path, progress: &Progress) -> Result<(), String> {
    let root = Command::new("rustc")
        .current_dir(repository)
        .args(["--print", "sysroot"])
        .output()
        .map_err(|error| {
            format!("rustc can't be run: {error}; install Rust from https://rustup.rs")
        })?;
    let root = PathBuf::from(String::from_utf8_lossy(&root.stdout).trim());
    if root.join("lib/rustlib").join(TARGET).is_dir() {
        return Ok(());
    }
    progress.say("adding the target wasm32-wasip2");
    run(
        Command::new("rustup")
            .current_dir(repository)
            .args(["target", "add", TARGET]),
        progress,
    )
    .map_err(|error| format!("the target {TARGET} is missing and rustup could not add it: {error}"))
}

/// Runs a command, shows its last line as progress, and keeps the last lines for the case that it fails.
fn run(command: &mut Command, progress: &Progress) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("`{name}` can't be run: {error}"))?;
    let mut last = std::collections::VecDeque::new();
    if let Some(errors) = child.stderr.take() {
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            progress.detail(line.trim());
            if last.len() == 30 {
                last.pop_front();
            }
            last.push_back(line);
        }
    }
    let status = child
        .wait()
        .map_err(|error| format!("`{name}` was lost: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!(
        "`{name}` failed ({status}):\n{}",
        Vec::from(last).join("\n")
    ))
}
