//! Why an event was not handled, and whether trying again makes sense.

use std::error::Error;
use std::time::Duration;

/// Why an event was not handled. State that the attempt wrote is thrown away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// It may work later: the delivery is tried again, as far as its retry policy allows.
    Retry {
        /// Not before this has passed; `None` leaves it to the policy.
        after: Option<Duration>,
        /// Why.
        message: String,
    },
    /// It will never work: the delivery becomes a dead letter.
    Reject {
        /// Why.
        message: String,
    },
}

impl Failure {
    /// Asks for another attempt when the retry policy says.
    pub fn retry(message: impl Into<String>) -> Self {
        Self::Retry {
            after: None,
            message: message.into(),
        }
    }

    /// Asks for another attempt, not before `after` has passed.
    pub fn retry_after(after: Duration, message: impl Into<String>) -> Self {
        Self::Retry {
            after: Some(after),
            message: message.into(),
        }
    }

    /// Says that trying again is useless.
    pub fn reject(message: impl Into<String>) -> Self {
        Self::Reject {
            message: message.into(),
        }
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Retry { message, .. } | Self::Reject { message } => message,
        }
    }
}

/// An error that nobody classified is worth another attempt, so that `?` never drops an event.
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::retry(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unclassified_error_is_tried_again() {
        let error = "x".parse::<u8>().expect_err("x is no number");
        assert_eq!(
            Failure::from(error),
            Failure::retry("invalid digit found in string")
        );
    }
}
