//! `edgebus functions`: deploys, lists, logs, tries and removes functions.

mod deploy;
mod invoke;
mod logs;

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use serde_json::Value;

use super::client::{self, Client};
use super::connection::Connection;
use super::listing::{self, Unfiltered, number, text, time};
use super::output::{self, Column, bytes, counted, plain};
use super::query::{Path, encoded};
use super::resource::{Cell, Named, Resource};
use super::story::Facts;
use super::{Failure, OK};

/// Arguments of `functions`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus functions ls
  edgebus functions deploy triage target/wasm32-wasip2/release/triage.wasm
  edgebus functions logs triage -f")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List what is deployed.
    #[command(after_help = "Examples:
  edgebus functions ls
  edgebus functions ls -o json")]
    Ls(Unfiltered),
    /// Show one function: its revision, its limits, what it is given.
    #[command(after_help = "Examples:
  edgebus functions get triage
  edgebus functions get triage -o yaml")]
    Get(Named),
    /// Deploy a component under a name; what it is given stays as it was.
    Deploy(deploy::Arguments),
    /// Take a function away; the bus refuses while a rule names it.
    Rm(Remove),
    /// Show what a function wrote, attempt by attempt, and follow.
    Logs(logs::Arguments),
    /// Try a deployed function once on an event, and commit nothing of what it does.
    Invoke(invoke::Arguments),
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    match arguments.command {
        Command::Ls(arguments) => FUNCTIONS.list(&arguments, NO_FUNCTIONS).await,
        Command::Get(arguments) => get(arguments).await,
        Command::Deploy(arguments) => deploy::run(arguments).await,
        Command::Rm(arguments) => remove(arguments).await,
        Command::Logs(arguments) => logs::run(arguments).await,
        Command::Invoke(arguments) => invoke::run(arguments).await,
    }
}

/// A function's path below the API.
fn path_of(name: &str) -> String {
    format!("/v1/functions/{}", encoded(name))
}

/// What is deployed.
#[rustfmt::skip]
const FUNCTIONS: &Resource = &Resource {
    noun: "function",
    member: "functions",
    columns: &[
        (Column::whole("NAME"), Cell::Text("/name")),
        (Column::whole("STATE"), Cell::Text("/state")),
        (Column::number("REVISION"), Cell::Text("/revision")),
        (Column::whole("DIGEST").optional(), Cell::Made(digest)),
        (Column::whole("DEPLOYED").optional(), Cell::Time("/deployed_at")),
        (Column::number("MEMORY").optional(), Cell::Bytes("/limits/memory_bytes")),
        (Column::number("CPU").optional(), Cell::Span("/limits/cpu_ms")),
        (Column::number("TIMEOUT").optional(), Cell::Span("/limits/timeout_ms")),
        (Column::number("CONCURRENCY").optional(), Cell::Text("/limits/concurrency")),
        (Column::note("REASON"), Cell::Text("/reason")),
    ],
};

/// What to do when there is nothing.
const NO_FUNCTIONS: &str =
    "nothing is deployed; deploy a component: edgebus functions deploy NAME FILE.wasm";

/// Digits of a digest in a table.
const DIGEST_DIGITS: usize = 12;

fn digest(row: &Value) -> String {
    text(row, "/digest").chars().take(DIGEST_DIGITS).collect()
}

async fn get(arguments: Named) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let answer = client.get(&path_of(&arguments.name)).await?;
    let row = String::from_utf8_lossy(&answer);
    output::one(arguments.output.format, &row, || {
        Ok(story(&output::parse(&row)?))
    })?;
    Ok(OK)
}

fn story(row: &Value) -> String {
    let paint = output::paint();
    let mut facts = Facts::new(paint);
    facts.title("Function", &paint.strong(&plain(&text(row, "/name"))));
    facts.fact(
        "revision",
        &format!(
            "{}, deployed {}",
            text(row, "/revision"),
            time(row, "/deployed_at")
        ),
    );
    facts.fact("digest", &text(row, "/digest"));
    let state = match text(row, "/reason") {
        reason if reason == "-" => text(row, "/state"),
        reason => format!("{}: {}", text(row, "/state"), plain(&reason)),
    };
    facts.fact("state", &state);
    facts.title("Limits", "of each attempt");
    let limit = |name: &str| number(row, &format!("/limits/{name}"));
    facts.fact("memory", &bytes(limit("memory_bytes")));
    facts.fact("cpu", &output::span(limit("cpu_ms")));
    facts.fact("timeout", &output::span(limit("timeout_ms")));
    facts.fact("at once", &format!("{} attempts", limit("concurrency")));
    facts.fact(
        "emits",
        &format!("{} events, {}", limit("emits"), bytes(limit("emit_bytes"))),
    );
    facts.fact(
        "state",
        &format!(
            "{} keys, {}",
            limit("state_writes"),
            bytes(limit("state_bytes"))
        ),
    );
    facts.fact("output", &bytes(limit("output_bytes")));
    let config = row.get("config").and_then(Value::as_object);
    let words = |name: &str| {
        let list = row.get(name).and_then(Value::as_array);
        let words: Vec<&str> = list
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        plain(&words.join(", ")).into_owned()
    };
    facts.title("Given", "");
    for (key, value) in config.into_iter().flatten() {
        let value = plain(value.as_str().unwrap_or("")).into_owned();
        facts.fact("config", &format!("{} = {value}", plain(key)));
    }
    for (name, member) in [("secrets", "secrets"), ("http", "allow_http")] {
        let words = words(member);
        if !words.is_empty() {
            facts.fact(name, &words);
        }
    }
    facts.end()
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus functions rm triage
  edgebus functions rm triage --yes          for scripts")]
struct Remove {
    #[command(flatten)]
    connection: Connection,
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Take it away although deliveries to it are pending; they become dead letters.
    #[arg(long)]
    force: bool,
}

async fn remove(arguments: Remove) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let name = plain(&arguments.name).into_owned();
    if !arguments.force
        && let Some(pending) = pending(&client, &arguments.name).await?
    {
        return Err(Failure::new(format!(
            "{pending} to `{name}` would become dead letters (function-missing); nothing was changed: wait until `edgebus deliveries ls --function {name}` is empty, or add --force"
        )));
    }
    if !arguments.yes {
        ask(&format!(
            "take away the function `{name}` on {}?",
            arguments.connection.url
        ))?;
    }
    client.delete(&path_of(&arguments.name)).await?;
    output::note(&format!("`{name}` is no longer deployed"));
    Ok(OK)
}

/// How many deliveries are pending for the function, in words; `None` if none are, or if there is
/// no such function.
///
/// # Errors
/// The bus doesn't say.
async fn pending(client: &Client, name: &str) -> Result<Option<String>, Failure> {
    let path = Path::new("/v1/deliveries")
        .with("stage", "pending")
        .with("function", name)
        .with("limit", &PENDING_MAX.to_string());
    let answer = match client.get(path.text()).await {
        Err(client::Error::Refused { status: 404, .. }) => return Ok(None),
        answer => answer?,
    };
    let page = listing::page(&answer, "deliveries")?;
    Ok(match page.rows.len() {
        0 => None,
        PENDING_MAX => Some(format!("{PENDING_MAX} or more pending deliveries")),
        count => Some(counted(count, "pending delivery", "pending deliveries")),
    })
}

/// Pending deliveries that are counted.
const PENDING_MAX: usize = 1_000;

/// Asks on the terminal.
///
/// # Errors
/// The answer was not yes, or nobody is there to give one.
fn ask(question: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "{question} Nobody is there to answer; add --yes"
        )));
    }
    // A closed standard error leaves the question unread, and the answer still counts.
    let _ = write!(std::io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Failure::new(format!("the answer can't be read: {error}")))?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(Failure::new("nothing was changed"))
    }
}
