//! Collects what a function writes, within a bound: log lines, standard output and standard error, in the
//! order in which they come.
//!
//! The beginning and the end are kept, with a line between them that says how much was left out. The
//! beginning shows what the attempt did, and the end shows why it ended. The message of a panic is also kept
//! separately, so that it is never cut off.

use std::collections::VecDeque;

/// How many bytes of a panic's message are kept.
const PANIC_BYTES_MAX: usize = 2 << 10;
/// How many bytes of a line are searched for the beginning of a panic.
const LINE_BYTES_MAX: usize = 512;
/// Space for the line that says how much was left out.
const GAP_BYTES_MAX: usize = 48;

/// Collects up to a bound. What comes between the beginning and the end is counted and dropped.
#[derive(Default)]
pub(super) struct Output {
    bytes_max: usize,
    /// The beginning, up to half of the bound.
    head: Vec<u8>,
    /// The end, up to the other half.
    tail: VecDeque<u8>,
    /// How many bytes were dropped before the tail.
    dropped: usize,
    /// True if the last byte ended a line.
    at_line_start: bool,
    errors: Errors,
}

/// Looks for a panic in what is written to standard error.
#[derive(Default)]
struct Errors {
    /// The line that is being written, up to [`LINE_BYTES_MAX`].
    line: Vec<u8>,
    /// True if that line begins a panic.
    begins_panic: bool,
    /// The last whole line that was not empty.
    last: Vec<u8>,
    /// The text from the line that began the last panic, up to [`PANIC_BYTES_MAX`].
    panic: Option<Vec<u8>>,
}

impl Output {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            at_line_start: true,
            ..Self::default()
        }
    }

    /// Adds bytes of a stream.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        self.at_line_start = *last == b'\n';
        let room = self.bytes_max / 2 - self.head.len();
        let (head, rest) = bytes.split_at(bytes.len().min(room));
        self.head.extend_from_slice(head);
        let tail_max = self.bytes_max - self.bytes_max / 2;
        let kept = &rest[rest.len().saturating_sub(tail_max)..];
        let over = (self.tail.len() + kept.len()).saturating_sub(tail_max);
        self.tail.drain(..over);
        self.tail.extend(kept);
        self.dropped += over + (rest.len() - kept.len());
    }

    /// Adds bytes of standard error.
    pub(super) fn write_error(&mut self, bytes: &[u8]) {
        self.write(bytes);
        self.errors.write(bytes);
    }

    /// Adds a log line.
    pub(super) fn line(&mut self, level: &str, message: &str) {
        if !self.at_line_start {
            self.write(b"\n");
        }
        self.write(level.as_bytes());
        self.write(b" ");
        self.write(message.trim_end_matches('\n').as_bytes());
        self.write(b"\n");
    }

    /// The function's own message about its end, if there is one: the message of a panic, or the last line of
    /// standard error.
    pub(super) fn last_words(&self) -> LastWords {
        self.errors.last_words()
    }

    /// The text, never longer than the bound. If something was left out, a line in its place says how much.
    pub(super) fn finish(mut self) -> String {
        if self.dropped == 0 {
            self.head.extend(self.tail);
            let text = match String::from_utf8(self.head) {
                Ok(text) => text,
                // The bytes are not UTF-8. The replacement characters make the text longer.
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            };
            if text.len() <= self.bytes_max {
                return text;
            }
            let half = text.floor_char_boundary(self.bytes_max / 2);
            let (head, tail) = text.split_at(half);
            return join(head, tail, 0, self.bytes_max);
        }
        let head = String::from_utf8_lossy(&self.head).into_owned();
        let tail = self.tail.make_contiguous();
        let tail = String::from_utf8_lossy(tail).into_owned();
        join(&head, &tail, self.dropped, self.bytes_max)
    }
}

/// Joins the beginning and the end within `bytes_max`, with a line between them that says how much is
/// missing. Both are cut at the end of a line if one is near. `dropped` bytes are missing between them
/// already.
fn join(head: &str, tail: &str, dropped: usize, bytes_max: usize) -> String {
    let Some(room) = bytes_max.checked_sub(GAP_BYTES_MAX) else {
        // There is no space for that line, so only the end is kept, as far as it fits.
        let from = tail.len().saturating_sub(bytes_max);
        let kept = &tail[tail.ceil_char_boundary(from)..];
        return kept
            .trim_start_matches(char::REPLACEMENT_CHARACTER)
            .to_owned();
    };
    let mut kept_head = &head[..head.floor_char_boundary(room / 2)];
    // The character at the cut was incomplete and was replaced.
    kept_head = kept_head.trim_end_matches(char::REPLACEMENT_CHARACTER);
    if let Some(end) = kept_head.rfind('\n') {
        kept_head = &kept_head[..=end];
    }
    let from = tail.len().saturating_sub(room - room / 2);
    let mut kept_tail = &tail[tail.ceil_char_boundary(from)..];
    kept_tail = kept_tail.trim_start_matches(char::REPLACEMENT_CHARACTER);
    // If the tail is one long line, its end is kept.
    if let Some(start) = kept_tail.find('\n')
        && start + 1 < kept_tail.len()
    {
        kept_tail = &kept_tail[start + 1..];
    }
    let left_out = dropped + (head.len() - kept_head.len()) + (tail.len() - kept_tail.len());
    let newline = if kept_head.is_empty() || kept_head.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    format!("{kept_head}{newline}… {left_out} bytes left out …\n{kept_tail}")
}

/// A function's own message about its end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) enum LastWords {
    /// A panic: its place and its message, which may have several lines.
    Panic(String),
    /// No known panic, but a last line on standard error.
    Line(String),
    /// Nothing.
    #[default]
    None,
}

impl Errors {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            append(&mut self.line, part, LINE_BYTES_MAX);
            if !self.begins_panic && begins_panic(&self.line) {
                // The last panic counts, because the attempt went on after those before it.
                self.begins_panic = true;
                self.panic = Some(self.line.clone());
            } else if let Some(panic) = &mut self.panic {
                append(panic, part, PANIC_BYTES_MAX);
            }
            if part.ends_with(b"\n") {
                if !self.line.trim_ascii().is_empty() {
                    std::mem::swap(&mut self.last, &mut self.line);
                }
                self.line.clear();
                self.begins_panic = false;
            }
        }
    }

    fn last_words(&self) -> LastWords {
        if let Some(panic) = &self.panic {
            return LastWords::Panic(panic_text(&String::from_utf8_lossy(panic)));
        }
        let line = match self.line.trim_ascii() {
            [] => self.last.trim_ascii(),
            line => line,
        };
        match line {
            [] => LastWords::None,
            line => LastWords::Line(String::from_utf8_lossy(line).into_owned()),
        }
    }
}

fn append(to: &mut Vec<u8>, bytes: &[u8], bytes_max: usize) {
    let room = bytes_max.saturating_sub(to.len());
    to.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// The first line of a panic in Rust or in Go.
fn begins_panic(line: &[u8]) -> bool {
    line.starts_with(b"panic: ")
        || (line.starts_with(b"thread '")
            && line
                .windows(PANICKED.len())
                .any(|part| part == PANICKED.as_bytes()))
}

/// In Rust's message, this comes before the place.
const PANICKED: &str = "panicked at ";

/// The message of a panic: place and message on one line, and further lines of the message on their own. The
/// advice and the frames that follow are left out.
fn panic_text(words: &str) -> String {
    let from = if words.starts_with("thread '") {
        words.find(PANICKED).unwrap_or_default()
    } else {
        0
    };
    let mut text = String::new();
    let follows = ["note: ", "stack backtrace:", "goroutine "];
    let own = |line: &&str| !follows.iter().any(|start| line.starts_with(start));
    for line in words[from..].lines().take_while(own) {
        let line = line.trim_end();
        if line.is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push(if text.ends_with(':') && !text.contains('\n') {
                ' '
            } else {
                '\n'
            });
        }
        text.push_str(line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes_max: usize, writes: &[&str], expected: &str) {
        let mut output = Output::new(bytes_max);
        for text in writes {
            output.write(text.as_bytes());
        }
        let text = output.finish();
        assert_eq!(text, expected);
        assert!(text.len() <= bytes_max, "{text}");
    }

    #[test]
    fn beginning_and_end_are_kept_and_what_is_left_out_is_counted() {
        check(20, &["abc\n", "def\n"], "abc\ndef\n");
        check(20, &["12345678901234567890"], "12345678901234567890");
        let lines: String = (0..100).map(|number| format!("line {number}\n")).collect();
        check(
            100,
            &[&lines],
            "line 0\nline 1\nline 2\n… 745 bytes left out …\nline 97\nline 98\nline 99\n",
        );
        let one: Vec<String> = lines
            .bytes()
            .map(|byte| char::from(byte).to_string())
            .collect();
        let one: Vec<&str> = one.iter().map(String::as_str).collect();
        check(
            100,
            &one,
            "line 0\nline 1\nline 2\n… 745 bytes left out …\nline 97\nline 98\nline 99\n",
        );
        check(10, &["123456789012"], "89012");
        check(0, &["12345"], "");
        check(1, &["12345"], "5");
    }

    #[test]
    fn a_cut_never_halves_a_character() {
        let text = "ä".repeat(200);
        for bytes_max in 0..120 {
            let mut output = Output::new(bytes_max);
            output.write(text.as_bytes());
            let text = output.finish();
            assert!(text.len() <= bytes_max, "{bytes_max}: {text}");
            assert!(
                !text.contains(char::REPLACEMENT_CHARACTER),
                "{bytes_max}: {text}"
            );
        }
        let mut output = Output::new(100);
        output.write(&[0xff; 90]);
        assert!(output.finish().len() <= 100);
    }

    #[test]
    fn a_log_line_stands_alone() {
        let mut output = Output::new(100);
        output.write(b"half");
        output.line("INFO", "whole\n");
        output.write(b"\xff\n");
        output.write(b"no end");
        assert_eq!(output.finish(), "half\nINFO whole\n\u{fffd}\nno end");
    }

    #[test]
    fn the_last_words_are_a_panics_or_the_last_line() {
        fn check(writes: &[&str], expected: LastWords) {
            let whole = [writes.concat()];
            let letters: Vec<String> = whole[0].chars().map(String::from).collect();
            for writes in [
                writes.to_vec(),
                vec![whole[0].as_str()],
                letters.iter().map(String::as_str).collect(),
            ] {
                let mut output = Output::new(10);
                for text in writes {
                    output.write_error(text.as_bytes());
                }
                assert_eq!(output.last_words(), expected, "{whole:?}");
            }
        }
        let panic = |text: &str| LastWords::Panic(text.to_owned());
        let note =
            "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n";
        check(&[], LastWords::None);
        check(&["\n \n"], LastWords::None);
        check(&["a\n", "b\n\n"], LastWords::Line("b".to_owned()));
        check(&["a\nb"], LastWords::Line("b".to_owned()));
        check(
            &[
                "\nthread '<unnamed>' (1) panicked at ",
                "src/lib.rs:28:35:\nindex out of bounds: the len is 0\n",
                note,
            ],
            panic("panicked at src/lib.rs:28:35: index out of bounds: the len is 0"),
        );
        check(
            &[
                "before\nthread 'main' panicked at a.rs:1:2:\nassertion `left == right` failed\n  left: 1\n right: 2\n",
                note,
            ],
            panic("panicked at a.rs:1:2: assertion `left == right` failed\n  left: 1\n right: 2"),
        );
        check(
            &["panic: runtime error: index out of range\n\ngoroutine 1 [running]:\nmain.main()\n"],
            panic("panic: runtime error: index out of range"),
        );
        check(
            &[
                "thread 'a' panicked at a.rs:1:1:\nfirst\nthread 'a' panicked at b.rs:2:2:\nsecond\n",
            ],
            panic("panicked at b.rs:2:2: second"),
        );
        check(
            &["not a thread 'a' panicked at\n"],
            LastWords::Line("not a thread 'a' panicked at".to_owned()),
        );
    }
}
