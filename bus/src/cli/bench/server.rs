//! The bus under measurement: this binary again, serving a new folder.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::cli::Failure;
use crate::cli::build::{self, build_functions, repository};
use crate::cli::client::Client;
use crate::cli::output::Progress;

/// The function that is called: it parses its event's data and does nothing with it.
const FUNCTION: &str = "bench-parse";

/// A serving child process.
pub(super) struct Server {
    child: Child,
    pid: u32,
    folder: PathBuf,
    pub(super) client: Client,
    /// `host:port`.
    pub(super) authority: String,
}

impl Server {
    /// Builds the function, and serves a manifest of one rule in a new folder.
    pub(super) async fn start(connections: u64) -> Result<Self, Failure> {
        let progress = Progress::start();
        let repository = repository().map_err(build::failed)?;
        let components = build_functions(&repository, &[FUNCTION], &progress)
            .await
            .map_err(build::failed)?;
        progress.say("starting a bus");
        let folder =
            std::env::temp_dir().join(format!("edgebus-bench-{:016x}", rand::random::<u64>()));
        let fault = |error: std::io::Error| Failure::new(format!("{}: {error}", folder.display()));
        std::fs::create_dir(&folder).map_err(fault)?;
        let manifest = folder.join("edgebus.yaml");
        let component = components.join("bench_parse.wasm");
        let component = component
            .canonicalize()
            .map_err(|error| Failure::new(format!("{}: {error}", component.display())))?;
        std::fs::write(
            &manifest,
            format!(
                "version: 1\nfunctions:\n  parse: {{ component: {} }}\nrules:\n  orders:\n    match: {{ type: [com.example.bench], data: {{ kind: [order] }} }}\n    to: [{{ function: parse }}]\n",
                serde_json::Value::from(component.display().to_string())
            ),
        )
        .map_err(fault)?;
        let program = std::env::current_exe()
            .map_err(|error| Failure::new(format!("this binary can't be found: {error}")))?;
        let mut child = Command::new(program)
            .args([
                "serve",
                "--create",
                "--listen",
                "127.0.0.1:0",
                "--free-mib-min",
                "64",
            ])
            .arg("--connections-per-address")
            .arg((connections + 8).to_string())
            .arg("--data")
            .arg(folder.join("data"))
            .arg("--manifest")
            .arg(&manifest)
            .env("EDGEBUS_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::new(format!("the bus can't be started: {error}")))?;
        let mut lines = child.stdout.take().map(|out| BufReader::new(out).lines());
        let banner = match &mut lines {
            Some(lines) => lines.next_line().await.ok().flatten().unwrap_or_default(),
            None => String::new(),
        };
        progress.finish();
        let url = banner
            .split_whitespace()
            .last()
            .filter(|word| word.starts_with("http://"))
            .ok_or_else(|| Failure::new(format!("the bus did not start: it said `{banner}`")))?
            .to_owned();
        let pid = child
            .id()
            .ok_or_else(|| Failure::new("the bus ended at once"))?;
        Ok(Self {
            child,
            pid,
            folder,
            client: Client::new(&url)?,
            authority: url.trim_start_matches("http://").to_owned(),
        })
    }

    /// Processor seconds that the bus has used.
    pub(super) fn cpu_seconds(&self) -> f64 {
        cpu_seconds(&self.pid.to_string())
    }

    /// A counter of the bus's metrics, all label sets that contain `label` added up.
    pub(super) async fn counter(&self, name: &str, label: &str) -> Result<u64, Failure> {
        let text = self.client.get("/metrics").await?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(text
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum())
    }

    /// Stops the bus in order and removes its folder.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        if let Some(pid) = i32::try_from(self.pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let status = self
            .child
            .wait()
            .await
            .map_err(|error| Failure::new(format!("the bus was lost: {error}")))?;
        let _ = std::fs::remove_dir_all(&self.folder);
        if status.success() {
            Ok(())
        } else {
            Err(Failure::new(format!("the bus ended with {status}")))
        }
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
