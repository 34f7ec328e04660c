//! `edgebus functions logs`: what a function wrote, attempt by attempt, newest last, and then live.
//!
//! History comes from the deliveries, the live part from their stream. The stream keeps nothing, so the
//! history is read each time after it was opened. An attempt that was printed before is skipped.

use std::collections::{HashSet, VecDeque};

use edgebus_api::{
    Attempt, AttemptEnded, Delivery, DeliveryFilter, DeliveryQuery, DeliveryStreamQuery, Outcome,
    Stage,
};
use serde_json::json;

use crate::client::{self, Client};
use crate::connection::Connection;
use crate::follow::{self, StreamItem};
use crate::moment::{self, Moment};
use crate::output::{self, Format, Output, Paint};
use crate::{Failure, OK, story};
use edgebus_model::Timestamp;

/// Deliveries that are asked for at once. Without `--since` the history is made of so many.
const DELIVERIES_MAX: u64 = 200;
/// Attempts of the history at most.
const ATTEMPTS_MAX: usize = 10_000;
/// Bytes of these at most.
const HISTORY_BYTES_MAX: usize = 64 << 20;
/// How long before `--since` the events were accepted whose attempts are looked for, in milliseconds.
const EARLIER_MS: u64 = 60_000;
/// Attempts that are shown first if neither `--lines` nor `--since` is given.
const LINES_DEFAULT: u64 = 20;
/// Printed attempts that are remembered.
const TOLD_MAX: usize = 10_000;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus functions logs triage
  edgebus functions logs triage -f --outcome trap
  edgebus functions logs triage --since 2h30m
  edgebus functions logs triage -n 100 -o jsonl

--since finds all attempts for events that were accepted since then. For earlier events it reads the
newest 200 pending deliveries and the newest 200 dead letters of the function.")]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// The function's name.
    #[arg(value_name = "NAME")]
    name: String,
    /// Continue with new attempts, until stopped with Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    /// Only attempts that started at this time or later: RFC 3339, or how long ago, as in 15m.
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// How many ended attempts to begin with. The default is all with --since; else 20 of the newest 200 deliveries.
    #[arg(long = "lines", short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(..=1_000))]
    count: Option<u64>,
    /// Only attempts that ended so.
    #[arg(long, value_name = "OUTCOME", value_parser = clap::builder::PossibleValuesParser::new(Outcome::WORDS))]
    outcome: Option<String>,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let mut logs = Logs {
        arguments: &arguments,
        paint: output::paint(),
        since: arguments.since.map(|since| since.at(moment::now())),
        told: HashSet::new(),
        order: VecDeque::new(),
    };
    let count = arguments.count.unwrap_or(match arguments.since {
        None => LINES_DEFAULT,
        Some(_) => u64::MAX,
    });
    if !arguments.follow {
        let history = logs.history(&client).await?;
        let shown = logs.print_new(history, count)?;
        if shown == 0 {
            output::note(&format!(
                "no such attempts of `{}`; to list functions: edgebus functions ls; to list pending deliveries: edgebus deliveries ls",
                output::plain(&arguments.name)
            ));
        }
        return Ok(OK);
    }
    let mut attempts = client.follow_attempts(&DeliveryStreamQuery {
        function: Some(arguments.name.clone()),
        output: Some(true),
        ..DeliveryStreamQuery::default()
    })?;
    let mut first = true;
    output::while_read(async {
        loop {
            match follow::next(&mut attempts).await? {
                StreamItem::Opened if first => {
                    let history = logs.history(&client).await?;
                    logs.print_new(history, count)?;
                    first = false;
                }
                // What ended while the stream was lost is printed when it is back.
                StreamItem::Opened => {
                    let newest = logs.newest(&client).await?;
                    logs.print_new(newest, u64::MAX)?;
                }
                StreamItem::Message(message) => logs.live(message)?,
            }
        }
    })
    .await
}

struct Logs<'a> {
    arguments: &'a Arguments,
    paint: Paint,
    /// Only attempts that started then or later.
    since: Option<Timestamp>,
    /// Which attempts were printed, by delivery and number.
    told: HashSet<(String, u64)>,
    /// The same, oldest first.
    order: VecDeque<(String, u64)>,
}

impl Logs<'_> {
    /// The attempts that ended, as far as they are looked for, oldest first.
    async fn history(&self, client: &Client) -> Result<Vec<Told>, Failure> {
        let Some(since) = self.since else {
            return self.newest(client).await;
        };
        let progress = output::Progress::of_request("reading");
        let mut found = Found::default();
        // The bus selects by the time at which the event was accepted, which is before its attempts.
        let accepted = Timestamp(since.0.saturating_sub(EARLIER_MS));
        let mut query = self.query();
        query.filter.since = Some(accepted.to_string());
        loop {
            let older = self.read(client, &query, &mut found).await?;
            query.filter.before = older;
            if query.filter.before.is_none() {
                break;
            }
            if found.is_full() {
                output::note(&format!(
                    "these are the newest {} attempts; there are more since {since}",
                    found.attempts.len()
                ));
                break;
            }
        }
        for stage in [Stage::Pending, Stage::Dead] {
            let query = DeliveryQuery {
                stage: Some(stage),
                ..self.query()
            };
            self.read(client, &query, &mut found).await?;
        }
        progress.finish();
        Ok(found.sorted())
    }

    /// Those of the newest deliveries.
    async fn newest(&self, client: &Client) -> Result<Vec<Told>, Failure> {
        let progress = output::Progress::of_request("reading");
        let mut found = Found::default();
        self.read(client, &self.query(), &mut found).await?;
        progress.finish();
        Ok(found.sorted())
    }

    fn query(&self) -> DeliveryQuery {
        DeliveryQuery {
            output: Some(true),
            filter: DeliveryFilter {
                function: Some(self.arguments.name.clone()),
                last: Some(DELIVERIES_MAX),
                ..DeliveryFilter::default()
            },
            ..DeliveryQuery::default()
        }
    }

    /// Reads a page of deliveries, and gives the place of the page before.
    async fn read(
        &self,
        client: &Client,
        query: &DeliveryQuery,
        found: &mut Found,
    ) -> Result<Option<String>, Failure> {
        let page = client.deliveries(query).await?;
        for delivery in &page.deliveries {
            let attempts = delivery.attempts.iter().flatten();
            let attempts = attempts.map(|attempt| Told::of_history(delivery, attempt));
            for told in attempts.filter(|told| self.wants(&told.attempt)) {
                found.bytes += told.json.len();
                found.attempts.push(told);
            }
        }
        Ok(page.older.flatten())
    }

    /// Prints the newest `count` attempts that were not printed yet, and returns how many those were.
    fn print_new(&mut self, history: Vec<Told>, count: u64) -> Result<usize, Failure> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let first = history.len().saturating_sub(count);
        let mut shown = 0;
        for (index, told) in history.iter().enumerate() {
            // Those before the first one are not wanted later either.
            if self.is_new(&told.attempt) && index >= first {
                self.print(told)?;
                shown += 1;
            }
        }
        Ok(shown)
    }

    fn live(&mut self, message: String) -> Result<(), Failure> {
        let told = Told {
            attempt: client::read(message.as_bytes())?,
            json: message,
        };
        if self.wants(&told.attempt) && self.is_new(&told.attempt) {
            self.print(&told)?;
        }
        Ok(())
    }

    fn wants(&self, attempt: &AttemptEnded) -> bool {
        let outcome = self.arguments.outcome.as_deref();
        let started = || output::parse_time(&attempt.started_at);
        outcome.is_none_or(|outcome| attempt.outcome.as_str() == outcome)
            && self.since.is_none_or(|since| started() >= Some(since))
    }

    /// Whether an attempt was not printed yet. From now on it counts as printed.
    fn is_new(&mut self, attempt: &AttemptEnded) -> bool {
        let key = (attempt.id.clone(), attempt.attempt);
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

    fn print(&self, told: &Told) -> Result<(), Failure> {
        let json = &told.json;
        output::write(&match self.arguments.output.format {
            Format::Table => story::log_lines(&told.attempt, self.paint),
            Format::Jsonl => output::json::compact(json) + "\n",
            Format::Json => output::json::indented(json, output::JSON_COLUMNS) + "\n",
            Format::Yaml => output::yaml_entry(json)?,
        })
    }
}

/// Attempts of the history.
#[derive(Default)]
struct Found {
    attempts: Vec<Told>,
    bytes: usize,
}

impl Found {
    fn is_full(&self) -> bool {
        self.attempts.len() >= ATTEMPTS_MAX || self.bytes >= HISTORY_BYTES_MAX
    }

    /// Each attempt once, oldest first.
    fn sorted(mut self) -> Vec<Told> {
        let order = |told: &Told| {
            let attempt = &told.attempt;
            (
                attempt.started_at.clone(),
                attempt.id.clone(),
                attempt.attempt,
            )
        };
        self.attempts.sort_by_cached_key(order);
        self.attempts.dedup_by(|one, other| {
            (&one.attempt.id, one.attempt.attempt) == (&other.attempt.id, other.attempt.attempt)
        });
        self.attempts
    }
}

/// An attempt, and what is printed of it for programs.
struct Told {
    attempt: AttemptEnded,
    json: String,
}

impl Told {
    /// An attempt of a delivery in the shape of the live stream's. Its event's type and age are not known.
    fn of_history(delivery: &Delivery, attempt: &Attempt) -> Self {
        let mut json = json!({
            "attempt": attempt.number, "id": delivery.id, "bus": delivery.bus, "position": delivery.position,
            "rule": delivery.rule, "function": delivery.target.function, "started_at": attempt.started_at,
            "outcome": attempt.outcome, "duration_us": attempt.duration_us, "output": attempt.output,
        });
        if let Some(message) = &attempt.message {
            json["message"] = json!(message);
        }
        let named = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
        Self {
            attempt: AttemptEnded {
                id: delivery.id.clone(),
                bus: named(&delivery.bus),
                position: delivery.position,
                kind: String::new(),
                rule: named(&delivery.rule),
                target: delivery.target.clone(),
                attempt: attempt.number,
                started_at: attempt.started_at.clone(),
                outcome: attempt.outcome.clone(),
                code: attempt.code.clone(),
                message: attempt.message.clone(),
                duration_us: attempt.duration_us,
                age_ms: 0,
                retry_at: None,
                reason: None,
                reason_code: None,
                output: attempt.output.clone(),
            },
            json: json.to_string(),
        }
    }
}
