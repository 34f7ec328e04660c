//! What is wrong, where, and how to write it right.
//!
//! Two kinds of refusal leave this crate: a [`Fault`] in what an operator wrote (a pattern or a
//! filter), and an [`EventFault`] in what a publisher sent. They are apart because they go to
//! different people. Neither ever carries more than a bounded excerpt of the text it is about.

use std::fmt;

/// One thing wrong with a pattern or a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    /// Byte offset in the text of the pattern (or the filter), counted from zero.
    pub offset: usize,
    /// JSON pointer (RFC 6901) to the place in the pattern; empty for the whole.
    pub pointer: String,
    /// What is wrong, as one sentence without a full stop.
    pub reason: String,
    /// How to write it right, as one sentence without a full stop.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault {
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

/// Why an event can't be matched. The event is refused as a whole: no rule has seen part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct EventFault {
    /// Byte offset in the part (or in the whole document, when `part` is none), counted from zero.
    pub offset: usize,
    /// The top-level member it is in; none for a document given as a whole.
    pub part: Option<String>,
    /// What is wrong, as one sentence without a full stop.
    pub reason: String,
}

impl fmt::Display for EventFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            Some(part) => write!(out, "byte {} of {part:?}: {}", self.offset, self.reason),
            None => write!(out, "byte {}: {}", self.offset, self.reason),
        }
    }
}
