//! `edgebus:function/secrets`: secrets that the manifest allows.

use ::wasmtime::Result;

use super::{Guest, HostCall};
use crate::bindings::edgebus::function::secrets::Host;

impl Host for Guest {
    async fn get(&mut self, name: String) -> Result<Option<String>> {
        self.ask_text(HostCall::Secret(name)).await
    }
}
