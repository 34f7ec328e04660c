//! Text for a terminal that is narrower than its lines: broken between words, each part below its beginning.
//!
//! Colours continue after a break. Commands and blocks of code are not broken here: the terminal wraps them,
//! so they can be copied as one line. Never here: cutting text off.

use unicode_width::UnicodeWidthChar as _;

use super::plain::wrapped;

/// The escape that begins a colour.
const ESCAPE: char = '\x1b';

/// `text` with lines of at most this many columns. Where a line goes on it is indented to `column`, or two
/// more than its own beginning if that is further to the right.
#[must_use]
pub(crate) fn folded(text: &str, columns: usize, column: usize) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    for line in text.split_inclusive('\n') {
        let (line, end) = match line.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (line, ""),
        };
        fold_line(&mut out, line, columns, column);
        out.push_str(end);
    }
    out
}

/// A paragraph in lines of at most this many columns, those after the first one indented by `indent`.
#[must_use]
pub(crate) fn wrapped_below(paragraph: &str, columns: usize, indent: usize) -> String {
    let first = wrapped(paragraph, columns, usize::MAX);
    if indent == 0 || first.len() < 2 {
        return first.join("\n");
    }
    let rest = paragraph[first[0].len()..].trim_start();
    let rest = wrapped(rest, columns.saturating_sub(indent), usize::MAX);
    let mut lines = vec![first[0].clone()];
    lines.extend(rest.into_iter().map(|line| format!("{:indent$}{line}", "")));
    lines.join("\n")
}

fn fold_line(out: &mut String, line: &str, columns: usize, column: usize) {
    let mut rest = visible(line).peekable();
    let mut indent = 0;
    while rest.next_if(|(_, character)| *character == ' ').is_some() {
        indent += 1;
    }
    let begins: String = rest
        .map(|(_, character)| character)
        .take(COMMAND.len())
        .collect();
    if begins == COMMAND || width(line) <= columns {
        out.push_str(line);
        return;
    }
    let indent = if indent < column { column } else { indent + 2 };
    let indent = if indent * 2 > columns { 2 } else { indent };
    let mut rest = line;
    let mut room = columns;
    loop {
        let Some(end) = break_of(rest, room) else {
            out.push_str(rest);
            return;
        };
        out.push_str(rest[..end].trim_end());
        out.push('\n');
        out.push_str(&" ".repeat(indent));
        rest = rest[end..].trim_start_matches(' ');
        room = columns.saturating_sub(indent).max(2);
    }
}

/// How lines begin that are commands to be typed.
const COMMAND: &str = "edgebus ";

/// Where to break a line that is wider than `room`, in bytes; `None` if it is not.
fn break_of(line: &str, room: usize) -> Option<usize> {
    let (mut used, mut blank, mut text) = (0, None, false);
    for (at, character) in visible(line) {
        used += character.width().unwrap_or(0);
        if used > room && character != ' ' {
            // Without a blank the word itself is broken.
            return Some(blank.unwrap_or(at)).filter(|at| *at > 0);
        }
        match character {
            // A break among the leading blanks would not help.
            ' ' if text => blank = Some(at),
            ' ' => {}
            _ => text = true,
        }
    }
    None
}

fn width(line: &str) -> usize {
    visible(line)
        .map(|(_, character)| character.width().unwrap_or(0))
        .sum()
}

/// The characters that are shown, each with its place: those of colours are not.
fn visible(line: &str) -> impl Iterator<Item = (usize, char)> {
    let mut colour = false;
    line.char_indices().filter(move |(_, character)| {
        let shown = !colour && *character != ESCAPE;
        colour = (colour || *character == ESCAPE) && !(colour && *character == 'm');
        shown
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_below_their_beginning() {
        let check = |text: &str, columns, column, expected: &str| {
            assert_eq!(folded(text, columns, column), expected);
        };
        check("short\n", 10, 0, "short\n");
        check("one two three four", 10, 0, "one two\n  three\n  four");
        check(
            "  trap      it fell over again and again\nok\n",
            26,
            12,
            "  trap      it fell over\n            again and\n            again\nok\n",
        );
        check("0123456789012345", 10, 0, "0123456789\n  012345");
        check("a 注文が入りました", 10, 0, "a\n  注文が入\n  りました");
        check(
            "    edgebus events export --after 12",
            20,
            0,
            "    edgebus events export --after 12",
        );
        check(
            "\x1b[31mone two three\x1b[0m four",
            10,
            0,
            "\x1b[31mone two\n  three\x1b[0m\n  four",
        );
        check(
            "                 far to the right",
            20,
            0,
            "                 far\n  to the right",
        );
    }
}
