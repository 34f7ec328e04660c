//! `edgebus replays`: delivers events of the log again.

pub(super) mod shadow;

use std::time::Duration;

use edgebus_api::{Job, JobState, ReplayCount, ReplayRequest};

use super::client::Client;
use super::connection::Connection;
use super::events::pattern_json;
use super::moment::{self, Moment};
use super::output::{self, Format, Output, counted, plain};
use super::{Failure, OK, jobs};

/// How long nothing may change before `--wait` no longer waits for what became of the deliveries.
const QUIET: Duration = Duration::from_secs(10);

/// Arguments of `replays`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus replays start --from 2h --dry-run
  edgebus replays start --from 2h --subscription orders/enricher --wait
  edgebus replays shadow --function enricher --component new.wasm --from 2h --wait
  edgebus jobs ls
  edgebus deliveries ls --replay 7 --stage dead")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Deliver events of the log again, as a job.
    Start(Box<Start>),
    /// Run functions again on what was delivered, without effects, and see what differs.
    Shadow(Box<shadow::Arguments>),
}

/// A border of a range: a position, or a time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Border {
    Position(u64),
    Time(Moment),
}

impl std::str::FromStr for Border {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(position) = text.parse() {
            return Ok(Self::Position(position));
        }
        let time = text.parse().map(Self::Time);
        time.map_err(|error| format!("write a position, as in 1042, or {error}"))
    }
}

impl Border {
    /// The position, or else the time, as requests have them.
    pub(super) fn parts(self) -> (Option<u64>, Option<String>) {
        match self {
            Self::Position(position) => (Some(position), None),
            Self::Time(time) => (None, Some(time.rfc_3339(moment::now()))),
        }
    }
}

/// Which events, and whose deliveries.
#[derive(clap::Args, Debug)]
struct Range {
    /// Begin with this event: a position, a time in RFC 3339, or how long ago, as in 2h. Without it the oldest.
    #[arg(long, value_name = "PLACE")]
    from: Option<Border>,
    /// End with this position, or before this time. Without it the newest event.
    #[arg(long, value_name = "PLACE")]
    to: Option<Border>,
    /// The bus.
    #[arg(long, value_name = "NAME")]
    bus: Option<String>,
    /// To the subscriptions of this rule alone; may be given several times.
    #[arg(long = "rule", value_name = "NAME")]
    rules: Vec<String>,
    /// To this subscription alone, by name or number; may be given several times.
    #[arg(long = "subscription", value_name = "NAME")]
    subscriptions: Vec<String>,
    /// Events of exactly this type alone.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Events alone that match this pattern: JSON, or @FILE.
    #[arg(long = "match", value_name = "PATTERN")]
    pattern: Option<String>,
}

impl Range {
    /// The same as the API has it, with times instead of durations.
    fn read(self) -> Result<ReplayRequest, Failure> {
        let (from, since) = self.from.map_or((None, None), Border::parts);
        let (to, until) = self.to.map_or((None, None), Border::parts);
        let pattern = self.pattern.as_deref();
        Ok(ReplayRequest {
            bus: self.bus,
            since,
            until,
            from,
            to,
            rules: named(self.rules),
            subscriptions: named(self.subscriptions),
            kind: self.kind,
            pattern: pattern.map(pattern_json).transpose()?,
            ..ReplayRequest::default()
        })
    }
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus replays start --from 2h --dry-run
  edgebus replays start --from 1042 --to 2000 --rule orders --wait
  edgebus replays start --name repair --type com.example.order.placed --rate 100

Deliveries of a replay have ids that end with -rN, N being its number. Their effects take place once for each event,
subscription and replay. Of one replay at most 1,000 are pending at a time, and live deliveries go first.
With --wait the exit code is 1 if one of them has died.")]
struct Start {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    range: Range,
    /// To those who got each event when it was accepted, instead of those whose rules match it now.
    #[arg(long)]
    as_matched: bool,
    /// Its name, which deliveries and emitted events carry; replay-N if it is left out.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Make so many deliveries a second at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=edgebus_api::RATE_MAX))]
    rate: Option<u64>,
    /// Count what it would deliver, and deliver nothing.
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Wait until all of its deliveries have ended, and tell how.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    match arguments.command {
        Command::Start(arguments) => start(*arguments).await,
        Command::Shadow(arguments) => shadow::run(*arguments).await,
    }
}

async fn start(arguments: Start) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let which = ReplayRequest {
        name: arguments.name,
        as_matched: arguments.as_matched,
        rate: arguments.rate,
        ..arguments.range.read()?
    };
    let format = arguments.output.format;
    if arguments.dry_run {
        let progress = output::Progress::of_request("looking at the log");
        let counted = client.count_replay(&which).await?;
        progress.finish();
        output::one(format, &output::json::of(&counted)?, || Ok(told(&counted)))?;
        return Ok(OK);
    }
    let job = client.replay(&which).await?;
    began(&client, job, arguments.wait, format).await
}

/// Tells of a job that has begun, or waits for its end and that of its deliveries.
pub(super) async fn began(
    client: &Client,
    job: Job,
    wait: bool,
    format: Format,
) -> Result<u8, Failure> {
    if !wait {
        match format {
            Format::Table => {
                output::print(&format!(
                    "job {} looks at {}; see: edgebus jobs get {} --wait",
                    job.id,
                    counted(job.of, "event", "events"),
                    job.id
                ));
            }
            _ => jobs::show(&job, format)?,
        }
        return Ok(OK);
    }
    let mut job = jobs::wait(client, job).await?;
    if job.state == JobState::Done {
        job = jobs::settled(client, job, QUIET).await?;
    }
    jobs::show(&job, format)?;
    Ok(jobs::ended_exit(&job))
}

/// The list, unless it is empty: an empty one would be for nobody.
fn named(list: Vec<String>) -> Option<Vec<String>> {
    Some(list).filter(|list| !list.is_empty())
}

/// What a dry run tells.
fn told(counts: &ReplayCount) -> String {
    let range = match counts.to < counts.from {
        true => "no events".to_owned(),
        false => format!("positions {} to {}", counts.from, counts.to),
    };
    let mut out = format!(
        "a replay would make {} of {} ({range} of bus {}); nothing was delivered\n",
        counted(counts.deliveries, "delivery", "deliveries"),
        counted(counts.events, "event", "events"),
        plain(&counts.bus)
    );
    for row in &counts.subscriptions {
        out.push_str(&format!(
            "  {:>8}  {}\n",
            row.deliveries,
            plain(&row.subscription)
        ));
    }
    if counts.skipped > 0 {
        let reasons = jobs::skips_words(&counts.skips);
        out.push_str(&format!("it would skip {}: {reasons}\n", counts.skipped));
    }
    if counts.more {
        out.push_str("there was no time to look at the whole range: it would be more\n");
    }
    out
}
