//! Percent-encoding as CloudEvents headers and URLs use it: exactly one round, and only whole UTF-8.

use std::borrow::Cow;

/// Decodes one round. A `%` without two hexadecimal digits and bytes that are not UTF-8 are refused.
pub(crate) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    let is_digits = |after: &[u8]| matches!(after, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
    // The library would leave such a `%` as it is.
    if !bytes.split(|byte| *byte == b'%').skip(1).all(is_digits) {
        return Err("has a `%` without two hexadecimal digits; write `%25` for `%`");
    }
    percent_encoding::percent_decode(bytes)
        .decode_utf8()
        .map_err(|_| "is not UTF-8 after percent-decoding")
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn one_round_and_whole_utf_8() {
        for (from, to) in [
            ("", ""),
            ("plain", "plain"),
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("%e2%82%ac", "€"),
            ("%2541", "%41"),
            ("%41", "A"),
        ] {
            assert_eq!(decode(from.as_bytes()).unwrap(), to);
        }
        for bad in ["%", "%4", "a%4g", "%C0%A0", "%ff", "%+1", "%%41"] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(decode(b"\xff").is_err());
    }
}
