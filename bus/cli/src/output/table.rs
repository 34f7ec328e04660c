//! Tables: columns by name, no borders, numbers to the right, rows cut to the terminal's width.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width};

use super::plain;

/// Blanks between two columns.
const GAP: u16 = 2;

/// One column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    title: &'static str,
    right: bool,
    /// Never cut, however narrow the terminal is.
    whole: bool,
}

impl Column {
    /// A column of words.
    #[must_use]
    pub(crate) const fn words(title: &'static str) -> Self {
        Self {
            title,
            right: false,
            whole: false,
        }
    }

    /// A column of words that are short or make no sense when cut: times, ids, stages.
    #[must_use]
    pub(crate) const fn whole(title: &'static str) -> Self {
        Self {
            title,
            right: false,
            whole: true,
        }
    }

    /// A column of numbers.
    #[must_use]
    pub(crate) const fn number(title: &'static str) -> Self {
        Self {
            title,
            right: true,
            whole: true,
        }
    }
}

/// A table that is printed in pieces: the widths that one piece needed hold for the next ones.
pub(crate) struct Pieces {
    columns: &'static [Column],
    widths: Vec<u16>,
    /// The terminal's width; `None` elsewhere, and then nothing is cut.
    width_max: Option<u16>,
}

impl Pieces {
    /// A table of these columns, to be cut at `width_max`.
    #[must_use]
    pub(crate) fn new(columns: &'static [Column], width_max: Option<u16>) -> Self {
        Self {
            columns,
            widths: Vec::new(),
            width_max,
        }
    }

    /// The next rows as text; the first piece begins with the titles.
    #[must_use]
    pub(crate) fn next(&mut self, rows: Vec<Vec<String>>) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING).force_no_tty();
        if let Some(width) = self.width_max {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width);
        }
        if self.widths.is_empty() {
            let titles: Vec<&str> = self.columns.iter().map(|column| column.title).collect();
            table.add_row(one_line(titles.into()));
        }
        for row in rows {
            let cells: Vec<String> = row.iter().map(|cell| plain(cell).into_owned()).collect();
            table.add_row(one_line(cells.into()));
        }
        table.discover_columns();
        let needed = table.column_max_content_widths();
        self.widths.resize(self.columns.len(), 0);
        for (index, column) in self.columns.iter().enumerate() {
            let Some(own) = table.column_mut(index) else {
                continue;
            };
            own.set_padding((0, GAP));
            if column.right {
                own.set_cell_alignment(CellAlignment::Right);
            }
            let width = &mut self.widths[index];
            *width = (*width).max(needed.get(index).copied().unwrap_or(0));
            if self.width_max.is_none() {
                let lower = Width::Fixed(*width + GAP);
                own.set_constraint(ColumnConstraint::LowerBoundary(lower));
            } else if column.whole {
                own.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        table.trim_fmt()
    }
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
        let mut table = Pieces::new(COLUMNS, None);
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
        let mut table = Pieces::new(COLUMNS, Some(20));
        let text = table.next(vec![row(&"long ".repeat(20), 1), row("\x1b[31mred\n", 2)]);
        assert!(
            text.lines().all(|line| line.chars().count() <= 20),
            "{text}"
        );
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("12:30:02Z"), "{text}");
        assert!(text.contains('…') && !text.contains('\x1b'), "{text}");
    }
}
