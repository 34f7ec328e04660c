//! The engine: the settings for compiled code, and the memory and addresses of its instances.
//!
//! A pool of instances reserves addresses for the largest memory of each instance, about 4 GiB, so that code
//! needs no bounds checks. Not every machine has that many: a kernel with 39 bits of addresses gives 512 GiB,
//! and `ulimit -v` may allow less. So [`build`] tries the best pool first and then smaller ones: fewer
//! instances, then smaller memories with bounds checks, then no pool at all.
//!
//! Compiled code depends only on the [`Layout`], which is passed to the process that compiles.

use std::fmt;
use std::num::NonZeroUsize;

use ::wasmtime::{
    Config, Enabled, Engine, Error, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy,
    WasmBacktraceDetails,
};
use rustix::process::{Resource, getrlimit};

use super::ending;

/// Memories of one component, and also its tables.
const MEMORIES_PER_COMPONENT_MAX: u32 = 32;
/// Core instances of one component.
const CORE_INSTANCES_PER_COMPONENT_MAX: u32 = 64;
/// Tables for each memory in the pool. A component from Rust has three.
pub(super) const TABLES_PER_SLOT: u32 = 4;
/// Elements of one table. Interpreters have tens of thousands.
const TABLE_ELEMENTS_MAX: usize = 100_000;
/// The bytes that an element of a table takes.
const TABLE_ELEMENT_BYTES: u64 = 8;
/// The guest's stack. Interpreters need more than wasmtime's default of half a mebibyte.
const GUEST_STACK_BYTES_MAX: usize = 1 << 20;
/// The stack that guest and host functions share.
const STACK_BYTES_MAX: usize = 2 << 20;
/// A pool of fewer instances is not worth its addresses.
const POOL_INSTANCES_MIN: u32 = 64;
/// How much of its memory a free slot keeps, at most.
const MEMORY_KEPT_BYTES_MAX: u64 = 1 << 20;
/// How much of each table a free slot keeps, at most.
const TABLE_KEPT_BYTES_MAX: u64 = 64 << 10;
/// All free slots together keep at most one part in this many of the machine's memory.
const KEPT_SHARE: u64 = 16;

/// How a guest's memory lies in the address space. Code is compiled for one of these layouts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// 4 GiB of addresses for each memory. Code needs no bounds checks.
    Whole,
    /// 256 MiB of addresses for each memory, with bounds checks.
    Narrow,
    /// As many addresses as the memory has bytes. The memory moves when it grows.
    Moving,
}

impl Layout {
    const ALL: [Self; 3] = [Self::Whole, Self::Narrow, Self::Moving];

    /// The name of the layout on the command line of the process that compiles.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Narrow => "narrow",
            Self::Moving => "moving",
        }
    }

    /// The layout with this name.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layout| layout.word() == word)
    }

    fn reservation_bytes(self) -> u64 {
        match self {
            Self::Whole => 4 << 30,
            Self::Narrow => 256 << 20,
            Self::Moving => 0,
        }
    }

    fn guard_bytes(self) -> u64 {
        match self {
            Self::Whole => 32 << 20,
            Self::Narrow | Self::Moving => 64 << 10,
        }
    }
}

/// The pool that was chosen, and what guests can use of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Allocation {
    /// The layout of memories.
    pub layout: Layout,
    /// Instances at the same time.
    pub instances_max: u32,
    /// The number of instances that was requested.
    pub instances_wanted: u32,
    /// The largest memory that a guest can have, in bytes.
    pub memory_bytes_max: u64,
    /// Memory that all free slots may keep together, in bytes.
    pub kept_bytes_max: u64,
}

impl Allocation {
    /// True if it has everything that was requested.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.layout == Layout::Whole && self.instances_max == self.instances_wanted
    }
}

impl fmt::Display for Allocation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instances = self.instances_max;
        match self.layout {
            Layout::Whole => write!(
                out,
                "a pool of {instances} instances, 4 GiB of addresses for each"
            )?,
            Layout::Narrow => write!(
                out,
                "a pool of {instances} instances, 256 MiB of addresses for each, with bounds checks"
            )?,
            Layout::Moving => write!(out, "{instances} instances, allocated when they are needed")?,
        }
        if !self.is_whole() {
            write!(
                out,
                "; the process may not reserve the addresses for {} of 4 GiB",
                self.instances_wanted
            )?;
        }
        Ok(())
    }
}

/// The best engine for which there are enough addresses, with at most `instances` at the same time.
///
/// # Errors
/// If not even the smallest engine can be made.
pub(super) fn build(instances: u32, memory_bytes: u64) -> Result<(Engine, Allocation), Error> {
    let room = address_limit().unwrap_or(u64::MAX) / 2;
    for allocation in choices(instances, memory_bytes) {
        // Half of the addresses are left for everything else: code, stacks, the store's pages.
        if pool_bytes(&allocation) > room {
            continue;
        }
        if let Ok(engine) = Engine::new(&pooled(&allocation)?) {
            return Ok((engine, allocation));
        }
    }
    let layout = Layout::Moving;
    let allocation = Allocation {
        layout,
        instances_max: instances,
        instances_wanted: instances,
        memory_bytes_max: 4 << 30,
        kept_bytes_max: 0,
    };
    let engine = Engine::new(&config(layout)?)?;
    Ok((engine, allocation))
}

/// An engine that only compiles. It reserves nothing.
pub(super) fn build_for_compiling(layout: Layout) -> Result<Engine, Error> {
    Engine::new(&config(layout)?)
}

/// The pools to try, the best one first.
fn choices(instances: u32, memory_bytes: u64) -> impl Iterator<Item = Allocation> {
    let floor = POOL_INSTANCES_MIN.min(instances);
    [Layout::Whole, Layout::Narrow]
        .into_iter()
        .flat_map(move |layout| {
            let halves = std::iter::successors(Some(instances), |count| Some(count / 2));
            halves
                .take_while(move |count| *count >= floor && *count > 0)
                .map(move |instances_max| Allocation {
                    layout,
                    instances_max,
                    instances_wanted: instances,
                    memory_bytes_max: layout.reservation_bytes(),
                    kept_bytes_max: memory_bytes / KEPT_SHARE,
                })
        })
}

/// The addresses that the pool takes, in bytes.
fn pool_bytes(allocation: &Allocation) -> u64 {
    let layout = allocation.layout;
    let tables = u64::from(TABLES_PER_SLOT)
        * u64::try_from(TABLE_ELEMENTS_MAX).unwrap_or(u64::MAX)
        * TABLE_ELEMENT_BYTES;
    let stack = u64::try_from(STACK_BYTES_MAX).unwrap_or(u64::MAX);
    let slot = layout.reservation_bytes() + layout.guard_bytes() + tables + stack;
    slot.saturating_mul(allocation.instances_max.into())
}

/// The bytes of addresses that the process may have, if there is a limit (`ulimit -v`, `prlimit --as`).
fn address_limit() -> Option<u64> {
    getrlimit(Resource::As).current
}

fn config(layout: Layout) -> Result<Config, Error> {
    let mut config = Config::new();
    config.strategy(Strategy::Cranelift);
    config.epoch_interruption(true);
    config.max_wasm_stack(GUEST_STACK_BYTES_MAX);
    config.async_stack_size(STACK_BYTES_MAX);
    // Function names are enough to read a backtrace. Offsets are useless without the sources, and debug
    // information would be guest input for a parser in the host.
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config.wasm_backtrace_max_frames(NonZeroUsize::new(ending::FRAMES_MAX));
    config.generate_address_map(false);
    config.concurrency_support(false);
    // Threads, garbage collection and stack switching are not compiled in. This feature is.
    config.wasm_memory64(false);
    config.memory_reservation(layout.reservation_bytes());
    config.memory_guard_size(layout.guard_bytes());
    if layout == Layout::Moving {
        // wasmtime would reserve 2 GiB for growth.
        config.memory_reservation_for_growth(1 << 20);
    }
    Ok(config)
}

fn pooled(allocation: &Allocation) -> Result<Config, Error> {
    let mut config = config(allocation.layout)?;
    let mut pool = PoolingAllocationConfig::new();
    let instances = allocation.instances_max;
    // The first two settings together with the third make a fresh instance three times as fast.
    let (memory_kept, table_kept) = kept_in_slot(allocation);
    pool.linear_memory_keep_resident(memory_kept);
    pool.table_keep_resident(table_kept);
    pool.pagemap_scan(Enabled::Auto);
    pool.max_memory_size(usize::try_from(allocation.memory_bytes_max).unwrap_or(usize::MAX));
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

/// What a free slot keeps of its memory and of each of its tables, in bytes of whole pages. Chosen so that
/// all slots together stay within their share.
fn kept_in_slot(allocation: &Allocation) -> (usize, usize) {
    let slot = allocation.kept_bytes_max / u64::from(allocation.instances_max.max(1));
    let pages = |bytes: u64| usize::try_from(bytes & !0xFFFF).unwrap_or(usize::MAX);
    let tables = u64::from(TABLES_PER_SLOT) * TABLE_KEPT_BYTES_MAX;
    if slot < 2 * tables {
        return (pages(slot), 0);
    }
    let memory = (slot - tables).min(MEMORY_KEPT_BYTES_MAX);
    (pages(memory), pages(TABLE_KEPT_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_tried_until_there_is_no_pool() {
        let tried: Vec<_> = choices(512, 0)
            .map(|choice| (choice.layout.word(), choice.instances_max))
            .collect();
        assert_eq!(
            tried,
            [
                ("whole", 512),
                ("whole", 256),
                ("whole", 128),
                ("whole", 64),
                ("narrow", 512),
                ("narrow", 256),
                ("narrow", 128),
                ("narrow", 64)
            ]
        );
        assert_eq!(choices(2, 0).count(), 2);
        assert_eq!(choices(0, 0).count(), 0);
    }

    #[test]
    fn a_kernel_with_39_bits_has_room_for_a_whole_pool() {
        let fits = |choice: &Allocation| pool_bytes(choice) < 1 << 39;
        let first = choices(512, 0).find(fits).expect("there is one");
        assert_eq!((first.layout, first.instances_max), (Layout::Whole, 64));
    }

    #[test]
    fn free_slots_stay_within_their_share() {
        for memory_bytes in [64 << 20, 512 << 20, 1 << 30, 4 << 30, 64 << 30_u64] {
            for choice in choices(512, memory_bytes) {
                let (memory, table) = kept_in_slot(&choice);
                let slot = memory + table * TABLES_PER_SLOT as usize;
                let sum = slot as u64 * u64::from(choice.instances_max);
                assert!(
                    sum <= memory_bytes / KEPT_SHARE,
                    "{memory_bytes}: {choice:?}"
                );
            }
        }
        let large = choices(512, 64 << 30).next().expect("there is one");
        assert_eq!(kept_in_slot(&large), (1 << 20, 64 << 10));
    }

    #[test]
    fn compiled_code_depends_on_the_layout_alone() {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let hash = |engine: &Engine| {
            let mut hasher = DefaultHasher::new();
            engine.precompile_compatibility_hash().hash(&mut hasher);
            hasher.finish()
        };
        for choice in [Layout::Whole, Layout::Narrow] {
            let allocation = choices(2, 0).find(|found| found.layout == choice);
            let config = pooled(&allocation.expect("there is one")).expect("settings");
            let pooled = Engine::new(&config).expect("there are addresses for two");
            let compiling = build_for_compiling(choice).expect("an engine");
            assert_eq!(hash(&pooled), hash(&compiling));
            assert_eq!(Layout::of_word(choice.word()), Some(choice));
        }
        let [whole, moving] = [Layout::Whole, Layout::Moving]
            .map(|layout| hash(&build_for_compiling(layout).expect("an engine")));
        assert_ne!(whole, moving);
    }
}
