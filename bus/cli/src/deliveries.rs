//! `edgebus deliveries`: lists deliveries, and shows one with its history.

use clap::ValueEnum as _;
use serde_json::Value;

use super::client::Client;
use super::connection::Connection;
use super::listing::{Listing, Paged, text};
use super::moment::{self, Moment};
use super::output::{self, Column, Format, Output};
use super::query::{Path, encoded};
use super::resource::{Cell, Resource};
use super::rules::RULES;
use super::story::{self, Story};
use super::{Failure, OK};

/// Arguments of `deliveries`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus deliveries ls --stage dead --since 1h
  edgebus deliveries get 1-42")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List deliveries in one stage of their life, newest first.
    Ls(List),
    /// Tell one delivery: its event, its rule, each attempt, and what comes next.
    Get(Get),
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    match arguments.command {
        Command::Ls(arguments) => list(arguments).await,
        Command::Get(arguments) => {
            let path = format!("/v1/deliveries/{}", encoded(&arguments.id));
            tell(&arguments, &path).await
        }
    }
}

/// Whose deliveries.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct DeliveryFilterArgs {
    /// Of this subscription: its name, or its number.
    #[arg(long, value_name = "NAME")]
    subscription: Option<String>,
    /// To this function.
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Of this rule.
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Of events accepted at this time or later: RFC 3339, or how long ago, as in 15m.
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
}

impl DeliveryFilterArgs {
    /// The path with these filters.
    pub(super) fn on(&self, path: Path) -> Path {
        let since = self.since.map(|since| since.rfc_3339(moment::now()));
        path.with_some("subscription", self.subscription.as_deref())
            .with_some("function", self.function.as_deref())
            .with_some("rule", self.rule.as_deref())
            .with_some("since", since.as_deref())
    }

    /// True if some may be left out.
    pub(super) fn is_set(&self) -> bool {
        self.subscription.is_some()
            || self.function.is_some()
            || self.rule.is_some()
            || self.since.is_some()
    }
}

/// A stage of a delivery's life: still to be tried, ended in success, ended without.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Pending,
    Succeeded,
    Dead,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus deliveries ls
  edgebus deliveries ls --stage succeeded --function triage --limit 10
  edgebus deliveries ls --stage dead --since 1h --all -o jsonl")]
struct List {
    #[command(flatten)]
    connection: Connection,
    /// Pending, succeeded, or dead.
    #[arg(long, value_enum, default_value_t = Stage::Pending)]
    stage: Stage,
    #[command(flatten)]
    whose: DeliveryFilterArgs,
    #[command(flatten)]
    paged: Paged,
}

/// One event for one subscription.
#[rustfmt::skip]
const DELIVERIES: &Resource = &Resource {
    noun: "delivery",
    member: "deliveries",
    columns: &[
        (Column::whole("ID"), Cell::Text("/id")),
        (Column::whole("SUBSCRIPTION"), Cell::Text("/subscription")),
        (Column::whole("ACCEPTED").optional(), Cell::Time("/accepted_at")),
        (Column::number("ATTEMPTS"), Cell::Text("/attempts_made")),
        (Column::whole("DUE").optional(), Cell::Time("/due_at")),
        (Column::note("LAST OUTCOME"), Cell::Made(last_outcome)),
    ],
};

/// The last attempt's outcome with the first line of its message.
pub(super) fn last_outcome(row: &Value) -> String {
    let outcome = text(row, "/last_attempt/outcome");
    let message = row
        .pointer("/last_attempt/message")
        .and_then(Value::as_str)
        .and_then(|message| message.lines().next());
    match message {
        Some(message) => format!("{outcome}: {message}"),
        None => outcome,
    }
}

async fn list(arguments: List) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let stage = arguments
        .stage
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned());
    let listing = Listing {
        path: arguments
            .whose
            .on(Path::new("/v1/deliveries").with("stage", &stage)),
        resource: DELIVERIES,
        pages: arguments.paged.pages(),
        empty: match arguments.stage {
            _ if arguments.whose.is_set() => {
                format!("no such deliveries; all of them: edgebus deliveries ls --stage {stage}")
            }
            Stage::Pending => {
                "nothing is pending; what ended: edgebus deliveries ls --stage succeeded".to_owned()
            }
            Stage::Succeeded => {
                "no such deliveries; what is pending: edgebus deliveries ls".to_owned()
            }
            Stage::Dead => {
                "no such dead letters; what is pending: edgebus deliveries ls".to_owned()
            }
        },
    };
    arguments.paged.run(&client, &listing).await
}

/// Arguments of `deliveries get` and `dead-letters get`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus deliveries get 1-42
  edgebus deliveries get 1-42 -o json")]
pub(super) struct Get {
    #[command(flatten)]
    connection: Connection,
    /// Its id, as in 1-42.
    #[arg(value_name = "ID")]
    id: String,
    /// Tell each attempt, also where it is the same as the one before, and each frame of a backtrace.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    output: Output,
}

impl Get {
    /// The delivery's id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

/// Fetches a delivery and tells it.
///
/// # Errors
/// The bus refuses, or the output can't be written.
pub(super) async fn tell(arguments: &Get, path: &str) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let answer = client.get(path).await?;
    let delivery = String::from_utf8_lossy(&answer).into_owned();
    let around = match arguments.output.format {
        Format::Table => around(&client, &delivery).await?,
        _ => Around::default(),
    };
    output::one(arguments.output.format, &delivery, || {
        let story = Story {
            delivery: &delivery,
            event: around.event.as_deref(),
            rule: around.rule.as_deref(),
            now: moment::now(),
            full: arguments.full,
            paint: output::paint(),
        };
        story.tell()
    })?;
    Ok(OK)
}

/// What a story needs beside the delivery.
#[derive(Default)]
struct Around {
    /// The event as the log has it, unless the delivery brings its own.
    event: Option<String>,
    /// The rule, if it is still active.
    rule: Option<String>,
}

async fn around(client: &Client, delivery: &str) -> Result<Around, Failure> {
    let row = output::parse(delivery)?;
    let mut around = Around::default();
    let (bus, position) = (text(&row, "/bus"), text(&row, "/position"));
    if row.get("event").is_none() && row.get("bus").is_some() {
        let path = format!("/v1/buses/{}/events/{position}", encoded(&bus));
        // A corrupt event must not hide what happened to it.
        match client.get(&path).await {
            Ok(answer) => {
                around.event = Some(story::event_of(&String::from_utf8_lossy(&answer))?);
            }
            Err(error) => output::note(&format!("note: {error}")),
        }
    }
    if let Some(rule) = row.get("rule").and_then(Value::as_str) {
        let found = RULES.find(client, rule).await;
        around.rule = found.ok().flatten();
    }
    Ok(around)
}
