//! One request: sent once, its answer read whole within a bound, or as a stream.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::builder::Builder;
use super::error::Error;
use super::refusal;

/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// The media type of most bodies.
const JSON: &str = "application/json";

/// Talks to one bus; cheap to clone.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// The address without a slash at its end.
    pub(crate) base: String,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) timeout: Option<Duration>,
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Client({})", self.0.base)
    }
}

/// A request that is not sent yet.
pub struct Request<'c> {
    client: &'c Client,
    path: String,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    /// A header that can't be sent.
    wrong: Option<String>,
}

impl Client {
    /// Begins a client of the bus at `url`, as in `http://127.0.0.1:7070`; the scheme may be left out.
    #[must_use]
    pub fn builder(url: &str) -> Builder {
        Builder::new(url)
    }

    /// A client of the bus at `url`, with the defaults.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new(url: &str) -> Result<Self, Error> {
        Self::builder(url).build()
    }

    /// The bus's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0.base
    }

    /// A request of any path, which may have a query and is sent as it is written here. The typed methods need
    /// none; this is for answers that are to be kept as they came. A path with an empty segment, `.` or `..` is not
    /// sent.
    #[must_use]
    pub fn request(&self, method: &str, path: impl Into<String>) -> Request<'_> {
        let (method, wrong) = match Method::from_bytes(method.as_bytes()) {
            Ok(method) => (method, None),
            Err(_) => (Method::GET, Some(format!("`{method}` is no method"))),
        };
        Request {
            client: self,
            path: path.into(),
            method,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            wrong,
        }
    }

    /// Reads `path`.
    ///
    /// # Errors
    /// Anything but a 2xx answer.
    pub async fn get(&self, path: impl Into<String>) -> Result<Bytes, Error> {
        self.request("GET", path).send().await
    }
}

impl Request<'_> {
    /// The same request with a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        // The value may be a secret: it is not told.
        let header = HeaderName::from_bytes(name.as_bytes()).ok();
        match (header, HeaderValue::from_str(value)) {
            (Some(header), Ok(value)) => {
                self.headers.insert(header, value);
            }
            (None, _) => self.wrong = Some(format!("`{name}` is no header")),
            (_, Err(_)) => {
                self.wrong = Some(format!("this value can't stand in the header {name}"))
            }
        }
        self
    }

    /// The same request with a body of this media type.
    #[must_use]
    pub fn body(self, media_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..self.header("content-type", media_type)
        }
    }

    /// The same request with a body in JSON.
    #[must_use]
    pub fn json(mut self, body: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => self.body(JSON, body),
            Err(error) => {
                self.wrong = Some(error.to_string());
                self
            }
        }
    }

    /// Sends it and gives the answer's body.
    ///
    /// # Errors
    /// Anything but a 2xx answer.
    pub async fn send(self) -> Result<Bytes, Error> {
        let client = self.client;
        client.timed(client.exchange(self)).await
    }

    /// Sends it and reads the answer.
    ///
    /// # Errors
    /// Anything but a 2xx answer of this type.
    pub async fn read<T: DeserializeOwned>(self) -> Result<T, Error> {
        read(&self.send().await?)
    }

    /// Sends it and gives the answer's body as it comes.
    ///
    /// # Errors
    /// Anything but a 2xx answer.
    pub(crate) async fn stream(self) -> Result<Incoming, Error> {
        let client = self.client;
        let opening = async {
            let answer = client.answer(self).await?;
            match answer.status().is_success() {
                true => Ok(answer.into_body()),
                false => Err(client.refusal(answer).await?),
            }
        };
        client.timed(opening).await
    }
}

impl Client {
    /// Within the timeout, if there is one.
    async fn timed<T>(&self, wanted: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let Some(timeout) = self.0.timeout else {
            return wanted.await;
        };
        let ended = tokio::time::timeout(timeout, wanted).await;
        ended.unwrap_or_else(|_| {
            Err(Error::TimedOut {
                url: self.0.base.clone(),
                after: timeout,
            })
        })
    }

    async fn exchange(&self, request: Request<'_>) -> Result<Bytes, Error> {
        let answer = self.answer(request).await?;
        match answer.status().is_success() {
            true => self.whole(answer.into_body()).await,
            false => Err(self.refusal(answer).await?),
        }
    }

    async fn answer(&self, request: Request<'_>) -> Result<Response<Incoming>, Error> {
        if let Some(wrong) = request.wrong {
            return Err(Error::Unwritable(wrong));
        }
        if let Some(wrong) = missed(&request.path) {
            return Err(Error::Unwritable(format!(
                "`{wrong}` in its path can't be a name"
            )));
        }
        let url = format!("{}{}", self.0.base, request.path);
        let mut built = hyper::Request::builder()
            .method(request.method)
            .uri(&url)
            .body(Full::new(request.body))
            .map_err(|error| Error::Address {
                url,
                reason: error.to_string(),
            })?;
        *built.headers_mut() = request.headers;
        if let Some(authorization) = &self.0.authorization {
            let headers = built.headers_mut();
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        let answer = self.0.pool.request(built).await;
        answer.map_err(|error| self.unreachable(&error))
    }

    async fn whole(&self, body: Incoming) -> Result<Bytes, Error> {
        let body = http_body_util::Limited::new(body, ANSWER_BYTES_MAX);
        match body.collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Error::Unreadable(
                format!("it is larger than {ANSWER_BYTES_MAX} bytes"),
            )),
            Err(error) => Err(self.unreachable(&*error)),
        }
    }

    async fn refusal(&self, answer: Response<Incoming>) -> Result<Error, Error> {
        let status = answer.status();
        let retry_after = retry_after(answer.headers());
        let media_type = answer.headers().get(header::CONTENT_TYPE);
        let is_text = media_type.is_some_and(|own| own.as_bytes().starts_with(b"text/plain"));
        let body = self.whole(answer.into_body()).await?;
        let problem = refusal::problem(status, is_text, &body);
        Ok(Error::Refused {
            status: status.as_u16(),
            problem: Box::new(problem),
            retry_after,
        })
    }

    pub(crate) fn unreachable(&self, reason: &(dyn std::error::Error + 'static)) -> Error {
        let reached = std::iter::successors(Some(reason), |error| error.source()).any(|error| {
            let error = error.downcast_ref::<hyper::Error>();
            error.is_some_and(hyper::Error::is_incomplete_message)
        });
        Error::Unreachable {
            url: self.0.base.clone(),
            reason: root(reason),
            reached,
        }
    }
}

/// Reads an answer that was kept as it came.
///
/// # Errors
/// [`Error::Unreadable`].
pub fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Unreadable(error.to_string()))
}

/// A segment of a path that names nothing, and that servers and proxies read as a path of other segments. Names
/// are encoded, so it is whole here.
fn missed(path: &str) -> Option<&str> {
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
    match path {
        "" | "/" => None,
        _ => segments.find(|segment| matches!(*segment, "" | "." | "..")),
    }
}

/// What `Retry-After` says in seconds; a date is not read.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(u64::from(
        seconds.trim().parse::<u32>().ok()?,
    )))
}

/// The innermost cause: what the operating system said.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
