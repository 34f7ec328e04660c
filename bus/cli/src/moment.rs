//! A time on the command line: RFC 3339, or a duration before now, as in `15m`.

use super::output;
use edgebus_engine::clock::Clock;
use edgebus_model::Timestamp;

/// A time as it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moment {
    /// This time.
    At(Timestamp),
    /// So many milliseconds before now.
    Ago(u64),
}

impl Moment {
    /// The time in RFC 3339, counted from `now`.
    #[must_use]
    pub(super) fn rfc_3339(self, now: Timestamp) -> String {
        match self {
            Self::At(at) => at.to_string(),
            Self::Ago(ms) => Timestamp(now.0.saturating_sub(ms)).to_string(),
        }
    }
}

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(at) = output::parse_time(text) {
            return Ok(Self::At(at));
        }
        let unit_ms = match text.chars().last() {
            Some('s') => 1_000,
            Some('m') => 60_000,
            Some('h') => 3_600_000,
            Some('d') => 86_400_000,
            _ => 0,
        };
        text.get(..text.len().saturating_sub(1))
            .and_then(|digits| digits.parse::<u64>().ok())
            .filter(|_| unit_ms > 0)
            .and_then(|count| count.checked_mul(unit_ms))
            .map(Self::Ago)
            .ok_or_else(|| {
                "write a time, as in 2026-11-21T06:30:16Z, or how long ago: 30s, 15m, 2h, 7d"
                    .to_owned()
            })
    }
}

/// The time now.
#[must_use]
pub(super) fn now() -> Timestamp {
    Clock::system(Timestamp(0)).now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_ago() {
        let now = Timestamp(3_600_000);
        let read = |text: &str| text.parse::<Moment>().map(|moment| moment.rfc_3339(now));
        assert_eq!(read("15m").unwrap(), "1970-01-01T00:45:00.000Z");
        assert_eq!(read("2d").unwrap(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            read("1970-01-01T02:00:00+02:00").unwrap(),
            "1970-01-01T00:00:00.000Z"
        );
        for bad in [
            "",
            "m",
            "15",
            "-3m",
            "1.5h",
            "yesterday",
            "15M",
            "é",
            "99999999999999999d",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
