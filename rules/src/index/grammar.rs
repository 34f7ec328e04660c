//! Checks quickly whether a text is JSON. If not, other code finds the error.
//!
//! The grammar is that of the crate's scanner (strict RFC 8259), but the answer is only yes or no. It reads
//! sixty-four bytes of a string and thirty-two of a number at a time. A yes is always correct. After a no,
//! the scanner reads the text again and finds the error. Never here: recursion.

use super::block::{self, BLOCK, solid};
use super::keys::Keys;
use wide::u8x16;

/// Whether these bytes are one JSON value that nests at most `room` brackets deep (64 at most). Records its
/// keys.
pub(super) fn is_json(bytes: &[u8], room: usize, keys: &mut Keys) -> bool {
    std::str::from_utf8(bytes).is_ok() && value(bytes, room.min(64), keys) == Some(bytes.len())
}

/// The end of the value and of the white space after it.
fn value(bytes: &[u8], room: usize, keys: &mut Keys) -> Option<usize> {
    let mut open = 0;
    let mut arrays = 0;
    let mut seen = Seen {
        // No byte of the text lies in this block.
        from: usize::MAX - BLOCK,
        specials: 0,
    };
    // A stack of bits, one for each open bracket: 1 for an object, 0 for an array. The innermost is the
    // lowest bit.
    let mut objects: u64 = 0;
    let mut at = solid(bytes, 0);
    loop {
        let first = *bytes.get(at)?;
        at = match first {
            b'"' => string(bytes, at + 1, &mut seen)?,
            b'-' | b'0'..=b'9' => number(bytes, at)?,
            b'{' | b'[' => {
                if open == room {
                    return None;
                }
                open += 1;
                objects = objects << 1 | u64::from(first == b'{');
                if first == b'[' {
                    arrays += 1;
                } else if arrays == 0 {
                    keys.open();
                }
                let inside = solid(bytes, at + 1);
                // In ASCII, `}` is two after `{`, and `]` two after `[`.
                if bytes.get(inside) != Some(&(first + 2)) {
                    at = if first == b'{' {
                        key(
                            bytes,
                            inside,
                            &mut seen,
                            (arrays == 0).then_some(&mut *keys),
                        )?
                    } else {
                        inside
                    };
                    continue;
                }
                inside
            }
            b't' => word(bytes, at, b"true")?,
            b'f' => word(bytes, at, b"false")?,
            b'n' => word(bytes, at, b"null")?,
            _ => return None,
        };
        loop {
            at = solid(bytes, at);
            if open == 0 {
                return Some(at);
            }
            let object = objects & 1 == 1;
            match bytes.get(at)? {
                b',' => {
                    at = solid(bytes, at + 1);
                    if object {
                        at = key(bytes, at, &mut seen, (arrays == 0).then_some(&mut *keys))?;
                    }
                    break;
                }
                b'}' if object => {}
                b']' if !object => {}
                _ => return None,
            }
            at += 1;
            open -= 1;
            objects >>= 1;
            if !object {
                arrays -= 1;
            } else if arrays == 0 {
                keys.close();
            }
        }
    }
}

fn word(bytes: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    bytes
        .get(at..)?
        .starts_with(word)
        .then_some(at + word.len())
}

/// The end of a key, its colon, and the white space after it. Records the key.
#[inline(always)]
fn key(bytes: &[u8], at: usize, seen: &mut Seen, keys: Option<&mut Keys>) -> Option<usize> {
    if *bytes.get(at)? != b'"' {
        return None;
    }
    let end = string(bytes, at + 1, seen)?;
    if let Some(keys) = keys {
        note(bytes, at + 1, end - 1, keys);
    }
    if *bytes.get(end)? == b':' {
        return Some(solid(bytes, end + 1));
    }
    let colon = solid(bytes, end);
    if *bytes.get(colon)? != b':' {
        return None;
    }
    Some(solid(bytes, colon + 1))
}

/// Records the key between two places.
#[inline(never)]
fn note(bytes: &[u8], from: usize, to: usize, keys: &mut Keys) {
    match bytes.get(from..).and_then(|rest| rest.first_chunk()) {
        Some(chunk) if to - from < 16 => keys.note_short(chunk, to - from),
        _ => keys.note(bytes.get(from..to).unwrap_or_default()),
    }
}

/// The special bytes of the block that was read last: those that can't stand in a string as they are. One
/// read of a block serves several short strings that follow each other.
struct Seen {
    from: usize,
    specials: u64,
}

impl Seen {
    /// Reads the block that starts at `at`. False if the text is too short.
    fn look(&mut self, bytes: &[u8], at: usize) -> bool {
        let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>()) else {
            return false;
        };
        self.specials = block::bits(block, specials);
        self.from = at;
        true
    }
}

/// The end of a string whose first byte is at `at`, its closing quote included.
#[inline(always)]
fn string(bytes: &[u8], at: usize, seen: &mut Seen) -> Option<usize> {
    let offset = at.wrapping_sub(seen.from);
    let mut left = if offset < BLOCK {
        seen.specials >> offset
    } else {
        0
    };
    if left == 0 && seen.look(bytes, at) {
        left = seen.specials;
    }
    if left != 0 {
        let end = at + left.trailing_zeros() as usize;
        if *bytes.get(end)? == b'"' {
            return Some(end + 1);
        }
    }
    long_string(bytes, at)
}

fn long_string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = special(bytes, at)?;
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at = escape(bytes, at)?,
            _ => return None,
        }
    }
}

/// The bytes that can't stand in a string as they are, one bit for each byte.
#[inline]
fn specials(chunk: &[u8; 16]) -> u32 {
    let bytes = u8x16::new(*chunk);
    let specials = bytes.simd_eq(u8x16::splat(b'"'))
        | bytes.simd_eq(u8x16::splat(b'\\'))
        | bytes.min(u8x16::splat(0x1F)).simd_eq(bytes);
    specials.to_bitmask()
}

/// The first byte from `at` on that can't stand in a string as it is.
fn special(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let found = specials(chunk);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize);
        }
        at += 16;
    }
    let rest = bytes.get(at..)?;
    let special = |&byte: &u8| byte < 0x20 || matches!(byte, b'"' | b'\\');
    rest.iter().position(special).map(|place| at + place)
}

fn escape(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
        b'u' => match four_digits(bytes, at + 2)? {
            0xD800..0xDC00 => {
                let paired = bytes.get(at + 6..at + 8)? == br"\u"
                    && (0xDC00..0xE000).contains(&four_digits(bytes, at + 8)?);
                paired.then_some(at + 12)
            }
            0xDC00..0xE000 => None,
            _ => Some(at + 6),
        },
        _ => None,
    }
}

fn four_digits(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.iter().try_fold(0, |sum, &digit| {
        Some(sum * 16 + char::from(digit).to_digit(16)?)
    })
}

/// The end of the number that starts at `at`.
#[inline]
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at..)?.first_chunk() {
        Some(head) => {
            short_number(head).map_or_else(|| long_number(bytes, at), |end| Some(at + end))
        }
        None => long_number(bytes, at),
    }
}

/// The number of bytes that is enough for nearly every number and the byte after it.
const NUMBER: usize = 32;

/// The end of a number that has no exponent and ends before the last of these bytes. `None` for other numbers
/// and for what is no number.
///
/// The end is found from the byte that follows the number, and compared with the digits afterwards. So the
/// processor can go on with what follows without waiting for the digits.
#[inline(always)]
fn short_number(head: &[u8; NUMBER]) -> Option<usize> {
    let (mut digits, mut ends) = (0_u32, 0_u32);
    for (place, chunk) in head.as_chunks::<16>().0.iter().enumerate() {
        let above = u8x16::new(*chunk) - u8x16::splat(b'0');
        let found = above.min(u8x16::splat(9)).simd_eq(above);
        digits |= found.to_bitmask() << (16 * place);
        ends |= block::ends(chunk) << (16 * place);
    }
    if ends == 0 {
        return None;
    }
    let end = ends.trailing_zeros() as usize;
    let run = |from: usize| (!(digits >> (from % NUMBER))).trailing_zeros() as usize;
    let sign = usize::from(head[0] == b'-');
    let whole = run(sign);
    if whole == 0 || (whole > 1 && head[sign] == b'0') {
        return None;
    }
    let mut last = sign + whole;
    if last < end && head[last] == b'.' {
        let fraction = run(last + 1);
        if fraction == 0 {
            return None;
        }
        last += 1 + fraction;
    }
    if last != end {
        return None;
    }
    Some(end)
}

fn long_number(bytes: &[u8], at: usize) -> Option<usize> {
    let from = at + usize::from(bytes.get(at) == Some(&b'-'));
    let mut at = match bytes.get(from)? {
        b'0' => from + 1,
        b'1'..=b'9' => digits(bytes, from + 1),
        _ => return None,
    };
    if bytes.get(at) == Some(&b'.') {
        at = some_digits(bytes, at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let signed = matches!(bytes.get(at + 1), Some(b'+' | b'-'));
        at = some_digits(bytes, at + 1 + usize::from(signed))?;
    }
    Some(at)
}

fn some_digits(bytes: &[u8], at: usize) -> Option<usize> {
    let end = digits(bytes, at);
    (end > at).then_some(end)
}

/// The end of the digits that start at `at`.
#[inline]
fn digits(bytes: &[u8], mut at: usize) -> usize {
    const LOW: u64 = u64::MAX / 255;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        // The upper half of a digit's byte is 3, and is still 3 after adding six. If all upper halves are 3,
        // adding six carries into no neighbouring byte.
        let upper = LOW * 0xF0;
        let threes = LOW * 0x30;
        if word & upper != threes || word.wrapping_add(LOW * 6) & upper != threes {
            break;
        }
        at += 8;
    }
    while matches!(bytes.get(at), Some(b'0'..=b'9')) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Scanner;
    use proptest::prelude::*;

    fn scanned(bytes: &[u8], room: usize) -> bool {
        let read = Scanner::new(bytes).and_then(|mut scanner| {
            scanner.skip_value(room)?;
            scanner.finish()
        });
        read.is_ok()
    }

    fn check(text: &str) {
        let bytes = text.as_bytes();
        for room in [0, 1, 3, 64] {
            assert_eq!(
                is_json(bytes, room, &mut Keys::new()),
                scanned(bytes, room),
                "{text:?}, {room}"
            );
        }
    }

    #[test]
    fn it_agrees_with_the_scanner_on_each_part() {
        for text in [
            "",
            " ",
            "1",
            " 1 ",
            "01",
            "-0",
            "-",
            "1.",
            "1.5",
            ".5",
            "1e",
            "1e5",
            "1E+05",
            "1e-",
            "12345678",
            "123456789012345678",
            "12345678a",
            "1234567:",
            "1234567/",
            "1.12345678901e12345678",
            "true",
            "tru",
            "nullx",
            "false",
            "[]",
            "[ ]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[[[[]]]]",
            "{}",
            "{ }",
            "{]",
            "[}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{ "a" : 1 , "b":[{}] }"#,
            r#"{a:1}"#,
            r#""""#,
            r#"""#,
            r#""\""#,
            r#""\x""#,
            r#""\u12g4""#,
            r#""\u1234""#,
            r#""\ud83d\ude00""#,
            r#""\ud83d""#,
            r#""\ud83d\u0041""#,
            r#""\ude00\ud83d""#,
            r#""\u+123""#,
            "\"\t\"",
            "\"0123456789abcdef\u{1}\"",
            "\"é\u{7f}\"",
            "1 1",
            "{}{}",
            "\u{feff}1",
            "{\"a\":1}\u{a0}",
        ] {
            check(text);
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_scanner(text in r#"[\[{ ]{0,3}([\]}\[{,:"0-9eE.+-]|"[a\\né]*"|true|null|\\u00e9){0,12}[\]} ]{0,3}"#) {
            check(&text);
        }
    }
}
