//! `edgebus subscriptions`: the lag and the policy of each rule's targets.

use serde_json::Value;

use super::listing::{Unfiltered, text};
use super::output::{self, Column, parse_time, plain, span, time};
use super::resource::{Cell, Named, Resource};
use super::story::Facts;
use super::{Failure, moment, rules};

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
    #[command(
        mut_arg("name", |name| name.help("Its name; RULE/FUNCTION where the manifest gives none")),
        after_help = "Examples:
  edgebus subscriptions get outside-bugs/triage
  edgebus subscriptions get outside-bugs/triage -o yaml"
    )]
    Get(Named),
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    match arguments.command {
        Command::Ls(arguments) => SUBSCRIPTIONS.list(&arguments, NO_SUBSCRIPTIONS).await,
        Command::Get(arguments) => SUBSCRIPTIONS.get(&arguments, story).await,
    }
}

/// Each rule with each of its targets.
#[rustfmt::skip]
const SUBSCRIPTIONS: &Resource = &Resource {
    noun: "subscription",
    member: "subscriptions",
    columns: &[
        (Column::number("ID"), Cell::Text("/id")),
        (Column::whole("SUBSCRIPTION"), Cell::Text("/name")),
        (Column::words("BUS"), Cell::Text("/bus")),
        (Column::number("BEHIND"), Cell::Text("/behind")),
        (Column::number("DEAD"), Cell::Text("/dead")),
        (Column::whole("OLDEST PENDING").optional(), Cell::Text("/oldest_pending")),
        (Column::whole("ACCEPTED").optional(), Cell::Time("/oldest_accepted_at")),
        (Column::number("IN MEMORY").optional(), Cell::Text("/in_memory")),
        (Column::note("STATE"), Cell::Made(|row| state(row).to_owned())),
    ],
};

/// What to do when there is nothing.
const NO_SUBSCRIPTIONS: &str =
    "no subscriptions: each rule has one for each of its targets; see edgebus rules ls";

fn state(row: &Value) -> &'static str {
    match row.get("active") {
        Some(Value::Bool(false)) => "draining",
        _ => "active",
    }
}

fn story(row: &str) -> Result<String, Failure> {
    let row = &output::parse(row)?;
    let paint = output::paint();
    let mut facts = Facts::new(paint);
    let name = paint.strong(&plain(&text(row, "/name")));
    let bus = plain(&text(row, "/bus")).into_owned();
    facts.title(
        "Subscription",
        &format!(" {name}, number {} on bus {bus}", text(row, "/id")),
    );
    facts.fact("state", state(row));
    match row.get("oldest_pending").and_then(Value::as_str) {
        None => facts.fact("lag", "none: nothing is pending"),
        Some(oldest) => {
            let accepted_at = text(row, "/oldest_accepted_at");
            let age = parse_time(&accepted_at).map_or(0, |then| moment::now().ms_since(then));
            facts.fact(
                "lag",
                &format!("{}, {} events", span(age), text(row, "/behind")),
            );
            facts.fact(
                "oldest",
                &format!("{oldest}, accepted {}", time(&accepted_at)),
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
            text(row, "/pending"),
            text(row, "/waiting")
        ),
    );
    facts.fact("dead", &text(row, "/dead"));
    facts.fact(
        "situation",
        &format!("{}: {}", text(row, "/situation"), text(row, "/reason")),
    );
    facts.fact("in memory", &text(row, "/in_memory"));
    rules::policy(&mut facts, row);
    Ok(facts.end())
}
