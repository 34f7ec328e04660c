//! What the command line prints: data on standard output, progress on standard error, colour only on a terminal.
//!
//! `table`, `json` and `yaml` print what the API gives, `rows` prints lists of it page by page, `plain`
//! makes text from elsewhere safe, `fold` fits text to a terminal, `words` has durations, times and colours. Never here: requests.

mod fold;
pub(super) mod json;
mod plain;
mod rows;
mod table;
mod words;
mod yaml;

use std::io::{IsTerminal, Write as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::io::Interest;
use tokio::net::unix::pipe;

use super::{Failure, OK};

pub(super) use fold::{folded, wrapped_below};
pub(super) use plain::{columns, fitted, is_unsafe, plain, plain_lines};
pub(super) use rows::Rows;
pub(super) use table::Column;
pub(super) use words::{Paint, bytes, counted, duration, parse_time, span, time};
pub(super) use yaml::entry as yaml_entry;

/// Columns that indented JSON may fill before an object is broken into lines.
pub(super) const JSON_COLUMNS: usize = 80;

/// Where the values of a story begin.
const STORY_COLUMN: usize = 12;

/// Progress of a step that can take more than a second: a spinner on a terminal, plain lines elsewhere.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    /// Whether steps are told where there is no terminal.
    tells: bool,
    /// Shows the bar later, if it is still wanted then.
    waking: Option<tokio::task::JoinHandle<()>>,
}

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(100);
/// How long a request may take before it is worth a word.
const REQUEST_QUIET: Duration = Duration::from_millis(500);

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    match ProgressStyle::with_template("{spinner} {prefix} ({elapsed}) {wide_msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl Progress {
    /// Starts to show progress.
    #[must_use]
    pub(super) fn start() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = spinner();
            bar.enable_steady_tick(TICK);
            bar
        });
        Self {
            bar,
            tells: true,
            waking: None,
        }
    }

    /// Progress of a longer step that a script needs no word of: on a terminal only.
    #[must_use]
    pub(super) fn on_terminal(step: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = spinner().with_prefix(step.to_owned());
            bar.enable_steady_tick(TICK);
            bar
        });
        Self {
            bar,
            tells: false,
            waking: None,
        }
    }

    /// Progress of a request that is usually over at once: on a terminal only, and not before
    /// [`REQUEST_QUIET`] is over, so that nothing flickers. Needs the runtime of commands.
    #[must_use]
    pub(super) fn of_request(step: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self {
                bar: None,
                tells: false,
                waking: None,
            };
        }
        let bar = spinner().with_prefix(step.to_owned());
        let sleeping = bar.clone();
        let waking = tokio::spawn(async move {
            tokio::time::sleep(REQUEST_QUIET).await;
            sleeping.enable_steady_tick(TICK);
        });
        Self {
            bar: Some(bar),
            tells: false,
            waking: Some(waking),
        }
    }

    /// Begins a new step.
    pub(super) fn say(&self, step: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_prefix(step.to_owned());
                bar.set_message("");
            }
            None if self.tells => note(step),
            None => {}
        }
    }

    /// What a start tells goes here: a new step is said, and how far it is shown.
    #[must_use]
    pub(super) fn of_start(self: &Arc<Self>) -> edgebus_model::Progress {
        let (shown, last) = (self.clone(), Mutex::new(""));
        edgebus_model::Progress::new(move |step, detail| {
            // Held for a comparison; a teller that panicked took nothing along.
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if *last != step {
                *last = step;
                shown.say(step);
            }
            shown.detail(detail);
        })
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
        if let Some(waking) = &self.waking {
            waking.abort();
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    /// A command that fails leaves no spinner beside its words.
    fn drop(&mut self) {
        self.finish();
    }
}

/// How far something long is that the bus does: a bar on a terminal, nothing elsewhere.
pub(super) struct Bar(Option<ProgressBar>);

impl Bar {
    /// A bar of what is called so.
    #[must_use]
    pub(super) fn new(step: &str) -> Self {
        Self(std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0).with_prefix(step.to_owned());
            let style = ProgressStyle::with_template(
                "{spinner} {prefix} [{bar:24}] {pos}/{len} ({elapsed}) {wide_msg}",
            );
            let bar = match style {
                Ok(style) => bar.with_style(style.progress_chars("=> ")),
                Err(_) => bar,
            };
            bar.enable_steady_tick(TICK);
            bar
        }))
    }

    /// So much is done, of so much.
    pub(super) fn at(&self, done: u64, of: u64) {
        if let Some(bar) = &self.0 {
            bar.set_length(of.max(done));
            bar.set_position(done);
        }
    }

    /// What stands behind it.
    pub(super) fn detail(&self, text: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(text.to_owned());
        }
    }

    /// Ends it, leaving nothing on the screen.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    /// A command that fails leaves no bar beside its words.
    fn drop(&mut self) {
        self.finish();
    }
}

/// Prints a line on standard error.
pub(super) fn note(text: &str) {
    // A closed standard error is nothing that a command could report.
    let _ = writeln!(std::io::stderr(), "{}", plain::visible(text));
}

/// Prints a line on standard output; `false` if nobody reads it any more.
pub(super) fn print(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", plain::visible(text))
        .and_then(|()| out.flush())
        .is_ok()
}

/// Whether words may be coloured: on a terminal, and `NO_COLOR` not set.
#[must_use]
pub(super) fn coloured() -> bool {
    std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Resolves when nobody reads standard output any more, as behind `head -n 1`; never where that can't be
/// told before something is written.
async fn reader_gone() {
    // A copy, so that standard output itself stays as it is. Of a file there is nothing to wait for.
    let copy = std::io::stdout().as_fd().try_clone_to_owned();
    if let Ok(out) = copy.and_then(pipe::Sender::from_owned_fd_unchecked)
        && out.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Does `work`, whose output goes on without an end, as long as somebody reads it.
///
/// # Errors
/// Those of `work`.
pub(super) async fn while_read(
    work: impl Future<Output = Result<u8, Failure>>,
) -> Result<u8, Failure> {
    tokio::select! {
        ended = work => ended,
        () = reader_gone() => Ok(OK),
    }
}

/// Prints text on standard output as it is. A reader that went away ends the command quietly.
///
/// # Errors
/// A quiet failure when nobody reads any more; a loud one when the output can't be written.
pub(super) fn write(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(plain::visible(text).as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::quiet(),
            _ => Failure::new(format!("standard output can't be written: {error}")),
        })
}

/// The width of the terminal that standard output goes to, in columns; `None` elsewhere.
#[must_use]
pub(super) fn width() -> Option<u16> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    comfy_table::Table::new().width()
}

/// The width of the terminal that standard error goes to, in columns; `None` elsewhere.
#[must_use]
pub(super) fn error_width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
    Some(size.ws_col).filter(|columns| *columns > 0)
}

/// How to colour what goes to standard output.
#[must_use]
pub(super) fn paint() -> Paint {
    Paint { on: coloured() }
}

/// How data is printed: for people in columns or as a story, or as the API gives it, in JSON (a list is
/// one array), in JSON Lines as they come, in YAML.
// The variants have no words of their own: clap would print a paragraph for each in every help.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Format {
    #[default]
    Table,
    Json,
    Jsonl,
    Yaml,
}

/// The flag that chooses the format.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct Output {
    /// How to print: for people, or as the API gives it.
    #[arg(
        short = 'o',
        long = "output",
        value_enum,
        value_name = "FORMAT",
        default_value_t
    )]
    pub(super) format: Format,
}

/// Prints one thing that the API gave as JSON; `story` tells it to people.
///
/// # Errors
/// As [`write`].
pub(super) fn one(
    format: Format,
    json: &str,
    story: impl FnOnce() -> Result<String, Failure>,
) -> Result<(), Failure> {
    let mut text = match format {
        Format::Table => match width() {
            Some(width) => folded(&story()?, usize::from(width), STORY_COLUMN),
            None => story()?,
        },
        Format::Json => json::indented(json, JSON_COLUMNS),
        Format::Jsonl => json::compact(json),
        Format::Yaml => yaml::document(json)?,
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    write(&text)
}
