//! `edgebus events explain`: what each rule of its bus makes of an event of the log.

use edgebus_api::{ExplainedEvent, RuleVerdict};
use serde_json::value::RawValue;

use super::log_path;
use super::which::Which;
use crate::client::{self, Client};
use crate::connection::Connection;
use crate::output::{self, JSON_COLUMNS, Progress, json};
use crate::story::{Explained, Stored, verdict_of};
use crate::validate::Format;
use crate::{Failure, OK};

/// Bytes of verdicts after which no further ones are asked for.
const BYTES_MAX: usize = 64 << 20;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus events explain 42
  edgebus events explain order-4711
  edgebus events explain 42 --rule orders
  edgebus events explain 42 --all
  edgebus events explain 42 -o json | jq '.verdicts[] | select(.matched) | .rule'

Rules that match come first, then those that came nearest. The rules are those active now.
NO stands at the first condition that was missed, no at the others.
The exit code is 0 whether one matched or not.")]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    which: Which,
    /// Only this rule.
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Show each condition of every rule, not only of the three that came nearest.
    #[arg(long)]
    all: bool,
    /// How to print the verdicts.
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// What the bus answers; its verdicts as they were sent.
type Answer = ExplainedEvent<Box<RawValue>>;

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let position = arguments.which.position(&client).await?;
    let answer = whole(&client, &arguments, position).await?;
    let unread = |error: serde_json::Error| {
        Failure::new(format!(
            "the bus gave an answer that can't be read: {error}"
        ))
    };
    if arguments.output == Format::Json {
        let document = serde_json::to_string(&answer).map_err(unread)?;
        let document = json::indented(&document, JSON_COLUMNS);
        return output::write(&format!("{document}\n")).map(|()| OK);
    }
    let verdicts: Result<Vec<RuleVerdict>, _> = answer
        .verdicts
        .iter()
        .map(|verdict| serde_json::from_str(verdict.get()))
        .collect();
    let verdicts = verdicts.map_err(unread)?.into_iter();
    let story = Explained {
        kind: &answer.event.kind,
        id: &answer.event.id,
        source: &answer.event.source,
        stored: Some(Stored {
            position: answer.position,
            bus: &arguments.which.bus,
            rules: &answer.rules,
        }),
        verdicts: verdicts.map(verdict_of).collect(),
        all: arguments.all || arguments.rule.is_some(),
        paint: output::paint(),
    };
    output::write(&story.tell())?;
    if answer.more > 0 {
        output::note(&format!("{} more rules are not shown", answer.more));
    }
    Ok(OK)
}

/// The bus's answer with the verdicts of all its pages.
async fn whole(client: &Client, arguments: &Arguments, position: u64) -> Result<Answer, Failure> {
    let below = format!("/{position}/explain");
    let bus = &arguments.which.bus;
    let path = log_path(bus, &below).with_some("rule", arguments.rule.as_deref());
    let progress = Progress::of_request("judging");
    let which = &arguments.which;
    let mut answer = page(client, path.text(), which).await?;
    let weight = |verdicts: &[Box<RawValue>]| -> usize {
        verdicts.iter().map(|verdict| verdict.get().len()).sum()
    };
    let mut bytes = weight(&answer.verdicts);
    while let Some(next) = answer.next.clone().filter(|_| bytes < BYTES_MAX) {
        let path = log_path(bus, &below).with("after", &next);
        let mut more = page(client, path.text(), which).await?;
        // Each page brings something, so the loop ends.
        if more.verdicts.is_empty() {
            break;
        }
        bytes += weight(&more.verdicts);
        answer.verdicts.append(&mut more.verdicts);
        (answer.next, answer.more) = (more.next, more.more);
    }
    progress.finish();
    Ok(answer)
}

async fn page(client: &Client, path: &str, which: &Which) -> Result<Answer, Failure> {
    let answer = client
        .get(path)
        .await
        .map_err(|error| which.refused(error))?;
    Ok(client::read(&answer)?)
}
