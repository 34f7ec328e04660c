//! The pieces that an input is made of, and how values become JSON or text.
//!
//! Everything is written into one JSON text from left to right. A value is written as it stands in the event.
//! Inside a string it is written as escaped text, so no event can end a string early or add a member. Never
//! here: reading templates, and looking up values.

/// A piece of an input.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    /// JSON text that is always the same.
    Literal(Box<str>),
    /// A whole JSON value.
    Value(Source),
    /// A value as text inside a string.
    Text(Source),
}

/// What a piece stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The value at one place of the event, by its slot.
    JsonPlace(usize),
    /// The values that a query selects, given by its index.
    Query(usize),
    /// The event with all its members.
    Event,
    /// The event without `data`.
    Attributes,
    /// The rule's name.
    RuleName,
    /// The rule's resource name.
    RuleArn,
    /// When the event was accepted.
    IngestedAt,
}

impl Source {
    /// Whether it is read from the event.
    pub(super) fn of_event(self) -> bool {
        !matches!(
            self,
            Source::RuleName | Source::RuleArn | Source::IngestedAt
        )
    }
}

/// Writes text as a JSON string.
pub(super) fn quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, text);
    out.push(b'"');
}

/// Writes text as the inside of a JSON string.
pub(super) fn escaped(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0..0x20 => {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend(b"\\u00");
                out.extend(digits);
            }
            _ => out.push(byte),
        }
    }
}

/// Writes a JSON value as text inside a JSON string: a string as its characters, everything else
/// as its JSON without white space.
pub(super) fn json_as_text(out: &mut Vec<u8>, json: &str) {
    // The inside of a JSON string is escaped already.
    let inside = json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    if let Some(inside) = inside {
        out.extend(inside.as_bytes());
        return;
    }
    let mut string = false;
    let mut after_backslash = false;
    for byte in json.bytes() {
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' if !string => continue,
            b'"' => {
                string ^= !after_backslash;
                out.extend(b"\\\"");
            }
            b'\\' => out.extend(b"\\\\"),
            _ => out.push(byte),
        }
        after_backslash = byte == b'\\' && !after_backslash;
    }
}
