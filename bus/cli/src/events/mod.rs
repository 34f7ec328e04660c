//! `edgebus events`: lists, follows, exports, explains and erases events.

mod erase;
mod explain;
mod export;
mod get;
mod tail;
mod which;

use std::path::Path as File;

use edgebus_api::{EventPage, EventStreamQuery, StoredEvent};
use serde_json::value::RawValue;

use super::Failure;
use super::connection::Connection;
use super::listing::{self, Listing, Paged};
use super::moment::{self, Moment};
use super::output::{self, Column, time};
use super::query::{Path, encoded};
use super::resource::{Resource, or_dash};

pub(super) use export::Out;

/// Arguments of `events`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus events ls --since 15m
  edgebus events tail -f --type com.example.order.placed
  edgebus events explain order-4711
  edgebus events export --file events.jsonl")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List events, newest first.
    Ls(List),
    /// Show one event and what became of it.
    Get(get::Arguments),
    /// Say which rules match one event, and why.
    Explain(explain::Arguments),
    /// Show the newest events, and follow.
    Tail(tail::Arguments),
    /// Write events as JSON Lines that `edgebus publish --file` takes back.
    Export(export::Arguments),
    /// Erase the data of events, for good: those of one subject, or that a pattern matches.
    Erase(erase::Arguments),
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    match arguments.command {
        Command::Ls(arguments) => list(arguments).await,
        Command::Get(arguments) => get::run(arguments).await,
        Command::Explain(arguments) => explain::run(arguments).await,
        Command::Tail(arguments) => tail::run(arguments).await,
        Command::Export(arguments) => export::run(arguments).await,
        Command::Erase(arguments) => erase::run(arguments).await,
    }
}

/// Which events of which bus.
#[derive(clap::Args, Clone, Debug)]
struct Wanted {
    /// The bus.
    #[arg(long, value_name = "BUS", default_value = edgebus_model::rule::DEFAULT_BUS)]
    bus: String,
    #[command(flatten)]
    filter: Filter,
}

impl Wanted {
    /// The path of the bus's log, with the filters.
    fn path(&self) -> Result<Path, Failure> {
        Ok(self.filter.read()?.on(log_path(&self.bus, "")))
    }
}

/// Which events of a log.
#[derive(clap::Args, Clone, Debug)]
struct Filter {
    /// Only events of this type.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only events that this pattern matches: JSON, or @FILE.
    #[arg(long = "match", value_name = "PATTERN")]
    pattern: Option<String>,
}

impl Filter {
    fn is_set(&self) -> bool {
        self.kind.is_some() || self.pattern.is_some()
    }

    /// The same with the text of the pattern. Standard input can be read only once.
    fn read(&self) -> Result<Self, Failure> {
        let pattern = self.pattern.as_deref().map(pattern_text).transpose()?;
        Ok(Self {
            kind: self.kind.clone(),
            pattern: pattern.map(|pattern| pattern.trim().to_owned()),
        })
    }

    /// A path with these filters.
    fn on(&self, path: Path) -> Path {
        path.with_some("type", self.kind.as_deref())
            .with_some("match", self.pattern.as_deref())
    }

    /// The query of a stream with these filters.
    fn stream(&self, after: Option<u64>) -> EventStreamQuery {
        EventStreamQuery {
            after,
            kind: self.kind.clone(),
            pattern: self.pattern.clone(),
        }
    }
}

/// A pattern as it is typed: JSON, or @FILE.
///
/// # Errors
/// The file can't be read, or it is no JSON.
pub(super) fn pattern_json(typed: &str) -> Result<Box<RawValue>, Failure> {
    let text = pattern_text(typed)?.trim().to_owned();
    RawValue::from_string(text)
        .map_err(|error| Failure::usage(format!("the pattern of --match is no JSON: {error}")))
}

/// The text of a pattern as it is typed: itself, or @FILE.
///
/// # Errors
/// The file can't be read.
pub(super) fn pattern_text(typed: &str) -> Result<String, Failure> {
    match typed.strip_prefix('@') {
        None => Ok(typed.to_owned()),
        Some("-") => std::io::read_to_string(std::io::stdin()).map_err(|error| {
            Failure::usage(format!(
                "the pattern on standard input can't be read: {error}"
            ))
        }),
        Some(file) => std::fs::read_to_string(file).map_err(|error| {
            Failure::usage(format!(
                "the pattern in {} can't be read: {error}",
                File::new(file).display()
            ))
        }),
    }
}

/// A path below a bus's events.
fn log_path(bus: &str, below: &str) -> Path {
    Path::new(format!("/v1/buses/{}/events{below}", encoded(bus)))
}

/// When they were accepted.
#[derive(clap::Args, Clone, Debug)]
struct Between {
    /// Only events accepted at this time or later: RFC 3339, or how long ago, as in 15m.
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Only events accepted before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
}

impl Between {
    fn is_set(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    fn on(&self, path: Path) -> Path {
        let now = moment::now();
        let shown = |moment: Option<Moment>| moment.map(|moment| moment.rfc_3339(now));
        path.with_some("since", shown(self.since).as_deref())
            .with_some("until", shown(self.until).as_deref())
    }
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus events ls --since 15m
  edgebus events ls --type com.example.order.placed --all -o jsonl
  edgebus events ls --oldest-first --after 41
  edgebus events ls --match '{\"data\": {\"total\": [{\"numeric\": [\">\", 100]}]}}'")]
struct List {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    between: Between,
    #[command(flatten)]
    paged: Paged,
}

/// A bus's log.
#[rustfmt::skip]
const EVENTS: &Resource<StoredEvent> = &Resource {
    noun: "event",
    member: "events",
    page: listing::page::<EventPage<_>>,
    columns: &[
        (Column::number("POSITION"), |row| row.position.to_string()),
        (Column::whole("ACCEPTED"), |row| time(&row.accepted_at)),
        (Column::whole("TYPE"), |row| row.event.kind.clone()),
        (Column::words("SOURCE"), |row| row.event.source.clone()),
        (Column::words("SUBJECT").optional(), subject),
        (Column::words("ID").optional(), |row| row.event.id.clone()),
    ],
};

/// What an event is about, or which job erased that.
fn subject(row: &StoredEvent) -> String {
    match &row.erased {
        Some(erased) => format!("[erased by job {}]", erased.job),
        None => or_dash(row.event.subject.clone()),
    }
}

async fn list(arguments: List) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let listing = Listing {
        path: arguments.between.on(arguments.wanted.path()?),
        resource: EVENTS,
        pages: arguments.paged.pages(),
        empty: nothing(
            &arguments.wanted.bus,
            &arguments.wanted.filter,
            arguments.between.is_set(),
        ),
    };
    arguments.paged.run(&client, &listing).await
}

/// What to say where no event is found.
fn nothing(bus: &str, filter: &Filter, between: bool) -> String {
    let bus = output::plain(bus);
    if between || filter.is_set() {
        return format!(
            "no event on bus `{bus}` matches; to list all events: edgebus events ls --bus {bus}"
        );
    }
    format!(
        "no events on bus `{bus}`; publish one: edgebus publish --bus {bus} --type com.example.test --source /me --data '{{}}'"
    )
}
