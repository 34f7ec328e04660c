//! What the command line prints: data on standard output, progress on standard error, colour only on a terminal.

use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Progress of a step that can take more than a second: a spinner on a terminal, plain lines elsewhere.
#[derive(Clone)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts to show progress.
    #[must_use]
    pub(super) fn start() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { bar: None };
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} ({elapsed}) {wide_msg}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar: Some(bar) }
    }

    /// Begins a new step.
    pub(super) fn say(&self, step: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_prefix(step.to_owned());
                bar.set_message("");
            }
            None => note(step),
        }
    }

    /// Shows what the step is busy with; only on a terminal.
    pub(super) fn detail(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
    }

    /// Lets something else be written meanwhile, so that neither stands in the other's line.
    pub(super) fn aside(&self, write: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Ends it, leaving nothing on the screen.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Prints a line on standard error.
pub(super) fn note(text: &str) {
    // A closed standard error is nothing that a command could report.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints a line on standard output; `false` if nobody reads it any more.
pub(super) fn print(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
}

/// Whether words may be coloured: on a terminal, and `NO_COLOR` not set.
#[must_use]
pub(super) fn coloured() -> bool {
    std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A duration in the unit that reads best.
#[must_use]
pub(super) fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        _ => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}
