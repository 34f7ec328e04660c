//! An event as a story, with the deliveries that it led to.

use super::super::output::{Paint, json, plain, span, time};
use super::facts::{Facts, safe_lines};
use edgebus_api::{Attribute, DEFAULT_BUS, Delivery, Erased, Event, Stage, StoredEvent};

/// Columns that data may fill before it is broken into lines.
const DATA_COLUMNS: usize = 80;
/// Lines of data inside the story of a delivery.
pub(crate) const DATA_LINES_CUT: usize = 12;
/// Lines of data of an event on its own.
const DATA_LINES_MAX: usize = 1_000;
/// A row of the log with the deliveries that the event led to.
pub(crate) fn event(
    stored: &StoredEvent,
    bus: &str,
    deliveries: &[Delivery],
    paint: Paint,
) -> String {
    let mut facts = Facts::new(paint);
    let position = stored.position;
    facts.title(
        "Event",
        &format!(
            "{}  #{position} on bus {}",
            paint.strong(&plain(&stored.event.kind)),
            plain(bus)
        ),
    );
    facts.fact("accepted", &time(&stored.accepted_at));
    write(
        &mut facts,
        (&stored.event, stored.erased.as_ref()),
        DATA_LINES_MAX,
    );
    if deliveries.is_empty() {
        facts.title("Deliveries", "none: no rule matched it");
        let bus = match bus {
            DEFAULT_BUS => String::new(),
            bus => format!(" --bus {}", plain(bus)),
        };
        facts.fact("why", &format!("edgebus events explain {position}{bus}"));
    } else {
        facts.title("Deliveries", &deliveries.len().to_string());
    }
    for delivery in deliveries {
        let stage = delivery.stage.as_str();
        let attempts = delivery.attempts_made;
        let plural = if attempts == 1 { "" } else { "s" };
        let last = delivery.last_attempt.as_ref();
        let outcome = match last.and_then(|last| last.message.as_deref()) {
            Some(message) if delivery.stage != Stage::Succeeded => {
                format!(": {}", plain(message.lines().next().unwrap_or("")))
            }
            _ => String::new(),
        };
        facts.line(&format!(
            "  {}  {} after {attempts} attempt{plural}{outcome}",
            plain(&delivery.subscription),
            paint.outcome(stage, &plain(stage)),
        ));
        let id = plain(&delivery.id);
        facts.line(&paint.faint(&format!("    edgebus deliveries get {id}")));
    }
    facts.end()
}

/// The attributes of a CloudEvent but its type, and its data, or when it was erased.
pub(crate) fn write(
    facts: &mut Facts,
    (event, erased): (&Event, Option<&Erased>),
    lines_max: usize,
) {
    for (name, value) in [
        ("id", Some(&event.id)),
        ("source", Some(&event.source)),
        ("subject", event.subject.as_ref()),
        ("time", event.time.as_ref()),
        ("datacontenttype", event.data_content_type.as_ref()),
        ("dataschema", event.data_schema.as_ref()),
    ] {
        if let Some(value) = value {
            facts.fact(name, &plain(value));
        }
    }
    for (name, value) in &event.extensions {
        facts.fact(
            &plain(name),
            &match value {
                Attribute::Text(text) => plain(text).into_owned(),
                Attribute::Boolean(value) => value.to_string(),
                Attribute::Integer(number) => number.to_string(),
            },
        );
    }
    if let Some(erased) = erased {
        let words = format!("{} by job {}", time(&erased.at), erased.job);
        return facts.fact("erased", &words);
    }
    match (&event.data, &event.data_base64) {
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
}

/// How long before `now` a time of the API was, in words; empty if it can't be read.
pub(super) fn ago(rfc_3339: &str, now: edgebus_model::Timestamp) -> String {
    super::super::output::parse_time(rfc_3339)
        .map(|then| format!(" ({} ago)", span(now.ms_since(then))))
        .unwrap_or_default()
}
