//! `edgebus:function/replay`: the replay that a delivery belongs to.

use ::wasmtime::Result;

use super::Guest;
use crate::bindings::edgebus::function::replay::{Host, Info};

impl Host for Guest {
    async fn current(&mut self) -> Result<Option<Info>> {
        let current = self.ask_now(|own| Ok(own.replay.current())).await?;
        Ok(current.map(|own| Info {
            name: own.name,
            number: own.number,
        }))
    }
}
