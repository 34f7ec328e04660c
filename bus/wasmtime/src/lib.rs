//! The runtime on wasmtime: components compiled by Cranelift, instances from a pool.
//!
//! One store and one instance for each attempt, dropped whole after it. A guest is bounded on every side:
//! processor time (epochs and the thread's own clock), wall-clock time around everything, memory summed
//! over the store, bytes in one host call, handles, output. Instances are counted before they are made, so
//! the pool never runs out. Components are compiled in processes of their own (`compile/`), and what came of
//! it is kept (`cache.rs`). Never here: files, sockets, environment or input for a guest; code that another
//! program compiled.

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

/// Bytes that a guest may hand to the host in one call.
const HOSTCALL_FUEL: usize = 2 << 20;
/// Host resources (streams, pollables) that an attempt may hold.
const RESOURCES_MAX: usize = 1_000;
/// Handles to resources that an attempt may hold.
const HANDLES_MAX: usize = 1_000;
/// Instances at the same time, unless the settings say otherwise: no more attempts run at once.
pub const INSTANCES_MAX: u32 = 512;

/// How the runtime is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where compiled code is kept; `None` compiles again after each start.
    pub cache_dir: Option<PathBuf>,
    /// Authenticates what is kept there: code that was not written under this key is compiled again.
    pub cache_key: [u8; 32],
    /// All compiled code that is kept, in bytes; the least recently used goes first.
    pub cache_bytes_max: u64,
    /// Slots of the pool at most; an instance takes one for each memory, or for four tables if it has many.
    /// A component from Rust takes one. There are fewer where the process has not enough addresses.
    pub instances_max: u32,
    /// Memory of the machine, in bytes; what free slots keep and what compiling may take goes by it.
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

/// Components on wasmtime.
pub struct WasmtimeRuntime {
    compiler: Compiler,
    shared: Arc<EngineShared>,
    settings: Settings,
}

/// What all functions share; it ends with the last of them.
struct EngineShared {
    engine: Engine,
    /// What its instances take of the machine.
    allocation: Allocation,
    ticker: Ticker,
    /// One permit for each slot of the pool.
    slots: Semaphore,
}

impl WasmtimeRuntime {
    /// A runtime with a pool and a compiler of its own. The pool reserves some 4 GiB of addresses, no memory,
    /// for each instance, or less where there are not so many.
    ///
    /// # Errors
    /// [`Kind::Host`] if the machine doesn't give a thread or the cache's directory.
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

    /// What the instances take of the machine.
    #[must_use]
    pub fn allocation(&self) -> &Allocation {
        &self.shared.allocation
    }
}

/// What a runtime for `instances_max` instances would take of a machine with so much memory.
///
/// # Errors
/// [`Kind::Host`] if there would be none at all.
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
