//! The one place that names backends: opens the store, starts the runtime, and joins them to a bus.

mod disk;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::bus::Bus;
use crate::clock::Clock;
use crate::machine;
use crate::model::{Code, Progress, Timestamp};
use crate::pipeline::space::Disk as _;
use crate::pipeline::{Limits, Parts, Pipeline};
use crate::runtime::wasmtime::{
    self, Compiling, Place, Settings as RuntimeSettings, WasmtimeRuntime,
};
use crate::settings;
use crate::store::redb::{RedbStore, Settings as StoreSettings};
use crate::store::{self, Store};
use crate::telemetry::Disk;

pub use crate::telemetry::Telemetry;

/// No release is older than this: 2026-01-01. A clock that says less was never set.
const TIME_MIN: Timestamp = Timestamp(1_767_225_600_000);
/// The largest file of a secret, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

use disk::Folder;

/// A bus that runs in this process.
pub struct Running {
    /// Its handle.
    pub bus: Bus,
    /// Its pipeline, to be stopped in the end.
    pub pipeline: Arc<Pipeline>,
    /// Its metrics.
    pub telemetry: Arc<Telemetry>,
}

/// Why a bus did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store could not be opened or read.
    #[error("the store can't be opened: {0}")]
    Store(#[from] store::Error),
    /// The runtime could not be set up.
    #[error("the WebAssembly runtime can't be set up: {0}")]
    Runtime(#[from] crate::runtime::Error),
    /// Recovery failed.
    #[error("the bus can't start: {0}")]
    Start(#[from] crate::error::Error),
}

impl Error {
    /// Which page tells more.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Store(error) => error.code,
            Self::Runtime(error) => error.code,
            Self::Start(error) => error.code,
        }
    }
}

/// Opens the store as the settings ask.
///
/// # Errors
/// The folder can't be opened as asked; nothing was changed then.
pub fn open_store(
    settings: &settings::Serve,
    progress: &Progress,
) -> Result<Arc<dyn Store>, store::Error> {
    progress.tell("opening the store", "");
    let engine = StoreSettings {
        cache_bytes: settings.cache_bytes,
        filter_bytes_max: settings.dedupe_bytes,
        ..StoreSettings::default()
    };
    if settings.create && !RedbStore::present(&settings.data)? {
        return Ok(Arc::new(RedbStore::create(&settings.data, engine)?));
    }
    let disk = Folder::new(&settings.data, settings.free_bytes_min);
    disk.release_if_full();
    let open = || RedbStore::open_telling(&settings.data, engine, progress);
    let store = match open() {
        Err(error) if error.code == Code::DiskNearlyFull && disk.release() => open()?,
        opened => opened?,
    };
    Ok(Arc::new(store))
}

/// Looks at the store in `folder` without opening it: `None` if there is none, else whether a process
/// has it open.
///
/// # Errors
/// The folder can't be looked at, or what is in it is no store.
pub fn store_in_use(folder: &Path) -> Result<Option<bool>, store::Error> {
    RedbStore::in_use(folder)
}

/// Opens the store and starts a bus on it; ready when this returns, or, with a manifest to be applied,
/// after [`Pipeline::begin`]. Works on its thread for as long as the store takes: not for one that
/// others wait for.
///
/// # Errors
/// The store, the runtime or the recovery failed.
pub async fn start(
    settings: &settings::Serve,
    telemetry: Arc<Telemetry>,
    progress: &Progress,
) -> Result<Running, Error> {
    let store = open_store(settings, progress)?;
    progress.tell("reading the rules", "");
    let catalog = store.catalog()?;
    let clock = Clock::continued(catalog.newest, catalog.clock.as_ref());
    if clock.now() < TIME_MIN {
        let message = format!(
            "the machine's clock says {}: set it, or wait until the network has; the times of this store would begin there",
            clock.now()
        );
        let error = crate::error::Error::new(crate::error::Kind::Unavailable, message);
        return Err(error.coded(Code::ClockUnset).into());
    }
    let memory_bytes = machine::memory_bytes();
    let runtime = Arc::new(WasmtimeRuntime::new(RuntimeSettings {
        cache_dir: Some(settings.data.join("code-cache")),
        cache_key: blake3::derive_key("edgebus 2026-11 code cache", &catalog.secret),
        instances_max: settings.instances_max,
        memory_bytes,
        compiling: Compiling {
            place: Place::Child(own_program()?),
            time_max: settings.compile_time_max,
            memory_bytes_max: settings.compile_bytes_max,
        },
        ..RuntimeSettings::default()
    })?);
    tracing::info!("functions run in {}", runtime.allocation());
    let instances = usize::try_from(runtime.allocation().instances_max).unwrap_or(usize::MAX);
    let secrets = settings.secrets.clone();
    let (watched, store_file) = (settings.data.clone(), RedbStore::file_in(&settings.data));
    telemetry.watch_disk(move || Disk {
        store_bytes: std::fs::metadata(&store_file).map_or(0, |file| file.len()),
        free_bytes: disk::free_bytes(&watched).unwrap_or(0),
    });
    let pipeline = Pipeline::start(Parts {
        store,
        catalog,
        runtime,
        clock,
        telemetry: telemetry.clone(),
        limits: Limits::of(memory_bytes / 2, instances),
        space: Box::new(Folder::new(&settings.data, settings.free_bytes_min)),
        secrets: Arc::new(move |name| secret(secrets.as_deref(), name)),
        hold: settings.manifest.is_some(),
    })
    .await?;
    Ok(Running {
        bus: Bus::new(pipeline.clone()),
        pipeline,
        telemetry,
    })
}

/// This very program, for the child that compiles; a file that took its place since then is another one.
fn own_program() -> Result<PathBuf, crate::runtime::Error> {
    if cfg!(target_os = "linux") {
        return Ok(PathBuf::from("/proc/self/exe"));
    }
    std::env::current_exe().map_err(|error| {
        let message = format!("the program doesn't find itself: {error}");
        crate::runtime::Error::new(crate::runtime::error::Kind::Host, message)
    })
}

/// The hidden command that compiles a component, in a child process of a bus.
pub const COMPILE_COMMAND: &str = wasmtime::COMMAND;

/// Compiles the component on standard input and writes its code to standard output: what the child of a bus
/// does, within the limits that it is given. `layout` is a word of [`wasmtime::Layout`].
///
/// # Errors
/// The bus is gone, or the words are not its.
pub fn compile_component(
    layout: &str,
    component_bytes: usize,
    memory_bytes_max: u64,
    time_max: Duration,
) -> std::io::Result<()> {
    let layout = wasmtime::Layout::of_word(layout)
        .ok_or_else(|| std::io::Error::other("no layout has that name"))?;
    wasmtime::compile_from_input(wasmtime::Job {
        layout,
        component_bytes,
        memory_bytes_max,
        time_max,
    })
}

/// What a bus with `instances_max` instances would take of the machine, in words, and whether that is all
/// that was asked for.
///
/// # Errors
/// It could run no function at all.
pub fn allocation(instances_max: u32) -> Result<(String, bool), crate::runtime::Error> {
    let allocation = wasmtime::allocation(instances_max, machine::memory_bytes())?;
    Ok((allocation.to_string(), allocation.is_whole()))
}

/// The value of a secret as it is now: of the file of its name in `folder`, without the line break at
/// its end, else of the environment variable `EDGEBUS_SECRET_` and its name.
#[must_use]
pub fn secret(folder: Option<&Path>, name: &str) -> Option<String> {
    let own = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    // A name is no path, whoever wrote it.
    if let Some(folder) = folder.filter(|_| name.bytes().all(own))
        && let Some(value) = secret_file(&folder.join(name))
    {
        return Some(value);
    }
    std::env::var(format!("EDGEBUS_SECRET_{name}")).ok()
}

fn secret_file(path: &Path) -> Option<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text));
    let reason = match read {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => error.to_string(),
        Ok(bytes) if bytes as u64 > SECRET_BYTES_MAX => {
            format!("it has more than {SECRET_BYTES_MAX} bytes")
        }
        Ok(_) => {
            let line = text.strip_suffix('\n').unwrap_or(&text);
            return Some(line.strip_suffix('\r').unwrap_or(line).to_owned());
        }
    };
    tracing::error!(file = %path.display(), %reason, "the secret can't be read");
    None
}

/// Free space on the disk of `folder`, and below how much publishes are refused there, in bytes; `None`
/// if the system does not say.
#[must_use]
pub fn free_bytes(folder: &Path) -> Option<(u64, u64)> {
    let free = disk::free_bytes(folder)?;
    Some((free, disk::levels_of(folder, None).floor))
}
