//! The only file that names backends. It opens the store, starts the runtime, and makes a bus of them.

mod disk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use edgebus_cli::program::{NotStarted, Program, Running, Starting};
use edgebus_cli::settings::Serve;
use edgebus_engine::bus::Bus;
use edgebus_engine::clock::Clock;
use edgebus_engine::pipeline::space::Disk as _;
use edgebus_engine::pipeline::{Limits, Parts, Pipeline};
use edgebus_engine::secrets::secret;
use edgebus_engine::telemetry::{Disk, Telemetry};
use edgebus_model::{Code, Progress, Timestamp};
use edgebus_runtime as runtime;
use edgebus_store::redb::{RedbStore, Settings as StoreSettings};
use edgebus_store::{self as store, Step, Store};
use edgebus_wasmtime::{CompileIn, Compiling, Settings as RuntimeSettings, WasmtimeRuntime};

use crate::machine;
use disk::Folder;

/// No release is older than this: 2026-01-01. A clock that says less was never set.
const TIME_MIN: Timestamp = Timestamp(1_767_225_600_000);

/// The program with the store on redb and functions in wasmtime.
#[derive(Debug)]
pub(crate) struct Edgebus;

impl Program for Edgebus {
    fn open_store(
        &self,
        settings: &Serve,
        progress: &Progress,
    ) -> Result<Arc<dyn Store>, store::Error> {
        open_store(settings, progress)
    }

    fn compact_store(
        &self,
        settings: &Serve,
        progress: &Progress,
    ) -> Result<(u64, u64), store::Error> {
        let mut store = open_redb(settings, progress)?;
        let clean = store.catalog()?.clean;
        let erased = store.has_erased();
        let compacted = match erased {
            false => Some(store.compact(progress)?),
            true => None,
        };
        if clean {
            // A store that was stopped in order stays so.
            store.commit(&[Step::MarkClean(true)])?;
        }
        let compacted = match compacted {
            Some(compacted) => compacted,
            // What was erased may be anywhere in the old file.
            None => store.rewrite(&settings.data, progress)?,
        };
        Ok((compacted.before, compacted.after))
    }

    fn store_in_use(&self, folder: &Path) -> Result<Option<bool>, store::Error> {
        RedbStore::in_use(folder)
    }

    fn start<'a>(
        &'a self,
        settings: &'a Serve,
        telemetry: Arc<Telemetry>,
        progress: &'a Progress,
    ) -> Starting<'a> {
        Box::pin(async move {
            let started = start(settings, telemetry, progress).await;
            started.map_err(|error| NotStarted {
                message: error.to_string(),
                code: error.code(),
            })
        })
    }

    fn free_bytes(&self, folder: &Path) -> Option<(u64, u64)> {
        let free = disk::free_bytes(folder)?;
        Some((free, disk::levels_of(folder, None).floor))
    }

    fn allocation(&self, instances_max: u32) -> Result<(String, bool), String> {
        let allocation = edgebus_wasmtime::allocation(instances_max, machine::memory_bytes())
            .map_err(|error| error.to_string())?;
        Ok((allocation.to_string(), allocation.is_whole()))
    }
}

/// Why a bus did not start.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The store could not be opened or read.
    #[error("the store can't be opened: {0}")]
    Store(#[from] store::Error),
    /// The runtime could not be set up.
    #[error("the WebAssembly runtime can't be set up: {0}")]
    Runtime(#[from] runtime::Error),
    /// Recovery failed.
    #[error("the bus can't start: {0}")]
    Start(#[from] edgebus_model::error::Error),
}

impl Error {
    /// Which page tells more.
    fn code(&self) -> Code {
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
fn open_store(settings: &Serve, progress: &Progress) -> Result<Arc<dyn Store>, store::Error> {
    Ok(Arc::new(open_redb(settings, progress)?))
}

fn open_redb(settings: &Serve, progress: &Progress) -> Result<RedbStore, store::Error> {
    progress.tell("opening the store", "");
    let engine = StoreSettings {
        cache_bytes: settings.cache_bytes,
        filter_bytes_max: settings.dedupe_bytes,
        ..StoreSettings::default()
    };
    if settings.create && !RedbStore::present(&settings.data)? {
        return RedbStore::create(&settings.data, engine);
    }
    let disk = Folder::new(&settings.data, settings.free_bytes_min);
    disk.release_if_full();
    let open = || RedbStore::open_reporting(&settings.data, engine, progress);
    let store = match open() {
        Err(error) if error.code == Code::DiskNearlyFull && disk.release() => open()?,
        opened => opened?,
    };
    Ok(store)
}

/// Opens the store and starts a bus on it; ready when this returns, or, with a manifest to be applied,
/// after [`Pipeline::begin`]. Works on its thread for as long as the store takes: not for one that
/// others wait for.
///
/// # Errors
/// The store, the runtime or the recovery failed.
async fn start(
    settings: &Serve,
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
        let error =
            edgebus_model::error::Error::new(edgebus_model::error::Kind::Unavailable, message);
        return Err(error.coded(Code::ClockUnset).into());
    }
    let memory_bytes = machine::memory_bytes();
    let runtime = Arc::new(WasmtimeRuntime::new(RuntimeSettings {
        cache_dir: Some(settings.data.join("code-cache")),
        cache_key: blake3::derive_key("edgebus 2026-11 code cache", &catalog.secret),
        instances_max: settings.instances_max,
        memory_bytes,
        compiling: Compiling {
            place: CompileIn::Child(own_program()?),
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

/// The path of this running program, for the compiler process. A file that replaced it since then is a
/// different program.
fn own_program() -> Result<PathBuf, edgebus_runtime::Error> {
    if cfg!(target_os = "linux") {
        return Ok(PathBuf::from("/proc/self/exe"));
    }
    std::env::current_exe().map_err(|error| {
        let message = format!("the program doesn't find itself: {error}");
        edgebus_runtime::Error::new(edgebus_runtime::error::Kind::Host, message)
    })
}
