//! One look at a running bus: its subscriptions and its counters.

use std::time::Instant;

use edgebus_api::Subscription;

use crate::client::{Client, Error};

/// What a bus said at one moment.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// When, on this machine's monotonic clock.
    pub(super) at: Instant,
    /// Its subscriptions.
    pub(super) subscriptions: Vec<Subscription>,
    /// Events that were accepted since the bus started.
    pub(super) accepted: u64,
    /// Events that were known already.
    pub(super) duplicates: u64,
    /// Publish requests that were refused for want of room.
    pub(super) refused: u64,
}

/// Asks the bus.
///
/// # Errors
/// It can't be reached, or its answer can't be read.
pub(super) async fn look(client: &Client) -> Result<Look, Error> {
    let listing = client.subscriptions().await?;
    let metrics = client.metrics().await?;
    Ok(Look {
        at: Instant::now(),
        subscriptions: listing.subscriptions,
        accepted: counter(&metrics, "edgebus_events_accepted_total"),
        duplicates: counter(&metrics, "edgebus_events_duplicate_total"),
        refused: counter(&metrics, "edgebus_publishes_refused_total"),
    })
}

/// A counter without labels in Prometheus text; 0 if it is not there.
fn counter(text: &str, name: &str) -> u64 {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::counter;

    #[test]
    fn a_counter_is_found_by_its_whole_name() {
        let text = "# TYPE a_total counter\na_total_more 3\na_total 12\nb 1\n";
        assert_eq!(counter(text, "a_total"), 12);
        assert_eq!(counter(text, "c"), 0);
    }
}
