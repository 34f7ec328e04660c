//! The JSON format of CloudEvents, written and read by hand: any member beside the known ones is an extension
//! attribute, and data stays as it was written, which no derived code can do together.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::Event;

/// The version of CloudEvents.
const VERSION: &str = "1.0";

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("specversion", VERSION)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("type", &self.kind)?;
        for (name, value) in [
            ("subject", &self.subject),
            ("time", &self.time),
            ("datacontenttype", &self.data_content_type),
            ("dataschema", &self.data_schema),
        ] {
            if let Some(value) = value {
                map.serialize_entry(name, value)?;
            }
        }
        for (name, value) in &self.extensions {
            map.serialize_entry(name, value)?;
        }
        if let Some(data) = &self.data {
            map.serialize_entry("data", data)?;
        }
        if let Some(data) = &self.data_base64 {
            map.serialize_entry("data_base64", data)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EventVisitor;

        impl<'de> Visitor<'de> for EventVisitor {
            type Value = Event;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a CloudEvent as a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
                let mut event = Event::new("", "", "");
                let (mut id, mut source, mut kind) = (None, None, None);
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    match name.as_ref() {
                        "specversion" => {
                            map.next_value::<serde::de::IgnoredAny>()?;
                        }
                        "id" => id = Some(map.next_value()?),
                        "source" => source = Some(map.next_value()?),
                        "type" => kind = Some(map.next_value()?),
                        "subject" => event.subject = map.next_value()?,
                        "time" => event.time = map.next_value()?,
                        "datacontenttype" => event.data_content_type = map.next_value()?,
                        "dataschema" => event.data_schema = map.next_value()?,
                        // A null is data as well.
                        "data" => event.data = Some(map.next_value()?),
                        "data_base64" => event.data_base64 = map.next_value()?,
                        _ => event
                            .extensions
                            .push((name.into_owned(), map.next_value()?)),
                    }
                }
                let missing = A::Error::missing_field;
                Ok(Event {
                    id: id.ok_or_else(|| missing("id"))?,
                    source: source.ok_or_else(|| missing("source"))?,
                    kind: kind.ok_or_else(|| missing("type"))?,
                    ..event
                })
            }
        }
        deserializer.deserialize_map(EventVisitor)
    }
}

fn attribute(words: &str) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": Event::ATTRIBUTE_BYTES_MAX,
        "description": words,
    })
}

impl JsonSchema for Event {
    fn schema_name() -> Cow<'static, str> {
        "Event".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words = format!(
            "A CloudEvent 1.0 in the JSON format. Other members are extension attributes: at most {} of them, \
             with names of 1 to {} lower-case letters and digits. An attribute has at most {} bytes.",
            Self::EXTENSIONS_MAX,
            Self::NAME_BYTES_MAX,
            Self::ATTRIBUTE_BYTES_MAX
        );
        json_schema!({
            "type": "object",
            "description": words,
            "required": ["specversion", "id", "source", "type"],
            "properties": {
                "specversion": {"const": VERSION, "description": "The version of CloudEvents."},
                "id": attribute("With `source`, unique for each distinct event: a repeated pair is a duplicate."),
                "source": attribute("Where it comes from: a URI reference."),
                "type": attribute("What happened, as in com.example.order.placed."),
                "subject": attribute("What it is about."),
                "time": {"type": "string", "format": "date-time", "description": "When it happened: RFC 3339, kept as it was written."},
                "datacontenttype": attribute("The media type of the data."),
                "dataschema": attribute("The URI of the data's schema."),
                "data": {"description": "The data as JSON, or as text; kept byte for byte."},
                "data_base64": {"type": "string", "contentEncoding": "base64", "description": "The data where it is neither; instead of `data`."},
            },
            "additionalProperties": {
                "type": ["string", "integer", "boolean"],
                "description": "An extension attribute.",
            },
            "not": {"required": ["data", "data_base64"]},
        })
    }
}
