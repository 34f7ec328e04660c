//! Limits the memory of an attempt: one sum over all memories and tables of its store.
//!
//! wasmtime's own limiter bounds each memory separately, so a component with twenty memories could use twenty
//! times the limit.

use ::wasmtime::{Error, ResourceLimiter};

/// The bytes that an element of a table takes on the host.
const TABLE_ELEMENT_BYTES: u64 = 8;

/// Sums the sizes of the store's memories and tables.
pub(super) struct Limiter {
    bytes_max: u64,
    bytes: u64,
    /// The growth that was allowed last. It is subtracted again if that growth fails.
    allowed_last: u64,
    denied: bool,
}

impl Limiter {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            bytes: 0,
            allowed_last: 0,
            denied: false,
        }
    }

    /// True once a growth was refused, whatever the guest did afterwards.
    pub(super) fn denied(&self) -> bool {
        self.denied
    }

    fn grow(&mut self, current: usize, desired: usize, unit: u64) -> bool {
        let wanted = u64::try_from(desired.saturating_sub(current))
            .unwrap_or(u64::MAX)
            .saturating_mul(unit);
        let sum = self.bytes.saturating_add(wanted);
        if sum > self.bytes_max {
            self.denied = true;
            self.allowed_last = 0;
            return false;
        }
        self.bytes = sum;
        self.allowed_last = wanted;
        true
    }

    fn take_back(&mut self) {
        self.bytes -= self.allowed_last;
        self.allowed_last = 0;
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool, Error> {
        Ok(self.grow(current, desired, 1))
    }

    fn memory_grow_failed(&mut self, _error: Error) -> Result<(), Error> {
        self.take_back();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool, Error> {
        Ok(self.grow(current, desired, TABLE_ELEMENT_BYTES))
    }

    fn table_grow_failed(&mut self, _error: Error) -> Result<(), Error> {
        self.take_back();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_count_together() {
        let mut limiter = Limiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).expect("no error"));
        assert!(limiter.table_growing(0, 5, None).expect("no error"));
        assert!(!limiter.denied());
        assert!(!limiter.memory_growing(0, 1, None).expect("no error"));
        assert!(limiter.denied());
    }

    #[test]
    fn what_failed_is_given_back() {
        let mut limiter = Limiter::new(100);
        assert!(limiter.memory_growing(0, 90, Some(10)).expect("no error"));
        limiter
            .memory_grow_failed(Error::msg("no room"))
            .expect("no error");
        assert!(limiter.memory_growing(0, 100, None).expect("no error"));
    }
}
