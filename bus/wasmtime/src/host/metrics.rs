//! `edgebus:function/metrics`: counts and times by name.

use std::time::Duration;

use ::wasmtime::Result;

use super::Guest;
use crate::bindings::edgebus::function::metrics::Host;
use edgebus_runtime::capabilities::log::Level;

impl Host for Guest {
    async fn count(&mut self, name: String, delta: u64) -> Result<()> {
        let dropped = self
            .ask_now(move |own| Ok(own.metrics.count(&name, delta)))
            .await?;
        self.warn(dropped);
        Ok(())
    }

    async fn time(&mut self, name: String, nanoseconds: u64) -> Result<()> {
        let time = Duration::from_nanos(nanoseconds);
        let dropped = self
            .ask_now(move |own| Ok(own.metrics.time(&name, time)))
            .await?;
        self.warn(dropped);
        Ok(())
    }
}

impl Guest {
    fn warn(&self, dropped: Option<String>) {
        if let Some(reason) = dropped {
            let word = Level::Warn.word();
            self.host_calls.output(|output| output.line(word, &reason));
        }
    }
}
