//! Signals to a serving process: stop, or reload secrets.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::super::Failure;
use edgebus_model::Code;

/// The signals, from the moment that they are installed: none of them kills the process any more.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// An orderly stop: SIGTERM, SIGINT.
    Stop,
    /// SIGHUP: the terminal is gone, or the bus is to read its secrets again.
    Hangup,
}

impl Signals {
    pub(crate) fn install() -> Result<Self, Failure> {
        let install = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(format!("signals can't be handled: {error}"))
                    .coded(Code::SystemRefused)
            })
        };
        Ok(Self {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
            hangup: install(SignalKind::hangup())?,
        })
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Hangup,
        }
    }

    /// Resolves at the next signal that asks a service to stop.
    pub(crate) async fn stop(&mut self) {
        while self.next().await != Asked::Stop {}
    }

    /// Resolves at the next signal that asks a command on a terminal to stop; a command whose terminal is
    /// gone is useless.
    pub(crate) async fn stop_or_hangup(&mut self) {
        self.next().await;
    }
}
