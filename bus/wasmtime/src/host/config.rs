//! `edgebus:function/config`: what the manifest's `config` gives.

use ::wasmtime::Result;

use super::{Guest, HostCall};
use crate::bindings::edgebus::function::config::Host;

impl Host for Guest {
    async fn get(&mut self, key: String) -> Result<Option<String>> {
        self.ask_text(HostCall::Config(key)).await
    }
}
