//! What can go wrong with a request.

use std::time::Duration;

use edgebus_api::Problem;

/// A request that did not bring what was wanted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is none, or the client can't be made for it.
    #[error("`{url}` can't be used as the address of a bus: {reason}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The bus could not be reached, or the connection broke. Whether the request was done is unknown.
    #[error("no bus answers at {url}: {reason}")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What the network said.
        reason: String,
        /// Whether a bus was there and went away before it answered.
        reached: bool,
    },
    /// No answer came within the timeout. Whether the request was done is unknown.
    #[error("the bus at {url} gave no answer within {after:?}")]
    TimedOut {
        /// Where it is.
        url: String,
        /// The timeout.
        after: Duration,
    },
    /// The bus refused.
    #[error("the bus answered {status}{}", said(.problem))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why. Where the answer has no problem document, the status in words, and a short text as it came.
        problem: Box<Problem>,
        /// How long the bus asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The answer is not what was expected.
    #[error("the bus gave an answer that can't be read: {0}")]
    Unreadable(String),
    /// What is to be sent can't be written.
    #[error("the request can't be written: {0}")]
    Unwritable(String),
}

impl Error {
    /// The problem document, if the bus refused.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// The HTTP status, if the bus refused.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// The title and the detail, where there are any.
fn said(problem: &Problem) -> String {
    let mut out = String::new();
    for (before, text) in [(" ", &problem.title), (": ", &problem.detail)] {
        if !text.is_empty() {
            out.push_str(before);
            out.push_str(text);
        }
    }
    out
}
