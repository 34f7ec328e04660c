//! `edgebus events erase`: replaces the data of events by a mark, for good.

use edgebus_api::{ErasureCount, ErasureRequest, JobState};

use super::pattern_json;
use crate::connection::Connection;
use crate::output::{self, Format, Output, counted, plain};
use crate::replays::Border;
use crate::{Failure, OK, jobs};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus events erase --subject customer-17 --dry-run
  edgebus events erase --subject customer-17 --wait
  edgebus events erase --match '{\"data\": {\"email\": [\"kenji@example.com\"]}}' --bus audit
  edgebus events erase --subject customer-17 --from 30d --to 1h

Of an erased event id, source, type and time are left, and its position. Data, subject and
extensions go, also in dead letters, and so does what the attempts of its deliveries wrote. What is
pending of it ends. Nothing brings it back. What functions keep in their state and the events that
they emitted are not erased. The store's file holds what was erased in free space until
`edgebus compact` has run.")]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Events with exactly this subject.
    #[arg(long, value_name = "SUBJECT", required_unless_present = "pattern")]
    subject: Option<String>,
    /// Events that match this pattern: JSON, or @FILE. With --subject both must hold.
    #[arg(long = "match", value_name = "PATTERN")]
    pattern: Option<String>,
    /// The bus.
    #[arg(long, value_name = "BUS", default_value = edgebus_model::rule::DEFAULT_BUS)]
    bus: String,
    /// Begin with this event: a position, a time in RFC 3339, or how long ago, as in 2h. Without it the first one.
    #[arg(long, value_name = "PLACE")]
    from: Option<Border>,
    /// End with this position, or before this time. Without it the newest event.
    #[arg(long, value_name = "PLACE")]
    to: Option<Border>,
    /// Erase so many events and dead letters a second at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=edgebus_api::RATE_MAX))]
    rate: Option<u64>,
    /// Count what it would erase, and erase nothing.
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Return when the job has ended, and tell what it has erased.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let (from, since) = arguments.from.map_or((None, None), Border::parts);
    let (to, until) = arguments.to.map_or((None, None), Border::parts);
    let pattern = arguments.pattern.as_deref();
    let which = ErasureRequest {
        bus: Some(arguments.bus),
        subject: arguments.subject,
        pattern: pattern.map(pattern_json).transpose()?,
        since,
        until,
        from,
        to,
        rate: arguments.rate,
    };
    let format = arguments.output.format;
    if arguments.dry_run {
        let progress = output::Progress::of_request("looking at the log");
        let counts = client.count_erasure(&which).await?;
        progress.finish();
        output::one(format, &output::json::of(&counts)?, || Ok(told(&counts)))?;
        return Ok(OK);
    }
    let mut job = client.erase(&which).await?;
    if arguments.wait {
        job = jobs::wait(&client, job).await?;
    }
    match format {
        Format::Table if job.state == JobState::Running => {
            let rows = counted(job.of, "event and dead letter", "events and dead letters");
            let id = job.id;
            output::print(&format!(
                "job {id} looks at {rows}; see: edgebus jobs get {id} --wait"
            ));
        }
        _ => jobs::show(&job, format)?,
    }
    Ok(jobs::exit(&job))
}

/// What a dry run tells.
fn told(counts: &ErasureCount) -> String {
    let range = match counts.to < counts.from {
        true => "no events".to_owned(),
        false => format!("positions {} to {}", counts.from, counts.to),
    };
    let mut out = format!(
        "it would erase {} and {} ({range} of bus {}); nothing was erased\n",
        counted(counts.events, "event", "events"),
        counted(counts.dead_letters, "dead letter", "dead letters"),
        plain(&counts.bus)
    );
    if counts.more {
        out.push_str("there was no time to look at everything: it may be more\n");
    }
    out
}
