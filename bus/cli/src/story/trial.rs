//! A trial of a function as a story.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::output::{self, Paint, duration, plain};
use super::facts::Facts;
use super::{attempt, event};
use crate::Failure;
use crate::listing::text;
use crate::output::counted;

#[derive(Deserialize)]
struct Trial<'a> {
    #[serde(borrow)]
    emitted: Vec<Emitted<'a>>,
}

#[derive(Deserialize)]
struct Emitted<'a> {
    bus: String,
    subscriptions: Vec<String>,
    #[serde(borrow)]
    event: &'a RawValue,
}

/// What the bus said of a trial, for people.
///
/// # Errors
/// It can't be read.
pub(crate) fn trial(answer: &str, paint: Paint) -> Result<String, Failure> {
    let row = output::parse(answer)?;
    let raw: Trial<'_> = serde_json::from_str(answer)
        .map_err(|error| Failure::new(format!("the trial can't be read: {error}")))?;
    let mut facts = Facts::new(paint);
    let ran = row.get("duration_us").and_then(Value::as_u64).unwrap_or(0);
    facts.title(
        "Function",
        &format!(
            "{} revision {}, ran {}",
            paint.strong(&plain(&text(&row, "/function"))),
            text(&row, "/revision"),
            duration(ran)
        ),
    );
    attempt::write_end(&mut facts, &row, false);
    for emitted in raw.emitted {
        let kind = text(&output::parse(emitted.event.get())?, "/type");
        facts.title(
            "Emits",
            &format!(
                "{} to bus {}",
                paint.strong(&plain(&kind)),
                plain(&emitted.bus)
            ),
        );
        let takers = match emitted.subscriptions.as_slice() {
            [] => "no rule".to_owned(),
            labels => plain(&labels.join(", ")).into_owned(),
        };
        facts.fact("matched by", &takers);
        event::write(&mut facts, emitted.event.get(), event::DATA_LINES_CUT)?;
    }
    let state = row.get("state").and_then(Value::as_array);
    let writes: Vec<&Value> = state.into_iter().flatten().collect();
    if !writes.is_empty() {
        let keys = counted(writes.len(), "key", "keys");
        facts.title("State", &format!("{keys} written"));
    }
    for write in writes {
        let bytes = |name: &str| match write.get(name).and_then(Value::as_str) {
            Some(text) => plain(text).into_owned(),
            None => format!("base64:{}", text(write, &format!("/{name}_base64"))),
        };
        let value = if write.get("deleted").is_some() {
            paint.bad("deleted")
        } else {
            bytes("value")
        };
        facts.line(&format!("  {} = {value}", bytes("key")));
    }
    facts.line("");
    facts.line(&paint.faint("Nothing of this was committed."));
    Ok(facts.end())
}
