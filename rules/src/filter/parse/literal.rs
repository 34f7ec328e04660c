//! Reads literals as RFC 9535 writes them: numbers, and strings with their escapes.

use super::Parser;
use crate::error::ParseError;
use crate::filter::{input_error, unexpected};
use serde_json::Value;

impl Parser<'_> {
    /// A literal number. Exact if 64 bits hold it, else the nearest binary64.
    pub(super) fn number(&mut self) -> Result<Value, ParseError> {
        let start = self.at;
        self.eats("-");
        self.digits()?;
        let mut whole = true;
        if self.eats(".") {
            whole = false;
            if self.take(|character| character.is_ascii_digit()).is_empty() {
                return Err(self.unexpected());
            }
        }
        if self.eats("e") || self.eats("E") {
            whole = false;
            let _ = self.eats("-") || self.eats("+");
            if self.take(|character| character.is_ascii_digit()).is_empty() {
                return Err(self.unexpected());
            }
        }
        let text = &self.text[start..self.at];
        let exact = text.parse().map(Value::from as fn(i64) -> Value);
        let exact = exact.or_else(|_| text.parse().map(Value::from as fn(u64) -> Value));
        match exact {
            Ok(exact) if whole => Ok(exact),
            // A number beyond binary64 counts as the largest one, as in an event.
            _ => {
                let float: f64 = text.parse().map_err(|_| unexpected(self.text, start))?;
                Ok(Value::from(float.clamp(f64::MIN, f64::MAX)))
            }
        }
    }

    /// A string in single or double quotes.
    pub(super) fn string(&mut self) -> Result<String, ParseError> {
        let Some(quote) = self.peek() else {
            return Err(self.unexpected());
        };
        self.at += 1;
        let mut text = String::new();
        loop {
            let plain = |next: char| next != quote && next != '\\' && next >= ' ';
            text.push_str(self.take(plain));
            match self.peek() {
                Some('\\') => text.push(self.escape(quote)?),
                Some(end) if end == quote => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(_) => {
                    let reason = "not a JSONPath query: a control character in a text".to_owned();
                    return Err(input_error(
                        self.at,
                        reason,
                        "write it as \\n, \\t or \\u0000",
                    ));
                }
                None => return Err(self.unexpected()),
            }
        }
    }

    fn escape(&mut self, quote: char) -> Result<char, ParseError> {
        let start = self.at;
        self.at += 1;
        let wrong = |reason: &str| {
            let remedy =
                "write a backslash as \\\\, and other characters as they are or as \\u00e9";
            Err(input_error(
                start,
                format!("not a JSONPath query: {reason}"),
                remedy,
            ))
        };
        let Some(escaped) = self.peek() else {
            return Err(self.unexpected());
        };
        self.at += escaped.len_utf8();
        Ok(match escaped {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '/' | '\\' => escaped,
            'u' => {
                let Some(first) = self.hexadecimal() else {
                    return wrong("`\\u` takes four hexadecimal digits");
                };
                let code = match first {
                    0xD800..=0xDBFF => {
                        let second = self.eats("\\u").then(|| self.hexadecimal()).flatten();
                        match second {
                            Some(low @ 0xDC00..=0xDFFF) => {
                                0x1_0000 + ((first - 0xD800) << 10) + (low - 0xDC00)
                            }
                            _ => return wrong("half of a surrogate pair"),
                        }
                    }
                    other => other,
                };
                match char::from_u32(code) {
                    Some(character) => character,
                    None => return wrong("half of a surrogate pair"),
                }
            }
            other if other == quote => other,
            other => return wrong(&format!("a text has no escape `\\{other}`")),
        })
    }

    fn hexadecimal(&mut self) -> Option<u32> {
        let digits = self.rest().get(..4)?;
        let sound = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let code = u32::from_str_radix(digits, 16).ok().filter(|_| sound)?;
        self.at += 4;
        Some(code)
    }
}
