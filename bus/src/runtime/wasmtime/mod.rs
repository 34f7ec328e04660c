//! The runtime on wasmtime: components compiled by Cranelift, instances from a pool.
//!
//! One store and one instance for each attempt, dropped whole after it. A guest is bounded on every side:
//! processor time (epochs and the thread's own clock), wall-clock time around everything, memory summed
//! over the store, bytes in one host call, handles, output. Instances are counted before they are made, so
//! the pool never runs out. Never here: files, sockets, environment or input for a guest; code that was
//! compiled elsewhere.

mod bindings;
mod cache;
mod check;
mod compile;
mod desk;
mod ending;
mod host;
mod instance;
mod limiter;
mod meter;
mod output;
mod ticker;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy,
    WasmBacktraceDetails,
};
use bytes::Bytes;
use tokio::sync::Semaphore;

use self::cache::Cache;
use self::compile::Compiler;
use self::ticker::Ticker;
use super::error::{Error, Kind};
use super::{Call, Function, Runtime};
use crate::model::Digest;

/// Bytes that a guest may hand to the host in one call.
const HOSTCALL_FUEL: usize = 2 << 20;
/// Host resources (streams, pollables) that an attempt may hold.
const RESOURCES_MAX: usize = 1_000;
/// Handles to resources that an attempt may hold.
const HANDLES_MAX: usize = 1_000;
/// Memories, and tables, of one component.
const MEMORIES_PER_COMPONENT_MAX: u32 = 32;
/// Core instances of one component.
const CORE_INSTANCES_PER_COMPONENT_MAX: u32 = 64;
/// Tables for each memory in the pool; a component from Rust has three.
const TABLES_PER_SLOT: u32 = 4;
/// Elements of one table; interpreters have tens of thousands.
const TABLE_ELEMENTS_MAX: usize = 100_000;
/// The guest's stack; interpreters need more than wasmtime's half mebibyte.
const GUEST_STACK_BYTES_MAX: usize = 1 << 20;
/// The stack that guest and host functions share.
const STACK_BYTES_MAX: usize = 2 << 20;

/// How the runtime is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where compiled code is kept; `None` compiles anew after each start.
    pub cache_dir: Option<PathBuf>,
    /// Authenticates what is kept there: code that was not written under this key is compiled anew.
    pub cache_key: [u8; 32],
    /// All compiled code that is kept, in bytes; the least recently used goes first.
    pub cache_bytes_max: u64,
    /// Slots of the pool; an instance takes one for each memory, or for four tables if it has many. A
    /// component from Rust takes one.
    pub instances_max: u32,
    /// The largest component, in bytes.
    pub component_bytes_max: usize,
    /// How long compiling one component may take.
    pub compile_time_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache_dir: None,
            cache_key: [0; 32],
            cache_bytes_max: 1 << 30,
            instances_max: 1_000,
            component_bytes_max: crate::model::limits::COMPONENT_BYTES_MAX,
            compile_time_max: Duration::from_secs(60),
        }
    }
}

/// Components on wasmtime.
pub struct WasmtimeRuntime {
    compiler: Compiler,
    settings: Settings,
}

/// What all functions share; it ends with the last of them.
struct Machine {
    engine: Engine,
    ticker: Ticker,
    /// One permit for each slot of the pool.
    slots: Semaphore,
}

impl WasmtimeRuntime {
    /// A runtime with a pool and a compiler of its own. The pool reserves some 4 GiB of addresses, no memory,
    /// for each instance.
    ///
    /// # Errors
    /// [`Kind::Host`] if the machine doesn't give the addresses, a thread or the cache's directory.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let host = |what: &str, error: &dyn std::fmt::Display| {
            Error::new(Kind::Host, format!("the runtime's {what}: {error}"))
        };
        let cache = Arc::new(Cache::default());
        let config = config(&settings, &cache).map_err(|error| host("settings", &error))?;
        let engine = Engine::new(&config).map_err(|error| host("engine", &error))?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| host("epoch thread", &error))?;
        let machine = Arc::new(Machine {
            engine,
            ticker,
            slots: Semaphore::new(usize::try_from(settings.instances_max).unwrap_or(usize::MAX)),
        });
        let compiler = Compiler::start(machine, cache, settings.clone())
            .map_err(|error| host("compiler", &error))?;
        Ok(Self { compiler, settings })
    }
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
            let compiled = self.compiler.compile(digest, component).await?;
            Ok(Arc::new(compiled) as Arc<dyn Function>)
        })
    }
}

fn config(settings: &Settings, cache: &Arc<Cache>) -> Result<Config, ::wasmtime::Error> {
    let mut config = Config::new();
    config.strategy(Strategy::Cranelift);
    // The compiler has one thread, and that one has a low priority.
    config.parallel_compilation(false);
    config.enable_incremental_compilation(Arc::clone(cache) as _)?;
    config.epoch_interruption(true);
    config.max_wasm_stack(GUEST_STACK_BYTES_MAX);
    config.async_stack_size(STACK_BYTES_MAX);
    // Function names are enough to read a backtrace. Offsets would tell nothing without the sources, and
    // debug information is a guest's input to a parser in the host.
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config.wasm_backtrace_max_frames(NonZeroUsize::new(ending::FRAMES_MAX));
    config.generate_address_map(false);
    config.concurrency_support(false);
    // Threads, garbage collection and stack switching are not even compiled in; this one is.
    config.wasm_memory64(false);
    let mut pool = PoolingAllocationConfig::new();
    // Both of these together and the third make a fresh instance three times as fast; see the design.
    pool.linear_memory_keep_resident(1 << 20);
    pool.table_keep_resident(64 << 10);
    pool.pagemap_scan(Enabled::Auto);
    let instances = settings.instances_max;
    pool.total_memories(instances);
    pool.total_tables(instances.saturating_mul(TABLES_PER_SLOT));
    pool.total_stacks(instances);
    pool.total_component_instances(instances);
    pool.total_core_instances(instances.saturating_mul(CORE_INSTANCES_PER_COMPONENT_MAX));
    pool.max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT_MAX);
    pool.max_memories_per_component(MEMORIES_PER_COMPONENT_MAX);
    pool.max_tables_per_component(MEMORIES_PER_COMPONENT_MAX);
    pool.max_memories_per_module(MEMORIES_PER_COMPONENT_MAX);
    pool.max_tables_per_module(MEMORIES_PER_COMPONENT_MAX);
    pool.table_elements(TABLE_ELEMENTS_MAX);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Ok(config)
}
