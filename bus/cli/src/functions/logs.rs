//! `edgebus functions logs`: what a function wrote, attempt by attempt, newest last, and then live.
//!
//! History comes from the deliveries, the live part from their stream, which keeps nothing: whenever the
//! stream is opened, the history is read behind it, and an attempt that was told already is passed over.

use std::collections::{HashSet, VecDeque};

use edgebus_api::{
    Attempt, AttemptEnded, Delivery, DeliveryFilter, DeliveryQuery, DeliveryStreamQuery, Outcome,
};
use serde_json::json;

use crate::client::{self, Client};
use crate::connection::Connection;
use crate::follow::{self, StreamItem};
use crate::output::{self, Format, Output, Paint};
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
    let mut attempts = client.follow_attempts(&DeliveryStreamQuery {
        function: Some(arguments.name.clone()),
        output: Some(true),
        ..DeliveryStreamQuery::default()
    })?;
    let mut count = arguments.count;
    output::while_read(async {
        loop {
            match follow::next(&mut attempts).await? {
                StreamItem::Opened => {
                    logs.history(&client, count).await?;
                    // What ended while the stream was lost is told when it is back.
                    count = u64::MAX;
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
    /// Which attempts were told, by delivery and number.
    told: HashSet<(String, u64)>,
    /// The same, oldest first.
    order: VecDeque<(String, u64)>,
}

impl Logs<'_> {
    /// Tells the newest `count` attempts that were not told yet; how many those were.
    async fn history(&mut self, client: &Client, count: u64) -> Result<usize, Failure> {
        let query = DeliveryQuery {
            output: Some(true),
            filter: DeliveryFilter {
                function: Some(self.arguments.name.clone()),
                last: Some(DELIVERIES_MAX),
                ..DeliveryFilter::default()
            },
            ..DeliveryQuery::default()
        };
        let progress = output::Progress::of_request("reading");
        let page = client.deliveries(&query).await?;
        progress.finish();
        let mut ended = Vec::new();
        for delivery in &page.deliveries {
            let attempts = delivery.attempts.iter().flatten();
            let attempts = attempts.map(|attempt| Told::of_history(delivery, attempt));
            ended.extend(attempts.filter(|told| self.wants(&told.attempt)));
        }
        ended.sort_by(|one, other| one.attempt.started_at.cmp(&other.attempt.started_at));
        let first = ended
            .len()
            .saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
        // Those before the first one are not wanted later either.
        for told in &ended[..first] {
            self.is_new(&told.attempt);
        }
        let mut shown = 0;
        for told in &ended[first..] {
            if self.is_new(&told.attempt) {
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
        let wanted = self.arguments.outcome.as_deref();
        wanted.is_none_or(|wanted| attempt.outcome.as_str() == wanted)
    }

    /// Whether an attempt was not told yet; from now on it was.
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
