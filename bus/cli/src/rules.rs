//! `edgebus rules`: the active rules, and trying one on an event.

mod explain;

use serde_json::Value;
use serde_json::value::RawValue;

use super::Failure;
use super::listing::{Unfiltered, text};
use super::output::{self, Column, json, plain, span};
use super::resource::{Cell, Named, Resource};
use super::story::{Facts, retry_words};
use edgebus_model::TargetKind;

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
    #[command(after_help = "Examples:
  edgebus rules get outside-bugs
  edgebus rules get outside-bugs -o json")]
    Get(Named),
    /// Say what one rule makes of an event from a file, and why.
    Explain(explain::Arguments),
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    match arguments.command {
        Command::Ls(arguments) => RULES.list(&arguments, NO_RULES).await,
        Command::Get(arguments) => RULES.get(&arguments, story).await,
        Command::Explain(arguments) => explain::run(arguments).await,
    }
}

/// The active rules.
#[rustfmt::skip]
pub(super) const RULES: &Resource = &Resource {
    noun: "rule",
    member: "rules",
    columns: &[
        (Column::whole("NAME"), Cell::Text("/name")),
        (Column::words("BUS"), Cell::Text("/bus")),
        (Column::whole("TO"), Cell::Made(targets)),
        (Column::words("MATCH"), Cell::Made(pattern)),
    ],
};

fn targets(row: &Value) -> String {
    let targets = row.get("to").and_then(Value::as_array);
    let names: Vec<&str> = targets.into_iter().flatten().map(target_name).collect();
    names.join(", ")
}

/// The name of a target, whose member is called after its kind.
fn target_name(target: &Value) -> &str {
    let mut kinds = TargetKind::ALL.iter();
    let name = kinds.find_map(|kind| target.get(kind.word())?.as_str());
    name.unwrap_or("-")
}

fn pattern(row: &Value) -> String {
    let mut pattern = match row.get("match") {
        None | Some(Value::Null) => "every event".to_owned(),
        Some(pattern) => pattern.to_string(),
    };
    let filters = row.get("where").and_then(Value::as_array);
    for filter in filters.into_iter().flatten().filter_map(Value::as_str) {
        pattern.push_str(" where ");
        pattern.push_str(filter);
    }
    pattern
}

/// What to do when there is nothing.
const NO_RULES: &str = "no rules are active; write a manifest with some and serve it: edgebus serve --data DIR --manifest edgebus.yaml";

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
        facts.title("To", &plain(target_name(target)));
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
