//! Log lines. The bus keeps them with the attempt and shows them in its API.
//!
//! `log::info!("{} orders", count)` and the macros for the other levels take the same arguments as `format!`.
//! By default 64 KiB of one attempt are kept, standard output and standard error included.

#[cfg(target_family = "wasm")]
use crate::host::guest::bindings::edgebus::function::log as host;
#[cfg(not(target_family = "wasm"))]
use native as host;

/// The level of a line.
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
    #[cfg(target_family = "wasm")]
    let level = level.into();
    host::write(level, message);
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

#[cfg(target_family = "wasm")]
impl From<Level> for host::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

/// The implementation for native tests.
#[cfg(not(target_family = "wasm"))]
mod native {
    use super::Level;
    use crate::host::native::with;
    use crate::testing::Harness;

    #[derive(Default)]
    struct Output(String);

    pub(super) fn write(level: Level, message: &str) {
        let level = format!("{level:?}").to_uppercase();
        with(|Output(lines)| {
            lines.push_str(&level);
            lines.push(' ');
            lines.push_str(message);
            lines.push('\n');
        });
    }

    impl Harness {
        /// What the function logged, one line `LEVEL message` for each entry.
        #[must_use]
        pub fn output(&self) -> String {
            with(|Output(lines)| lines.clone())
        }
    }
}
