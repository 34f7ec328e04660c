//! Events as they are published and read, and what the bus answers to a publish.

mod format;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::erasure::Erased;
use super::problem::Problem;
use crate::schema::{TextOrNull, Time};

/// Events that a batch has at most.
pub const BATCH_EVENTS_MAX: usize = 1_000;

/// A CloudEvent 1.0, as its JSON format has it. The data is what the publisher sent, byte for byte.
#[derive(Clone, Debug)]
pub struct Event {
    /// With `source`, unique for each distinct event: a repeated pair is a duplicate.
    pub id: String,
    /// Where it comes from: a URI reference.
    pub source: String,
    /// What happened, as in `com.example.order.placed`.
    pub kind: String,
    /// What it is about.
    pub subject: Option<String>,
    /// When it happened: RFC 3339, kept as it was written.
    pub time: Option<String>,
    /// The media type of the data.
    pub data_content_type: Option<String>,
    /// The URI of the data's schema.
    pub data_schema: Option<String>,
    /// Extension attributes, in the publisher's order.
    pub extensions: Vec<(String, Attribute)>,
    /// The data as JSON, or as text.
    pub data: Option<Box<RawValue>>,
    /// The data in Base64 where it is neither; instead of `data`.
    pub data_base64: Option<String>,
}

/// The value of an extension attribute.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Attribute {
    /// Text.
    Text(String),
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i32),
}

impl Event {
    /// The longest attribute, in bytes.
    pub const ATTRIBUTE_BYTES_MAX: usize = 2048;
    /// The most extension attributes.
    pub const EXTENSIONS_MAX: usize = 32;
    /// The longest name of one, in bytes.
    pub const NAME_BYTES_MAX: usize = 64;

    /// An event without data. An `id` of its own lets it be published again after an unclear answer without
    /// being taken twice.
    pub fn new(id: impl Into<String>, source: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            source: source.into(),
            kind: kind.into(),
            subject: None,
            time: None,
            data_content_type: None,
            data_schema: None,
            extensions: Vec::new(),
            data: None,
            data_base64: None,
        }
    }

    /// The same event with this data, as JSON.
    ///
    /// # Errors
    /// `data` can't be written as JSON.
    pub fn with_data(self, data: &(impl Serialize + ?Sized)) -> Result<Self, serde_json::Error> {
        Ok(Self {
            data: Some(serde_json::value::to_raw_value(data)?),
            data_content_type: Some("application/json".to_owned()),
            ..self
        })
    }

    /// The same event about this subject.
    #[must_use]
    pub fn with_subject(self, subject: impl Into<String>) -> Self {
        Self {
            subject: Some(subject.into()),
            ..self
        }
    }

    /// The same event with a further extension attribute.
    #[must_use]
    pub fn with_extension(mut self, name: impl Into<String>, value: Attribute) -> Self {
        self.extensions.push((name.into(), value));
        self
    }

    /// The data's JSON as a type of the reader's.
    ///
    /// # Errors
    /// There is none, or it is not of this type.
    pub fn read_data<'d, T: Deserialize<'d>>(&'d self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.data.as_deref().map_or("", RawValue::get))
    }
}

/// What names an event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EventKey {
    /// Its id.
    pub id: String,
    /// Its source.
    pub source: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
}

/// The schema of a member that is an event, or what names one. [`Event`] reads both.
pub(crate) struct EventOrKey;

impl JsonSchema for EventOrKey {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EventOrKey".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let key = generator.subschema_for::<EventKey>();
        json_schema!({"anyOf": [key, generator.subschema_for::<Event>()]})
    }
}

/// An event with its place in the log.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "StoredEvent")]
pub struct StoredEvent<E = Event> {
    /// Its place in the bus's log.
    #[schemars(range(min = 1))]
    pub position: u64,
    /// When it was accepted. RFC 3339 in UTC, with milliseconds.
    #[schemars(with = "Time")]
    pub accepted_at: String,
    /// Set if it was erased: id, source, type and time are all that is left of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased: Option<Erased>,
    /// The event.
    pub event: E,
}

/// A page of a bus's log, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "EventPage")]
pub struct EventPage<R = StoredEvent> {
    /// The events; may be few although there are more.
    pub events: Vec<R>,
    /// Give it as `after` for the next page; null at the end.
    pub next: Option<String>,
    /// With `last`: give it as `before` for those before these; null at the log's beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TextOrNull")]
    pub older: Option<Option<String>>,
    /// With `last`: the log's last position, from which a stream goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<u64>,
    /// The first position that retention has not reached: of the events before it only those are left that
    /// something is pending for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<u64>,
}

/// One event is on stable storage.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// The event's id.
    pub id: String,
    /// Its place in the bus's log; a duplicate's is the first one's.
    #[schemars(range(min = 1))]
    pub position: u64,
    /// True if source and id were published before, within the dedupe window.
    pub duplicate: bool,
}

/// The events of a batch are on stable storage, all in one transaction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("not" = {"required": ["refused"]}))]
pub struct AcceptedBatch {
    /// One for each event, in order.
    pub results: Vec<Accepted>,
}

/// What became of each event of a batch that was sent with `Prefer: handling=lenient`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AcceptedEach")]
pub struct AcceptedEach<R = Settled> {
    /// One for each event, in order.
    pub results: Vec<R>,
    /// How many of them were not stored.
    pub refused: u64,
}

/// What became of one event of a batch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(transform = one_of)]
pub enum Settled {
    /// It was not stored.
    Refused(Refused),
    /// It is on stable storage.
    Accepted(Accepted),
}

/// Says that exactly one of the variants fits, and nothing beside a reference: generators of code read no more.
fn one_of(schema: &mut Schema) {
    if let Some(Value::Array(mut variants)) = schema.remove("anyOf") {
        for variant in variants.iter_mut().filter_map(Value::as_object_mut) {
            variant.remove("description");
        }
        schema.insert("oneOf".to_owned(), Value::Array(variants));
    }
}

/// An event of the batch that was not stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Refused {
    /// Why.
    pub problem: Problem,
}
