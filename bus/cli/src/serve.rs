//! `edgebus serve`: one bus, from its folder, until it is told to stop.

mod configuration;
mod signals;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::output::{self, Progress};
use super::{Failure, OK, STORE_FAILED};
use crate::program::{NotStarted, Running, ThisProgram};
use crate::settings;
use edgebus_engine::bus::Bus;
use edgebus_engine::telemetry::Telemetry;
use edgebus_http::{self as api, Startup};
use edgebus_model::Code;

pub(super) use configuration::Configuration;
pub(super) use signals::{Asked, Signals};

/// How long a start may take to reach a point where it can stop cleanly. After that it is cut off, as a kill
/// would do; the next start recovers.
const GIVE_UP: Duration = Duration::from_secs(2);
/// How long the API may take to finish its requests.
const API_DRAIN: Duration = Duration::from_secs(6);

/// Arguments of `serve`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus serve --data ./data --create --manifest edgebus.yaml
  edgebus serve --data ./data --listen 127.0.0.1:8080")]
pub(super) struct Arguments {
    /// The folder of the store.
    #[arg(long, env = "EDGEBUS_DATA", value_name = "DIR")]
    data: PathBuf,
    /// The manifest to apply. Without it the active one stays; so it does if the file has not changed since
    /// `serve` applied it.
    #[arg(long, env = "EDGEBUS_MANIFEST", value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Where to listen; loopback only.
    #[arg(long, env = "EDGEBUS_LISTEN", value_name = "ADDR", default_value_t = settings::LISTEN)]
    listen: SocketAddr,
    /// Create a new store if the folder is missing or empty. An existing store is opened unchanged.
    #[arg(long)]
    create: bool,
    /// A folder with a file for each secret, read at the start and on SIGHUP; a secret without a file is taken from EDGEBUS_SECRET_<NAME>.
    #[arg(long, env = "EDGEBUS_SECRETS_DIR", value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// Refuse publishes while the disk has less free space than this, in MiB [default: 256, or a
    /// twentieth of a disk smaller than 5 GiB].
    #[arg(long, env = "EDGEBUS_FREE_MIB_MIN", value_name = "MIB")]
    free_mib_min: Option<u64>,
    /// Memory for pages of the store, in MiB.
    #[arg(
        long,
        env = "EDGEBUS_CACHE_MIB",
        value_name = "MIB",
        default_value_t = 64
    )]
    cache_mib: usize,
    /// Memory for remembering what was published within the dedupe windows, in MiB: one for half a million events.
    /// Past it a publish reads more from the store.
    #[arg(
        long,
        env = "EDGEBUS_DEDUPE_MIB",
        value_name = "MIB",
        default_value_t = 256
    )]
    dedupe_mib: usize,
    /// A host name that requests may use, beside IP addresses and localhost. For a proxy in front.
    #[arg(
        long = "allowed-host",
        env = "EDGEBUS_ALLOWED_HOSTS",
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = api::allowed_host
    )]
    allowed_hosts: Vec<String>,
    /// Connections from one address. It may be a proxy with all clients behind it.
    #[arg(
        long,
        env = "EDGEBUS_CONNECTIONS_PER_ADDRESS",
        value_name = "N",
        default_value_t = 1_024
    )]
    connections_per_address: usize,
    /// Instances of functions at the same time. There are fewer if the process has too small an address
    /// space.
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
    /// Memory that compiling one component may take, in MiB. The default is 1024, or half of the machine's
    /// memory if that is less.
    #[arg(
        long,
        env = "EDGEBUS_COMPILE_MIB",
        value_name = "MIB",
        value_parser = clap::value_parser!(u64).range(32..=1 << 20)
    )]
    compile_mib: Option<u64>,
}

pub(super) async fn run(program: ThisProgram, arguments: Arguments) -> Result<u8, Failure> {
    init_logs("info");
    let settings = settings::Serve {
        data: arguments.data,
        create: arguments.create,
        listen: arguments.listen,
        manifest: arguments.manifest,
        secrets: arguments.secrets,
        cache_bytes: arguments.cache_mib << 20,
        dedupe_bytes: arguments.dedupe_mib << 20,
        free_bytes_min: arguments.free_mib_min.map(|mib| mib << 20),
        allowed_hosts: arguments.allowed_hosts,
        connections_per_address_max: arguments.connections_per_address,
        instances_max: arguments.instances,
        compile_time_max: Duration::from_secs(arguments.compile_seconds),
        compile_bytes_max: arguments.compile_mib.map(|mib| mib << 20),
    };
    let mut signals = Signals::install()?;
    let Some(mut serving) = Serving::start(program, &settings, signals.stop()).await? else {
        return Ok(OK);
    };
    output::print(&format!("edgebus listens on http://{}", serving.address));
    output::print(&format!(
        "  try: {} rules ls --url http://{}",
        super::shown_program(),
        serving.address
    ));
    let bus = serving.running.bus.clone();
    let asked = async {
        while signals.next().await == Asked::Hangup {
            reload(&bus).await;
        }
    };
    serving.until(asked).await?;
    serving.finish(&mut signals).await
}

/// Reads again what can change while the bus runs.
async fn reload(bus: &Bus) {
    let changed = bus.reload_secrets().await;
    let names: Vec<&str> = changed.iter().map(|name| name.as_str()).collect();
    tracing::info!(
        functions = %names.join(", "),
        "SIGHUP: the secrets were read again; {} of the functions got new values",
        names.len()
    );
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
    // A second initialisation, in tests, is no error.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
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

/// Opens the store and starts the bus on it, and says whether `stop` resolved meanwhile; `None` if it
/// did and the start got to no place where it can stop in order.
async fn open(
    program: ThisProgram,
    settings: &settings::Serve,
    telemetry: Arc<Telemetry>,
    progress: &edgebus_model::Progress,
    shown: &Progress,
    stop: impl Future<Output = ()>,
) -> Result<Option<(Running, bool)>, Failure> {
    let (own, told) = (settings.clone(), progress.clone());
    // On its own thread, so that a start never blocks health and signals.
    let here = tokio::runtime::Handle::current();
    let mut starting =
        tokio::task::spawn_blocking(move || here.block_on(program.start(&own, telemetry, &told)));
    let (started, stopping) = tokio::select! {
        started = &mut starting => (started, false),
        () = stop => {
            shown.finish();
            output::note("stopping: the bus had not started yet");
            match tokio::time::timeout(GIVE_UP, starting).await {
                Ok(started) => (started, true),
                Err(_) => return Ok(None),
            }
        }
    };
    let lost = |_| Failure::new("the start panicked").coded(Code::SystemRefused);
    let running = started.map_err(lost)?.map_err(|error| {
        shown.finish();
        not_started(&error, settings)
    })?;
    Ok(Some((running, stopping)))
}

/// Why the bus did not start.
fn not_started(error: &NotStarted, settings: &settings::Serve) -> Failure {
    let mut message = error.to_string();
    let nothing_there =
        std::fs::read_dir(&settings.data).map_or(true, |mut files| files.next().is_none());
    if nothing_there && !settings.create {
        message.push_str("\n  to make a new store there: add --create");
    }
    Failure::new(message).coded(error.code)
}

/// A bus that serves its API.
pub(super) struct Serving {
    pub(super) running: Running,
    pub(super) address: SocketAddr,
    stop: tokio::sync::oneshot::Sender<()>,
    api: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Serving {
    /// Checks the manifest, listens, opens the store, applies the manifest and starts the bus: in this
    /// order, so that an error of the configuration changes nothing, and health is answered from the
    /// first moment. `None` if `stop` resolved before the bus ran.
    pub(super) async fn start(
        program: ThisProgram,
        settings: &settings::Serve,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Self>, Failure> {
        let (manifest, secrets) = (settings.manifest.as_deref(), settings.secrets.as_deref());
        let configuration = manifest.map(|path| Configuration::read(path, secrets));
        let configuration = configuration.transpose()?;
        if let Some(folder) = secrets.filter(|folder| !folder.is_dir()) {
            return Err(Failure::configuration(format!(
                "{} is no folder, and --secrets or EDGEBUS_SECRETS_DIR names it",
                folder.display()
            )));
        }
        let listener = bind(settings.listen).await?;
        let address = listener.local_addr().map_err(|error| {
            Failure::new(format!("the listener has no address: {error}")).coded(Code::SystemRefused)
        })?;
        let (startup, telemetry) = (Startup::default(), Telemetry::new());
        let (api_stop, api) = Self::listen(settings, listener, &startup, telemetry.clone());
        tracing::info!(%address, "health is answered from now on; the bus is starting");
        let mut stop = pin!(stop);
        let shown = Arc::new(Progress::start());
        let progress = startup.progress(shown.of_start());
        let opened = open(program, settings, telemetry, &progress, &shown, &mut stop).await?;
        let Some((running, stopping)) = opened else {
            return Ok(None);
        };
        let serving = Self {
            running,
            address,
            stop: api_stop,
            api,
        };
        let configured = match configuration {
            _ if stopping => None,
            None => Some(Ok(Vec::new())),
            Some(configuration) => {
                tokio::select! {
                    lines = serving.configure(&configuration, settings, &progress) => Some(lines),
                    () = &mut stop => None,
                }
            }
        };
        shown.finish();
        match configured {
            Some(Ok(lines)) => {
                lines.iter().for_each(|line| output::note(line));
                serving.running.pipeline.begin();
                startup.end(serving.running.bus.clone());
                Ok(Some(serving))
            }
            ended => match (serving.stop().await, ended) {
                (true, Some(Err(failure))) => Err(failure),
                (true, _) => Ok(None),
                (false, Some(Err(failure))) => Err(Failure {
                    code: STORE_FAILED,
                    ..failure
                }),
                (false, _) => Err(log_failed("while the bus stopped")),
            },
        }
    }

    /// Applies the manifest file if it is to be applied; what there is to say of it, in lines.
    async fn configure(
        &self,
        configuration: &Configuration,
        settings: &settings::Serve,
        progress: &edgebus_model::Progress,
    ) -> Result<Vec<String>, Failure> {
        let Running { bus, pipeline, .. } = &self.running;
        if let Some(line) = configuration.unchanged(bus, &settings.data) {
            return Ok(vec![line]);
        }
        progress.tell("applying the manifest", "");
        let now = pipeline.clock().now();
        configuration.apply(bus, &settings.data, now).await
    }

    /// Serves the API from now on.
    fn listen(
        settings: &settings::Serve,
        listener: TcpListener,
        startup: &Startup,
        telemetry: Arc<Telemetry>,
    ) -> (
        tokio::sync::oneshot::Sender<()>,
        tokio::task::JoinHandle<std::io::Result<()>>,
    ) {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let limits = api::Limits {
            allowed_hosts: settings.allowed_hosts.clone(),
            connections_per_address_max: settings.connections_per_address_max,
            ..api::Limits::default()
        };
        let api = tokio::spawn(api::serve(
            listener,
            startup.clone(),
            Arc::new(move || telemetry.render()),
            limits,
            async move {
                // A dropped sender asks for the stop as well.
                let _ = stopped.await;
            },
        ));
        (stop, api)
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
        let pipeline = self.running.pipeline.clone();
        tokio::select! {
            live = self.stop() => if live { Ok(OK) } else { Err(log_failed("while the bus stopped")) },
            () = signals.stop() => {
                pipeline.abandon();
                Err(Failure::new("stopped at once; what was running runs again after the next start").coded(Code::StoppedAtOnce))
            }
        }
    }

    /// Stops in order: the API drains, then the pipeline.
    /// False if the log failed meanwhile.
    pub(super) async fn stop(self) -> bool {
        let _ = self.stop.send(());
        let drained = tokio::time::timeout(API_DRAIN, self.api);
        let (live, _) = tokio::join!(self.running.pipeline.stop(), drained);
        live
    }
}
