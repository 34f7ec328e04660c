//! Generates unusual input: names, texts, numbers, layouts and parts whose sizes are close to those that are
//! read in one step.

use super::generate::{self, Random};

/// Lengths close to those that are read, kept or compared in one piece.
const LENGTHS: [usize; 19] = [
    0, 1, 2, 7, 8, 9, 14, 15, 16, 17, 30, 31, 32, 33, 47, 62, 63, 64, 65,
];

fn length(random: &mut Random) -> usize {
    LENGTHS[random.below(LENGTHS.len())]
}

/// A text of one character repeated, or with another character in the middle.
pub(super) fn text(random: &mut Random) -> String {
    let mut text = "x".repeat(length(random));
    if random.below(2) == 0 {
        let middle = text.len() / 2;
        text.insert_str(
            middle,
            random.one(&["y", "é", "\"", "\\", "\n", "]}", "{[", "\",\"a\":"]),
        );
    }
    text
}

/// A name without a dot. Many share their beginning and end, or have the outline of a shorter name.
pub(super) fn name(random: &mut Random) -> String {
    match random.below(6) {
        0 => text(random),
        1 => format!(
            "12345678{}12345678",
            random.one(&["a", "b", "ab", "c\u{0}"])
        ),
        2 => format!("12345678{}", random.one(&["a", "b", "ab", "\u{0}", ""])),
        // The first two have the same outline, and so have the last two.
        3 => random
            .one(&["a", "`0123456789012", "bb", "a01234567890123"])
            .to_owned(),
        4 => random
            .one(&[
                "\"",
                "\\",
                "\u{1}",
                "é",
                "\u{0}",
                "\u{0}\u{0}",
                ":",
                "{",
                "[",
            ])
            .to_owned(),
        _ => "n".repeat(length(random).max(1)),
    }
}

/// A name that differs in one byte, or in its length.
pub(super) fn nearly(random: &mut Random, name: &str) -> String {
    let mut letters: Vec<char> = name.chars().collect();
    let at = random.below(letters.len() + 1);
    match random.below(3) {
        0 => letters.insert(at, '\u{0}'),
        1 if at < letters.len() => letters[at] = '~',
        _ if at < letters.len() => drop(letters.remove(at)),
        _ => letters.push('.'),
    }
    letters.into_iter().collect()
}

/// One, ten, a tenth or a long identifier, written with many digits.
pub(super) fn number(random: &mut Random) -> String {
    let digits = random.below(70) + 1;
    let zeros = "0".repeat(digits);
    let sign = random.one(&["", "", "-"]);
    match random.below(8) {
        0 => format!("{sign}1.{zeros}0"),
        1 => format!("{sign}1{zeros}e-{digits}"),
        2 => format!("{sign}0.{zeros}1e{}", digits + 1),
        3 => format!("{sign}0.{zeros}1E+{}", digits + 2),
        4 => format!("{sign}1{zeros}"),
        5 => format!("{sign}{}", &"1234567890".repeat(7)[..digits]),
        6 => format!("{sign}1.{zeros}1"),
        _ => format!("{sign}0.{zeros}e{digits}"),
    }
}

/// White space. In one of twelve cases, up to 69 bytes, which may move what follows into the next block.
fn space(random: &mut Random) -> String {
    let most = match random.below(12) {
        0 => 70,
        1..=3 => 3,
        _ => 1,
    };
    let count = random.below(most);
    let one = |_| random.one(&[" ", " ", "\n", "\r", "\t"]);
    (0..count).map(one).collect()
}

/// The same JSON in another layout.
pub(super) fn laid_out(random: &mut Random, json: &str) -> String {
    let mut out = " ".repeat(random.below(70));
    let (mut string, mut escape) = (false, false);
    for character in json.chars() {
        let escaped = std::mem::take(&mut escape);
        if string {
            out.push(character);
            escape = character == '\\' && !escaped;
            string = character != '"' || escaped;
            continue;
        }
        match character {
            ' ' | '\n' | '\r' | '\t' => {}
            '{' | '}' | '[' | ']' | ',' | ':' => {
                out.push_str(&space(random));
                out.push(character);
                out.push_str(&space(random));
            }
            _ => {
                out.push(character);
                string = character == '"';
            }
        }
    }
    out.push_str(&" ".repeat(random.below(3) * random.below(40)));
    out
}

/// One member of an event in parts.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) value: String,
    /// Whether the value is raw JSON.
    pub(super) raw: bool,
}

/// An event in parts. Names may be equal or have dots. Texts need not be JSON.
pub(super) fn members(random: &mut Random) -> Vec<Member> {
    let most = if random.below(6) == 0 { 40 } else { 6 };
    let member = |random: &mut Random| {
        let raw = random.below(3) > 0;
        let value = generate::value(random, 1);
        Member {
            name: generate::name(random),
            value: match raw {
                true => laid_out(random, &value),
                false => serde_json::from_str(&value).unwrap_or(value),
            },
            raw,
        }
    };
    (0..random.below(most)).map(|_| member(random)).collect()
}
