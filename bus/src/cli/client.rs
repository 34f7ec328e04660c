//! The command line's HTTP client: plain HTTP/1.1 over loopback or a private network.
//!
//! Never here: retries that the user did not ask for; TLS (the bus itself offers none yet).

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::http::request as http_request;
use hyper::{Method, Request, StatusCode, Uri, header};
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;

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
    },
    /// The bus refused.
    #[error("{}", refused(.status, .title, .detail, .errors))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The problem's title.
        title: String,
        /// The problem's detail.
        detail: String,
        /// Its list of faults, one line each.
        errors: Vec<String>,
    },
    /// The address is none.
    #[error("`{0}` is not the address of a bus: write it as http://HOST:PORT")]
    Address(String),
}

fn refused(status: &u16, title: &str, detail: &str, errors: &[String]) -> String {
    let mut text = format!("the bus answered {status} {title}");
    if !detail.is_empty() {
        text.push_str(": ");
        text.push_str(detail);
    }
    for error in errors {
        text.push_str("\n  ");
        text.push_str(error);
    }
    text
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
    errors: Vec<ProblemFault>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ProblemFault {
    pointer: String,
    reason: String,
    detail: String,
    remedy: String,
}

#[allow(dead_code, reason = "`delete` is for the commands on functions")]
impl Client {
    /// A client of the bus at `url`, as in `http://127.0.0.1:7070`.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub(super) fn new(url: &str) -> Result<Self, Error> {
        let base = url.trim_end_matches('/').to_owned();
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
        self.exchange(request, path, body).await
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
        let request = Request::builder()
            .method(Method::PUT)
            .uri(format!("{}{path}", self.base))
            .header(header::CONTENT_TYPE, content_type)
            .header(header::IF_MATCH, tag);
        self.exchange(request, path, body).await
    }

    async fn exchange(
        &self,
        request: http_request::Builder,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, Error> {
        let unreachable = |reason: &dyn std::error::Error| Error::Unreachable {
            url: self.base.clone(),
            reason: root(reason),
        };
        let request = request
            .body(Full::new(body))
            .map_err(|_| Error::Address(format!("{}{path}", self.base)))?;
        let answer = self
            .pool
            .request(request)
            .await
            .map_err(|error| unreachable(&error))?;
        let status = answer.status();
        let body = http_body_util::Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| unreachable(&*error))?
            .to_bytes();
        if status.is_success() {
            Ok(body)
        } else {
            Err(problem(status, &body))
        }
    }
}

fn problem(status: StatusCode, body: &[u8]) -> Error {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    Error::Refused {
        status: status.as_u16(),
        title: if problem.title.is_empty() {
            status.canonical_reason().unwrap_or("").to_owned()
        } else {
            problem.title
        },
        detail: problem.detail,
        errors: problem
            .errors
            .into_iter()
            .map(|fault| {
                let reason = if fault.reason.is_empty() {
                    fault.detail
                } else {
                    fault.reason
                };
                let remedy = if fault.remedy.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", fault.remedy)
                };
                format!("{}: {reason}{remedy}", fault.pointer)
            })
            .collect(),
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
