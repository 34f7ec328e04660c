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
    /// The time, counted from `now`.
    #[must_use]
    pub(super) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ms) => Timestamp(now.0.saturating_sub(ms)),
        }
    }

    /// The same in RFC 3339.
    #[must_use]
    pub(super) fn rfc_3339(self, now: Timestamp) -> String {
        self.at(now).to_string()
    }
}

/// How a time is written.
const WRITE: &str =
    "write a time, as in 2026-11-21T06:30:16Z, or how long ago: 30s, 15m, 2h30m, 7d, 1w";

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(at) = at(text) {
            return Ok(Self::At(at));
        }
        if let Some(ms) = ago_ms(text) {
            return Ok(Self::Ago(ms));
        }
        // Whoever leaves the zone out may mean that of the machine, or the one in which times are shown.
        let utc = match text.contains(':') {
            true => format!("{text}Z"),
            false => format!("{text}T00:00Z"),
        };
        match at(&utc) {
            Some(_) => Err(format!("the time has no zone; for UTC write {utc}")),
            None => Err(WRITE.to_owned()),
        }
    }
}

/// A time in RFC 3339. The seconds may be left out, and a blank may stand for the `T`, as in printed times.
fn at(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let zone = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at(zone);
    let seconds = if time.len() == "06:30".len() {
        ":00"
    } else {
        ""
    };
    output::parse_time(&format!("{date}T{time}{seconds}{zone}"))
}

/// A duration in milliseconds: numbers with their units.
fn ago_ms(text: &str) -> Option<u64> {
    let mut total = (!text.is_empty()).then_some(0_u64)?;
    let mut rest = text;
    while !rest.is_empty() {
        let unit = rest.find(|character: char| !character.is_ascii_digit())?;
        let count: u64 = rest[..unit].parse().ok()?;
        let unit_ms = match rest.as_bytes()[unit] {
            b's' => 1_000,
            b'm' => 60_000,
            b'h' => 3_600_000,
            b'd' => 86_400_000,
            b'w' => 604_800_000,
            _ => return None,
        };
        total = total.checked_add(count.checked_mul(unit_ms)?)?;
        rest = &rest[unit + 1..];
    }
    Some(total)
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
        assert_eq!(read("1w").unwrap(), "1970-01-01T00:00:00.000Z");
        assert_eq!(read("10m30s").unwrap(), "1970-01-01T00:49:30.000Z");
        for same in [
            "1970-01-01T02:07:00+02:00",
            "1970-01-01T02:07+02:00",
            "1970-01-01T00:07:00Z",
            "1970-01-01T00:07Z",
            "1970-01-01 00:07:00Z",
        ] {
            assert_eq!(read(same).unwrap(), "1970-01-01T00:07:00.000Z", "{same}");
        }
        for (zoneless, utc) in [
            ("1970-01-01T00:07", "1970-01-01T00:07Z"),
            ("1970-01-01 00:07:00", "1970-01-01 00:07:00Z"),
            ("1970-01-01", "1970-01-01T00:00Z"),
        ] {
            let told = read(zoneless).unwrap_err();
            assert!(told.ends_with(&format!("for UTC write {utc}")), "{told}");
        }
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
            "200000000000d200000000000d",
            "2h50",
            "h2",
            "13:00",
            "1970-01-01T00:07:00Ü",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
