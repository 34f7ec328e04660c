//! The store's error: what failed, and what the caller should do next.

use edgebus_model::Code;
use edgebus_model::error::{ErrorKind, Failed};

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

impl ErrorKind for Kind {
    fn code(self) -> Code {
        match self {
            Self::Unknown => Code::LogFailed,
            Self::Corrupt => Code::RecordCorrupt,
            Self::Refused => Code::StoreInaccessible,
        }
    }
}

/// A failure of the store.
pub type Error = Failed<Kind>;
