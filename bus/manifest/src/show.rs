//! Prints errors for people: place and reason, the line with the place underlined, and the remedy.
//!
//! Control characters of the text are escaped.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar as _;

use crate::lint::{Lint, Warning};
use edgebus_model::error::InputError;

/// Columns of a line of the manifest that are printed where no terminal says how wide it is.
const WIDTH_MAX: usize = 120;
/// The narrowest terminal that lines are cut for.
const WIDTH_MIN: usize = 20;
/// How much of a cut line comes before the spot, in columns; less where there is little room.
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
    Error,
    Warning(Lint),
}

impl Weight {
    /// Red for what is wrong, yellow for what may be.
    fn codes(self) -> &'static str {
        match self {
            Self::Error => "31;1",
            Self::Warning(_) => "33;1",
        }
    }
}

/// Prints `errors` of `text`, which was read from `file_name`.
#[must_use]
pub fn show(errors: &[InputError], text: &str, file_name: &str, style: Style) -> String {
    show_all(errors, &[], text, file_name, style)
}

/// Prints errors and warnings together, in the order of the text; warnings say that they are, with their names.
#[must_use]
pub fn show_all(
    errors: &[InputError],
    warnings: &[Warning],
    text: &str,
    file_name: &str,
    style: Style,
) -> String {
    show_within(errors, warnings, text, file_name, style, None)
}

/// As [`show_all`], with lines of the manifest cut to a terminal that has this many columns.
#[must_use]
pub fn show_within(
    errors: &[InputError],
    warnings: &[Warning],
    text: &str,
    file_name: &str,
    style: Style,
    columns: Option<u16>,
) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let errors = errors.iter().map(|error| (Weight::Error, error));
    let warnings = warnings.iter();
    let warnings = warnings.map(|warning| (Weight::Warning(warning.lint), &warning.error));
    let mut all: Vec<(Weight, &InputError)> = errors.chain(warnings).collect();
    // What has no place is about the whole and comes last.
    all.sort_by_key(|(_, error)| (error.place.is_none(), error.place));
    let mut out = String::new();
    for (index, (weight, error)) in all.into_iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let columns = columns.map(usize::from);
        show_one(
            &mut out,
            (weight, error),
            &lines,
            file_name,
            (style, columns),
        );
    }
    out
}

fn show_one(
    out: &mut String,
    (weight, error): (Weight, &InputError),
    lines: &[&str],
    file_name: &str,
    (style, columns): (Style, Option<usize>),
) {
    let reason = style.paint("1", &printable(&error.reason));
    let label = match weight {
        Weight::Error => String::new(),
        Weight::Warning(lint) => {
            style.paint(weight.codes(), &format!("warning[{}]: ", lint.name()))
        }
    };
    match error.place {
        None => push_line(out, format_args!("{file_name}: {label}{reason}")),
        Some((line, column)) => {
            push_line(
                out,
                format_args!("{file_name}:{line}:{column}: {label}{reason}"),
            );
            let index = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
            if let Some(source) = lines.get(index) {
                show_source(out, source, (line, column), weight, (style, columns));
            }
        }
    }
    if !error.remedy.is_empty() {
        let help = style.paint("36", "help:");
        push_line(out, format_args!("{help} {}", printable(&error.remedy)));
    }
}

fn show_source(
    out: &mut String,
    source: &str,
    (line, column): (u64, u64),
    weight: Weight,
    (style, columns): (Style, Option<usize>),
) {
    let number = line.to_string();
    let room = columns.map_or(WIDTH_MAX, |columns| {
        columns.max(WIDTH_MIN) - number.len() - MARGIN
    });
    let wanted = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
    // A line is read to its end only as far as the spot and the width ask for.
    let start = source.chars().take(wanted).count();
    let whole = taken(source.chars(), room) == source.chars().take(room + 1).count();
    // A terminal shows the beginning of the line where the spot is near it.
    let near = columns.is_some() && taken(source.chars(), room / 2) > start;
    let from = if whole || near {
        0
    } else {
        let before: Vec<char> = source.chars().take(start).collect();
        start - taken(before.into_iter().rev(), LEAD.min(room / 3))
    };
    let cut = if from > 0 { "…" } else { "" };
    // The ellipses are within the terminal's width, too.
    let room = match columns {
        Some(_) if !whole => room - cut.chars().count() - 1,
        _ => room,
    };
    let window: Vec<char> = source.chars().skip(from).take(room + 1).collect();
    let fits = taken(window.iter().copied(), room);
    let rest = if fits < window.len() { "…" } else { "" };
    let window = &window[..fits];
    let shown: String = window.iter().collect();
    let (lead, token) = window.split_at((start - from).min(fits));
    let marks = columns_of(&token[..token_length(token)]).max(1);
    let margin = " ".repeat(number.len());
    let lead = " ".repeat(columns_of(lead) + cut.chars().count());
    let bar = |number: &str| style.paint("2", &format!("{number} |"));
    push_line(out, format_args!("{}", bar(&margin)));
    push_line(
        out,
        format_args!("{} {cut}{}{rest}", bar(&number), printable(&shown)),
    );
    let marks = style.paint(weight.codes(), &"^".repeat(marks));
    push_line(out, format_args!("{} {lead}{marks}", bar(&margin)));
}

/// Columns of the bar beside a line, and the blanks around it.
const MARGIN: usize = 3;

/// How many of the first characters fit into this many columns.
fn taken(characters: impl Iterator<Item = char>, columns_max: usize) -> usize {
    let mut used = 0;
    characters
        .take_while(|character| {
            used += column_count(*character);
            used <= columns_max
        })
        .count()
}

fn columns_of(characters: &[char]) -> usize {
    characters.iter().map(|own| column_count(*own)).sum()
}

/// The columns that a terminal gives to the sign that stands for a character.
fn column_count(character: char) -> usize {
    sign(character).width().unwrap_or(1)
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
    text.chars().map(sign).collect()
}

fn sign(character: char) -> char {
    match character {
        '\t' | '\n' => ' ',
        character if character.is_control() => '\u{fffd}',
        // Direction marks would make a line read as what it is not.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => '\u{fffd}',
        character => character,
    }
}

fn push_line(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String can't fail.
    let _ = out.write_fmt(line);
    // A line that ends in spaces would be rewritten by editors in golden files.
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
}
