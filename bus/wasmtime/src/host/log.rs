//! `edgebus:function/log`: lines that are kept with the attempt.

use ::wasmtime::Result;

use super::Guest;
use crate::bindings::edgebus::function::log::{Host, Level};

impl Host for Guest {
    fn write(&mut self, level: Level, message: String) -> Result<()> {
        let level = match level {
            Level::Trace => "TRACE",
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
        };
        self.host_calls
            .output(|output| output.line(level, &message));
        Ok(())
    }
}
