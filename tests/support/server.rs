//! The real binary, serving a folder of its own on a free port.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use edgebus_client::api::{
    DeadLetterQuery, Delivery, DeliveryFilter, DeliveryQuery, Event, EventPage, Function, Stage,
    StoredEvent,
};
use edgebus_client::{Client, Error, read};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::http::{self, Answer};

/// How long anything may take that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_edgebus"))
}

/// A serving process; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
}

/// A folder with a store and a manifest; removed when dropped.
pub(crate) struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    /// A new folder with this manifest.
    pub(crate) fn new(manifest: &str) -> Self {
        let home = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        home.write_manifest(manifest);
        home
    }

    pub(crate) fn write_manifest(&self, manifest: &str) {
        std::fs::write(self.manifest(), manifest).unwrap();
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.folder.path().join("edgebus.yaml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The command that serves this folder.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .args([
                "serve",
                "--create",
                "--listen",
                "127.0.0.1:0",
                "--free-mib-min",
                "1",
            ])
            .arg("--data")
            .arg(self.data())
            .arg("--manifest")
            .arg(self.manifest())
            .env("EDGEBUS_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        command
    }

    /// The command that serves this folder at this address.
    pub(crate) fn command_at(&self, address: SocketAddr) -> Command {
        let mut command = Command::new(binary());
        let same = self.command();
        let address = address.to_string();
        let words = same
            .get_args()
            .map(|word| word.to_string_lossy().replace("127.0.0.1:0", &address));
        command
            .args(words)
            .env("EDGEBUS_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }

    /// Serves it.
    pub(crate) fn serve(&self) -> Server {
        Server::start(&mut self.command())
    }
}

impl Server {
    /// Starts a command that serves, and waits for its banner.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut banner = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut banner)
            .unwrap();
        let address = banner
            .trim()
            .rsplit("http://")
            .next()
            .and_then(|address| address.parse::<SocketAddr>().ok())
            .unwrap_or_else(|| panic!("the server said {banner:?}"));
        Self {
            child,
            address,
            client: Client::new(&format!("http://{address}")).unwrap(),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        self.request("POST", path, &[("content-type", content_type)], body)
    }

    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        http::try_request(self.address, method, path, headers, body)
            .unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    /// Publishes one event on the default bus and gives its position.
    pub(crate) fn publish(&self, id: &str, kind: &str, data: &Value) -> u64 {
        let event = Event {
            data: Some(serde_json::value::to_raw_value(data).unwrap()),
            ..Event::new(id, "/test", kind)
        };
        done(self.client.publish(&event)).position
    }

    /// All events of the bus `default`, oldest first, each read as an `E`.
    pub(crate) fn events<E: DeserializeOwned>(&self) -> Vec<StoredEvent<E>> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/v1/buses/default/events?limit=1000{after}");
            let answer = done(self.client.get(&path));
            let page: EventPage<StoredEvent<E>> = read(&answer).unwrap();
            all.extend(page.events);
            match page.next {
                Some(next) => after = format!("&after={next}"),
                None => return all,
            }
        }
    }

    /// The same, with the events as structs.
    pub(crate) fn log(&self) -> Vec<StoredEvent> {
        self.events()
    }

    /// All dead letters.
    pub(crate) fn dead_letters(&self) -> Vec<Delivery> {
        let mut query = DeadLetterQuery::default();
        let mut all = Vec::new();
        loop {
            let page = done(self.client.dead_letters(&query));
            all.extend(page.dead_letters);
            query.after = page.next;
            if query.after.is_none() {
                return all;
            }
        }
    }

    /// Every delivery in one stage.
    pub(crate) fn deliveries(&self, stage: Stage) -> Vec<Delivery> {
        let mut query = DeliveryQuery {
            stage: Some(stage),
            filter: DeliveryFilter {
                limit: Some(1_000),
                ..DeliveryFilter::default()
            },
            ..DeliveryQuery::default()
        };
        let mut all = Vec::new();
        loop {
            let page = done(self.client.deliveries(&query));
            all.extend(page.deliveries);
            query.filter.after = page.next;
            if query.filter.after.is_none() {
                return all;
            }
        }
    }

    /// All rows of a listing as they are sent, from page to page; they stand under `rows`.
    pub(crate) fn list(&self, path: &str, rows: &str) -> Vec<Value> {
        let sign = if path.contains('?') { '&' } else { '?' };
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.get(&format!("{path}{sign}limit=1000{after}"));
            let page = page.expect(200).json();
            all.extend(page[rows].as_array().unwrap().iter().cloned());
            after = match &page["next"] {
                Value::Null => return all,
                Value::String(next) => format!("&after={next}"),
                next => format!("&after={next}"),
            };
        }
    }

    /// What is deployed.
    pub(crate) fn functions(&self) -> Vec<Function> {
        done(self.client.functions()).functions
    }

    /// Waits until nothing is pending any more.
    pub(crate) fn settle(&self) {
        wait_for("every delivery to end", || {
            self.deliveries(Stage::Pending).is_empty()
        });
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it in order and gives its exit status.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.terminate();
        self.child.wait().unwrap()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory that it has, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kibibytes << 10
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        signal_to(&self.child, signal);
    }

    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a request of the client brings.
pub(crate) fn done<T>(request: impl Future<Output = Result<T, Error>>) -> T {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    let answer = RUNTIME.block_on(request);
    answer.unwrap_or_else(|error| panic!("{error}"))
}

/// Sends a signal to a process that was started here.
pub(crate) fn signal_to(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Waits until `so` is true. After [`PATIENCE`] it fails and says what it waited for.
pub(crate) fn wait_for(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::yield_now();
    }
}
