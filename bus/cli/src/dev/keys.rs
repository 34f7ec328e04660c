//! One key: `q` ends `dev`. Only on a terminal, and only while `dev` is in its foreground.
//!
//! Never here: anything else from the keyboard; Ctrl-C stays a signal.

use std::io::Read as _;
use std::sync::Arc;

use rustix::process::Signal;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Keys are read one by one until this is dropped; then the terminal is as it was.
pub(super) struct Keys {
    before: Option<Termios>,
    quit: Arc<Notify>,
    /// Asks for single keys again after Ctrl-Z and `fg`: the shell had the terminal meanwhile.
    continued: Option<JoinHandle<()>>,
}

impl Keys {
    /// Begins to read keys if there is a terminal to read them from.
    pub(super) fn read() -> Self {
        let mut keys = Self {
            before: one_by_one(),
            quit: Arc::new(Notify::new()),
            continued: None,
        };
        if keys.before.is_some() {
            let continued = signal(SignalKind::from_raw(Signal::CONT.as_raw()));
            keys.continued = continued.ok().map(|mut continued| {
                tokio::spawn(async move {
                    while continued.recv().await.is_some() {
                        one_by_one();
                    }
                })
            });
            let quit = keys.quit.clone();
            // Its own thread, because reading never ends. It ends with the process.
            let reading = std::thread::Builder::new().name("keys".to_owned());
            let reads = reading.spawn(move || {
                let typed = std::io::stdin().lock().bytes();
                for key in typed.map_while(Result::ok) {
                    if matches!(key, b'q' | b'Q') {
                        quit.notify_one();
                    }
                }
            });
            if reads.is_err() {
                put_back(keys.before.take().as_ref());
            }
        }
        keys
    }

    /// True if keys are read.
    pub(super) fn are_read(&self) -> bool {
        self.before.is_some()
    }

    /// Resolves when `q` is pressed.
    pub(super) async fn quit(&self) {
        self.quit.notified().await;
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(continued) = &self.continued {
            continued.abort();
        }
        put_back(self.before.as_ref());
    }
}

/// Asks the terminal for each key at once and without an echo; gives what it did before.
fn one_by_one() -> Option<Termios> {
    let input = std::io::stdin();
    let before = tcgetattr(&input).ok()?;
    // A background process that changes the terminal is stopped.
    if tcgetpgrp(&input).ok()? != rustix::process::getpgrp() {
        return None;
    }
    let mut after = before.clone();
    after
        .local_modes
        .remove(LocalModes::ICANON | LocalModes::ECHO);
    tcsetattr(&input, OptionalActions::Now, &after).ok()?;
    Some(before)
}

fn put_back(before: Option<&Termios>) {
    if let Some(before) = before {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
    }
}
