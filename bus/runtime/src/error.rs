//! Why a component can't be a function.

use edgebus_model::Code;
use edgebus_model::error::{ErrorKind, Failed};

/// The kind of the error, which says who has to act.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The bytes are not a component, or not one that this bus can run. The deployer must change it.
    Invalid,
    /// Compiling took too much time or memory.
    TooLarge,
    /// The host's own error.
    Host,
}

impl ErrorKind for Kind {
    fn code(self) -> Code {
        match self {
            Self::Invalid => Code::ComponentUnfit,
            Self::TooLarge => Code::ComponentTooLarge,
            Self::Host => Code::RuntimeFailed,
        }
    }
}

/// The error for a component that can't be prepared. The message says what is wrong and how to build it
/// correctly.
pub type Error = Failed<Kind>;
