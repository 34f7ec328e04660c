//! `edgebus subscriptions`: the lag and the policy of each rule's targets.

use edgebus_api::Subscription;
use serde_json::Value;

use super::connection::Connection;
use super::listing::{self, Listing, Pages, Unfiltered, text};
use super::output::{self, Column, Output, parse_time, plain, span, time};
use super::query::Path;
use super::story::Facts;
use super::{Failure, OK, client, moment, rules};

/// Arguments of `subscriptions`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus subscriptions ls
  edgebus subscriptions get outside-bugs/triage")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List subscriptions with their lag.
    #[command(after_help = "Examples:
  edgebus subscriptions ls
  edgebus subscriptions ls -o json

BEHIND counts the bus's events from the oldest pending delivery to the newest.")]
    Ls(Unfiltered),
    /// Show one subscription: its lag, its oldest pending delivery, its policy.
    Get(Get),
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    match arguments.command {
        Command::Ls(arguments) => list(arguments).await,
        Command::Get(arguments) => get(arguments).await,
    }
}

const COLUMNS: &[Column] = &[
    Column::number("ID"),
    Column::whole("SUBSCRIPTION"),
    Column::words("BUS"),
    Column::number("BEHIND"),
    Column::number("DEAD"),
    Column::whole("OLDEST PENDING").optional(),
    Column::whole("ACCEPTED").optional(),
    Column::number("IN MEMORY").optional(),
    Column::note("STATE"),
];

fn cells(row: &Value) -> Vec<String> {
    vec![
        text(row, "/id"),
        text(row, "/name"),
        text(row, "/bus"),
        text(row, "/behind"),
        text(row, "/dead"),
        text(row, "/oldest_pending"),
        listing::time(row, "/oldest_accepted_at"),
        text(row, "/in_memory"),
        state(row.get("active") != Some(&Value::Bool(false))).to_owned(),
    ]
}

fn state(active: bool) -> &'static str {
    match active {
        true => "active",
        false => "draining",
    }
}

async fn list(arguments: Unfiltered) -> Result<u8, Failure> {
    let listing = Listing {
        path: Path::new("/v1/subscriptions"),
        member: "subscriptions",
        pages: Pages::Whole("name"),
        columns: COLUMNS,
        cells,
        empty: "no subscriptions: each rule has one for each of its targets; see edgebus rules ls"
            .to_owned(),
    };
    arguments.run(&listing).await
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus subscriptions get outside-bugs/triage
  edgebus subscriptions get outside-bugs/triage -o yaml")]
struct Get {
    #[command(flatten)]
    connection: Connection,
    /// Its name; RULE/FUNCTION where the manifest gives none.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    output: Output,
}

async fn get(arguments: Get) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let name = plain(&arguments.name);
    let hint = format!("subscription `{name}`; edgebus subscriptions ls lists them");
    let row = listing::find(&client, "subscriptions", "name", &arguments.name, &hint).await?;
    output::one(arguments.output.format, &row, || {
        Ok(story(&client::read(row.as_bytes())?))
    })?;
    Ok(OK)
}

fn story(subscription: &Subscription) -> String {
    let paint = output::paint();
    let mut facts = Facts::new(paint);
    let name = paint.strong(&plain(&subscription.name));
    let bus = plain(&subscription.bus);
    facts.title(
        "Subscription",
        &format!(" {name}, number {} on bus {bus}", subscription.id),
    );
    facts.fact("state", state(subscription.active));
    match &subscription.oldest_pending {
        None => facts.fact("lag", "none: nothing is pending"),
        Some(oldest) => {
            let oldest = plain(oldest);
            let accepted_at = subscription.oldest_accepted_at.as_deref().unwrap_or("-");
            let age = parse_time(accepted_at).map_or(0, |then| moment::now().ms_since(then));
            facts.fact(
                "lag",
                &format!("{}, {} events", span(age), subscription.behind),
            );
            facts.fact(
                "oldest",
                &format!("{oldest}, accepted {}", time(accepted_at)),
            );
            facts.fact(
                "",
                &paint.faint(&format!("edgebus deliveries get {oldest}")),
            );
        }
    }
    facts.fact(
        "pending",
        &format!(
            "{} pending, {} waiting for a due time",
            subscription.pending, subscription.waiting
        ),
    );
    facts.fact("dead", &subscription.dead.to_string());
    let situation = plain(subscription.situation.as_str());
    let reason = plain(&subscription.reason);
    facts.fact("situation", &format!("{situation}: {reason}"));
    facts.fact("in memory", &subscription.in_memory.to_string());
    rules::policy(&mut facts, &subscription.retry, subscription.dead_letter_ms);
    facts.end()
}
