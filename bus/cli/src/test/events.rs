//! The events of a manifest's tests: written in it, or in files beside it.
//!
//! Never here: matching.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use edgebus_http::wire;
use edgebus_manifest::EventSource;
use edgebus_model::Event;
use edgebus_model::error::InputError;
use edgebus_model::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX};

/// An event with what it is called in a report.
pub(crate) struct Named {
    /// Where it stands, as in `events/opened.jsonl line 3`.
    pub(crate) label: String,
    pub(crate) event: Event,
}

/// What an event that is written in the manifest may leave out.
const ASSUMED: [(&str, &str); 3] = [
    ("specversion", "\"1.0\""),
    ("id", "\"test\""),
    ("source", "\"/test\""),
];

/// Reads the events of `source`; paths begin in `folder`.
///
/// # Errors
/// Every error; the pointer leads into an event that is written in the manifest.
pub(crate) fn load(folder: &Path, source: &EventSource) -> Result<Vec<Named>, Vec<InputError>> {
    match source {
        EventSource::Inline(json) => {
            let ours = of_eventbridge(json.as_bytes());
            let json = ours.as_ref().map_or(json.as_str(), |ours| ours.as_str());
            let event = decode(&completed(json), "the event")?;
            let label = "the event in the manifest".to_owned();
            Ok(vec![Named { label, event }])
        }
        EventSource::Path(path) => {
            let file = folder.join(path);
            let bytes = read(&file).map_err(|reason| vec![input_error(reason, REMEDY)])?;
            if path.ends_with(".jsonl") || path.ends_with(".ndjson") {
                lines(path, &bytes)
            } else {
                values(path, &bytes)
            }
        }
    }
}

const REMEDY: &str = "paths begin in the manifest's folder; write a CloudEvent in JSON there";
const EVENT_REMEDY: &str = "write a CloudEvent as in { specversion: '1.0', id: a1, source: /shop, type: com.example.order.placed, data: {} }; written in the manifest, `type` is enough";

fn input_error(reason: String, remedy: &str) -> InputError {
    InputError {
        pointer: String::new(),
        place: None,
        reason,
        remedy: remedy.to_owned(),
    }
}

/// The event with the members that it may leave out.
fn completed(json: &str) -> Bytes {
    let Ok(mut members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(json) else {
        return Bytes::copy_from_slice(json.as_bytes());
    };
    for (name, value) in ASSUMED {
        if let Ok(value) = serde_json::from_str(value) {
            members.entry(name.to_owned()).or_insert(value);
        }
    }
    serde_json::to_vec(&members)
        .map_or_else(|_| Bytes::copy_from_slice(json.as_bytes()), Bytes::from)
}

fn decode(json: &Bytes, label: &str) -> Result<Event, Vec<InputError>> {
    wire::decode_structured(json).map_err(|error| {
        let told = |mut found: InputError| {
            let member = found.pointer.trim_start_matches('/');
            found.reason = match member {
                "" if found.reason.starts_with("is ") => format!("{label} {}", found.reason),
                "" => format!("{label} is not a CloudEvent: {}", found.reason),
                member => format!("{label} is not a CloudEvent: `{member}` {}", found.reason),
            };
            if found.remedy.is_empty() {
                EVENT_REMEDY.clone_into(&mut found.remedy);
            }
            found
        };
        if error.errors.is_empty() {
            vec![input_error(
                format!("{label} is not a CloudEvent: {error}"),
                EVENT_REMEDY,
            )]
        } else {
            error.errors.into_iter().map(told).collect()
        }
    })
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("{} can't be read: {error}", file.display());
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let most = BATCH_BYTES_MAX as u64 + 1;
    opened
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() > BATCH_BYTES_MAX {
        return Err(format!(
            "{} has more than {BATCH_BYTES_MAX} bytes",
            file.display()
        ));
    }
    Ok(bytes)
}

/// One CloudEvent or an array of them.
fn values(path: &str, bytes: &[u8]) -> Result<Vec<Named>, Vec<InputError>> {
    let text = bytes.trim_ascii();
    if !text.starts_with(b"[") {
        let event = of_file(&Bytes::copy_from_slice(text), path)?;
        let label = path.to_owned();
        return Ok(vec![Named { label, event }]);
    }
    let items: Vec<&RawValue> = serde_json::from_slice(text)
        .map_err(|error| vec![input_error(format!("{path} is not JSON: {error}"), REMEDY)])?;
    let items = items.into_iter().zip(1..);
    several(
        path,
        items.map(|(item, number)| (format!("{path} item {number}"), item.get().as_bytes())),
    )
}

/// A CloudEvent on each line.
fn lines(path: &str, bytes: &[u8]) -> Result<Vec<Named>, Vec<InputError>> {
    let lines = bytes.split(|byte| *byte == b'\n').zip(1..);
    let filled = lines.filter(|(line, _)| !line.trim_ascii().is_empty());
    several(
        path,
        filled.map(|(line, number)| (format!("{path} line {number}"), line.trim_ascii())),
    )
}

fn several<'b>(
    path: &str,
    items: impl Iterator<Item = (String, &'b [u8])>,
) -> Result<Vec<Named>, Vec<InputError>> {
    let (mut events, mut errors) = (Vec::new(), Vec::new());
    for (label, json) in items {
        if events.len() + errors.len() >= BATCH_EVENTS_MAX {
            errors.push(input_error(
                format!("{path} holds more than {BATCH_EVENTS_MAX} events"),
                "split it",
            ));
            break;
        }
        match of_file(&Bytes::copy_from_slice(json), &label) {
            Ok(event) => events.push(Named { label, event }),
            Err(found) => errors.extend(found),
        }
    }
    if events.is_empty() && errors.is_empty() {
        errors.push(input_error(format!("{path} holds no event"), REMEDY));
    }
    if errors.is_empty() {
        Ok(events)
    } else {
        Err(errors)
    }
}

/// The CloudEvent that an event in EventBridge's shape is here; none for any other event.
///
/// What is an attribute there stays one; `resources`, a list, goes into the data, since no attribute is a list.
fn of_eventbridge(json: &[u8]) -> Option<String> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_slice(json).ok()?;
    let ours = ["specversion", "type", "data", "data_base64"];
    let is_object = |value: &&&RawValue| value.get().starts_with('{');
    let theirs =
        members.contains_key("detail-type") || members.get("detail").filter(is_object).is_some();
    if !theirs || ours.iter().any(|name| members.contains_key(*name)) {
        return None;
    }
    let mut event: Map<String, Value> = Map::new();
    let mut data: Option<String> = None;
    for (name, value) in &members {
        match name.as_str() {
            "detail" => data = Some(value.get().to_owned()),
            "resources" => {}
            "detail-type" => drop(event.insert("type".to_owned(), parsed(value)?)),
            _ => drop(event.insert(name.clone(), parsed(value)?)),
        }
    }
    if let Some(resources) = members.get("resources") {
        let inside = data.as_deref().unwrap_or("{}").trim();
        let own: BTreeMap<String, &RawValue> = serde_json::from_str(inside).ok()?;
        if !own.contains_key("resources") {
            let comma = if own.is_empty() { "" } else { "," };
            let body = inside.strip_suffix('}')?;
            data = Some(format!("{body}{comma}\"resources\":{}}}", resources.get()));
        }
    }
    event.insert("specversion".to_owned(), "1.0".into());
    for (name, value) in [("id", "test"), ("source", "/test")] {
        event.entry(name).or_insert_with(|| value.into());
    }
    let envelope = Value::Object(event).to_string();
    match data {
        // The data keeps its spelling.
        Some(data) => Some(format!("{},\"data\":{data}}}", envelope.strip_suffix('}')?)),
        None => Some(envelope),
    }
}

fn parsed(value: &RawValue) -> Option<Value> {
    serde_json::from_str(value.get()).ok()
}

/// An event of a file, whose own pointers don't lead into the manifest.
fn of_file(json: &Bytes, label: &str) -> Result<Event, Vec<InputError>> {
    let ours = of_eventbridge(json);
    let json = &ours.map_or_else(|| json.clone(), Bytes::from);
    decode(json, label).map_err(|errors| {
        errors
            .into_iter()
            .map(|error| InputError {
                pointer: String::new(),
                ..error
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_in_eventbridges_shape_are_taken() {
        let check = |json: &str, expected: Option<&str>| {
            assert_eq!(
                of_eventbridge(json.as_bytes()).as_deref(),
                expected,
                "{json}"
            );
            if let Some(ours) = expected {
                let event = decode(&Bytes::copy_from_slice(ours.as_bytes()), "it");
                assert!(event.is_ok(), "{ours}");
            }
        };
        check(
            r#"{"version":"0","id":"7","detail-type":"Build","source":"aws.build","account":"012345678901","resources":["arn:a","arn:b"],"detail":{"n": 1.0}}"#,
            Some(
                r#"{"account":"012345678901","id":"7","source":"aws.build","specversion":"1.0","type":"Build","version":"0","data":{"n": 1.0,"resources":["arn:a","arn:b"]}}"#,
            ),
        );
        check(
            r#"{"detail-type":"t","source":"s","detail":{}}"#,
            Some(r#"{"id":"test","source":"s","specversion":"1.0","type":"t","data":{}}"#),
        );
        check(
            r#"{"detail-type":"t","resources":[],"detail":{"resources":"own"}}"#,
            Some(
                r#"{"id":"test","source":"/test","specversion":"1.0","type":"t","data":{"resources":"own"}}"#,
            ),
        );
        check(
            r#"{"detail-type":"t","resources":["a"]}"#,
            Some(
                r#"{"id":"test","source":"/test","specversion":"1.0","type":"t","data":{"resources":["a"]}}"#,
            ),
        );
        // CloudEvents, whatever extensions they have.
        check(r#"{"type":"t","detail":"x"}"#, None);
        check(r#"{"type":"t","detail-type":"x"}"#, None);
        check(r#"{"detail":"x"}"#, None);
        check("[]", None);
        check("{", None);
    }
}
