//! Problem documents (RFC 9457), and the one place where an HTTP status is chosen.
//!
//! A handler returns `Err(Problem)`. The service adds the `instance` and prints it. Never here: a stack trace,
//! a path of the host, or another detail that a caller can't act on.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use edgebus_api as api;
use hyper::StatusCode;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};

use super::call::written;
use edgebus_engine::work_limiter::Denied;
use edgebus_model::Code;
use edgebus_model::error::{Error, InputError, Kind};

/// `Retry-After` when the disk is full, in seconds: it takes a person to free space.
const STORAGE_FULL_RETRY_SECONDS: u64 = 30;
/// `Retry-After` when the outcome is unknown or the bus is not ready, in seconds.
const RESTART_RETRY_SECONDS: u64 = 1;

/// What went wrong, as HTTP distinguishes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cause {
    /// What the handle answered.
    Handle(Kind),
    /// No such route.
    NoRoute,
    /// The route has other methods; the router says which in `Allow`.
    MethodNotAllowed,
    /// A media type, format or encoding that is not understood here.
    UnsupportedMedia,
    /// The body arrived too slowly.
    BodyTimeout,
    /// The connection broke before the body ended.
    BodyBroken,
    /// Too many header fields.
    HeadersTooLarge,
    /// The request is for a name that is not the bus's.
    HostRefused,
    /// A web page from elsewhere sent the request.
    OriginRefused,
    /// A transfer coding that is not understood here.
    TransferCoding,
    /// The log ends before the position after which a reader wants to go on.
    PositionAhead,
}

impl Cause {
    /// Every cause there is, for the description of the API and its tests.
    pub(crate) const ALL: [Self; 20] = [
        Self::Handle(Kind::Invalid),
        Self::BodyBroken,
        Self::HostRefused,
        Self::OriginRefused,
        Self::Handle(Kind::NotFound),
        Self::NoRoute,
        Self::MethodNotAllowed,
        Self::BodyTimeout,
        Self::Handle(Kind::Conflict),
        Self::PositionAhead,
        Self::Handle(Kind::Changed),
        Self::Handle(Kind::TooLarge),
        Self::UnsupportedMedia,
        Self::HeadersTooLarge,
        Self::Handle(Kind::Corrupt),
        Self::TransferCoding,
        Self::Handle(Kind::Busy {
            retry_after_ms: 1_000,
        }),
        Self::Handle(Kind::Unavailable),
        Self::Handle(Kind::Unknown),
        Self::Handle(Kind::StorageFull),
    ];

    /// The status.
    pub(crate) fn status(self) -> u16 {
        self.shown().0.as_u16()
    }

    /// One word, the end of the problem's type.
    pub(crate) fn slug(self) -> &'static str {
        self.shown().1
    }

    /// The problem's type.
    pub(crate) fn urn(self) -> String {
        format!("urn:edgebus:problem:{}", self.slug())
    }

    /// Status, slug and title; nothing else in the project chooses a status for an error.
    fn shown(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Handle(Kind::Invalid) => {
                (StatusCode::BAD_REQUEST, "invalid", "The input is invalid")
            }
            Self::Handle(Kind::NotFound) => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::Handle(Kind::Conflict) => (StatusCode::CONFLICT, "conflict", "Conflict"),
            Self::Handle(Kind::Changed) => (
                StatusCode::PRECONDITION_FAILED,
                "changed",
                "Another version is active",
            ),
            Self::Handle(Kind::TooLarge) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large")
            }
            Self::Handle(Kind::Busy { .. }) => {
                (StatusCode::SERVICE_UNAVAILABLE, "busy", "The bus is busy")
            }
            Self::Handle(Kind::StorageFull) => (
                StatusCode::INSUFFICIENT_STORAGE,
                "storage-full",
                "The disk is nearly full",
            ),
            Self::Handle(Kind::Unknown) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unknown",
                "The outcome is unknown: repeat with the same source and id",
            ),
            Self::Handle(Kind::Corrupt) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "corrupt",
                "A stored record is corrupt and was not used",
            ),
            Self::Handle(Kind::Unavailable) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "The bus is starting or stopping",
            ),
            Self::NoRoute => (StatusCode::NOT_FOUND, "no-route", "No such path"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Method not allowed",
            ),
            Self::UnsupportedMedia => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body's type or encoding is not supported",
            ),
            Self::BodyTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "body-timeout",
                "The body arrived too slowly",
            ),
            Self::BodyBroken => (
                StatusCode::BAD_REQUEST,
                "body-broken",
                "The body is incomplete",
            ),
            Self::HeadersTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "headers-too-large",
                "Too many header fields",
            ),
            Self::HostRefused => (
                StatusCode::FORBIDDEN,
                "host-refused",
                "The host is not allowed",
            ),
            Self::OriginRefused => (
                StatusCode::FORBIDDEN,
                "origin-refused",
                "The origin is not allowed",
            ),
            Self::TransferCoding => (
                StatusCode::NOT_IMPLEMENTED,
                "transfer-coding",
                "The transfer coding is not supported",
            ),
            Self::PositionAhead => (
                StatusCode::CONFLICT,
                "position-ahead",
                "The log ends before the position",
            ),
        }
    }

    /// The code of a problem of this cause that nothing more is known of.
    pub(crate) fn code(self) -> Code {
        match self {
            Self::Handle(kind) => kind.code(),
            Self::NoRoute => Code::NoRoute,
            Self::MethodNotAllowed => Code::MethodNotAllowed,
            Self::UnsupportedMedia => Code::MediaUnsupported,
            Self::BodyTimeout => Code::BodyTimeout,
            Self::BodyBroken => Code::BodyBroken,
            Self::HeadersTooLarge => Code::HeadersTooLarge,
            Self::HostRefused => Code::HostRefused,
            Self::OriginRefused => Code::OriginRefused,
            Self::TransferCoding => Code::TransferCoding,
            Self::PositionAhead => Code::PositionAhead,
        }
    }

    /// Whole seconds for `Retry-After`, with up to as much again and one more as jitter, so that
    /// clients that were refused together do not come back together.
    pub(crate) fn retry_after_seconds(self) -> Option<u64> {
        let seconds = match self {
            Self::Handle(Kind::Busy { retry_after_ms }) => retry_after_ms.div_ceil(1_000).max(1),
            Self::Handle(Kind::StorageFull) => STORAGE_FULL_RETRY_SECONDS,
            Self::Handle(Kind::Unknown | Kind::Unavailable) => RESTART_RETRY_SECONDS,
            _ => return None,
        };
        Some(seconds.saturating_add(rand::random_range(0..=seconds.min(3_600))))
    }

    /// True if the rest of the request can't be skipped, so that the connection must end.
    fn closes(self) -> bool {
        matches!(
            self,
            Self::BodyTimeout | Self::BodyBroken | Self::HeadersTooLarge | Self::TransferCoding
        )
    }
}

/// Why a request was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    /// What went wrong.
    pub(crate) cause: Cause,
    /// Which page tells more.
    pub(crate) code: Code,
    /// This occurrence, in words.
    pub(crate) detail: String,
    /// Every error of the input.
    pub(crate) errors: Vec<InputError>,
}

impl Problem {
    /// A problem without a list of errors.
    pub(crate) fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self {
            cause,
            code: cause.code(),
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    /// The same problem with a code that is more exact than its cause.
    pub(crate) fn coded(self, code: Code) -> Self {
        Self { code, ..self }
    }

    /// An invalid input with its errors.
    pub(crate) fn invalid(detail: impl Into<String>, errors: Vec<InputError>) -> Self {
        Self {
            errors,
            ..Self::new(Cause::Handle(Kind::Invalid), detail)
        }
    }

    /// An invalid input with one error.
    pub(crate) fn input_error(
        pointer: impl Into<String>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let error = InputError {
            pointer: pointer.into(),
            place: None,
            reason: reason.into(),
            remedy: remedy.into(),
        };
        Self::invalid(error.reason.clone(), vec![error])
    }

    /// Something larger than a limit.
    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(Cause::Handle(Kind::TooLarge), detail)
    }

    /// The bus is busy: repeat in about a second.
    pub(crate) fn busy(detail: impl Into<String>) -> Self {
        Self::new(
            Cause::Handle(Kind::Busy {
                retry_after_ms: 1_000,
            }),
            detail,
        )
    }

    /// Why a request got no place to be judged on.
    pub(crate) fn denied(denied: Denied) -> Self {
        match denied {
            Denied::Full => Self::busy("too many events are being explained, or rules tried"),
            Denied::Stopped => Self::new(Cause::Handle(Kind::Unavailable), "the bus is stopping"),
        }
    }

    /// The same problem of a part of the input, which is at `pointer`.
    pub(crate) fn within(mut self, pointer: &str) -> Self {
        for error in &mut self.errors {
            error.pointer.insert_str(0, pointer);
        }
        self
    }

    /// The status, for tests.
    #[cfg(test)]
    pub(crate) fn status(&self) -> u16 {
        self.cause.status()
    }

    /// The document, with `path` as its `instance`; one that is a part of an answer has none.
    pub(crate) fn document(&self, path: Option<&str>) -> api::Problem {
        let (status, _, title) = self.cause.shown();
        api::Problem {
            kind: api::ProblemType::from(self.cause.urn().as_str()),
            code: self.code.as_str().to_owned(),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.detail.clone(),
            instance: path.map(str::to_owned),
            errors: self.errors.iter().map(input_error).collect(),
        }
    }

    /// The answer, with `path` as its `instance`.
    pub(crate) fn render(&self, path: &str) -> Response {
        let mut response = Response::new(Body::from(written(&self.document(Some(path)))));
        *response.status_mut() = self.cause.shown().0;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.cause.retry_after_seconds() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.cause.closes() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn input_error(error: &InputError) -> api::InputError {
    let (line, column) = error.place.unzip();
    api::InputError {
        pointer: error.pointer.clone(),
        line,
        column,
        reason: error.reason.clone(),
        remedy: Some(error.remedy.clone()).filter(|remedy| !remedy.is_empty()),
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self {
            cause: Cause::Handle(error.kind),
            code: error.code,
            detail: error.message,
            errors: error.errors,
        }
    }
}

impl IntoResponse for Problem {
    /// Carries the problem to the service, which knows the path and prints the document.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.cause.shown().0;
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cause: Cause, status: u16, retry: bool) {
        let response = Problem::new(cause, "words").render("/v1/x");
        assert_eq!(response.status().as_u16(), status, "{cause:?}");
        assert_eq!(
            response.headers().contains_key(RETRY_AFTER),
            retry,
            "{cause:?}"
        );
    }

    #[test]
    fn a_status_follows_from_the_cause() {
        check(Cause::Handle(Kind::Invalid), 400, false);
        check(Cause::Handle(Kind::NotFound), 404, false);
        check(Cause::Handle(Kind::Conflict), 409, false);
        check(Cause::Handle(Kind::Changed), 412, false);
        check(Cause::Handle(Kind::TooLarge), 413, false);
        check(Cause::Handle(Kind::Busy { retry_after_ms: 1 }), 503, true);
        check(Cause::Handle(Kind::StorageFull), 507, true);
        check(Cause::Handle(Kind::Unknown), 503, true);
        check(Cause::Handle(Kind::Corrupt), 500, false);
        check(Cause::Handle(Kind::Unavailable), 503, true);
        check(Cause::NoRoute, 404, false);
        check(Cause::MethodNotAllowed, 405, false);
        check(Cause::UnsupportedMedia, 415, false);
        check(Cause::BodyTimeout, 408, false);
        check(Cause::BodyBroken, 400, false);
        check(Cause::HeadersTooLarge, 431, false);
        check(Cause::HostRefused, 403, false);
        check(Cause::OriginRefused, 403, false);
        check(Cause::TransferCoding, 501, false);
        check(Cause::PositionAhead, 409, false);
    }

    /// The complete list. This match does not compile if a cause is missing.
    #[test]
    fn the_list_of_causes_is_whole() {
        let after = |cause: Cause| match cause {
            Cause::Handle(Kind::Invalid) => Some(Cause::Handle(Kind::NotFound)),
            Cause::Handle(Kind::NotFound) => Some(Cause::Handle(Kind::Conflict)),
            Cause::Handle(Kind::Conflict) => Some(Cause::Handle(Kind::Changed)),
            Cause::Handle(Kind::Changed) => Some(Cause::Handle(Kind::TooLarge)),
            Cause::Handle(Kind::TooLarge) => Some(Cause::Handle(Kind::Busy {
                retry_after_ms: 1_000,
            })),
            Cause::Handle(Kind::Busy { .. }) => Some(Cause::Handle(Kind::StorageFull)),
            Cause::Handle(Kind::StorageFull) => Some(Cause::Handle(Kind::Unknown)),
            Cause::Handle(Kind::Unknown) => Some(Cause::Handle(Kind::Corrupt)),
            Cause::Handle(Kind::Corrupt) => Some(Cause::Handle(Kind::Unavailable)),
            Cause::Handle(Kind::Unavailable) => Some(Cause::NoRoute),
            Cause::NoRoute => Some(Cause::MethodNotAllowed),
            Cause::MethodNotAllowed => Some(Cause::UnsupportedMedia),
            Cause::UnsupportedMedia => Some(Cause::BodyTimeout),
            Cause::BodyTimeout => Some(Cause::BodyBroken),
            Cause::BodyBroken => Some(Cause::HeadersTooLarge),
            Cause::HeadersTooLarge => Some(Cause::HostRefused),
            Cause::HostRefused => Some(Cause::OriginRefused),
            Cause::OriginRefused => Some(Cause::TransferCoding),
            Cause::TransferCoding => Some(Cause::PositionAhead),
            Cause::PositionAhead => None,
        };
        let mut cause = Some(Cause::Handle(Kind::Invalid));
        let mut count = 0;
        while let Some(own) = cause {
            assert!(Cause::ALL.contains(&own), "{own:?}");
            (cause, count) = (after(own), count + 1);
        }
        assert_eq!(count, Cause::ALL.len());
    }

    #[test]
    fn every_cause_has_its_type_in_the_api() {
        let urns: Vec<String> = Cause::ALL.iter().map(|cause| cause.urn()).collect();
        assert_eq!(urns, api::ProblemType::WORDS);
    }

    #[test]
    fn retry_after_is_jittered_and_bounded() {
        for _ in 0..100 {
            let busy = Cause::Handle(Kind::Busy {
                retry_after_ms: 2_500,
            });
            let seconds = busy.retry_after_seconds().unwrap();
            assert!((3..=6).contains(&seconds), "{seconds}");
            let endless = Cause::Handle(Kind::Busy {
                retry_after_ms: u64::MAX,
            });
            assert!(endless.retry_after_seconds().is_some());
        }
    }

    #[tokio::test]
    async fn a_problem_is_printed_with_every_error() {
        let problem = Problem::invalid(
            "two errors",
            vec![
                InputError {
                    pointer: "/3/source".into(),
                    place: None,
                    reason: "is \"missing\"".into(),
                    remedy: String::new(),
                },
                InputError {
                    pointer: String::new(),
                    place: Some((3, 7)),
                    reason: "no".into(),
                    remedy: "yes".into(),
                },
            ],
        );
        let response = problem.render("/v1/events");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let body = axum::body::to_bytes(response.into_body(), 10_000)
            .await
            .unwrap();
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            concat!(
                r#"{"type":"urn:edgebus:problem:invalid","code":"EB0301","title":"The input is invalid","status":400,"#,
                r#""detail":"two errors","instance":"/v1/events","errors":[{"pointer":"/3/source","#,
                r#""reason":"is \"missing\""},{"pointer":"","line":3,"column":7,"reason":"no","remedy":"yes"}]}"#
            )
        );
    }
}
