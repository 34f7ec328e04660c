//! Lists, page by page: each page is printed as it comes, so that a long list costs no memory.

use serde_json::value::RawValue;

use super::table::{Column, Pieces};
use super::{Format, json, width, write, yaml};
use crate::Failure;

/// Blanks in front of the entries of a JSON array.
const ENTRY_INDENT: &str = "  ";

/// A list that is being printed; [`Rows::end`] closes it.
pub(crate) struct Rows {
    format: Format,
    table: Pieces,
    printed: u64,
}

impl Rows {
    /// An empty list.
    #[must_use]
    pub(crate) fn new(format: Format, columns: impl IntoIterator<Item = Column>) -> Self {
        Self {
            format,
            table: Pieces::new(columns.into_iter().collect(), width()),
            printed: 0,
        }
    }

    /// How many rows were printed.
    #[must_use]
    pub(crate) fn printed(&self) -> u64 {
        self.printed
    }

    /// Prints more rows; `cells` makes a table's line of one.
    ///
    /// # Errors
    /// As [`write`], and rows that can't be shown in the format.
    pub(crate) fn page(
        &mut self,
        rows: &[impl AsRef<RawValue>],
        cells: impl Fn(&str) -> Result<Vec<String>, Failure>,
    ) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        let count = rows.len() as u64;
        let rows = rows.iter().map(|row| row.as_ref().get());
        let text = match self.format {
            Format::Table => {
                let lines: Result<Vec<_>, Failure> = rows.map(cells).collect();
                self.table.next(lines?) + "\n"
            }
            Format::Json => self.json(rows),
            Format::Jsonl => rows.map(|row| json::compact(row) + "\n").collect(),
            Format::Yaml => {
                let entries: Result<String, Failure> = rows.map(yaml::entry).collect();
                entries?
            }
        };
        self.printed += count;
        write(&text)
    }

    fn json<'r>(&self, rows: impl Iterator<Item = &'r str>) -> String {
        let mut out = String::new();
        for (index, row) in rows.enumerate() {
            let first = self.printed == 0 && index == 0;
            out.push_str(if first { "[\n" } else { ",\n" });
            let columns = super::JSON_COLUMNS - ENTRY_INDENT.len();
            let laid_out = json::indented(row, columns);
            out.push_str(ENTRY_INDENT);
            out.push_str(&laid_out.replace('\n', &format!("\n{ENTRY_INDENT}")));
        }
        out
    }

    /// Closes the list.
    ///
    /// # Errors
    /// As [`write`].
    pub(crate) fn end(self) -> Result<(), Failure> {
        match (self.format, self.printed) {
            (Format::Json | Format::Yaml, 0) => write("[]\n"),
            (Format::Json, _) => write("\n]\n"),
            _ => Ok(()),
        }
    }
}
