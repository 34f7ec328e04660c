//! `edgebus rules`: the active rules, and trying one on an event.

mod explain;

use serde_json::Value;
use serde_json::value::RawValue;

use super::connection::Connection;
use super::listing::{self, Listing, Pages, Unfiltered, text};
use super::output::{self, Column, Output, json, plain, span};
use super::query::Path;
use super::story::{Facts, retry_words};
use super::{Failure, OK};

/// Arguments of `rules`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus rules ls
  edgebus rules get outside-bugs
  edgebus rules explain outside-bugs --event event.json")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List the active rules.
    #[command(after_help = "Examples:
  edgebus rules ls
  edgebus rules ls --all -o yaml")]
    Ls(Unfiltered),
    /// Show one rule: its pattern, its filters, its targets with their policies.
    Get(Get),
    /// Say what one rule makes of an event from a file, and why.
    Explain(explain::Arguments),
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    match arguments.command {
        Command::Ls(arguments) => list(arguments).await,
        Command::Get(arguments) => get(arguments).await,
        Command::Explain(arguments) => explain::run(arguments).await,
    }
}

const COLUMNS: &[Column] = &[
    Column::whole("NAME"),
    Column::words("BUS"),
    Column::whole("TO"),
    Column::words("MATCH"),
];

fn cells(row: &Value) -> Vec<String> {
    let targets = row.get("to").and_then(Value::as_array);
    let functions: Vec<String> = targets
        .into_iter()
        .flatten()
        .map(|target| text(target, "/function"))
        .collect();
    let mut pattern = match row.get("match") {
        None | Some(Value::Null) => "every event".to_owned(),
        Some(pattern) => pattern.to_string(),
    };
    let filters = row.get("where").and_then(Value::as_array);
    for filter in filters.into_iter().flatten().filter_map(Value::as_str) {
        pattern.push_str(" where ");
        pattern.push_str(filter);
    }
    vec![
        text(row, "/name"),
        text(row, "/bus"),
        functions.join(", "),
        pattern,
    ]
}

async fn list(arguments: Unfiltered) -> Result<u8, Failure> {
    let listing = Listing {
        path: Path::new("/v1/rules"),
        member: "rules",
        pages: Pages::Whole("name"),
        columns: COLUMNS,
        cells,
        empty: "no rules are active; write a manifest with some and serve it: edgebus serve --data DIR --manifest edgebus.yaml".to_owned(),
    };
    arguments.run(&listing).await
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus rules get outside-bugs
  edgebus rules get outside-bugs -o json")]
struct Get {
    #[command(flatten)]
    connection: Connection,
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    output: Output,
}

async fn get(arguments: Get) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let name = plain(&arguments.name);
    let hint = format!("rule `{name}`; edgebus rules ls lists them");
    let rule = listing::find(&client, "rules", "name", &arguments.name, &hint).await?;
    output::one(arguments.output.format, &rule, || story(&rule))?;
    Ok(OK)
}

#[derive(serde::Deserialize)]
struct Rule<'a> {
    #[serde(borrow, rename = "match")]
    pattern: &'a RawValue,
}

fn story(rule: &str) -> Result<String, Failure> {
    let row = output::parse(rule)?;
    let own: Rule<'_> = serde_json::from_str(rule)
        .map_err(|error| Failure::new(format!("the rule can't be read: {error}")))?;
    let paint = output::paint();
    let mut facts = Facts::new(paint);
    let name = paint.strong(&plain(&text(&row, "/name")));
    facts.title(
        "Rule",
        &format!("{name} on bus {}", plain(&text(&row, "/bus"))),
    );
    match own.pattern.get() {
        "null" => facts.fact("match", "every event"),
        pattern => facts.fact("match", &json::indented(pattern, output::JSON_COLUMNS)),
    }
    for filter in row
        .get("where")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        facts.fact("where", &plain(filter.as_str().unwrap_or("")));
    }
    for target in row
        .get("to")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        facts.title("To", &plain(&text(target, "/function")));
        policy(&mut facts, target);
    }
    Ok(facts.end())
}

/// A target's policy as facts.
pub(super) fn policy(facts: &mut Facts, target: &Value) {
    if let Some(input) = target.get("input") {
        facts.fact("input", &plain(&input.to_string()));
    }
    if let Some(template) = target.get("input_template") {
        if let Some(paths) = target.get("input_paths") {
            facts.fact("paths", &plain(&paths.to_string()));
        }
        facts.fact("template", &plain(&template.to_string()));
    }
    if let Some(retry) = target.get("retry") {
        facts.fact("retry", &retry_words(retry));
    }
    if let Some(kept_ms) = target.get("dead_letter_ms").and_then(Value::as_u64) {
        facts.fact("dead", &format!("letters are kept for {}", span(kept_ms)));
    }
}
