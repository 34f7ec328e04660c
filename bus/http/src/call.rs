//! One request as handlers see it: path, query, headers and body. Each part is checked when a handler reads it.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts as _, RawPathParams, Request};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::body::{self, Reservation};
use super::problem::{Cause, Problem};
use super::{App, wire};
use edgebus_model::{Name, Timestamp};

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

    /// The query, which may have these parameters only.
    pub(super) fn query(&self, known: &[&str]) -> Result<Query, Problem> {
        Query::parse(self.query.as_deref(), known)
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

/// The parameters of a query, each given at most once.
pub(super) struct Query {
    list: Vec<(String, String)>,
}

impl Query {
    /// Reads a query; a parameter that is not known or given twice is an error.
    pub(super) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut list: Vec<(String, String)> = Vec::new();
        for pair in query
            .unwrap_or("")
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if !known.contains(&name.as_str()) {
                let shown: String = name.chars().take(64).collect();
                let remedy = match known {
                    [] => "there are none here".to_owned(),
                    known => format!("there are {}", known.join(", ")),
                };
                return Err(Problem::input_error(
                    "",
                    format!("unknown query parameter `{shown}`"),
                    remedy,
                ));
            }
            if list.iter().any(|(own, _)| *own == name) {
                return Err(Problem::input_error(
                    "",
                    format!("query parameter `{name}` is given twice"),
                    "",
                ));
            }
            list.push((name, value));
        }
        Ok(Self { list })
    }

    /// A parameter's value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.list
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter that is a whole number between two bounds.
    pub(super) fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        match text.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) && !text.starts_with('+') => {
                Ok(Some(number))
            }
            _ => Err(Problem::input_error(
                "",
                format!("query parameter `{name}` must be a whole number from {least} to {most}"),
                "",
            )),
        }
    }

    /// A parameter that is a time in RFC 3339.
    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let form = &time::format_description::well_known::Rfc3339;
        let moment = time::OffsetDateTime::parse(text, form)
            .ok()
            .and_then(|moment| u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok());
        match moment {
            Some(ms) => Ok(Some(Timestamp(ms))),
            None if text.contains(' ') => Err(Problem::input_error(
                "",
                format!(
                    "query parameter `{name}` must be a time in RFC 3339 without a blank, and a `+` in a query is one"
                ),
                format!("write `+` as %2B, as in {name}=2026-11-21T06:30:16%2B01:00"),
            )),
            None => Err(Problem::input_error(
                "",
                format!("query parameter `{name}` must be a time in RFC 3339, from 1970 on"),
                format!("write it as in {name}=2026-11-21T06:30:16Z"),
            )),
        }
    }

    /// A parameter that is true or false; naming it alone is true.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(_) => Err(Problem::input_error(
                "",
                format!("query parameter `{name}` must be true or false"),
                "",
            )),
        }
    }
}

fn decode(text: &str) -> Result<String, Problem> {
    let spaced = text.replace('+', " ");
    wire::percent_decode(spaced.as_bytes())
        .map(std::borrow::Cow::into_owned)
        .map_err(|reason| Problem::input_error("", format!("a query parameter {reason}"), ""))
}

/// A JSON answer.
pub(super) fn json(bytes: Vec<u8>) -> Response {
    text("application/json", bytes)
}

/// An answer of another type.
pub(super) fn text(media_type: &'static str, bytes: impl Into<Body>) -> Response {
    let mut response = Response::new(bytes.into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_known_and_given_once() {
        let parse = |text| Query::parse(Some(text), &["after", "limit", "verbose"]);
        let query = parse("after=a%20b+c&limit=7&&verbose").unwrap();
        assert_eq!(query.get("after"), Some("a b c"));
        assert_eq!(query.number("limit", 1, 10).unwrap(), Some(7));
        assert!(query.flag("verbose").unwrap());
        assert!(query.number("limit", 1, 6).is_err());
        for bad in [
            "x=1",
            "after=1&after=2",
            "after=%zz",
            "after=%ff",
            "%61fter2=",
        ] {
            assert_eq!(parse(bad).err().unwrap().status(), 400, "{bad}");
        }
        let time = |text| parse(text).unwrap().time("after");
        assert_eq!(
            time("after=1970-01-01T00:00:01Z").unwrap(),
            Some(Timestamp(1_000))
        );
        // A plus that is not encoded is a blank in a query.
        let blank = time("after=1970-01-01T02:00:01+01:00").unwrap_err();
        assert!(blank.errors[0].remedy.contains("%2B"), "{blank:?}");
        assert!(time("after=1970-01-01T02:00:01%2B01:00").is_ok());
        assert!(time("after=1960-01-01T00:00:01Z").is_err());
        assert!(time("after=now").is_err());
        for bad in [
            "limit=",
            "limit=+1",
            "limit=-1",
            "limit=1e3",
            "limit=99999999999999999999",
        ] {
            assert!(
                parse(bad).unwrap().number("limit", 1, 1_000).is_err(),
                "{bad}"
            );
        }
    }
}
