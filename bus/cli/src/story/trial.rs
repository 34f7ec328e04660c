//! A trial of a function as a story.

use super::super::output::{Paint, counted, duration, plain};
use super::facts::Facts;
use super::{attempt, event};
use edgebus_api::{Trial, WouldWrite};

/// What the bus said of a trial, for people.
#[must_use]
pub(crate) fn trial(trial: &Trial, paint: Paint) -> String {
    let mut facts = Facts::new(paint);
    facts.title(
        "Function",
        &format!(
            "{} revision {}, ran {}",
            paint.strong(&plain(&trial.function)),
            trial.revision,
            duration(trial.duration_us)
        ),
    );
    attempt::write_end(&mut facts, &trial.into(), false);
    for emitted in &trial.emitted {
        facts.title(
            "Emits",
            &format!(
                "{} to bus {}",
                paint.strong(&plain(&emitted.event.kind)),
                plain(&emitted.bus)
            ),
        );
        let takers = match emitted.subscriptions.as_slice() {
            [] => "no rule".to_owned(),
            labels => plain(&labels.join(", ")).into_owned(),
        };
        facts.fact("matched by", &takers);
        event::write(&mut facts, (&emitted.event, None), event::DATA_LINES_CUT);
    }
    if !trial.state.is_empty() {
        let keys = counted(trial.state.len(), "key", "keys");
        facts.title("State", &format!("{keys} written"));
    }
    for write in &trial.state {
        facts.line(&state_line(write, paint));
    }
    facts.line("");
    facts.line(&paint.faint("Nothing of this was committed."));
    facts.end()
}

/// A write of state in a line.
#[must_use]
pub(crate) fn state_line(write: &WouldWrite, paint: Paint) -> String {
    let shown = |text: Option<&String>, base64: Option<&String>| match (text, base64) {
        (Some(text), _) => plain(text).into_owned(),
        (None, base64) => format!("base64:{}", plain(base64.map_or("-", String::as_str))),
    };
    let key = shown(write.key.as_ref(), write.key_base64.as_ref());
    let value = match write.deleted {
        true => paint.bad("deleted"),
        false => shown(write.value.as_ref(), write.value_base64.as_ref()),
    };
    format!("  {key} = {value}")
}
