//! Reformats JSON text: on one line, or indented. Numbers and strings keep their spelling, because nothing is
//! parsed into values.
//!
//! Never here: a check that the text is JSON; it comes from the bus or went through a parser before.

use crate::client::Error;

use super::plain::{is_unsafe, push_json_escape};

/// Indentation stops to grow at this depth, so that deep nesting does not make long lines of blanks.
const INDENT_DEPTH_MAX: usize = 24;

/// A value as the API gave it.
///
/// # Errors
/// It has no form as JSON, which no value of the API lacks.
pub(crate) fn of(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Unreadable(error.to_string()))
}

/// The text on one line, without blanks between tokens.
#[must_use]
pub(crate) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(first) = rest.chars().next() {
        match first {
            '"' => {
                let end = string_end(rest);
                push_string(&mut out, &rest[..end]);
                rest = &rest[end..];
            }
            blank if blank.is_ascii_whitespace() => rest = &rest[1..],
            other => {
                out.push(other);
                rest = &rest[other.len_utf8()..];
            }
        }
    }
    out
}

/// The text indented by two blanks; an object or list that fits into `columns` stays on its line.
#[must_use]
pub(crate) fn indented(json: &str, columns: usize) -> String {
    let compact = compact(json);
    let mut out = String::with_capacity(compact.len() * 2);
    let (mut depth, mut line) = (0_usize, 0);
    let mut rest = compact.as_str();
    let next_line = |out: &mut String, line: &mut usize, depth: usize| {
        out.push('\n');
        *line = out.len();
        out.extend(std::iter::repeat_n("  ", depth.min(INDENT_DEPTH_MAX)));
    };
    while let Some(first) = rest.chars().next() {
        let mut used = first.len_utf8();
        match first {
            '"' => {
                used = string_end(rest);
                out.push_str(&rest[..used]);
            }
            '{' | '[' => match closes_within(rest, columns.saturating_sub(out.len() - line)) {
                Some(end) => {
                    used = end;
                    push_spaced(&mut out, &rest[..end]);
                }
                None => {
                    out.push(first);
                    depth += 1;
                    next_line(&mut out, &mut line, depth);
                }
            },
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                next_line(&mut out, &mut line, depth);
                out.push(first);
            }
            ',' => {
                out.push(first);
                next_line(&mut out, &mut line, depth);
            }
            ':' => out.push_str(": "),
            other => out.push(other),
        }
        rest = &rest[used..];
    }
    out
}

/// Where the string that opens `text` ends, its closing quote included.
fn string_end(text: &str) -> usize {
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Copies a string; unsafe characters that JSON lets stand are escaped: they mean the same to a program.
fn push_string(out: &mut String, string: &str) {
    for character in string.chars() {
        if is_unsafe(character) {
            push_json_escape(out, character);
        } else {
            out.push(character);
        }
    }
}

/// The end of the object or list that opens `text`, if it is short enough, empty ones always.
fn closes_within(text: &str, columns: usize) -> Option<usize> {
    let (mut depth, mut at, mut width) = (0_usize, 0, 0);
    while at < text.len() {
        let byte = text.as_bytes()[at];
        if byte == b'"' {
            let end = string_end(&text[at..]);
            width += end;
            at += end;
        } else {
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                // A blank is put behind them.
                b',' | b':' => width += 1,
                _ => {}
            }
            width += 1;
            at += 1;
        }
        if depth == 0 && (width <= columns || at == 2) {
            return Some(at);
        }
        if depth == 0 || width > columns && at > 2 {
            return None;
        }
    }
    None
}

/// Copies compact text with a blank behind each comma and colon.
fn push_spaced(out: &mut String, compact: &str) {
    let mut rest = compact;
    while let Some(first) = rest.chars().next() {
        let used = if first == '"' {
            string_end(rest)
        } else {
            first.len_utf8()
        };
        out.push_str(&rest[..used]);
        if matches!(first, ',' | ':') {
            out.push(' ');
        }
        rest = &rest[used..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, one_line: &str, indented_at_20: &str) {
        assert_eq!(compact(json), one_line);
        assert_eq!(indented(json, 20), indented_at_20);
        assert_eq!(compact(&indented(json, 20)), one_line);
    }

    #[test]
    fn text_is_laid_out_and_spelling_stays() {
        check(" 1.00e2 ", "1.00e2", "1.00e2");
        check("{ }", "{}", "{}");
        check("[ 1 ,\n2]", "[1,2]", "[1, 2]");
        check(
            r#"{"a": "x, y: \"{[", "b": 1}"#,
            r#"{"a":"x, y: \"{[","b":1}"#,
            "{\n  \"a\": \"x, y: \\\"{[\",\n  \"b\": 1\n}",
        );
        check(
            r#"{"list":[{"n":1},{"n":12345678901234567890}]}"#,
            r#"{"list":[{"n":1},{"n":12345678901234567890}]}"#,
            "{\n  \"list\": [\n    {\"n\": 1},\n    {\n      \"n\": 12345678901234567890\n    }\n  ]\n}",
        );
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(compact("\"\u{9b}31m\u{7f}\""), "\"\\u009b31m\\u007f\"");
        assert_eq!(compact("\"a\u{202e}b\""), "\"a\\u202eb\"");
    }

    #[test]
    fn deep_nesting_stays_small() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(indented(&deep, 80).len() < 2_000_000);
    }
}
