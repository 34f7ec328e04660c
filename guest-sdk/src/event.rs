//! The event that a function handles, and how its data becomes a value of the function's own type.

use serde::de::DeserializeOwned;

use crate::{Context, Emit, Failure, IntoEmits};

/// A CloudEvent with data of type `T`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event<T> {
    /// `id`: with `source`, unique for each distinct event.
    pub id: String,
    /// `source`.
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
    /// Extension attributes in the publisher's order, as text.
    pub extensions: Vec<(String, String)>,
    /// The payload.
    pub data: T,
}

impl<T> Event<T> {
    /// The extension attribute `name`.
    #[must_use]
    pub fn extension(&self, name: &str) -> Option<&str> {
        self.extensions
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    /// The same event with other data.
    pub fn with_data<U>(self, data: U) -> Event<U> {
        self.map(|_| data)
    }

    fn map<U>(self, change: impl FnOnce(T) -> U) -> Event<U> {
        Event {
            id: self.id,
            source: self.source,
            kind: self.kind,
            subject: self.subject,
            time: self.time,
            data_content_type: self.data_content_type,
            data_schema: self.data_schema,
            extensions: self.extensions,
            data: change(self.data),
        }
    }
}

/// The payload as the bus hands it over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// The event has no data.
    Absent,
    /// JSON text.
    Json(Vec<u8>),
    /// Bytes of any other kind.
    Opaque(Vec<u8>),
}

/// The bytes of the payload as they were published, of any kind. Empty if there is no payload.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Raw(pub Vec<u8>);

/// A type that an event's data can be read into. Every type that serde can read is one, and so is [`Raw`].
pub trait FromData: Sized {
    /// Reads `payload`.
    ///
    /// # Errors
    /// A rejection that says where the data is not as expected.
    fn from_data(payload: Payload) -> Result<Self, Failure>;
}

impl FromData for Raw {
    fn from_data(payload: Payload) -> Result<Self, Failure> {
        Ok(match payload {
            Payload::Absent => Self::default(),
            Payload::Json(bytes) | Payload::Opaque(bytes) => Self(bytes),
        })
    }
}

impl<T: DeserializeOwned> FromData for T {
    fn from_data(payload: Payload) -> Result<Self, Failure> {
        let text: &[u8] = match &payload {
            // `()` and `Option` read as absent.
            Payload::Absent => b"null",
            Payload::Json(bytes) => bytes,
            Payload::Opaque(_) => {
                return Err(Failure::reject(
                    "the event's data is not JSON: publish it with datacontenttype application/json, \
                     or take `Event<Raw>`",
                ));
            }
        };
        serde_json::from_slice(text).map_err(|_| describe::<T>(text, &payload))
    }
}

/// Reads the data a second time to find the place of the error. Without an error this costs nothing.
fn describe<T: DeserializeOwned>(text: &[u8], payload: &Payload) -> Failure {
    if matches!(payload, Payload::Absent) {
        return Failure::reject("the event has no data");
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Err(error) => {
            let path = error.path().to_string();
            let inner = error.into_inner();
            if path == "." {
                Failure::reject(format!("the event's data: {inner}"))
            } else {
                Failure::reject(format!("the event's data at `{path}`: {inner}"))
            }
        }
        Ok(_) => Failure::reject("the event's data goes on behind its end"),
    }
}

/// Decodes the data, calls the function and collects what it emits.
#[doc(hidden)]
pub fn run<T, E>(
    event: Event<Payload>,
    context: Context,
    function: impl FnOnce(Event<T>, Context) -> Result<E, Failure>,
) -> Result<Vec<Emit>, Failure>
where
    T: FromData,
    E: IntoEmits,
{
    let mut event = event;
    let data = T::from_data(std::mem::replace(&mut event.data, Payload::Absent))?;
    function(event.with_data(data), context).map(IntoEmits::into_emits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize, PartialEq, Debug)]
    struct Order {
        lines: Vec<Line>,
    }

    #[derive(Deserialize, PartialEq, Debug)]
    struct Line {
        cents: u32,
    }

    fn json(text: &str) -> Payload {
        Payload::Json(text.as_bytes().to_vec())
    }

    fn rejected<T: FromData>(payload: Payload) -> String {
        match T::from_data(payload) {
            Err(Failure::Reject { message }) => message,
            Err(Failure::Retry { message, .. }) => unreachable!("`{message}` is tried again"),
            Ok(_) => unreachable!("it decoded"),
        }
    }

    #[test]
    fn bad_data_is_rejected_with_its_place() {
        let message = rejected::<Order>(json("{\"lines\":[{\"cents\":1},\n{\"cents\":\"2\"}]}"));
        assert_eq!(
            message,
            "the event's data at `lines[1].cents`: invalid type: string \"2\", expected u32 at line 2 column 12"
        );
        let message = rejected::<Order>(json("{\"lines\":[]} x"));
        assert!(message.contains("goes on behind its end"), "{message}");
        assert_eq!(rejected::<Order>(Payload::Absent), "the event has no data");
        assert!(rejected::<Order>(Payload::Opaque(vec![1])).contains("not JSON"));
    }

    #[test]
    fn raw_and_values_take_what_comes() {
        assert_eq!(
            Raw::from_data(Payload::Opaque(vec![1, 2])),
            Ok(Raw(vec![1, 2]))
        );
        assert_eq!(Option::<Order>::from_data(Payload::Absent), Ok(None));
        assert_eq!(
            serde_json::Value::from_data(json("[1]")),
            Ok(serde_json::json!([1]))
        );
    }
}
