//! Which subscriptions an event goes to. Runs on the caller's task against one snapshot.
//!
//! The data is matched as bytes; a tree is built only for an event that passes the pattern of a rule
//! with a JSONPath filter. Never here: anything that changes the event.

use std::fmt::Write as _;

use rules::{Duplicates, EventFault, Part};

use super::snapshot::BusRules;
use crate::model::{Attribute, Data, Event, SubscriptionId};

/// The subscriptions of `bus` that get `event`, in the order of the rules, each once.
///
/// # Errors
/// The data claims to be JSON and can't be read exactly: malformed, a repeated key that a rule looks
/// at, or nested too deeply.
pub(crate) fn subscriptions(
    bus: &BusRules,
    event: &Event,
) -> Result<Vec<SubscriptionId>, EventFault> {
    let mut scratch = String::new();
    let spans = number_spans(event, &mut scratch);
    let parts = parts(event, &scratch, &spans);
    let mut places: Vec<usize> = bus
        .patterns
        .matches(&parts, Duplicates::Refuse)?
        .into_iter()
        .copied()
        .collect();
    places.extend_from_slice(&bus.unconditional);
    places.sort_unstable();
    let mut tree = None;
    let mut found = Vec::with_capacity(places.len());
    for place in places {
        let rule = &bus.rules[place];
        if !rule.filters.is_empty() {
            let tree = tree.get_or_insert_with(|| as_tree(event));
            if !rule.filters.iter().all(|filter| filter.holds(tree)) {
                continue;
            }
        }
        found.extend_from_slice(&rule.subscriptions);
    }
    Ok(found)
}

/// Shows the event to `look` as patterns see it, for explanations.
pub(crate) fn with_parts<T>(event: &Event, look: impl FnOnce(&[Part<'_>]) -> T) -> T {
    let mut scratch = String::new();
    let spans = number_spans(event, &mut scratch);
    look(&parts(event, &scratch, &spans))
}

/// Prints the attributes that are numbers or booleans into `scratch` and tells where each one stands.
fn number_spans(event: &Event, scratch: &mut String) -> Vec<std::ops::Range<usize>> {
    event
        .extensions
        .iter()
        .map(|(_, value)| {
            let start = scratch.len();
            // Writing into a String can't fail.
            let _ = match value {
                Attribute::Text(_) => Ok(()),
                Attribute::Integer(number) => write!(scratch, "{number}"),
                Attribute::Boolean(truth) => write!(scratch, "{truth}"),
            };
            start..scratch.len()
        })
        .collect()
}

/// The event as patterns see it: attributes and extensions at the top, `data` beside them.
fn parts<'a>(
    event: &'a Event,
    scratch: &'a str,
    spans: &[std::ops::Range<usize>],
) -> Vec<Part<'a>> {
    let mut parts = Vec::with_capacity(9 + event.extensions.len());
    parts.extend(
        event
            .text_attributes()
            .map(|(name, value)| Part::Text { name, value }),
    );
    for ((name, value), span) in event.extensions.iter().zip(spans) {
        parts.push(match value {
            Attribute::Text(value) => Part::Text { name, value },
            _ => Part::Raw {
                name,
                json: scratch[span.clone()].as_bytes(),
            },
        });
    }
    if let Data::Json(json) = &event.data {
        parts.push(Part::Raw { name: "data", json });
    }
    parts
}

/// The event as a tree, for JSONPath alone.
pub(crate) fn as_tree(event: &Event) -> serde_json::Value {
    let mut tree: serde_json::Map<_, _> = event
        .text_attributes()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    for (name, value) in &event.extensions {
        let value = match value {
            Attribute::Text(value) => value.as_str().into(),
            Attribute::Integer(value) => (*value).into(),
            Attribute::Boolean(value) => (*value).into(),
        };
        tree.insert(name.clone(), value);
    }
    if let Data::Json(json) = &event.data
        && let Ok(value) = serde_json::from_slice(json)
    {
        tree.insert("data".to_owned(), value);
    }
    serde_json::Value::Object(tree)
}
