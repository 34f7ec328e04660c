//! Events that a function emits in response to the handled one.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Failure;

/// An event that a function returns. The bus adds its id, time and origin.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Emit {
    /// `type`. Must not be empty.
    pub kind: String,
    /// The bus to which it goes. `None` is the bus of the handled event.
    pub bus: Option<String>,
    /// `source`. With `None`, the bus names the function.
    pub source: Option<String>,
    /// `subject`.
    pub subject: Option<String>,
    /// `datacontenttype`. `None` with data means `application/json`.
    pub data_content_type: Option<String>,
    /// Extension attributes. Names have 1 to 64 lower-case letters and digits.
    pub extensions: Vec<(String, String)>,
    /// The payload.
    pub data: Option<Vec<u8>>,
}

impl Emit {
    /// An event of this `type`, without data.
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            ..Self::default()
        }
    }

    /// With `data` as JSON.
    ///
    /// # Errors
    /// A rejection if `data` can't be written as JSON, for example a map whose keys are no strings.
    pub fn json(mut self, data: &impl Serialize) -> Result<Self, Failure> {
        let text = serde_json::to_vec(data)
            .map_err(|error| Failure::reject(format!("`{}` as JSON: {error}", self.kind)))?;
        self.data = Some(text);
        self.data_content_type = None;
        Ok(self)
    }

    /// With `data` as bytes of this content type.
    #[must_use]
    pub fn bytes(mut self, content_type: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        self.data_content_type = Some(content_type.into());
        self.data = Some(data.into());
        self
    }

    /// With this `subject`.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// With this `source`.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Sends it to another bus.
    #[must_use]
    pub fn bus(mut self, bus: impl Into<String>) -> Self {
        self.bus = Some(bus.into());
        self
    }

    /// With one more extension attribute.
    #[must_use]
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.push((name.into(), value.into()));
        self
    }

    /// Reads the JSON data back. For tests.
    ///
    /// # Errors
    /// The error of serde. Missing data is read as empty text.
    pub fn data_as<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.data.as_deref().unwrap_or_default())
    }
}

/// What a function may return on success.
pub trait IntoEmits {
    /// The events.
    fn into_emits(self) -> Vec<Emit>;
}

impl IntoEmits for () {
    fn into_emits(self) -> Vec<Emit> {
        Vec::new()
    }
}

impl IntoEmits for Emit {
    fn into_emits(self) -> Vec<Emit> {
        vec![self]
    }
}

impl IntoEmits for Option<Emit> {
    fn into_emits(self) -> Vec<Emit> {
        self.into_iter().collect()
    }
}

impl IntoEmits for Vec<Emit> {
    fn into_emits(self) -> Vec<Emit> {
        self
    }
}
