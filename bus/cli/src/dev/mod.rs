//! `edgebus dev`: builds, serves and watches a project, and prints the trace of each event.
//!
//! In reading order: `trees` is what is on disk, `watch` says when it may have changed, `project` builds and
//! finds what is to be applied; `nearest` and `story` are the words for events; `screen` and `keys` are the
//! terminal. An error of the project never ends `dev` and never changes what is active. A new configuration
//! is applied whole to the running bus, as with `PUT /v1/manifest`, or not at all.

mod keys;
mod nearest;
mod project;
mod screen;
mod story;
mod trees;
mod watch;

pub(super) use story::Story;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::output;
use super::serve::{Configuration, Serving, Signals, bind, init_logs};
use super::{Failure, OK};
use crate::program::ThisProgram;
use crate::settings;
use edgebus_engine::bus::Bus;
use edgebus_manifest::Change;
use edgebus_model::rule::DEFAULT_BUS;
use keys::Keys;
use project::{Found, Project};
use screen::Screen;

/// Free space on the disk below which publishes are refused, in bytes: less than on a server.
const FREE_BYTES_MIN: u64 = 64 << 20;

/// Arguments of `dev`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus init hello && cd hello && edgebus dev
  edgebus dev --ephemeral --listen 127.0.0.1:0        a new store on a free port, removed at the end
  edgebus dev --manifest samples/edgebus.yaml --no-build")]
pub(super) struct Arguments {
    /// The manifest; paths in it are relative to its folder.
    #[arg(
        long,
        env = "EDGEBUS_MANIFEST",
        value_name = "FILE",
        default_value = "edgebus.yaml"
    )]
    manifest: PathBuf,
    /// The folder of the store, created if it is missing. The default is `.edgebus/data` beside the manifest.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Keep the store in a temporary folder, and remove it at the end.
    #[arg(long, conflicts_with = "data")]
    ephemeral: bool,
    /// Where to listen; loopback only.
    #[arg(long, env = "EDGEBUS_LISTEN", value_name = "ADDR", default_value_t = settings::LISTEN)]
    listen: SocketAddr,
    /// A folder with a file for each secret; a secret without a file is taken from EDGEBUS_SECRET_<NAME>.
    #[arg(long, env = "EDGEBUS_SECRETS_DIR", value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// Build nothing; use components as they are, and again when they change.
    #[arg(long)]
    no_build: bool,
}

pub(super) async fn run(program: ThisProgram, arguments: Arguments) -> Result<u8, Failure> {
    init_logs("warn");
    if !arguments.manifest.is_file() {
        return Err(Failure::configuration(format!(
            "there is no manifest {}: name it with --manifest, or make a project with `edgebus init`",
            arguments.manifest.display()
        )));
    }
    // An address in use is reported at once, not after the build.
    drop(bind(arguments.listen).await?);
    let mut signals = Signals::install()?;
    let keys = Keys::read();
    let screen = Screen::default();
    let mut project = Project::new(
        &arguments.manifest,
        arguments.secrets.as_deref(),
        !arguments.no_build,
    );
    // Before the store is opened: a build takes longest, and if it is stopped there is nothing to clean up.
    let found = tokio::select! {
        found = project.look(&screen) => found,
        () = stop(&mut signals, &keys) => {
            screen.rest();
            return Ok(OK);
        }
    };
    let store = StoreFolder::of(&arguments)?;
    let settings = settings::Serve {
        data: store.path.clone(),
        create: true,
        listen: arguments.listen,
        manifest: None,
        secrets: arguments.secrets.clone(),
        free_bytes_min: Some(FREE_BYTES_MIN),
        ..settings::Serve::default()
    };
    let Some(mut serving) = Serving::start(program, &settings, stop(&mut signals, &keys)).await?
    else {
        return Ok(OK);
    };
    let bus = serving.running.bus.clone();
    let heard = bus.listen();
    let applied = match found {
        Found::New(configuration) => apply(&bus, &configuration, project.built_in).await,
        Found::Error(words) => Err(words),
        Found::Same => Ok("nothing is new".to_owned()),
    };
    output::print(&format!(
        "edgebus dev listens on http://{}",
        serving.address
    ));
    told(&screen, applied, &bus);
    introduce(&arguments, &project, serving.address, &store, &keys);
    // Events that came in meanwhile are shown only now, so that the address is the first line.
    let story = tokio::spawn(story::tell(bus.clone(), heard, screen.clone()));
    let stopped = {
        let work = work(&mut project, &bus, &screen);
        let ended = async {
            tokio::select! {
                () = work => {}
                () = stop(&mut signals, &keys) => {}
            }
        };
        serving.until(ended).await
    };
    screen.rest();
    stopped?;
    let finished = serving.finish(&mut signals).await;
    story.abort();
    finished
}

async fn stop(signals: &mut Signals, keys: &Keys) {
    tokio::select! {
        () = signals.stop_or_hangup() => {}
        () = keys.quit() => {}
    }
}

/// Looks again after each change; never ends.
async fn work(project: &mut Project, bus: &Bus, screen: &Screen) {
    loop {
        project.changed().await;
        let applied = match project.look(screen).await {
            Found::Same => continue,
            Found::Error(words) => Err(words),
            Found::New(configuration) => apply(bus, &configuration, project.built_in).await,
        };
        told(screen, applied, bus);
    }
}

/// Applies a configuration and says what changed, on one line; returns the error if the bus refuses it.
async fn apply(
    bus: &Bus,
    configuration: &Configuration,
    built_in: Option<Duration>,
) -> Result<String, String> {
    let plan = bus
        .apply_with_components(&configuration.text, &configuration.components, false)
        .await
        .map_err(|error| configuration.failure(&error).message)?;
    let built = built_in.map_or_else(String::new, |took| {
        format!(", built in {:.1} s", took.as_secs_f64())
    });
    let changes: Vec<String> = plan.changes.iter().map(Change::headline).collect();
    let changes = if changes.is_empty() {
        "nothing changed".to_owned()
    } else {
        changes.join(", ")
    };
    Ok(format!("active{built}: {changes}"))
}

/// Shows what was applied, or an error and what is still being served.
fn told(screen: &Screen, applied: Result<String, String>, bus: &Bus) {
    let words = match applied {
        Ok(line) => {
            let line = story::paint("36", &line);
            let width = output::error_width().map(usize::from);
            let fitted = width.map(|width| output::folded(&line, width, 0));
            return screen.note(fitted.as_deref().unwrap_or(&line));
        }
        Err(words) => words,
    };
    let goes_on = if bus.manifest().1 == 0 {
        "nothing is active yet; waiting for changes"
    } else {
        "still serving the last good version; waiting for changes"
    };
    screen.note(&format!(
        "{} {}\n{}",
        story::paint("31", "error:"),
        words.trim_end(),
        story::paint("33", goes_on)
    ));
}

/// What is served from where, and then what to try.
fn introduce(
    arguments: &Arguments,
    project: &Project,
    address: SocketAddr,
    store: &StoreFolder,
    keys: &Keys,
) {
    let summary = &project.summary;
    let program = super::shown_program();
    let count = |number: usize, what: &str| {
        format!("{number} {what}{}", if number == 1 { "" } else { "s" })
    };
    output::print(&format!(
        "  manifest   {} ({}, {})",
        arguments.manifest.display(),
        count(summary.functions, "function"),
        count(summary.rules, "rule")
    ));
    let kept = if arguments.ephemeral {
        " (removed at the end)"
    } else {
        ""
    };
    output::print(&format!("  store      {}{kept}", store.path.display()));
    if !summary.watched.is_empty() {
        output::print(&format!("  watching   {}", summary.watched.join(", ")));
    }
    let quit = if keys.are_read() { "q or " } else { "" };
    output::print(&format!(
        "  stop it with {quit}Ctrl-C; in another terminal, try:"
    ));
    let url = if address == settings::LISTEN {
        String::new()
    } else {
        format!(" --url http://{address}")
    };
    output::print(&match &summary.event {
        Some((file, bus)) => {
            let bus = if bus.as_str() == DEFAULT_BUS {
                String::new()
            } else {
                format!(" --bus {bus}")
            };
            format!(
                "  {program} publish{url}{bus} --file {} --new-id",
                shown(file)
            )
        }
        None => format!(
            "  {program} publish{url} --type com.example.hello --source /me --data '{{\"name\": \"Ada\"}}'"
        ),
    });
}

/// The path without a leading `./`.
fn shown(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

/// Where the store is; a temporary one is removed when dropped.
struct StoreFolder {
    path: PathBuf,
    ephemeral: bool,
}

impl StoreFolder {
    fn of(arguments: &Arguments) -> Result<Self, Failure> {
        if arguments.ephemeral {
            let name = format!("edgebus-dev-{:016x}", rand::random::<u64>());
            let path = std::env::temp_dir().join(name);
            return Ok(Self {
                path,
                ephemeral: true,
            });
        }
        let beside = arguments.manifest.with_file_name(".edgebus");
        let path = arguments
            .data
            .clone()
            .unwrap_or_else(|| beside.join("data"));
        let above = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(above)
            .map_err(|error| Failure::new(format!("{} can't be made: {error}", above.display())))?;
        Ok(Self {
            path,
            ephemeral: false,
        })
    }
}

impl Drop for StoreFolder {
    fn drop(&mut self) {
        if self.ephemeral {
            // What can't be removed stays in the folder for temporary files.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
