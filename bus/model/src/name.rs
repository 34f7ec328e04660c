//! Names of buses, functions and rules. Never case-folded, never trimmed.

use std::fmt;
use std::sync::Arc;

/// A name: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`, so that it fits a path, a metric label and a file name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a text is not a [`Name`], and how to write one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{shown}` is not a name: {reason}; use 1 to 64 letters, digits, `.`, `_` or `-`, with a letter or digit first"
)]
pub struct NameError {
    shown: String,
    reason: &'static str,
}

impl Name {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 64;

    /// Checks `text` and makes a name of it.
    ///
    /// # Errors
    /// [`NameError`] says which part of the rule the text breaks.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let reason = match text.as_bytes() {
            [] => Some("it is empty"),
            bytes if bytes.len() > Self::BYTES_MAX => Some("it is longer than 64 bytes"),
            [first, ..] if !first.is_ascii_alphanumeric() => {
                Some("it does not start with a letter or digit")
            }
            bytes
                if !bytes
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte)) =>
            {
                Some("it holds another character")
            }
            _ => None,
        };
        match reason {
            None => Ok(Self(text.into())),
            Some(reason) => Err(NameError {
                shown: text.chars().take(80).collect(),
                reason,
            }),
        }
    }

    /// The text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", &*self.0)
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_rule_says() {
        for good in ["a", "0", "a.b_c-D", &"x".repeat(64)] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".a", "-a", "a b", "ä", "a/b", &"x".repeat(65)] {
            assert!(Name::new(bad).is_err(), "{bad:?} was taken");
        }
    }
}
