//! Metrics with the name of a subscription, made when somebody asks for the metrics.
//!
//! Nothing is kept for them: the store's counters say it. Never here: a series of what has no dead letter.

use std::fmt::Write as _;

use super::snapshot::Snapshot;
use edgebus_store::Store;

/// Series at most: those of the subscriptions with the most dead letters.
const SERIES_MAX: usize = 1_000;

/// How many dead letters each subscription has, in Prometheus' text format.
pub(super) fn dead_letters(store: &dyn Store, snapshot: &Snapshot) -> String {
    let mut out = String::from(
        "# HELP edgebus_subscription_dead_letters Dead letters of a subscription that has some, for the 1,000 with the most.\n# TYPE edgebus_subscription_dead_letters gauge\n",
    );
    if store.totals().dead == 0 {
        return out;
    }
    let mut rows = Vec::new();
    for own in snapshot.subscriptions.values() {
        // What can't be read is told otherwise.
        let dead = store.counts(own.id).map_or(0, |counts| counts.dead);
        if dead > 0 {
            let bus = snapshot.bus(own.bus).map(|bus| bus.name.to_string());
            rows.push((dead, own.name().to_string(), bus.unwrap_or_default()));
        }
    }
    rows.sort_unstable_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
    for (dead, name, bus) in rows.iter().take(SERIES_MAX) {
        // Names have no character that a label would have to escape; writing into a String can't fail.
        let _ = writeln!(
            out,
            "edgebus_subscription_dead_letters{{bus=\"{bus}\",subscription=\"{name}\"}} {dead}"
        );
    }
    out
}
