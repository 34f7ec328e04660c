//! `edgebus replays shadow`: runs functions again on what was delivered, without effects, and tells what differs.

use std::path::PathBuf;

use bytes::Bytes;
use edgebus_api::{
    Event, Shadow, ShadowDifference, ShadowReference, ShadowReport, ShadowRequest, ShadowRun,
};

use super::{Range, began};
use crate::connection::Connection;
use crate::output::{self, Output, Paint, counted, duration, plain};
use crate::story::{DATA_LINES_CUT, Facts, state_line, write_event};
use crate::validate::files::component_of;
use crate::validate::{Checked, Purpose};
use crate::{FAILURE, Failure, OK, jobs};
use edgebus_model::{Digest, Name};

/// Differences that are told in full; `-o json` has them all.
const TOLD: usize = 10;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus replays shadow --from 2h --wait
  edgebus replays shadow --function enricher --component new.wasm --from 1d --limit 1000 --wait
  edgebus replays shadow --function enricher --manifest edgebus.yaml --wait -o json

Nothing takes effect: no event is emitted, no state written, no metric counted, and the candidate
is not deployed. With a candidate the deployed function runs beside it, on the same state, and the
two are compared: outcome, emitted events, state that is written, time. Without one the deployed
function is compared with what is recorded of each delivery, which is all of this but the state.
Each delivery is run on today's state, and what it writes is forgotten before the next.
With --wait the exit code is 1 if something differs.")]
pub(in crate::replays) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Deliveries to this function alone; a candidate needs it.
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Run this component in place of the deployed one; `-` is standard input.
    #[arg(long, value_name = "FILE", requires = "function")]
    component: Option<PathBuf>,
    /// Take the function's component, config, secrets and limits from this manifest.
    #[arg(long, value_name = "FILE", requires = "function")]
    manifest: Option<PathBuf>,
    #[command(flatten)]
    range: Range,
    /// End after so many runs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Run so many deliveries a second at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=edgebus_api::RATE_MAX))]
    rate: Option<u64>,
    /// Wait until it is done, and tell what it found.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    output: Output,
}

pub(in crate::replays) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let mut component = None;
    let mut manifest = None;
    if let Some(file) = &arguments.manifest {
        let checked = Checked::read(file, Purpose::Apply, None)?;
        checked.tell(false)?;
        let function = arguments.function.as_deref().unwrap_or_default();
        let named = Name::new(function).ok();
        component = named.and_then(|name| checked.components.get(&name).cloned());
        manifest = Some(checked.text);
    }
    if let Some(file) = &arguments.component {
        component = Some(component_of(file).map_err(|(code, why)| Failure::new(why).coded(code))?);
    }
    let digest = match component {
        Some(bytes) => Some(send(&client, bytes).await?),
        None => None,
    };
    let range = arguments.range.read()?;
    let which = ShadowRequest {
        function: arguments.function,
        component: digest.map(|digest| format!("blake3:{digest}")),
        manifest,
        bus: range.bus,
        since: range.since,
        until: range.until,
        from: range.from,
        to: range.to,
        rules: range.rules,
        subscriptions: range.subscriptions,
        kind: range.kind,
        pattern: range.pattern,
        limit: arguments.limit,
        rate: arguments.rate,
    };
    let progress = output::Progress::of_request("checking the candidate");
    let job = client.shadow(&which).await?;
    progress.finish();
    let format = arguments.output.format;
    if !arguments.wait {
        return began(&client, job, false, format).await;
    }
    let job = jobs::wait(&client, job).await?;
    // What it found comes with the answer for one job.
    let job = client.job(job.id).await?;
    jobs::show(&job, format)?;
    let report = job.shadow.as_ref().and_then(|own| own.report.as_ref());
    let differs = report.is_some_and(|report| report.different > 0);
    Ok(match jobs::exit(&job) {
        OK if differs => FAILURE,
        exit => exit,
    })
}

/// Sends a component ahead.
async fn send(client: &crate::client::Client, component: Bytes) -> Result<Digest, Failure> {
    let digest = Digest::of(&component);
    let progress = output::Progress::of_request("sending the component");
    client.stage(&digest.to_string(), component).await?;
    progress.finish();
    Ok(digest)
}

/// What a shadow replay is about, in a few words.
pub(crate) fn about(shadow: &Shadow) -> String {
    let bus = plain(&shadow.bus);
    let mut words = vec![format!("{bus} {} to {}", shadow.from, shadow.to)];
    if let Some(function) = &shadow.function {
        words.insert(0, plain(function).into_owned());
    }
    if let Some(component) = &shadow.component {
        let short: String = component.chars().take(12).collect();
        words.push(format!("candidate {}", plain(&short)));
    }
    for (word, value) in [("type", &shadow.kind), ("match", &shadow.pattern)] {
        if let Some(value) = value {
            words.push(format!("{word} {}", plain(value)));
        }
    }
    if let Some(limit) = shadow.limit {
        words.push(format!("at most {limit}"));
    }
    words.join(", ")
}

/// What the runs are compared with, in words.
fn reference_words(shadow: &Shadow) -> &'static str {
    match shadow.against {
        ShadowReference::Then => "what happened then",
        _ => "the deployed function",
    }
}

/// The facts of a job that tell what a shadow replay found.
pub(crate) fn tell(facts: &mut Facts, shadow: &Shadow, paint: Paint) {
    facts.fact("against", reference_words(shadow));
    let Some(report) = &shadow.report else {
        return;
    };
    facts.fact("runs", &runs_words(report));
    if report.different > 0 {
        let words = format!(
            "{} in the outcome, {} in emitted events, {} in state",
            report.outcome, report.emitted, report.state
        );
        facts.fact("differ", &paint.bad(&words));
    }
    if let Some(then) = report.different_then {
        facts.fact("then", &format!("{then} differ from what happened then"));
    }
    facts.fact(
        "time",
        &format!(
            "{} on average, {} at most; {}: {} on average, {} at most",
            duration(report.mean_us),
            duration(report.max_us),
            reference_words(shadow),
            duration(report.reference_mean_us),
            duration(report.reference_max_us)
        ),
    );
}

/// The differences themselves.
pub(crate) fn tell_differences(facts: &mut Facts, shadow: &Shadow, paint: Paint) {
    let Some(report) = &shadow.report else {
        return;
    };
    for difference in report.differences.iter().take(TOLD) {
        tell_difference(facts, difference, paint);
    }
    let more = report.different.saturating_sub(TOLD as u64);
    if more > 0 {
        facts.line("");
        let note = format!("{more} more differ; -o json shows the first hundred of all");
        facts.line(&paint.faint(&note));
    }
}

fn runs_words(report: &ShadowReport) -> String {
    let mut words = vec![
        format!("{} same", report.same),
        format!("{} different", report.different),
    ];
    if report.unrecorded > 0 {
        words.push(format!(
            "{} with nothing to compare with",
            report.unrecorded
        ));
    }
    if report.failed > 0 {
        words.push(format!("{} could not be run to an end", report.failed));
    }
    format!("{}: {}", report.runs, words.join(", "))
}

fn tell_difference(facts: &mut Facts, difference: &ShadowDifference, paint: Paint) {
    let differs = difference.differs.iter().map(|own| own.as_str());
    let differs: Vec<_> = differs.collect();
    let id = plain(&difference.delivery).into_owned();
    facts.title(
        "Differs",
        &format!("{}  {}", paint.strong(&id), differs.join(", ")),
    );
    for (name, run) in [
        ("before", &difference.reference),
        ("shadow", &difference.shadow),
    ] {
        facts.fact(name, &run_words(run));
        for emitted in &run.events {
            let Ok(read) = serde_json::from_str::<Event>(emitted.event.get()) else {
                continue;
            };
            let (kind, bus) = (
                plain(&read.kind).into_owned(),
                plain(&emitted.bus).into_owned(),
            );
            facts.fact("", &format!("emits {kind} to bus {bus}"));
            write_event(facts, (&read, None), DATA_LINES_CUT);
        }
        for write in &run.state {
            facts.line(&format!(
                "          {}",
                state_line(write, paint).trim_start()
            ));
        }
    }
}

fn run_words(run: &ShadowRun) -> String {
    let outcome = plain(run.outcome.as_str()).into_owned();
    let mut words = vec![match &run.message {
        None => outcome,
        Some(message) => {
            let first = message.lines().next().unwrap_or_default();
            format!("{outcome} ({})", plain(first))
        }
    }];
    words.push(counted(run.emitted, "event", "events"));
    if let Some(writes) = run.writes {
        words.push(counted(writes, "state key", "state keys"));
    }
    words.push(duration(run.duration_us));
    words.join(", ")
}
