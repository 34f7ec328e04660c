//! The client's preferences (RFC 7240). `Prefer: handling=lenient` stores a batch event by event.
//!
//! A preference that isn't known, or isn't one, is skipped, as the RFC has it. Never here: what is done
//! about one.

use hyper::HeaderMap;
use hyper::header::HeaderName;

/// The header that says which preference was followed.
pub(super) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// The preference that is followed, as that header says it.
pub(super) const LENIENT: &str = "handling=lenient";

/// Whether the request prefers lenient handling. Of several `handling` the first counts.
pub(super) fn lenient(headers: &HeaderMap) -> bool {
    let all = headers.get_all("prefer").iter();
    let all = all.filter_map(|value| value.to_str().ok());
    let mut handling = all.flat_map(preferences).filter_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("handling")
            .then_some(value)
    });
    handling.next().is_some_and(|value| {
        let value = value.trim().trim_matches('"');
        value.eq_ignore_ascii_case("lenient")
    })
}

/// The preferences of one header, without their parameters.
fn preferences(header: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let separate = move |character: char| {
        quoted ^= character == '"';
        character == ',' && !quoted
    };
    header
        .split(separate)
        .filter_map(|preference| preference.split(';').next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn the_first_handling_counts() {
        for (headers, wanted) in [
            (&[][..], false),
            (&["handling=lenient"], true),
            (&["Handling = \"Lenient\" ; x=1"], true),
            (&["respond-async, wait=10 , handling=lenient"], true),
            (&["return=minimal", "handling=lenient"], true),
            (&["handling=strict, handling=lenient"], false),
            (&["handling=lenient", "handling=strict"], true),
            (&["note=\"a, handling=lenient\""], false),
            (&["handling"], false),
            (&["handling="], false),
            (&["handling=lenienter"], false),
            (&["lenient"], false),
            (&["=,;\""], false),
        ] {
            let mut all = HeaderMap::new();
            for header in headers {
                all.append("prefer", HeaderValue::from_static(header));
            }
            assert_eq!(lenient(&all), wanted, "{headers:?}");
        }
    }
}
