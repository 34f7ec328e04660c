//! `edgebus:function/log`: lines that are kept with the attempt.

use ::wasmtime::Result;

use super::Guest;
use crate::bindings::edgebus::function::log::{Host, Level as Wire};
use edgebus_runtime::capabilities::log::Level;

impl Host for Guest {
    fn write(&mut self, level: Wire, message: String) -> Result<()> {
        let level = match level {
            Wire::Trace => Level::Trace,
            Wire::Debug => Level::Debug,
            Wire::Info => Level::Info,
            Wire::Warn => Level::Warn,
            Wire::Error => Level::Error,
        };
        self.host_calls
            .output(|output| output.line(level.word(), &message));
        Ok(())
    }
}
