//! A scanner for strict JSON (RFC 8259), which reads once from left to right.
//!
//! One scanner reads patterns and events, so a string, a number and the offset of an error mean the same in
//! both. It borrows where it can and copies only strings with escapes. It checks everything, even parts that
//! no caller needs, because text that is accepted here is stored and passed on as JSON. It never recurses.
//! Callers bound their own depth.

use std::borrow::Cow;

/// The error at the place where the text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Syntax {
    /// Byte offset in the text.
    pub(crate) offset: usize,
    /// What is wrong.
    pub(crate) reason: Cow<'static, str>,
}

type Scanned<T> = Result<T, Syntax>;

/// A record of which open brackets belong to objects.
trait Brackets {
    fn open(&mut self, object: bool);
    fn close(&mut self);
    /// Whether the innermost open bracket is that of an object.
    fn in_object(&self) -> bool;
}

/// At most 64 brackets. The lowest bit is the innermost one.
struct Bits(u64);

impl Brackets for Bits {
    fn open(&mut self, object: bool) {
        self.0 = (self.0 << 1) | u64::from(object);
    }

    fn close(&mut self) {
        self.0 >>= 1;
    }

    fn in_object(&self) -> bool {
        self.0 & 1 == 1
    }
}

impl Brackets for Vec<bool> {
    fn open(&mut self, object: bool) {
        self.push(object);
    }

    fn close(&mut self) {
        self.pop();
    }

    fn in_object(&self) -> bool {
        self.last() == Some(&true)
    }
}

/// A place in a JSON text, and the text.
#[derive(Debug)]
pub(crate) struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scanner<'t> {
    /// Checks that the bytes are UTF-8, and starts at the first byte.
    pub(crate) fn new(bytes: &'t [u8]) -> Scanned<Self> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Scanner { text, at: 0 }),
            Err(error) => Err(Syntax {
                offset: error.valid_up_to(),
                reason: "not UTF-8".into(),
            }),
        }
    }

    /// Starts at the first byte of a text, which is UTF-8 already.
    pub(crate) fn of_text(text: &'t str) -> Self {
        Scanner { text, at: 0 }
    }

    /// The place of the next byte, counted from zero.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    /// An error at this place.
    pub(crate) fn error(&self, reason: impl Into<Cow<'static, str>>) -> Syntax {
        Syntax {
            offset: self.at,
            reason: reason.into(),
        }
    }

    /// The next byte that isn't white space. Doesn't consume it.
    pub(crate) fn peek(&mut self) -> Scanned<u8> {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Ok(byte);
            }
            self.at += 1;
        }
        Err(self.error("the text ends too early"))
    }

    /// Consumes the byte that `peek` returned.
    pub(crate) fn bump(&mut self) {
        self.at += 1;
    }

    /// Consumes white space and then this byte.
    pub(crate) fn expect(&mut self, byte: u8) -> Scanned<()> {
        if self.peek()? == byte {
            self.at += 1;
            return Ok(());
        }
        Err(self.unexpected(&format!("`{}`", char::from(byte))))
    }

    /// An error that says what was found here and what was expected.
    pub(crate) fn unexpected(&self, wanted: &str) -> Syntax {
        match self.text[self.at..].chars().next() {
            Some(found) => self.error(format!("expected {wanted}, found {found:?}")),
            None => self.error(format!("expected {wanted}, but the text ends")),
        }
    }

    /// Checks that only white space follows.
    pub(crate) fn finish(&mut self) -> Scanned<()> {
        match self.peek() {
            Err(_) => Ok(()),
            Ok(_) => Err(self.unexpected("the end")),
        }
    }

    /// Consumes a string. `peek` has returned its opening quote.
    pub(crate) fn string(&mut self) -> Scanned<Cow<'t, str>> {
        let from = self.at + 1;
        let mut decoded = String::new();
        let mut copied = from;
        self.at = from;
        loop {
            self.at = plain_run(self.text.as_bytes(), self.at);
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => {
                    let rest = &self.text[copied..self.at];
                    self.at += 1;
                    if copied == from {
                        return Ok(Cow::Borrowed(rest));
                    }
                    decoded.push_str(rest);
                    return Ok(Cow::Owned(decoded));
                }
                Some(b'\\') => {
                    decoded.push_str(&self.text[copied..self.at]);
                    decoded.push(self.escape()?);
                    copied = self.at;
                }
                Some(_) => return Err(self.error("a control character must be escaped")),
                None => return Err(self.error("the text ends inside a string")),
            }
        }
    }

    /// Consumes a string without decoding it, with the same checks.
    pub(crate) fn skip_string(&mut self) -> Scanned<()> {
        self.at += 1;
        loop {
            self.at = plain_run(self.text.as_bytes(), self.at);
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.escape()?;
                }
                Some(_) => return Err(self.error("a control character must be escaped")),
                None => return Err(self.error("the text ends inside a string")),
            }
        }
    }

    /// Consumes one escape, from its backslash on.
    fn escape(&mut self) -> Scanned<char> {
        let decoded = match self.text.as_bytes().get(self.at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.error("not an escape that JSON knows")),
        };
        self.at += 2;
        Ok(decoded)
    }

    /// Consumes `\uXXXX`, or two of them that make one character.
    fn unicode_escape(&mut self) -> Scanned<char> {
        let first = self.four_digits(self.at + 2)?;
        if let Some(character) = char::from_u32(first) {
            self.at += 6;
            return Ok(character);
        }
        let followed = self.text.as_bytes().get(self.at + 6..self.at + 8) == Some(br"\u");
        if first < 0xDC00 && followed {
            let second = self.four_digits(self.at + 8)?;
            if (0xDC00..0xE000).contains(&second) {
                let joined = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                self.at += 12;
                return Ok(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
        }
        Err(self.error("a surrogate without its other half"))
    }

    fn four_digits(&self, from: usize) -> Scanned<u32> {
        let digits = self.text.as_bytes().get(from..from + 4).unwrap_or_default();
        let value = digits.iter().try_fold(0, |sum, &digit| {
            Some(sum * 16 + char::from(digit).to_digit(16)?)
        });
        match value {
            Some(value) if digits.len() == 4 => Ok(value),
            _ => Err(self.error("`\\u` needs four hexadecimal digits")),
        }
    }

    /// Consumes a number and returns its text.
    pub(crate) fn number(&mut self) -> Scanned<&'t str> {
        let from = self.at;
        if self.next_is(b'-') {
            self.at += 1;
        }
        if self.next_is(b'0') {
            self.at += 1;
            if self.digit() {
                return Err(self.error("a number must not start with a zero"));
            }
        } else {
            self.digits()?;
        }
        if self.next_is(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if self.next_is(b'e') || self.next_is(b'E') {
            self.at += 1;
            if self.next_is(b'+') || self.next_is(b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[from..self.at])
    }

    fn next_is(&self, byte: u8) -> bool {
        self.text.as_bytes().get(self.at) == Some(&byte)
    }

    fn digit(&self) -> bool {
        matches!(self.text.as_bytes().get(self.at), Some(b'0'..=b'9'))
    }

    fn digits(&mut self) -> Scanned<()> {
        if !self.digit() {
            return Err(self.unexpected("a digit"));
        }
        while self.digit() {
            self.at += 1;
        }
        Ok(())
    }

    /// Consumes `true`, `false` or `null`.
    pub(crate) fn word(&mut self, word: &'static str) -> Scanned<()> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.unexpected("a JSON value"))
    }

    /// Consumes a value that no caller needs, with the same checks.
    ///
    /// `room` is how many more brackets may be open at once (64 at most).
    pub(crate) fn skip_value(&mut self, room: usize) -> Scanned<()> {
        self.skip(room.min(64), &mut Bits(0))
    }

    /// As `skip_value`, for a value that may nest to any depth. Each open bracket takes a byte of memory.
    pub(crate) fn skip_deep_value(&mut self) -> Scanned<()> {
        self.skip(usize::MAX, &mut Vec::new())
    }

    fn skip(&mut self, room: usize, brackets: &mut impl Brackets) -> Scanned<()> {
        let mut open = 0;
        loop {
            let first = self.peek()?;
            match first {
                b'"' => self.skip_string()?,
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                b'-' | b'0'..=b'9' => {
                    self.number()?;
                }
                b'{' | b'[' => {
                    if open >= room {
                        return Err(self.too_deep());
                    }
                    let object = first == b'{';
                    self.at += 1;
                    open += 1;
                    brackets.open(object);
                    if self.peek()? != if object { b'}' } else { b']' } {
                        if object {
                            self.skip_key()?;
                        }
                        continue;
                    }
                }
                _ => return Err(self.unexpected("a JSON value")),
            }
            while open > 0 {
                let object = brackets.in_object();
                match self.peek()? {
                    b',' => {
                        self.at += 1;
                        if object {
                            self.skip_key()?;
                        }
                        break;
                    }
                    b'}' if object => self.at += 1,
                    b']' if !object => self.at += 1,
                    _ if object => return Err(self.unexpected("`,` or `}`")),
                    _ => return Err(self.unexpected("`,` or `]`")),
                }
                open -= 1;
                brackets.close();
            }
            if open == 0 {
                return Ok(());
            }
        }
    }

    fn skip_key(&mut self) -> Scanned<()> {
        self.quote()?;
        self.skip_string()?;
        self.expect(b':')
    }

    /// Consumes an object's key and the colon after it.
    pub(crate) fn key(&mut self) -> Scanned<Cow<'t, str>> {
        self.quote()?;
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    fn quote(&mut self) -> Scanned<()> {
        match self.peek()? {
            b'"' => Ok(()),
            _ => Err(self.unexpected("a key in double quotes")),
        }
    }

    /// Consumes what follows a member or an element. Returns whether another one comes.
    pub(crate) fn another(&mut self, close: u8) -> Scanned<bool> {
        match self.peek()? {
            b',' => {
                self.at += 1;
                Ok(true)
            }
            byte if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.unexpected(if close == b'}' {
                "`,` or `}`"
            } else {
                "`,` or `]`"
            })),
        }
    }

    /// The error for one bracket too many.
    pub(crate) fn too_deep(&self) -> Syntax {
        self.error(format!(
            "nested deeper than {} brackets, the limit for events",
            crate::limits::EVENT_DEPTH_MAX
        ))
    }
}

const LOW_BITS: u64 = u64::MAX / 255;
const HIGH_BITS: u64 = LOW_BITS << 7;

/// The first byte from `at` on that can't stand in a string as it is: a quote, a backslash or a control
/// character.
///
/// Reads eight bytes at a time. Each of the three tests may also mark bytes *after* a true hit, but never
/// before one. So the lowest mark is always right.
fn plain_run(bytes: &[u8], mut at: usize) -> usize {
    let zero_bytes = |word: u64| word.wrapping_sub(LOW_BITS) & !word & HIGH_BITS;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let controls = word.wrapping_sub(LOW_BITS * 0x20) & !word & HIGH_BITS;
        let quotes = zero_bytes(word ^ (LOW_BITS * u64::from(b'"')));
        let backslashes = zero_bytes(word ^ (LOW_BITS * u64::from(b'\\')));
        let marks = controls | quotes | backslashes;
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while let Some(&byte) = bytes.get(at) {
        if byte < 0x20 || byte == b'"' || byte == b'\\' {
            break;
        }
        at += 1;
    }
    at
}
