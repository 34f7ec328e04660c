//! What a guest's imports find: one file for each interface, and the data that an attempt's store holds.
//!
//! Each capability makes host calls. None knows a store, and none decides what an attempt may do.

mod config;
mod log;
mod secrets;
mod state;
mod wasi;

use std::sync::Arc;

use ::wasmtime::component::{HasSelf, Linker};

use super::bindings;
use super::ending::Stop;
use super::host_calls::{HostCall, HostCalls, HostReply};
use super::limiter::Limiter;
use wasi::Wasi;

/// The data of an attempt's store.
pub(super) struct Guest {
    /// Shared with the attempt's driver.
    host_calls: Arc<HostCalls>,
    /// What bounds the store's memory.
    pub(super) limiter: Limiter,
    /// Made when the guest first uses WASI; many never do.
    wasi: Option<Box<Wasi>>,
}

impl Guest {
    pub(super) fn new(host_calls: Arc<HostCalls>, memory_bytes_max: u64) -> Self {
        Self {
            host_calls,
            limiter: Limiter::new(memory_bytes_max),
            wasi: None,
        }
    }

    /// Asks the desk for a text.
    async fn ask_text(&mut self, question: HostCall) -> Result<Option<String>, ::wasmtime::Error> {
        match self.host_calls.ask(question).await? {
            HostReply::Text(text) => Ok(text),
            _ => Err(mixed_up()),
        }
    }
}

/// Puts everything that a guest may import into `linker`.
pub(super) fn link(linker: &mut Linker<Guest>) -> Result<(), ::wasmtime::Error> {
    use bindings::edgebus::function as world;
    world::state::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    world::config::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    world::secrets::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    world::log::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

impl bindings::edgebus::function::types::Host for Guest {}

/// An answer of another kind than the question: the driver's mistake.
fn mixed_up() -> ::wasmtime::Error {
    Stop::Host("the host answered another question".to_owned()).into()
}
