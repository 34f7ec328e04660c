//! The one place that names backends: opens the store, starts the runtime, and joins them to a bus.

mod disk;

use std::path::Path;
use std::sync::Arc;

use crate::bus::Bus;
use crate::clock::Clock;
use crate::model::{Code, Progress, Timestamp};
use crate::pipeline::space::Disk;
use crate::pipeline::{Limits, Parts, Pipeline};
use crate::runtime::wasmtime::{Settings as RuntimeSettings, WasmtimeRuntime};
use crate::settings;
use crate::store::redb::{RedbStore, Settings as StoreSettings};
use crate::store::{self, Store};
use crate::telemetry::Telemetry;

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

/// Opens the store and starts a bus on it; ready when this returns.
///
/// # Errors
/// The store, the runtime or the recovery failed.
pub async fn start(settings: &settings::Serve, progress: &Progress) -> Result<Running, Error> {
    let (opening, telling) = (settings.clone(), progress.clone());
    let store = tokio::task::spawn_blocking(move || open_store(&opening, &telling))
        .await
        .map_err(|_| {
            crate::error::Error::new(crate::error::Kind::Unavailable, "the process is stopping")
        })??;
    let catalog = store.catalog()?;
    let mut newest = Timestamp(0);
    for (bus, _, last) in &catalog.buses {
        if let Ok(Some(stored)) = store.event(*bus, *last) {
            newest = newest.max(stored.accepted_at);
        }
    }
    let runtime = Arc::new(WasmtimeRuntime::new(RuntimeSettings {
        cache_dir: Some(settings.data.join("code-cache")),
        cache_key: blake3::derive_key("edgebus 2026-11 code cache", &catalog.secret),
        ..RuntimeSettings::default()
    })?);
    let telemetry = Telemetry::new();
    let pipeline = Pipeline::start(Parts {
        store,
        catalog,
        runtime,
        clock: Clock::system(newest),
        telemetry: telemetry.clone(),
        progress: progress.clone(),
        limits: Limits::of(crate::machine::memory_bytes() / 2, usize::MAX),
        space: Box::new(Folder::new(&settings.data, settings.free_bytes_min)),
        secrets: Box::new(|name| std::env::var(format!("EDGEBUS_SECRET_{name}")).ok()),
    })
    .await?;
    Ok(Running {
        bus: Bus::new(pipeline.clone()),
        pipeline,
        telemetry,
    })
}

/// Free space on the disk of `folder`, and below how much publishes are refused there, in bytes; `None`
/// if the system does not say.
#[must_use]
pub fn free_bytes(folder: &Path) -> Option<(u64, u64)> {
    let free = disk::free_bytes(folder)?;
    Some((free, disk::levels_of(folder, None).floor))
}
