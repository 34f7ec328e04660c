//! One request as handlers see it: path, query, headers and body. Each part is checked when a handler reads it.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts as _, RawPathParams, Request};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Serialize;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::value::{RawValue, to_raw_value};

use super::App;
use super::body::{self, Reservation};
use super::problem::{Cause, Problem};
use super::query::{self, Parameters};
use edgebus_model::Name;

/// What a handler answers.
pub(super) type Answer = Result<Response, Problem>;

/// A request, and what handlers share.
pub(super) struct Call {
    pub(super) app: App,
    pub(super) headers: HeaderMap,
    path: Vec<(String, String)>,
    query: Option<String>,
    body: Body,
}

impl FromRequest<App> for Call {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut head, body) = request.into_parts();
        let path = RawPathParams::from_request_parts(&mut head, app)
            .await
            .map_err(|_| Problem::input_error("", "the path is not UTF-8", "").into_response())?;
        let path = path
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Ok(Self {
            app: app.clone(),
            headers: head.headers,
            path,
            query: head.uri.query().map(str::to_owned),
            body,
        })
    }
}

impl Call {
    /// A part of the path by the name that the route gives it.
    pub(super) fn path(&self, name: &str) -> &str {
        self.path
            .iter()
            .find(|(own, _)| own == name)
            .map_or("", |(_, value)| value)
    }

    /// A part of the path that is a name.
    pub(super) fn name(&self, part: &str) -> Result<Name, Problem> {
        name(self.path(part))
    }

    /// The query, which may have the parameters of `T` only.
    pub(super) fn query<T: Parameters>(&self) -> Result<T, Problem> {
        query::parse(self.query.as_deref())
    }

    /// What is left of a request whose headers and path were looked at: query and body.
    pub(super) fn into_rest(self) -> (Option<String>, Body) {
        (self.query, self.body)
    }

    /// The body, of one of these media types, of at most `bytes_max`.
    pub(super) async fn body(
        self,
        types: &[&str],
        bytes_max: usize,
    ) -> Result<(Bytes, Reservation), Problem> {
        let given = self
            .headers
            .get(CONTENT_TYPE)
            .map_or(&b""[..], HeaderValue::as_bytes);
        let essence = given.split(|byte| *byte == b';').next().unwrap_or(given);
        let essence = essence.trim_ascii();
        if !types
            .iter()
            .any(|known| essence.eq_ignore_ascii_case(known.as_bytes()))
        {
            return Err(Problem::new(
                Cause::UnsupportedMedia,
                format!("Content-Type must be {}", types.join(" or ")),
            ));
        }
        let limits = &self.app.limits;
        body::read(
            &self.headers,
            self.body,
            bytes_max,
            limits,
            &self.app.requests,
        )
        .await
    }
}

/// Checks a name from a path.
pub(super) fn name(text: &str) -> Result<Name, Problem> {
    Name::new(text).map_err(|error| Problem::input_error("", error.to_string(), ""))
}

/// Reads a JSON object. An array is none, although its elements could be taken for the members in their order.
///
/// # Errors
/// It is no JSON, or not what is asked for.
pub(super) fn object<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(serde_json::Error::custom("the body must be a JSON object"));
    }
    serde_json::from_slice(bytes)
}

/// A JSON answer.
pub(super) fn json(answer: &impl Serialize) -> Response {
    text("application/json", written(answer))
}

/// An answer as JSON.
pub(super) fn written(answer: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(answer).expect("an answer is plain data, and its keys are text")
}

/// A part of an answer as JSON, kept as it is.
pub(super) fn raw(part: &impl Serialize) -> Box<RawValue> {
    to_raw_value(part).expect("an answer is plain data, and its keys are text")
}

/// Text that was checked to be JSON when it was stored; else the same text as a string.
pub(super) fn raw_text(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap_or_else(|_| raw(&json))
}

/// An answer of another type.
pub(super) fn text(media_type: &'static str, bytes: impl Into<Body>) -> Response {
    let mut response = Response::new(bytes.into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
