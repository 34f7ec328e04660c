//! One event from flags.
//!
//! Never here: templates. A flag with a placeholder is refused, because there is no line to fill it.

use std::io::Read as _;

use bytes::Bytes;

use super::{Arguments, random_id};
use crate::Failure;
use crate::mapping::Template;
use edgebus_model::{Attribute, Code, Data, Event, media_type};

/// More of a file is not read, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// The content type of data where none is given.
const JSON: &str = "application/json";

/// The event that the flags describe.
///
/// # Errors
/// What is missing or wrong, by the flag's name.
pub(super) fn event(arguments: &Arguments) -> Result<Event, Failure> {
    let required = |value: &Option<String>, flag: &str| {
        value.clone().ok_or_else(|| {
            Failure::usage(format!(
                "{flag} is required for an event from flags; or give --file FILE, or lines on standard input"
            ))
        })
    };
    let kind = required(&arguments.kind, "--type")?;
    let source = required(&arguments.source, "--source")?;
    no_placeholders(arguments)?;
    let content_type = arguments.content_type.as_deref().unwrap_or(JSON);
    let data = match &arguments.data {
        None => Data::Absent,
        Some(text) => data(text, content_type)?,
    };
    let event = Event {
        id: arguments.id.clone().unwrap_or_else(random_id),
        source,
        kind,
        subject: arguments.subject.clone(),
        time: arguments.time.clone(),
        data_content_type: (data != Data::Absent).then(|| content_type.to_owned()),
        data_schema: None,
        extensions: arguments
            .extensions
            .iter()
            .map(|(name, value)| (name.clone(), Attribute::Text(value.clone())))
            .collect(),
        data,
    };
    event.check().map_err(|error| {
        Failure::new(format!("the event can't be published: {error}")).coded(Code::LineUnfit)
    })?;
    Ok(event)
}

fn no_placeholders(arguments: &Arguments) -> Result<(), Failure> {
    for (flag, text) in arguments.templates() {
        let template = text.parse::<Template>();
        if template.is_ok_and(|template| template.has_placeholders()) {
            return Err(Failure::usage(format!(
                "{flag} has a placeholder, as in {{$.name}}, and no line of JSON is there to fill it: give lines with --file FILE or on standard input, and leave --data out"
            )));
        }
    }
    Ok(())
}

/// The data that `typed` is or names.
fn data(typed: &str, content_type: &str) -> Result<Data, Failure> {
    let bytes = match typed.strip_prefix('@') {
        None => typed.as_bytes().to_vec(),
        Some(file) => read(file).map_err(|error| {
            let name = if file == "-" { "standard input" } else { file };
            Failure::new(format!("{name} can't be read: {error}")).coded(Code::FileUnreadable)
        })?,
    };
    if !media_type::is_json(content_type) {
        return Ok(Data::Opaque(Bytes::from(bytes)));
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).map_err(|error| {
        Failure::new(format!(
            "the data is not JSON: {error}; quote it, as in --data '{{\"total\": 12}}', or say what it is, as in --content-type text/plain"
        ))
        .coded(Code::LineUnfit)
    })?;
    Ok(Data::Json(Bytes::from(bytes)))
}

/// The content of the file. The bus checks its size.
fn read(file: &str) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file == "-" {
        std::io::stdin()
            .lock()
            .take(FILE_BYTES_MAX)
            .read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(file)?
            .take(FILE_BYTES_MAX)
            .read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
