//! What each subscription's deliveries came to since this process started: for `top` and listings, which
//! ask for two of them and show the difference. Never here: anything that must outlive the process.

use std::collections::HashMap;
use std::sync::Mutex;

use edgebus_model::SubscriptionId;

/// Subscriptions that are counted; further ones still work and are not.
const SUBSCRIPTIONS_MAX: usize = 1 << 16;

/// Counts of one subscription.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SubscriptionCounters {
    /// Deliveries that ended in success.
    pub succeeded: u64,
    /// Attempts that failed and are tried again.
    pub retried: u64,
    /// Deliveries that became dead letters.
    pub dead: u64,
    /// Time in the function, all attempts together, in microseconds.
    pub run_us: u64,
}

/// The counts of all subscriptions.
#[derive(Default)]
pub(super) struct CounterMap {
    /// A plain mutex: it is held for one look-up, and nothing is called under it.
    counts: Mutex<HashMap<SubscriptionId, SubscriptionCounters>>,
}

impl CounterMap {
    /// Counts an attempt that ended.
    pub(super) fn count(&self, id: SubscriptionId, retry: bool, dead: bool, run_us: u64) {
        let mut counts = self
            .counts
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if counts.len() >= SUBSCRIPTIONS_MAX && !counts.contains_key(&id) {
            return;
        }
        let subscription_counters = counts.entry(id).or_default();
        subscription_counters.succeeded += u64::from(!retry && !dead);
        subscription_counters.retried += u64::from(retry);
        subscription_counters.dead += u64::from(dead);
        subscription_counters.run_us = subscription_counters.run_us.saturating_add(run_us);
    }

    /// The counts of one subscription.
    pub(super) fn of(&self, id: SubscriptionId) -> SubscriptionCounters {
        let counts = self
            .counts
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        counts.get(&id).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_one_of_three() {
        let counter_map = CounterMap::default();
        let id = SubscriptionId(7);
        counter_map.count(id, true, false, 5);
        counter_map.count(id, true, false, 5);
        counter_map.count(id, false, true, 1);
        counter_map.count(id, false, false, 2);
        let subscription_counters = SubscriptionCounters {
            succeeded: 1,
            retried: 2,
            dead: 1,
            run_us: 13,
        };
        assert_eq!(counter_map.of(id), subscription_counters);
        assert_eq!(
            counter_map.of(SubscriptionId(8)),
            SubscriptionCounters::default()
        );
    }
}
