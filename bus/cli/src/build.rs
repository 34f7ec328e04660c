//! Builds functions: runs the tools of their languages, keeps their output, and adds the WebAssembly target if
//! it is missing. `demo` and `dev` share it.
//!
//! Never here: a network access of our own; `rustup`, `cargo` and the manifest's build commands may use the
//! network.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use super::Failure;
use super::output::Progress;
use edgebus_model::Code;

/// The target that functions are compiled for.
pub(super) const TARGET: &str = "wasm32-wasip2";

/// A build that failed, with what the tool said.
pub(super) fn failed(reason: String) -> Failure {
    Failure::new(reason).coded(Code::BuildFailed)
}
/// How much of a tool's words is kept, in bytes; compilers put the first error first.
const WORDS_BYTES_MAX: usize = 256 << 10;
/// How long to wait for the output of a tool that has ended, if a process that it started still holds the
/// pipe.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The folder of the repository that this binary was built from, if it is still there.
///
/// # Errors
/// Says how to get a checkout.
pub(super) fn repository() -> Result<PathBuf, String> {
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap_or(Path::new("."))
        .to_owned();
    for candidate in [PathBuf::from("."), built_in] {
        if candidate.join("samples/edgebus.yaml").is_file()
            && candidate.join("Cargo.toml").is_file()
        {
            return Ok(candidate);
        }
    }
    Err("the sample functions are built from the repository, and it is not here: run this inside a checkout of edgebus, or make a project of your own with `edgebus init`".to_owned())
}

/// Builds `packages` in release mode for [`TARGET`] and returns the folder of the components.
///
/// # Errors
/// What the tool said.
pub(super) async fn build_functions(
    repository: &Path,
    packages: &[&str],
    progress: &Progress,
) -> Result<PathBuf, String> {
    ensure_target(repository, progress).await?;
    progress.say("building the functions with cargo");
    // The samples' manifest says where its components are, whatever CARGO_TARGET_DIR says.
    let target = std::path::absolute(repository.join("target"))
        .map_err(|error| format!("the folder {} has no path: {error}", repository.display()))?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(repository)
        .args(["build", "--release", "--target", TARGET, "--target-dir"])
        .arg(&target);
    for package in packages {
        command.args(["-p", package]);
    }
    run(command, "cargo", progress).await?;
    Ok(target.join(TARGET).join("release"))
}

/// Runs a manifest's build command for `functions` in `folder`, and returns the tool's output without its
/// progress.
///
/// # Errors
/// What the tool said.
pub(super) async fn build_with(
    command: &str,
    functions: &str,
    folder: &Path,
    progress: &Progress,
) -> Result<String, String> {
    if command.contains(TARGET) {
        ensure_target(folder, progress).await?;
    }
    progress.say(&format!("building {functions}"));
    let mut shell = Command::new("sh");
    shell.current_dir(folder).args(["-c", command]);
    run(shell, command, progress).await
}

/// What makes cargo build into another folder than `target`: a variable, or a configuration file of `folder`,
/// of one above it, or of the user.
pub(super) fn target_dir(folder: &Path) -> Option<String> {
    let variables = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"];
    let set = variables
        .into_iter()
        .find(|name| std::env::var_os(name).is_some());
    if let Some(name) = set {
        return Some(format!("{name} is set"));
    }
    let whole = std::path::absolute(folder).ok()?;
    let above = whole.ancestors().map(|folder| folder.join(".cargo"));
    let user = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let user = user.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let mut files = above
        .chain(user)
        .flat_map(|folder| ["config.toml", "config"].map(|name| folder.join(name)));
    let says = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines()
            .any(|line| line.trim_start().starts_with("target-dir"))
    };
    let file = files.find(says)?;
    Some(format!("{} sets `target-dir`", file.display()))
}

/// Adds [`TARGET`] to the toolchain that `folder` uses, if it is missing.
async fn ensure_target(folder: &Path, progress: &Progress) -> Result<(), String> {
    let mut ask = Command::new("rustc");
    ask.current_dir(folder).args(["--print", "sysroot"]);
    let root = tokio::process::Command::from(ask)
        .output()
        .await
        .map_err(|error| {
            format!("rustc can't be run: {error}; install Rust from https://rustup.rs")
        })?;
    let root = PathBuf::from(String::from_utf8_lossy(&root.stdout).trim());
    if root.join("lib/rustlib").join(TARGET).is_dir() {
        return Ok(());
    }
    progress.say("adding the target wasm32-wasip2");
    let mut add = Command::new("rustup");
    add.current_dir(folder).args(["target", "add", TARGET]);
    let added = run(add, "rustup", progress).await;
    added.map(|_| ()).map_err(|error| {
        format!("the target {TARGET} is missing and rustup could not add it: {error}")
    })
}

/// Runs a command to its end, with its last line as progress; `name` is what errors call it. Dropped
/// before the end, it stops the command and what the command started.
async fn run(mut command: Command, name: &str, progress: &Progress) -> Result<String, String> {
    let lost = |error: std::io::Error| format!("`{name}` can't be run: {error}");
    let (words, end) = std::io::pipe().map_err(lost)?;
    // One pipe for both, so that lines stay in their order.
    command
        .stdin(Stdio::null())
        .stdout(end.try_clone().map_err(lost)?)
        .stderr(end)
        .process_group(0);
    if let Some(colour) = tool_colour() {
        command.env("CARGO_TERM_COLOR", colour);
    }
    let mut command = tokio::process::Command::from(command);
    let mut child = command.spawn().map_err(lost)?;
    // The command holds the writing end, and reading ends only when nobody does.
    drop(command);
    let mut group = Group(child.id());
    let mut words = Receiver::from_owned_fd(OwnedFd::from(words)).map_err(lost)?;
    let mut kept = Words::default();
    let status = loop {
        tokio::select! {
            read = kept.read(&mut words, progress) => match read {
                Ok(true) => {}
                _ => break child.wait().await,
            },
            status = child.wait() => {
                let rest = async { while let Ok(true) = kept.read(&mut words, progress).await {} };
                // Read what is there. A process that was left behind may keep the pipe open.
                let _ = tokio::time::timeout(LAST_WORDS, rest).await;
                break status;
            }
        }
    };
    group.0 = None;
    kept.end(name, status.map_err(lost)?)
}

/// Whether a tool should print colours, unless the environment says so already. The tool sees no terminal,
/// but we may have one.
fn tool_colour() -> Option<OsString> {
    let silent = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let said = std::env::var_os("CARGO_TERM_COLOR").is_some();
    (std::io::stderr().is_terminal() && !silent && !said).then(|| "always".into())
}

/// The processes of a command, which are asked to stop when this is dropped.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let id = self.0.and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id.and_then(rustix::process::Pid::from_raw) {
            // One that has just ended is no error.
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::TERM);
        }
    }
}

/// The first words of a tool.
#[derive(Default)]
struct Words {
    kept: Vec<u8>,
    left_out: usize,
}

impl Words {
    /// Reads once; false at the end.
    async fn read(&mut self, from: &mut Receiver, progress: &Progress) -> std::io::Result<bool> {
        let mut buffer = [0; 8 << 10];
        let count = from.read(&mut buffer).await?;
        let new = &buffer[..count];
        let room = WORDS_BYTES_MAX - self.kept.len();
        self.kept.extend_from_slice(&new[..count.min(room)]);
        self.left_out += count.saturating_sub(room);
        let text = String::from_utf8_lossy(new);
        if let Some(line) = text.lines().rev().find(|line| !line.trim().is_empty()) {
            progress.detail(without_colour(line).trim());
        }
        Ok(count > 0)
    }

    fn end(self, name: &str, status: ExitStatus) -> Result<String, String> {
        let mut text = without_progress(&String::from_utf8_lossy(&self.kept));
        if self.left_out > 0 {
            text.push_str(&format!("… and {} bytes more", self.left_out));
        }
        if status.success() {
            Ok(text)
        } else {
            Err(format!("`{name}` failed ({status}):\n{}", text.trim_end()))
        }
    }
}

/// The progress lines of cargo and rustup.
const PROGRESS: [&str; 16] = [
    "Adding",
    "Blocking",
    "Building",
    "Checking",
    "Compiling",
    "Dirty",
    "Downloaded",
    "Downloading",
    "Finished",
    "Fresh",
    "Locking",
    "Packaging",
    "Running",
    "Unpacking",
    "Updating",
    "info:",
];

/// `text` without progress lines.
fn without_progress(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let plain = without_colour(line);
        let first = plain.split_whitespace().next().unwrap_or("");
        let indented = plain.starts_with(' ') || first == "info:";
        if !(indented && PROGRESS.contains(&first)) {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// `line` without the sequences that colour it.
fn without_colour(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut parts = line.split('\x1b');
    out.push_str(parts.next().unwrap_or(""));
    for part in parts {
        let rest = part.find(|end: char| end.is_ascii_alphabetic());
        out.push_str(rest.map_or("", |end| &part[end + 1..]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(script: &str) -> Result<String, String> {
        let folder = std::env::temp_dir();
        build_with(script, "f", &folder, &Progress::start()).await
    }

    #[tokio::test]
    async fn words_are_kept_in_their_order() {
        assert_eq!(
            check("echo one; echo two >&2; echo three").await,
            Ok("one\ntwo\nthree\n".to_owned())
        );
        let said = check("echo '   Compiling x'; echo 'error: no'; exit 3").await;
        assert_eq!(
            said,
            Err("`echo '   Compiling x'; echo 'error: no'; exit 3` failed (exit status: 3):\nerror: no".to_owned())
        );
        let long = check("yes 123456789 | head -n 100000").await;
        let long = long.unwrap();
        assert!(long.len() < WORDS_BYTES_MAX + 100);
        assert!(long.ends_with("bytes more"), "{}", &long[long.len() - 40..]);
        // A process that is left behind does not block anything.
        assert_eq!(check("sleep 3 & echo gone").await, Ok("gone\n".to_owned()));
    }

    #[test]
    fn progress_and_colour_are_told_from_words() {
        let text = "\x1b[1m\x1b[32m   Compiling\x1b[0m hello v0.1.0\n\x1b[1merror\x1b[0m: no\n  --> src/lib.rs:3:1\n    Finished x\nBuilding is fun\n";
        assert_eq!(
            without_progress(text),
            "\x1b[1merror\x1b[0m: no\n  --> src/lib.rs:3:1\nBuilding is fun\n"
        );
        assert_eq!(without_colour("\x1b[1m\x1b[32mok\x1b[0m\x1b"), "ok");
    }
}
