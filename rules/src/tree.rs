//! Reads JSON text into a tree. Queries need one.
//!
//! The tree of `serde_json` holds a number in 64 bits. It refuses a text with a number beyond them, although
//! that is JSON and patterns can match it. Here such a number counts as the largest binary64. Never here: a
//! tree that is printed again, because digits are lost.

use crate::error::EventError;
use crate::json::{Scanner, Syntax};
use serde_json::Value;

/// The largest binary64 number, in its shortest form.
const LARGEST: &str = "1.7976931348623157e308";

/// Reads a JSON text (RFC 8259) as queries see it. A number is binary64 if 64 bits don't hold it, and a
/// number beyond the range of binary64 counts as the largest one. `serde_json` alone refuses such a text.
///
/// # Errors
/// An [`EventError`] if the text isn't JSON or nests deeper than 127 brackets.
///
/// ```
/// assert_eq!(edgebus_rules::tree(b"[1, 1e400]"), Ok(serde_json::json!([1, f64::MAX])));
/// ```
pub fn tree(json: &[u8]) -> Result<Value, EventError> {
    if let Ok(value) = serde_json::from_slice(json) {
        return Ok(value);
    }
    let input_error = |offset, reason| EventError {
        offset,
        part: None,
        reason,
    };
    let bounded = within_binary64(json)
        .map_err(|syntax| input_error(syntax.offset, syntax.reason.into_owned()))?;
    serde_json::from_str(&bounded).map_err(|error| input_error(0, error.to_string()))
}

/// The text, with those numbers replaced that binary64 can't hold.
fn within_binary64(json: &[u8]) -> Result<String, Syntax> {
    let text = std::str::from_utf8(json).map_err(|error| Syntax {
        offset: error.valid_up_to(),
        reason: "not UTF-8".into(),
    })?;
    let mut bounded = String::with_capacity(text.len());
    let mut scanner = Scanner::of_text(text);
    let mut copied = 0;
    while let Ok(next) = scanner.peek() {
        match next {
            b'"' => drop(scanner.string()?),
            b'-' | b'0'..=b'9' => {
                let from = scanner.offset();
                let number = scanner.number()?;
                if number.parse().is_ok_and(f64::is_infinite) {
                    bounded.push_str(&text[copied..from]);
                    bounded.push_str(if next == b'-' { "-" } else { "" });
                    bounded.push_str(LARGEST);
                    copied = scanner.offset();
                }
            }
            // Words and punctuation are copied byte by byte. The parser that reads the result checks them.
            _ => scanner.bump(),
        }
    }
    bounded.push_str(&text[copied..]);
    Ok(bounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, wanted: Option<Value>) {
        assert_eq!(tree(json.as_bytes()).ok(), wanted, "{json}");
    }

    #[test]
    fn numbers_beyond_binary64_count_as_its_largest() {
        use serde_json::json;
        check(r#"{"a": [1, "x"]}"#, Some(json!({"a": [1, "x"]})));
        check("1e400", Some(json!(f64::MAX)));
        check("-1E+400", Some(json!(f64::MIN)));
        check("1e-400", Some(json!(0.0)));
        let nines = "9".repeat(400);
        check(
            &format!(r#" {{"1e400":[true, {nines},null,"1e400 \" -1e400",-2e999 ], "é":3}} "#),
            Some(json!({"1e400": [true, f64::MAX, null, "1e400 \" -1e400", f64::MIN], "é": 3})),
        );
        check("[1e400", None);
        check("1e400 x", None);
        check("[1e400,é]", None);
        check("", None);
    }
}
