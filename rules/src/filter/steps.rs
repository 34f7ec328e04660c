//! Steps: the unit in which the work of queries is counted and bounded.
//!
//! A step is one node visited, one comparison, or some bytes of a string. All queries of an event take their
//! steps from one budget, whatever rules they belong to. Never here: a clock. The same event takes the same
//! steps on every machine.

use crate::limits::FILTER_STEPS_MAX;

/// A budget of steps for the queries of one event, all rules together.
///
/// ```
/// use edgebus_rules::{Filter, Steps};
///
/// let event = serde_json::json!({"data": {"list": [1, 2, 3]}});
/// let filter = Filter::parse("$.data.list[?@ == 3]").expect("the query is valid");
/// let mut steps = Steps::of_event();
/// assert_eq!(filter.holds(&event, &mut steps), Ok(true));
/// assert!(steps.used() > 3);
/// assert!(filter.holds(&event, &mut Steps::at_most(3)).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps {
    most: u64,
    left: u64,
}

/// The budget was used up before a query ended, so its result is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queries of one event may take {FILTER_STEPS_MAX} steps, which are used up")]
pub struct UsedUp;

impl Steps {
    /// The budget of one event.
    #[must_use]
    pub fn of_event() -> Steps {
        Steps::at_most(FILTER_STEPS_MAX as u64)
    }

    /// A smaller budget, for a caller who has little time and can evaluate again with the whole budget
    /// elsewhere.
    #[must_use]
    pub fn at_most(most: u64) -> Steps {
        let most = most.min(FILTER_STEPS_MAX as u64);
        Steps { most, left: most }
    }

    /// The steps that queries have taken so far.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.most - self.left
    }

    pub(super) fn spend(&mut self) -> Result<(), UsedUp> {
        self.spend_many(1)
    }

    /// Takes `count` steps, or the rest of them.
    pub(super) fn spend_many(&mut self, count: usize) -> Result<(), UsedUp> {
        let left = self.left.checked_sub(count as u64);
        self.left = left.unwrap_or(0);
        left.map(drop).ok_or(UsedUp)
    }
}
