//! `PATTERNS.md` held to what the crate does: every row of every table is run.
//!
//! The page is read as people read it, so a table that nobody here knows how to run is a failure, as
//! is a row that says something else than the matchers. Sentences outside of tables are on their own.

#![allow(
    clippy::panic,
    reason = "a test fails by panicking, with the line of the page"
)]

mod inputs;
mod limits;
mod page;
mod patterns;

#[test]
fn every_table_is_run() {
    let known: Vec<&str> = [patterns::TABLES, limits::TABLES, inputs::TABLES].concat();
    for table in page::tables() {
        let first = table.columns[0].as_str();
        assert!(
            known.contains(&first),
            "PATTERNS.md:{}: no test runs tables that begin with {first:?}",
            table.line
        );
    }
    for first in known {
        assert!(!page::tables_of(first).is_empty(), "no table of {first:?}");
    }
}
