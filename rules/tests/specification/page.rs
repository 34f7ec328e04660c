//! The page's tables and code.

use std::path::Path;

/// A table, with the heading it stands under.
pub(crate) struct Table {
    /// Line of its head, counted from one.
    pub(crate) line: usize,
    /// The nearest `## ` heading above.
    pub(crate) heading: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) line: usize,
    pub(crate) cells: Vec<String>,
}

/// A file of this crate.
pub(crate) fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of a table's line. A `\|` is a stroke that doesn't end its cell.
fn cells(line: &str) -> Vec<String> {
    let hidden = line.trim().replace("\\|", "\u{0}");
    let inner = hidden.trim_start_matches('|').trim_end_matches('|');
    let cells = inner.split('|');
    cells
        .map(|cell| cell.trim().replace('\u{0}', "|"))
        .collect()
}

pub(crate) fn tables() -> Vec<Table> {
    let text = file("PATTERNS.md");
    let mut tables: Vec<Table> = Vec::new();
    let mut heading = String::new();
    let mut inside = false;
    for (line, content) in (1..).zip(text.lines()) {
        if let Some(title) = content.strip_prefix("## ") {
            title.clone_into(&mut heading);
        }
        if !content.starts_with('|') {
            inside = false;
            continue;
        }
        let cells = cells(content);
        match tables.last_mut() {
            Some(table) if inside => {
                if line > table.line + 1 {
                    assert_eq!(cells.len(), table.columns.len(), "PATTERNS.md:{line}");
                    table.rows.push(Row { line, cells });
                }
            }
            _ => tables.push(Table {
                line,
                heading: heading.clone(),
                columns: cells,
                rows: Vec::new(),
            }),
        }
        inside = true;
    }
    tables
}

/// The tables whose first column has this head.
pub(crate) fn tables_of(first: &str) -> Vec<Table> {
    let mut all = tables();
    all.retain(|table| table.columns[0] == first);
    all
}

/// What stands between backticks, and the words around it.
pub(crate) fn code(cell: &str) -> (Vec<&str>, String) {
    let (mut code, mut words) = (Vec::new(), String::new());
    for (place, piece) in cell.split('`').enumerate() {
        match place % 2 {
            0 => words.push_str(piece),
            _ => code.push(piece),
        }
    }
    (code, words)
}

/// The fenced blocks of JSON.
pub(crate) fn json_blocks() -> Vec<String> {
    let text = file("PATTERNS.md");
    let blocks = text.split("```json\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap_or_default().to_owned())
        .collect()
}
