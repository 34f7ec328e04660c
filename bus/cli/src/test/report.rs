//! The results of tests as text and as JSON, and why a rule matched or did not, in words.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Failed, Ran, Report};
use crate::output;
use crate::output::counted;
use edgebus_manifest::view::Verdict;
use edgebus_model::Name;

/// The most conditions that are shown of one rule.
const CONDITIONS_MAX: usize = 20;

/// The most parts that are shown of one rule that no test reached.
const UNREACHED_MAX: usize = 5;

/// Why the rule matched, or the first thing that it missed; `bus` is the event's.
pub(super) fn why(verdict: &Verdict, bus: &Name, matched: bool) -> Vec<String> {
    if verdict.bus != bus.as_str() {
        return vec![format!(
            "the rule looks at bus `{}`, and the event is on `{bus}`",
            verdict.bus
        )];
    }
    let mut lines = if matched {
        held(verdict)
    } else {
        missed(verdict)
    };
    if lines.len() > CONDITIONS_MAX {
        let more = lines.len() - CONDITIONS_MAX;
        lines.truncate(CONDITIONS_MAX);
        lines.push(format!("… and {more} more"));
    }
    lines
}

fn held(verdict: &Verdict) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(pattern) = &verdict.explanation {
        let branch = pattern.branches.iter().find(|branch| branch.matched);
        let conditions = branch.map(|branch| branch.conditions.iter());
        lines.extend(
            conditions
                .into_iter()
                .flatten()
                .map(|condition| condition.to_string()),
        );
    }
    let filters = verdict.filters.iter();
    lines.extend(filters.map(|filter| format!("where {}: selects something", filter.query)));
    if lines.is_empty() {
        lines.push("it has no `match`: every event of its bus matches".to_owned());
    }
    lines
}

fn missed(verdict: &Verdict) -> Vec<String> {
    let mut lines = vec![verdict.summary()];
    if let Some(pattern) = verdict.explanation.as_ref().filter(|own| !own.matched) {
        if let Some(nearest) = pattern.nearest_branch().filter(|_| pattern.sub_rules > 1) {
            let number = nearest.sub_rule + 1;
            lines[0].push_str(&format!(
                " ($or choice {number} of {}, the nearest)",
                pattern.sub_rules
            ));
        }
        if let Some(hint) = pattern.missed().and_then(|missed| missed.hint.as_ref()) {
            lines.push(format!("hint: {hint}"));
        }
    }
    lines
}

/// The results for people; the last line is the summary.
pub(super) fn text(report: &Report, coloured: bool) -> String {
    let mut out = String::new();
    let paint = |codes: &str, text: &str| {
        if coloured {
            format!("\x1b[{codes}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    };
    for ran in &report.results {
        // Writing to a String can't fail.
        let _ = if ran.failures.is_empty() {
            writeln!(out, "{} {}", paint("32", "ok  "), ran.name)
        } else {
            writeln!(out, "{} {}", paint("31;1", "FAIL"), ran.name)
        };
        for failed in &ran.failures {
            for (sign, line) in diff(failed) {
                let codes = match sign {
                    '-' => "31",
                    '+' => "33",
                    _ => "2",
                };
                let _ = writeln!(out, "     {}", paint(codes, &line));
            }
        }
    }
    if !report.unreached.is_empty() {
        out.push_str("\nreached by no test:\n");
    }
    for unreached in &report.unreached {
        let mut line = |what: &str| {
            let line = format!("  rule {}: {what}", unreached.rule);
            let _ = writeln!(out, "{}", paint("33", &line));
        };
        let parts = unreached.parts.iter();
        parts
            .take(UNREACHED_MAX)
            .for_each(|part| line(&output::plain(part)));
        if unreached.parts.len() > UNREACHED_MAX {
            let more = unreached.parts.len() - UNREACHED_MAX;
            line(&format!("… and {more} more"));
        }
    }
    if !report.results.is_empty() {
        out.push('\n');
    }
    let failed = report.failed();
    let events: usize = report.results.iter().map(|ran| ran.events).sum();
    let _ = write!(
        out,
        "{}: {} passed, {failed} failed, {} in {}",
        counted(report.results.len(), "test", "tests"),
        report.results.len() - failed,
        counted(events, "event", "events"),
        output::duration(report.micros)
    );
    out
}

/// What was expected against what was seen: a sign and a line each.
pub(super) fn diff(failed: &Failed) -> Vec<(char, String)> {
    let mut lines = Vec::new();
    let event = match failed.kind.as_str() {
        "" => failed.event.clone(),
        kind => format!("{} ({kind})", failed.event),
    };
    lines.push((' ', event));
    if let Some(error) = &failed.error {
        lines.push(('-', format!("- it can't be matched: {error}")));
    }
    for rule in &failed.right {
        lines.push((' ', format!("  {rule}")));
    }
    for (rule, why) in &failed.missed {
        lines.push(('-', format!("- {rule}: expected, and it did not match")));
        lines.extend(why.iter().map(|line| (' ', format!("    {line}"))));
    }
    for (rule, why) in &failed.surplus {
        lines.push(('+', format!("+ {rule}: not expected, and it matched")));
        lines.extend(why.iter().map(|line| (' ', format!("    {line}"))));
    }
    for wrong in &failed.inputs {
        lines.push((' ', format!("  input of {}", wrong.target)));
        lines.push(('-', format!("- {}", wrong.expected)));
        lines.push(('+', format!("+ {}", wrong.got)));
    }
    lines
}

/// The results as one JSON object.
pub(super) fn json(report: &Report) -> Value {
    let rules = |list: &[(Name, Vec<String>)]| -> Vec<Value> {
        list.iter()
            .map(|(rule, why)| json!({ "rule": rule.as_str(), "why": why }))
            .collect()
    };
    let failure = |failed: &Failed| {
        json!({
            "event": failed.event,
            "type": failed.kind,
            "missed": rules(&failed.missed),
            "surplus": rules(&failed.surplus),
            "inputs": failed.inputs.iter().map(|wrong| json!({
                "target": wrong.target, "expected": wrong.expected, "got": wrong.got,
            })).collect::<Vec<_>>(),
            "error": failed.error,
        })
    };
    let test = |ran: &Ran| {
        json!({
            "name": ran.name,
            "passed": ran.failures.is_empty(),
            "events": ran.events,
            "duration_us": ran.micros,
            "failures": ran.failures.iter().map(failure).collect::<Vec<_>>(),
        })
    };
    let failed = report.failed();
    json!({
        "file": report.file,
        "passed": report.results.len() - failed,
        "failed": failed,
        "duration_us": report.micros,
        "unreached": report.unreached.iter().map(|one| json!({
            "rule": one.rule.as_str(), "matched": one.matched, "parts": one.parts,
        })).collect::<Vec<_>>(),
        "tests": report.results.iter().map(test).collect::<Vec<_>>(),
    })
}
