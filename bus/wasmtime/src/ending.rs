//! The outcome and message of an attempt that failed in the sandbox.

use ::wasmtime::{Error, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::output::LastWords;
use edgebus_model::{FunctionLimits, Outcome, TimeoutKind};
use edgebus_runtime::ServiceError;

/// How many frames of a backtrace are shown.
pub(super) const FRAMES_MAX: usize = 20;
/// A longer function name is cut. Names of generic functions can be very long.
const FRAME_CHARS_MAX: usize = 200;

/// Why the host ends an attempt, whatever the guest does.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Stop {
    #[error("{0}")]
    Limit(String),
    #[error("{0}")]
    Host(String),
    #[error("state that was read has changed")]
    Conflict,
    #[error("out of processor time")]
    Cpu,
}

impl From<ServiceError> for Stop {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Limit(message) => Self::Limit(message),
            ServiceError::Host(message) => Self::Host(message),
            ServiceError::Conflict => Self::Conflict,
        }
    }
}

/// The outcome of an attempt whose guest ended with `error`. `words` is the guest's own message.
pub(super) fn outcome(
    error: &Error,
    memory_denied: bool,
    words: &LastWords,
    limits: &FunctionLimits,
) -> Outcome {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return match stop.clone() {
            Stop::Limit(message) => Outcome::Limit { message },
            Stop::Host(message) => Outcome::Host { message },
            Stop::Conflict => Outcome::Conflict,
            Stop::Cpu => Outcome::Timeout {
                kind: TimeoutKind::Cpu,
                limit_ms: limits.cpu_ms_max,
            },
        };
    }
    if memory_denied {
        return Outcome::Memory {
            limit_bytes: limits.memory_bytes_max,
        };
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return Outcome::Trap {
            message: format!(
                "the function ended its process with status {} instead of returning{}",
                exit.0,
                match words {
                    LastWords::Panic(words) | LastWords::Line(words) =>
                        format!("; it said: {words}"),
                    LastWords::None => String::new(),
                }
            ),
        };
    }
    let cause = error.root_cause().to_string();
    // wasmtime does not export the type of this error.
    if cause.contains("hostcalls has been exhausted") {
        return Outcome::Limit {
            message: format!(
                "handed more than {} KiB to the host in one call",
                super::HOSTCALL_FUEL / 1024
            ),
        };
    }
    Outcome::Trap {
        message: trap_text(error, &cause, words),
    }
}

fn trap_text(error: &Error, cause: &str, words: &LastWords) -> String {
    let mut text = match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => match words {
            LastWords::Panic(words) => words.clone(),
            LastWords::Line(words) => {
                format!("panicked or aborted; the last that it said: {words}")
            }
            LastWords::None => {
                "panicked or aborted: reached `unreachable` (the output may say why)".to_owned()
            }
        },
        Some(Trap::StackOverflow) => "call stack exhausted".to_owned(),
        // Compilers put the stack below the data. So an overflow of the stack is an access below 0.
        Some(Trap::MemoryOutOfBounds) => {
            "out of bounds memory access (a call stack that is too deep ends like this, too)"
                .to_owned()
        }
        Some(trap) => trap.to_string(),
        None => cause.to_owned(),
    };
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return text;
    };
    // wasmtime demangles names only when it prints. A line is `   3: module!function`.
    for line in backtrace.to_string().lines().skip(1).take(FRAMES_MAX) {
        let frame = line.split_once(": ").map_or(line, |(_, frame)| frame);
        let name = frame.split_once('!').map_or(frame, |(_, name)| name);
        text.push_str("\n  at ");
        text.extend(without_hash(name).chars().take(FRAME_CHARS_MAX));
    }
    text
}

/// Rust's older names end with a hash, which doesn't help a reader.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((path, hash))
            if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
        {
            path
        }
        _ => name,
    }
}
