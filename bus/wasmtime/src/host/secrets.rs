//! `edgebus:function/secrets`: the secrets that the manifest grants.

use ::wasmtime::Result;

use super::Guest;
use crate::bindings::edgebus::function::secrets::Host;

impl Host for Guest {
    async fn get(&mut self, name: String) -> Result<Option<String>> {
        self.ask_now(move |own| Ok(own.secrets.get(&name))).await
    }
}
