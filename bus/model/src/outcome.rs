//! How an attempt ended.

use std::fmt;

use super::Code;

/// Which clock ran out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeoutKind {
    /// Time on the processor.
    Cpu,
    /// Wall-clock time, host calls included.
    Wall,
}

/// How an attempt ended, and why if it failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The function returned success.
    Success,
    /// The function asked to be tried again, perhaps after a delay in milliseconds.
    Retry {
        /// The delay that the function asked for.
        after_ms: Option<u64>,
        /// The function's words.
        message: String,
    },
    /// The function said that trying again is useless.
    Reject {
        /// The function's words.
        message: String,
    },
    /// The function trapped.
    Trap {
        /// What happened, with a readable backtrace.
        message: String,
    },
    /// A time limit ended the attempt.
    Timeout {
        /// Which one.
        kind: TimeoutKind,
        /// The limit in milliseconds.
        limit_ms: u64,
    },
    /// The function wanted more memory than it may have.
    Memory {
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// The function went over one of its other limits (emitted events, state writes).
    Limit {
        /// Which limit, and its value.
        message: String,
    },
    /// State that the function read was changed by another attempt before this one could settle.
    Conflict,
    /// The attempt could not be made, or the process died during it.
    Host {
        /// What went wrong.
        message: String,
    },
}

impl Outcome {
    /// Every class that [`Outcome::class`] can say.
    pub const CLASSES: [&'static str; 9] = [
        "success", "retry", "reject", "trap", "timeout", "memory", "limit", "conflict", "host",
    ];

    /// The error class: one stable word that lists and metrics use.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Retry { .. } => "retry",
            Self::Reject { .. } => "reject",
            Self::Trap { .. } => "trap",
            Self::Timeout { .. } => "timeout",
            Self::Memory { .. } => "memory",
            Self::Limit { .. } => "limit",
            Self::Conflict => "conflict",
            Self::Host { .. } => "host",
        }
    }

    /// The class's code, for its page; success has none.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Success => None,
            Self::Retry { .. } => Some(Code::OutcomeRetry),
            Self::Reject { .. } => Some(Code::OutcomeReject),
            Self::Trap { .. } => Some(Code::OutcomeTrap),
            Self::Timeout { .. } => Some(Code::OutcomeTimeout),
            Self::Memory { .. } => Some(Code::OutcomeMemory),
            Self::Limit { .. } => Some(Code::OutcomeLimit),
            Self::Conflict => Some(Code::OutcomeConflict),
            Self::Host { .. } => Some(Code::OutcomeHost),
        }
    }

    /// The outcome with its message cut to `bytes_max` bytes, at a character's end.
    #[must_use]
    pub fn cut(mut self, bytes_max: usize) -> Self {
        if let Some(message) = self.message_mut() {
            cut(message, bytes_max);
        }
        self
    }

    /// The words that came with it, if it has any.
    pub fn message_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Retry { message, .. }
            | Self::Reject { message }
            | Self::Trap { message }
            | Self::Limit { message }
            | Self::Host { message } => Some(message),
            Self::Success | Self::Timeout { .. } | Self::Memory { .. } | Self::Conflict => None,
        }
    }

    /// True for [`Outcome::Success`].
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Success)
    }
}

/// Cuts `text` to at most `bytes_max` bytes and says so with an ellipsis.
pub(super) fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max.saturating_sub('…'.len_utf8())));
        text.push('…');
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => out.write_str("success"),
            Self::Retry { message, .. }
            | Self::Reject { message }
            | Self::Trap { message }
            | Self::Limit { message }
            | Self::Host { message } => out.write_str(message),
            Self::Timeout {
                kind: TimeoutKind::Cpu,
                limit_ms,
            } => {
                write!(
                    out,
                    "used more than {limit_ms} ms of processor time (limits.cpu)"
                )
            }
            Self::Timeout {
                kind: TimeoutKind::Wall,
                limit_ms,
            } => {
                write!(out, "took longer than {limit_ms} ms (limits.timeout)")
            }
            Self::Memory { limit_bytes } => write!(
                out,
                "wanted more than {} KiB of memory (limits.memory)",
                limit_bytes / 1024
            ),
            Self::Conflict => out.write_str("state that it read was changed by another attempt"),
        }
    }
}
