//! Cases from outside the repository, given in `EDGEBUS_PATTERN_CASES`.
//!
//! The variable lists files, separated by colons. Each line of a file is a JSON object with `id`,
//! `pattern`, `event` and `expect` (`match`, `no_match` or `invalid_pattern`). A pattern that isn't
//! an object may stand in a JSON string, so that text that isn't JSON can be a case too.

#![allow(
    clippy::panic,
    reason = "a test fails by panicking, with the file and the line"
)]

use edgebus_rules::{
    Duplicates, ParseOptions, Part, Pattern, RuleIndex, RuleSet, Scratch, Trust, explain,
};
use serde_json::value::RawValue;

#[derive(serde::Deserialize)]
struct Case<'c> {
    id: String,
    #[serde(borrow)]
    pattern: &'c RawValue,
    #[serde(borrow)]
    event: &'c RawValue,
    expect: String,
}

/// What became of a case: by the rule set and, where they say something else, by the index and the
/// explanation.
fn outcome(case: &Case<'_>) -> String {
    let decoded: Option<String> = serde_json::from_str(case.pattern.get()).ok();
    let text = decoded.as_deref().unwrap_or(case.pattern.get());
    let Ok(pattern) = Pattern::parse(text.as_bytes(), &ParseOptions::default()) else {
        return "invalid_pattern".to_owned();
    };
    let members: std::collections::BTreeMap<String, &RawValue> =
        serde_json::from_str(case.event.get()).expect("an event is an object");
    let parts: Vec<Part<'_>> = members
        .iter()
        .map(|(name, value)| Part::Raw {
            name,
            json: value.get().as_bytes(),
        })
        .collect();
    let explained = explain(&pattern, &parts)
        .expect("an event is valid")
        .matched;
    let index: RuleIndex<()> = [((), pattern.clone())].into_iter().collect();
    let rules = RuleSet::new([((), pattern)]);
    let event = case.event.get().as_bytes();
    let matched = rules.matches_json(event, Duplicates::LastWins);
    let matched = !matched.expect("an event is valid").is_empty();
    let mut scratch = Scratch::new();
    for trust in [Trust::Unchecked, Trust::Json] {
        for whole in [true, false] {
            let found = if whole {
                index.matches_json(&mut scratch, event, Duplicates::LastWins, trust)
            } else {
                index.matches(&mut scratch, &parts, Duplicates::LastWins, trust)
            };
            let found = found.expect("an event is valid").len() > 0;
            if found != matched {
                return format!(
                    "found by the index = {found} ({trust:?}), but matched = {matched}"
                );
            }
        }
    }
    match (matched, explained) {
        (true, true) => "match".to_owned(),
        (false, false) => "no_match".to_owned(),
        (_, explained) => format!("explained as matched = {explained}, but not so matched"),
    }
}

#[test]
fn external_cases() {
    let Some(files) = std::env::var_os("EDGEBUS_PATTERN_CASES") else {
        println!("EDGEBUS_PATTERN_CASES is not set: no external cases were run");
        return;
    };
    let mut run = 0;
    let mut wrong = Vec::new();
    for file in std::env::split_paths(&files) {
        let text = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let case: Case<'_> = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{}: {error}: {line}", file.display()));
            run += 1;
            let outcome = outcome(&case);
            if outcome != case.expect {
                wrong.push(format!(
                    "{}: expected {}, got {outcome}",
                    case.id, case.expect
                ));
            }
        }
    }
    println!("{run} external cases");
    assert!(run > 0, "EDGEBUS_PATTERN_CASES is set but holds no case");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
