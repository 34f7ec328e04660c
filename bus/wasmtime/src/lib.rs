//! The runtime on wasmtime: components compiled by Cranelift, instances from a pool.
//!
//! Each attempt has its own store and instance, which are dropped after it. Everything that a guest uses is
//! limited: processor time (epochs and the thread's own clock), wall-clock time, memory summed over the
//! store, bytes in one host call, handles, output. Instances are counted before they are made, so the pool
//! never runs out. Each component is compiled in its own process (`compile/`), and the code is kept
//! (`cache.rs`). Never here: files, sockets, environment or input for a guest; code that another program
//! compiled.

mod bindings;
mod cache;
mod check;
mod compile;
mod ending;
mod engine;
mod host;
mod host_calls;
mod instance;
mod limiter;
mod meter;
mod output;
mod ticker;
mod trusted;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use ::wasmtime::Engine;
use bytes::Bytes;
use tokio::sync::Semaphore;

use self::compile::Compiler;
use self::ticker::Ticker;
use edgebus_model::Digest;
use edgebus_runtime::error::{Error, Kind};
use edgebus_runtime::{Call, Function, Runtime};

pub use self::compile::{CompileIn, Compiling, compile_if_told};
pub use self::engine::Allocation;

/// How many bytes a guest may pass to the host in one call.
const HOSTCALL_FUEL: usize = 2 << 20;
/// Host resources (streams, pollables) that an attempt may hold.
const RESOURCES_MAX: usize = 1_000;
/// Handles to resources that an attempt may hold.
const HANDLES_MAX: usize = 1_000;
/// Instances at the same time, unless the settings say otherwise. So at most this many attempts run at the
/// same time.
pub const INSTANCES_MAX: u32 = 512;

/// The settings of a runtime.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder for compiled code. With `None`, each start compiles again.
    pub cache_dir: Option<PathBuf>,
    /// The key that seals the files in `cache_dir`. Code that was not sealed under this key is compiled
    /// again.
    pub cache_key: [u8; 32],
    /// The size of all compiled code in the folder, in bytes. If it is exceeded, the least recently used code
    /// is removed first.
    pub cache_bytes_max: u64,
    /// The largest number of slots in the pool. An instance takes one slot for each memory, or for each four
    /// tables if it has many. A component from Rust takes one. If the process has not enough addresses, there
    /// are fewer slots.
    pub instances_max: u32,
    /// The memory of the machine, in bytes. It limits what free slots keep and what compiling may use.
    pub memory_bytes: u64,
    /// The largest component, in bytes.
    pub component_bytes_max: usize,
    /// How components are compiled.
    pub compiling: Compiling,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache_dir: None,
            cache_key: [0; 32],
            cache_bytes_max: 1 << 30,
            instances_max: INSTANCES_MAX,
            memory_bytes: 8 << 30,
            component_bytes_max: edgebus_model::limits::COMPONENT_BYTES_MAX,
            compiling: Compiling::default(),
        }
    }
}

/// A runtime for components on wasmtime.
pub struct WasmtimeRuntime {
    compiler: Compiler,
    shared: Arc<EngineShared>,
    settings: Settings,
}

/// What all functions share. It ends with the last of them.
struct EngineShared {
    engine: Engine,
    /// The addresses and memory that its instances take.
    allocation: Allocation,
    ticker: Ticker,
    /// One permit for each slot of the pool.
    slots: Semaphore,
}

impl WasmtimeRuntime {
    /// Makes a runtime with its own pool and compiler. The pool reserves about 4 GiB of addresses for each
    /// instance, but no memory. It reserves less if there are not enough addresses.
    ///
    /// # Errors
    /// [`Kind::Host`] if the machine gives no thread, or if the folder of the cache can't be used.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let built = engine::build(settings.instances_max, settings.memory_bytes);
        let (engine, allocation) = built.map_err(|error| host("engine", &error))?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| host("epoch thread", &error))?;
        let slots = usize::try_from(allocation.instances_max).unwrap_or(usize::MAX);
        let shared = Arc::new(EngineShared {
            engine,
            allocation,
            ticker,
            slots: Semaphore::new(slots),
        });
        let compiler = Compiler::new(Arc::clone(&shared), &settings)
            .map_err(|error| host("compiler", &error))?;
        Ok(Self {
            compiler,
            shared,
            settings,
        })
    }

    /// The addresses and memory that the instances take.
    #[must_use]
    pub fn allocation(&self) -> &Allocation {
        &self.shared.allocation
    }
}

/// The addresses and memory that a runtime for `instances_max` instances would take on a machine with this
/// much memory.
///
/// # Errors
/// [`Kind::Host`] if no engine could be made at all.
pub fn allocation(instances_max: u32, memory_bytes: u64) -> Result<Allocation, Error> {
    let built = engine::build(instances_max, memory_bytes);
    let (_, allocation) = built.map_err(|error| host("engine", &error))?;
    Ok(allocation)
}

fn host(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::Host, format!("the runtime's {what}: {error}"))
}

impl Runtime for WasmtimeRuntime {
    fn prepare(
        &self,
        digest: Digest,
        component: Bytes,
    ) -> Call<'_, Result<Arc<dyn Function>, Error>> {
        Box::pin(async move {
            let bytes_max = self.settings.component_bytes_max;
            if component.len() > bytes_max {
                let message = format!(
                    "the component has {} bytes; {bytes_max} are allowed. Build it with --release",
                    component.len()
                );
                return Err(Error::new(Kind::TooLarge, message));
            }
            let function = self.compiler.function(digest, component).await?;
            Ok(function as Arc<dyn Function>)
        })
    }
}
