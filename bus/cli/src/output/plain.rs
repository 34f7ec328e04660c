//! Makes text from outside safe to print: escapes control characters and invisible characters.
//!
//! Event types, ids, logs and messages come from publishers and from authors of functions. A control
//! character steers the terminal; a bidirectional or invisible one makes a line read as what it is not. Never
//! here: a decision on which text is shown.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// True for characters that nobody sees: controls of direction and layout, of no width, or without a
/// glyph (Unicode's default ignorable code points). The two that choose between an emoji and a plain sign
/// (U+FE0E and U+FE0F) may stay: they change no reading, and texts of people are full of them.
#[must_use]
pub(crate) fn is_invisible(character: char) -> bool {
    matches!(u32::from(character),
        0xad | 0x34f | 0x61c | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f
        | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0x3164
        | 0xfe00..=0xfe0d | 0xfeff | 0xffa0 | 0xfff0..=0xfffb
        | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff)
}

/// True for what must not reach a terminal as it is.
#[must_use]
pub(crate) fn is_unsafe(character: char) -> bool {
    character.is_control() || is_invisible(character)
}

/// Text from elsewhere on one line, with every unsafe character escaped.
#[must_use]
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, is_unsafe)
}

/// The same for a text that may have lines.
#[must_use]
pub(crate) fn plain_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |own| is_unsafe(own) && own != '\n')
}

/// The columns that a terminal needs for a text on one line.
#[must_use]
pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// `text`, or what fits into this many columns of it, with an ellipsis behind.
#[must_use]
pub(crate) fn fitted(text: &str, columns_max: usize) -> Cow<'_, str> {
    if columns(text) <= columns_max {
        return Cow::Borrowed(text);
    }
    let start = start_of(text, columns_max.saturating_sub(1));
    Cow::Owned(format!("{}…", text[..start].trim_end()))
}

/// `text` in lines of at most this many columns, broken between words where that can be; what goes beyond
/// `lines_max` lines is left out with an ellipsis.
#[must_use]
pub(crate) fn wrapped(text: &str, columns_max: usize, lines_max: usize) -> Vec<String> {
    let columns_max = columns_max.max(2);
    let mut lines = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if lines.len() + 1 >= lines_max {
            lines.push(fitted(rest, columns_max).into_owned());
            break;
        }
        let mut end = start_of(rest, columns_max);
        if end < rest.len() && !rest[end..].starts_with(' ') {
            // A word that fills more than half of the line is broken itself.
            let blank = rest[..end]
                .rfind(' ')
                .filter(|blank| columns(&rest[..*blank]) * 2 >= columns_max);
            end = blank.unwrap_or(end);
        }
        lines.push(rest[..end].trim_end().to_owned());
        rest = rest[end..].trim_start();
    }
    lines
}

/// Where the part of `text` ends that fits into this many columns, in bytes; at least one character does.
fn start_of(text: &str, columns_max: usize) -> usize {
    let mut used = 0;
    for (at, character) in text.char_indices() {
        used += character.width().unwrap_or(0);
        if used > columns_max && at > 0 {
            return at;
        }
    }
    text.len()
}

/// The last step before output is written. Line breaks and colours are our own by now; an invisible character
/// never is. It is escaped as in JSON, because the output may be JSON.
#[must_use]
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_invisible) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_invisible(character) {
            push_json_escape(&mut out, character);
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

fn escaped(text: &str, is_meant: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_meant) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_meant(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// Appends an unsafe character as JSON writes it, in a string.
pub(super) fn push_json_escape(out: &mut String, character: char) {
    let mut units = [0; 2];
    for unit in character.encode_utf16(&mut units) {
        // Writing to a String can't fail.
        let _ = write!(out, "\\u{unit:04x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind that has been used to make a text read as another.
    pub(crate) const MISLEADING: &[char] = &[
        '\u{61c}',
        '\u{200b}',
        '\u{200c}',
        '\u{200d}',
        '\u{200e}',
        '\u{200f}',
        '\u{2028}',
        '\u{2029}',
        '\u{202a}',
        '\u{202e}',
        '\u{2060}',
        '\u{2064}',
        '\u{2066}',
        '\u{2069}',
        '\u{feff}',
        '\u{ad}',
        '\u{180e}',
        '\u{3164}',
        '\u{fff9}',
        '\u{e0041}',
        '\u{e0100}',
    ];

    #[test]
    fn text_from_elsewhere_is_made_safe() {
        assert_eq!(plain("grüße 日本 ⚠\u{fe0f} 🦀"), "grüße 日本 ⚠\u{fe0f} 🦀");
        assert_eq!(plain("a\x1b[2J\tb\r\n"), "a\\u{1b}[2J\\tb\\r\\n");
        assert_eq!(plain("\u{9b}31m\u{7f}"), "\\u{9b}31m\\u{7f}");
        assert_eq!(plain("user\u{202e}nimda"), "user\\u{202e}nimda");
        for character in MISLEADING {
            let shown = plain(&format!("a{character}b")).into_owned();
            assert_eq!(shown, format!("a{}b", character.escape_default()));
        }
    }

    #[test]
    fn output_keeps_its_lines_and_colours() {
        let text = "\x1b[31mred\x1b[0m\tgrüße\n";
        assert_eq!(visible(text), text);
        assert_eq!(visible("{\"a\u{200b}b\"}\n"), "{\"a\\u200bb\"}\n");
    }

    #[test]
    fn texts_are_measured_in_columns_and_cut_to_them() {
        assert_eq!(columns("注文 ok"), 7);
        assert_eq!(fitted("注文 ok", 7), "注文 ok");
        assert_eq!(fitted("注文が入りました", 8), "注文が…");
        assert_eq!(fitted("order", 4), "ord…");
        assert_eq!(wrapped("one two three", 7, 9), ["one two", "three"]);
        assert_eq!(wrapped("one two three", 7, 1), ["one tw…"]);
        assert_eq!(wrapped("a 123456789012", 6, 9), ["a 1234", "567890", "12"]);
        assert_eq!(
            wrapped("注文が入りました", 7, 9),
            ["注文が", "入りま", "した"]
        );
        assert_eq!(wrapped("", 7, 9), Vec::<String>::new());
    }

    #[test]
    fn json_has_escapes_of_its_own() {
        let mut out = String::new();
        for character in ['\u{9b}', '\u{202e}', '\u{e0041}'] {
            push_json_escape(&mut out, character);
        }
        assert_eq!(out, "\\u009b\\u202e\\udb40\\udc41");
        let back: String = serde_json::from_str(&format!("\"{out}\"")).unwrap();
        assert_eq!(back, "\u{9b}\u{202e}\u{e0041}");
    }
}
