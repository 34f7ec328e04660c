//! The JSON format: one pass over the envelope, which borrows from the body; `data` stays raw text.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::attribute::{Text, Value};
use super::{At, ERRORS_OF_ENTRY_MAX, Errors, Problem, finish, payload};
use edgebus_model::error::InputError;
use edgebus_model::limits::BATCH_EVENTS_MAX;
use edgebus_model::media_type;
use edgebus_model::{Attribute, Data, Event};

/// One event of a structured body.
pub(super) fn decode_one(body: &Bytes, errors: &mut Errors) -> Option<Event> {
    let body = &without_mark(body);
    match serde_json::from_slice::<Draft<'_>>(body) {
        Ok(draft) => draft.event(body, At { index: None }, errors),
        Err(_) if body.trim_ascii_start().starts_with(b"[") => {
            let reason = "is an array, where one event is a JSON object";
            let remedy = "send several events as application/cloudevents-batch+json";
            errors.add(&At { index: None }, "", reason, remedy);
            None
        }
        Err(error) => {
            errors.list.push(syntax(&error));
            None
        }
    }
}

/// The events of a batch body: all of them, or the errors of each that has one.
pub(super) fn decode_batch(body: &Bytes, errors: &mut Errors) -> Result<Vec<Event>, Problem> {
    let body = &without_mark(body);
    let entries = entries(body, errors)?.into_iter().enumerate();
    let events = entries.filter_map(|(index, entry)| entry.event(body, index, errors));
    Ok(events.collect())
}

/// The events of a batch body, each for itself.
pub(super) fn decode_each(
    body: &Bytes,
    errors: &mut Errors,
) -> Result<Vec<Result<Event, Errors>>, Problem> {
    let body = &without_mark(body);
    let entries = entries(body, errors)?.into_iter().enumerate();
    let each = entries.map(|(index, entry)| {
        let mut own = Errors::at_most(ERRORS_OF_ENTRY_MAX);
        let event = entry.event(body, index, &mut own);
        event.filter(|_| own.list.is_empty()).ok_or(own)
    });
    Ok(each.collect())
}

/// A body without the byte order mark that some editors and shells put before JSON (RFC 8259, 8.1).
fn without_mark(body: &Bytes) -> Bytes {
    match body.starts_with(b"\xef\xbb\xbf") {
        true => body.slice(3..),
        false => body.clone(),
    }
}

/// The entries of a batch body.
fn entries<'b>(body: &'b Bytes, errors: &mut Errors) -> Result<Vec<Entry<'b>>, Problem> {
    match serde_json::from_slice::<Drafts<'_>>(body) {
        Ok(Drafts { over: true, .. }) => Err(Problem::too_large(format!(
            "a batch holds at most {BATCH_EVENTS_MAX} events; send several"
        ))),
        Ok(Drafts { list, .. }) => Ok(list),
        Err(_) if body.trim_ascii_start().starts_with(b"{") => {
            let reason = "is one event, where a batch is a JSON array";
            let remedy = "send one event as application/cloudevents+json";
            errors.add(&At { index: None }, "", reason, remedy);
            Ok(Vec::new())
        }
        Err(error) => {
            errors.list.push(syntax(&error));
            Ok(Vec::new())
        }
    }
}

fn syntax(error: &serde_json::Error) -> InputError {
    let (line, column) = (error.line() as u64, error.column() as u64);
    InputError {
        pointer: String::new(),
        place: (line > 0).then_some((line, column)),
        reason: payload::reason(error),
        remedy: String::new(),
    }
}

/// The attributes of the specification, in the order of [`Draft::core`].
const CORE: [&str; 8] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
];

/// An event as it was read: borrowed, and not yet checked.
#[derive(Default)]
struct Draft<'a> {
    core: [Option<Cow<'a, str>>; CORE.len()],
    data: Option<&'a RawValue>,
    data_base64: Option<Cow<'a, str>>,
    extensions: Vec<(Cow<'a, str>, Attribute)>,
    /// Member name and reason; rare, so an empty list costs nothing.
    wrong: Vec<(Cow<'a, str>, String)>,
}

impl<'de> Deserialize<'de> for Draft<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DraftVisitor;
        impl<'de> Visitor<'de> for DraftVisitor {
            type Value = Draft<'de>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a CloudEvent as a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Draft<'de>, A::Error> {
                Draft::read(map)
            }
        }
        deserializer.deserialize_map(DraftVisitor)
    }
}

impl<'de> Draft<'de> {
    fn read<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut draft = Draft::default();
        // One bit for each known member, so that a null counts as given.
        let mut seen = 0u16;
        let mut once = |bit: usize| {
            let first = seen & 1 << bit == 0;
            seen |= 1 << bit;
            first
        };
        while let Some(Text(name)) = map.next_key()? {
            if let Some(index) = CORE.iter().position(|core| **core == *name) {
                let value = map.next_value()?;
                if once(index) {
                    draft.set_core(index, value);
                } else {
                    draft.twice(name);
                }
            } else if name == "data" {
                let value = map.next_value()?;
                if once(CORE.len()) {
                    draft.data = Some(value);
                } else {
                    draft.twice(name);
                }
            } else if name == "data_base64" {
                let value = map.next_value()?;
                if once(CORE.len() + 1) {
                    draft.set_base64(value);
                } else {
                    draft.twice(name);
                }
            } else {
                // Far more than there may be are not kept.
                if draft.extensions.len() + draft.wrong.len() > 4 * Event::EXTENSIONS_MAX {
                    map.next_value::<IgnoredAny>()?;
                } else {
                    draft.add_extension(name, map.next_value()?);
                }
            }
        }
        Ok(draft)
    }

    fn twice(&mut self, name: Cow<'de, str>) {
        self.wrong.push((name, "is given twice".to_owned()));
    }

    fn set_core(&mut self, index: usize, value: Value<'de>) {
        match value {
            Value::Text(text) => self.core[index] = Some(text),
            Value::Null => {}
            Value::Integer(_) => self.wrong_type(CORE[index], "a number"),
            Value::Boolean(_) => self.wrong_type(CORE[index], "true or false"),
            Value::Wrong(what) => self.wrong_type(CORE[index], what),
        }
    }

    fn set_base64(&mut self, value: Value<'de>) {
        match value {
            Value::Text(text) => self.data_base64 = Some(text),
            Value::Null => {}
            _ => self.wrong_type("data_base64", "something else"),
        }
    }

    fn wrong_type(&mut self, name: &'static str, what: &str) {
        self.wrong
            .push((name.into(), format!("must be a string, not {what}")));
    }

    fn add_extension(&mut self, name: Cow<'de, str>, value: Value<'de>) {
        let attribute = match value {
            Value::Text(text) => Attribute::Text(text.into_owned()),
            Value::Integer(number) => Attribute::Integer(number),
            Value::Boolean(boolean) => Attribute::Boolean(boolean),
            Value::Null => return,
            Value::Wrong(what) => {
                let reason =
                    format!("must be a string, a 32-bit whole number, true or false, not {what}");
                self.wrong.push((name, reason));
                return;
            }
        };
        self.extensions.push((name, attribute));
    }

    /// Makes the event, if nothing is wrong with it.
    fn event(mut self, body: &Bytes, place: At, errors: &mut Errors) -> Option<Event> {
        let errors_before = errors.list.len();
        for (name, reason) in std::mem::take(&mut self.wrong) {
            errors.add(&place, &name, reason, "");
        }
        let flawless_types = errors.list.len() == errors_before;
        let mut take = |index: usize| self.core[index].take().map(Cow::into_owned);
        match take(0).as_deref() {
            Some("1.0") => {}
            None if !flawless_types => {}
            None => errors.add(
                &place,
                "specversion",
                "is required",
                "write \"specversion\": \"1.0\"",
            ),
            Some(_) => errors.add(&place, "specversion", "must be \"1.0\"", ""),
        }
        let mut required = |index: usize| {
            take(index).unwrap_or_else(|| {
                if flawless_types {
                    errors.add(&place, CORE[index], "is required", "");
                }
                String::new()
            })
        };
        let (id, source, kind) = (required(1), required(2), required(3));
        let mut take = |index: usize| self.core[index].take().map(Cow::into_owned);
        let (subject, time, data_content_type, data_schema) = (take(4), take(5), take(6), take(7));
        let data = match self.payload(body, data_content_type.as_deref()) {
            Ok(data) => data,
            Err((member, reason, remedy)) => {
                errors.add(&place, member, reason, remedy);
                return None;
            }
        };
        if errors.list.len() > errors_before {
            return None;
        }
        let event = Event {
            id,
            source,
            kind,
            subject,
            time,
            data_content_type,
            data_schema,
            extensions: self
                .extensions
                .into_iter()
                .map(|(name, value)| (name.into_owned(), value))
                .collect(),
            data,
        };
        finish(event, place, errors)
    }

    /// The JSON format's section 3.1.2. Data with a type other than JSON must be a string, whose text
    /// it is; without a type it is JSON, and so are bytes in Base64 that rules can read as JSON.
    fn payload(&self, body: &Bytes, media_type: Option<&str>) -> Result<Data, Wrong> {
        let wrong = |member, reason: String, remedy| Err((member, reason, remedy));
        match (self.data, self.data_base64.as_deref()) {
            (None, None) => Ok(Data::Absent),
            (Some(_), Some(_)) => wrong(
                "data_base64",
                "is given beside `data`".to_owned(),
                "give one of them",
            ),
            (None, Some(base64)) => {
                let bytes = match STANDARD.decode(base64) {
                    Ok(bytes) => Bytes::from(bytes),
                    Err(_) => return wrong("data_base64", "is not Base64 with padding".into(), ""),
                };
                match media_type {
                    None => Ok(payload::untyped(bytes)),
                    Some(kind) if media_type::is_json(kind) => match payload::check_json(&bytes) {
                        Ok(()) => Ok(Data::Json(bytes)),
                        Err(reason) => wrong("data_base64", reason, "correct datacontenttype"),
                    },
                    Some(_) => Ok(Data::Opaque(bytes)),
                }
            }
            (Some(raw), None) if media_type.is_none_or(media_type::is_json) => {
                match payload::check_depth(raw.get().as_bytes()) {
                    Ok(()) => Ok(Data::Json(payload::keep(body, raw.get().as_bytes()))),
                    Err(reason) => wrong("data", reason, ""),
                }
            }
            (Some(raw), None) => match serde_json::from_str::<Text<'_>>(raw.get()) {
                Ok(Text(Cow::Borrowed(text))) => {
                    Ok(Data::Opaque(payload::keep(body, text.as_bytes())))
                }
                Ok(Text(Cow::Owned(text))) => Ok(Data::Opaque(Bytes::from(text))),
                Err(_) => wrong(
                    "data",
                    "must be a string, because datacontenttype is not JSON".into(),
                    "correct datacontenttype, or use data_base64",
                ),
            },
        }
    }
}

/// Member, reason, remedy.
type Wrong = (&'static str, String, &'static str);

/// An element of a batch.
enum Entry<'a> {
    Event(Box<Draft<'a>>),
    Wrong,
}

impl Entry<'_> {
    /// Makes the event, if nothing is wrong with it.
    fn event(self, body: &Bytes, index: usize, errors: &mut Errors) -> Option<Event> {
        let place = At { index: Some(index) };
        match self {
            Entry::Event(draft) => draft.event(body, place, errors),
            Entry::Wrong => {
                errors.add(&place, "", "must be a CloudEvent as a JSON object", "");
                None
            }
        }
    }
}

impl<'de> Deserialize<'de> for Entry<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a CloudEvent as a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry<'de>, A::Error> {
        Draft::read(map).map(Box::new).map(Entry::Event)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Entry<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Entry::Wrong)
    }

    fn visit_str<E>(self, _: &str) -> Result<Entry<'de>, E> {
        Ok(Entry::Wrong)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Entry<'de>, E> {
        Ok(Entry::Wrong)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Entry<'de>, E> {
        Ok(Entry::Wrong)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Entry<'de>, E> {
        Ok(Entry::Wrong)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Entry<'de>, E> {
        Ok(Entry::Wrong)
    }

    fn visit_unit<E>(self) -> Result<Entry<'de>, E> {
        Ok(Entry::Wrong)
    }
}

/// A batch, read no further than its bound.
struct Drafts<'a> {
    list: Vec<Entry<'a>>,
    over: bool,
}

impl<'de> Deserialize<'de> for Drafts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DraftsVisitor;
        impl<'de> Visitor<'de> for DraftsVisitor {
            type Value = Drafts<'de>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a JSON array of CloudEvents")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Drafts<'de>, A::Error> {
                let mut list = Vec::new();
                while list.len() < BATCH_EVENTS_MAX {
                    match seq.next_element()? {
                        Some(entry) => list.push(entry),
                        None => return Ok(Drafts { list, over: false }),
                    }
                }
                let mut over = false;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    over = true;
                }
                Ok(Drafts { list, over })
            }
        }
        deserializer.deserialize_seq(DraftsVisitor)
    }
}
