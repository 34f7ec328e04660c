//! `edgebus deliveries`: lists deliveries, and shows one with its history.

use clap::ValueEnum as _;
use edgebus_api::{Delivery, DeliveryPage, Rule, StoredEvent};

use super::client::{self, Client};
use super::connection::Connection;
use super::listing::{self, Listing, Paged};
use super::moment::{self, Moment};
use super::output::{self, Column, Format, Output, time};
use super::query::{Path, encoded};
use super::resource::{Resource, or_dash};
use super::story::Story;
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
    /// Of the replay of this number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    replay: Option<u32>,
}

impl DeliveryFilterArgs {
    /// The path with these filters.
    pub(super) fn on(&self, path: Path) -> Path {
        let since = self.since.map(|since| since.rfc_3339(moment::now()));
        let replay = self.replay.map(|number| number.to_string());
        path.with_some("subscription", self.subscription.as_deref())
            .with_some("function", self.function.as_deref())
            .with_some("rule", self.rule.as_deref())
            .with_some("since", since.as_deref())
            .with_some("replay", replay.as_deref())
    }

    /// True if some may be left out.
    pub(super) fn is_set(&self) -> bool {
        self.subscription.is_some()
            || self.function.is_some()
            || self.rule.is_some()
            || self.since.is_some()
            || self.replay.is_some()
    }
}

/// A stage of a delivery's life: still to be tried, ended in success, ended without, let go of.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Pending,
    Succeeded,
    Dead,
    Discarded,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus deliveries ls
  edgebus deliveries ls --stage succeeded --function triage --limit 10
  edgebus deliveries ls --stage dead --since 1h --all -o jsonl")]
struct List {
    #[command(flatten)]
    connection: Connection,
    /// Pending, succeeded, dead, or discarded by a job.
    #[arg(long, value_enum, default_value_t = Stage::Pending)]
    stage: Stage,
    #[command(flatten)]
    whose: DeliveryFilterArgs,
    #[command(flatten)]
    paged: Paged,
}

/// One event for one subscription.
#[rustfmt::skip]
const DELIVERIES: &Resource<Delivery> = &Resource {
    noun: "delivery",
    member: "deliveries",
    page: listing::page::<DeliveryPage<_>>,
    columns: &[
        (Column::whole("ID"), |row| row.id.clone()),
        (Column::whole("SUBSCRIPTION"), |row| row.subscription.clone()),
        (Column::whole("ACCEPTED").optional(), |row| time(&row.accepted_at)),
        (Column::number("ATTEMPTS"), |row| row.attempts_made.to_string()),
        (Column::whole("DUE").optional(), |row| or_dash(row.due_at.as_deref().map(time))),
        (Column::note("LAST OUTCOME"), last_outcome),
    ],
};

/// The last attempt's outcome with the first line of its message.
pub(super) fn last_outcome(row: &Delivery) -> String {
    let Some(last) = &row.last_attempt else {
        return or_dash(None);
    };
    let outcome = last.outcome.as_str();
    match last
        .message
        .as_deref()
        .and_then(|message| message.lines().next())
    {
        Some(message) => format!("{outcome}: {message}"),
        None => outcome.to_owned(),
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
            Stage::Discarded => {
                "no job discarded a delivery; what is pending: edgebus deliveries ls".to_owned()
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
        Format::Table => Some(around(&client, client::read(&answer)?).await),
        _ => None,
    };
    output::one(arguments.output.format, &delivery, || {
        let Some(around) = &around else {
            return Ok(String::new());
        };
        let story = Story {
            delivery: &around.delivery,
            event: around.stored.as_ref().map(|stored| &stored.event),
            erased: around
                .stored
                .as_ref()
                .and_then(|stored| stored.erased.as_ref()),
            rule: around.rule.as_ref(),
            now: moment::now(),
            full: arguments.full,
            paint: output::paint(),
        };
        Ok(story.tell())
    })?;
    Ok(OK)
}

/// What a story needs.
struct Around {
    delivery: Delivery,
    /// The event as the log has it, unless the delivery brings its own.
    stored: Option<StoredEvent>,
    /// The rule, if it is still active.
    rule: Option<Rule>,
}

async fn around(client: &Client, delivery: Delivery) -> Around {
    let mut stored = None;
    if let (None, Some(bus)) = (&delivery.event, &delivery.bus) {
        // A corrupt event must not hide what happened to it.
        match client.bus(bus).event(delivery.position).await {
            Ok(found) => stored = Some(found),
            Err(error) => output::note(&format!("note: {}", client::words(&error))),
        }
    }
    let mut rule = None;
    if let Some(name) = &delivery.rule {
        let found = client.rules().await.ok();
        let rules = found.into_iter().flat_map(|list| list.rules);
        rule = rules.into_iter().find(|rule: &Rule| rule.name == *name);
    }
    Around {
        delivery,
        stored,
        rule,
    }
}
