//! What the log's clock stores for the next start: its own time, the machine's clocks, and the gaps.
//!
//! Never here: reading a clock.

use super::Timestamp;

/// The log's time and the machine's clocks, read together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClockReading {
    /// The log's time.
    pub log: Timestamp,
    /// The wall clock.
    pub wall: Timestamp,
    /// Which boot of the machine this was; all zeros where the system does not say.
    pub boot: [u8; 16],
    /// Milliseconds since that boot, time asleep included.
    pub boot_ms: u64,
    /// Where the log's time went on after the machine was off, or faster than the real time; in order.
    pub gaps: Vec<Gap>,
}

/// A stretch of the log's time that did not really pass, as far as is known: the machine was off, or the clock caught
/// up with the wall clock. Ages and windows do not count it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    /// When it ended.
    pub end: Timestamp,
    /// How long it was, in milliseconds.
    pub ms: u64,
}

impl ClockReading {
    /// How far back from `now` a window of `window_ms` reaches: longer by each gap that is within it.
    #[must_use]
    pub fn reach_ms(&self, now: Timestamp, window_ms: u64) -> u64 {
        reach_ms(&self.gaps, now, window_ms)
    }
}

/// How far back from `now` a window of `window_ms` reaches over `gaps`, which are in order.
#[must_use]
pub fn reach_ms(gaps: &[Gap], now: Timestamp, window_ms: u64) -> u64 {
    let mut reach_ms = window_ms;
    for gap in gaps.iter().rev() {
        if now.ms_since(gap.end) >= reach_ms {
            break;
        }
        reach_ms = reach_ms.saturating_add(gap.ms);
    }
    reach_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_longer_by_the_gaps_within_it() {
        let gap = |end, ms| Gap {
            end: Timestamp(end),
            ms,
        };
        let gaps = [gap(1_000, 500), gap(2_000, 300)];
        for (now, window_ms, expected) in [
            (2_000, 0, 0),
            (2_100, 50, 50),
            (2_100, 100, 100),
            (2_100, 101, 401),
            (2_100, 799, 1_099),
            (2_100, 801, 1_601),
            (9_000, 100, 100),
            (2_100, u64::MAX, u64::MAX),
        ] {
            let reach = reach_ms(&gaps, Timestamp(now), window_ms);
            assert_eq!(reach, expected, "{window_ms} ms before {now}");
        }
    }
}
