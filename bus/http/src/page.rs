//! Pages of any listing, bounded in rows and in bytes.

use std::future::Future;
use std::sync::Arc;

use axum::response::Response;

use super::call::{Query, json};
use super::json::{Object, array, string};
use super::problem::Problem;
use super::{App, call::Answer};
use edgebus_engine::bus::Page;
use edgebus_model::error::Error;
use edgebus_model::limits::PAGE_ROWS_MAX;

/// Rows of a page if none are asked for.
pub(super) const ROWS_DEFAULT: u64 = 100;
/// A page that has grown past this ends, whatever was asked for.
const BYTES_MAX: usize = 4 << 20;
/// Rows that are asked of the bus at once: few at first, because each may weigh a mebibyte.
const ROWS_AT_ONCE: std::ops::RangeInclusive<usize> = 16..=256;
/// The next read grows while the last one was smaller than this.
const BYTES_AT_ONCE: usize = 256 << 10;

/// How many rows to ask for next, after `rows` of them weighed `bytes`.
pub(super) fn rows_next(rows: usize, bytes: usize) -> usize {
    let rows = if bytes < BYTES_AT_ONCE {
        rows * 2
    } else {
        rows / 2
    };
    rows.clamp(*ROWS_AT_ONCE.start(), *ROWS_AT_ONCE.end())
}

/// The `limit` parameter.
pub(super) fn limit(query: &Query) -> Result<usize, Problem> {
    let limit = query.number("limit", 1, PAGE_ROWS_MAX as u64)?;
    Ok(usize::try_from(limit.unwrap_or(ROWS_DEFAULT)).unwrap_or(PAGE_ROWS_MAX))
}

/// Refuses `before` where there is no `last`.
pub(super) fn no_before(query: &Query) -> Result<(), Problem> {
    match query.get("before") {
        None => Ok(()),
        Some(_) => Err(Problem::input_error(
            "",
            "query parameter `before` goes with `last` only",
            "give `last` as well, or `after` for the next page",
        )),
    }
}

/// Writes where the rows before those of `last` are, or null.
pub(super) fn older(object: &mut Object<'_>, older: Option<&impl std::fmt::Display>) {
    match older {
        Some(older) => object.shown("older", older),
        None => object.member("older").extend_from_slice(b"null"),
    }
}

/// Collects a page `{"<name>":[…],"next":…}` of up to `limit` rows after `after`.
pub(super) async fn collect<T, F>(
    app: &App,
    name: &str,
    limit: usize,
    mut after: Option<String>,
    mut fetch: impl FnMut(Option<String>, usize) -> F,
    mut write: impl FnMut(&mut Vec<u8>, T),
) -> Answer
where
    F: Future<Output = Result<Page<T>, Error>>,
{
    let mut out = Vec::new();
    let mut object = Object::new(&mut out);
    let list = object.member(name);
    list.push(b'[');
    let (mut rows, mut left) = (*ROWS_AT_ONCE.start(), limit);
    let next = loop {
        let asked = rows.min(left);
        let page = fetch(after.take(), asked).await?;
        let (count, start) = (page.items.len(), list.len());
        for item in page.items {
            if list.last() != Some(&b'[') || left < limit {
                list.push(b',');
            }
            left = left.saturating_sub(1);
            write(list, item);
        }
        // Fewer than asked for: a filter passed over much, and the reader decides whether to go on.
        if page.next.is_none() || count < asked || left == 0 || list.len() > BYTES_MAX {
            break page.next;
        }
        rows = rows_next(rows, list.len() - start);
        after = page.next;
    };
    list.push(b']');
    let out_next = object.member("next");
    match next {
        Some(next) => string(out_next, &next),
        None => out_next.extend_from_slice(b"null"),
    }
    object.end();
    held(app, out)
}

/// A list that is short by nature: `{"<name>":[…]}`.
pub(super) fn whole<T>(
    app: &App,
    name: &str,
    items: impl IntoIterator<Item = T>,
    write: impl FnMut(&mut Vec<u8>, T),
) -> Answer {
    let mut out = Vec::new();
    let mut object = Object::new(&mut out);
    array(object.member(name), items, write);
    object.end();
    held(app, out)
}

/// A JSON answer that counts until its reader has it.
pub(super) fn held(app: &App, out: Vec<u8>) -> Result<Response, Problem> {
    let Some(reservation) = app.answers.hold(out.capacity()) else {
        return Err(Problem::busy("too many answers wait for their readers"));
    };
    let mut response = json(out);
    response.extensions_mut().insert(Arc::new(reservation));
    Ok(response)
}
