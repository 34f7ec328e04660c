//! What is compared between a plain and a loaded bus, and what a difference may be.

use hdrhistogram::Histogram;

use super::load::Measured;
use crate::output::{bytes, duration};

/// One bus in one round.
pub(super) struct Turn {
    /// At a fixed rate far below what the plain bus can do, so that latencies of both compare.
    pub(super) paced: Measured,
    /// Meanwhile, of `/livez`.
    pub(super) live: Histogram<u64>,
    /// Requests of `/livez` that were not answered by 200.
    pub(super) live_failed: u64,
    /// As fast as the bus answers.
    pub(super) flat_out: Measured,
}

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Measure {
    Accepted,
    Settled,
    ToAcceptedP50,
    ToAcceptedP99,
    ToSettledP50,
    ToSettledP99,
    LiveP50,
    LiveP99,
    LiveMax,
    /// Before the first round: of an idle bus, and of one with its backlog.
    MemoryBefore,
    /// After the last round.
    MemoryAfter,
}

/// What is measured in each turn, in the order in which it is shown.
pub(super) const OF_TURNS: [Measure; 9] = [
    Measure::Accepted,
    Measure::Settled,
    Measure::ToAcceptedP50,
    Measure::ToAcceptedP99,
    Measure::ToSettledP50,
    Measure::ToSettledP99,
    Measure::LiveP50,
    Measure::LiveP99,
    Measure::LiveMax,
];

impl Measure {
    /// Its value in one turn: events a second, or microseconds; 0 for what is not measured in turns.
    pub(super) fn of(self, turn: &Turn) -> f64 {
        let quantile = |latencies: &Histogram<u64>, at: f64| latencies.value_at_quantile(at) as f64;
        let flat_out = &turn.flat_out;
        let per_second = |events: u64| events as f64 / flat_out.took.as_secs_f64().max(1e-9);
        match self {
            Self::Accepted => per_second(flat_out.accepted),
            Self::Settled => per_second(flat_out.settled),
            Self::ToAcceptedP50 => quantile(&turn.paced.to_accepted, 0.5),
            Self::ToAcceptedP99 => quantile(&turn.paced.to_accepted, 0.99),
            Self::ToSettledP50 => quantile(&turn.paced.to_settled, 0.5),
            Self::ToSettledP99 => quantile(&turn.paced.to_settled, 0.99),
            Self::LiveP50 => quantile(&turn.live, 0.5),
            Self::LiveP99 => quantile(&turn.live, 0.99),
            Self::LiveMax => turn.live.max() as f64,
            Self::MemoryBefore | Self::MemoryAfter => 0.0,
        }
    }

    /// Its name in the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted, flat out",
            Self::Settled => "settled, flat out",
            Self::ToAcceptedP50 => "to accepted p50",
            Self::ToAcceptedP99 => "to accepted p99",
            Self::ToSettledP50 => "to settled p50",
            Self::ToSettledP99 => "to settled p99",
            Self::LiveP50 => "/livez p50",
            Self::LiveP99 => "/livez p99",
            Self::LiveMax => "/livez max",
            Self::MemoryBefore => "memory before the load",
            Self::MemoryAfter => "memory after it",
        }
    }

    /// Its key in JSON; the unit is the last word.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Accepted => "accepted_per_second",
            Self::Settled => "settled_per_second",
            Self::ToAcceptedP50 => "accepted_p50_us",
            Self::ToAcceptedP99 => "accepted_p99_us",
            Self::ToSettledP50 => "settled_p50_us",
            Self::ToSettledP99 => "settled_p99_us",
            Self::LiveP50 => "livez_p50_us",
            Self::LiveP99 => "livez_p99_us",
            Self::LiveMax => "livez_max_us",
            Self::MemoryBefore => "memory_before_bytes",
            Self::MemoryAfter => "memory_after_bytes",
        }
    }

    /// A value with its unit.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::Accepted | Self::Settled => format!("{value:.0}/s"),
            Self::MemoryBefore | Self::MemoryAfter => bytes(value as u64),
            _ => duration(value as u64),
        }
    }
}

/// What a measure of the loaded bus may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    /// At least so many times the plain run's.
    RatioMin(f64),
    /// Less than so many times the plain run's.
    RatioBelow(f64),
    /// Less than this many milliseconds, whatever the plain run's is.
    BelowMs(u32),
    /// At most so many MiB more than the plain run's.
    MoreMebibytesMax(u32),
}

impl Bound {
    /// True if it is kept by medians and the median ratio.
    pub(super) fn is_met(self, plain: f64, loaded: f64, ratio: f64) -> bool {
        match self {
            Self::RatioMin(least) => ratio >= least,
            Self::RatioBelow(end) => ratio < end,
            Self::BelowMs(end) => loaded < f64::from(end) * 1e3,
            Self::MoreMebibytesMax(most) => loaded - plain <= f64::from(most) * 1_048_576.0,
        }
    }

    /// In words.
    pub(super) fn show(self) -> String {
        match self {
            Self::RatioMin(least) => format!(">= {least:.2}x"),
            Self::RatioBelow(end) => format!("< {end:.2}x"),
            Self::BelowMs(end) => format!("< {end} ms"),
            Self::MoreMebibytesMax(most) => format!("<= +{most} MiB"),
        }
    }
}

/// The middle value, or the mean of the two in the middle; 0 for none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.get(middle) {
        None => 0.0,
        Some(upper) if values.len() % 2 == 1 => *upper,
        Some(upper) => f64::midpoint(values[middle - 1], *upper),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_kept_or_not() {
        // bound, plain, loaded, ratio → kept
        let mebibyte = 1_048_576.0;
        let table = [
            (Bound::RatioMin(0.85), 100.0, 85.0, 0.85, true),
            (Bound::RatioMin(0.85), 100.0, 84.0, 0.84, false),
            (Bound::RatioBelow(2.0), 1.0, 1.9, 1.9, true),
            (Bound::RatioBelow(2.0), 1.0, 2.0, 2.0, false),
            (Bound::BelowMs(20), 1.0, 19_999.0, 19_999.0, true),
            (Bound::BelowMs(20), 1.0, 20_000.0, 20_000.0, false),
            (
                Bound::MoreMebibytesMax(1),
                mebibyte,
                2.0 * mebibyte,
                2.0,
                true,
            ),
            (
                Bound::MoreMebibytesMax(1),
                mebibyte,
                2.1 * mebibyte,
                2.1,
                false,
            ),
        ];
        for (bound, plain, loaded, ratio, met) in table {
            assert_eq!(
                bound.is_met(plain, loaded, ratio),
                met,
                "{bound:?} {loaded}"
            );
        }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![3.0]), 3.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
    }
}
