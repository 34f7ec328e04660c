//! The parts of such a text: titles, facts in two columns, and texts of several lines.

use super::super::output::{Paint, plain};

/// Columns of the names of facts, with the blank behind them; a longer name has one blank, too.
const NAME_COLUMNS: usize = 10;

/// A story that is being written.
pub(crate) struct Facts {
    pub(super) out: String,
    pub(super) paint: Paint,
}

impl Facts {
    /// An empty story.
    #[must_use]
    pub(crate) fn new(paint: Paint) -> Self {
        Self {
            out: String::new(),
            paint,
        }
    }

    /// A new part, with a blank line before it.
    pub(crate) fn title(&mut self, name: &str, text: &str) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        let name = format!("{name:<width$}", width = NAME_COLUMNS + 2);
        self.out.push_str(&self.paint.strong(&name));
        self.line_end(text);
    }

    /// A fact of the part. The value may be coloured: what comes from elsewhere went through `plain`.
    pub(crate) fn fact(&mut self, name: &str, value: &str) {
        let name = format!("  {name:<width$} ", width = NAME_COLUMNS - 1);
        self.out.push_str(&self.paint.faint(&name));
        let margin = " ".repeat(NAME_COLUMNS + 2);
        self.line_end(&value.replace('\n', &format!("\n{margin}")));
    }

    /// A line of its own.
    pub(crate) fn line(&mut self, text: &str) {
        self.line_end(text);
    }

    fn line_end(&mut self, text: &str) {
        self.out.push_str(text);
        // No line ends with blanks.
        let kept = self.out.trim_end_matches(' ').len();
        self.out.truncate(kept);
        self.out.push('\n');
    }

    /// The story.
    #[must_use]
    pub(crate) fn end(self) -> String {
        self.out
    }
}

/// The lines of a text from outside, made safe: at most `lines_max`, and a note on the rest.
pub(super) fn safe_lines(text: &str, lines_max: usize) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .take(lines_max)
        .map(|line| plain(line).into_owned())
        .collect();
    let more = text.lines().count().saturating_sub(lines_max);
    if more > 0 {
        lines.push(format!("… {more} more lines; -o json shows them all"));
    }
    lines
}

/// The first and the last lines of a text from outside, made safe, with a note on those between.
pub(super) fn safe_ends(text: &str, lines_max: usize) -> Vec<String> {
    let count = text.lines().count();
    let more = count.saturating_sub(lines_max);
    let (first, last) = match more {
        0 => (count, count),
        _ => (lines_max / 2, lines_max / 2 + more),
    };
    let mut lines = Vec::with_capacity(lines_max + 1);
    for (index, line) in text.lines().enumerate() {
        if index == first && more > 0 {
            lines.push(format!("… {more} more lines; -o json shows them all"));
        }
        if index < first || index >= last {
            lines.push(plain(line).into_owned());
        }
    }
    lines
}
