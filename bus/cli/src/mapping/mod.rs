//! Makes a CloudEvent from any line of JSON, as `publish --type … --source … --data …` describes it.
//!
//! Attributes are templates with JSONPath placeholders, as in `com.github.{$.event}`. The data is a
//! part of the line as the publisher wrote it, byte for byte: it is cut out, never parsed and printed
//! again. An event without an `--id` gets one from the line's number, its bytes and the event's type, so that a
//! repeated input is a duplicate. Never here: reading files, and lines that are CloudEvents already.

mod path;
mod template;
#[cfg(test)]
mod tests;

pub use path::MemberPath;
pub use template::Template;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::output;
use edgebus_model::error::InputError;
use edgebus_model::limits::EVENT_BYTES_MAX;
use edgebus_model::{Attribute, Data, Event};

/// The longest line: an event of the largest size, and what is around it.
pub const LINE_BYTES_MAX: usize = EVENT_BYTES_MAX + (64 << 10);
/// The longest template or path, in bytes.
pub const TEXT_BYTES_MAX: usize = 4_096;

/// How lines become events.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// `type`.
    pub kind: Template,
    /// `source`.
    pub source: Template,
    /// `id`; without it, the first 128 bits of BLAKE3 over the line's number (64 bits, big-endian), the length
    /// of the event's type in bytes (64 bits, big-endian), the type, and the line's bytes (its line break left
    /// out), as 32 hexadecimal digits: a repeated input has the same ids, and equal lines of one input have
    /// different ones.
    pub id: Option<Template>,
    /// `subject`.
    pub subject: Option<Template>,
    /// `time`, which must come out in RFC 3339.
    pub time: Option<Template>,
    /// Extension attributes by name, as texts.
    pub extensions: Vec<(String, Template)>,
    /// The part of the line that is the data; without it, the whole line.
    pub data: Option<MemberPath>,
}

/// Why a template or a path can't be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}; {remedy}")]
pub struct MappingError {
    /// What is wrong.
    pub reason: String,
    /// How to write it right.
    pub remedy: String,
}

impl MappingError {
    fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }
}

/// Makes an event of `line`, which is the input's `line_number`th, counted from 1.
///
/// # Errors
/// What is wrong with the line, with its number and, where one found nothing, the path. The pointer
/// names the attribute that could not be made.
pub fn map_line(mapping: &Mapping, line: &[u8], line_number: u64) -> Result<Event, InputError> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > LINE_BYTES_MAX {
        return Err(at_line(
            line_number,
            MappingError::new(
                format!("the line is longer than {LINE_BYTES_MAX} bytes"),
                "split the event, or send a reference to its data",
            ),
        ));
    }
    let value = whole(line, line_number)?;
    let render = |attribute: &str, template: &Template| {
        template.render(value.get()).map_err(|error| InputError {
            pointer: format!("/{attribute}"),
            ..at_line(line_number, error)
        })
    };
    let optional = |attribute: &str, template: &Option<Template>| {
        let text = template
            .as_ref()
            .map(|template| render(attribute, template));
        text.transpose()
    };
    let data = match &mapping.data {
        None => value.get(),
        Some(path) => path.cut(value.get()).map_err(|error| InputError {
            pointer: "/data".to_owned(),
            ..at_line(line_number, error)
        })?,
    };
    let kind = render("type", &mapping.kind)?;
    let extensions = mapping.extensions.iter().map(|(name, template)| {
        let value = render(name, template)?;
        Ok((name.clone(), Attribute::Text(value)))
    });
    let event = Event {
        id: optional("id", &mapping.id)?.unwrap_or_else(|| stable_id(line, line_number, &kind)),
        source: render("source", &mapping.source)?,
        kind,
        subject: optional("subject", &mapping.subject)?,
        time: optional("time", &mapping.time)?,
        data_content_type: Some("application/json".to_owned()),
        data_schema: None,
        extensions: extensions.collect::<Result<_, InputError>>()?,
        data: Data::Json(Bytes::copy_from_slice(data.as_bytes())),
    };
    checked(event, line_number)
}

/// The id of a line that no template names.
fn stable_id(line: &[u8], line_number: u64, kind: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(&line_number.to_be_bytes())
        .update(&(kind.len() as u64).to_be_bytes())
        .update(kind.as_bytes())
        .update(line);
    let mut hex = hasher.finalize().to_hex().to_string();
    hex.truncate(32);
    hex
}

fn whole(line: &[u8], line_number: u64) -> Result<&RawValue, InputError> {
    serde_json::from_slice::<&RawValue>(line).map_err(|error| {
        let empty = line.iter().all(u8::is_ascii_whitespace);
        let reason = if empty {
            "the line is empty".to_owned()
        } else {
            format!("the line is not JSON: {error}")
        };
        let column = u64::try_from(error.column()).unwrap_or(1).max(1);
        InputError {
            place: Some((line_number, column)),
            ..at_line(
                line_number,
                MappingError::new(reason, "write one JSON value on each line"),
            )
        }
    })
}

fn checked(event: Event, line_number: u64) -> Result<Event, InputError> {
    if let Err(error) = event.check() {
        return Err(InputError {
            pointer: format!("/{}", error.attribute),
            ..at_line(
                line_number,
                MappingError::new(error.to_string(), "change the template of this attribute"),
            )
        });
    }
    if event.size() > EVENT_BYTES_MAX {
        return Err(at_line(
            line_number,
            MappingError::new(
                format!("the event is larger than {EVENT_BYTES_MAX} bytes"),
                "take a smaller part of the line as `--data`",
            ),
        ));
    }
    Ok(event)
}

fn at_line(line_number: u64, error: MappingError) -> InputError {
    InputError {
        pointer: String::new(),
        place: Some((line_number, 1)),
        reason: error.reason,
        remedy: error.remedy,
    }
}

/// `text` as a message may show it: short, and without characters that steer a terminal.
fn shown(text: &str) -> String {
    let sign = |character: char| {
        if output::is_unsafe(character) {
            '\u{fffd}'
        } else {
            character
        }
    };
    text.chars().take(80).map(sign).collect()
}
