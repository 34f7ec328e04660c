//! Faults as people read them: place and reason, the line with the spot underlined, and the remedy.
//!
//! Nothing of the text reaches the terminal that could steer it.

use std::fmt::Write as _;

use super::lint::{Lint, Warning};
use crate::error::Fault;

/// The longest part of a line that is printed, in characters.
const WIDTH_MAX: usize = 120;
/// How much of a cut line comes before the spot.
const LEAD: usize = 40;

/// Whether what is shown may be coloured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// Text alone.
    Plain,
    /// With ANSI colours, for a terminal.
    Coloured,
}

impl Style {
    fn paint(self, codes: &str, text: &str) -> String {
        match self {
            Self::Coloured if !text.is_empty() => format!("\x1b[{codes}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

/// What a message is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    Fault,
    Warning(Lint),
}

impl Weight {
    /// Red for what is wrong, yellow for what may be.
    fn codes(self) -> &'static str {
        match self {
            Self::Fault => "31;1",
            Self::Warning(_) => "33;1",
        }
    }
}

/// Prints `faults` of `text`, which was read from `file_name`.
#[must_use]
pub fn show(faults: &[Fault], text: &str, file_name: &str, style: Style) -> String {
    show_all(faults, &[], text, file_name, style)
}

/// Prints faults and warnings together, in the order of the text; warnings say that they are, with their names.
#[must_use]
pub fn show_all(
    faults: &[Fault],
    warnings: &[Warning],
    text: &str,
    file_name: &str,
    style: Style,
) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let faults = faults.iter().map(|fault| (Weight::Fault, fault));
    let warnings = warnings.iter();
    let warnings = warnings.map(|warning| (Weight::Warning(warning.lint), &warning.fault));
    let mut all: Vec<(Weight, &Fault)> = faults.chain(warnings).collect();
    // What has no place is about the whole and comes last.
    all.sort_by_key(|(_, fault)| (fault.place.is_none(), fault.place));
    let mut out = String::new();
    for (index, (weight, fault)) in all.into_iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        show_one(&mut out, weight, fault, &lines, file_name, style);
    }
    out
}

fn show_one(
    out: &mut String,
    weight: Weight,
    fault: &Fault,
    lines: &[&str],
    file_name: &str,
    style: Style,
) {
    let reason = style.paint("1", &printable(&fault.reason));
    let label = match weight {
        Weight::Fault => String::new(),
        Weight::Warning(lint) => {
            style.paint(weight.codes(), &format!("warning[{}]: ", lint.name()))
        }
    };
    match fault.place {
        None => push_line(out, format_args!("{file_name}: {label}{reason}")),
        Some((line, column)) => {
            push_line(
                out,
                format_args!("{file_name}:{line}:{column}: {label}{reason}"),
            );
            let index = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
            if let Some(source) = lines.get(index) {
                show_source(out, source, (line, column), weight, style);
            }
        }
    }
    if !fault.remedy.is_empty() {
        let help = style.paint("36", "help:");
        push_line(out, format_args!("{help} {}", printable(&fault.remedy)));
    }
}

fn show_source(
    out: &mut String,
    source: &str,
    (line, column): (u64, u64),
    weight: Weight,
    style: Style,
) {
    let wanted = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
    // A line is read to its end only as far as the spot and the width ask for.
    let start = source.chars().take(wanted).count();
    let from = if source.len() > WIDTH_MAX {
        start.saturating_sub(LEAD)
    } else {
        0
    };
    let window: Vec<char> = source.chars().skip(from).take(WIDTH_MAX + 1).collect();
    let cut = if from > 0 { "…" } else { "" };
    let rest = if window.len() > WIDTH_MAX { "…" } else { "" };
    let window = &window[..window.len().min(WIDTH_MAX)];
    let shown: String = window.iter().collect();
    let marks = token_length(window.get(start - from..).unwrap_or_default()).max(1);
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let lead = " ".repeat(start - from + cut.chars().count());
    let bar = |number: &str| style.paint("2", &format!("{number} |"));
    push_line(out, format_args!("{}", bar(&margin)));
    push_line(
        out,
        format_args!("{} {cut}{}{rest}", bar(&number), printable(&shown)),
    );
    let marks = style.paint(weight.codes(), &"^".repeat(marks));
    push_line(out, format_args!("{} {lead}{marks}", bar(&margin)));
}

/// How many characters the token at the start of `rest` has: a quoted text with its quotes, a bracket
/// alone, or a plain text up to what ends it.
fn token_length(rest: &[char]) -> usize {
    match rest.first() {
        None => 0,
        Some(quote @ ('"' | '\'')) => {
            let mut escaped = false;
            let close = rest.iter().skip(1).position(|character| {
                let closes = character == quote && !escaped;
                escaped = *quote == '"' && *character == '\\' && !escaped;
                closes
            });
            close.map_or(rest.len(), |index| index + 2)
        }
        Some('[' | ']' | '{' | '}' | ',') => 1,
        Some(_) => {
            let ends = |index: &usize| match rest[*index] {
                ':' => rest.get(index + 1).is_none_or(|next| next.is_whitespace()),
                '#' => *index > 0 && rest[index - 1].is_whitespace(),
                ',' | ']' | '}' => true,
                _ => false,
            };
            let end = (0..rest.len()).find(ends).unwrap_or(rest.len());
            rest[..end]
                .iter()
                .rposition(|character| !character.is_whitespace())
                .map_or(0, |last| last + 1)
        }
    }
}

/// `text` on one line, each control character as one sign, so that underlines stay in their column.
fn printable(text: &str) -> String {
    let sign = |character: char| match character {
        '\t' | '\n' => ' ',
        character if character.is_control() => '\u{fffd}',
        // Direction marks would make a line read as what it is not.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => '\u{fffd}',
        character => character,
    };
    text.chars().map(sign).collect()
}

fn push_line(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String can't fail.
    let _ = out.write_fmt(line);
    // A line that ends in spaces would be rewritten by editors in golden files.
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
}
