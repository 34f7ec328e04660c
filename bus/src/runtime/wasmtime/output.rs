//! What a function writes, bounded: log lines, standard output and standard error in one order.

/// The last line of an output that was cut.
pub(super) const TRUNCATED: &str = "… truncated";

/// Collects up to a bound; what comes after it is dropped.
#[derive(Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    bytes_max: usize,
    cut: bool,
}

impl Output {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            bytes_max,
            cut: false,
        }
    }

    /// Adds what a stream brings, as it comes.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if self.cut {
            return;
        }
        let room = self.bytes_max - self.bytes.len();
        self.cut = bytes.len() > room;
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Adds a log line of its own.
    pub(super) fn line(&mut self, level: &str, message: &str) {
        if self.bytes.last().is_some_and(|last| *last != b'\n') {
            self.write(b"\n");
        }
        self.write(level.as_bytes());
        self.write(b" ");
        self.write(message.trim_end_matches('\n').as_bytes());
        self.write(b"\n");
    }

    /// The text, never longer than the bound, [`TRUNCATED`] included if there is room for it.
    pub(super) fn finish(self) -> String {
        let mut text = match String::from_utf8(self.bytes) {
            Ok(text) => text,
            // A cut character at the end, or bytes that are no text: replacements make it longer.
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        if self.cut || text.len() > self.bytes_max {
            text.truncate(
                text.floor_char_boundary(self.bytes_max.saturating_sub(TRUNCATED.len() + 1)),
            );
            // The cut may have left half a line, or half a character that was replaced.
            while text.ends_with(char::REPLACEMENT_CHARACTER) {
                text.pop();
            }
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            if text.len() + TRUNCATED.len() <= self.bytes_max {
                text.push_str(TRUNCATED);
            }
        }
        text
    }
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
        assert!(text.len() <= bytes_max);
    }

    #[test]
    fn output_is_cut_at_a_character_and_says_so() {
        check(20, &["abc\n", "def\n"], "abc\ndef\n");
        check(20, &["12345678901234567890"], "12345678901234567890");
        check(20, &["12345678901234567890", "x"], "123456\n… truncated");
        check(20, &["12345ääääääääääää"], "12345\n… truncated");
        check(4, &["12345"], "");
        check(0, &["12345"], "");
    }

    #[test]
    fn a_log_line_stands_alone() {
        let mut output = Output::new(100);
        output.write(b"half");
        output.line("INFO", "whole\n");
        output.write(b"\xff\n");
        assert_eq!(output.finish(), "half\nINFO whole\n\u{fffd}\n");
    }
}
