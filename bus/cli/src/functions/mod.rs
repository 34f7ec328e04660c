//! `edgebus functions`: deploys, lists, logs, tries and removes functions.

mod deploy;
mod invoke;
mod logs;

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use edgebus_api::{DeliveryFilter, DeliveryQuery, Function, FunctionList, Stage};

use super::client::{self, Client};
use super::connection::Connection;
use super::listing::{self, Unfiltered};
use super::output::{self, Column, bytes, counted, plain, span, time};
use super::query::encoded;
use super::resource::{Named, Resource, or_dash};
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
    /// Show one function: its revision, limits, configuration and secrets.
    #[command(after_help = "Examples:
  edgebus functions get triage
  edgebus functions get triage -o yaml")]
    Get(Named),
    /// Deploy a component under a name; limits, configuration and secrets stay as they were.
    Deploy(deploy::Arguments),
    /// Remove a function; the bus refuses while a rule names it.
    Rm(Remove),
    /// Show what a function wrote, attempt by attempt, and follow.
    Logs(logs::Arguments),
    /// Run a deployed function once on an event, without effects.
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
const FUNCTIONS: &Resource<Function> = &Resource {
    noun: "function",
    member: "functions",
    page: listing::page::<FunctionList<_>>,
    columns: &[
        (Column::whole("NAME"), |row| row.name.clone()),
        (Column::whole("STATE"), |row| row.state.to_string()),
        (Column::number("REVISION"), |row| row.revision.to_string()),
        (Column::whole("DIGEST").optional(), |row| row.digest.chars().take(DIGEST_DIGITS).collect()),
        (Column::whole("DEPLOYED").optional(), |row| time(&row.deployed_at)),
        (Column::number("MEMORY").optional(), |row| bytes(row.limits.memory_bytes)),
        (Column::number("CPU").optional(), |row| span(row.limits.cpu_ms)),
        (Column::number("TIMEOUT").optional(), |row| span(row.limits.timeout_ms)),
        (Column::number("CONCURRENCY").optional(), |row| row.limits.concurrency.to_string()),
        (Column::note("REASON"), |row| or_dash(row.reason.clone())),
    ],
};

/// What to do when there is nothing.
const NO_FUNCTIONS: &str =
    "nothing is deployed; deploy a component: edgebus functions deploy NAME FILE.wasm";

/// Digits of a digest in a table.
const DIGEST_DIGITS: usize = 12;

async fn get(arguments: Named) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let answer = client.get(&path_of(&arguments.name)).await?;
    let row = String::from_utf8_lossy(&answer);
    output::one(arguments.output.format, &row, || {
        Ok(story(&client::read(&answer)?))
    })?;
    Ok(OK)
}

fn story(function: &Function) -> String {
    let paint = output::paint();
    let mut facts = Facts::new(paint);
    facts.title("Function", &paint.strong(&plain(&function.name)));
    facts.fact(
        "revision",
        &format!(
            "{}, deployed {}",
            function.revision,
            time(&function.deployed_at)
        ),
    );
    facts.fact("digest", &plain(&function.digest));
    let state = plain(function.state.as_str());
    let state = match &function.reason {
        None => state.into_owned(),
        Some(reason) => format!("{state}: {}", plain(reason)),
    };
    facts.fact("state", &state);
    facts.title("Limits", "of each attempt");
    let limits = &function.limits;
    facts.fact("memory", &bytes(limits.memory_bytes));
    facts.fact("cpu", &span(limits.cpu_ms));
    facts.fact("timeout", &span(limits.timeout_ms));
    facts.fact("at once", &format!("{} attempts", limits.concurrency));
    let emits = bytes(limits.emit_bytes);
    facts.fact("emits", &format!("{} events, {emits}", limits.emits));
    let state = bytes(limits.state_bytes);
    facts.fact("state", &format!("{} keys, {state}", limits.state_writes));
    facts.fact("output", &bytes(limits.output_bytes));
    let given = [&function.secrets, &function.allow_http];
    if !function.config.is_empty() || given.iter().any(|words| !words.is_empty()) {
        facts.title("Given", "");
    }
    for (key, value) in &function.config {
        facts.fact("config", &format!("{} = {}", plain(key), plain(value)));
    }
    for (name, words) in [
        ("secrets", &function.secrets),
        ("http", &function.allow_http),
    ] {
        if !words.is_empty() {
            facts.fact(name, &plain(&words.join(", ")));
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
    /// Remove it although deliveries to it are pending; they become dead letters.
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
            "remove the function `{name}` on {}?",
            arguments.connection.url
        ))?;
    }
    client.remove_function(&arguments.name).await?;
    output::note(&format!("`{name}` is no longer deployed"));
    Ok(OK)
}

/// How many deliveries are pending for the function, in words; `None` if none are, or if there is
/// no such function.
///
/// # Errors
/// The bus doesn't say.
async fn pending(client: &Client, name: &str) -> Result<Option<String>, Failure> {
    let query = DeliveryQuery {
        stage: Some(Stage::Pending),
        filter: DeliveryFilter {
            function: Some(name.to_owned()),
            limit: Some(PENDING_MAX as u64),
            ..DeliveryFilter::default()
        },
        ..DeliveryQuery::default()
    };
    let page = match client.deliveries(&query).await {
        Err(client::Error::Refused { status: 404, .. }) => return Ok(None),
        page => page?,
    };
    Ok(match page.deliveries.len() {
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
/// The answer was not yes, or standard input is not a terminal.
fn ask(question: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "{question} stdin is not a terminal, so nothing was changed; to go on without the question, add --yes"
        )));
    }
    // If standard error is closed, nobody sees the question, but the answer still counts.
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
