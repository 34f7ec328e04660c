//! What one attempt of a function may use. Each limit has a default and can be set in the manifest.

/// Bounds of a function's attempts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FunctionLimits {
    /// All linear memories and tables of the instance together, in bytes.
    pub memory_bytes_max: u64,
    /// Time on the processor, in milliseconds.
    pub cpu_ms_max: u64,
    /// Wall-clock time around the whole attempt, host calls included, in milliseconds.
    pub timeout_ms_max: u64,
    /// Attempts of this function that run at the same time.
    pub concurrency_max: u32,
    /// Events that one attempt may emit.
    pub emits_max: u32,
    /// Bytes of all events that one attempt emits.
    pub emit_bytes_max: u64,
    /// State keys that one attempt may write.
    pub state_writes_max: u32,
    /// Bytes of all state values that one attempt writes.
    pub state_bytes_max: u64,
    /// Bytes of output that are kept. If there is more, the beginning and the end are kept, and a line says
    /// how much is missing.
    pub output_bytes_max: u64,
}

impl Default for FunctionLimits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 64 << 20,
            cpu_ms_max: 1_000,
            timeout_ms_max: 30_000,
            concurrency_max: 32,
            emits_max: 64,
            emit_bytes_max: 1 << 20,
            state_writes_max: 256,
            state_bytes_max: 1 << 20,
            output_bytes_max: 64 << 10,
        }
    }
}

/// The largest component that is taken, in bytes.
pub const COMPONENT_BYTES_MAX: usize = 16 << 20;
/// The longest state key, in bytes.
pub const STATE_KEY_BYTES_MAX: usize = 512;
/// State keys that one attempt may read.
pub const STATE_READS_MAX: usize = 1_024;
/// State keys that one attempt may get in listings: its settlement lists them again.
pub const STATE_LISTED_MAX: usize = 10_000;
/// Different listings that one attempt may ask for.
pub const STATE_LISTINGS_MAX: usize = 256;
/// One event, attributes and data, in bytes.
pub const EVENT_BYTES_MAX: usize = 1 << 20;
/// One batch body, in bytes.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// Events in one batch.
pub const BATCH_EVENTS_MAX: usize = 1_000;
/// Subscriptions that one event may match; one that matches more is refused.
pub const SUBSCRIPTIONS_OF_EVENT_MAX: usize = 10_000;
/// Rows in one page of any listing.
pub const PAGE_ROWS_MAX: usize = 1_000;
