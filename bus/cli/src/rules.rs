//! `edgebus rules`: the active rules, and trying one on an event.

mod explain;

use edgebus_api::{RetryPolicy, Rule, Target};
use serde_json::Value;

use super::connection::Connection;
use super::listing::{self, Listing, Pages, Unfiltered, text};
use super::output::{self, Column, Output, json, plain, span};
use super::query::Path;
use super::story::{Facts, retry_words};
use super::{Failure, OK, client};

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
    output::one(arguments.output.format, &rule, || {
        Ok(story(&client::read(rule.as_bytes())?))
    })?;
    Ok(OK)
}

fn story(rule: &Rule) -> String {
    let paint = output::paint();
    let mut facts = Facts::new(paint);
    let name = paint.strong(&plain(&rule.name));
    facts.title("Rule", &format!("{name} on bus {}", plain(&rule.bus)));
    match &rule.pattern {
        None => facts.fact("match", "every event"),
        Some(pattern) => facts.fact(
            "match",
            &json::indented(pattern.get(), output::JSON_COLUMNS),
        ),
    }
    for filter in &rule.filters {
        facts.fact("where", &plain(filter));
    }
    for target in &rule.to {
        let function = target.function.as_deref().unwrap_or("-");
        facts.title("To", &plain(function));
        input(&mut facts, target);
        policy(&mut facts, &target.retry, target.dead_letter_ms);
    }
    facts.end()
}

/// How a target's input is made, as facts.
fn input(facts: &mut Facts, target: &Target) {
    if let Some(input) = &target.input {
        facts.fact("input", &plain(&json::compact(input.get())));
    }
    if let Some(template) = &target.input_template {
        if let Some(paths) = &target.input_paths {
            facts.fact("paths", &plain(&serde_json::json!(paths).to_string()));
        }
        facts.fact("template", &plain(&serde_json::json!(template).to_string()));
    }
}

/// A policy as facts.
pub(super) fn policy(facts: &mut Facts, retry: &RetryPolicy, dead_letter_ms: u64) {
    facts.fact("retry", &retry_words(retry));
    let kept = span(dead_letter_ms);
    facts.fact("dead", &format!("letters are kept for {kept}"));
}
