//! Binary mode: attributes in `ce-` headers, the body is the data, Content-Type is `datacontenttype`.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;

use super::{At, Errors, finish, payload, percent};
use edgebus_model::media_type;
use edgebus_model::{Attribute, Data, Event};

const PLACE: At = At { index: None };

/// The event of a request in binary mode.
pub(super) fn decode(headers: &HeaderMap, body: Bytes, errors: &mut Errors) -> Option<Event> {
    let mut spec_version = None;
    let mut event = Event {
        id: String::new(),
        source: String::new(),
        kind: String::new(),
        subject: None,
        time: None,
        data_content_type: content_type(headers, errors),
        data_schema: None,
        extensions: Vec::new(),
        data: Data::Absent,
    };
    for name in headers.keys() {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else {
            continue;
        };
        let mut values = headers.get_all(name).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            errors.add(&PLACE, attribute, "is given twice", "");
            continue;
        };
        let value = match text(value.as_bytes()) {
            Ok(value) => value,
            Err(reason) => {
                errors.add(&PLACE, attribute, reason, "");
                continue;
            }
        };
        match attribute {
            "specversion" => spec_version = Some(value),
            "id" => event.id = value,
            "source" => event.source = value,
            "type" => event.kind = value,
            "subject" => event.subject = Some(value),
            "time" => event.time = Some(value),
            "dataschema" => event.data_schema = Some(value),
            "datacontenttype" => errors.add(
                &PLACE,
                attribute,
                "must not be a ce- header",
                "Content-Type says it",
            ),
            _ => event
                .extensions
                .push((attribute.to_owned(), Attribute::Text(value))),
        }
    }
    check_required(&event, spec_version.as_deref(), headers, errors);
    match data(&event, body) {
        Ok(data) => event.data = data,
        Err(reason) => errors.add(
            &PLACE,
            "data",
            reason,
            "correct the body, or the Content-Type that declares it JSON",
        ),
    }
    if !errors.list.is_empty() {
        return None;
    }
    let event = finish(event, PLACE, errors);
    // What was meant may have been decoded once too often.
    for error in &mut errors.list {
        let header = format!("ce-{}", error.pointer.trim_start_matches('/'));
        let encoded = headers
            .get(&header)
            .is_some_and(|value| value.as_bytes().contains(&b'%'));
        if encoded && error.remedy.is_empty() {
            error.remedy = format!("in the header {header}, % stands for itself only as %25");
        }
    }
    event
}

fn check_required(event: &Event, version: Option<&str>, headers: &HeaderMap, errors: &mut Errors) {
    const REMEDY: &str =
        "send it as a ce- header, or the whole event as application/cloudevents+json";
    let mut missing = |name: &str, header: &str| {
        if headers.contains_key(header) {
            return;
        }
        errors.add(&PLACE, name, "is required", REMEDY);
    };
    missing("specversion", "ce-specversion");
    for (name, header, value) in [
        ("id", "ce-id", &event.id),
        ("source", "ce-source", &event.source),
        ("type", "ce-type", &event.kind),
    ] {
        if value.is_empty() {
            missing(name, header);
        }
    }
    if version.is_some_and(|version| version != "1.0") {
        errors.add(&PLACE, "specversion", "must be \"1.0\"", "");
    }
}

fn content_type(headers: &HeaderMap, errors: &mut Errors) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?;
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Some(text.to_owned()),
        Err(_) => {
            errors.add(&PLACE, "datacontenttype", "is not UTF-8", "");
            None
        }
    }
}

fn data(event: &Event, body: Bytes) -> Result<Data, String> {
    if body.is_empty() {
        return Ok(Data::Absent);
    }
    let kept = payload::keep(&body, &body);
    match event.data_content_type.as_deref() {
        None => Ok(payload::untyped(kept)),
        Some(kind) if media_type::is_json(kind) => {
            payload::check_json(&kept)?;
            Ok(Data::Json(kept))
        }
        Some(_) => Ok(Data::Opaque(kept)),
    }
}

/// A header's value: double-quoted strings are unescaped, then one round of percent-decoding.
fn text(value: &[u8]) -> Result<String, &'static str> {
    let value = value.trim_ascii();
    let unquoted = match value {
        [b'"', rest @ ..] => Cow::Owned(unquote(rest)?),
        _ => Cow::Borrowed(value),
    };
    percent::decode(&unquoted).map(Cow::into_owned)
}

/// What is inside double quotes, up to the closing one, which must be the end (RFC 9110, 5.6.4).
fn unquote(rest: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::with_capacity(rest.len());
    let mut bytes = rest.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if bytes.as_slice().is_empty() => return Ok(out),
            b'"' => return Err("goes on after its closing quote"),
            b'\\' => match bytes.next() {
                Some(escaped) => out.push(*escaped),
                None => break,
            },
            other => out.push(*other),
        }
    }
    Err("has no closing quote")
}
