//! `edgebus dead-letters`: what ended without success, each with a copy of its event; try it again, or let go of it.

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use edgebus_api::{
    DeadLetterPage, DeadReason, Delivery, Job, JobState, LetterPreview, LetterSelection,
};
use serde_json::value::RawValue;

use super::connection::Connection;
use super::deliveries::{self, last_outcome};
use super::events::{Out, pattern_json, pattern_text};
use super::listing::{self, Listing, Paged};
use super::moment::{self, Moment};
use super::output::{self, Column, Format, Output, counted, plain, time};
use super::query::{Path, encoded};
use super::resource::{Resource, or_dash};
use super::{Failure, OK, client, jobs};
use edgebus_model::limits::PAGE_ROWS_MAX;

/// How long nothing may change before a redrive no longer waits for what became of its deliveries.
const QUIET: Duration = Duration::from_secs(10);

/// Arguments of `dead-letters`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus dead-letters ls --since 1d
  edgebus dead-letters get 1-42
  edgebus dead-letters redrive --subscription orders/enricher --dry-run")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List dead letters, newest first.
    Ls(List),
    /// Tell one dead letter: its event, its rule, each attempt, and why it ended.
    #[command(after_help = "Examples:
  edgebus dead-letters get 1-42
  edgebus dead-letters get 1-42 -o json")]
    Get(deliveries::Get),
    /// Try dead letters again: a job makes them pending, with their attempts begun anew.
    #[command(after_help = "Examples:
  edgebus dead-letters redrive 1-42 1-57 --wait
  edgebus dead-letters redrive --subscription orders/enricher --reason attempts-exhausted --dry-run
  edgebus dead-letters redrive --since 2h --rate 50 --wait
  edgebus dead-letters redrive --all

A redriven delivery keeps its id and its idempotency key. With --wait the command returns when
the job has ended, and tells how many deliveries succeeded, wait, and died again. Its exit code is 1
if one died again, or was skipped.")]
    Redrive(Act),
    /// Let go of dead letters, for ever.
    #[command(after_help = "Examples:
  edgebus dead-letters purge 1-42
  edgebus dead-letters purge --until 14d --dry-run
  edgebus dead-letters purge --type com.example.test --wait

Nothing brings a dead letter back that was purged. `edgebus dead-letters export` keeps a copy.
With --wait the exit code is 1 if one was skipped.")]
    Purge(Act),
    /// Write dead letters as JSON Lines: each with its event, its reason and its attempts.
    #[command(after_help = "Examples:
  edgebus dead-letters export --file dead.jsonl
  edgebus dead-letters export --subscription orders/enricher --since 7d")]
    Export(Export),
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    match arguments.command {
        Command::Ls(arguments) => list(arguments).await,
        Command::Get(arguments) => {
            let path = format!("/v1/dead-letters/{}", encoded(arguments.id()));
            deliveries::tell(&arguments, &path).await
        }
        Command::Redrive(arguments) => act(Verb::Redrive, arguments).await,
        Command::Purge(arguments) => act(Verb::Purge, arguments).await,
        Command::Export(arguments) => export(arguments).await,
    }
}

/// Which dead letters.
#[derive(clap::Args, Clone, Debug)]
struct Which {
    /// Of this subscription: its name, or its number.
    #[arg(long, value_name = "NAME")]
    subscription: Option<String>,
    /// Of this function.
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Of this rule.
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// That died for this reason.
    #[arg(long, value_name = "REASON", value_parser = PossibleValuesParser::new(DeadReason::WORDS), hide_possible_values = true)]
    reason: Option<String>,
    /// That died at this time or later: RFC 3339, or how long ago, as in 15m.
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// That died before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Of events of this type.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Of events that this pattern matches: JSON, or @FILE.
    #[arg(long = "match", value_name = "PATTERN")]
    pattern: Option<String>,
}

impl Which {
    fn is_set(&self) -> bool {
        self.subscription.is_some()
            || self.function.is_some()
            || self.rule.is_some()
            || self.reason.is_some()
            || self.since.is_some()
            || self.until.is_some()
            || self.kind.is_some()
            || self.pattern.is_some()
    }

    /// The path with this selection.
    fn on(&self, path: Path) -> Result<Path, Failure> {
        let now = moment::now();
        let shown = |moment: Option<Moment>| moment.map(|moment| moment.rfc_3339(now));
        let pattern = self.pattern.as_deref().map(pattern_text).transpose()?;
        let pattern = pattern.as_deref().map(str::trim);
        Ok(path
            .with_some("subscription", self.subscription.as_deref())
            .with_some("function", self.function.as_deref())
            .with_some("rule", self.rule.as_deref())
            .with_some("reason", self.reason.as_deref())
            .with_some("since", shown(self.since).as_deref())
            .with_some("until", shown(self.until).as_deref())
            .with_some("type", self.kind.as_deref())
            .with_some("match", pattern))
    }

    /// The same in a request's body.
    fn selection(&self) -> Result<LetterSelection, Failure> {
        let now = moment::now();
        let shown = |moment: Option<Moment>| moment.map(|moment| moment.rfc_3339(now));
        let pattern = self.pattern.as_deref().map(pattern_json).transpose()?;
        Ok(LetterSelection {
            subscription: self.subscription.clone(),
            function: self.function.clone(),
            rule: self.rule.clone(),
            reason: self.reason.as_deref().map(DeadReason::from),
            since: shown(self.since),
            until: shown(self.until),
            kind: self.kind.clone(),
            pattern,
            ..LetterSelection::default()
        })
    }
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus dead-letters ls --since 1d
  edgebus dead-letters ls --reason rejected --type com.example.order.placed
  edgebus dead-letters ls --function enricher --all -o jsonl")]
struct List {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    paged: Paged,
}

/// What ended without success.
#[rustfmt::skip]
const DEAD_LETTERS: &Resource<Delivery> = &Resource {
    noun: "dead letter",
    member: "dead_letters",
    page: listing::page::<DeadLetterPage<_>>,
    columns: &[
        (Column::whole("ID"), |row| row.id.clone()),
        (Column::whole("REASON"), |row| or_dash(row.reason.as_ref().map(ToString::to_string))),
        (Column::whole("SUBSCRIPTION"), |row| row.subscription.clone()),
        (Column::words("TYPE"), |row| or_dash(row.event.as_ref().map(|event| event.kind.clone()))),
        (Column::whole("DIED").optional(), |row| or_dash(row.died_at.as_deref().map(time))),
        (Column::number("ATTEMPTS").optional(), |row| row.attempts_made.to_string()),
        (Column::note("LAST OUTCOME"), last_outcome),
    ],
};

async fn list(arguments: List) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let listing = Listing {
        path: arguments.which.on(Path::new("/v1/dead-letters"))?,
        resource: DEAD_LETTERS,
        pages: arguments.paged.pages(),
        empty: match arguments.which.is_set() {
            true => "no such dead letters; all of them: edgebus dead-letters ls".to_owned(),
            false => "no dead letters; what is still tried: edgebus deliveries ls".to_owned(),
        },
    };
    arguments.paged.run(&client, &listing).await
}

/// What is done with dead letters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Redrive,
    Purge,
}

#[derive(clap::Args, Debug)]
struct Act {
    #[command(flatten)]
    connection: Connection,
    /// These, by their ids, as in 1-42.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// All of them.
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    which: Which,
    /// So many at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// So many a second at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=edgebus_api::RATE_MAX))]
    rate: Option<u64>,
    /// Only say how many would be taken, and show the first few.
    #[arg(long)]
    dry_run: bool,
    /// Return when the job has ended, and tell what came of it.
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    #[command(flatten)]
    output: Output,
}

async fn act(verb: Verb, arguments: Act) -> Result<u8, Failure> {
    let name = match verb {
        Verb::Redrive => "redrive",
        Verb::Purge => "purge",
    };
    if arguments.ids.is_empty() && !arguments.which.is_set() && !arguments.all {
        return Err(Failure::usage(format!(
            "which dead letters? Name some, select some with --subscription, --reason, --since, --type or --match, or say --all: edgebus dead-letters {name} --help"
        )));
    }
    let which = LetterSelection {
        ids: arguments.ids.clone(),
        all: arguments.all.then_some(true),
        limit: arguments.limit,
        rate: arguments.rate,
        ..arguments.which.selection()?
    };
    let client = arguments.connection.client()?;
    let format = arguments.output.format;
    if arguments.dry_run {
        let preview = match verb {
            Verb::Redrive => client.preview_redrive(&which).await?,
            Verb::Purge => client.preview_purge(&which).await?,
        };
        output::one(format, &output::json::of(&preview)?, || {
            Ok(preview_words(name, &preview))
        })?;
        return Ok(OK);
    }
    let job = match verb {
        Verb::Redrive => client.redrive(&which).await?,
        Verb::Purge => client.purge(&which).await?,
    };
    if !arguments.wait {
        match format {
            Format::Table => {
                // Those that are named are so many; of those that are selected, not all may be taken.
                let about = match arguments.ids.is_empty() {
                    true => "looks at",
                    false => "takes",
                };
                let line = format!(
                    "job {} {about} {} to {name}; see: edgebus jobs get {} --wait",
                    job.id,
                    counted(job.of, "dead letter", "dead letters"),
                    job.id
                );
                output::print(&line);
            }
            _ => jobs::show(&job, format)?,
        }
        return Ok(OK);
    }
    let mut job = jobs::wait(&client, job).await?;
    if verb == Verb::Redrive && job.state == JobState::Done {
        job = jobs::settled(&client, job, QUIET).await?;
    }
    match format {
        Format::Table => output::write(&ended_words(&job))?,
        _ => jobs::show(&job, format)?,
    }
    Ok(jobs::ended_exit(&job))
}

/// What a dry run tells.
fn preview_words(name: &str, preview: &LetterPreview) -> String {
    let count = usize::try_from(preview.selected).unwrap_or(usize::MAX);
    let more = if preview.whole { "" } else { " at least" };
    let mut out = format!(
        "{name} would take {}{more}, of {} looked at; nothing was changed\n",
        counted(count, "dead letter", "dead letters"),
        preview.looked
    );
    if preview.skipped > 0 {
        let reasons = jobs::skips_words(&preview.skips);
        out.push_str(&format!("it would skip {}: {reasons}\n", preview.skipped));
    }
    for letter in &preview.dead_letters {
        let kind = letter.event.as_ref().map_or("-", |event| &event.kind);
        let reason = letter.reason.as_ref().map_or("-", |reason| reason.as_str());
        out.push_str(&format!(
            "  {}  {}  {}  {}  {}\n",
            plain(&letter.id),
            plain(reason),
            plain(&letter.subscription),
            plain(kind),
            plain(&last_outcome(letter)),
        ));
    }
    if count > preview.dead_letters.len() {
        out.push_str(&format!(
            "  … {} more\n",
            count - preview.dead_letters.len()
        ));
    }
    out
}

/// What a job that is waited for came to.
fn ended_words(job: &Job) -> String {
    let mut out = format!("{}\n", jobs::done_words(job));
    if job.state != JobState::Done {
        let state = plain(job.state.as_str());
        let reason = job.failure.as_deref().map(plain).unwrap_or_default();
        let colon = if reason.is_empty() { "" } else { ": " };
        out.push_str(&format!("job {} is {state}{colon}{reason}\n", job.id));
    }
    if let Some(results) = &job.results {
        out.push_str(&format!("of these {}\n", jobs::results_words(results)));
        if results.waiting > 0 {
            out.push_str(&format!(
                "what waits is tried again later; look again: edgebus jobs get {}\n",
                job.id
            ));
        }
        if results.died > 0 {
            out.push_str("what died again: edgebus dead-letters ls --since 1h\n");
        }
    }
    out
}

#[derive(clap::Args, Debug)]
struct Export {
    #[command(flatten)]
    connection: Connection,
    /// Write to this file; without it, and with `-`, to standard output.
    #[arg(long, short, value_name = "FILE")]
    file: Option<std::path::PathBuf>,
    #[command(flatten)]
    which: Which,
}

async fn export(arguments: Export) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let path = arguments.which.on(Path::new("/v1/dead-letters"))?;
    let path = path
        .with("whole", "true")
        .with("limit", &PAGE_ROWS_MAX.to_string());
    let file = arguments.file.as_deref();
    let file = file.filter(|file| *file != std::path::Path::new("-"));
    let mut out = Out::new(file)?;
    let work = async {
        let (mut after, mut count) = (None::<String>, 0_usize);
        loop {
            let path = path.clone().with_some("after", after.as_deref());
            let answer = client.get(path.text()).await?;
            let page: DeadLetterPage<Box<RawValue>> = client::read(&answer)?;
            for row in &page.dead_letters {
                out.write(&format!(
                    "{}\n",
                    output::json::compact(row.get()).trim_end()
                ))?;
                count += 1;
            }
            after = page.next;
            if after.is_none() {
                return Ok::<usize, Failure>(count);
            }
        }
    };
    let count = tokio::select! {
        count = work => count,
        // An interrupt leaves no half file behind.
        _ = tokio::signal::ctrl_c() => Err(Failure::new("stopped; nothing was exported")),
    }?;
    out.finish()?;
    let place = file.map_or_else(String::new, |file| format!(" to {}", file.display()));
    let what = counted(count, "dead letter", "dead letters");
    output::note(&format!("{what} exported{place}"));
    Ok(OK)
}
