//! `edgebus:function/log`: lines that are kept with the attempt.
//!
//! Every function has it. The lines go where standard output and standard error go, into [`Invoked::output`].
//! The runtime keeps as much of them as the limit `output_bytes_max` allows. They stay with the attempt
//! however it ended. Never here: where they are stored.
//!
//! [`Invoked::output`]: crate::Invoked::output

/// Its interface in `wit/`.
pub const INTERFACE: &str = "edgebus:function/log";

/// The level of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    /// The word that a line begins with.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}
