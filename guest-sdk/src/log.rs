//! Lines that are kept with the attempt, where the bus's API and dashboard show them.
//!
//! `log::info!("{} orders", count)` and its siblings take what `format!` takes. By default 64 KiB of one
//! attempt are kept, standard output and standard error included.

use crate::host;

/// How much a line matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// Writes one line.
pub fn write(level: Level, message: &str) {
    host::log(level, message);
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_trace {
    ($($arguments:tt)+) => {
        $crate::log::write($crate::log::Level::Trace, &::std::format!($($arguments)+))
    };
}
/// Writes a line of level [`Trace`](Level::Trace).
pub use __log_trace as trace;

#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($arguments:tt)+) => {
        $crate::log::write($crate::log::Level::Debug, &::std::format!($($arguments)+))
    };
}
/// Writes a line of level [`Debug`](Level::Debug).
pub use __log_debug as debug;

#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($arguments:tt)+) => {
        $crate::log::write($crate::log::Level::Info, &::std::format!($($arguments)+))
    };
}
/// Writes a line of level [`Info`](Level::Info).
pub use __log_info as info;

#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($arguments:tt)+) => {
        $crate::log::write($crate::log::Level::Warn, &::std::format!($($arguments)+))
    };
}
/// Writes a line of level [`Warn`](Level::Warn).
pub use __log_warn as warn;

#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($arguments:tt)+) => {
        $crate::log::write($crate::log::Level::Error, &::std::format!($($arguments)+))
    };
}
/// Writes a line of level [`Error`](Level::Error).
pub use __log_error as error;
