//! When a failed attempt is tried again. Random numbers come in as arguments.

/// Exponential backoff with full jitter, after "Exponential Backoff And Jitter" (AWS, 2015): the delay
/// is drawn evenly from 0 to `min(max, initial × factor^(failures − 1))`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Backoff {
    /// The ceiling after the first failure, in milliseconds.
    pub initial_ms: u64,
    /// What the ceiling is multiplied with after each further failure; at least 1.
    pub factor: f64,
    /// The highest ceiling, in milliseconds.
    pub ms_max: u64,
    /// False takes the ceiling itself as the delay.
    pub jitter: bool,
}

// The factor is a finite number that the manifest checks, so equality is total.
impl Eq for Backoff {}

/// How often and how long a delivery is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; at least 1.
    pub attempts_max: u32,
    /// The delay between them.
    pub backoff: Backoff,
    /// A delivery this old is not tried again, in milliseconds from its acceptance, or from its last redrive.
    pub age_ms_max: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_max: 5,
            backoff: Backoff {
                initial_ms: 1_000,
                factor: 2.0,
                ms_max: 300_000,
                jitter: true,
            },
            age_ms_max: 24 * 3_600_000,
        }
    }
}

impl Backoff {
    /// Between attempts that failed for reasons of the host's own: from a second to a minute.
    pub const OF_THE_HOST: Self = Self {
        initial_ms: 1_000,
        factor: 2.0,
        ms_max: 60_000,
        jitter: true,
    };

    /// The delay after the `failures`th failure (from 1), in milliseconds; `random` is any 64 bits.
    #[must_use]
    pub fn delay_ms(&self, failures: u32, random: u64) -> u64 {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        // The product is finite or infinite, never NaN, and `as` saturates: the cast is exact enough for a delay.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a delay is bounded by ms_max and needs no exactness beyond 2^53"
        )]
        let ceiling =
            ((self.initial_ms as f64) * self.factor.powi(exponent)).min(self.ms_max as f64) as u64;
        if self.jitter {
            let wide = u128::from(random) * (u128::from(ceiling) + 1);
            u64::try_from(wide >> 64).unwrap_or(ceiling)
        } else {
            ceiling
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_grows_and_stops() {
        let backoff = Backoff {
            initial_ms: 1_000,
            factor: 2.0,
            ms_max: 5_000,
            jitter: false,
        };
        let delays: Vec<u64> = (1..=5)
            .map(|failures| backoff.delay_ms(failures, 0))
            .collect();
        assert_eq!(delays, [1_000, 2_000, 4_000, 5_000, 5_000]);
        assert_eq!(backoff.delay_ms(u32::MAX, 0), 5_000);
    }

    #[test]
    fn full_jitter_spans_zero_to_the_ceiling() {
        let backoff = Backoff {
            initial_ms: 1_000,
            factor: 2.0,
            ms_max: 5_000,
            jitter: true,
        };
        assert_eq!(backoff.delay_ms(1, 0), 0);
        assert_eq!(backoff.delay_ms(1, u64::MAX), 1_000);
        assert_eq!(backoff.delay_ms(3, u64::MAX / 2), 2_000);
    }
}
