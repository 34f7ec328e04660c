//! Reads sixty-four bytes of JSON at a time and returns the places of strings and brackets as bits.
//!
//! To skip a value, only its quotes, backslashes and brackets are needed. They are found sixteen bytes at a
//! time, with SIMD instructions that every processor of the target architecture has. The crate `wide`
//! provides them, so no unsafe code is needed here. Never here: a check that the skipped text is JSON.

use wide::u8x16;

/// The number of bytes in a block.
pub(super) const BLOCK: usize = 64;

/// One bit for each byte of a block, the first byte in the lowest bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Marks {
    quotes: u64,
    /// Whether the block has backslashes.
    escapes: bool,
    /// `{` and `[`
    opens: u64,
    /// `}` and `]`
    closes: u64,
}

/// One bit for each of sixteen bytes, set if the byte equals `byte`.
fn equal(bytes: u8x16, byte: u8) -> u64 {
    u64::from(bytes.simd_eq(u8x16::splat(byte)).to_bitmask())
}

fn marks(block: &[u8; BLOCK]) -> Marks {
    let mut marks = Marks::default();
    let mut backslashes = u8x16::splat(0);
    for (place, chunk) in block.as_chunks::<16>().0.iter().enumerate() {
        let bytes = u8x16::new(*chunk);
        let shift = 16 * place;
        // `[` and `{` differ in one bit only, and so do `]` and `}`.
        let curly = bytes | u8x16::splat(0x20);
        marks.quotes |= equal(bytes, b'"') << shift;
        backslashes |= bytes.simd_eq(u8x16::splat(b'\\'));
        marks.opens |= equal(curly, b'{') << shift;
        marks.closes |= equal(curly, b'}') << shift;
    }
    marks.escapes = backslashes.to_bitmask() != 0;
    marks
}

/// Applies `found` to each chunk of a block and joins the results: one bit for each byte.
#[inline]
pub(super) fn bits(block: &[u8; BLOCK], found: impl Fn(&[u8; 16]) -> u32) -> u64 {
    let chunks = block.as_chunks::<16>().0.iter().enumerate();
    chunks.fold(0, |all, (place, chunk)| {
        all | u64::from(found(chunk)) << (16 * place)
    })
}

/// The backslashes of a chunk.
fn backslashes(chunk: &[u8; 16]) -> u32 {
    u8x16::new(*chunk).simd_eq(u8x16::splat(b'\\')).to_bitmask()
}

/// Whether at most one bit is set.
fn lone(bits: u64) -> bool {
    bits & bits.wrapping_sub(1) == 0
}

/// Sets each bit to the parity of itself and all lower bits. Of quotes, this gives the bytes that lie between
/// two quotes.
fn parity(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// The bytes that a backslash escapes. `carry` says on entry whether the block's first byte is escaped, and
/// on return whether the first byte of the next block is.
fn escaped(backslashes: u64, carry: &mut bool) -> u64 {
    let mut escaped = u64::from(*carry);
    let mut rest = backslashes & !escaped;
    *carry = false;
    while rest != 0 {
        let place = rest.trailing_zeros();
        if place == 63 {
            *carry = true;
            break;
        }
        escaped |= 2 << place;
        rest &= !(3 << place);
    }
    escaped
}

/// The end of the container that opens at `at`. `None` if it never closes.
pub(super) fn container_end(bytes: &[u8], at: usize) -> Option<usize> {
    end(bytes, at, 0)
}

/// The end of the innermost container around `at`. `at` must not lie in a string.
pub(super) fn enclosing_end(bytes: &[u8], at: usize) -> Option<usize> {
    end(bytes, at, 1)
}

fn end(bytes: &[u8], at: usize, mut depth: u32) -> Option<usize> {
    let mut inside: u64 = 0;
    let mut carry = false;
    let mut from = at;
    loop {
        let rest = bytes.get(from..)?;
        let padded;
        let block = match rest.first_chunk::<BLOCK>() {
            Some(block) => block,
            None if rest.is_empty() => return None,
            None => {
                let mut spaces = [b' '; BLOCK];
                spaces[..rest.len()].copy_from_slice(rest);
                padded = spaces;
                &padded
            }
        };
        let marks = marks(block);
        let mut quotes = marks.quotes;
        if marks.escapes || carry {
            quotes &= !escaped(bits(block, backslashes), &mut carry);
        }
        let strings = parity(quotes) ^ inside;
        inside = ((strings as i64) >> 63) as u64;
        let opens = marks.opens & !strings;
        let mut closes = marks.closes & !strings;
        if depth > 1 && lone(opens) && lone(closes) {
            // Most blocks take this branch. It avoids counting bits, which takes a dozen instructions on
            // processors without an instruction for it.
            depth = depth + u32::from(opens != 0) - u32::from(closes != 0);
        } else if closes.count_ones() < depth {
            depth = depth + opens.count_ones() - closes.count_ones();
        } else {
            let mut closed = 0;
            while closes != 0 {
                let place = closes.trailing_zeros();
                let opened = (opens & ((1 << place) - 1)).count_ones();
                closed += 1;
                if depth + opened <= closed {
                    return Some(from + place as usize + 1);
                }
                closes &= closes - 1;
            }
            depth = depth + opens.count_ones() - closed;
        }
        from += BLOCK;
    }
}

/// Maps a key's first byte and length to one bit of a set. If the bit of a key is not in the set, no rule
/// mentions the key.
#[inline]
pub(super) fn outline_of(first: u8, length: usize) -> u32 {
    (u32::from(first) + 5 * length as u32) % 64
}

/// The place of the first member that needs a closer look. `outlines` has the outlines of the keys that rules
/// mention in this object. `at` is at the first quote of a key.
///
/// Common members are skipped here with one bounds check each. A common member is a short key without
/// escapes, then a short string without escapes, a number or a word, then a comma and the next key, without
/// white space.
#[inline]
pub(super) fn pass_members(bytes: &[u8], at: usize, outlines: u64) -> usize {
    let mut rest = bytes.get(at..).unwrap_or_default();
    while let Some(next) = rest
        .first_chunk()
        .and_then(|head| pass_member(head, outlines))
    {
        rest = rest.get(next..).unwrap_or_default();
    }
    bytes.len() - rest.len()
}

/// The bytes that a key and a value of less than sixteen bytes each take, with the punctuation around them.
const MEMBER: usize = 48;

/// The place of the next key, if this member is a common one and no rule mentions its key.
#[inline(always)]
fn pass_member(head: &[u8; MEMBER], outlines: u64) -> Option<usize> {
    let key = stops(head[1..].first_chunk()?);
    let length = key.trailing_zeros() as usize & 15;
    if key == 0
        || outlines >> outline_of(head[1], length) & 1 != 0
        || head[length + 1..length + 3] != *b"\":"
    {
        return None;
    }
    let from = length + 3;
    let next = match head[from] {
        b'"' => {
            let value = stops(head[from + 1..].first_chunk()?);
            let end = from + 1 + (value.trailing_zeros() as usize & 15);
            (value != 0 && head[end..end + 2] == *b"\",").then_some(end + 2)?
        }
        b'{' | b'[' => return None,
        _ => {
            let value = ends(head[from..].first_chunk()?);
            let end = from + (value.trailing_zeros() as usize & 15);
            (value != 0 && head[end] == b',').then_some(end + 1)?
        }
    };
    (head[next] == b'"').then_some(next)
}

/// For strings longer than this, the wider search of `memchr` is faster.
const LONG: usize = 64;

/// The first quote or backslash from `at` on.
#[inline]
pub(super) fn string_stop(bytes: &[u8], at: usize) -> Option<usize> {
    let mut from = at;
    while let Some(chunk) = bytes.get(from..).and_then(|rest| rest.first_chunk::<16>()) {
        let found = stops(chunk);
        if found != 0 {
            return Some(from + found.trailing_zeros() as usize);
        }
        from += 16;
        if from - at >= LONG {
            break;
        }
    }
    let rest = bytes.get(from..)?;
    memchr::memchr2(b'"', b'\\', rest).map(|place| from + place)
}

/// The end of a number or a word. It ends at a comma, a closing bracket, white space or another control
/// character, or at the end of the text.
pub(super) fn scalar_end(bytes: &[u8], at: usize) -> usize {
    let mut from = at;
    while let Some(chunk) = bytes.get(from..).and_then(|rest| rest.first_chunk::<16>()) {
        let found = ends(chunk);
        if found != 0 {
            return from + found.trailing_zeros() as usize;
        }
        from += 16;
    }
    let rest = bytes.get(from..).unwrap_or_default();
    let ends = |&byte: &u8| byte <= b' ' || matches!(byte, b',' | b'}' | b']');
    from + rest.iter().position(ends).unwrap_or(rest.len())
}

/// The first byte from `at` on that isn't white space.
#[inline]
pub(super) fn solid(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// The end of the value that starts at `at`. `None` if it doesn't end.
#[inline]
pub(super) fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => string_end(bytes, at),
        b'{' | b'[' => container_end(bytes, at),
        _ => {
            let end = scalar_end(bytes, at);
            (end > at).then_some(end)
        }
    }
}

/// The end of the string that opens at `at`. `None` if it doesn't close.
#[inline]
pub(super) fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut from = at + 1;
    loop {
        let stop = string_stop(bytes, from)?;
        if bytes.get(stop) == Some(&b'"') {
            return Some(stop + 1);
        }
        // Skip the backslash and the byte that it escapes.
        from = stop + 2;
    }
}

/// The bytes that end a number or a word, one bit for each byte.
#[inline]
pub(super) fn ends(chunk: &[u8; 16]) -> u32 {
    let bytes = u8x16::new(*chunk);
    let curly = bytes | u8x16::splat(0x20);
    let ends = bytes.simd_eq(u8x16::splat(b','))
        | curly.simd_eq(u8x16::splat(b'}'))
        | bytes.min(u8x16::splat(b' ')).simd_eq(bytes);
    ends.to_bitmask()
}

/// Quotes and backslashes, one bit for each byte.
#[inline]
fn stops(chunk: &[u8; 16]) -> u32 {
    let bytes = u8x16::new(*chunk);
    let quotes = bytes.simd_eq(u8x16::splat(b'"'));
    let backslashes = bytes.simd_eq(u8x16::splat(b'\\'));
    (quotes | backslashes).to_bitmask()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slow_end(bytes: &[u8], at: usize) -> Option<usize> {
        let (mut depth, mut string, mut escape) = (0, false, false);
        for (place, &byte) in bytes.iter().enumerate().skip(at) {
            let escaped = std::mem::take(&mut escape);
            match byte {
                b'\\' if !escaped => escape = true,
                b'"' if !escaped => string = !string,
                b'{' | b'[' if !string => depth += 1,
                b'}' | b']' if !string => {
                    depth -= 1;
                    if depth <= 0 {
                        return Some(place + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }

    proptest! {
        #[test]
        fn containers_end_where_their_brackets_balance(
            text in r#"[a"\\{}\[\] ]{0,40}"#,
            times in 0..6_usize,
        ) {
            let text = format!("{{{}", text.repeat(times));
            prop_assert_eq!(container_end(text.as_bytes(), 0), slow_end(text.as_bytes(), 0));
        }

        #[test]
        fn scalars_end_at_the_first_delimiter(text in r#"[0-9a-z.+-]{0,40}[],} \n]{0,2}[0-9]{0,20}"#) {
            let wanted = text.find([',', ']', '}', ' ', '\n']).unwrap_or(text.len());
            prop_assert_eq!(scalar_end(text.as_bytes(), 0), wanted);
        }

        #[test]
        fn strings_stop_at_the_first_quote_or_backslash(text in r#"a{0,90}["\\é]{0,2}b{0,20}"#) {
            let wanted = text.bytes().position(|byte| byte == b'"' || byte == b'\\');
            prop_assert_eq!(string_stop(text.as_bytes(), 0), wanted);
        }
    }

    /// The place at which each member starts, in order, and the text of all members.
    fn object(members: &[(String, String)]) -> (Vec<usize>, String) {
        let mut text = "{".to_owned();
        let mut starts = Vec::new();
        for (key, value) in members {
            starts.push(text.len());
            text.push_str(&format!("\"{key}\":{value},"));
        }
        starts.push(text.len());
        // What follows is long enough for `pass_member` to read the last members.
        text.push_str(&format!("\"end\":[{}]}}", " ".repeat(MEMBER)));
        (starts, text)
    }

    fn is_common((key, value): &(String, String)) -> bool {
        let ends = |text: &str| text.contains(['{', '[', ' ', '\\']);
        let length = value.len() - 2 * usize::from(value.starts_with('"'));
        key.len() < 16 && !ends(key) && !ends(value) && length < 16
    }

    proptest! {
        #[test]
        fn members_are_passed_up_to_the_first_of_interest(
            members in prop::collection::vec(
                (r"[ab,:]{0,3}|[a-c]{14,17}|a\\\\n", r#""[a,:}]{0,17}"|"a\\\\"|-?[0-9]{1,17}|true|null|\{\}|\[1\]|1 "#),
                0..8,
            ),
            wanted in prop::collection::vec("[ab]{0,3}", 0..3),
        ) {
            let (starts, text) = object(&members);
            let bits = wanted.iter().map(|key| {
                let first = key.bytes().next().unwrap_or(b'"');
                1_u64 << outline_of(first, key.len())
            });
            let outlines = bits.fold(0, |all, bit| all | bit);
            let first = |key: &str| key.bytes().next().unwrap_or(b'"');
            let stops = members.iter().position(|member| {
                let outline = outline_of(first(&member.0), member.0.len());
                !is_common(member) || outlines >> outline & 1 != 0
            });
            let stop = starts[stops.unwrap_or(members.len())];
            prop_assert_eq!(pass_members(text.as_bytes(), 1, outlines), stop, "{}", text);
        }
    }
}
