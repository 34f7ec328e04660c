//! Listings of the API: fetched page by page, printed as they come, and what to type for more.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::client::{self, Client};
use super::connection::Connection;
use super::output::{self, Format, Output, Progress, Rows};
use super::query::Path;
use super::resource::Resource;
use super::{Failure, OK};
use edgebus_model::limits::PAGE_ROWS_MAX;

/// Which part of a listing to print.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Paging {
    /// Rows to print at most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) limit: u64,
    /// Continue after this place, as the page before printed it.
    #[arg(long, value_name = "CURSOR")]
    pub(super) after: Option<String>,
    /// Print everything, page by page.
    #[arg(long, conflicts_with = "limit")]
    pub(super) all: bool,
}

/// Arguments of a listing that comes page by page, behind its filters.
#[derive(clap::Args, Debug)]
pub(super) struct Paged {
    /// Begin with the oldest.
    #[arg(long)]
    oldest_first: bool,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    output: Output,
}

impl Paged {
    /// How the bus is asked for this order.
    pub(super) fn pages(&self) -> Pages {
        match self.oldest_first {
            true => Pages::Forward,
            false => Pages::Backward,
        }
    }

    /// Fetches and prints `listing`.
    ///
    /// # Errors
    /// As [`run`].
    pub(super) async fn run<R: DeserializeOwned>(
        &self,
        client: &Client,
        listing: &Listing<R>,
    ) -> Result<u8, Failure> {
        run(client, listing, &self.paging, self.output.format).await
    }
}

/// How the bus gives a listing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pages {
    /// Whole; the name of a row is the cursor.
    Whole,
    /// Page by page from the oldest row on.
    Forward,
    /// Page by page from the newest row back.
    Backward,
}

/// Arguments of a listing that has no filters.
#[derive(clap::Args, Debug)]
pub(super) struct Unfiltered {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    output: Output,
}

impl Unfiltered {
    /// Fetches and prints `listing`.
    ///
    /// # Errors
    /// As [`run`].
    pub(super) async fn run<R: DeserializeOwned>(
        &self,
        listing: &Listing<R>,
    ) -> Result<u8, Failure> {
        let client = self.connection.client()?;
        run(&client, listing, &self.paging, self.output.format).await
    }
}

/// A listing of the API.
pub(super) struct Listing<R: 'static> {
    /// What is listed.
    pub(super) resource: &'static Resource<R>,
    /// Its path with the filters.
    pub(super) path: Path,
    /// How it comes.
    pub(super) pages: Pages,
    /// What to say and do when there is nothing.
    pub(super) empty: String,
}

/// One answer, its rows as they were sent.
pub(super) type Page = edgebus_api::Rows<Box<RawValue>>;

/// Reads a page out of an answer.
///
/// # Errors
/// The answer is not a page.
pub(super) fn page<L>(answer: &[u8]) -> Result<Page, Failure>
where
    L: edgebus_api::Listing<Row = Box<RawValue>> + DeserializeOwned,
{
    Ok(client::read::<L>(answer)?.into_rows())
}

/// Fetches and prints a listing.
///
/// # Errors
/// The bus refuses, or the output can't be written.
pub(super) async fn run<R: DeserializeOwned>(
    client: &Client,
    listing: &Listing<R>,
    paging: &Paging,
    format: Format,
) -> Result<u8, Failure> {
    let resource = listing.resource;
    let mut rows = Rows::new(format, resource.columns.iter().map(|(column, _)| *column));
    let mut after = paging.after.clone();
    let mut left = if paging.all { u64::MAX } else { paging.limit };
    let mut oldest;
    let next = loop {
        let limit = left.min(PAGE_ROWS_MAX as u64);
        let path = listing.path.clone();
        let path = match listing.pages {
            Pages::Whole => path,
            Pages::Forward => path
                .with("limit", &limit.to_string())
                .with_some("after", after.as_deref()),
            Pages::Backward => path
                .with("last", &limit.to_string())
                .with_some("before", after.as_deref()),
        };
        let progress = Progress::of_request("reading");
        let answer = client.get(path.text()).await?;
        progress.finish();
        let mut page = (resource.page)(&answer)?;
        match listing.pages {
            Pages::Whole => page = cut(page, after.as_deref(), left)?,
            Pages::Forward => {}
            Pages::Backward => {
                page.rows.reverse();
                page.next = page.older.take();
            }
        }
        oldest = page.oldest;
        rows.page(&page.rows, |row| resource.cells(row))?;
        left = left.saturating_sub(page.rows.len() as u64);
        match page.next {
            None => break None,
            Some(next) if left == 0 => break Some(next),
            Some(next) => after = Some(next),
        }
    };
    let printed = rows.printed();
    rows.end()?;
    if let Some(next) = next {
        let again = again(std::env::args().skip(1), &next);
        output::note(&format!("more: edgebus {again}"));
    } else if printed == 0 {
        output::note(&listing.empty);
        if let Some(oldest) = oldest.filter(|oldest| *oldest > 1) {
            let last = oldest - 1;
            output::note(&format!(
                "the events up to position {last} were removed by retention"
            ));
        }
    }
    Ok(OK)
}

/// The part of a listing without pages that was asked for.
fn cut(page: Page, after: Option<&str>, limit: u64) -> Result<Page, Failure> {
    let mut rows = page.rows;
    if let Some(after) = after {
        let place = rows
            .iter()
            .position(|row| name_of(row).as_deref() == Some(after));
        let place = place.ok_or_else(|| {
            Failure::new(format!(
                "--after `{after}` is not in the listing; leave it out to begin anew"
            ))
        })?;
        rows.drain(..=place);
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().and_then(|row| name_of(row));
    Ok(Page {
        rows,
        next: next.filter(|_| more),
        older: None,
        oldest: page.oldest,
    })
}

/// The row of an answer without pages that has this name, as it was sent.
pub(super) fn named(page: &Page, name: &str) -> Option<String> {
    let mut rows = page.rows.iter();
    let found = rows.find(|row| name_of(row).as_deref() == Some(name));
    found.map(|row| row.get().to_owned())
}

fn name_of(row: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let named: Named = serde_json::from_str(row.get()).ok()?;
    Some(named.name)
}

/// The command line that goes on after `next`, quoted for a shell.
fn again(arguments: impl Iterator<Item = String>, next: &str) -> String {
    let mut words = Vec::new();
    let mut skip = false;
    for argument in arguments {
        if std::mem::take(&mut skip) || argument.starts_with("--after=") {
            continue;
        }
        if argument == "--after" {
            skip = true;
            continue;
        }
        words.push(quoted(&argument));
    }
    words.push("--after".to_owned());
    words.push(quoted(next));
    words.join(" ")
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let simple = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:=@,+%".contains(&byte);
    if !word.is_empty() && word.bytes().all(simple) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use edgebus_api::RuleList;

    use super::*;

    #[test]
    fn the_next_command_is_told_as_it_must_be_typed() {
        let told =
            |line: &[&str], next: &str| again(line.iter().map(|word| (*word).to_owned()), next);
        assert_eq!(
            told(&["events", "ls", "--after", "7", "--limit=2"], "9"),
            "events ls --limit=2 --after 9"
        );
        assert_eq!(
            told(
                &["events", "ls", "--after=7", "--match", r#"{"a":["it's"]}"#],
                "9"
            ),
            r#"events ls --match '{"a":["it'\''s"]}' --after 9"#
        );
    }

    #[test]
    fn a_listing_without_pages_gets_some() {
        let answer = br#"{"rules":[{"name":"a"},{"name":"b"},{"name":"c"}]}"#;
        let check = |after, limit, names: &[&str], next: Option<&str>| {
            let page = cut(page::<RuleList<_>>(answer).unwrap(), after, limit).unwrap();
            let found: Vec<_> = page.rows.iter().filter_map(|row| name_of(row)).collect();
            assert_eq!(found, names);
            assert_eq!(page.next.as_deref(), next);
        };
        check(None, 2, &["a", "b"], Some("b"));
        check(Some("b"), 2, &["c"], None);
        check(None, 3, &["a", "b", "c"], None);
        check(Some("c"), 3, &[], None);
        assert!(cut(page::<RuleList<_>>(answer).unwrap(), Some("x"), 1).is_err());
        assert!(page::<RuleList<_>>(b"{}").is_err() && page::<RuleList<_>>(b"[").is_err());
    }
}
