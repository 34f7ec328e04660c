//! The command line's HTTP client: plain HTTP/1.1 over loopback or a private network.
//!
//! Never here: retries that the user did not ask for; TLS (the bus itself offers none yet).

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;

use super::output::plain_lines;

/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Talks to one bus; cheap to clone.
#[derive(Clone)]
pub(super) struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    base: String,
}

/// A request that did not bring what was wanted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The bus could not be reached.
    #[error(
        "no bus answers at {url}: {reason}; is `edgebus serve` running there? Name another one with --url or EDGEBUS_URL"
    )]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What the network said.
        reason: String,
        /// Whether a bus was there and went away before it answered.
        reached: bool,
    },
    /// The bus refused.
    #[error("{}", refused(.status, .title, .detail, .errors))]
    Refused {
        /// The problem's code; empty if it has none.
        code: String,
        /// The HTTP status.
        status: u16,
        /// The problem's title.
        title: String,
        /// The problem's detail.
        detail: String,
        /// Its list of errors, one line each.
        errors: Vec<String>,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The bus's answer is not what this command expects.
    #[error(
        "the bus gave an answer that can't be read: {0}; `edgebus version` and the bus's /version should be the same"
    )]
    Unreadable(String),
    /// The address is none.
    #[error("`{0}` is not the address of a bus: write it as http://HOST:PORT")]
    Address(String),
}

fn refused(status: &u16, title: &str, detail: &str, errors: &[String]) -> String {
    let mut text = format!("the bus answered {status} {}", plain_lines(title));
    if !detail.is_empty() {
        text.push_str(": ");
        text.push_str(&plain_lines(detail));
    }
    for error in errors {
        text.push_str("\n  ");
        text.push_str(&plain_lines(error));
    }
    text
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Problem {
    code: String,
    title: String,
    detail: String,
    errors: Vec<ProblemError>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ProblemError {
    pointer: String,
    reason: String,
    detail: String,
    remedy: String,
}

#[allow(dead_code, reason = "`delete` is for the commands on functions")]
impl Client {
    /// A client of the bus at `url`, as in `http://127.0.0.1:7070`; the scheme may be left out.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub(super) fn new(url: &str) -> Result<Self, Error> {
        let mut base = url.trim_end_matches('/').to_owned();
        if !base.is_empty() && !base.contains("://") {
            base.insert_str(0, "http://");
        }
        match base.parse::<Uri>() {
            Ok(uri) if uri.scheme_str() == Some("http") && uri.authority().is_some() => {}
            _ => return Err(Error::Address(url.to_owned())),
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Ok(Self {
            pool: Pool::builder(TokioExecutor::new()).build(connector),
            base,
        })
    }

    /// Reads `path` (with its query) and returns the answer's body.
    ///
    /// # Errors
    /// Anything but a 2xx answer.
    pub(super) async fn get(&self, path: &str) -> Result<Bytes, Error> {
        self.send(Method::GET, path, None, Bytes::new()).await
    }

    /// Posts `body` to `path`.
    ///
    /// # Errors
    /// Anything but a 2xx answer.
    pub(super) async fn post(
        &self,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Bytes, Error> {
        self.send(Method::POST, path, Some(content_type), body)
            .await
    }

    /// Posts a batch of events of which those that are fit are to be taken, whatever the others are.
    ///
    /// # Errors
    /// Anything but a 2xx answer.
    pub(super) async fn post_lenient(
        &self,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Bytes, Error> {
        let request = Request::post(format!("{}{path}", self.base))
            .header(header::CONTENT_TYPE, content_type)
            .header("prefer", "handling=lenient");
        self.exchange(path, request, body).await
    }

    /// Opens the server-sent events at `path`, after the one with this id.
    ///
    /// # Errors
    /// Anything but a 2xx answer.
    pub(super) async fn stream(&self, path: &str, after: Option<&str>) -> Result<Stream, Error> {
        let mut request = Request::get(format!("{}{path}", self.base));
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let answer = self.answer(path, request, Bytes::new()).await?;
        let status = answer.status();
        if !status.is_success() {
            return Err(problem(status, &self.whole(answer.into_body()).await?));
        }
        Ok(Stream {
            body: answer.into_body(),
            base: self.base.clone(),
        })
    }

    /// Puts `body` at `path`.
    ///
    /// # Errors
    /// Anything but a 2xx answer.
    pub(super) async fn put(
        &self,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Bytes, Error> {
        self.send(Method::PUT, path, Some(content_type), body).await
    }

    /// Deletes what is at `path`.
    ///
    /// # Errors
    /// Anything but a 2xx answer.
    pub(super) async fn delete(&self, path: &str) -> Result<Bytes, Error> {
        self.send(Method::DELETE, path, None, Bytes::new()).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<Bytes, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        self.exchange(path, request, body).await
    }

    /// Puts `body` at `path` if what is there still has this `tag`.
    ///
    /// # Errors
    /// Anything but a 2xx answer; 412 where something else is there by now.
    pub(super) async fn put_if_match(
        &self,
        path: &str,
        content_type: &str,
        tag: &str,
        body: Bytes,
    ) -> Result<Bytes, Error> {
        let request = Request::put(format!("{}{path}", self.base))
            .header(header::CONTENT_TYPE, content_type)
            .header(header::IF_MATCH, tag);
        self.exchange(path, request, body).await
    }

    async fn exchange(
        &self,
        path: &str,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<Bytes, Error> {
        let answer = self.answer(path, request, body).await?;
        let status = answer.status();
        let asked = retry_after(answer.headers());
        let body = self.whole(answer.into_body()).await?;
        if status.is_success() {
            return Ok(body);
        }
        let mut error = problem(status, &body);
        if let Error::Refused { retry_after, .. } = &mut error {
            *retry_after = asked;
        }
        Err(error)
    }

    async fn answer(
        &self,
        path: &str,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<Response<Incoming>, Error> {
        let request = request
            .body(Full::new(body))
            .map_err(|_| Error::Address(format!("{}{path}", self.base)))?;
        self.pool
            .request(request)
            .await
            .map_err(|error| unreachable(&self.base, &error))
    }

    async fn whole(&self, body: Incoming) -> Result<Bytes, Error> {
        let body = http_body_util::Limited::new(body, ANSWER_BYTES_MAX);
        match body.collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) => Err(unreachable(&self.base, &*error)),
        }
    }
}

/// Reads an answer.
///
/// # Errors
/// [`Error::Unreadable`].
pub(super) fn read<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(answer).map_err(|error| Error::Unreadable(error.to_string()))
}

/// Why the event at `index` of a batch was refused; `None` if the answer's `row` says that it was not.
///
/// # Errors
/// [`Error::Unreadable`].
pub(super) fn refused_row(row: &[u8], index: usize) -> Result<Option<Error>, Error> {
    #[derive(Deserialize)]
    struct Row {
        problem: Option<Refusal>,
    }
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(default)]
        status: u16,
        #[serde(flatten)]
        problem: Problem,
    }
    let row: Row = read(row)?;
    Ok(row.problem.map(
        |Refusal {
             status,
             mut problem,
         }| {
            // Whoever wrote the event knows it by its line, not by its place in the request.
            let within = format!("/{index}");
            for error in &mut problem.errors {
                if let Some(own) = error.pointer.strip_prefix(&within) {
                    error.pointer = own.to_owned();
                }
            }
            if let Some(own) = problem.detail.strip_prefix(&within) {
                problem.detail = own.trim_start_matches(": ").to_owned();
            }
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
            refusal(status, problem)
        },
    ))
}

/// Server-sent events as they come.
pub(super) struct Stream {
    body: Incoming,
    base: String,
}

impl Stream {
    /// The next bytes; `None` when the bus ended the stream.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
                Some(Err(error)) => return Err(unreachable(&self.base, &error)),
            }
        }
    }
}

fn unreachable(base: &str, reason: &(dyn std::error::Error + 'static)) -> Error {
    let reached = std::iter::successors(Some(reason), |error| error.source()).any(|error| {
        let error = error.downcast_ref::<hyper::Error>();
        error.is_some_and(hyper::Error::is_incomplete_message)
    });
    Error::Unreachable {
        url: base.to_owned(),
        reason: root(reason),
        reached,
    }
}

fn problem(status: StatusCode, body: &[u8]) -> Error {
    refusal(status, serde_json::from_slice(body).unwrap_or_default())
}

/// What `Retry-After` says in seconds; a date is not read.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(u64::from(
        seconds.trim().parse::<u32>().ok()?,
    )))
}

fn refusal(status: StatusCode, problem: Problem) -> Error {
    let errors = problem
        .errors
        .iter()
        .filter_map(|error| line(error, &problem.detail))
        .collect();
    Error::Refused {
        code: problem.code,
        status: status.as_u16(),
        title: if problem.title.is_empty() {
            status.canonical_reason().unwrap_or("").to_owned()
        } else {
            problem.title
        },
        detail: problem.detail,
        errors,
        retry_after: None,
    }
}

/// An error on a line of its own; `None` if the problem's detail said it already.
fn line(error: &ProblemError, detail: &str) -> Option<String> {
    let reason = if error.reason.is_empty() {
        &error.detail
    } else {
        &error.reason
    };
    let said = error.pointer.is_empty() && reason == detail;
    match (said, error.remedy.as_str()) {
        (true, "") => None,
        (true, remedy) => Some(remedy.to_owned()),
        (false, remedy) => {
            let place = if error.pointer.is_empty() {
                String::new()
            } else {
                format!("{}: ", error.pointer)
            };
            let remedy = if remedy.is_empty() {
                String::new()
            } else {
                format!(" ({remedy})")
            };
            Some(format!("{place}{reason}{remedy}"))
        }
    }
}

/// The innermost cause: what the operating system said.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
