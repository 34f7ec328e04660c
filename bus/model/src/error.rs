//! Errors: a coarse kind that says what to do next, a code with a page, and a message for people.
//!
//! The store and the runtime have kinds of their own, in one shape ([`Failed`]). The handle's error also lists
//! what is wrong with an input.

use crate::Code;

/// What to do about an error. The HTTP status is chosen from this, in `http/problem.rs` alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The input is wrong: change it. `errors` says where.
    Invalid,
    /// Not found.
    NotFound,
    /// The request contradicts what is active or stored now.
    Conflict,
    /// Another version is active than the one that was asked for: look again.
    Changed,
    /// Larger than a limit.
    TooLarge,
    /// The bus is busy: repeat after this many milliseconds.
    Busy {
        /// When to come back.
        retry_after_ms: u64,
    },
    /// The disk is below its floor of free space.
    StorageFull,
    /// The outcome is unknown: repeat with the same (source, id) and get the first answer.
    Unknown,
    /// A stored record is corrupt and was not used.
    Corrupt,
    /// Not now: starting, or stopping.
    Unavailable,
}

impl Kind {
    /// The code of an error of this kind that nothing more is known of.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::Invalid => Code::InputInvalid,
            Self::NotFound => Code::NotFound,
            Self::Conflict => Code::Conflict,
            Self::Changed => Code::Changed,
            Self::TooLarge => Code::TooLarge,
            Self::Busy { .. } => Code::Busy,
            Self::StorageFull => Code::DiskNearlyFull,
            Self::Unknown => Code::LogFailed,
            Self::Corrupt => Code::RecordCorrupt,
            Self::Unavailable => Code::Unavailable,
        }
    }
}

/// What an error of one crate asks of its caller.
pub trait ErrorKind: Copy {
    /// The code of an error of this kind that nothing more is known of.
    fn code(self) -> Code;
}

/// An error of a crate below the handle; `K` says what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failed<K> {
    /// What to do.
    pub kind: K,
    /// Which page tells more.
    pub code: Code,
    /// What happened, for people; free to change.
    pub message: String,
}

impl<K: ErrorKind> Failed<K> {
    /// An error of `kind`.
    pub fn new(kind: K, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: kind.code(),
            message: message.into(),
        }
    }

    /// The same error with a code that tells more than its kind does.
    #[must_use]
    pub fn coded(self, code: Code) -> Self {
        Self { code, ..self }
    }
}

/// One error of an input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InputError {
    /// A JSON pointer into the input (RFC 6901); empty is the whole.
    pub pointer: String,
    /// Line and column from 1, where the input is a text of lines.
    pub place: Option<(u64, u64)>,
    /// What is wrong.
    pub reason: String,
    /// How to write it right; may be empty where the reason says it.
    pub remedy: String,
}

/// What the handle answers instead of a result.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What to do.
    pub kind: Kind,
    /// Which page tells more.
    pub code: Code,
    /// What happened, for people; free to change.
    pub message: String,
    /// Every error of an invalid input.
    pub errors: Vec<InputError>,
}

impl Error {
    /// An error of `kind` without a list of errors.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: kind.code(),
            message: message.into(),
            errors: Vec::new(),
        }
    }

    /// An invalid input with its errors.
    pub fn invalid(message: impl Into<String>, errors: Vec<InputError>) -> Self {
        Self {
            errors,
            ..Self::new(Kind::Invalid, message)
        }
    }

    /// The same error with a code that tells more than its kind does.
    #[must_use]
    pub fn coded(self, code: Code) -> Self {
        Self { code, ..self }
    }
}
