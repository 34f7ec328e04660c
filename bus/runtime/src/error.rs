//! Why a component can't be a function here.

use edgebus_model::Code;
use edgebus_model::error::{ErrorKind, Failed};

/// What to do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The bytes are not a component, or not one that this bus can run: the deployer must change it.
    Invalid,
    /// Compiling took too long or too much.
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

/// A component that can't be prepared. The message says what is wrong and how to build it right.
pub type Error = Failed<Kind>;
