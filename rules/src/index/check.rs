//! Checks that bytes are JSON. Every byte of an event with `Trust::Unchecked` is read here.
//!
//! The same pass finds out whether keys are unique and have no dots, which lets the walk end early. If the
//! fast check fails, the scanner of the plain matcher reads the text. So both matchers refuse the same texts
//! with the same messages. If the scanner accepts a text that the fast check refused, not all keys were seen.
//! Then only the syntax is trusted.

use super::Trust;
use super::block::solid;
use super::grammar::is_json;
use super::keys::Keys;
use super::values::Event;
use crate::error::EventError;
use crate::event::Part;
use crate::json::{Scanner, Syntax};
use crate::limits::{EVENT_BYTES_MAX, EVENT_DEPTH_MAX};

/// Refuses an event that is too large.
pub(super) fn size(event: Event<'_>) -> Result<(), EventError> {
    let mut bytes: usize = 0;
    let error = |part: Option<&str>| EventError {
        offset: 0,
        part: part.map(str::to_owned),
        reason: format!("the event is larger than {EVENT_BYTES_MAX} bytes, the limit"),
    };
    match event {
        Event::Document(document) if document.len() > EVENT_BYTES_MAX => Err(error(None)),
        Event::Document(_) => Ok(()),
        Event::Parts(parts) => parts.iter().try_for_each(|part| {
            let (Part::Text { name, .. } | Part::Raw { name, .. }) = *part;
            bytes = bytes.saturating_add(match part {
                Part::Text { value, .. } => value.len(),
                Part::Raw { json, .. } => json.len(),
            });
            if bytes > EVENT_BYTES_MAX {
                Err(error(Some(name)))
            } else {
                Ok(())
            }
        }),
    }
}

/// Refuses an event that isn't JSON. Returns how far a valid event can be trusted.
pub(super) fn syntax(event: Event<'_>, keys: &mut Keys) -> Result<Trust, EventError> {
    let error = |syntax: Syntax, part: Option<&str>| EventError {
        offset: syntax.offset,
        part: part.map(str::to_owned),
        reason: syntax.reason.into_owned(),
    };
    keys.begin();
    match event {
        Event::Document(bytes) => document(bytes, keys).map_err(|syntax| error(syntax, None))?,
        Event::Parts(parts) => {
            keys.open();
            for part in parts {
                let (Part::Text { name, .. } | Part::Raw { name, .. }) = *part;
                keys.note(name.as_bytes());
                if let Part::Raw { json, .. } = part {
                    value(json, keys).map_err(|syntax| error(syntax, Some(name)))?;
                }
            }
            keys.close();
        }
    }
    Ok(if keys.are_plain() {
        Trust::Plain
    } else {
        Trust::Json
    })
}

fn document(bytes: &[u8], keys: &mut Keys) -> Result<(), Syntax> {
    if bytes.get(solid(bytes, 0)) == Some(&b'{') && is_json(bytes, EVENT_DEPTH_MAX, keys) {
        return Ok(());
    }
    let mut scanner = Scanner::new(bytes)?;
    if scanner.peek()? != b'{' {
        return Err(scanner.error("an event must be a JSON object"));
    }
    scanner.skip_value(EVENT_DEPTH_MAX)?;
    keys.doubt();
    scanner.finish()
}

fn value(bytes: &[u8], keys: &mut Keys) -> Result<(), Syntax> {
    if is_json(bytes, EVENT_DEPTH_MAX - 1, keys) {
        return Ok(());
    }
    let mut scanner = Scanner::new(bytes)?;
    scanner.skip_value(EVENT_DEPTH_MAX - 1)?;
    keys.doubt();
    scanner.finish()
}
