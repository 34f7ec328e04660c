//! An event as a story, with the deliveries that it led to.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::output::{self, Paint, json, plain, span, time};
use super::facts::{Facts, safe_lines};
use crate::Failure;
use crate::listing::text;
use edgebus_model::rule::DEFAULT_BUS;

/// Columns that data may fill before it is broken into lines.
const DATA_COLUMNS: usize = 80;
/// Lines of data inside the story of a delivery.
pub(super) const DATA_LINES_CUT: usize = 12;
/// Lines of data of an event on its own.
const DATA_LINES_MAX: usize = 1_000;
/// Attributes that have a place of their own.
const TOLD: [&str; 4] = ["specversion", "type", "data", "data_base64"];

#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
}

/// The CloudEvent inside a row of the log, as it was sent.
///
/// # Errors
/// It is no such row.
pub(crate) fn event_of(stored: &str) -> Result<String, Failure> {
    let stored: Stored<'_> = serde_json::from_str(stored).map_err(|error| unread(&error))?;
    Ok(stored.event.get().to_owned())
}

fn unread(error: &serde_json::Error) -> Failure {
    Failure::new(format!(
        "the bus gave an event that can't be read: {error}; -o json shows it as it is"
    ))
}

/// A row of the log with the deliveries that the event led to.
///
/// # Errors
/// The row can't be read.
pub(crate) fn event(
    stored: &str,
    bus: &str,
    deliveries: &[Value],
    paint: Paint,
) -> Result<String, Failure> {
    let row = output::parse(stored)?;
    let mut facts = Facts::new(paint);
    facts.title(
        "Event",
        &format!(
            "{}  #{} on bus {}",
            paint.strong(&plain(&text(&row, "/event/type"))),
            text(&row, "/position"),
            plain(bus)
        ),
    );
    facts.fact("accepted", &time(&text(&row, "/accepted_at")));
    write(&mut facts, &event_of(stored)?, DATA_LINES_MAX)?;
    if deliveries.is_empty() {
        facts.title("Deliveries", "none: no rule matched it");
        let bus = match bus {
            DEFAULT_BUS => String::new(),
            bus => format!(" --bus {}", plain(bus)),
        };
        let position = text(&row, "/position");
        facts.fact("why", &format!("edgebus events explain {position}{bus}"));
    } else {
        facts.title("Deliveries", &deliveries.len().to_string());
    }
    for delivery in deliveries {
        let stage = text(delivery, "/stage");
        let attempts = text(delivery, "/attempts_made");
        let plural = if attempts == "1" { "" } else { "s" };
        let outcome = match delivery.pointer("/last_attempt/message") {
            Some(Value::String(message)) if stage != "succeeded" => {
                format!(": {}", plain(message.lines().next().unwrap_or("")))
            }
            _ => String::new(),
        };
        facts.line(&format!(
            "  {}  {} after {attempts} attempt{plural}{outcome}",
            plain(&text(delivery, "/subscription")),
            paint.outcome(&stage, &stage),
        ));
        let id = text(delivery, "/id");
        facts.line(&paint.faint(&format!("    edgebus deliveries get {id}")));
    }
    Ok(facts.end())
}

/// The attributes of a CloudEvent but its type, and its data.
///
/// # Errors
/// It can't be read.
pub(super) fn write(facts: &mut Facts, event: &str, lines_max: usize) -> Result<(), Failure> {
    let attributes = output::parse(event)?;
    let payload: Payload<'_> = serde_json::from_str(event).map_err(|error| unread(&error))?;
    let core = ["id", "source", "subject", "time", "datacontenttype"];
    for name in core {
        if let Some(value) = attributes.get(name) {
            facts.fact(name, &shown(value));
        }
    }
    for (name, value) in attributes.as_object().into_iter().flatten() {
        if !core.contains(&name.as_str()) && !TOLD.contains(&name.as_str()) {
            facts.fact(&plain(name), &shown(value));
        }
    }
    match (payload.data, payload.data_base64) {
        (Some(data), _) => {
            let laid_out = json::indented(data.get(), DATA_COLUMNS);
            facts.fact("data", &safe_lines(&laid_out, lines_max).join("\n"));
        }
        (None, Some(base64)) => {
            let start: String = base64.chars().take(DATA_COLUMNS).collect();
            let cut = if start.len() < base64.len() {
                "…"
            } else {
                ""
            };
            facts.fact("data", &format!("in Base64: {}{cut}", plain(&start)));
        }
        (None, None) => facts.fact("data", "none"),
    }
    Ok(())
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text).into_owned(),
        other => other.to_string(),
    }
}

/// How long before `now` a time of the API was, in words; empty if it can't be read.
pub(super) fn ago(rfc_3339: &str, now: edgebus_model::Timestamp) -> String {
    super::super::output::parse_time(rfc_3339)
        .map(|then| format!(" ({} ago)", span(now.ms_since(then))))
        .unwrap_or_default()
}
