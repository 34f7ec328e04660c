//! What attempts need to run, as permits: a place on a processor, a place in flight, and a lease of
//! memory.
//!
//! A function is *quick* while its attempts take [`SLOW`] or less, *unknown* before its first attempt has
//! ended, and *slow* otherwise. A quarter of the places and of the memory is kept for functions that are
//! quick (an eighth of it for unknown ones), so that functions that sleep or hang never hold everything.
//! Never here: whose turn it is.

use std::time::Duration;

#[cfg(test)]
use crate::pipeline::injected;

/// From this duration on an attempt makes its function a slow one.
pub(super) const SLOW: Duration = Duration::from_millis(100);

/// How long a function holds what it is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// Its attempts take less than [`SLOW`].
    Quick,
    /// None of its attempts has ended yet.
    Unknown,
    /// Its attempts take longer, or one that runs does.
    Slow,
}

/// What all attempts together may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Attempts that have not given up their thread since they began.
    pub on_processor_max: usize,
    /// Attempts in flight, those that wait included.
    pub in_flight_max: usize,
    /// Memory that the limits of attempts in flight may add up to, in bytes.
    pub memory_bytes_max: u64,
    /// Deliveries of one subscription that wait in memory; of more, the others wait in the store.
    pub ready_max: usize,
}

impl Limits {
    /// For a machine that has so much memory for functions, and a runtime with room for so many instances.
    #[must_use]
    pub fn of(memory_bytes_max: u64, instances_max: usize) -> Self {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            on_processor_max: processors * PER_PROCESSOR,
            in_flight_max: instances_max.clamp(1, IN_FLIGHT_MAX),
            memory_bytes_max,
            ready_max: READY_MAX,
        }
    }
}

/// Deliveries of one subscription that wait in memory.
pub(super) const READY_MAX: usize = 1_024;

/// Attempts that begin on one processor at a time: enough that its threads don't run dry while the
/// scheduler picks the next, few enough that who comes next is decided by the scheduler.
const PER_PROCESSOR: usize = 8;
/// Attempts in flight, whatever the machine has.
const IN_FLIGHT_MAX: usize = 512;

/// Why an attempt can't begin for want of something that all share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Short {
    /// Places in flight.
    Workers,
    /// Memory.
    Memory,
}

/// What is taken of the limits.
pub(super) struct Budget {
    limits: Limits,
    on_processor: usize,
    in_flight: usize,
    memory_bytes: u64,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            on_processor: 0,
            in_flight: 0,
            memory_bytes: 0,
        }
    }

    /// True if another attempt may begin on a processor.
    pub(super) fn has_processor(&self) -> bool {
        self.on_processor < self.limits.on_processor_max
    }

    /// Why a function of this pace, with so many attempts in flight, can't have another with a lease of
    /// `memory` bytes; `None` if it can.
    ///
    /// A function may hold as many places as are left free (the dynamic threshold of Choudhury and Hahne,
    /// 1998), so that a place is left for whoever comes next. One attempt runs whatever it leases, if
    /// nothing else does.
    pub(super) fn short(&self, pace: Pace, own: usize, memory: u64) -> Option<Short> {
        if self.in_flight == 0 {
            return None;
        }
        let limits = &self.limits;
        let kept = limits.in_flight_max / 4;
        let free = limits.in_flight_max.saturating_sub(self.in_flight);
        let usable = match pace {
            Pace::Quick => free,
            Pace::Unknown => free.saturating_sub(kept / 2),
            Pace::Slow => free.saturating_sub(kept),
        };
        if usable == 0 || own > free {
            return Some(Short::Workers);
        }
        let kept = limits.memory_bytes_max / 4;
        let free = limits.memory_bytes_max.saturating_sub(self.memory_bytes);
        let usable = match pace {
            Pace::Quick => free,
            Pace::Unknown => free.saturating_sub(kept / 2),
            Pace::Slow => free.saturating_sub(kept),
        };
        let held = (own as u64).saturating_mul(memory);
        (memory > usable || held > free).then_some(Short::Memory)
    }

    /// Takes everything that an attempt needs.
    pub(super) fn take(&mut self, memory: u64) {
        self.on_processor += 1;
        self.in_flight += 1;
        self.memory_bytes += memory;
    }

    /// An attempt gave up its thread.
    pub(super) fn leave_processor(&mut self) {
        self.on_processor = self.on_processor.saturating_sub(1);
    }

    /// An attempt is over, and its settlement with the writer.
    pub(super) fn give_back(&mut self, memory: u64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        #[cfg(test)]
        if injected::every(7, injected::Bug::MemoryLeaked) {
            return;
        }
        self.memory_bytes = self.memory_bytes.saturating_sub(memory);
    }

    /// Attempts in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Memory that is leased, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }
}
