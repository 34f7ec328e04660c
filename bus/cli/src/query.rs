//! A path of the API with its query, each value percent-encoded.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is encoded: everything but the unreserved characters (RFC 3986, 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A path that grows by parameters.
#[derive(Clone, Debug)]
pub(super) struct Path(String);

impl Path {
    /// A path without parameters. Text from users must be [`encoded`].
    #[must_use]
    pub(super) fn new(path: impl Into<String>) -> Self {
        Self(path.into())
    }

    /// With a parameter.
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&encoded(value));
        self
    }

    /// With a parameter if there is a value.
    #[must_use]
    pub(super) fn with_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The path as a request has it.
    #[must_use]
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

/// Text from people as one segment of a path, or as a value.
#[must_use]
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded() {
        let path = Path::new(format!("/v1/buses/{}/events", encoded("a/b")))
            .with("match", r#"{"type":["ü +"]}"#)
            .with_some("type", None)
            .with_some("last", Some("1"));
        assert_eq!(
            path.text(),
            "/v1/buses/a%2Fb/events?match=%7B%22type%22%3A%5B%22%C3%BC%20%2B%22%5D%7D&last=1"
        );
    }
}
