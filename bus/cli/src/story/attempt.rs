//! One attempt: when it ran, how it ended, the backtrace, and the function's output.

use super::super::output::{Paint, counted, duration, parse_time, plain, span, time};
use super::facts::{Facts, safe_ends};
use edgebus_api::{Attempt, AttemptEnded, Outcome, Trial};

/// Lines of output that a story shows of one attempt: half from the beginning, half from the end.
const OUTPUT_LINES_MAX: usize = 40;
/// What stands before each line that a function wrote.
const MARGIN: &str = "│ ";
/// Where names of frames begin that are not the user's own.
const PLUMBING: [&str; 15] = [
    "std::",
    "core::",
    "alloc::",
    "<core::",
    "<alloc::",
    "<std::",
    "__",
    "rust_",
    "_rust",
    "wit_bindgen",
    "edgebus_sdk::",
    "<edgebus_sdk::",
    "abort",
    "panic",
    "edgebus:",
];

/// Frames that are shown where none of the user's own is known.
const PLUMBING_MAX: usize = 3;

/// Attempts that all ended the same way, as a part of a story: the first one, and when the others were.
/// Frames that are not the user's own are shown where `full` is.
pub(super) fn write(facts: &mut Facts, attempts: &[Attempt], accepted_at: &str, full: bool) {
    let Some((attempt, others)) = attempts.split_first() else {
        return;
    };
    write_one(facts, attempt, accepted_at, full);
    let (Some(first), Some(last)) = (others.first(), others.last()) else {
        return;
    };
    let started = |attempt: &Attempt| time(&attempt.started_at);
    let words = match others.len() {
        1 => format!(
            "Attempt {} ended the same, {}",
            first.number,
            started(first)
        ),
        _ => format!(
            "Attempts {} to {} ended the same, {} to {}",
            first.number,
            last.number,
            started(first),
            started(last)
        ),
    };
    facts.line("");
    facts.line(&words);
}

/// True if both ended in the same way and wrote the same.
pub(super) fn same(one: &Attempt, other: &Attempt) -> bool {
    one.outcome == other.outcome && one.message == other.message && one.output == other.output
}

/// How something ended that ran, and what it wrote.
pub(super) struct End<'a> {
    outcome: &'a Outcome,
    message: Option<&'a str>,
    output: Option<&'a str>,
}

impl<'a> From<&'a Attempt> for End<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        Self {
            outcome: &attempt.outcome,
            message: attempt.message.as_deref(),
            output: attempt.output.as_deref(),
        }
    }
}

impl<'a> From<&'a Trial> for End<'a> {
    fn from(trial: &'a Trial) -> Self {
        Self {
            outcome: &trial.outcome,
            message: trial.message.as_deref(),
            output: Some(&trial.output),
        }
    }
}

fn write_one(facts: &mut Facts, attempt: &Attempt, accepted_at: &str, full: bool) {
    let started = &attempt.started_at;
    let since = parse_time(started)
        .zip(parse_time(accepted_at))
        .map(|(started, accepted)| {
            format!(", {} after acceptance", span(started.ms_since(accepted)))
        })
        .unwrap_or_default();
    let ran = duration(attempt.duration_us);
    facts.title(
        &format!("Attempt {}", attempt.number),
        &format!("{}{since}, ran {ran}", time(started)),
    );
    write_end(facts, &attempt.into(), full);
}

/// How it ended, and what was written.
pub(super) fn write_end(facts: &mut Facts, end: &End<'_>, full: bool) {
    let paint = facts.paint;
    let class = end.outcome.as_str();
    let mut lines = end.message.unwrap_or("").lines();
    let first = plain(lines.next().unwrap_or("")).into_owned();
    let words = words(end.outcome);
    let told = match (words.is_empty(), first.is_empty()) {
        (true, _) => first,
        (false, true) => words.to_owned(),
        (false, false) => format!("{words}: {first}"),
    };
    let name = format!("  {:<10}", plain(class));
    let head = paint.outcome(class, &name);
    facts.line(&format!("{head}{told}"));
    let frames: Vec<(String, bool)> = lines
        .map(|frame| {
            let shown = readable(&plain(frame.trim()));
            let name = shown.trim_start_matches("at ");
            let plumbing = PLUMBING.iter().any(|start| name.starts_with(start));
            (shown, plumbing)
        })
        .collect();
    let own = frames.iter().filter(|(_, plumbing)| !plumbing).count();
    let (mut shown, mut hidden) = (0, 0);
    for (frame, plumbing) in &frames {
        if !full && *plumbing && (own > 0 || shown == PLUMBING_MAX) {
            hidden += 1;
            continue;
        }
        shown += 1;
        let frame = if *plumbing {
            &paint.faint(frame)
        } else {
            frame
        };
        facts.line(&format!("              {frame}"));
    }
    if hidden > 0 {
        let frames = counted(hidden, "frame", "frames");
        let words = format!("… {frames} of the runtime; --full shows them");
        facts.line(&format!("              {}", paint.faint(&words)));
    }
    write_output(facts, end.output.unwrap_or(""));
}

/// A frame without the compiler's hashes of crates, as in `std[d123b7a1a2ed1472]::process::abort`.
fn readable(frame: &str) -> String {
    const DIGITS: usize = 16;
    let mut out = String::with_capacity(frame.len());
    let mut rest = frame;
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(before);
        let hash = after.split_once(']').filter(|(inside, _)| {
            (1..=DIGITS).contains(&inside.len())
                && inside.len() > 8
                && inside.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        match hash {
            Some((_, behind)) => rest = behind,
            None => {
                out.push('[');
                rest = after;
            }
        }
    }
    out + rest
}

fn write_output(facts: &mut Facts, output: &str) {
    if output.trim().is_empty() {
        return;
    }
    let margin = facts.paint.faint(MARGIN);
    for (index, line) in safe_ends(output, OUTPUT_LINES_MAX).iter().enumerate() {
        let line = format!("{margin}{line}");
        if index == 0 {
            facts.fact("output", &line);
        } else {
            facts.line(&format!("            {line}"));
        }
    }
}

/// An outcome in words, if its class alone is not clear.
fn words(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "the function returned success",
        Outcome::Retry => "the function asked to be tried again",
        Outcome::Reject => "the function said that trying again is useless",
        _ => "",
    }
}

/// One attempt for a log: a line that says which and how it ended, and what the function wrote.
#[must_use]
pub(crate) fn log_lines(attempt: &AttemptEnded, paint: Paint) -> String {
    let class = attempt.outcome.as_str();
    let mut out = format!(
        "{}  {}  {}  attempt {}  {}  {}",
        paint.faint(&time(&attempt.started_at)),
        plain(&attempt.id),
        plain(&attempt.rule),
        attempt.attempt,
        paint.outcome(class, &plain(class)),
        paint.faint(&duration(attempt.duration_us)),
    );
    let message = attempt.message.as_deref().unwrap_or("");
    if let Some(first) = message.lines().next() {
        out.push_str("  ");
        out.push_str(&plain(first));
    }
    out.push('\n');
    let output = attempt.output.as_deref().unwrap_or("");
    for line in output.lines() {
        out.push_str("  ");
        out.push_str(&paint.faint(MARGIN));
        out.push_str(&plain(line));
        out.push('\n');
    }
    out
}
