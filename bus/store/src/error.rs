//! The store's error: what failed, and what the caller should do next.

use edgebus_model::Code;

/// What to do about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The engine failed in the middle: the outcome is unknown, the handle is dead, the process must stop.
    Unknown,
    /// A record failed its checksum or can't be decoded: it must not be used.
    Corrupt,
    /// The folder can't be opened as asked: missing, empty, foreign, newer, in use. Nothing was changed.
    Refused,
}

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What to do.
    pub kind: Kind,
    /// Which page tells more.
    pub code: Code,
    /// What happened, for people; free to change.
    pub message: String,
}

impl Error {
    /// An error of `kind`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let code = match kind {
            Kind::Unknown => Code::LogFailed,
            Kind::Corrupt => Code::RecordCorrupt,
            Kind::Refused => Code::StoreInaccessible,
        };
        Self {
            kind,
            code,
            message: message.into(),
        }
    }

    /// The same error with a code that tells more than its kind does.
    #[must_use]
    pub fn coded(self, code: Code) -> Self {
        Self { code, ..self }
    }
}
