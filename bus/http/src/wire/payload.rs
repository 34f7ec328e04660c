//! Event data. It is kept byte for byte, and refused if rules could not read it exactly.

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;
use serde_json::value::RawValue;

use edgebus_model::Data;

/// Brackets open at once in the data of an event: 64 with the event's own.
const DEPTH_MAX: usize = 63;
/// Data up to this size is copied out of a body that holds one event: the copy is cheaper than the
/// read buffer that a slice of it would keep alive.
const COPY_BYTES_MAX: usize = 4096;

/// The part `data` of `body` as bytes of its own, or as a slice of a body that is little else.
pub(super) fn keep(body: &Bytes, data: &[u8]) -> Bytes {
    if data.len() <= COPY_BYTES_MAX || data.len() < body.len() / 2 {
        Bytes::copy_from_slice(data)
    } else {
        body.slice_ref(data)
    }
}

/// Checks that `text` is one JSON value in UTF-8 that is not nested too deeply.
pub(super) fn check_json(text: &[u8]) -> Result<(), String> {
    if text.starts_with(b"\xef\xbb\xbf") {
        return Err(
            "is not JSON: it begins with a byte order mark, which is to be left out".to_owned(),
        );
    }
    serde_json::from_slice::<&RawValue>(text).map_err(|error| reason(&error))?;
    check_depth(text)
}

/// The data of these bytes where nothing says what they are: JSON if they are JSON that rules can read exactly,
/// as CloudEvents' SDKs send and take it. Nobody said that it is JSON, so what isn't is no error.
pub(super) fn untyped(bytes: Bytes) -> Data {
    let parsed = serde_json::from_slice::<&RawValue>(&bytes).ok();
    let is_json =
        parsed.is_some_and(|json| check_depth(&bytes).is_ok() && !repeats_a_key(json.get()));
    match is_json {
        true => Data::Json(bytes),
        false => Data::Opaque(bytes),
    }
}

/// Whether an object in this text, which is known to be JSON, has a key twice.
fn repeats_a_key(json: &str) -> bool {
    // The keys of each open object; arrays have none.
    let mut open: Vec<HashSet<Cow<'_, str>>> = Vec::new();
    let bytes = json.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => open.push(HashSet::new()),
            b'}' | b']' => drop(open.pop()),
            b'"' => {
                let start = at;
                at += 1;
                while bytes[at] != b'"' {
                    at += 1 + usize::from(bytes[at] == b'\\');
                }
                let text = &json[start..=at];
                let is_key = json[at + 1..].trim_ascii_start().starts_with(':');
                if let Some(keys) = open.last_mut().filter(|_| is_key)
                    && !keys.insert(unescaped(text))
                {
                    return true;
                }
            }
            _ => {}
        }
        at += 1;
    }
    false
}

/// The text of a string in JSON; as it is written where it has no text, as half of a surrogate pair.
fn unescaped(json: &str) -> Cow<'_, str> {
    let plain = &json[1..json.len() - 1];
    match plain.contains('\\') {
        true => serde_json::from_str(json).map_or(Cow::Borrowed(plain), Cow::Owned),
        false => Cow::Borrowed(plain),
    }
}

/// Checks the nesting of what is known to be JSON.
pub(super) fn check_depth(json: &[u8]) -> Result<(), String> {
    // Counting every opening bracket, in strings too, is much faster than following the nesting, and
    // few events have this many. The two differ in one bit; sums of bytes go 32 at a time.
    let openings: usize = json
        .chunks(255)
        .map(|chunk| {
            let count: u8 = chunk.iter().map(|byte| u8::from(byte & 0xDF == b'[')).sum();
            usize::from(count)
        })
        .sum();
    if openings <= DEPTH_MAX || depth(json) <= DEPTH_MAX {
        Ok(())
    } else {
        Err(format!("is nested more than {DEPTH_MAX} levels deep"))
    }
}

fn depth(json: &[u8]) -> usize {
    let (mut open, mut deepest) = (0usize, 0usize);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                open += 1;
                deepest = deepest.max(open);
            }
            b'}' | b']' => open = open.saturating_sub(1),
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

/// The parser's message without its place, which is given separately.
pub(super) fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let words = text.split(" at line ").next().unwrap_or(&text);
    format!("is not JSON: {words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_counted_outside_strings() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(check_json(deep(63).as_bytes()).is_ok());
        assert!(check_json(deep(64).as_bytes()).is_err());
        assert!(check_json(deep(100_000).as_bytes()).is_err());
        let text = format!(r#"{{"a":"\"{}","b":[1]}}"#, "[".repeat(100));
        assert!(check_json(text.as_bytes()).is_ok());
        let wide = format!("[{}[]]", "[],".repeat(100));
        assert!(check_json(wide.as_bytes()).is_ok());
    }

    #[test]
    fn untyped_data_is_json_if_rules_can_read_it() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let check = |text: &str, is_json: bool| {
            let bytes = Bytes::copy_from_slice(text.as_bytes());
            let wanted = match is_json {
                true => Data::Json(bytes.clone()),
                false => Data::Opaque(bytes.clone()),
            };
            assert_eq!(untyped(bytes), wanted, "{text}");
        };
        check(&deep(63), true);
        for levels in [64, 100, 127, 128, 200, 100_000] {
            check(&deep(levels), false);
        }
        for json in [
            r#"{"a":1,"b":{"a":1},"c":["a","a",{"a":1},{"a":1}]}"#,
            r#"{"a":"a","b" : "a" ,"\\":"b\"","c\"":":"}"#,
            r#"["a:","a:"]"#,
            r#"{"\ud800":1,"\ud801":"\ud800"}"#,
            "1e999",
        ] {
            check(json, true);
        }
        for repeated in [
            r#"{"a":1,"a":2}"#,
            r#"[{"b":[{"a":{},"c":"}","a" : 2}]}]"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"\"":1,"\u0022":2}"#,
            r#"{"\ud800":1,"\ud800":2}"#,
        ] {
            check(repeated, false);
        }
        check("not JSON", false);
    }

    #[test]
    fn json_is_one_value_in_utf_8() {
        for good in ["1", " null ", "\"\\ud800\"", "{\"a\":1,\"a\":2}", "1e999"] {
            assert!(check_json(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            &b""[..],
            b"{",
            b"1 2",
            b"nul",
            b"\"\xff\"",
            b"\"a\nb\"",
            b"\xef\xbb\xbf1",
            b"01",
            b"'a'",
        ] {
            assert!(check_json(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn small_data_lets_go_of_its_body() {
        let body = Bytes::from(vec![b'x'; 10_000]);
        assert_eq!(keep(&body, &body[..9_000]).as_ptr(), body.as_ptr());
        assert_ne!(keep(&body, &body[..4_096]).as_ptr(), body.as_ptr());
        let batch = Bytes::from(vec![b'x'; 100_000]);
        assert_ne!(keep(&batch, &batch[..9_000]).as_ptr(), batch.as_ptr());
    }
}
