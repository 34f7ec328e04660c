//! Events made of choices: deep and wide, spelled in every way that JSON allows, sometimes corrupt.

use crate::choices::{Choices, quoted};
use crate::meeting;
use crate::pattern::name;

/// An event, valid but for keys that come twice; mostly one that comes close to some of the patterns.
pub fn write(choices: &mut Choices<'_>, patterns: &[String]) -> String {
    let close = choices.below(4);
    if close == 0 || patterns.is_empty() {
        return object(choices, 0);
    }
    let mut members = Vec::new();
    for _ in 0..close.min(2) {
        let pattern = &patterns[choices.below(patterns.len().min(256))];
        members.extend(meeting::members(choices, pattern));
    }
    let beside = choices.below(3);
    members.extend((0..beside).map(|_| member(choices, 1)));
    format!("{{{}}}", members.join(","))
}

/// The event with some bytes changed, added or cut.
pub fn corrupt(choices: &mut Choices<'_>, event: String) -> Vec<u8> {
    const BYTES: &[u8] = b"\"{}[],:\\0e. \xFF\x01\xC3\t-u";
    let mut bytes = event.into_bytes();
    for _ in 0..choices.below(3) + 1 {
        let at = (choices.below(256) * 256 + choices.below(256)) % bytes.len().max(1);
        let byte = BYTES[choices.below(BYTES.len())];
        match choices.below(4) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, byte),
            2 if at < bytes.len() => {
                bytes.remove(at);
            }
            _ => bytes
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|old| *old = byte),
        }
    }
    bytes
}

fn object(choices: &mut Choices<'_>, depth: usize) -> String {
    let count = match choices.below(16) {
        0..=11 => depth.min(1) + 1,
        12..=14 => 5,
        _ => 0,
    };
    let count = if depth == 0 { count + 2 } else { count };
    let members: Vec<String> = (0..count).map(|_| member(choices, depth + 1)).collect();
    format!("{{{}}}", members.join(","))
}

fn member(choices: &mut Choices<'_>, depth: usize) -> String {
    let name = match choices.below(16) {
        0 => "other".to_owned(),
        _ => name(choices),
    };
    let name = spelled(choices, &name);
    format!("{name}:{}", value(choices, depth))
}

/// Any value.
pub fn value(choices: &mut Choices<'_>, depth: usize) -> String {
    match choices.below(24) {
        0..=8 => {
            let text = choices.string();
            spelled(choices, &text)
        }
        9..=13 => choices.number(),
        14 => choices.one(&["null", "true", "false"]).to_owned(),
        15 => choices.below(100).to_string(),
        16 => format!("\"v{}\"", choices.below(100)),
        17..=19 if depth < 6 => object(choices, depth),
        20..=22 if depth < 6 => {
            let count = choices.below(5);
            let elements: Vec<String> = (0..count).map(|_| value(choices, depth + 1)).collect();
            format!("[{}]", elements.join(","))
        }
        23 => blank(choices),
        _ => "[]".to_owned(),
    }
}

/// What is skipped sixty-four bytes at a step, or ends it: white space, long texts, deep brackets.
fn blank(choices: &mut Choices<'_>) -> String {
    let count = choices.below(80);
    match choices.below(5) {
        0 => format!("{}1{}", " ".repeat(count), "\n".repeat(count)),
        1 => format!("\"{}\"", "\\\\".repeat(count)),
        2 => format!("{}7{}", "[".repeat(count), "]".repeat(count)),
        3 => format!("{}\"v1\"{}", "{\"a\":".repeat(count), "}".repeat(count)),
        _ => format!("[{}{{\"a\":1}}]", "{\"b\":\"]}\"},".repeat(count)),
    }
}

/// A string, sometimes with escapes where none are needed, or with white space around it.
pub fn spelled(choices: &mut Choices<'_>, text: &str) -> String {
    let plain = quoted(text);
    match choices.below(16) {
        13 => {
            let units = text.encode_utf16().map(|unit| format!("\\u{unit:04X}"));
            format!("\"{}\"", units.collect::<String>())
        }
        14 => plain.replace('a', "\\u0061"),
        15 => format!(" {plain}\t\r\n"),
        _ => plain,
    }
}
