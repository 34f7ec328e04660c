//! What patterns and queries match, by every matcher there is.

use crate::page::{Row, code, json_blocks, tables_of};
use edgebus_rules::{
    Dialect, Duplicates, Filter, ParseError, ParseOptions, Part, Pattern, RuleIndex, RuleSet,
    Scratch, Steps, Trust, explain, explain_json,
};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

pub(crate) const TABLES: &[&str] = &["pattern", "alternative", "refused", "query"];
const EXTENSIONS: &str = "Extensions";

pub(crate) fn parse(pattern: &str, dialect: Dialect) -> Result<Pattern, Vec<ParseError>> {
    let options = ParseOptions {
        dialect,
        ..ParseOptions::default()
    };
    Pattern::parse(pattern.as_bytes(), &options)
}

/// Whether the pattern matches, if all agree.
pub(crate) fn matched(pattern: &Pattern, event: &str) -> Result<bool, String> {
    let bytes = event.as_bytes();
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_str(event).map_err(|error| format!("the event: {error}"))?;
    let members = members.iter().map(|(name, value)| Part::Raw {
        name,
        json: value.get().as_bytes(),
    });
    let parts: Vec<Part<'_>> = members.collect();
    let told = |input_error: edgebus_rules::EventError| format!("the event: {input_error}");
    let last = Duplicates::LastWins;

    let set = RuleSet::new([((), pattern.clone())]);
    let by_set = !set.matches_json(bytes, last).map_err(told)?.is_empty();
    let mut all = vec![(
        "RuleSet, in parts".to_owned(),
        !set.matches(&parts, last).map_err(told)?.is_empty(),
    )];
    let vouched = Trust::of_json(bytes).map_err(told)?;
    let trusts = [Trust::Unchecked, Trust::Json, vouched];
    let index: RuleIndex<()> = [((), pattern.clone())].into_iter().collect();
    let mut scratch = Scratch::new();
    for trust in trusts {
        let found = index.matches_json(&mut scratch, bytes, last, trust);
        let found = found.map_err(told)?.len() > 0;
        all.push((format!("RuleIndex, {trust:?}"), found));
        let found = index.matches(&mut scratch, &parts, last, trust);
        let found = found.map_err(told)?.len() > 0;
        all.push((format!("RuleIndex, {trust:?}, in parts"), found));
    }
    let explained = explain_json(pattern, bytes).map_err(told)?.matched;
    all.push(("explain_json".to_owned(), explained));
    let explained = explain(pattern, &parts).map_err(told)?.matched;
    all.push(("explain".to_owned(), explained));
    match all.iter().find(|(_, found)| *found != by_set) {
        Some((who, found)) => Err(format!("RuleSet says {by_set}, {who} says {found}")),
        None => Ok(by_set),
    }
}

/// Holds one pattern with one event to what the page says.
fn check(row: &Row, pattern: &str, event: &str, extension: bool, expected: bool) {
    let place = format!("PATTERNS.md:{}: {pattern} for {event}", row.line);
    for dialect in [Dialect::Edgebus, Dialect::EventBridge] {
        match parse(pattern, dialect) {
            Ok(_) if extension && dialect == Dialect::EventBridge => {
                panic!("{place}: EventBridge's dialect takes this extension");
            }
            Err(_) if extension && dialect == Dialect::EventBridge => {}
            Err(errors) => panic!("{place}: refused as {dialect:?}: {}", errors[0]),
            Ok(pattern) => {
                let found = matched(&pattern, event);
                assert_eq!(found, Ok(expected), "{place}: found, and expected");
            }
        }
    }
}

#[test]
fn patterns_match_what_the_page_says() {
    for table in tables_of("pattern") {
        let mut pattern = String::new();
        for row in &table.rows {
            if let [own] = code(&row.cells[0]).0.as_slice() {
                (*own).clone_into(&mut pattern);
            }
            let says = &row.cells[2];
            let expected = says.starts_with("matches");
            assert!(
                expected || says.starts_with("does not"),
                "PATTERNS.md:{}: {says:?}",
                row.line
            );
            let events = code(&row.cells[1]).0;
            assert_eq!(events.len(), 1, "PATTERNS.md:{}: one event", row.line);
            let extension = table.heading == EXTENSIONS;
            check(row, &pattern, events[0], extension, expected);
        }
    }
}

#[test]
fn alternatives_are_met_by_what_the_page_says() {
    for table in tables_of("alternative") {
        let extension = table.heading == EXTENSIONS;
        for row in &table.rows {
            let place = format!("PATTERNS.md:{}", row.line);
            let alternatives = code(&row.cells[0]).0;
            assert!(!alternatives.is_empty(), "{place}");
            for alternative in alternatives {
                let pattern = format!(r#"{{"a":[{alternative}]}}"#);
                if table.columns.len() == 2 {
                    let parsed = parse(&pattern, Dialect::Edgebus);
                    assert!(parsed.is_ok(), "{place}: {parsed:?}");
                    let taken = parse(&pattern, Dialect::EventBridge).is_ok();
                    assert_eq!(taken, !extension, "{place}: {pattern}");
                    continue;
                }
                for (cell, expected) in [(1, true), (2, false)] {
                    for event in events(&place, &row.cells[cell]) {
                        check(row, &pattern, &event, extension, expected);
                    }
                }
            }
        }
    }
}

/// Events with the values of a cell: what is in backticks, and the word for none.
fn events(place: &str, cell: &str) -> Vec<String> {
    let (values, words) = code(cell);
    let mut events: Vec<String> = values
        .iter()
        .map(|value| format!(r#"{{"a":{value}}}"#))
        .collect();
    for word in words.split(',').map(str::trim) {
        match word {
            "" => {}
            "absence" => events.push("{}".to_owned()),
            _ => panic!("{place}: {word:?} is no value"),
        }
    }
    assert!(!events.is_empty(), "{place}: a cell without values");
    events
}

#[test]
fn what_the_page_refuses_is_refused() {
    for table in tables_of("refused") {
        for row in &table.rows {
            let place = format!("PATTERNS.md:{}", row.line);
            let wrong = code(&row.cells[0]).0[0];
            let Err(errors) = parse(wrong, Dialect::Edgebus) else {
                panic!("{place}: {wrong} is taken");
            };
            for error in errors {
                assert!(error.offset < wrong.len(), "{place}: {error}");
                assert!(!error.reason.is_empty() && !error.remedy.is_empty());
            }
            let right = code(&row.cells[1]).0[0];
            let parsed = parse(right, Dialect::Edgebus);
            assert!(parsed.is_ok(), "{place}: {right}: {parsed:?}");
        }
    }
    for block in json_blocks() {
        assert!(parse(&block, Dialect::EventBridge).is_ok(), "{block}");
    }
}

#[test]
fn queries_hold_where_the_page_says() {
    for table in tables_of("query") {
        for row in &table.rows {
            let query = Filter::parse(code(&row.cells[0]).0[0]).expect("the query is valid");
            for (cell, expected) in [(1, true), (2, false)] {
                for event in code(&row.cells[cell]).0 {
                    let tree = serde_json::from_str(event).expect("the event is JSON");
                    let holds = query.holds(&tree, &mut Steps::of_event());
                    assert_eq!(holds, Ok(expected), "PATTERNS.md:{}: {event}", row.line);
                }
            }
        }
    }
}

/// What both matchers say of an event in parts, in every trust.
fn of_parts(parts: &[Part<'_>], duplicates: Duplicates) -> Result<bool, String> {
    let pattern = parse(r#"{"a":[2]}"#, Dialect::Edgebus).expect("the pattern is valid");
    let index: RuleIndex<()> = [((), pattern.clone())].into_iter().collect();
    let mut scratch = Scratch::new();
    let set = RuleSet::new([((), pattern)]);
    let by_set = set.matches(parts, duplicates).map(|keys| !keys.is_empty());
    for trust in [Trust::Unchecked, Trust::Json] {
        let found = index.matches(&mut scratch, parts, duplicates, trust);
        assert_eq!(found.map(|keys| keys.len() > 0), by_set, "{trust:?}");
    }
    by_set.map_err(|error| error.to_string())
}

#[test]
fn duplicate_keys_are_refused_or_the_last_counts() {
    let raw = |name, json: &'static str| Part::Raw {
        name,
        json: json.as_bytes(),
    };
    let twice = [raw("a", "1"), raw("a", "2")];
    assert_eq!(of_parts(&twice, Duplicates::LastWins), Ok(true));
    assert!(of_parts(&twice, Duplicates::Refuse).is_err());
    let unmentioned = [raw("b", "1"), raw("a", "2"), raw("b", "2")];
    assert_eq!(of_parts(&unmentioned, Duplicates::Refuse), Ok(true));

    let pattern = parse(r#"{"a":[2]}"#, Dialect::Edgebus).expect("the pattern is valid");
    let escaped = r#"{"a":1,"\u0061":2}"#;
    assert_eq!(matched(&pattern, escaped), Ok(true));
    let set = RuleSet::new([((), pattern)]);
    let refused = set.matches_json(escaped.as_bytes(), Duplicates::Refuse);
    assert!(refused.is_err());
}
