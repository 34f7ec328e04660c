//! The host's side of a guest's imports: a file for each capability, and the data in an attempt's store.
//!
//! A file converts between the types of the interface and those of the capability, and calls the capability
//! through [`Guest::ask`]. Never here: what a capability does, and its bounds
//! (`edgebus_runtime::capabilities`).

mod config;
mod log;
mod metrics;
mod replay;
mod secrets;
mod state;
mod wasi;

use std::sync::Arc;

use ::wasmtime::component::{HasSelf, Linker};

use super::bindings;
use super::host_calls::HostCalls;
use super::limiter::Limiter;
use edgebus_runtime::capabilities::{Capabilities, Capability};
use edgebus_runtime::{Call, ServiceError};
use wasi::Wasi;

/// The data in an attempt's store.
pub(super) struct Guest {
    /// Shared with the attempt's driver.
    host_calls: Arc<HostCalls>,
    /// Limits the store's memory.
    pub(super) limiter: Limiter,
    /// Made when the guest first uses WASI. Many guests never do.
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

    /// Makes `call` with the attempt's capabilities, outside of the guest's processor time. An error ends the
    /// attempt.
    async fn ask<T: Send + 'static>(
        &mut self,
        call: impl for<'c, 'g> FnOnce(&'c mut Capabilities<'g>) -> Call<'c, Result<T, ServiceError>>
        + Send
        + 'static,
    ) -> Result<T, ::wasmtime::Error> {
        self.host_calls.ask(call).await
    }

    /// As `ask`, for a call that does not wait.
    async fn ask_now<T: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut Capabilities<'_>) -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, ::wasmtime::Error> {
        self.ask(move |capabilities| Box::pin(std::future::ready(call(capabilities))))
            .await
    }
}

/// Adds everything that a guest may import to `linker`.
pub(super) fn link(linker: &mut Linker<Guest>) -> Result<(), ::wasmtime::Error> {
    use bindings::edgebus::function as world;
    for capability in Capability::ALL {
        match capability {
            Capability::State => world::state::add_to_linker::<_, Own>(linker, own)?,
            Capability::Config => world::config::add_to_linker::<_, Own>(linker, own)?,
            Capability::Secrets => world::secrets::add_to_linker::<_, Own>(linker, own)?,
            Capability::Log => world::log::add_to_linker::<_, Own>(linker, own)?,
            Capability::Metrics => world::metrics::add_to_linker::<_, Own>(linker, own)?,
            Capability::Replay => world::replay::add_to_linker::<_, Own>(linker, own)?,
        }
    }
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

/// The functions of a capability get the store's data itself.
type Own = HasSelf<Guest>;

fn own(guest: &mut Guest) -> &mut Guest {
    guest
}

impl bindings::edgebus::function::types::Host for Guest {}
