//! `edgebus jobs`: what the bus does by itself, how far that is, and telling it to pause, go on or end.

use std::time::Duration;

use edgebus_api::{
    ErasedRange, Job, JobChange, JobKind, JobPage, JobState, ReplayedRange, SelectedLetters, Skip,
    SkippedRange,
};

use super::client::Client;
use super::connection::Connection;
use super::listing::{self, Listing, Pages, Unfiltered};
use super::output::{self, Bar, Column, Format, Output, counted, plain, time};
use super::query::Path;
use super::replays::shadow;
use super::resource::Resource;
use super::story::Facts;
use super::{FAILURE, Failure, OK};

/// How often a job that is waited for is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Arguments of `jobs`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus jobs ls
  edgebus jobs get 17 --wait
  edgebus jobs pause 17")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List jobs, the newest first.
    #[command(after_help = "Examples:
  edgebus jobs ls
  edgebus jobs ls --limit 5 -o json

Jobs that have ended are listed as long as they are among the last 1,000 of those.")]
    Ls(Unfiltered),
    /// Tell one job: what it is about, how far it is, and what became of what it did.
    #[command(after_help = "Examples:
  edgebus jobs get 17
  edgebus jobs get 17 --wait

With --wait the exit code is 0 if the job is done, skipped nothing that it was to redrive or purge,
and nothing that it made pending has died so far. Else it is 1.")]
    Get(One),
    /// Stop a job where it is, until it is resumed.
    #[command(after_help = "Example:
  edgebus jobs pause 17")]
    Pause(One),
    /// Let a job go on that is paused, or that has failed.
    #[command(after_help = "Examples:
  edgebus jobs resume 17
  edgebus jobs resume 17 --rate 100 --wait")]
    Resume(Resume),
    /// End a job. What it has done stays.
    #[command(after_help = "Examples:
  edgebus jobs cancel 17
  edgebus jobs cancel 17 --discard-pending --wait

What a replay has made runs on after its end, unless --discard-pending lets go of it: those
deliveries end without an attempt. That goes for a replay that is done, too.")]
    Cancel(Cancel),
}

#[derive(clap::Args, Debug)]
struct Cancel {
    #[command(flatten)]
    one: One,
    /// Let go of the deliveries that the replay has made and that are still pending.
    #[arg(long)]
    discard_pending: bool,
}

#[derive(clap::Args, Debug)]
struct One {
    #[command(flatten)]
    connection: Connection,
    /// Its number, as in 17.
    #[arg(value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
    id: u64,
    /// Return when it no longer runs, and show meanwhile how far it is.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(clap::Args, Debug)]
struct Resume {
    #[command(flatten)]
    one: One,
    /// Things that it does in a second at most from now on; 0 is as fast as it can.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=edgebus_api::RATE_MAX))]
    rate: Option<u64>,
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    match arguments.command {
        Command::Ls(arguments) => list(arguments).await,
        Command::Get(one) => tell(one, JobChange::default()).await,
        Command::Pause(one) => tell(one, state(JobState::Paused)).await,
        Command::Resume(Resume { one, rate }) => {
            let change = JobChange {
                rate,
                ..state(JobState::Running)
            };
            tell(one, change).await
        }
        Command::Cancel(Cancel {
            one,
            discard_pending,
        }) => {
            let change = JobChange {
                discard_pending,
                ..state(JobState::Cancelled)
            };
            tell(one, change).await
        }
    }
}

fn state(state: JobState) -> JobChange {
    JobChange {
        state: Some(state),
        ..JobChange::default()
    }
}

/// What the bus does by itself.
#[rustfmt::skip]
const JOBS: &Resource<Job> = &Resource {
    noun: "job",
    member: "jobs",
    page: listing::page::<JobPage<_>>,
    columns: &[
        (Column::number("ID"), |row| row.id.to_string()),
        (Column::whole("KIND"), |row| row.kind.to_string()),
        (Column::whole("STATE"), |row| row.state.to_string()),
        (Column::number("DONE"), |row| row.done.to_string()),
        (Column::number("SKIPPED"), |row| row.skipped.to_string()),
        (Column::whole("PROGRESS"), progress),
        (Column::whole("CREATED").optional(), |row| time(&row.created_at)),
        (Column::note("ABOUT"), about),
    ],
};

async fn list(arguments: Unfiltered) -> Result<u8, Failure> {
    let listing = Listing {
        path: Path::new("/v1/jobs"),
        resource: JOBS,
        pages: Pages::Forward,
        empty: "no jobs; to try dead letters again: edgebus dead-letters redrive".to_owned(),
    };
    arguments.run(&listing).await
}

async fn tell(one: One, change: JobChange) -> Result<u8, Failure> {
    let client = one.connection.client()?;
    let mut job = match change.state {
        None => client.job(one.id).await?,
        Some(_) => client.change_job(one.id, &change).await?,
    };
    if one.wait {
        job = match job.discard_job {
            None => wait(&client, job).await?,
            Some(discard) => {
                let discard = client.job(discard).await?;
                let discard = wait(&client, discard).await?;
                // What became of the replay's deliveries.
                Job {
                    discard_job: Some(discard.id),
                    ..client.job(one.id).await?
                }
            }
        };
    }
    show(&job, one.output.format)?;
    // One that is told to stand still or to end is not waited for to be done.
    let is_to_end = matches!(change.state, None | Some(JobState::Running));
    Ok(match one.wait && is_to_end {
        true => ended_exit(&job),
        false => exit(&job),
    })
}

/// The exit code of a job that is shown or told something: a failed one is a failure.
pub(super) fn exit(job: &Job) -> u8 {
    match job.state {
        JobState::Failed => FAILURE,
        _ => OK,
    }
}

/// The exit code of a job that was waited for: a failure unless it did all that it was to do, and nothing that it made
/// pending is a dead letter.
pub(super) fn ended_exit(job: &Job) -> u8 {
    let died = job.results.is_some_and(|results| results.died > 0);
    // What a replay passes over was gone before.
    let missed = job.skipped > 0 && matches!(job.kind, JobKind::Redrive | JobKind::Purge);
    match job.state {
        JobState::Done if !died && !missed => OK,
        _ => FAILURE,
    }
}

/// Returns the job as it is when it no longer runs; shows how far it is on a terminal.
///
/// # Errors
/// The bus refuses, or can't be reached.
pub(super) async fn wait(client: &Client, mut job: Job) -> Result<Job, Failure> {
    let bar = Bar::new(&format!("{} {}", job.kind, job.id));
    while job.state == JobState::Running {
        bar.at(job.looked, job.of);
        bar.detail(&format!("{} done, {} skipped", job.done, job.skipped));
        tokio::time::sleep(LOOK_EVERY).await;
        job = client.job(job.id).await?;
    }
    bar.finish();
    Ok(job)
}

/// How far the deliveries of a job are that is done.
pub(super) async fn settled(
    client: &Client,
    mut job: Job,
    quiet: Duration,
) -> Result<Job, Failure> {
    let bar = Bar::new("verifying");
    let mut changed = tokio::time::Instant::now();
    while let Some(results) = job.results
        && results.waiting > 0
        && changed.elapsed() < quiet
    {
        bar.at(job.done.saturating_sub(results.waiting), job.done);
        bar.detail(&format!(
            "{} succeeded, {} died",
            results.succeeded, results.died
        ));
        tokio::time::sleep(LOOK_EVERY).await;
        job = client.job(job.id).await?;
        if job.results != Some(results) {
            changed = tokio::time::Instant::now();
        }
    }
    bar.finish();
    Ok(job)
}

/// Prints a job.
///
/// # Errors
/// The output can't be written.
pub(super) fn show(job: &Job, format: Format) -> Result<(), Failure> {
    output::one(format, &output::json::of(job)?, || Ok(story(job)))
}

fn progress(job: &Job) -> String {
    match job.state {
        JobState::Done => "100 %".to_owned(),
        _ if job.of == 0 => "-".to_owned(),
        // Ended or not, it has not looked at everything.
        _ => format!("{} %", (job.looked.saturating_mul(100) / job.of).min(99)),
    }
}

/// What a job is about, in a few words.
fn about(job: &Job) -> String {
    if let Some(erasure) = &job.erasure {
        return about_erasure(erasure);
    }
    if let Some(shadow) = &job.shadow {
        return shadow::about(shadow);
    }
    match (&job.selection, &job.replay, &job.skip) {
        (Some(selection), ..) => about_letters(selection),
        (_, Some(replay), _) => about_replay(replay),
        (.., Some(skip)) => about_skip(skip),
        _ => "-".to_owned(),
    }
}

fn about_skip(skip: &SkippedRange) -> String {
    match (skip.replay, skip.subscription.as_deref(), skip.before) {
        (Some(replay), ..) => format!("what replay {replay} has pending"),
        (None, Some(subscription), Some(before)) => {
            format!("{} before {before}", plain(subscription))
        }
        _ => "-".to_owned(),
    }
}

fn about_replay(replay: &ReplayedRange) -> String {
    let to = replay.to.map_or_else(String::new, |to| format!(" to {to}"));
    let bus = plain(&replay.bus);
    let mut words = vec![
        plain(&replay.name).into_owned(),
        format!("{bus} {}{to}", replay.from),
    ];
    let subscriptions = replay.subscriptions.iter();
    words.extend(subscriptions.map(|name| plain(name).into_owned()));
    for (word, value) in [("type", &replay.kind), ("match", &replay.pattern)] {
        if let Some(value) = value {
            words.push(format!("{word} {}", plain(value)));
        }
    }
    if replay.as_matched {
        words.push("as matched".to_owned());
    }
    words.join(", ")
}

fn about_erasure(erasure: &ErasedRange) -> String {
    let (from, to) = (erasure.from, erasure.to);
    let mut words = format!("{} {from} to {to}", plain(&erasure.bus));
    for (word, value) in [("subject", &erasure.subject), ("match", &erasure.pattern)] {
        if let Some(value) = value {
            words.push_str(&format!(", {word} {}", plain(value)));
        }
    }
    words
}

/// What an erasure has erased.
fn erased_words(erasure: &ErasedRange) -> String {
    format!(
        "{}, {}, what {} said; {} ended",
        counted(erasure.events, "event", "events"),
        counted(erasure.dead_letters, "dead letter", "dead letters"),
        counted(erasure.attempts, "attempt", "attempts"),
        counted(erasure.deliveries, "pending delivery", "pending deliveries"),
    )
}

fn about_letters(selection: &SelectedLetters) -> String {
    let mut words = Vec::new();
    match selection.ids.as_slice() {
        [] => {}
        [one] => words.push(plain(one).into_owned()),
        [first, rest @ ..] => words.push(format!("{} and {} more", plain(first), rest.len())),
    }
    let subscriptions = selection.subscriptions.iter();
    words.extend(subscriptions.map(|name| plain(name).into_owned()));
    if let Some(reason) = &selection.reason {
        words.push(plain(reason.as_str()).into_owned());
    }
    for (word, value) in [
        ("type", &selection.kind),
        ("match", &selection.pattern),
        ("since", &selection.since),
        ("until", &selection.until),
    ] {
        if let Some(value) = value {
            words.push(format!("{word} {}", plain(value)));
        }
    }
    if let Some(limit) = selection.limit {
        words.push(format!("at most {limit}"));
    }
    match words.is_empty() {
        true => "all dead letters".to_owned(),
        false => words.join(", "),
    }
}

fn story(job: &Job) -> String {
    let paint = output::paint();
    let mut facts = Facts::new(paint);
    let state = plain(job.state.as_str());
    facts.title(
        "Job",
        &format!("{}  {}, {state}", job.id, plain(job.kind.as_str())),
    );
    if let Some(failure) = &job.failure {
        facts.fact("failed", &plain(failure));
        facts.fact("", &paint.faint(&format!("edgebus jobs resume {}", job.id)));
    }
    facts.fact("about", &about(job));
    let of = match job.state {
        // How much there was to look at, is known then.
        JobState::Done => String::new(),
        _ => format!(" of about {}", job.of),
    };
    let looked = format!("{}, {}{of} looked at", progress(job), job.looked);
    facts.fact("progress", &looked);
    facts.fact("done", &job.done.to_string());
    if let Some(erasure) = &job.erasure {
        facts.fact("erased", &erased_words(erasure));
    }
    if job.skipped > 0 {
        let skips = skips_words(&job.skips);
        facts.fact("skipped", &format!("{}: {skips}", job.skipped));
    }
    if let Some(results) = job.results {
        let words = match job.kind {
            JobKind::Redrive => results_words(&results),
            _ => results_words(&results).replace(" died again", " died"),
        };
        facts.fact("results", &words);
    }
    let waiting = job.results.map_or(0, |results| results.waiting);
    if waiting > 0 && job.state == JobState::Done {
        let again = format!("edgebus jobs get {}", job.id);
        facts.fact("", "what waits has an attempt to come; look again:");
        facts.fact("", &paint.faint(&again));
    }
    if let Some(discard) = job.discard_job {
        facts.fact("discards", &format!("what is pending, as job {discard}"));
    } else if job.replay.is_some() && waiting > 0 && job.state == JobState::Cancelled {
        let discard = format!("edgebus jobs cancel {} --discard-pending", job.id);
        facts.fact(
            "",
            "what it has made and is pending runs on; to let go of it:",
        );
        facts.fact("", &paint.faint(&discard));
    }
    if job.replay.is_some() {
        let listed = format!("edgebus deliveries ls --replay {} --stage dead", job.id);
        facts.fact("", &paint.faint(&listed));
    }
    if let Some(own) = &job.shadow {
        shadow::tell(&mut facts, own, paint);
    }
    match job.rate {
        Some(rate) => facts.fact("rate", &format!("{rate} a second at most")),
        None => facts.fact("rate", "as fast as it can"),
    }
    facts.fact("created", &time(&job.created_at));
    facts.fact("changed", &time(&job.changed_at));
    if let Some(own) = &job.shadow {
        shadow::tell_differences(&mut facts, own, paint);
    }
    facts.end()
}

/// What became of the deliveries of a job.
pub(super) fn results_words(results: &edgebus_api::JobResults) -> String {
    let mut words = format!(
        "{} succeeded, {} waiting, {} died again",
        results.succeeded, results.waiting, results.died
    );
    for (count, what) in [
        (results.discarded, "discarded"),
        (results.uncounted, "ended and nobody knows how"),
    ] {
        if count > 0 {
            words.push_str(&format!(", {count} {what}"));
        }
    }
    words
}

/// What a job skipped, by reason.
pub(super) fn skips_words(skips: &[Skip]) -> String {
    let skips: Vec<String> = skips
        .iter()
        .map(|skip| format!("{} {}", skip.count, plain(skip.reason.as_str())))
        .collect();
    skips.join(", ")
}

/// What a job did, in a line.
pub(super) fn done_words(job: &Job) -> String {
    let what = counted(job.done, "dead letter", "dead letters");
    let verb = match job.kind {
        JobKind::Purge => "purged",
        _ => "redriven",
    };
    let skipped = match job.skipped {
        0 => String::new(),
        _ => format!(", {} skipped ({})", job.skipped, skips_words(&job.skips)),
    };
    format!("{what} {verb}{skipped}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(more: serde_json::Value) -> Job {
        let mut job = json!({
            "id": 17, "kind": "redrive", "state": "running", "selection": {}, "looked": 30, "of": 40, "done": 20,
            "skipped": 0, "created_at": "2026-11-21T06:30:16.000Z", "changed_at": "2026-11-21T06:30:17.000Z",
        });
        if let (Some(own), serde_json::Value::Object(more)) = (job.as_object_mut(), more) {
            own.extend(more);
        }
        serde_json::from_value(job).unwrap()
    }

    #[test]
    fn an_erasure_tells_what_it_erased() {
        let erasure = json!({
            "bus": "default", "from": 1, "to": 9, "subject": "kenji", "events": 2, "dead_letters": 1,
            "attempts": 0, "deliveries": 1,
        });
        let job = job(json!({"kind": "erase", "erasure": erasure}));
        assert_eq!(about(&job), "default 1 to 9, subject kenji");
        let words = erased_words(job.erasure.as_ref().unwrap());
        assert_eq!(
            words,
            "2 events, 1 dead letter, what 0 attempts said; 1 pending delivery ended"
        );
    }

    #[test]
    fn a_job_is_told_in_few_words() {
        let table = [
            (
                json!({}),
                "75 %",
                "all dead letters",
                "20 dead letters redriven",
            ),
            (
                json!({"of": 30, "kind": "purge", "done": 1, "selection": {"ids": ["1-2"]}}),
                "99 %",
                "1-2",
                "1 dead letter purged",
            ),
            (
                json!({
                    "state": "done", "skipped": 3,
                    "skips": [{"reason": "gone", "count": 1}, {"reason": "corrupt", "count": 2}],
                    "selection": {"ids": ["1-2", "1-3", "1-4"], "reason": "rejected", "limit": 9},
                }),
                "100 %",
                "1-2 and 2 more, rejected, at most 9",
                "20 dead letters redriven, 3 skipped (1 gone, 2 corrupt)",
            ),
            (
                json!({
                    "of": 0, "looked": 0,
                    "selection": {"subscriptions": ["a/b"], "type": "t", "since": "2026-11-21T06:30:16.000Z"},
                }),
                "-",
                "a/b, type t, since 2026-11-21T06:30:16.000Z",
                "20 dead letters redriven",
            ),
        ];
        for (more, percent, words, done) in table {
            let job = job(more);
            assert_eq!(progress(&job), percent);
            assert_eq!(about(&job), words);
            assert_eq!(done_words(&job), done);
        }
    }
}
