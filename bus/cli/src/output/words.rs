//! Formats durations, times, sizes and colours for people.
//!
//! Never here: a clock. Callers pass the current time.

use std::fmt::Display;

use edgebus_model::Timestamp;

/// `1 error`, `2 errors`.
#[must_use]
pub(crate) fn counted<N: PartialEq + From<u8> + Display>(
    count: N,
    one: &str,
    many: &str,
) -> String {
    let word = if count == N::from(1) { one } else { many };
    format!("{count} {word}")
}

/// A duration in the unit that reads best.
#[must_use]
pub(crate) fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        _ => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

/// A span of milliseconds in its two largest units.
#[must_use]
pub(crate) fn span(ms: u64) -> String {
    let two = |large: u64, unit: &str, small: u64, part: &str| {
        if small == 0 {
            format!("{large} {unit}")
        } else {
            format!("{large} {unit} {small} {part}")
        }
    };
    let seconds = ms / 1_000;
    match seconds {
        0 => format!("{ms} ms"),
        1..10 => format!("{}.{} s", seconds, ms % 1_000 / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// A number of bytes in the unit that reads best.
#[must_use]
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{}.{} KiB", bytes >> 10, ((bytes & 1_023) * 10) >> 10),
        _ => format!("{}.{} MiB", bytes >> 20, ((bytes & 1_048_575) * 10) >> 20),
    }
}

/// A time of the API, as in `2026-11-21T06:30:16.007Z`, for a table: whole seconds, in UTC.
#[must_use]
pub(crate) fn time(rfc_3339: &str) -> String {
    match (rfc_3339.get(..10), rfc_3339.get(11..19)) {
        (Some(day), Some(hours)) if rfc_3339.ends_with('Z') => format!("{day} {hours}Z"),
        _ => rfc_3339.to_owned(),
    }
}

/// Reads a time in RFC 3339; `None` if it is none, or before 1970.
#[must_use]
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    let moment =
        time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    u64::try_from(moment.unix_timestamp_nanos() / 1_000_000)
        .ok()
        .map(Timestamp)
}

/// Whether and how words are coloured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    /// False leaves words as they are.
    pub(crate) on: bool,
}

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.on && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// What went well.
    pub(crate) fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// What is not over yet.
    pub(crate) fn open(self, text: &str) -> String {
        self.with("33", text)
    }

    /// What went wrong.
    pub(crate) fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    /// What matters less.
    pub(crate) fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    /// What matters more.
    pub(crate) fn strong(self, text: &str) -> String {
        self.with("1", text)
    }

    /// An outcome's class in its colour.
    pub(crate) fn outcome(self, class: &str, text: &str) -> String {
        match class {
            "success" | "succeeded" => self.good(text),
            "retry" | "conflict" | "pending" => self.open(text),
            _ => self.bad(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_read_well() {
        let spans: Vec<String> = [
            0,
            999,
            1_250,
            59_999,
            60_000,
            200_000,
            7_500_000,
            90_000_000,
            172_800_000,
        ]
        .into_iter()
        .map(span)
        .collect();
        assert_eq!(
            spans,
            [
                "0 ms",
                "999 ms",
                "1.2 s",
                "59 s",
                "1 min",
                "3 min 20 s",
                "2 h 5 min",
                "1 d 1 h",
                "2 d"
            ]
        );
        assert_eq!(bytes(12), "12 B");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(bytes(16 << 20), "16.0 MiB");
    }

    #[test]
    fn times_are_shown_and_read() {
        assert_eq!(time("2026-11-21T06:30:16.007Z"), "2026-11-21 06:30:16Z");
        assert_eq!(time("soon"), "soon");
        assert_eq!(
            parse_time("1970-01-01T01:00:00.005+01:00"),
            Some(Timestamp(5))
        );
        assert_eq!(parse_time("1969-12-31T23:59:59Z"), None);
        assert_eq!(parse_time("now"), None);
    }
}
