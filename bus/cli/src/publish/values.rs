//! The JSON values of a stream of lines: one on each line, or one that goes on over several lines.
//!
//! If a value is not JSON, the error names its line, and reading continues after it. The caller may stop
//! waiting for the next value and ask again later; nothing is lost. Never here: what an event is.

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

use crate::Failure;
use crate::mapping::LINE_BYTES_MAX;
use edgebus_model::Code;

/// Lines after which a value is parsed only now and then, until its brackets are closed.
const LINES_PARSED: u64 = 16;
/// What some programs put in front of UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A value as it is in the input, or why it is not one.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Value {
    /// The line on which it begins, counted from 1.
    pub(super) line: u64,
    /// Its bytes without the last line break, or what is wrong with them.
    pub(super) json: Result<Vec<u8>, String>,
}

/// Reads values one after the other.
pub(super) struct Values {
    input: Box<dyn AsyncBufRead + Unpin + Send>,
    /// What was read and is still of use.
    text: Vec<u8>,
    /// Where the value that is being read begins in `text`.
    start: usize,
    /// Where it ends so far, with a part of a line at last; what is behind was read already and is to be
    /// looked at again.
    end: usize,
    /// Where the line that is being read begins in `text`.
    line_start: usize,
    /// Whole lines in `text`.
    lines: u64,
    /// Lines before `text`.
    lines_before: u64,
    /// Objects and lists that are open at the end of the last whole line.
    nesting: Nesting,
    /// The rest of a line that is too long is skipped.
    overlong: bool,
    /// Lines that don't begin a value are the rest of one that was given up.
    gives_up: bool,
}

impl Values {
    /// The values of `input`.
    pub(super) fn new(input: Box<dyn AsyncBufRead + Unpin + Send>) -> Self {
        Self {
            input,
            text: Vec::new(),
            start: 0,
            end: 0,
            line_start: 0,
            lines: 0,
            lines_before: 0,
            nesting: Nesting::default(),
            overlong: false,
            gives_up: false,
        }
    }

    /// The next value; `None` at the end. May be dropped and called again.
    ///
    /// # Errors
    /// The input can't be read.
    pub(super) async fn next(&mut self) -> Result<Option<Value>, Failure> {
        loop {
            let ended = !self.read_line().await?;
            if std::mem::take(&mut self.overlong) {
                let value = self.invalid(format!("the line is longer than {LINE_BYTES_MAX} bytes"));
                self.gives_up = self.lines > 1;
                self.take();
                return Ok(Some(value));
            }
            if ended && self.start == self.end {
                return Ok(None);
            }
            if self.gives_up {
                self.gives_up = !begins_value(self.text[self.start]);
                if self.gives_up {
                    self.lines += 1;
                    self.take();
                    continue;
                }
            }
            if let Some(value) = self.look(ended) {
                return Ok(Some(value));
            }
        }
    }

    /// What the lines so far are; `None` if they are blank or the value goes on.
    fn look(&mut self, ended: bool) -> Option<Value> {
        self.nesting.follow(&self.text[self.line_start..self.end]);
        self.line_start = self.end;
        self.lines += 1;
        let text = &self.text[self.start..self.end];
        if self.lines == 1 && text.iter().all(u8::is_ascii_whitespace) {
            self.take();
            return None;
        }
        // A long value is not parsed again at each of its lines.
        let often = self.lines <= LINES_PARSED || self.lines.is_power_of_two();
        if !(often || self.nesting.is_closed() || ended) {
            return None;
        }
        match serde_json::from_slice::<serde::de::IgnoredAny>(text) {
            Ok(_) => {
                let line = self.lines_before + 1;
                let json = without_line_break(self.take());
                Some(Value {
                    line,
                    json: Ok(json),
                })
            }
            Err(error) if error.is_eof() && !ended => None,
            Err(error) => {
                let value = self.invalid(self.words(&error));
                self.pass_over_first_line();
                Some(value)
            }
        }
    }

    fn invalid(&self, reason: String) -> Value {
        Value {
            line: self.lines_before + 1,
            json: Err(reason),
        }
    }

    /// The text of the value, and nothing is being read any more.
    fn take(&mut self) -> Vec<u8> {
        let text = self.text[self.start..self.end].to_vec();
        self.begin_at(self.end, self.lines_before + self.lines);
        text
    }

    /// Leaves the first line out; those behind it may be values of their own, unless they are the inside of
    /// this one.
    fn pass_over_first_line(&mut self) {
        let text = &self.text[self.start..self.end];
        let first = text.iter().position(|byte| *byte == b'\n');
        let first = first.map_or(text.len(), |end| end + 1);
        self.gives_up = first < text.len() || !self.nesting.is_closed();
        self.begin_at(self.start + first, self.lines_before + 1);
    }

    /// Begins a value at this place of `text`.
    fn begin_at(&mut self, mut start: usize, lines_before: u64) {
        // Each byte is moved once at most for each byte that is let go.
        if start > self.text.len() / 2 || start == self.text.len() {
            self.text.drain(..start);
            start = 0;
        }
        (self.start, self.end, self.line_start) = (start, start, start);
        (self.lines, self.lines_before) = (0, lines_before);
        self.nesting = Nesting::default();
    }

    /// What a parser said of the text.
    fn words(&self, error: &serde_json::Error) -> String {
        if error.is_eof() {
            return "the line is not JSON: the value that begins here has no end".to_owned();
        }
        let text = error.to_string();
        let reason = text
            .rsplit_once(" at line ")
            .map_or(&*text, |(reason, _)| reason);
        let line = self.lines_before + error.line() as u64;
        let place = match error.line() {
            1 => String::new(),
            _ => format!("line {line} "),
        };
        format!(
            "the line is not JSON: {reason} at {place}column {}",
            error.column()
        )
    }

    /// Reads to the end of a line; `false` at the end of the input. A line without an end does not fill the
    /// memory.
    async fn read_line(&mut self) -> Result<bool, Failure> {
        loop {
            if self.end < self.text.len() {
                let again = &self.text[self.end..];
                let line = again.iter().position(|byte| *byte == b'\n');
                self.end += line.map_or(again.len(), |end| end + 1);
                if line.is_some() {
                    return Ok(true);
                }
            }
            let number = self.lines_before + self.lines + 1;
            let buffer = self.input.fill_buf().await.map_err(|error| {
                Failure::new(format!("line {number} can't be read: {error}"))
                    .coded(Code::FileUnreadable)
            })?;
            if buffer.is_empty() {
                return Ok(false);
            }
            let line = buffer.iter().position(|byte| *byte == b'\n');
            let used = line.map_or(buffer.len(), |end| end + 1);
            if !self.overlong {
                self.text.extend_from_slice(&buffer[..used]);
            }
            self.input.consume(used);
            if self.lines_before + self.lines == 0 && self.line_start == 0 {
                strip_byte_order_mark(&mut self.text, line.is_some());
            }
            self.end = self.text.len();
            if self.end - self.start > LINE_BYTES_MAX + 2 {
                self.overlong = true;
                self.lines += 1;
                self.text.truncate(self.start);
                (self.end, self.line_start) = (self.start, self.start);
            }
            if line.is_some() {
                return Ok(true);
            }
        }
    }
}

/// True if a line that begins like this may begin a JSON value in its first column.
fn begins_value(byte: u8) -> bool {
    matches!(
        byte,
        b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'
    )
}

/// Takes the mark off the beginning of the input, once the first bytes are there.
fn strip_byte_order_mark(text: &mut Vec<u8>, whole_line: bool) {
    if text.starts_with(BYTE_ORDER_MARK) && (whole_line || text.len() > BYTE_ORDER_MARK.len()) {
        text.drain(..BYTE_ORDER_MARK.len());
    }
}

fn without_line_break(mut json: Vec<u8>) -> Vec<u8> {
    for end in [b'\n', b'\r'] {
        if json.last() == Some(&end) {
            json.pop();
        }
    }
    json
}

/// The nesting depth at the end of a text, by its quotes and brackets.
#[derive(Default)]
struct Nesting {
    depth: i64,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    fn follow(&mut self, text: &[u8]) {
        for byte in text {
            match (self.in_string, byte) {
                (true, _) if self.escaped => self.escaped = false,
                (true, b'\\') => self.escaped = true,
                (_, b'"') => self.in_string = !self.in_string,
                (false, b'{' | b'[') => self.depth += 1,
                (false, b'}' | b']') => self.depth -= 1,
                _ => {}
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.depth <= 0 && !self.in_string
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each value with its line, `!` before what is wrong with one.
    async fn check(text: &[u8], expected: &[&str]) {
        // One byte at a time is what a slow pipe gives.
        for buffer in [1, 7, 8_192] {
            let input =
                tokio::io::BufReader::with_capacity(buffer, std::io::Cursor::new(text.to_vec()));
            let mut values = Values::new(Box::new(input));
            let mut found = Vec::new();
            while let Some(value) = values.next().await.unwrap() {
                let line = value.line;
                found.push(match value.json {
                    Ok(json) => format!("{line} {}", String::from_utf8(json).unwrap()),
                    Err(reason) => format!("{line} !{reason}"),
                });
            }
            assert_eq!(found, expected, "with a buffer of {buffer}");
        }
    }

    #[tokio::test]
    async fn values_are_found_whatever_their_lines() {
        check(b"", &[]).await;
        check(b"\n \n\r\n", &[]).await;
        check(b"{}\n\n[1]\r\n3", &["1 {}", "3 [1]", "4 3"]).await;
        check(
            b"{\n  \"a\": \"}\\\"\",\n  \"b\": [\n  ]\n}\n{\"c\":1}\n",
            &[
                "1 {\n  \"a\": \"}\\\"\",\n  \"b\": [\n  ]\n}",
                "6 {\"c\":1}",
            ],
        )
        .await;
        check(b"\xef\xbb\xbf{}\n", &["1 {}"]).await;
    }

    #[tokio::test]
    async fn what_is_no_json_costs_its_own_line_alone() {
        check(
            b"{\"n\":1}\n{bad\n{\"n\":2}\n",
            &[
                "1 {\"n\":1}",
                "2 !the line is not JSON: key must be a string at column 2",
                "3 {\"n\":2}",
            ],
        )
        .await;
        // A line that was cut off looks as if it went on.
        check(
            b"{\"n\":\n{\"n\":2}\n{\"n\":3}\n",
            &[
                "1 !the line is not JSON: expected `,` or `}` at line 3 column 1",
                "2 {\"n\":2}",
                "3 {\"n\":3}",
            ],
        )
        .await;
        check(
            b"{\"n\":1\n{\"n\":2}\n",
            &[
                "1 !the line is not JSON: expected `,` or `}` at line 2 column 1",
                "2 {\"n\":2}",
            ],
        )
        .await;
        check(
            b"{}\n[1,\n",
            &[
                "1 {}",
                "2 !the line is not JSON: the value that begins here has no end",
            ],
        )
        .await;
        check(
            b"{} {}\n",
            &["1 !the line is not JSON: trailing characters at column 4"],
        )
        .await;
    }

    #[tokio::test]
    async fn the_inside_of_a_broken_value_is_no_value() {
        let broken = |column: u32, line: u32| {
            format!("1 !the line is not JSON: expected `,` or `}}` at line {line} column {column}")
        };
        check(b"{\n \"b\": [\n 1,\n 2\n ]\noops\n}", &[&broken(1, 6)]).await;
        check(
            b"{\n \"b\": [\n 1,\n 2\n ]\noops\n}\n{}\n 3\n",
            &[&broken(1, 6), "8 {}", "9  3"],
        )
        .await;
        // The error is in the first line, and its value continues.
        check(
            b"{oops\n \"b\": [\n 2\n ]\n}\n{}\n",
            &[
                "1 !the line is not JSON: key must be a string at column 2",
                "6 {}",
            ],
        )
        .await;
        // A value that is no part of another may be indented.
        check(
            b"oops\n 2\n",
            &[
                "1 !the line is not JSON: expected value at column 1",
                "2  2",
            ],
        )
        .await;
    }

    #[tokio::test]
    async fn a_line_without_an_end_does_not_fill_the_memory() {
        let text = [&b"{}\n"[..], &vec![b'x'; 3 * LINE_BYTES_MAX], b"\n{}\n"].concat();
        let input = std::io::Cursor::new(text);
        let mut values = Values::new(Box::new(input));
        let mut found = Vec::new();
        while let Some(value) = values.next().await.unwrap() {
            found.push((value.line, value.json.is_ok()));
        }
        assert_eq!(found, [(1, true), (2, false), (3, true)]);
    }
}
