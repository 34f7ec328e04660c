//! Tables: columns by name, no borders, numbers to the right, within the terminal's width.
//!
//! What identifies a row and what went wrong is never cut. If a row is wider than the terminal, its note goes
//! below it. If that is not enough, less important columns are left out from the right, and then words are
//! cut.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ColumnConstraint, Row, Table, Width};

use super::plain::{columns, plain, wrapped};

/// Blanks between two columns.
const GAP: u16 = 2;
/// Words are not cut to less than this.
const WORDS_MIN: u16 = 8;
/// Blanks before a note below its row.
const NOTE_INDENT: usize = 4;
/// Lines of a note below its row.
const NOTE_LINES_MAX: usize = 4;
/// What stands where there is nothing.
const NOTHING_HERE: &str = "-";

/// What becomes of a column where the terminal is too narrow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// It is never cut.
    Whole,
    /// It is left out.
    Optional,
    /// It is cut.
    Words,
    /// It goes below its row.
    Note,
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    title: &'static str,
    right: bool,
    role: Role,
}

impl Column {
    const fn new(title: &'static str, role: Role) -> Self {
        Self {
            title,
            right: false,
            role,
        }
    }

    /// A column of words that may be cut.
    #[must_use]
    pub(crate) const fn words(title: &'static str) -> Self {
        Self::new(title, Role::Words)
    }

    /// A column that is never cut: what identifies a row, or makes no sense when cut.
    #[must_use]
    pub(crate) const fn whole(title: &'static str) -> Self {
        Self::new(title, Role::Whole)
    }

    /// A column of numbers.
    #[must_use]
    pub(crate) const fn number(title: &'static str) -> Self {
        Self {
            right: true,
            ..Self::whole(title)
        }
    }

    /// The last column: a sentence, as on what went wrong.
    #[must_use]
    pub(crate) const fn note(title: &'static str) -> Self {
        Self::new(title, Role::Note)
    }

    /// The same column, which is left out where the terminal is narrow.
    #[must_use]
    pub(crate) const fn optional(self) -> Self {
        Self {
            role: Role::Optional,
            ..self
        }
    }
}

/// A table that is printed in pieces: the widths that one piece needed hold for the next ones.
pub(crate) struct Pieces {
    columns: Vec<Column>,
    /// What each column needed so far.
    needed: Vec<u16>,
    /// The columns that the last titles named.
    shown: Vec<usize>,
    /// The terminal's width; `None` elsewhere, and then nothing is left out.
    width_max: Option<u16>,
}

/// Which columns are in a row, how wide each is, and which one goes below.
struct Layout {
    shown: Vec<(usize, u16)>,
    below: Option<usize>,
}

impl Pieces {
    /// A table of these columns, to fit into `width_max`.
    #[must_use]
    pub(crate) fn new(columns: Vec<Column>, width_max: Option<u16>) -> Self {
        Self {
            needed: columns.iter().map(|own| width_of(own.title)).collect(),
            columns,
            shown: Vec::new(),
            width_max,
        }
    }

    /// The next rows as text; the first piece begins with the titles.
    #[must_use]
    pub(crate) fn next(&mut self, rows: Vec<Vec<String>>) -> String {
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| plain(cell).into_owned()).collect())
            .collect();
        for row in &rows {
            for (needed, cell) in self.needed.iter_mut().zip(row) {
                *needed = (*needed).max(width_of(cell));
            }
        }
        let layout = self.layout();
        let mut table = Table::new();
        table.load_style(NOTHING).force_no_tty();
        let shown: Vec<usize> = layout.shown.iter().map(|(index, _)| *index).collect();
        let titled = shown != self.shown;
        if titled {
            let titles = shown.iter().map(|index| self.columns[*index].title);
            table.add_row(one_line(titles.collect::<Vec<_>>().into()));
            self.shown = shown;
        }
        for row in &rows {
            let cells = self
                .shown
                .iter()
                .map(|index| row.get(*index).map_or("", String::as_str));
            table.add_row(one_line(cells.collect::<Vec<_>>().into()));
        }
        table.discover_columns();
        for (place, (index, width)) in layout.shown.iter().enumerate() {
            let Some(own) = table.column_mut(place) else {
                continue;
            };
            own.set_padding((0, GAP));
            own.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width + GAP)));
            if self.columns[*index].right {
                own.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut lines: Vec<String> = Vec::new();
        let mut notes = rows
            .iter()
            .map(|row| layout.below.and_then(|index| row.get(index)));
        for (number, line) in table.lines().enumerate() {
            lines.push(line.trim_end().to_owned());
            if number > 0 || !titled {
                let note = notes.next().flatten();
                lines.extend(note.into_iter().flat_map(|note| self.note(note)));
            }
        }
        lines.join("\n")
    }

    /// The lines of a note below its row.
    fn note(&self, note: &str) -> Vec<String> {
        if note == NOTHING_HERE || note.is_empty() {
            return Vec::new();
        }
        let width = usize::from(self.width_max.unwrap_or(u16::MAX));
        let lines = wrapped(note, width.saturating_sub(NOTE_INDENT), NOTE_LINES_MAX);
        let indented = lines
            .into_iter()
            .map(|line| format!("{:NOTE_INDENT$}{line}", ""));
        indented.collect()
    }

    fn layout(&self) -> Layout {
        let mut layout = Layout {
            shown: self.needed.iter().copied().enumerate().collect(),
            below: None,
        };
        let Some(width_max) = self.width_max else {
            return layout;
        };
        let too_wide = |layout: &Layout| {
            let gaps = usize::from(GAP) * layout.shown.len().saturating_sub(1);
            let widths = layout.shown.iter().map(|(_, width)| usize::from(*width));
            widths.sum::<usize>() + gaps > usize::from(width_max)
        };
        let last = |layout: &Layout, role: Role| {
            let mut places = layout.shown.iter();
            places.rposition(|(index, _)| self.columns[*index].role == role)
        };
        while too_wide(&layout) {
            if let Some(place) = last(&layout, Role::Note) {
                layout.below = Some(layout.shown.remove(place).0);
            } else if let Some(place) = last(&layout, Role::Optional) {
                layout.shown.remove(place);
            } else {
                break;
            }
        }
        while too_wide(&layout) {
            let words = layout.shown.iter_mut().filter(|(index, width)| {
                self.columns[*index].role == Role::Words && *width > WORDS_MIN
            });
            // A name that is longer than the terminal is wide goes on in the next line of the terminal.
            let Some((_, widest)) = words.max_by_key(|(_, width)| *width) else {
                break;
            };
            *widest -= 1;
        }
        layout
    }
}

fn width_of(text: &str) -> u16 {
    u16::try_from(columns(text)).unwrap_or(u16::MAX - GAP)
}

fn one_line(mut row: Row) -> Row {
    row.max_height(1);
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[Column::words("NAME"), Column::number("COUNT")];

    fn row(name: &str, count: u32) -> Vec<String> {
        vec![name.to_owned(), count.to_string()]
    }

    #[test]
    fn columns_stand_below_each_other_over_all_pieces() {
        let mut table = Pieces::new(COLUMNS.to_vec(), None);
        let first = table.next(vec![row("orders", 7), row("a-longer-name", 1_204)]);
        assert_eq!(
            first,
            "NAME           COUNT\norders             7\na-longer-name   1204"
        );
        assert_eq!(table.next(vec![row("x", 5)]), "x                  5");
    }

    #[test]
    fn rows_are_cut_to_the_width_and_what_a_terminal_obeys_is_shown() {
        const COLUMNS: &[Column] = &[Column::words("NAME"), Column::whole("AT")];
        let row = |name: &str, number: u32| vec![name.to_owned(), format!("12:30:{number:02}Z")];
        let mut table = Pieces::new(COLUMNS.to_vec(), Some(20));
        let text = table.next(vec![row(&"long ".repeat(20), 1), row("\x1b[31mred\n", 2)]);
        assert!(text.lines().all(|line| columns(line) <= 20), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("12:30:02Z"), "{text}");
        assert!(text.contains('…') && !text.contains('\x1b'), "{text}");
    }

    const LETTERS: &[Column] = &[
        Column::whole("ID"),
        Column::whole("SUBSCRIPTION"),
        Column::words("TYPE"),
        Column::whole("DIED").optional(),
        Column::number("ATTEMPTS").optional(),
        Column::note("LAST OUTCOME"),
    ];

    /// What a table of `width` columns looks like.
    fn check(width: Option<u16>, rows: &[[&str; 6]], expected: &str) {
        let rows = rows.iter().map(|row| row.map(str::to_owned).to_vec());
        let text = Pieces::new(LETTERS.to_vec(), width).next(rows.collect());
        assert_eq!(text, expected);
    }

    #[test]
    fn what_identifies_and_what_went_wrong_is_never_cut() {
        let letter = [
            "1-42",
            "visitors/hello",
            "com.example.visit",
            "2026-11-21 12:29:04Z",
            "5",
            "trap: panicked at src/lib.rs:27: end byte index 1 is not a char boundary",
        ];
        let good = ["1-7", "a/b", "t", "2026-11-21 12:29:05Z", "1", "-"];
        check(
            Some(80),
            &[letter, good],
            "ID    SUBSCRIPTION    TYPE               DIED                  ATTEMPTS
1-42  visitors/hello  com.example.visit  2026-11-21 12:29:04Z         5
    trap: panicked at src/lib.rs:27: end byte index 1 is not a char boundary
1-7   a/b             t                  2026-11-21 12:29:05Z         1",
        );
        check(
            Some(40),
            &[letter, good],
            "ID    SUBSCRIPTION    TYPE
1-42  visitors/hello  com.example.visit
    trap: panicked at src/lib.rs:27: end
    byte index 1 is not a char boundary
1-7   a/b             t",
        );
        check(
            Some(32),
            &[letter],
            "ID    SUBSCRIPTION    TYPE
1-42  visitors/hello  com.examp…
    trap: panicked at
    src/lib.rs:27: end byte
    index 1 is not a char
    boundary",
        );
        // Nothing that is left can be cut.
        check(
            Some(20),
            &[letter],
            "ID    SUBSCRIPTION    TYPE
1-42  visitors/hello  com.exa…
    trap: panicked
    at src/lib.rs:27
    : end byte index
    1 is not a char…",
        );
        check(
            None,
            &[good],
            "ID   SUBSCRIPTION  TYPE  DIED                  ATTEMPTS  LAST OUTCOME
1-7  a/b           t     2026-11-21 12:29:05Z         1  -",
        );
    }

    #[test]
    fn wide_characters_have_two_columns() {
        let wide = ["1-1", "注文/登録", "注文が入りました", "-", "1", "-"];
        let narrow = ["1-2", "orders", "t", "-", "1", "-"];
        check(
            Some(60),
            &[wide, narrow],
            "ID   SUBSCRIPTION  TYPE              DIED  ATTEMPTS
1-1  注文/登録     注文が入りました  -            1
1-2  orders        t                 -            1",
        );
    }
}
