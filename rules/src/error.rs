//! The errors of this crate. Each says what is wrong, where, and what to write instead.
//!
//! There are two kinds: a [`ParseError`] in a pattern or a filter, which an operator wrote, and an
//! [`EventError`] in an event, which a publisher sent. They are separate types because different people fix
//! them. Neither contains more than a bounded excerpt of the text.

use std::fmt;

/// One thing wrong with a pattern or a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ParseError {
    /// Byte offset in the text of the pattern (or the filter), counted from zero.
    pub offset: usize,
    /// JSON pointer (RFC 6901) to the place in the pattern. Empty for the whole pattern. A key of more than
    /// 80 characters is cut and ends with `…`.
    pub pointer: String,
    /// What is wrong, as one sentence without a full stop.
    pub reason: String,
    /// How to write it right, as one sentence without a full stop.
    pub remedy: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ParseError {
            offset,
            pointer,
            reason,
            remedy,
        } = self;
        if pointer.is_empty() {
            write!(out, "byte {offset}: {reason}; {remedy}")
        } else {
            write!(out, "byte {offset}, at {pointer}: {reason}; {remedy}")
        }
    }
}

/// Why an event can't be matched. The event is refused as a whole, and no rule matches it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct EventError {
    /// Byte offset in the part (or in the whole document if `part` is `None`), counted from zero.
    pub offset: usize,
    /// The top-level member in which the error is. `None` for an event that is one document.
    pub part: Option<String>,
    /// What is wrong, as one sentence without a full stop.
    pub reason: String,
}

impl fmt::Display for EventError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            Some(part) => write!(out, "byte {} of {part:?}: {}", self.offset, self.reason),
            None => write!(out, "byte {}: {}", self.offset, self.reason),
        }
    }
}
