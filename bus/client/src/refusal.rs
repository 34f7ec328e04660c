//! What an answer other than 2xx says: the bus's problem document, or whatever something between sends.
//!
//! The bus's own documents have every member that the schema requires. A proxy's may have any part of one, or be
//! text, so here nothing is required, and a member of another type than RFC 9457 gives it counts as not there.

use hyper::StatusCode;
use serde_json::{Map, Value};

use edgebus_api::{InputError, Problem, ProblemType};

/// The longest text that is taken for a reason, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// The problem of an answer with this status and body; `is_text` says that it is `text/plain`.
pub(crate) fn problem(status: StatusCode, is_text: bool, body: &[u8]) -> Problem {
    let mut members = match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    };
    let detail = match is_text {
        true => plain(body),
        false => text(&mut members, "detail"),
    };
    let kind = members
        .remove("type")
        .and_then(|kind| serde_json::from_value(kind).ok());
    let errors = match members.remove("errors") {
        Some(Value::Array(errors)) => errors.into_iter().filter_map(input_error).collect(),
        _ => Vec::new(),
    };
    let title = text(&mut members, "title");
    let title = title.unwrap_or_else(|| status.canonical_reason().unwrap_or("").to_owned());
    Problem {
        kind: kind.unwrap_or_else(|| ProblemType::Other("about:blank".to_owned())),
        code: text(&mut members, "code").unwrap_or_default(),
        title,
        status: status.as_u16(),
        detail: detail.unwrap_or_default(),
        instance: text(&mut members, "instance"),
        errors,
    }
}

/// One of `errors`. The example of RFC 9457 calls the reason `detail`.
fn input_error(error: Value) -> Option<InputError> {
    let Value::Object(mut error) = error else {
        return None;
    };
    let reason = text(&mut error, "reason").or_else(|| text(&mut error, "detail"));
    Some(InputError {
        pointer: text(&mut error, "pointer").unwrap_or_default(),
        line: error.get("line").and_then(Value::as_u64),
        column: error.get("column").and_then(Value::as_u64),
        reason: reason?,
        remedy: text(&mut error, "remedy"),
    })
}

fn text(members: &mut Map<String, Value>, name: &str) -> Option<String> {
    match members.remove(name)? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// A body of text, if it is short enough for a reason.
fn plain(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?.trim();
    (text.len() <= TEXT_BYTES_MAX).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_member_of_a_problem_is_needed() {
        let read = |body: &str| problem(StatusCode::UNAUTHORIZED, false, body.as_bytes());
        let proxy = read(r#"{"title":"No","detail":"token expired","status":"401","type":7}"#);
        assert_eq!((&*proxy.title, &*proxy.detail), ("No", "token expired"));
        assert_eq!(proxy.status, 401);
        assert_eq!(proxy.kind, ProblemType::Other("about:blank".to_owned()));
        let errors =
            read(r##"{"errors":[{"detail":"too old","pointer":"#/age"},{"reason":"no"},7]}"##);
        assert_eq!(errors.title, "Unauthorized");
        let errors = errors.errors.iter();
        let errors: Vec<_> = errors
            .map(|error| (&*error.pointer, &*error.reason))
            .collect();
        assert_eq!(errors, [("#/age", "too old"), ("", "no")]);
        for nothing in ["", "[]", "<html>", "7", "{}"] {
            let read = read(nothing);
            assert_eq!(
                (&*read.title, &*read.detail),
                ("Unauthorized", ""),
                "{nothing}"
            );
        }
    }

    #[test]
    fn short_text_is_the_reason() {
        let read = |body: &[u8]| problem(StatusCode::SERVICE_UNAVAILABLE, true, body).detail;
        assert_eq!(read(b"the store failed\n"), "the store failed");
        assert_eq!(read(&[b'x'; 2_000]), "");
        assert_eq!(read(b"\xff"), "");
    }
}
