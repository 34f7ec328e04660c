//! Why an event was not handled, and whether trying again makes sense.

use std::error::Error;
use std::time::Duration;

/// Why an event was not handled. The state that the attempt wrote is dropped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// It may work later. The delivery is tried again, as long as its retry policy allows.
    Retry {
        /// The time that must pass before the next attempt. `None` leaves it to the policy.
        after: Option<Duration>,
        /// Why.
        message: String,
    },
    /// It will never work. The delivery becomes a dead letter.
    Reject {
        /// Why.
        message: String,
    },
}

impl Failure {
    /// Requests another attempt at the time that the retry policy sets.
    pub fn retry(message: impl Into<String>) -> Self {
        Self::Retry {
            after: None,
            message: message.into(),
        }
    }

    /// Requests another attempt after `after` has passed, not before.
    pub fn retry_after(after: Duration, message: impl Into<String>) -> Self {
        Self::Retry {
            after: Some(after),
            message: message.into(),
        }
    }

    /// Ends the delivery, because another attempt would not help.
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

/// An error of another type requests another attempt, so that `?` never drops an event.
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
