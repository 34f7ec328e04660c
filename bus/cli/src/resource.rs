//! The things that the API lists: how each is named, and what a table shows of it.
//!
//! A command has one `Resource`, from which its `ls` and `get` are made. Never here: pages, and stories.

use serde_json::Value;

use super::client::Client;
use super::connection::Connection;
use super::listing::{self, Listing, Pages, Unfiltered, number, text, time};
use super::output::{self, Column, Output, bytes, plain, span};
use super::query::Path;
use super::{Failure, OK};

/// One kind of thing that the API lists.
pub(super) struct Resource {
    /// What one of them is called.
    pub(super) noun: &'static str,
    /// The member of an answer that holds the rows. The API and the command line call the list so too.
    pub(super) member: &'static str,
    /// A table's columns.
    pub(super) columns: &'static [(Column, Cell)],
}

/// What stands in a column.
#[derive(Clone, Copy)]
pub(super) enum Cell {
    /// The text at a place of the row.
    Text(&'static str),
    /// The time at a place of the row.
    Time(&'static str),
    /// The size at a place of the row.
    Bytes(&'static str),
    /// The milliseconds at a place of the row.
    Span(&'static str),
    /// What is made of the row.
    Made(fn(&Value) -> String),
}

impl Cell {
    fn of(self, row: &Value) -> String {
        match self {
            Self::Text(pointer) => text(row, pointer),
            Self::Time(pointer) => time(row, pointer),
            Self::Bytes(pointer) => bytes(number(row, pointer)),
            Self::Span(pointer) => span(number(row, pointer)),
            Self::Made(make) => make(row),
        }
    }
}

/// Arguments that show one thing by its name.
#[derive(clap::Args, Debug)]
pub(super) struct Named {
    #[command(flatten)]
    pub(super) connection: Connection,
    /// Its name.
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    #[command(flatten)]
    pub(super) output: Output,
}

impl Resource {
    /// A table's line of one row.
    pub(super) fn cells(&self, row: &Value) -> Vec<String> {
        let cells = self.columns.iter().map(|(_, cell)| cell.of(row));
        cells.collect()
    }

    fn path(&self) -> String {
        format!("/v1/{}", self.member)
    }

    /// Prints the list of what comes whole; `empty` says what to do when there is nothing.
    ///
    /// # Errors
    /// As [`listing::run`].
    pub(super) async fn list(
        &'static self,
        arguments: &Unfiltered,
        empty: &str,
    ) -> Result<u8, Failure> {
        let listing = Listing {
            resource: self,
            path: Path::new(self.path()),
            pages: Pages::Whole,
            empty: empty.to_owned(),
        };
        arguments.run(&listing).await
    }

    /// The row of a list that comes whole, as it was sent; `None` if nothing has the name.
    ///
    /// # Errors
    /// The bus refuses.
    pub(super) async fn find(
        &self,
        client: &Client,
        name: &str,
    ) -> Result<Option<String>, Failure> {
        let answer = client.get(&self.path()).await?;
        listing::named(&answer, self.member, name)
    }

    /// Shows one row of a list that comes whole; `story` tells it to people.
    ///
    /// # Errors
    /// The bus refuses, nothing has the name, or the output can't be written.
    pub(super) async fn get(
        &self,
        arguments: &Named,
        story: fn(&str) -> Result<String, Failure>,
    ) -> Result<u8, Failure> {
        let client = arguments.connection.client()?;
        let row = self.find(&client, &arguments.name).await?.ok_or_else(|| {
            Failure::new(format!(
                "there is no {} `{}`; edgebus {} ls lists them",
                self.noun,
                plain(&arguments.name),
                self.member
            ))
        })?;
        output::one(arguments.output.format, &row, || story(&row))?;
        Ok(OK)
    }
}
