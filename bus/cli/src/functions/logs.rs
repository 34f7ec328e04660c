//! `edgebus functions logs`: what a function wrote, attempt by attempt, newest last, and then live.
//!
//! History comes from the deliveries, the live part from their stream, which keeps nothing: whenever the
//! stream is opened, the history is read behind it, and an attempt that was told already is passed over.

use std::collections::{HashSet, VecDeque};

use serde_json::{Value, json};

use crate::client::Client;
use crate::connection::Connection;
use crate::listing::{self, text};
use crate::output::{self, Format, Output, Paint};
use crate::query::Path;
use crate::sse::{Following, StreamItem};
use crate::{Failure, OK, story};

/// Deliveries that the history is made of at most.
const DELIVERIES_MAX: u64 = 200;
/// Attempts that are remembered as told.
const TOLD_MAX: usize = 10_000;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus functions logs triage
  edgebus functions logs triage -f --outcome trap
  edgebus functions logs triage -n 100 -o jsonl")]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// The function's name.
    #[arg(value_name = "NAME")]
    name: String,
    /// Go on with the attempts that end, until it is stopped with Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    /// How many ended attempts to begin with, of the newest 200 deliveries.
    #[arg(long = "lines", short = 'n', value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(..=1_000))]
    count: u64,
    /// Only attempts that ended so.
    #[arg(long, value_name = "OUTCOME", value_parser = OUTCOMES)]
    outcome: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// The classes of outcomes.
const OUTCOMES: [&str; 9] = [
    "success", "retry", "reject", "trap", "timeout", "memory", "limit", "conflict", "host",
];

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let mut logs = Logs {
        arguments: &arguments,
        paint: output::paint(),
        told: HashSet::new(),
        order: VecDeque::new(),
    };
    if !arguments.follow {
        let shown = logs.history(&client, arguments.count).await?;
        if shown == 0 {
            output::note(&format!(
                "no such attempts of `{}`; what is deployed: edgebus functions ls; what is pending: edgebus deliveries ls",
                output::plain(&arguments.name)
            ));
        }
        return Ok(OK);
    }
    let path = Path::new("/v1/deliveries/stream")
        .with("function", &arguments.name)
        .with("output", "true");
    let mut following = Following::new(&client, path.text());
    let mut count = arguments.count;
    output::while_read(async {
        loop {
            match following.next().await? {
                StreamItem::Opened => {
                    logs.history(&client, count).await?;
                    // What ended while the stream was lost is told when it is back.
                    count = u64::MAX;
                }
                StreamItem::Message(message) => logs.live(&message)?,
            }
        }
    })
    .await
}

struct Logs<'a> {
    arguments: &'a Arguments,
    paint: Paint,
    /// Which attempts were told, by delivery and number.
    told: HashSet<(String, u64)>,
    /// The same, oldest first.
    order: VecDeque<(String, u64)>,
}

impl Logs<'_> {
    /// Tells the newest `count` attempts that were not told yet; how many those were.
    async fn history(&mut self, client: &Client, count: u64) -> Result<usize, Failure> {
        let path = Path::new("/v1/deliveries")
            .with("function", &self.arguments.name)
            .with("last", &DELIVERIES_MAX.to_string())
            .with("output", "true");
        let progress = output::Progress::of_request("reading");
        let answer = client.get(path.text()).await?;
        progress.finish();
        let page = listing::page(&answer, "deliveries")?;
        let mut ended = Vec::new();
        for row in &page.rows {
            let delivery = output::parse(row.get())?;
            let attempts = delivery.get("attempts").and_then(Value::as_array);
            for attempt in attempts.into_iter().flatten() {
                let attempt = of_history(&delivery, attempt);
                if self.wants(&attempt) {
                    ended.push(attempt);
                }
            }
        }
        ended.sort_by_key(|attempt| text(attempt, "/started_at"));
        let first = ended
            .len()
            .saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
        // Those before the first one are not wanted later either.
        for attempt in &ended[..first] {
            self.is_new(attempt);
        }
        let mut shown = 0;
        for attempt in &ended[first..] {
            if self.is_new(attempt) {
                self.print(attempt)?;
                shown += 1;
            }
        }
        Ok(shown)
    }

    fn live(&mut self, message: &str) -> Result<(), Failure> {
        let attempt = output::parse(message)?;
        if self.wants(&attempt) && self.is_new(&attempt) {
            self.print(&attempt)?;
        }
        Ok(())
    }

    fn wants(&self, attempt: &Value) -> bool {
        let wanted = self.arguments.outcome.as_deref();
        wanted.is_none_or(|wanted| text(attempt, "/outcome") == wanted)
    }

    /// Whether an attempt was not told yet; from now on it was.
    fn is_new(&mut self, attempt: &Value) -> bool {
        let number = attempt.get("attempt").and_then(Value::as_u64).unwrap_or(0);
        let key = (text(attempt, "/id"), number);
        if !self.told.insert(key.clone()) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > TOLD_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.told.remove(&oldest);
        }
        true
    }

    fn print(&self, attempt: &Value) -> Result<(), Failure> {
        let json = attempt.to_string();
        output::write(&match self.arguments.output.format {
            Format::Table => story::log_lines(attempt, self.paint),
            Format::Jsonl => output::json::compact(&json) + "\n",
            Format::Json => output::json::indented(&json, output::JSON_COLUMNS) + "\n",
            Format::Yaml => output::yaml_entry(&json)?,
        })
    }
}

/// An attempt of a delivery in the shape of the live stream's.
fn of_history(delivery: &Value, attempt: &Value) -> Value {
    let mut row = json!({
        "attempt": attempt.get("number"),
    });
    for name in ["id", "bus", "position", "rule", "function"] {
        row[name] = delivery.get(name).cloned().unwrap_or(Value::Null);
    }
    for name in ["started_at", "outcome", "message", "duration_us", "output"] {
        if let Some(value) = attempt.get(name) {
            row[name] = value.clone();
        }
    }
    row
}
