//! `wasi:*` 0.2: what the standard library of a guest imports.
//!
//! Clocks and randomness are real. Standard output and standard error go to the attempt's output. There are
//! no files, no sockets, no name resolution, no environment, no arguments and no input.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::wasmtime::component::ResourceTable;
use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::Guest;
use crate::RESOURCES_MAX;
use crate::host_calls::HostCalls;

/// How many bytes a guest may write, or request at random, in one call.
const CALL_BYTES_MAX: usize = 64 << 10;

/// The WASI state of an attempt.
pub(super) struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
}

impl Wasi {
    fn new(host_calls: &Arc<HostCalls>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let context = WasiCtx::builder()
            .stdout(Stream::new(host_calls, false))
            .stderr(Stream::new(host_calls, true))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(CALL_BYTES_MAX as u64)
            .build();
        Self { context, table }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let host_calls = &self.host_calls;
        let wasi = self
            .wasi
            .get_or_insert_with(|| Box::new(Wasi::new(host_calls)));
        WasiCtxView {
            ctx: &mut wasi.context,
            table: &mut wasi.table,
        }
    }
}

/// Standard output or standard error. It is always ready. The output drops what exceeds its bound.
#[derive(Clone)]
struct Stream {
    host_calls: Arc<HostCalls>,
    /// True for standard error, where a panic writes its message.
    errors: bool,
}

impl Stream {
    fn new(host_calls: &Arc<HostCalls>, errors: bool) -> Self {
        Self {
            host_calls: Arc::clone(host_calls),
            errors,
        }
    }

    fn take(&self, bytes: &[u8]) {
        self.host_calls.output(|output| {
            if self.errors {
                output.write_error(bytes);
            } else {
                output.write(bytes);
            }
        });
    }
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CALL_BYTES_MAX)
    }
}

impl Pollable for Stream {
    // This is what `async_trait` makes of `async fn ready(&mut self) {}`, without the dependency.
    fn ready<'life, 'future>(&'life mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'future>>
    where
        'life: 'future,
        Self: 'future,
    {
        Box::pin(std::future::ready(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
