//! An event: a CloudEvent 1.0 with its data as opaque bytes.
//!
//! Data is never parsed and printed again: the bytes that the publisher sent are stored and given to every
//! function.

use bytes::Bytes;

use super::{BusId, DeliveryKey, Erased, EventRef, Position, media_type, uri};

/// The value of an extension attribute, in the types that CloudEvents' JSON format can carry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Attribute {
    /// Text; also every attribute that came in a header.
    Text(String),
    /// A whole number.
    Integer(i32),
    /// True or false.
    Boolean(bool),
}

/// The event's payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Data {
    /// No data at all.
    Absent,
    /// JSON text, exactly as published; rules can look into it.
    Json(Bytes),
    /// Bytes of any other kind; no rule looks into them.
    Opaque(Bytes),
    /// Somebody had the event erased: data, subject and extensions are gone.
    Erased(Erased),
}

impl Data {
    /// The bytes, whatever they are.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Absent | Self::Erased(_) => None,
            Self::Json(bytes) | Self::Opaque(bytes) => Some(bytes),
        }
    }
}

/// A CloudEvent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// `id`: with `source`, unique for each distinct event.
    pub id: String,
    /// `source`: a non-empty URI reference.
    pub source: String,
    /// `type`.
    pub kind: String,
    /// `subject`.
    pub subject: Option<String>,
    /// `time`, RFC 3339, in the publisher's own spelling.
    pub time: Option<String>,
    /// `datacontenttype`.
    pub data_content_type: Option<String>,
    /// `dataschema`.
    pub data_schema: Option<String>,
    /// Extension attributes in the publisher's order.
    pub extensions: Vec<(String, Attribute)>,
    /// The payload.
    pub data: Data,
}

/// Where an event comes from, set by the host alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lineage {
    /// The published event that started the chain; `None` for a published event itself.
    pub root: Option<EventRef>,
    /// The delivery whose function emitted the event.
    pub parent: Option<DeliveryKey>,
    /// How many functions the chain went through: 0 for a published event.
    pub hops: u8,
}

impl Lineage {
    /// The longest chain of functions that emit to each other.
    pub const HOPS_MAX: u8 = 16;
    /// How many events may descend from one published event.
    pub const DESCENDANTS_MAX: u32 = 10_000;

    /// The lineage of an event that `parent` emits while it handles the event of this lineage.
    #[must_use]
    pub fn child(&self, bus: BusId, position: Position, parent: DeliveryKey) -> Self {
        Self {
            root: Some(self.root.unwrap_or(EventRef { bus, position })),
            parent: Some(parent),
            hops: self.hops.saturating_add(1),
        }
    }
}

/// Why an event's attributes are not a CloudEvent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("attribute `{attribute}` {reason}")]
pub struct EventError {
    /// The invalid attribute.
    pub attribute: String,
    /// What is wrong with it and how to write it right.
    pub reason: String,
}

impl Event {
    /// The longest `id`, `source`, `type`, `subject` or other attribute value, in bytes.
    pub const ATTRIBUTE_BYTES_MAX: usize = 2048;
    /// The most extension attributes.
    pub const EXTENSIONS_MAX: usize = 32;
    /// The longest name of one. CloudEvents recommends 20; names in practice are longer.
    pub const NAME_BYTES_MAX: usize = 64;

    /// Whether an attribute can have this name.
    #[must_use]
    pub fn is_attribute_name(name: &str) -> bool {
        let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        (1..=Self::NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(sound)
    }

    /// True if `other` has the same type, subject and data, byte for byte. Time and extensions, which clients set
    /// again when they repeat an event, may differ. What an erased event said nobody knows: it may be the same.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.erased().is_some()
            || self.kind == other.kind
                && self.subject == other.subject
                && self.data.bytes() == other.data.bytes()
    }

    /// When and by which job it was erased, if it was.
    #[must_use]
    pub fn erased(&self) -> Option<Erased> {
        match self.data {
            Data::Erased(erased) => Some(erased),
            _ => None,
        }
    }

    /// What is left of it when it is erased: id, source, type and time.
    #[must_use]
    pub fn erase(&self, erased: Erased) -> Self {
        Self {
            id: self.id.clone(),
            source: self.source.clone(),
            kind: self.kind.clone(),
            subject: None,
            time: self.time.clone(),
            data_content_type: None,
            data_schema: None,
            extensions: Vec::new(),
            data: Data::Erased(erased),
        }
    }

    /// A placeholder for an event whose record is corrupt or missing, for its dead letter.
    #[must_use]
    pub fn unreadable() -> Self {
        Self {
            id: "unreadable".to_owned(),
            source: "unreadable".to_owned(),
            kind: "unreadable".to_owned(),
            subject: None,
            time: None,
            data_content_type: None,
            data_schema: None,
            extensions: Vec::new(),
            data: Data::Absent,
        }
    }

    /// The payload's bytes, empty if there is none.
    #[must_use]
    pub fn data_bytes(&self) -> &[u8] {
        match &self.data {
            Data::Absent | Data::Erased(_) => &[],
            Data::Json(bytes) | Data::Opaque(bytes) => bytes,
        }
    }

    /// The core attributes that are there, `specversion` first, by their CloudEvents names.
    pub fn text_attributes(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let required = [
            ("specversion", "1.0"),
            ("id", self.id.as_str()),
            ("source", &self.source),
            ("type", &self.kind),
        ];
        let optional = [
            ("subject", &self.subject),
            ("time", &self.time),
            ("datacontenttype", &self.data_content_type),
            ("dataschema", &self.data_schema),
        ];
        let present = optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?)));
        required.into_iter().chain(present)
    }

    /// The size that limits count: attributes and data, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let optional = [
            &self.subject,
            &self.time,
            &self.data_content_type,
            &self.data_schema,
        ];
        let attributes: usize = optional.into_iter().flatten().map(String::len).sum();
        let extensions: usize = self
            .extensions
            .iter()
            .map(|(name, value)| {
                name.len()
                    + match value {
                        Attribute::Text(text) => text.len(),
                        _ => 4,
                    }
            })
            .sum();
        self.id.len()
            + self.source.len()
            + self.kind.len()
            + attributes
            + extensions
            + self.data_bytes().len()
    }

    /// Checks the attributes against CloudEvents 1.0 and our bounds; the data is checked where it is matched.
    ///
    /// # Errors
    /// The first attribute invalid, with how to write it.
    pub fn check(&self) -> Result<(), EventError> {
        self.check_bounds()?;
        self.check_forms()
    }

    /// Checks what every event in the log holds to: required attributes, names, sizes, and a time that can be read.
    ///
    /// # Errors
    /// The first attribute invalid, with how to write it.
    pub fn check_bounds(&self) -> Result<(), EventError> {
        let error = |attribute: &str, reason: &str| {
            Err(EventError {
                attribute: attribute.to_owned(),
                reason: reason.to_owned(),
            })
        };
        for (name, value) in [
            ("id", &self.id),
            ("source", &self.source),
            ("type", &self.kind),
        ] {
            if value.is_empty() {
                return error(name, "is required and must not be empty");
            }
            check_text(name, value)?;
        }
        for (name, value) in [
            ("subject", &self.subject),
            ("time", &self.time),
            ("datacontenttype", &self.data_content_type),
            ("dataschema", &self.data_schema),
        ] {
            match value {
                Some(value) if value.is_empty() => {
                    return error(name, "must not be empty; leave it out instead");
                }
                Some(value) => check_text(name, value)?,
                None => {}
            }
        }
        if let Some(time) = &self.time
            && time::OffsetDateTime::parse(time, &time::format_description::well_known::Rfc3339)
                .is_err()
        {
            return error("time", "must be RFC 3339, as in 2026-11-21T06:30:16Z");
        }
        if self.extensions.len() > Self::EXTENSIONS_MAX {
            return error(
                &self.extensions[Self::EXTENSIONS_MAX].0,
                "is one extension attribute too many: 32 are allowed",
            );
        }
        for (index, (name, value)) in self.extensions.iter().enumerate() {
            check_extension_name(name)?;
            if self.extensions[..index]
                .iter()
                .any(|(other, _)| other == name)
            {
                return error(name, "is given twice");
            }
            if let Attribute::Text(text) = value {
                check_text(name, text)?;
            }
        }
        Ok(())
    }

    /// Checks the attributes that are addresses and media types. Events of earlier releases may not hold to it.
    ///
    /// # Errors
    /// The first attribute invalid, with how to write it.
    pub fn check_forms(&self) -> Result<(), EventError> {
        let checked = |attribute: &str, result: Result<(), String>| {
            result.map_err(|reason| EventError {
                attribute: attribute.to_owned(),
                reason,
            })
        };
        checked("source", uri::check_reference(&self.source))?;
        if let Some(schema) = &self.data_schema {
            checked("dataschema", uri::check(schema))?;
        }
        match &self.data_content_type {
            Some(kind) => checked("datacontenttype", media_type::check(kind)),
            None => Ok(()),
        }
    }
}

fn check_extension_name(name: &str) -> Result<(), EventError> {
    let reason = if name.is_empty() || name.len() > Event::NAME_BYTES_MAX {
        "must have a name of 1 to 64 characters"
    } else if !name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    {
        "must have a name of lower-case letters and digits only"
    } else if matches!(
        name,
        "id" | "source"
            | "type"
            | "specversion"
            | "data"
            | "subject"
            | "time"
            | "datacontenttype"
            | "dataschema"
    ) {
        "is the name of a core attribute"
    } else {
        return Ok(());
    };
    Err(EventError {
        attribute: name.chars().take(64).collect(),
        reason: reason.to_owned(),
    })
}

/// CloudEvents strings exclude control characters; the bound is ours.
fn check_text(name: &str, value: &str) -> Result<(), EventError> {
    let reason = if value.len() > Event::ATTRIBUTE_BYTES_MAX {
        "is longer than 2048 bytes"
    } else if value.chars().any(char::is_control) {
        "holds a control character"
    } else {
        return Ok(());
    };
    Err(EventError {
        attribute: name.to_owned(),
        reason: reason.to_owned(),
    })
}
