//! `edgebus rules`: the active rules, and trying one on an event.

mod explain;

use edgebus_api::{RetryPolicy, Rule, RuleList, Target};

use super::Failure;
use super::listing::{self, Unfiltered};
use super::output::{self, Column, json, plain, span};
use super::resource::{Named, Resource};
use super::story::{Facts, retry_words};

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
    /// Say whether one rule matches an event from a file, and why.
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
const RULES: &Resource<Rule> = &Resource {
    noun: "rule",
    member: "rules",
    page: listing::page::<RuleList<_>>,
    columns: &[
        (Column::whole("NAME"), |row| row.name.clone()),
        (Column::words("BUS"), |row| row.bus.clone()),
        (Column::whole("TO"), targets),
        (Column::words("MATCH"), pattern),
    ],
};

fn targets(rule: &Rule) -> String {
    let names: Vec<&str> = rule.to.iter().map(target_name).collect();
    names.join(", ")
}

fn target_name(target: &Target) -> &str {
    target.target.name().unwrap_or("-")
}

fn pattern(rule: &Rule) -> String {
    let mut pattern = match &rule.pattern {
        None => "every event".to_owned(),
        Some(pattern) => json::compact(pattern.get()),
    };
    for filter in &rule.filters {
        pattern.push_str(" where ");
        pattern.push_str(filter);
    }
    pattern
}

/// What to do when there is nothing.
const NO_RULES: &str = "no rules are active; write a manifest with some and serve it: edgebus serve --data DIR --manifest edgebus.yaml";

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
        facts.title("To", &plain(target_name(target)));
        input(&mut facts, target);
        let dead_letter = (target.dead_letter_ms, target.dead_letter_bus.as_deref());
        policy(&mut facts, &target.retry, dead_letter);
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
pub(super) fn policy(
    facts: &mut Facts,
    retry: &RetryPolicy,
    (dead_letter_ms, dead_letter_bus): (Option<u64>, Option<&str>),
) {
    facts.fact("retry", &retry_words(retry));
    let kept =
        dead_letter_ms.map_or_else(|| "for ever".to_owned(), |ms| format!("for {}", span(ms)));
    let mut dead = format!("kept {kept}");
    if let Some(bus) = dead_letter_bus {
        dead.push_str(&format!(" and published on bus {}", plain(bus)));
    }
    facts.fact("dead letters", &dead);
}
