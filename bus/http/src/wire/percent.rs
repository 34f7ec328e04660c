//! Percent-encoding as CloudEvents headers and URLs use it: exactly one round, and only whole UTF-8.

use std::borrow::Cow;

/// Decodes one round. A `%` without two hexadecimal digits and bytes that are not UTF-8 are refused.
pub(crate) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    const NOT_UTF_8: &str = "is not UTF-8 after percent-decoding";
    if !bytes.contains(&b'%') {
        return std::str::from_utf8(bytes)
            .map(Cow::Borrowed)
            .map_err(|_| NOT_UTF_8);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = tail else {
            return Err("has a `%` without two hexadecimal digits; write `%25` for `%`");
        };
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
            return Err("has a `%` without two hexadecimal digits; write `%25` for `%`");
        };
        out.push(high << 4 | low);
        rest = tail;
    }
    String::from_utf8(out)
        .map(Cow::Owned)
        .map_err(|_| NOT_UTF_8)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
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
