//! Checks the grammar of I-Regexp (RFC 9485) and translates an expression for the regex crate.
//!
//! Everything means the same there, with two exceptions: `.` matches no line break here, and characters that
//! only the crate treats as operators are escaped. In one respect this is stricter than the RFC, in which `^`
//! and `$` are plain characters. People who write them mean the ends of the string, so patterns refuse them
//! outside of a class. In queries they are the ends of the string, as in JSONPath's own test suite. The text
//! is read once from left to right, without recursion.

use crate::filter::Extent;
use crate::limits::{REGEX_GROUPS_OPEN_MAX, REGEX_REPEAT_MAX};
use std::iter::Peekable;
use std::str::Chars;

/// What is wrong, and what to write instead.
type Refused = (String, String);

/// The meaning of `^` and `$` outside of a class.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchors {
    /// Refused: the whole string has to match.
    Refused,
    /// The ends of the string. The extent says how much of the string has to match.
    Taken(Extent),
}

/// The expression for the regex crate. It is anchored at both ends if the whole string has to match.
pub(crate) fn translate(text: &str, anchors: Anchors) -> Result<String, Refused> {
    let whole = anchors != Anchors::Taken(Extent::Part);
    let mut translator = Translator {
        rest: text.chars().peekable(),
        out: String::from(if whole { r"\A(?:" } else { "(?:" }),
        open: 0,
        before: Before::Nothing,
        anchors,
    };
    while let Some(character) = translator.rest.next() {
        translator.one(character)?;
    }
    if translator.open > 0 {
        return Err(refused("a `(` that isn't closed", "close it with `)`"));
    }
    translator.out.push_str(if whole { r")\z" } else { ")" });
    Ok(translator.out)
}

/// What comes directly before the current place.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    Atom,
    Quantifier,
}

struct Translator<'t> {
    rest: Peekable<Chars<'t>>,
    out: String,
    open: usize,
    before: Before,
    anchors: Anchors,
}

fn refused(reason: impl Into<String>, remedy: &str) -> Refused {
    (format!("{} in a regex", reason.into()), remedy.to_owned())
}

impl Translator<'_> {
    /// Reads the construct that begins with this character.
    fn one(&mut self, character: char) -> Result<(), Refused> {
        let mut before = Before::Atom;
        match character {
            '|' => {
                self.out.push('|');
                before = Before::Nothing;
            }
            '(' => {
                self.group()?;
                before = Before::Nothing;
            }
            ')' if self.open == 0 => {
                return Err(refused(
                    "a `)` without its `(`",
                    r"write `\)` for the character",
                ));
            }
            ')' => {
                self.open -= 1;
                self.out.push(')');
            }
            '*' | '+' | '?' | '{' => {
                self.quantifier(character)?;
                before = Before::Quantifier;
            }
            '.' => self.out.push_str(r"[^\n\r]"),
            '[' => self.class()?,
            ']' | '}' => {
                let reason = format!("a `{character}` that closes nothing");
                return Err(refused(
                    reason,
                    &format!(r"write `\{character}` for the character"),
                ));
            }
            '^' | '$' if self.anchors != Anchors::Refused => {
                self.out
                    .push_str(if character == '^' { r"\A" } else { r"\z" });
                before = Before::Nothing;
            }
            '^' | '$' => {
                let remedy = "leave it out, since the whole string has to match; \
                              for the characters write `\\^` and `[$]`";
                return Err(refused(format!("a bare `{character}`"), remedy));
            }
            '\\' => match self.escape()? {
                Escaped::Character(character) => self.literal(character),
                Escaped::Property(property) => self.out.push_str(&property),
            },
            other => self.literal(other),
        }
        self.before = before;
        Ok(())
    }

    fn literal(&mut self, character: char) {
        self.out
            .push_str(&regex::escape(character.encode_utf8(&mut [0; 4])));
    }

    fn group(&mut self) -> Result<(), Refused> {
        if self.rest.peek() == Some(&'?') {
            let remedy = "write a plain group `(…)`: I-Regexp has no flags, names or look-around";
            return Err(refused("a group that begins with `(?`", remedy));
        }
        self.open += 1;
        if self.open > REGEX_GROUPS_OPEN_MAX {
            let reason = format!("more than {REGEX_GROUPS_OPEN_MAX} open groups, the limit,");
            return Err(refused(reason, "use fewer groups inside each other"));
        }
        self.out.push_str("(?:");
        Ok(())
    }

    fn quantifier(&mut self, sign: char) -> Result<(), Refused> {
        match self.before {
            Before::Atom => {}
            Before::Quantifier => {
                let reason = format!("a second quantifier `{sign}`");
                let remedy = "leave it out: no match is lazy or possessive where the whole string \
                              counts; to repeat a repetition, put it into a group";
                return Err(refused(reason, remedy));
            }
            Before::Nothing => {
                let reason = format!("a `{sign}` with nothing to repeat");
                return Err(refused(
                    reason,
                    &format!(r"write `\{sign}` for the character"),
                ));
            }
        }
        self.out.push(sign);
        if sign != '{' {
            return Ok(());
        }
        let from = self.count()?;
        if self.rest.next_if_eq(&',').is_some() {
            self.out.push(',');
            if self.rest.peek() != Some(&'}') {
                let to = self.count()?;
                if to < from {
                    let reason = format!("a repetition from {from} to {to}");
                    return Err(refused(reason, "write the smaller number first"));
                }
            }
        }
        if self.rest.next() != Some('}') {
            return Err(refused(
                "a `{` without its numbers and `}`",
                "write {2}, {2,} or {2,5}",
            ));
        }
        self.out.push('}');
        Ok(())
    }

    fn count(&mut self) -> Result<usize, Refused> {
        let mut digits = String::new();
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            if digits.len() < 10 {
                digits.push(digit);
            }
        }
        self.out.push_str(&digits);
        match digits.parse() {
            Ok(count) if count <= REGEX_REPEAT_MAX => Ok(count),
            Ok(_) => {
                let reason = format!("a repetition of more than {REGEX_REPEAT_MAX}, the limit,");
                Err(refused(reason, "repeat less, or use `*` or `+`"))
            }
            Err(_) => {
                let remedy = r"write {2}, {2,} or {2,5}, and `\{` for the character";
                Err(refused("a `{` without a number", remedy))
            }
        }
    }

    /// Reads a class. Its opening bracket was read already.
    fn class(&mut self) -> Result<(), Refused> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let character = self.in_class()?;
            match character {
                ']' if first => {
                    return Err(refused("an empty class", r"write `\]` for the character"));
                }
                ']' => break,
                '[' => {
                    let remedy = r"write `\[` for the character; classes don't nest, and [:alpha:] isn't known";
                    return Err(refused("a `[` inside a class", remedy));
                }
                '-' if first || self.rest.peek() == Some(&']') => self.member('-'),
                '-' => {
                    let remedy = r"write `\-` for the character, or put it first or last";
                    return Err(refused("a `-` that joins nothing", remedy));
                }
                '\\' => match self.escape()? {
                    Escaped::Character(low) => self.range(low)?,
                    Escaped::Property(property) => self.out.push_str(&property),
                },
                low => self.range(low)?,
            }
            first = false;
        }
        self.out.push(']');
        Ok(())
    }

    fn in_class(&mut self) -> Result<char, Refused> {
        let none = || refused("a `[` that isn't closed", "close it with `]`");
        self.rest.next().ok_or_else(none)
    }

    /// Writes a character of a class. If a range follows, writes its end too.
    fn range(&mut self, low: char) -> Result<(), Refused> {
        self.member(low);
        let mut ahead = self.rest.clone();
        if ahead.next() != Some('-') || ahead.peek() == Some(&']') {
            return Ok(());
        }
        self.rest.next();
        let high = match self.in_class()? {
            '\\' => match self.escape()? {
                Escaped::Character(high) => Some(high),
                Escaped::Property(_) => None,
            },
            '[' | '-' => None,
            high => Some(high),
        };
        let Some(high) = high else {
            let reason = format!("a range from `{low}` to what isn't a character");
            return Err(refused(reason, r"write `\-` for the character"));
        };
        if high < low {
            let reason = format!("a range from `{low}` to `{high}`");
            return Err(refused(reason, "write the lower character first"));
        }
        self.out.push('-');
        self.member(high);
        Ok(())
    }

    fn member(&mut self, character: char) {
        if matches!(character, '\\' | '[' | ']' | '^' | '-' | '&' | '~') {
            self.out.push('\\');
        }
        self.out.push(character);
    }

    /// Reads an escape. Its backslash was read already.
    fn escape(&mut self) -> Result<Escaped, Refused> {
        let Some(character) = self.rest.next() else {
            return Err(refused(
                "a backslash at the end",
                r"write `\\` for the character",
            ));
        };
        let remedy = match character {
            'n' => return Ok(Escaped::Character('\n')),
            'r' => return Ok(Escaped::Character('\r')),
            't' => return Ok(Escaped::Character('\t')),
            '('..='+' | '-' | '.' | '?' | '['..='^' | '{'..='}' => {
                return Ok(Escaped::Character(character));
            }
            'p' | 'P' => return self.property(character),
            'd' => r"write [0-9] or \p{Nd}",
            'D' => r"write [^0-9] or \P{Nd}",
            'w' => r"write [A-Za-z0-9_] or [\p{L}\p{N}_]",
            'W' => "write [^A-Za-z0-9_]",
            's' => r"write [ \t\n\r] or \p{Z}",
            'S' => r"write [^ \t\n\r] or \P{Z}",
            'b' | 'B' | 'A' | 'z' | 'Z' => "leave it out, since the whole string has to match",
            '0'..='9' | 'k' => "leave it out: I-Regexp has no back-references",
            'x' | 'u' => "write the character itself",
            '$' => "write [$]",
            _ => "write the character itself, without the backslash",
        };
        Err(refused(format!("an escape `\\{character}`"), remedy))
    }

    fn property(&mut self, sign: char) -> Result<Escaped, Refused> {
        let mut name = String::new();
        if self.rest.next_if_eq(&'{').is_some() {
            while let Some(letter) = self.rest.next_if(char::is_ascii_alphanumeric) {
                if name.len() < 10 {
                    name.push(letter);
                }
            }
            if self.rest.next() == Some('}') && CATEGORIES.contains(&name.as_str()) {
                return Ok(Escaped::Property(format!("\\{sign}{{{name}}}")));
            }
        }
        let remedy = format!("write \\{sign}{{…}} with one of {}", CATEGORIES.join(" "));
        Err(refused(
            format!("a `\\{sign}` without a Unicode category"),
            &remedy,
        ))
    }
}

enum Escaped {
    Character(char),
    /// As the regex crate writes it.
    Property(String),
}

/// The general categories of Unicode that I-Regexp has.
const CATEGORIES: [&str; 36] = [
    "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No", "P", "Pc",
    "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Z", "Zl", "Zp", "Zs", "S", "Sc", "Sk", "Sm", "So", "C",
    "Cc", "Cf", "Cn", "Co",
];
