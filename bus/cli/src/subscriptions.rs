//! `edgebus subscriptions`: the lag and the policy of each rule's targets.

use edgebus_api::{SeekRequest, Subscription, SubscriptionList};

use super::connection::Connection;
use super::listing::{self, Unfiltered};
use super::output::{self, Column, Output, parse_time, plain, span, time};
use super::resource::{Named, Resource, or_dash};
use super::story::Facts;
use super::{Failure, OK, moment, rules};

/// Arguments of `subscriptions`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus subscriptions ls
  edgebus subscriptions get outside-bugs/triage
  edgebus subscriptions seek outside-bugs/triage --to 2h --dry-run")]
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
    /// Move a subscription back or forward: skip what is pending before a place, deliver again what is behind it.
    Seek(Seek),
}

#[derive(clap::Args, Debug)]
#[command(group = clap::ArgGroup::new("place").required(true), after_help = "Examples:
  edgebus subscriptions seek outside-bugs/triage --to 2h --dry-run
  edgebus subscriptions seek outside-bugs/triage --to-position 1042
  edgebus subscriptions seek outside-bugs/triage --to-end

What is pending before the place ends without another attempt, as `discarded`. What the subscription got from the place
on, and is no longer pending, is delivered again by a replay.")]
struct Seek {
    #[command(flatten)]
    connection: Connection,
    /// Its name; RULE/FUNCTION where the manifest gives none.
    #[arg(value_name = "NAME")]
    name: String,
    /// To the first event accepted at this time or later: RFC 3339, or how long ago, as in 2h.
    #[arg(long, value_name = "TIME", group = "place")]
    to: Option<moment::Moment>,
    /// To the event at this position.
    #[arg(long, value_name = "N", group = "place")]
    to_position: Option<u64>,
    /// To the oldest event.
    #[arg(long, group = "place")]
    to_start: bool,
    /// Behind the newest event.
    #[arg(long, group = "place")]
    to_end: bool,
    /// Count what it would do, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

async fn seek(arguments: Seek) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let to = SeekRequest {
        to: arguments.to.map(|time| time.rfc_3339(moment::now())),
        to_position: arguments.to_position,
        to_start: arguments.to_start,
        to_end: arguments.to_end,
    };
    let done = client.seek(&arguments.name, &to, arguments.dry_run).await?;
    let json = output::json::of(&done)?;
    output::one(arguments.output.format, &json, || Ok(sought(&done)))?;
    Ok(OK)
}

/// What a seek does, or would do.
fn sought(done: &edgebus_api::Seek) -> String {
    let name = plain(&done.subscription);
    if let (Some(skipped), Some(replayed)) = (done.skipped, done.replayed) {
        let more = match done.more {
            Some(true) => " at least; there was no time to count all",
            _ => "",
        };
        let mut out = format!(
            "{name} would go on at {}: {skipped} pending skipped, {replayed} delivered again{more}; nothing was changed\n",
            done.position
        );
        out.push_str(&earlier_words(done));
        return out;
    }
    let mut out = format!("{name} goes on at {}\n", done.position);
    for (job, what) in [
        (&done.skip, "skips what is pending before it"),
        (&done.replay, "delivers again what is behind it"),
    ] {
        if let Some(job) = job {
            let id = job.id;
            out.push_str(&format!(
                "job {id} {what}; see: edgebus jobs get {id} --wait\n"
            ));
        }
    }
    if done.skip.is_none() && done.replay.is_none() {
        out.push_str("nothing is pending before it, and nothing is behind it\n");
    }
    out.push_str(&earlier_words(done));
    out
}

/// The replays that a seek leaves alone.
fn earlier_words(done: &edgebus_api::Seek) -> String {
    let replays = done.earlier_replays.iter();
    let lines = replays.map(|id| {
        format!(
            "replay {id} goes on for it; to end it with what it has pending: edgebus jobs cancel {id} --discard-pending\n"
        )
    });
    lines.collect()
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    match arguments.command {
        Command::Ls(arguments) => SUBSCRIPTIONS.list(&arguments, NO_SUBSCRIPTIONS).await,
        Command::Get(arguments) => SUBSCRIPTIONS.get(&arguments, story).await,
        Command::Seek(arguments) => seek(arguments).await,
    }
}

/// Each rule with each of its targets.
#[rustfmt::skip]
const SUBSCRIPTIONS: &Resource<Subscription> = &Resource {
    noun: "subscription",
    member: "subscriptions",
    page: listing::page::<SubscriptionList<_>>,
    columns: &[
        (Column::number("ID"), |row| row.id.to_string()),
        (Column::whole("SUBSCRIPTION"), |row| row.name.clone()),
        (Column::words("BUS"), |row| row.bus.clone()),
        (Column::number("BEHIND"), |row| row.behind.to_string()),
        (Column::number("DEAD"), |row| row.dead.to_string()),
        (Column::whole("OLDEST PENDING").optional(), |row| or_dash(row.oldest_pending.clone())),
        (Column::whole("ACCEPTED").optional(), |row| or_dash(row.oldest_accepted_at.as_deref().map(time))),
        (Column::number("IN MEMORY").optional(), |row| row.in_memory.to_string()),
        (Column::note("STATE"), |row| state(row.active).to_owned()),
    ],
};

/// What to do when there is nothing.
const NO_SUBSCRIPTIONS: &str =
    "no subscriptions: each rule has one for each of its targets; see edgebus rules ls";

fn state(active: bool) -> &'static str {
    match active {
        true => "active",
        false => "draining",
    }
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
        None if subscription.pending + subscription.waiting > 0 => {
            facts.fact("lag", "none: nothing live is pending, but replays are");
        }
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
    let dead_letter = (
        subscription.dead_letter_ms,
        subscription.dead_letter_bus.as_deref(),
    );
    rules::policy(&mut facts, &subscription.retry, dead_letter);
    facts.end()
}
