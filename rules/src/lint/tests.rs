//! Tests each claim with examples, and against the plain matcher on random patterns and events.

use super::*;
use crate::flatten::tests::json;
use crate::{Duplicates, ParseOptions, Pattern, RuleSet, explain_json};
use proptest::prelude::*;
use serde_json::Value;

fn parse(text: &str) -> Pattern {
    let pattern = Pattern::parse(text.as_bytes(), &ParseOptions::default());
    pattern.unwrap_or_else(|errors| unreachable!("{text}: {errors:?}"))
}

const SHAPE: Shape<'static> = Shape {
    strings: &["type", "subject"],
    required: &["type"],
    others_but: &[],
};

#[test]
fn all_members_may_be_strings_but_some() {
    let shape = Shape {
        others_but: &["data"],
        ..SHAPE
    };
    for (text, never) in [
        (r#"{"priority": [{"numeric": [">", 3]}]}"#, true),
        (r#"{"priority": {"x": ["y"]}}"#, true),
        (r#"{"priority": [null]}"#, true),
        (r#"{"priority": ["5"]}"#, false),
        (r#"{"priority": [{"exists": false}]}"#, false),
        (r#"{"data": [{"numeric": [">", 3]}]}"#, false),
        (r#"{"data": {"x": [null]}}"#, false),
    ] {
        assert_eq!(dead_ends(&parse(text), &shape).never, never, "{text}");
    }
}

/// Compares the findings for a pattern, as lines.
#[track_caller]
fn dead(text: &str, never: bool, wanted: &[&str]) {
    let ends = dead_ends(&parse(text), &SHAPE);
    let lines: Vec<String> = ends
        .found
        .iter()
        .map(|end| {
            let scope = match &end.scope {
                Scope::SubRule(number) => format!("sub-rule {number}"),
                Scope::Alternative(text) => text.clone(),
                Scope::Field => "field".to_owned(),
            };
            let dotted = if end.unless_dotted {
                " (unless dotted)"
            } else {
                ""
            };
            format!("{scope} at {}: {}{dotted}", end.path, end.reason)
        })
        .collect();
    assert_eq!(
        (ends.never, lines),
        (never, wanted.iter().map(ToString::to_string).collect()),
        "{text}"
    );
}

#[test]
fn what_no_event_can_meet() {
    dead(r#"{"a":[1],"type":["x",{"exists":true}]}"#, false, &[]);
    dead(
        r#"{"a":[{"all":[{"prefix":"x"},{"prefix":"y"}]}]}"#,
        true,
        &[
            r#"sub-rule 0 at a: no value can be all of (a string starting with "x", a string starting with "y")"#,
        ],
    );
    dead(
        r#"{"a":["x",{"all":[{"numeric":["<",1]},{"numeric":[">=",1]}]}]}"#,
        false,
        &[
            r#"{"all": [{"numeric": ["<", 1]}, {"numeric": [">=", 1]}]} at a: no value can be all of (a number < 1, a number >= 1)"#,
        ],
    );
    for apart in [
        r#"1,"1""#,
        r#"{"numeric":["<",1]},{"prefix":""}"#,
        r#"{"not":{"prefix":"a"}},{"prefix":"ab"}"#,
        r#"{"anything-but":["x"]},"x""#,
        r#"{"suffix":"a"},{"wildcard":"*b"}"#,
        r#"{"cidr":"10.0.0.0/8"},{"cidr":"11.0.0.0/8"}"#,
        r#"{"cidr":"10.0.0.0/8"},"11.0.0.1""#,
        r#""::1","::2""#,
        r#"{"regex":"a"},{"not":{"regex":"a"}}"#,
        r#"{"regex":"[0-9]"},"a""#,
        r#"{"not":[{"all":["a",{"not":"b"}]}]},"a""#,
    ] {
        assert!(
            dead_ends(
                &parse(&format!("{{\"x\":[{{\"all\":[{apart}]}}]}}")),
                &SHAPE
            )
            .never,
            "{apart}"
        );
    }
    for together in [
        r#"{"prefix":"a"},{"prefix":"ab"}"#,
        r#"{"prefix":"a"},{"suffix":"b"}"#,
        r#"{"wildcard":"*a"},{"suffix":""}"#,
        r#"{"wildcard":"*a"},{"numeric":["<",1]},"x""#,
        r#"{"numeric":["<=",1]},{"numeric":[">=",1]}"#,
        r#"{"cidr":"10.0.0.0/8"},{"cidr":"10.1.0.0/16"},"10.1.0.1""#,
        r#"{"not":"x"},{"not":"y"}"#,
        r#"{"equals-ignore-case":"a"},{"prefix":"A"}"#,
    ] {
        let text = format!("{{\"x\":[{{\"all\":[{together}]}}]}}");
        let wanted = together.contains("numeric\":[\"<\",1]},\"x");
        assert_eq!(dead_ends(&parse(&text), &SHAPE).never, wanted, "{together}");
    }
}

#[test]
fn what_no_event_of_a_shape_can_meet() {
    dead(
        r#"{"type":{"x":[1]}}"#,
        true,
        &["sub-rule 0 at type.x: type is always a string, so nothing is below it"],
    );
    dead(
        r#"{"type":{"x":[{"exists":false}]},"subject":[{"exists":false}]}"#,
        false,
        &[],
    );
    dead(
        r#"{"$or":[{"type":[{"exists":false}]},{"type":[5,"x",{"exists":false}]}]}"#,
        false,
        &[
            "sub-rule 0 at type: every event has it",
            "5 at type: it is always one string, which can't be 5",
            r#"{"exists": false} at type: every event has it"#,
        ],
    );
    dead(
        r#"{"subject":[{"contains-all":["a","b"]}]}"#,
        true,
        &[
            r#"sub-rule 0 at subject: it is always one string, which can't be all of "a", "b" in one array"#,
        ],
    );
    dead(
        r#"{"subject":[{"contains-all":["ab",{"prefix":"a"}]},{"exactly":["a"]}]}"#,
        false,
        &[],
    );
    dead(
        r#"{"subject":[null,{"exactly":["a","a"]},{"numeric":["=",1]}]}"#,
        true,
        &["sub-rule 0 at subject: none of its alternatives can be met"],
    );
    // A value above another value: only keys with dots make both possible.
    dead(
        r#"{"a":["x"],"a.b":["y"]}"#,
        false,
        &[
            "sub-rule 0 at a: it has to be a value and at the same time an object with a.b (unless dotted)",
        ],
    );
    dead(r#"{"a":[{"exists":false}],"a.b":["y"]}"#, false, &[]);
    dead(r#"{"a":[{"contains-all":["x"]}],"a.b":["y"]}"#, false, &[]);
    dead(
        r#"{"a":[1],"$or":[{"a":[2],"b":[1]},{"a":[3]}]}"#,
        false,
        &["field at a: a later field on the same path replaces it"],
    );
}

#[test]
fn what_is_within_what() {
    let base = r#"{"type":["a"],"n":[{"numeric":[">",5]}]}"#;
    assert_eq!(overlap(&parse(base), &parse(base)), Some(Overlap::Same));
    assert_eq!(
        overlap(
            &parse(base),
            &parse(r#"{"n":[{"numeric":[">",5]}],"type":["a"]}"#)
        ),
        Some(Overlap::Same)
    );
    assert_eq!(
        overlap(&parse(base), &parse(r#"{"type":["a","b"]}"#)),
        Some(Overlap::FirstWithinSecond)
    );
    assert_eq!(
        overlap(&parse(r#"{"type":["a","b"]}"#), &parse(base)),
        Some(Overlap::SecondWithinFirst)
    );
    assert_eq!(overlap(&parse(base), &parse(r#"{"type":["b"]}"#)), None);
    let pairs = [
        (r#""abc""#, r#"{"prefix":"a"}"#),
        (r#""abc""#, r#"{"all":[{"prefix":"a"},{"regex":"[a-c]+"}]}"#),
        (r#"{"prefix":"ab"}"#, r#"{"prefix":"a"}"#),
        (
            r#"{"prefix":"AB"}"#,
            r#"{"prefix":{"equals-ignore-case":"a"}}"#,
        ),
        (r#"{"suffix":"ab"}"#, r#"{"wildcard":"*b"}"#),
        (r#"{"wildcard":"ab*cd"}"#, r#"{"suffix":"d"}"#),
        (r#"{"regex":"x"}"#, r#"{"wildcard":"*"}"#),
        (r#"{"numeric":[">",5,"<",7]}"#, r#"{"numeric":[">=",5]}"#),
        ("6", r#"{"numeric":["=",6.0]}"#),
        (r#"{"numeric":["=",5]}"#, r#"{"anything-but":[6]}"#),
        (r#""x""#, r#"{"not":["y",null]}"#),
        (r#"{"anything-but":["x","y"]}"#, r#"{"not":"x"}"#),
        (r#"{"not":{"prefix":"a"}}"#, r#"{"not":"ab"}"#),
        (r#""10.1.2.3""#, r#"{"cidr":"10.0.0.0/8"}"#),
        (r#"{"cidr":"10.1.0.0/16"}"#, r#"{"cidr":"10.0.0.0/8"}"#),
        ("null", r#"{"exists":true}"#),
        (
            r#"{"all":[{"prefix":"a"},{"suffix":"b"}]}"#,
            r#"{"suffix":"b"}"#,
        ),
        (r#""a","b""#, r#""b","c","a""#),
        (r#"{"exactly":["a","b"]}"#, r#"{"contains-all":["b"]}"#),
        (
            r#"{"contains-all":["a","bc"]}"#,
            r#"{"contains-all":[{"prefix":"b"}]}"#,
        ),
        (r#""a""#, r#"{"contains-all":["a",{"prefix":""}]}"#),
        (
            r#""a",{"exists":false}"#,
            r#"{"exists":false},{"prefix":"a"}"#,
        ),
    ];
    for (narrow, wide) in pairs {
        let (narrow, wide) = (
            format!("{{\"x\":[{narrow}]}}"),
            format!("{{\"x\":[{wide}]}}"),
        );
        assert_eq!(
            overlap(&parse(&narrow), &parse(&wide)),
            Some(Overlap::FirstWithinSecond),
            "{narrow} {wide}"
        );
    }
    // One sub-rule more, and one condition less.
    assert!(is_within(
        &parse(r#"{"$or":[{"a":[1],"c":[1]},{"b":[2]}]}"#),
        &parse(r#"{"$or":[{"b":[2,3]},{"c":[5]},{"a":[1]}]}"#)
    ));
    // Absence beside other fields requires less than absence alone.
    assert!(!is_within(
        &parse(r#"{"a":{"b":[{"exists":false}],"c":[2]}}"#),
        &parse(r#"{"a":{"b":[{"exists":false}]}}"#)
    ));
}

#[test]
fn hard_questions_stay_open() {
    let list = |from: usize| {
        let all: Vec<String> = (from..from + 6000)
            .map(|number| format!("\"{number}\""))
            .collect();
        parse(&format!("{{\"a\":[{}]}}", all.join(",")))
    };
    assert_eq!(overlap(&list(0), &list(0)), Some(Overlap::Same));
    // Too many pairs to compare, so nothing is reported.
    assert_eq!(overlap(&list(0), &list(1)), None);
    let more = parse(r#"{"a":[{"prefix":""},"b"]}"#);
    assert_eq!(overlap(&list(0), &more), Some(Overlap::FirstWithinSecond));
    let nest = |inner: &str| {
        format!(
            "{}{inner}{}",
            "{\"all\":[{\"not\":".repeat(25),
            "}]}".repeat(25)
        )
    };
    let text = format!(
        "{{\"a\":[{{\"all\":[{},{}]}}]}}",
        nest("1"),
        nest("{\"prefix\":\"a\"}")
    );
    assert!(!dead_ends(&parse(&text), &SHAPE).never);
}

#[test]
fn what_events_have_reached() {
    let pattern = parse(
        r#"{"type":["a","b"],"$or":[{"x":[1,{"exists":false}]},{"y":[{"contains-all":[1,2]},3]}]}"#,
    );
    let mut coverage = Coverage::new(&pattern);
    for (event, matched) in [
        (r#"{"type":"a","x":1}"#, true),
        (r#"{"type":"a","x":1,"y":[2,1]}"#, true),
        (r#"{"type":"c","x":1,"y":3}"#, false),
        (r#"{"type":"a","x":5,"y":7}"#, false),
    ] {
        assert_eq!(
            coverage.observe_json(event.as_bytes()),
            Ok(matched),
            "{event}"
        );
    }
    assert!(coverage.observe_json(b"[").is_err());
    let report = coverage.report();
    assert_eq!(
        (report.events, report.matched, &*report.sub_rules),
        (4, 2, &[2, 1][..])
    );
    let unreached: Vec<String> = report
        .unreached()
        .map(|one| format!("{} {}", one.path, one.alternative))
        .collect();
    assert_eq!(unreached, [r#"type "b""#, r#"x {"exists": false}"#, "y 3"]);
    assert_eq!(report.unreached_sub_rules().count(), 0);
    assert_eq!(coverage.observe_json(br#"{"type":"b"}"#), Ok(true));
    let report = coverage.report();
    let unreached: Vec<&str> = report
        .unreached()
        .map(|one| one.alternative.as_str())
        .collect();
    assert_eq!(unreached, ["3"]);
}

#[test]
fn an_alternative_is_reached_where_it_would_do_alone() {
    let check = |pattern: &str, event: &str, wanted: &[&str]| {
        let mut coverage = Coverage::new(&parse(pattern));
        assert_eq!(coverage.observe_json(event.as_bytes()), Ok(true), "{event}");
        let report = coverage.report();
        let reached: Vec<&str> = report
            .alternatives
            .iter()
            .filter(|one| one.events > 0)
            .map(|one| one.alternative.as_str())
            .collect();
        assert_eq!(reached, wanted, "{pattern} on {event}");
    };
    let elements = r#"{"a":{"b":["x","y",{"exists":false}],"c":[1]}}"#;
    // The value that meets an alternative has to be in the element that the sub-rule uses.
    check(
        elements,
        r#"{"a":[{"b":"x","c":2},{"b":"y","c":1}]}"#,
        &[r#""y""#, "1"],
    );
    check(
        elements,
        r#"{"a":[{"b":"x"},{"c":1}]}"#,
        &[r#"{"exists": false}"#, "1"],
    );
    check(
        r#"{"a":["x",{"prefix":"x"},{"prefix":"y"}]}"#,
        r#"{"a":"x"}"#,
        &[r#""x""#, r#"{"prefix": "x"}"#],
    );
}

#[test]
fn what_a_pattern_accepts() {
    let pattern = parse(
        r#"{"$or":[{"type":["a",{"prefix":"b."}]},{"type":[{"exactly":["c"]}],"x":[{"all":[1,2]}]}]}"#,
    );
    assert!(pattern.accepts("type", "a") && pattern.accepts("type", "b.c"));
    // The second sub-rule would accept it, but is dead.
    assert!(!pattern.accepts("type", "c") && !pattern.accepts("type", "b"));
    assert!(pattern.accepts("source", "anything"));
    assert_eq!(
        pattern.wanted_at("type"),
        [r#""a""#, r#"{"prefix": "b."}"#, r#"{"exactly": ["c"]}"#]
    );
    assert!(pattern.wanted_at("source").is_empty());
    let absent = parse(r#"{"subject":[{"exists":false},{"suffix":"x"}],"d.e":["y"]}"#);
    assert!(absent.accepts("subject", "x") && !absent.accepts("subject", "y"));
    assert!(absent.accepts("d.e", "y") && !absent.accepts("d.e", "x") && absent.accepts("d", "x"));
}

/// A literal or an operator for the small set of values of `value()`.
fn operator() -> impl Strategy<Value = String> {
    let text = || "[ab]{0,2}";
    let leaf = prop_oneof![
        text().prop_map(|text| format!("\"{text}\"")),
        (0..3_i32).prop_map(|number| number.to_string()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        text().prop_map(|text| format!("{{\"prefix\":\"{text}\"}}")),
        text().prop_map(|text| format!("{{\"suffix\":\"{text}\"}}")),
        "[abAB]{0,2}"
            .prop_map(|text| format!("{{\"prefix\":{{\"equals-ignore-case\":\"{text}\"}}}}")),
        "[abAB]{0,2}"
            .prop_map(|text| format!("{{\"suffix\":{{\"equals-ignore-case\":\"{text}\"}}}}")),
        "[abAB]{0,2}".prop_map(|text| format!("{{\"equals-ignore-case\":\"{text}\"}}")),
        "[ab]{0,1}\\*[ab]{0,1}(\\*[ab]{0,1})?"
            .prop_filter("no two stars", |text| !text.contains("**"))
            .prop_map(|text| format!("{{\"wildcard\":\"{text}\"}}")),
        "[ab]{0,2}".prop_map(|text| format!("{{\"regex\":\"{text}.*\"}}")),
        (0..3_i32, 0..4_usize).prop_map(|(number, sign)| {
            format!(
                "{{\"numeric\":[\"{}\",{number}]}}",
                ["<", "<=", ">", ">="][sign]
            )
        }),
        (0..2_i32, 1..3_i32).prop_map(|(low, more)| {
            format!("{{\"numeric\":[\">=\",{low},\"<\",{}]}}", low + more)
        }),
        text().prop_map(|text| format!("{{\"anything-but\":[\"{text}\",\"a\"]}}")),
        "[ab]{1,2}".prop_map(|text| format!("{{\"anything-but\":{{\"prefix\":\"{text}\"}}}}")),
        (0..4_usize).prop_map(|which| [
            "\"::1\"",
            "\"10.0.0.1\"",
            "{\"cidr\":\"10.0.0.0/8\"}",
            "{\"cidr\":\"10.0.0.0/30\"}"
        ][which]
            .to_owned()),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4)
                .prop_map(|list| format!("{{\"all\":[{}]}}", list.join(","))),
            prop::collection::vec(inner, 1..3)
                .prop_map(|list| format!("{{\"not\":[{}]}}", list.join(","))),
        ]
    })
}

/// The list of a field.
fn field() -> impl Strategy<Value = String> {
    let list = || prop::collection::vec(operator(), 1..3).prop_map(|list| list.join(","));
    let alternative = prop_oneof![
        6 => operator(),
        1 => Just("{\"exists\":false}".to_owned()),
        1 => Just("{\"exists\":true}".to_owned()),
        1 => list().prop_map(|list| format!("{{\"contains-all\":[{list}]}}")),
        1 => prop::collection::vec(0..3_i32, 1..3).prop_map(|list| format!("{{\"exactly\":{list:?}}}")),
    ];
    prop::collection::vec(alternative, 1..3).prop_map(|list| format!("[{}]", list.join(",")))
}

fn fields() -> impl Strategy<Value = String> {
    let path = prop_oneof![Just("type".to_owned()), "[ab](\\.[ab])?"];
    prop::collection::vec((path, field()), 1..3).prop_map(|fields| {
        let fields = fields
            .into_iter()
            .map(|(path, list)| format!("\"{path}\":{list}"));
        fields.collect::<Vec<_>>().join(",")
    })
}

fn pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        fields().prop_map(|fields| format!("{{{fields}}}")),
        (fields(), fields())
            .prop_map(|(one, other)| format!("{{\"$or\":[{{{one}}},{{{other}}}]}}")),
        (fields(), fields(), fields())
            .prop_map(|(and, one, other)| format!("{{{and},\"$or\":[{{{one}}},{{{other}}}]}}")),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[abAB]{0,3}".prop_map(Value::from),
        (0..4_usize).prop_map(|which| Value::from(["::1", "0::1", "10.0.0.1", "10.0.0.9"][which])),
        (0..3_i32).prop_map(Value::from),
        Just(Value::from(0.5)),
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
    ]
}

/// An event of the shape. `data` is made by `json()`, with or without dots in its keys.
fn event() -> impl Strategy<Value = Value> {
    let member = prop_oneof![
        scalar(),
        prop::collection::vec(scalar(), 0..4).prop_map(Value::Array),
        prop::collection::btree_map("[ab]", scalar(), 0..3)
            .prop_map(|members| Value::Object(members.into_iter().collect())),
        prop::collection::vec(
            prop::collection::btree_map("[ab]", scalar(), 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
            0..3
        )
        .prop_map(Value::Array),
        json(),
    ];
    let members = prop::collection::btree_map("[ab]", member, 0..3);
    ("[abAB]{0,3}", members).prop_map(|(kind, mut members)| {
        members.insert("type".to_owned(), kind.into());
        Value::Object(members.into_iter().collect())
    })
}

fn matches(pattern: &Pattern, event: &Value) -> bool {
    let rules = RuleSet::new([((), pattern.clone())]);
    let matched = rules.matches_json(event.to_string().as_bytes(), Duplicates::Refuse);
    !matched.expect("the event is valid").is_empty()
}

fn has_dots(event: &Value) -> bool {
    match event {
        Value::Object(members) => members
            .iter()
            .any(|(key, value)| key.contains('.') || has_dots(value)),
        Value::Array(elements) => elements.iter().any(has_dots),
        _ => false,
    }
}

/// Operators apply to single values, so a claim about two operators is tested on many values.
fn values() -> Vec<Value> {
    let mut values: Vec<Value> = ["", "::1", "0::1", "10.0.0.1", "10.0.0.2", "10.9.0.1"]
        .map(Value::from)
        .to_vec();
    for first in ["a", "b", "A", "B"] {
        values.push(first.into());
        for second in ["a", "b", "A", "B"] {
            values.push(format!("{first}{second}").into());
            values.push(format!("{first}{second}a").into());
            values.push(format!("{first}{second}b").into());
        }
    }
    values.extend([
        Value::Null,
        true.into(),
        false.into(),
        0.into(),
        1.into(),
        2.into(),
        3.into(),
    ]);
    values.extend([0.5.into(), 1.5.into(), (-1).into()]);
    values
}

proptest! {
    #[test]
    fn what_is_within_is_matched_by_both(one in field(), other in field(), third in field()) {
        let narrow = parse(&format!("{{\"a\":{one},\"b\":{third}}}"));
        for wide in [format!("{{\"a\":{other}}}"), format!("{{\"a\":{other},\"b\":{third}}}")] {
            let wide = parse(&wide);
            if is_within(&narrow, &wide) {
                for value in values() {
                    for b in [Value::from("a"), 1.into(), Value::Null] {
                        for event in [
                            serde_json::json!({"a": value, "b": b}),
                            serde_json::json!({"a": [value, "ab"], "b": [b, 2]}),
                            serde_json::json!({"a": value}),
                        ] {
                            prop_assert!(!matches(&narrow, &event) || matches(&wide, &event), "{}", event);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn whole_patterns_within_each_other(one in pattern(), other in pattern(), events in prop::collection::vec(event(), 20)) {
        let (one, other) = (parse(&one), parse(&other));
        for (narrow, wide) in [(&one, &other), (&other, &one), (&one, &one)] {
            if is_within(narrow, wide) {
                for event in &events {
                    prop_assert!(!matches(narrow, event) || matches(wide, event), "{}", event);
                }
            }
        }
    }

    #[test]
    fn a_pattern_is_within_itself(text in pattern()) {
        prop_assert_eq!(overlap(&parse(&text), &parse(&text)), Some(Overlap::Same));
    }

    #[test]
    fn what_is_dead_is_never_met(text in pattern(), events in prop::collection::vec(event(), 20)) {
        let shape = Shape { strings: &["type"], required: &["type"], others_but: &[] };
        let pattern = parse(&text);
        let ends = dead_ends(&pattern, &shape);
        for event in &events {
            let explained = explain_json(&pattern, event.to_string().as_bytes()).expect("the event is valid");
            prop_assert!(!(ends.never && explained.matched), "{}", event);
            for end in &ends.found {
                if end.unless_dotted && has_dots(event) {
                    continue;
                }
                match &end.scope {
                    Scope::SubRule(number) => prop_assert!(!explained.branches[*number].matched, "{}: {:?}", event, end),
                    Scope::Alternative(text) => {
                        for condition in explained.branches.iter().filter(|branch| branch.matched)
                            .flat_map(|branch| &branch.conditions) {
                            let held = condition.path == end.path && condition.held_by.as_ref() == Some(text);
                            prop_assert!(!held, "{}: {:?}", event, end);
                        }
                    }
                    Scope::Field => {}
                }
            }
        }
    }

    #[test]
    fn what_is_not_accepted_is_not_matched(text in pattern(), events in prop::collection::vec(event(), 20)) {
        let pattern = parse(&text);
        for event in &events {
            let kind = event["type"].as_str().unwrap_or_default();
            prop_assert!(pattern.accepts("type", kind) || !matches(&pattern, event), "{}", event);
        }
    }

    #[test]
    fn explanations_agree_with_matches(text in pattern(), events in prop::collection::vec(event(), 10)) {
        let pattern = parse(&text);
        for event in &events {
            let explained = explain_json(&pattern, event.to_string().as_bytes()).expect("the event is valid");
            prop_assert_eq!(explained.matched, matches(&pattern, event), "{}", event);
            for branch in &explained.branches {
                // Each sub-rule and each condition as a pattern of its own.
                let of = |conditions: &[(&str, &[String])]| {
                    let fields = conditions.iter().map(|(path, wanted)| format!("\"{path}\":[{}]", wanted.join(",")));
                    parse(&format!("{{{}}}", fields.collect::<Vec<_>>().join(",")))
                };
                let conditions: Vec<(&str, &[String])> = branch.conditions.iter()
                    .map(|condition| (condition.path.as_str(), &*condition.wanted)).collect();
                prop_assert_eq!(branch.matched, matches(&of(&conditions), event), "{}", event);
                for (place, condition) in branch.conditions.iter().enumerate() {
                    let alone = matches(&of(&[(&condition.path, &condition.wanted)]), event);
                    // Absence may hold beside values that the missed conditions could use.
                    let any = ["{\"exists\":true}".to_owned()];
                    let absent = "{\"exists\": false}".to_owned();
                    let beside = !branch.matched && !alone && condition.held;
                    if beside {
                        let others = branch.conditions.iter().enumerate().filter_map(|(other, own)| {
                            let alone = matches(&of(&[(&own.path, &own.wanted)]), event);
                            let kept = other == place || alone;
                            let seen = own.seen_total > 0 && !own.wanted.contains(&absent);
                            (kept || seen).then_some((own.path.as_str(), if kept { &*own.wanted } else { &any }))
                        });
                        prop_assert!(matches(&of(&others.collect::<Vec<_>>()), event), "{} {}", event, condition);
                        prop_assert_eq!(condition.held_by.as_ref(), Some(&absent));
                        prop_assert!(branch.first_missed.is_some());
                        continue;
                    }
                    prop_assert_eq!(condition.held, branch.matched || alone, "{} {}", event, condition);
                    prop_assert_eq!(condition.held, condition.held_alternative.is_some());
                    // The alternative that is named is enough alone, and none before it is.
                    let last = condition.held_alternative.unwrap_or(condition.wanted.len() - 1);
                    for (number, alternative) in condition.wanted.iter().enumerate().take(last + 1) {
                        let only = std::slice::from_ref(alternative);
                        let mut narrowed = conditions.clone();
                        narrowed[place].1 = only;
                        let narrowed = if branch.matched { of(&narrowed) } else { of(&[(&condition.path, only)]) };
                        let held = condition.held_alternative == Some(number);
                        prop_assert_eq!(held, matches(&narrowed, event), "{} {} {}", event, condition, alternative);
                    }
                }
                let first = branch.conditions.iter().position(|condition| !condition.held);
                prop_assert_eq!(branch.first_missed, first);
                prop_assert_eq!(branch.array_inconsistent, !branch.matched && first.is_none());
            }
        }
    }

    #[test]
    fn coverage_agrees_with_matches(text in pattern(), events in prop::collection::vec(event(), 10)) {
        let pattern = parse(&text);
        let mut coverage = Coverage::new(&pattern);
        let mut matched = 0;
        for event in &events {
            let wanted = matches(&pattern, event);
            let got = coverage.observe_json(event.to_string().as_bytes());
            prop_assert_eq!(got, Ok(wanted));
            matched += u64::from(wanted);
        }
        let report = coverage.report();
        prop_assert_eq!((report.events, report.matched), (10, matched));
        // If something matched, an alternative of each of its fields was reached.
        prop_assert!(matched == 0 || report.alternatives.iter().any(|one| one.events > 0));
        prop_assert!(report.sub_rules.iter().sum::<u64>() >= matched);
    }
}
