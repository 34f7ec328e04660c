//! Why a component can't be a function here.

use edgebus_model::Code;

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

/// A component that can't be prepared.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What to do.
    pub kind: Kind,
    /// Which page tells more.
    pub code: Code,
    /// What is wrong and how to build it right.
    pub message: String,
}

impl Error {
    /// An error of `kind`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let code = match kind {
            Kind::Invalid => Code::ComponentUnfit,
            Kind::TooLarge => Code::ComponentTooLarge,
            Kind::Host => Code::RuntimeFailed,
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
