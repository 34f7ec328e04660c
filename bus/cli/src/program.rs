//! What the command line needs of the program that it is in, which alone names a store and a runtime.
//!
//! Never here: a backend's name.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use edgebus_engine::bus::Bus;
use edgebus_engine::pipeline::Pipeline;
use edgebus_engine::telemetry::Telemetry;
use edgebus_model::{Code, Progress};
use edgebus_store::{self as store, Store};

use crate::settings::Serve;

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
#[error("{message}")]
pub struct NotStarted {
    /// What went wrong, for people.
    pub message: String,
    /// The page that explains it.
    pub code: Code,
}

/// A start that goes on.
pub type Starting<'a> = Pin<Box<dyn Future<Output = Result<Running, NotStarted>> + 'a>>;

/// The store and the runtime of a program, behind what the commands ask of them.
pub trait Program: Send + Sync {
    /// Opens the store as the settings ask.
    ///
    /// # Errors
    /// The folder can't be opened as asked; nothing was changed then.
    fn open_store(
        &self,
        settings: &Serve,
        progress: &Progress,
    ) -> Result<Arc<dyn Store>, store::Error>;

    /// Makes the file of a store as short as it can be, and says what it had and has, in bytes.
    ///
    /// # Errors
    /// The folder can't be opened as asked, or the engine fails.
    fn compact_store(
        &self,
        settings: &Serve,
        progress: &Progress,
    ) -> Result<(u64, u64), store::Error>;

    /// Looks at the store in `folder` without opening it: `None` if there is none, else whether a process
    /// has it open.
    ///
    /// # Errors
    /// The folder can't be looked at, or what is in it is no store.
    fn store_in_use(&self, folder: &Path) -> Result<Option<bool>, store::Error>;

    /// Opens the store and starts a bus on it; ready when this returns, or, with a manifest to be applied,
    /// after [`Pipeline::begin`]. It blocks its thread for as long as the store takes, so don't call it on a
    /// thread that others wait for.
    fn start<'a>(
        &'a self,
        settings: &'a Serve,
        telemetry: Arc<Telemetry>,
        progress: &'a Progress,
    ) -> Starting<'a>;

    /// Free space on the disk of `folder`, and below how much publishes are refused there, in bytes; `None`
    /// if the system does not say.
    fn free_bytes(&self, folder: &Path) -> Option<(u64, u64)>;

    /// What a bus with `instances_max` instances would take of the machine, in words, and whether that is
    /// all that was asked for.
    ///
    /// # Errors
    /// It could run no function at all; the words say why.
    fn allocation(&self, instances_max: u32) -> Result<(String, bool), String>;
}

/// The program of this process, for as long as it runs.
pub type ThisProgram = &'static dyn Program;
