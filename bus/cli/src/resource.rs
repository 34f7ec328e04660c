//! The things that the API lists: how each is named, and what a table shows of it.
//!
//! A command has one `Resource`, from which its `ls` and `get` are made. Never here: pages, and stories.

use serde::de::DeserializeOwned;

use super::client::{self, Client};
use super::connection::Connection;
use super::listing::{self, Listing, Page, Pages, Unfiltered};
use super::output::{self, Column, Output, plain};
use super::query::Path;
use super::{Failure, OK};

/// One kind of thing that the API lists, each an `R`.
pub(super) struct Resource<R: 'static> {
    /// What one of them is called.
    pub(super) noun: &'static str,
    /// The member of an answer that holds the rows. The API and the command line call the list so too.
    pub(super) member: &'static str,
    /// Reads an answer, each row as it was sent.
    pub(super) page: fn(&[u8]) -> Result<Page, Failure>,
    /// A table's columns, each with its text for a row.
    pub(super) columns: &'static [(Column, Cell<R>)],
}

/// The text of one row in one column.
type Cell<R> = fn(&R) -> String;

/// A text, or a dash where there is none.
#[must_use]
pub(super) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
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

impl<R: DeserializeOwned> Resource<R> {
    /// A table's line of one row.
    ///
    /// # Errors
    /// The row can't be read.
    pub(super) fn cells(&self, row: &str) -> Result<Vec<String>, Failure> {
        let row: R = client::read(row.as_bytes())?;
        Ok(self.columns.iter().map(|(_, cell)| cell(&row)).collect())
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
    async fn find(&self, client: &Client, name: &str) -> Result<Option<String>, Failure> {
        let answer = client.get(&self.path()).await?;
        Ok(listing::named(&(self.page)(&answer)?, name))
    }

    /// Shows one row of a list that comes whole; `story` tells it to people.
    ///
    /// # Errors
    /// The bus refuses, nothing has the name, or the output can't be written.
    pub(super) async fn get(
        &self,
        arguments: &Named,
        story: fn(&R) -> String,
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
        output::one(arguments.output.format, &row, || {
            Ok(story(&client::read(row.as_bytes())?))
        })?;
        Ok(OK)
    }
}
