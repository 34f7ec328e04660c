//! The bus under measurement: this binary again, or another version of it, serving a new folder.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use edgebus_api::Subscription;
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};

use crate::Failure;
use crate::build::{self, build_functions, repository};
use crate::client::Client;
use crate::output::{self, Progress};

/// How long a bus may take until it is ready: a thousand functions compile on a small machine.
const READY_MAX: Duration = Duration::from_secs(120);
/// How often a condition of the bus is checked.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Builds the functions of tests/guests named and gives the folder of their components.
pub(super) async fn build(functions: &[&str], progress: &Progress) -> Result<PathBuf, Failure> {
    let repository = repository().map_err(build::failed)?;
    let components = build_functions(&repository, functions, progress)
        .await
        .map_err(build::failed)?;
    components
        .canonicalize()
        .map_err(|error| Failure::new(format!("{}: {error}", components.display())))
}

/// A serving child process.
pub(super) struct Server {
    child: Child,
    pid: Pid,
    pub(super) client: Client,
    /// `host:port`.
    pub(super) authority: String,
    /// Declared after the child, so that it goes when the bus is killed.
    _folder: Folder,
}

impl Server {
    /// Serves `manifest` in a new folder with the binary `program`, and waits until the bus is ready.
    pub(super) async fn start(
        program: &Path,
        manifest: &str,
        connections: u64,
    ) -> Result<Self, Failure> {
        let folder = Folder::new()?;
        let file = folder.0.join("edgebus.yaml");
        std::fs::write(&file, manifest)
            .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
        let mut child = serve(program, &folder.0, &file, connections)?;
        if let Some(words) = child.stderr.take() {
            tokio::spawn(forward(words));
        }
        let mut lines = child.stdout.take().map(|out| BufReader::new(out).lines());
        let banner = match &mut lines {
            Some(lines) => lines.next_line().await.ok().flatten().unwrap_or_default(),
            None => String::new(),
        };
        let url = banner
            .split_whitespace()
            .last()
            .filter(|word| word.starts_with("http://"))
            .ok_or_else(|| Failure::new(format!("the bus did not start: it said `{banner}`")))?
            .to_owned();
        let pid = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw)
            .ok_or_else(|| Failure::new("the bus ended at once"))?;
        let mut server = Self {
            child,
            pid,
            client: Client::new(&url)?,
            authority: url.trim_start_matches("http://").to_owned(),
            _folder: folder,
        };
        server.until_ready().await?;
        Ok(server)
    }

    async fn until_ready(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            match self.client.ready().await {
                Ok(_) => return Ok(()),
                Err(error) if began.elapsed() > READY_MAX => return Err(error.into()),
                Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Failure::new(format!("the bus ended with {status}")));
            }
        }
    }

    /// Processor seconds that the bus has used.
    pub(super) fn cpu_seconds(&self) -> f64 {
        cpu_seconds(&self.pid.as_raw_nonzero().to_string())
    }

    /// A counter of the bus's metrics, all label sets that contain `label` added up.
    pub(super) async fn counter(&self, name: &str, label: &str) -> Result<u64, Failure> {
        let text = self.client.metrics().await?;
        Ok(text
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum())
    }

    /// Deliveries that succeeded, of all rules whose names begin with `prefix`.
    pub(super) async fn succeeded(&self, prefix: &str) -> Result<u64, Failure> {
        let list = self.subscriptions().await?;
        let own = list.iter().filter(|row| row.rule.starts_with(prefix));
        Ok(own.map(|row| row.since_start.succeeded).sum())
    }

    /// Subscriptions with something pending, of all rules whose names begin with `prefix`.
    pub(super) async fn lagging(&self, prefix: &str) -> Result<u64, Failure> {
        let list = self.subscriptions().await?;
        let own = list.iter().filter(|row| row.rule.starts_with(prefix));
        Ok(own.map(|row| u64::from(row.oldest_pending.is_some())).sum())
    }

    async fn subscriptions(&self) -> Result<Vec<Subscription>, Failure> {
        Ok(self.client.subscriptions().await?.subscriptions)
    }

    /// Stops the bus (SIGSTOP), so that it does not disturb the measurement of another one.
    pub(super) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(super) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        // A bus that has ended shows at the next request.
        let _ = rustix::process::kill_process(self.pid, signal);
    }

    /// How often threads of the bus have gone to sleep and been woken; 0 where there is no `/proc`.
    pub(super) fn wakeups(&self) -> u64 {
        let of = |task: &Path| {
            let status = std::fs::read_to_string(task.join("status")).ok()?;
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            line.trim().parse::<u64>().ok()
        };
        self.sum_of_threads(of)
    }

    /// Processor time of the threads that there are, in nanoseconds: finer than [`Server::cpu_seconds`], but without
    /// threads that ended. 0 where there is no `/proc`.
    pub(super) fn threads_cpu_ns(&self) -> u64 {
        let of = |task: &Path| {
            let stat = std::fs::read_to_string(task.join("schedstat")).ok()?;
            stat.split_whitespace().next()?.parse::<u64>().ok()
        };
        self.sum_of_threads(of)
    }

    fn sum_of_threads(&self, of: impl Fn(&Path) -> Option<u64>) -> u64 {
        let tasks = format!("/proc/{}/task", self.pid.as_raw_nonzero());
        let Ok(tasks) = std::fs::read_dir(tasks) else {
            return 0;
        };
        tasks.flatten().filter_map(|task| of(&task.path())).sum()
    }

    /// Memory of the process that is resident, in bytes; 0 where there is no `/proc`.
    pub(super) fn resident_bytes(&self) -> u64 {
        let status = format!("/proc/{}/status", self.pid.as_raw_nonzero());
        let status = std::fs::read_to_string(status).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap_or_default();
        let kibibytes = line.trim().trim_end_matches(" kB").parse::<u64>();
        kibibytes.unwrap_or(0) << 10
    }

    /// Ends the bus at once and removes its folder.
    pub(super) async fn kill(mut self) {
        // One that has just ended is no error.
        let _ = self.child.kill().await;
    }

    /// Stops the bus in order and removes its folder.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        self.signal(Signal::TERM);
        let status = self
            .child
            .wait()
            .await
            .map_err(|error| Failure::new(format!("the bus was lost: {error}")))?;
        if status.success() {
            Ok(())
        } else {
            Err(Failure::new(format!("the bus ended with {status}")))
        }
    }
}

/// Starts a binary of edgebus as a bus.
fn serve(
    program: &Path,
    folder: &Path,
    manifest: &Path,
    connections: u64,
) -> Result<Child, Failure> {
    Command::new(program)
        .args(["serve", "--create", "--listen", "127.0.0.1:0"])
        .args(["--free-mib-min", "64", "--connections-per-address"])
        .arg((connections + 8).to_string())
        .arg("--data")
        .arg(folder.join("data"))
        .arg("--manifest")
        .arg(manifest)
        .env("EDGEBUS_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::new(format!("{} can't be started: {error}", program.display())))
}

/// Passes on what the bus says, but not a line for each of a thousand functions that it starts with.
async fn forward(words: ChildStderr) {
    let mut lines = BufReader::new(words).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if !line.starts_with("  + ") {
            output::note(&line);
        }
    }
}

/// A new folder, removed when dropped; the bus in it is killed before.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Failure> {
        let name = format!("edgebus-bench-{:016x}", rand::random::<u64>());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder)
            .map_err(|error| Failure::new(format!("{}: {error}", folder.display())))?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed stays in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Processor seconds of a process, user and system, from `/proc`; 0 where there is none.
pub(super) fn cpu_seconds(pid: &str) -> f64 {
    /// `USER_HZ`, which Linux fixes at 100 for `/proc`.
    const TICKS_PER_SECOND: f64 = 100.0;
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return 0.0;
    };
    // The second field is a name in brackets that may hold spaces; utime and stime are fields 14 and 15.
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return 0.0;
    };
    let mut fields = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok());
    (fields.next().unwrap_or(0.0) + fields.next().unwrap_or(0.0)) / TICKS_PER_SECOND
}
