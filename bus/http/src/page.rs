//! Pages of any listing, bounded in rows and in bytes.
//!
//! A row becomes JSON as soon as it is read, so that a page's bytes are counted as it grows.

use std::future::Future;
use std::sync::Arc;

use axum::response::Response;
use edgebus_api::{PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX};
use serde::Serialize;
use serde_json::value::RawValue;

use super::App;
use super::call::{text, written};
use super::problem::Problem;
use super::query;
use edgebus_engine::bus::Page;
use edgebus_model::error::Error;

/// A page that has grown past this ends, whatever was asked for.
pub(super) const BYTES_MAX: usize = 4 << 20;
/// Rows that are read from the bus at once: few at first, because each may have a mebibyte.
const ROWS_AT_ONCE: std::ops::RangeInclusive<usize> = 16..=256;
/// The next read grows while the last one was smaller than this.
const BYTES_AT_ONCE: usize = 256 << 10;

/// A row as it is sent.
pub(super) type Row = Box<RawValue>;

/// How many rows to ask for next, after `rows` of them weighed `bytes`.
pub(super) fn rows_next(rows: usize, bytes: usize) -> usize {
    let rows = if bytes < BYTES_AT_ONCE {
        rows * 2
    } else {
        rows / 2
    };
    rows.clamp(*ROWS_AT_ONCE.start(), *ROWS_AT_ONCE.end())
}

/// How many rows a page has at most.
pub(super) fn limit(given: Option<u64>) -> usize {
    query::rows(given.unwrap_or(PAGE_ROWS_DEFAULT).min(PAGE_ROWS_MAX))
}

/// Refuses `before` where there is no `last`.
pub(super) fn no_before<T>(before: Option<&T>) -> Result<(), Problem> {
    match before {
        None => Ok(()),
        Some(_) => Err(Problem::input_error(
            "",
            "query parameter `before` goes with `last` only",
            "give `last` as well, or `after` for the next page",
        )),
    }
}

/// Refuses parameters that don't go with `last`.
pub(super) fn without_last(given: &[(&str, bool)], remedy: &str) -> Result<(), Problem> {
    match given.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((name, _)) => Err(Problem::input_error(
            "",
            format!("query parameters `last` and `{name}` exclude each other"),
            remedy,
        )),
    }
}

/// The rows of a page, and where the next one begins.
pub(super) struct Collected {
    pub(super) rows: Vec<Row>,
    pub(super) next: Option<String>,
}

/// Collects a page of up to `limit` rows after `after`.
pub(super) async fn collect<T, F>(
    limit: usize,
    mut after: Option<String>,
    mut fetch: impl FnMut(Option<String>, usize) -> F,
    mut row: impl FnMut(&T) -> Row,
) -> Result<Collected, Problem>
where
    F: Future<Output = Result<Page<T>, Error>>,
{
    let mut out = Vec::new();
    let mut bytes = 0;
    let (mut rows, mut left) = (*ROWS_AT_ONCE.start(), limit);
    let next = loop {
        let asked = rows.min(left);
        let page = fetch(after.take(), asked).await?;
        let (count, before) = (page.items.len(), bytes);
        for item in page.items {
            left = left.saturating_sub(1);
            let row = row(&item);
            bytes += row.get().len();
            out.push(row);
        }
        // There are fewer rows than asked for, because a filter skipped many. The reader decides whether to
        // continue.
        if page.next.is_none() || count < asked || left == 0 || bytes > BYTES_MAX {
            break page.next;
        }
        rows = rows_next(rows, bytes - before);
        after = page.next;
    };
    Ok(Collected { rows: out, next })
}

/// A JSON answer that counts until its reader has it.
pub(super) fn held(app: &App, answer: &impl Serialize) -> Result<Response, Problem> {
    let out = written(answer);
    let Some(reservation) = app.answers.hold(out.capacity()) else {
        return Err(Problem::busy("too many answers wait for their readers"));
    };
    let mut response = text("application/json", out);
    response.extensions_mut().insert(Arc::new(reservation));
    Ok(response)
}
