//! `edgebus:function/config`: the values of the manifest's `config`.

use ::wasmtime::Result;

use super::Guest;
use crate::bindings::edgebus::function::config::Host;

impl Host for Guest {
    async fn get(&mut self, key: String) -> Result<Option<String>> {
        self.ask_now(move |own| Ok(own.config.get(&key))).await
    }
}
