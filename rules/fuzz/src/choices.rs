//! Bytes of a fuzzer, read as choices.
//!
//! Each choice takes one byte, so that a changed byte changes one choice. Where bytes run out every
//! choice is the first one, which is the simplest. Strings and numbers that were chosen are kept and
//! come back, whole or slightly changed: only so do patterns and events meet.

/// Words with a meaning of their own, somewhere.
const WORDS: [&str; 20] = [
    "::1",
    "0:0:0:0:0:0:0:1",
    "10.0.0.1",
    "10.0.0.200",
    "::ffff:10.0.0.1",
    "2001:db8::1",
    "straße",
    "STRASSE",
    "ΟΔΟΣ",
    "οδος",
    "İ",
    "ﬁ",
    "\u{10400}X",
    "null",
    "1",
    "a*b",
    "a\\b",
    "a\u{0}\u{7f}\u{85}",
    "exactly as long as a wide searching step, or longer: by a few letters at the end",
    "0123456789abcdef0123456789abcdef",
];

/// What other strings are made of.
const LETTERS: [&str; 16] = [
    "a", "b", "c", "A", "B", "x", "é", "É", "ß", "s", "*", "\\", ".", "1", "😀", "\"",
];

const NUMBERS: [&str; 24] = [
    "0",
    "-0",
    "0.0",
    "-0e9",
    "12345678901234567890",
    "12345678901234567890.0",
    "9007199254740992",
    "9007199254740993",
    "9007199254740993.0",
    "1e400",
    "-1e400",
    "10e399",
    "5e-324",
    "4e-324",
    "1e-400",
    "1.7976931348623157e308",
    "0.1",
    "0.10000000000000001",
    "0.30000000000000004",
    "123456789012345680000",
    "18446744073709551616",
    "-9223372036854775808",
    "1E+2",
    "1e0000000000000000000002",
];

/// So many strings and numbers are kept.
const KEPT_MAX: usize = 32;

/// Choices yet to be made.
#[derive(Debug)]
pub struct Choices<'b> {
    bytes: &'b [u8],
    strings: Vec<String>,
    numbers: Vec<String>,
}

impl<'b> Choices<'b> {
    /// One choice for each byte.
    pub fn new(bytes: &'b [u8]) -> Self {
        Choices {
            bytes,
            strings: Vec::new(),
            numbers: Vec::new(),
        }
    }

    /// Whether all that follows is the first choice.
    pub fn is_over(&self) -> bool {
        self.bytes.is_empty()
    }

    /// A number below the bound, which is at most 256.
    pub fn below(&mut self, bound: usize) -> usize {
        let Some((&byte, rest)) = self.bytes.split_first() else {
            return 0;
        };
        self.bytes = rest;
        usize::from(byte) % bound
    }

    /// One of these.
    pub fn one<'c>(&mut self, choices: &[&'c str]) -> &'c str {
        choices[self.below(choices.len())]
    }

    /// A string, decoded.
    pub fn string(&mut self) -> String {
        let text = match self.below(8) {
            0 | 1 => self.letters(),
            2 => self.one(&WORDS).to_owned(),
            _ if self.strings.is_empty() => self.letters(),
            3..=5 => self.known_string(),
            _ => {
                let text = self.known_string();
                self.changed(text)
            }
        };
        keep(&mut self.strings, &text);
        text
    }

    /// A few letters, or none.
    pub fn letters(&mut self) -> String {
        let count = self.below(7);
        (0..count).map(|_| self.one(&LETTERS)).collect()
    }

    fn known_string(&mut self) -> String {
        let place = self.below(self.strings.len());
        self.strings[place].clone()
    }

    fn changed(&mut self, text: String) -> String {
        match self.below(7) {
            0 => text + &self.letters(),
            1 => self.letters() + &text,
            2 => self.letters() + &text + &self.letters(),
            3 => text.to_uppercase(),
            4 => text.to_lowercase(),
            5 => text.chars().skip(1).collect(),
            // What stands for any run of characters stands for one.
            _ => text.replace('*', "a"),
        }
    }

    /// A number, as JSON spells it.
    pub fn number(&mut self) -> String {
        let text = match self.below(8) {
            0 => self.one(&["1", "2", "3", "10", "-1", "1.5"]).to_owned(),
            1 => self.digits(),
            2 => self.one(&NUMBERS).to_owned(),
            _ if self.numbers.is_empty() => self.digits(),
            3..=5 => self.known_number(),
            _ => {
                let text = self.known_number();
                self.respelled(&text)
            }
        };
        keep(&mut self.numbers, &text);
        text
    }

    fn digits(&mut self) -> String {
        let mut text = self.one(&["", "-"]).to_owned();
        text += self.one(&[
            "0",
            "1",
            "2",
            "25",
            "300",
            "7",
            "90071992547409",
            "123456789",
        ]);
        match self.below(4) {
            0 => {}
            1 => text += self.one(&[".0", ".5", ".25", ".1", ".00000000000000000000000001"]),
            2 => text += self.one(&["e0", "e1", "E+2", "e-1", "e-2", "e22", "e308", "e-320"]),
            _ => {
                text += self.one(&[".5", ".25", ".1"]);
                text += self.one(&["e1", "e-1", "E2", "e300"]);
            }
        }
        text
    }

    fn known_number(&mut self) -> String {
        let place = self.below(self.numbers.len());
        self.numbers[place].clone()
    }

    /// A number of the same value, mostly.
    pub fn another_spelling(&mut self, text: &str) -> String {
        match self.below(4) {
            0 => self.respelled(text),
            _ => text.to_owned(),
        }
    }

    /// The string in one letter case or the other.
    pub fn in_any_case(&mut self, text: &str) -> String {
        match self.below(4) {
            0 => text.to_uppercase(),
            1 => text.to_lowercase(),
            _ => text.to_owned(),
        }
    }

    /// The same number in another spelling, or one beside it.
    fn respelled(&mut self, text: &str) -> String {
        if text.contains(['.', 'e', 'E']) {
            return match text.strip_prefix('-') {
                Some(rest) => rest.to_owned(),
                None => format!("-{text}"),
            };
        }
        let ending = self.one(&[".0", "e0", "0e-1", "00E-2", ".00e+0", "1", "0", ".0000001"]);
        if text == "0" && !ending.starts_with(['.', 'e']) {
            return "0e5".to_owned();
        }
        format!("{text}{ending}")
    }
}

fn keep(kept: &mut Vec<String>, text: &str) {
    if kept.len() < KEPT_MAX && kept.iter().all(|known| known != text) {
        kept.push(text.to_owned());
    }
}

/// A string as JSON.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
