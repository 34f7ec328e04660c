//! `edgebus doctor`: checks what building and serving need, and says how to fix what is missing.
//!
//! Never here: a change to anything that was there before. It writes one file, to time a flush, under a
//! unique name, and removes it.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::build::TARGET;
use super::client::Client;
use super::output::{self, Progress};
use super::{FAILURE, Failure, OK};
use crate::program::ThisProgram;
use crate::settings::{INSTANCES_MAX, LISTEN};
use edgebus_engine::clock::Clock;
use edgebus_model::Timestamp;
use edgebus_store::Error;

/// Flushes that are timed; the middle one counts.
const FLUSHES: usize = 9;
/// A flush that takes longer makes every publish wait for it.
const FLUSH_SLOW: Duration = Duration::from_millis(20);
/// No disk can flush faster than this, so the flush was not done.
const FLUSH_HOLLOW: Duration = Duration::from_micros(5);
/// No release is older than this: 2026-11-01.
const NOW_MIN: Timestamp = Timestamp(1_793_491_200_000);
/// 2100-01-01.
const NOW_MAX: Timestamp = Timestamp(4_102_444_800_000);
/// How long a bus at the port may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// Arguments of `doctor`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus doctor
  edgebus doctor --data ./data --listen 127.0.0.1:8080

Exit code: 0 if nothing is missing, 1 otherwise. Warnings don't count.")]
pub(super) struct Arguments {
    /// The folder of the store, there or not yet.
    #[arg(long, env = "EDGEBUS_DATA", value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// Where the bus is to listen.
    #[arg(long, env = "EDGEBUS_LISTEN", value_name = "ADDR", default_value_t = LISTEN)]
    listen: SocketAddr,
}

/// What a look came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Good,
    Warning,
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Check {
    what: &'static str,
    state: State,
    found: String,
    remedy: String,
}

impl Check {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self::new(what, State::Good, found, "")
    }

    fn warning(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(what, State::Warning, found, remedy)
    }

    fn missing(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(what, State::Missing, found, remedy)
    }

    fn new(
        what: &'static str,
        state: State,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            what,
            state,
            found: found.into(),
            remedy: remedy.into(),
        }
    }
}

pub(super) async fn run(program: ThisProgram, arguments: Arguments) -> Result<u8, Failure> {
    let progress = Progress::on_terminal("looking at toolchain, disk, addresses, port and clock");
    let folder = arguments.data.clone();
    let mut checks = tokio::task::spawn_blocking(move || {
        let mut checks = vec![toolchain(), target()];
        checks.push(store(&folder, program.store_in_use(&folder)));
        let free = nearest(&folder).and_then(|folder| program.free_bytes(&folder));
        checks.extend(disk(&folder, free));
        checks.push(instances(program.allocation(INSTANCES_MAX)));
        checks
    })
    .await
    .map_err(|error| Failure::new(error.to_string()))?;
    checks.push(port(arguments.listen).await);
    checks.push(clock(Clock::system(Timestamp(0)).now(), synchronised()));
    progress.finish();
    output::print(show(&checks, output::coloured()).trim_end());
    let missing = checks
        .iter()
        .filter(|check| check.state == State::Missing)
        .count();
    Ok(if missing == 0 { OK } else { FAILURE })
}

/// The checks as people read them.
fn show(checks: &[Check], coloured: bool) -> String {
    let mut out = String::new();
    for check in checks {
        let (mark, colour) = match check.state {
            State::Good => ("ok  ", "32"),
            State::Warning => ("warn", "33"),
            State::Missing => ("FAIL", "31"),
        };
        let mark = if coloured {
            format!("\x1b[{colour}m{mark}\x1b[0m")
        } else {
            mark.to_owned()
        };
        // Writing to a String can't fail.
        let _ = writeln!(out, "{mark}  {:<10}  {}", check.what, check.found);
        if !check.remedy.is_empty() {
            let _ = writeln!(out, "                  → {}", check.remedy);
        }
    }
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let line = match (count(State::Missing), count(State::Warning)) {
        (0, 0) => "everything is there; try: edgebus demo".to_owned(),
        (0, warnings) => format!("{warnings} to look at, nothing missing; try: edgebus demo"),
        (missing, _) => format!("{missing} missing"),
    };
    let _ = writeln!(out, "{line}");
    out
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(|line| line.trim().to_owned())
}

fn toolchain() -> Check {
    const WHAT: &str = "toolchain";
    let needed = env!("CARGO_PKG_RUST_VERSION");
    let Some(found) = first_line("rustc", &["--version"]) else {
        return Check::missing(
            WHAT,
            "rustc can't be run; Rust functions can't be built here",
            "install Rust from https://rustup.rs; deployed components run without it",
        );
    };
    match version(&found) {
        Some(own) if version(needed).is_some_and(|needed| own < needed) => Check::missing(
            WHAT,
            format!("{found}; functions need {needed} or newer"),
            "rustup update stable",
        ),
        _ => Check::good(WHAT, found),
    }
}

/// Major and minor of the first version in `text`.
fn version(text: &str) -> Option<(u32, u32)> {
    let word = text
        .split_whitespace()
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    let mut numbers = word.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn target() -> Check {
    const WHAT: &str = "target";
    let Some(root) = first_line("rustc", &["--print", "sysroot"]) else {
        return Check::missing(WHAT, "not known without rustc", "install Rust first");
    };
    if Path::new(&root).join("lib/rustlib").join(TARGET).is_dir() {
        Check::good(WHAT, format!("{TARGET} is installed"))
    } else {
        Check::missing(
            WHAT,
            format!("{TARGET} is not installed"),
            format!(
                "rustup target add {TARGET}; `edgebus dev` and `edgebus demo` do it by themselves"
            ),
        )
    }
}

fn store(folder: &Path, in_use: Result<Option<bool>, Error>) -> Check {
    const WHAT: &str = "folder";
    let place = folder.display();
    match in_use {
        Err(error) => Check::missing(
            WHAT,
            error.to_string(),
            "name the right folder with --data, or restore the store's files",
        ),
        Ok(Some(true)) => Check::good(WHAT, format!("{place} holds a store that a bus has open")),
        Ok(Some(false)) => Check::good(WHAT, format!("{place} holds a store")),
        Ok(None) => match nearest(folder) {
            Some(parent) if writable(&parent).is_ok() => Check::good(
                WHAT,
                format!("{place} holds no store yet; `serve --create` can make one"),
            ),
            Some(parent) => Check::missing(
                WHAT,
                format!("{} can't be written", parent.display()),
                "let this user write there, or choose another folder with --data",
            ),
            None => Check::missing(
                WHAT,
                format!("{place} is nowhere"),
                "choose another folder with --data",
            ),
        },
    }
}

/// The folder itself, or the nearest one above it that is there.
fn nearest(folder: &Path) -> Option<PathBuf> {
    let whole = std::path::absolute(folder).ok()?;
    whole
        .ancestors()
        .find(|above| above.is_dir())
        .map(Path::to_owned)
}

/// The name of the file that is written and removed again.
fn probe_path(folder: &Path) -> PathBuf {
    folder.join(format!(".edgebus-doctor-{:08x}", rand::random::<u32>()))
}

fn writable(folder: &Path) -> std::io::Result<()> {
    let path = probe_path(folder);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(path)
}

fn disk(folder: &Path, free: Option<(u64, u64)>) -> Vec<Check> {
    let Some(folder) = nearest(folder) else {
        return Vec::new();
    };
    let mut checks = Vec::new();
    if let Some((free, floor)) = free {
        let found = format!("{} MiB free", free >> 20);
        checks.push(if free < floor {
            Check::missing(
                "disk",
                format!(
                    "{found}, and publishes are refused below {} MiB",
                    floor >> 20
                ),
                "free some space, or lower --free-mib-min of `serve`",
            )
        } else if free < 4 * floor {
            Check::warning(
                "disk",
                found,
                "the log grows with every event: keep some GiB free",
            )
        } else {
            Check::good("disk", found)
        });
    }
    match flush_time(&folder) {
        Ok(time) => checks.push(flush(time)),
        Err(error) => checks.push(Check::missing(
            "flush",
            format!("{} can't be written and flushed: {error}", folder.display()),
            "let this user write there, or choose another folder with --data",
        )),
    }
    checks
}

/// Whether the address space is large enough for the pool of instances.
fn instances(allocation: Result<(String, bool), String>) -> Check {
    const WHAT: &str = "instances";
    match allocation {
        Ok((found, true)) => Check::good(WHAT, found),
        Ok((found, false)) => Check::warning(
            WHAT,
            found,
            "functions run all the same, fewer at once or a little slower; without a limit on addresses (`ulimit -v unlimited`) a 64-bit kernel has room for all",
        ),
        Err(error) => Check::missing(WHAT, error, "functions can't run here: look at `ulimit -a`"),
    }
}

fn flush(time: Duration) -> Check {
    let found = format!(
        "a flushed write takes {}",
        output::duration(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    );
    if time > FLUSH_SLOW {
        let remedy = "publishers wait for it, one flush for all that are waiting: publish in batches or from many connections, or use a faster disk";
        Check::warning("flush", found, remedy)
    } else if time < FLUSH_HOLLOW {
        let remedy = "that is faster than a disk answers: on a memory disk, or one that only says so, what was accepted is lost with the power";
        Check::warning("flush", found, remedy)
    } else {
        Check::good("flush", found)
    }
}

/// How long a write of 4 KiB takes until it is on stable storage.
fn flush_time(folder: &Path) -> std::io::Result<Duration> {
    let path = probe_path(folder);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)?;
    let timed = flushes(&mut file);
    std::fs::remove_file(path)?;
    timed
}

fn flushes(file: &mut File) -> std::io::Result<Duration> {
    let mut times = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        let began = Instant::now();
        file.write_all(&[0x5A; 4096])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times[FLUSHES / 2])
}

async fn port(listen: SocketAddr) -> Check {
    const WHAT: &str = "port";
    let error = match tokio::net::TcpListener::bind(listen).await {
        Ok(_) => return Check::good(WHAT, format!("{listen} is free")),
        Err(error) => error,
    };
    let answer = async {
        let client = Client::new(&format!("http://{listen}")).ok()?;
        let version = client.version().await.ok()?;
        (version.name == "edgebus").then(|| crate::output::plain(&version.version).into_owned())
    };
    match tokio::time::timeout(ANSWER_WAIT, answer).await {
        Ok(Some(version)) => Check::good(WHAT, format!("an edgebus {version} answers at {listen}")),
        _ => Check::missing(
            WHAT,
            format!("{listen} can't be listened on: {error}"),
            "choose another one with --listen, or stop what has it",
        ),
    }
}

/// Whether a time service keeps the clock, if the system says.
fn synchronised() -> Option<bool> {
    let arguments = ["show", "--property=NTPSynchronized", "--value"];
    match first_line("timedatectl", &arguments)?.as_str() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn clock(now: Timestamp, synchronised: Option<bool>) -> Check {
    const WHAT: &str = "clock";
    if now < NOW_MIN || now > NOW_MAX {
        return Check::missing(
            WHAT,
            format!("it says {now}"),
            "set it: due times of retries, ages and the dedupe window count by it",
        );
    }
    match synchronised {
        Some(true) => Check::good(WHAT, format!("{now}, kept by a time service")),
        Some(false) => Check::warning(
            WHAT,
            format!("{now}, kept by no time service"),
            "switch one on: timedatectl set-ntp true",
        ),
        None => Check::good(WHAT, format!("{now}; clock synchronization status unknown")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_far_off_is_missing() {
        let state = |now, kept| clock(now, kept).state;
        assert_eq!(state(Timestamp(0), Some(true)), State::Missing);
        assert_eq!(state(Timestamp(NOW_MAX.0 + 1), None), State::Missing);
        assert_eq!(state(NOW_MIN, Some(true)), State::Good);
        assert_eq!(state(NOW_MIN, Some(false)), State::Warning);
        assert_eq!(state(NOW_MIN, None), State::Good);
    }

    #[test]
    fn a_flush_is_judged_by_its_time() {
        assert_eq!(flush(Duration::from_micros(400)).state, State::Good);
        assert_eq!(flush(Duration::from_millis(30)).state, State::Warning);
        assert_eq!(flush(Duration::from_nanos(300)).state, State::Warning);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("rustc 1.95.0 (abc 2026-04-01)"), Some((1, 95)));
        assert_eq!(version("1.100"), Some((1, 100)));
        assert!(version("rustc 1.100.0") > version("1.95"));
        assert_eq!(version("none"), None);
    }

    #[test]
    fn a_look_reads_line_by_line() {
        let checks = [
            Check::good("port", "127.0.0.1:7070 is free"),
            Check::missing("target", "it is not installed", "rustup target add it"),
        ];
        assert_eq!(
            show(&checks, false),
            "ok    port        127.0.0.1:7070 is free\nFAIL  target      it is not installed\n                  → rustup target add it\n1 missing\n"
        );
        assert!(show(&checks, true).contains("\x1b[31mFAIL"));
    }

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        assert!(flush_time(folder.path()).unwrap() > Duration::ZERO);
        writable(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let absent = folder.path().join("a/b");
        assert_eq!(nearest(&absent).unwrap(), folder.path());
        assert_eq!(store(&absent, Ok(None)).state, State::Good);
    }
}
