//! `edgebus serve`: one bus, from its folder, until it is told to stop.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::output::{self, Progress};
use super::validate::{self, Checked, Purpose};
use super::{Failure, OK, STORE_FAILED};
use crate::api;
use crate::assembly::{self, Running};
use crate::manifest;
use crate::model::{Code, Name};
use crate::settings;

/// Arguments of `serve`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus serve --data ./data --create --manifest edgebus.yaml
  edgebus serve --data ./data --listen 127.0.0.1:8080")]
pub(super) struct Arguments {
    /// The folder of the store.
    #[arg(long, env = "EDGEBUS_DATA", value_name = "DIR")]
    data: PathBuf,
    /// The manifest to put in force; without it, the one that was in force stays.
    #[arg(long, env = "EDGEBUS_MANIFEST", value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Where to listen; loopback only.
    #[arg(long, env = "EDGEBUS_LISTEN", value_name = "ADDR", default_value_t = settings::LISTEN)]
    listen: SocketAddr,
    /// Make a new store if the folder is missing or empty; one that is there is opened as it is.
    #[arg(long)]
    create: bool,
    /// Refuse publishes while the disk has less free space than this, in MiB [default: 256, or a
    /// twentieth of a disk smaller than 5 GiB].
    #[arg(long, env = "EDGEBUS_FREE_MIB_MIN", value_name = "MIB")]
    free_mib_min: Option<u64>,
    /// Memory for pages of the store, in MiB.
    #[arg(
        long,
        env = "EDGEBUS_CACHE_MIB",
        value_name = "MIB",
        default_value_t = 256
    )]
    cache_mib: usize,
    /// A name that requests may be for, beside IP addresses and localhost (for a proxy in front).
    #[arg(
        long = "allowed-host",
        env = "EDGEBUS_ALLOWED_HOSTS",
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = api::allowed_host
    )]
    allowed_hosts: Vec<String>,
    /// Connections from one address, which may be a proxy with all clients behind it.
    #[arg(
        long,
        env = "EDGEBUS_CONNECTIONS_PER_ADDRESS",
        value_name = "N",
        default_value_t = 1_024
    )]
    connections_per_address: usize,
    /// Instances of functions at the same time; fewer where the process has not enough addresses for them.
    #[arg(
        long,
        env = "EDGEBUS_INSTANCES",
        value_name = "N",
        default_value_t = settings::INSTANCES_MAX,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    instances: u32,
    /// How long compiling one component may take, in seconds.
    #[arg(
        long,
        env = "EDGEBUS_COMPILE_SECONDS",
        value_name = "S",
        default_value_t = settings::COMPILE_TIME_MAX.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..=3_600)
    )]
    compile_seconds: u64,
    /// Memory that compiling one component may take, in MiB; 1024, or half of the machine's if that is less,
    /// unless told otherwise.
    #[arg(
        long,
        env = "EDGEBUS_COMPILE_MIB",
        value_name = "MIB",
        value_parser = clap::value_parser!(u64).range(32..=1 << 20)
    )]
    compile_mib: Option<u64>,
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    init_logs("info");
    let settings = settings::Serve {
        data: arguments.data,
        create: arguments.create,
        listen: arguments.listen,
        manifest: arguments.manifest,
        cache_bytes: arguments.cache_mib << 20,
        free_bytes_min: arguments.free_mib_min.map(|mib| mib << 20),
        allowed_hosts: arguments.allowed_hosts,
        connections_per_address_max: arguments.connections_per_address,
        instances_max: arguments.instances,
        compile_time_max: Duration::from_secs(arguments.compile_seconds),
        compile_bytes_max: arguments.compile_mib.map(|mib| mib << 20),
    };
    let mut signals = Signals::install()?;
    let mut serving = Serving::start(&settings).await?;
    output::print(&format!("edgebus listens on http://{}", serving.address));
    output::print(&format!(
        "  try: {} rules ls --url http://{}",
        super::shown_program(),
        serving.address
    ));
    serving.until(signals.stop()).await?;
    serving.finish(&mut signals).await
}

fn log_failed(reason: &str) -> Failure {
    let message = format!(
        "the log failed while it was written: {reason}\nThe outcome of requests that were not answered is unknown: repeat them with the same source and id. The next start recovers."
    );
    Failure {
        code: STORE_FAILED,
        ..Failure::new(message).coded(Code::LogFailed)
    }
}

/// Logs go to standard error; `EDGEBUS_LOG` chooses (as in `info` or `edgebus=debug`), else `usual`.
pub(super) fn init_logs(usual: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("EDGEBUS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(usual));
    // A second initialisation, in tests, is no fault.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

/// The signals that ask for an orderly stop.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn install() -> Result<Self, Failure> {
        let install = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(format!("signals can't be handled: {error}"))
                    .coded(Code::SystemRefused)
            })
        };
        Ok(Self {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
        })
    }

    /// Resolves at the next signal.
    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Listens; on loopback only.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    if !address.ip().is_loopback() {
        return Err(Failure::configuration(format!(
            "{address} is not a loopback address, and without keys and TLS edgebus listens on loopback only: use 127.0.0.1:{} and a proxy in front of it",
            address.port()
        ))
        .coded(Code::ListenNotLoopback));
    }
    TcpListener::bind(address).await.map_err(|error| {
        Failure::new(format!(
            "{address} can't be listened on: {error}; choose another with --listen"
        ))
        .coded(Code::ListenRefused)
    })
}

/// A bus that serves its API.
pub(super) struct Serving {
    pub(super) running: Running,
    pub(super) address: SocketAddr,
    stop: tokio::sync::oneshot::Sender<()>,
    api: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Serving {
    /// Checks the manifest, opens the store, starts the bus, puts the manifest in force, and listens:
    /// in this order, so that a fault of the configuration changes nothing.
    pub(super) async fn start(settings: &settings::Serve) -> Result<Self, Failure> {
        let configuration = settings
            .manifest
            .as_deref()
            .map(Configuration::read)
            .transpose()?;
        let listener = bind(settings.listen).await?;
        let address = listener.local_addr().map_err(|error| {
            Failure::new(format!("the listener has no address: {error}")).coded(Code::SystemRefused)
        })?;
        let progress = Arc::new(Progress::start());
        let running = assembly::start(settings, &progress.of_start())
            .await
            .map_err(|error| {
                progress.finish();
                let mut message = error.to_string();
                let nothing_there = std::fs::read_dir(&settings.data)
                    .map_or(true, |mut files| files.next().is_none());
                if nothing_there && !settings.create {
                    message.push_str("\n  to make a new store there: add --create");
                }
                Failure::new(message).coded(error.code())
            })?;
        if let Some(configuration) = configuration {
            configuration
                .warnings
                .iter()
                .for_each(|line| output::note(line));
            progress.say("putting the manifest in force");
            let applied = running
                .bus
                .apply_with_components(&configuration.text, &configuration.components, false)
                .await;
            progress.finish();
            match applied {
                Ok(plan) => plan
                    .changes
                    .iter()
                    .for_each(|change| output::note(&format!("  {change}"))),
                Err(error) => {
                    let live = running.pipeline.stop().await;
                    let failure = configuration.failure(&error);
                    let code = if live { failure.code } else { STORE_FAILED };
                    return Err(Failure { code, ..failure });
                }
            }
        }
        progress.finish();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let telemetry = running.telemetry.clone();
        let limits = api::Limits {
            allowed_hosts: settings.allowed_hosts.clone(),
            connections_per_address_max: settings.connections_per_address_max,
            ..api::Limits::default()
        };
        let api = tokio::spawn(api::serve(
            listener,
            running.bus.clone(),
            std::sync::Arc::new(move || telemetry.render()),
            limits,
            async move {
                // A dropped sender asks for the stop as well.
                let _ = stopped.await;
            },
        ));
        Ok(Self {
            running,
            address,
            stop,
            api,
        })
    }

    /// Waits for `stop`, or for what ends the bus before that.
    ///
    /// # Errors
    /// The log failed, or the API listens no longer.
    pub(super) async fn until(&mut self, stop: impl Future<Output = ()>) -> Result<(), Failure> {
        tokio::select! {
            () = stop => Ok(()),
            reason = self.running.pipeline.failure() => Err(log_failed(&reason)),
            ended = &mut self.api => {
                self.running.pipeline.stop().await;
                let reason = match ended {
                    Ok(Err(error)) => error.to_string(),
                    _ => "its task ended".to_owned(),
                };
                Err(Failure::new(format!("the API no longer listens: {reason}"))
                    .coded(Code::SystemRefused))
            }
        }
    }

    /// Stops in order, or at once at the next signal.
    ///
    /// # Errors
    /// It did not come to its end.
    pub(super) async fn finish(self, signals: &mut Signals) -> Result<u8, Failure> {
        output::note("stopping: running attempts have 20 s; a second signal stops at once");
        tokio::select! {
            live = self.stop() => if live { Ok(OK) } else { Err(log_failed("while the bus stopped")) },
            () = signals.stop() => Err(Failure::new("stopped at once; what was running runs again after the next start").coded(Code::StoppedAtOnce)),
        }
    }

    /// Stops in order: the API drains, then the pipeline.
    /// False if the log failed meanwhile.
    pub(super) async fn stop(self) -> bool {
        let _ = self.stop.send(());
        let drained = tokio::time::timeout(Duration::from_secs(6), self.api);
        let (live, _) = tokio::join!(self.running.pipeline.stop(), drained);
        live
    }
}

/// A manifest file with the components that it names.
pub(super) struct Configuration {
    path: PathBuf,
    /// What is no fault and yet may not be meant, a line each.
    pub(super) warnings: Vec<String>,
    pub(super) text: String,
    pub(super) components: BTreeMap<Name, Bytes>,
}

impl Configuration {
    /// Reads and checks a manifest and the components beside it.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let checked = Checked::read(path, Purpose::Run)?;
        if !checked.faults.is_empty() {
            return Err(Failure::configuration(format!(
                "the manifest has faults; nothing was changed\n{}",
                checked.show(validate::style())
            ))
            .coded(checked.code()));
        }
        Ok(Self {
            path: path.to_owned(),
            warnings: checked.warning_lines().collect(),
            text: checked.text,
            components: checked.components,
        })
    }

    pub(super) fn failure(&self, error: &crate::error::Error) -> Failure {
        if error.faults.is_empty() {
            return Failure::configuration(error.message.clone()).coded(error.code);
        }
        Failure::configuration(format!(
            "{}\n{}",
            error.message,
            manifest::show(
                &error.faults,
                &self.text,
                &self.path.display().to_string(),
                validate::style()
            )
        ))
        .coded(error.code)
    }
}
