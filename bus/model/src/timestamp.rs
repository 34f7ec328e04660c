//! Wall-clock time as it is stored: milliseconds, never a local time zone.

use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Reads a time in RFC 3339; `None` if it is none, or before 1970.
    #[must_use]
    pub fn of_rfc_3339(text: &str) -> Option<Self> {
        let form = &time::format_description::well_known::Rfc3339;
        let moment = time::OffsetDateTime::parse(text, form).ok()?;
        let ms = u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok()?;
        Some(Self(ms))
    }

    /// The time `ms` milliseconds later; stops at the end of time instead of wrapping.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to `self`; 0 if `earlier` is later, as after a clock that jumped back.
    #[must_use]
    pub fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FORM: &[time::format_description::FormatItem<'_>] = time::macros::format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        );
        let nanos = i128::from(self.0) * 1_000_000;
        match time::OffsetDateTime::from_unix_timestamp_nanos(nanos)
            .ok()
            .and_then(|moment| moment.format(FORM).ok())
        {
            Some(text) => out.write_str(&text),
            None => write!(out, "{} ms", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn prints_as_rfc_3339() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            Timestamp(1_795_242_616_007).to_string(),
            "2026-11-21T06:30:16.007Z"
        );
        let read = Timestamp::of_rfc_3339("2026-11-21T07:30:16.007+01:00");
        assert_eq!(read, Some(Timestamp(1_795_242_616_007)));
        assert_eq!(Timestamp::of_rfc_3339("1969-12-31T00:00:00Z"), None);
        assert_eq!(Timestamp(5).ms_since(Timestamp(9)), 0);
    }
}
