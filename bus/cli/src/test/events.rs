//! The events of a manifest's tests: written in it, or in files beside it.
//!
//! Never here: matching.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;
use serde_json::value::RawValue;

use edgebus_http::wire;
use edgebus_manifest::EventSource;
use edgebus_model::Event;
use edgebus_model::error::Fault;
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
/// Every fault; the pointer leads into an event that is written in the manifest.
pub(crate) fn load(folder: &Path, source: &EventSource) -> Result<Vec<Named>, Vec<Fault>> {
    match source {
        EventSource::Inline(json) => {
            let event = decode(&completed(json), "the event")?;
            let label = "the event in the manifest".to_owned();
            Ok(vec![Named { label, event }])
        }
        EventSource::Path(path) => {
            let file = folder.join(path);
            let bytes = read(&file).map_err(|reason| vec![fault(reason, REMEDY)])?;
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

fn fault(reason: String, remedy: &str) -> Fault {
    Fault {
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

fn decode(json: &Bytes, label: &str) -> Result<Event, Vec<Fault>> {
    wire::decode_structured(json).map_err(|error| {
        let told = |mut found: Fault| {
            let member = found.pointer.trim_start_matches('/');
            found.reason = match member {
                "" if found.reason.starts_with("is ") => format!("{label} {}", found.reason),
                "" => format!("{label} is no CloudEvent: {}", found.reason),
                member => format!("{label} is no CloudEvent: `{member}` {}", found.reason),
            };
            if found.remedy.is_empty() {
                EVENT_REMEDY.clone_into(&mut found.remedy);
            }
            found
        };
        if error.faults.is_empty() {
            vec![fault(
                format!("{label} is no CloudEvent: {error}"),
                EVENT_REMEDY,
            )]
        } else {
            error.faults.into_iter().map(told).collect()
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
fn values(path: &str, bytes: &[u8]) -> Result<Vec<Named>, Vec<Fault>> {
    let text = bytes.trim_ascii();
    if !text.starts_with(b"[") {
        let event = of_file(&Bytes::copy_from_slice(text), path)?;
        let label = path.to_owned();
        return Ok(vec![Named { label, event }]);
    }
    let items: Vec<&RawValue> = serde_json::from_slice(text)
        .map_err(|error| vec![fault(format!("{path} is not JSON: {error}"), REMEDY)])?;
    let items = items.into_iter().zip(1..);
    several(
        path,
        items.map(|(item, number)| (format!("{path} item {number}"), item.get().as_bytes())),
    )
}

/// A CloudEvent on each line.
fn lines(path: &str, bytes: &[u8]) -> Result<Vec<Named>, Vec<Fault>> {
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
) -> Result<Vec<Named>, Vec<Fault>> {
    let (mut events, mut faults) = (Vec::new(), Vec::new());
    for (label, json) in items {
        if events.len() + faults.len() >= BATCH_EVENTS_MAX {
            faults.push(fault(
                format!("{path} holds more than {BATCH_EVENTS_MAX} events"),
                "split it",
            ));
            break;
        }
        match of_file(&Bytes::copy_from_slice(json), &label) {
            Ok(event) => events.push(Named { label, event }),
            Err(found) => faults.extend(found),
        }
    }
    if events.is_empty() && faults.is_empty() {
        faults.push(fault(format!("{path} holds no event"), REMEDY));
    }
    if faults.is_empty() {
        Ok(events)
    } else {
        Err(faults)
    }
}

/// An event of a file, whose own pointers don't lead into the manifest.
fn of_file(json: &Bytes, label: &str) -> Result<Event, Vec<Fault>> {
    decode(json, label).map_err(|faults| {
        faults
            .into_iter()
            .map(|fault| Fault {
                pointer: String::new(),
                ..fault
            })
            .collect()
    })
}
