//! `edgebus:function/secrets`: secrets that the manifest allows.

use ::wasmtime::Result;

use super::{Guest, Question};
use crate::bindings::edgebus::function::secrets::Host;

impl Host for Guest {
    async fn get(&mut self, name: String) -> Result<Option<String>> {
        self.ask_text(Question::Secret(name)).await
    }
}
