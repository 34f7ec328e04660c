//! Compares the reading of events with serde_json: both accept the same texts and find the same values.

use super::*;
use crate::path::{Path, TrieBuilder};
use proptest::prelude::*;
use serde_json::Value;

fn trie(paths: &[&str]) -> Trie {
    let mut builder = TrieBuilder::new();
    for path in paths {
        let path: Path = path.split('.').map(Into::into).collect();
        builder.intern(&path);
    }
    builder.build()
}

/// The values found at the paths, as `index value` in order, or the error.
fn found(paths: &[&str], event: &[u8], duplicates: Duplicates) -> Result<String, String> {
    let trie = trie(paths);
    let flat = document(&trie, event, duplicates).map_err(|error| error.to_string())?;
    let mut lines = Vec::new();
    for path in 0..trie.paths() {
        for value in flat.values(path as PathId) {
            lines.push(format!("{path}={}", value.scalar.excerpt()));
        }
    }
    Ok(lines.join(" "))
}

fn check(paths: &[&str], event: &str, wanted: &str) {
    let got = found(paths, event.as_bytes(), Duplicates::LastWins);
    assert_eq!(got.as_deref(), Ok(wanted), "{paths:?} in {event}");
}

#[track_caller]
fn refused(event: &[u8], part: &str) {
    // One list of paths leads to the values, and one doesn't. Both check the same grammar.
    for paths in [&["a"][..], &["a.b", "b"], &["x"]] {
        let error = found(paths, event, Duplicates::LastWins).expect_err("the event is refused");
        assert!(error.contains(part), "{error:?} should contain {part:?}");
    }
}

#[test]
fn values_are_found_where_they_are() {
    check(&["a"], r#"{"a":1}"#, "0=1");
    check(&["a"], r#" { "a" : "x\ny" , "b":[ ] } "#, r#"0="x\ny""#);
    check(
        &["a", "b"],
        r#"{"b":[1,[2,[]],{}],"a":null}"#,
        "0=null 1=1 1=2",
    );
    check(&["a.b"], r#"{"a":{"b":1},"a.b":2}"#, "0=1 0=2");
    check(
        &["a.b.c"],
        r#"{"a.b":{"c":1},"a":{"b.c":2},"a.b.c":3}"#,
        "0=1 0=2 0=3",
    );
    check(&["a..b"], r#"{"a":{"":{"b":1}},"a.":{"b":2}}"#, "0=1 0=2");
    check(&[""], r#"{"":1}"#, "0=1");
    check(&["a", "a.b"], r#"{"a":[{"b":1},2]}"#, "0=2 1=1");
    check(&["a"], r#"{"a":{"b":1}}"#, "");
    check(&["a"], r#"{"\u0061":"\ud83d\ude00"}"#, "0=\"😀\"");
    check(&["a"], r#"{"a":[]}"#, "");
    check(&["a"], "{}", "");
}

#[test]
fn duplicates_are_refused_or_replaced() {
    let paths = &["a", "b.c", "b.d"];
    check(paths, r#"{"a":1,"a":2}"#, "0=2");
    check(
        paths,
        r#"{"a":[1,2],"b":{"c":1,"d":2},"a":3,"b":{"d":4}}"#,
        "0=3 2=4",
    );
    check(paths, r#"{"a":1,"a":2,"a":{}}"#, "");
    check(paths, r#"{"b":{"c":1,"c":2},"b":{"c":3,"c":4}}"#, "1=4");
    check(paths, r#"{"b.c":1,"b":{"c":2},"b.c":3}"#, "1=2 1=3");
    for (event, offset) in [
        (r#"{"a":1,"a":1}"#, Some(7)),
        (r#"{"b":{"c":1,"\u0063":2}}"#, Some(12)),
        (
            r#"{"x":1,"x":2,"b":{"x":1,"x":2},"a":[{"a":1},{"a":2}]}"#,
            None,
        ),
        (r#"{"b.c":1,"b":{"c":2}}"#, None),
    ] {
        let got = document(&trie(paths), event.as_bytes(), Duplicates::Refuse);
        assert_eq!(got.err().map(|error| error.offset), offset, "{event}");
    }
}

#[test]
fn many_mentioned_keys_in_one_object() {
    let names: Vec<String> = (0..500).map(|number| format!("k{number}")).collect();
    let paths: Vec<&str> = names.iter().map(String::as_str).collect();
    let twice = names.iter().chain(&names).enumerate();
    let members: Vec<String> = twice.map(|(at, name)| format!("\"{name}\":{at}")).collect();
    let event = format!("{{{}}}", members.join(","));
    let got = found(&paths, event.as_bytes(), Duplicates::LastWins).expect("the event is valid");
    assert!(
        got.starts_with("0=500 1=501") && got.ends_with("499=999"),
        "{got}"
    );
    let refused = document(&trie(&paths), event.as_bytes(), Duplicates::Refuse);
    assert!(refused.is_err());
}

#[test]
fn what_is_not_json_is_refused() {
    for (event, part) in [
        ("", "ends too early"),
        ("[]", "must be a JSON object"),
        (r#""a""#, "must be a JSON object"),
        (r#"{"a":1"#, "ends too early"),
        (r#"{"a":1}}"#, "expected the end"),
        (r#"{"a":"x", !!!!"#, "a key in double quotes"),
        (r#"{"a":1,}"#, "a key in double quotes"),
        (r#"{"a":[1,]}"#, "expected a JSON value"),
        (r#"{"a":[1 2]}"#, "expected `,` or `]`"),
        (r#"{"a":{"b":1 "c":2}}"#, "expected `,` or `}`"),
        (r#"{"a":[}"#, "expected a JSON value"),
        (r#"{"a" 1}"#, "expected `:`"),
        (r#"{a:1}"#, "a key in double quotes"),
        (r#"{"a":01}"#, "must not start with a zero"),
        (r#"{"a":-}"#, "a digit"),
        (r#"{"a":1.}"#, "a digit"),
        (r#"{"a":.5}"#, "a JSON value"),
        (r#"{"a":1e+}"#, "a digit"),
        (r#"{"a":+1}"#, "a JSON value"),
        (r#"{"a":NaN}"#, "a JSON value"),
        (r#"{"a":nul}"#, "a JSON value"),
        (r#"{"a":truex}"#, "expected `,` or `}`"),
        (r#"{"a":"\x"}"#, "not an escape"),
        (r#"{"a":"\u12g4"}"#, "four hexadecimal digits"),
        (r#"{"a":"\u12"#, "four hexadecimal digits"),
        (r#"{"a":"\u+123"}"#, "four hexadecimal digits"),
        (r#"{"a":"\ud800"}"#, "surrogate"),
        (r#"{"a":"\udc00\ud800"}"#, "surrogate"),
        (r#"{"a":"\ud800\ud800"}"#, "surrogate"),
        (r#"{"a":"\ud800\u0041"}"#, "surrogate"),
        ("{\"a\":\"x\ny\"}", "control character"),
        ("{\"a\":\"a long enough text\u{1}\"}", "control character"),
        (r#"{"a":"x"#, "ends inside a string"),
        (r#"{"a":"x\"#, "not an escape"),
        ("\u{feff}{}", "must be a JSON object"),
        ("{\"a\":1}\u{a0}", "expected the end"),
    ] {
        refused(event.as_bytes(), part);
    }
    refused(b"{\"a\":\"\xff\"}", "byte 6: not UTF-8");
    refused(b"{\"a\":\"\xed\xa0\x80\"}", "not UTF-8");
}

#[test]
fn depth_is_bounded() {
    for (open, close, leaf) in [("[", "]", "1"), ("{\"b\":", "}", "1")] {
        let nested = |depth: usize| {
            let depth = depth - 1;
            format!(
                "{{\"a\":{}{leaf}{}}}",
                open.repeat(depth),
                close.repeat(depth)
            )
        };
        for paths in [&["a"][..], &["x"], &["a.b.b"]] {
            let at = |depth| found(paths, nested(depth).as_bytes(), Duplicates::Refuse);
            assert!(at(EVENT_DEPTH_MAX).is_ok());
            let error = at(EVENT_DEPTH_MAX + 1).expect_err("it is too deep");
            assert!(error.contains("deeper than 64"), "{error}");
            assert!(at(10_000).is_err());
            let part = nested(EVENT_DEPTH_MAX)[5..]
                .trim_end_matches('}')
                .to_owned();
            let raw = Part::Raw {
                name: "a",
                json: part.as_bytes(),
            };
            assert_eq!(
                parts(&trie(paths), &[raw], Duplicates::Refuse).is_ok(),
                open == "["
            );
        }
    }
    refused("[".repeat(10_000).as_bytes(), "must be a JSON object");
    refused(
        format!("{{\"a\":{}", "[".repeat(10_000)).as_bytes(),
        "deeper than 64",
    );
}

#[test]
fn parts_are_the_members_of_an_object() {
    let trie = trie(&["id", "data.a", "data"]);
    let text = |name, value| Part::Text { name, value };
    let raw = |name, json: &'static str| Part::Raw {
        name,
        json: json.as_bytes(),
    };
    let read = |event: &[Part<'static>], duplicates| {
        parts(&trie, event, duplicates).map(|flat| flat.occurrences.len())
    };
    let error = |event: &[Part<'static>]| {
        read(event, Duplicates::Refuse)
            .expect_err("refused")
            .to_string()
    };
    let event = [
        text("id", "a\"b"),
        raw("data", r#" {"a":[1,2]} "#),
        raw("other", "[]"),
    ];
    assert_eq!(read(&event, Duplicates::Refuse), Ok(3));
    assert_eq!(read(&[raw("data", "\"x\"")], Duplicates::Refuse), Ok(1));
    assert_eq!(
        error(&[raw("other", "[")]),
        r#"byte 1 of "other": the text ends too early"#
    );
    assert_eq!(
        error(&[raw("data", "1 2")]),
        r#"byte 2 of "data": expected the end, found '2'"#
    );
    assert!(error(&[text("id", "1"), raw("id", "2")]).contains("occurs twice"));
    assert_eq!(
        read(&[text("id", "1"), raw("id", "[]")], Duplicates::LastWins),
        Ok(1)
    );
}

/// Every scalar of a tree at a path, in the order of its keys.
fn by_tree(value: &Value, path: &[&str], found: &mut Vec<String>) {
    match value {
        Value::Array(elements) => elements
            .iter()
            .for_each(|element| by_tree(element, path, found)),
        Value::Object(members) => {
            for (key, member) in members {
                let segments: Vec<&str> = key.split('.').collect();
                if let Some(rest) = path.strip_prefix(&segments[..]) {
                    by_tree(member, rest, found);
                }
            }
        }
        scalar if path.is_empty() => found.push(scalar.to_string()),
        _ => {}
    }
}

/// JSON with few keys and values, so that paths often match.
pub(crate) fn json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        (0..4_i32).prop_map(Value::from),
        Just(Value::Null),
        Just(Value::from("x")),
    ];
    scalar.prop_recursive(5, 40, 4, |inner| {
        let key = prop_oneof!["[ab]", "[ab]\\.[ab]"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn values_agree_with_a_tree(value in json(), path in "[ab](\\.[ab]){0,3}") {
        let event = serde_json::json!({ "a": value });
        let segments: Vec<&str> = path.split('.').collect();
        let mut wanted = Vec::new();
        by_tree(&event, &segments, &mut wanted);
        let got = found(&[&path], event.to_string().as_bytes(), Duplicates::Refuse);
        let wanted: Vec<String> = wanted.iter().map(|value| format!("0={value}")).collect();
        prop_assert_eq!(got, Ok(wanted.join(" ")));
    }

    #[test]
    fn acceptance_agrees_with_serde_json(text in "[\\[\\]{}:,\"ab01.eE+ntr-]{0,12}", value in json()) {
        let around = value.to_string();
        let cut = around.char_indices().nth(text.len()).map_or(0, |(at, _)| at);
        for event in [
            format!("{{\"a\":{text}}}"),
            format!("{{\"a\":{}{text}{}}}", &around[..cut], &around[cut..]),
        ] {
            let wanted = serde_json::from_str::<serde::de::IgnoredAny>(&event).is_ok();
            for paths in [&["a"][..], &["x"], &["a.b"]] {
                let got = found(paths, event.as_bytes(), Duplicates::LastWins);
                prop_assert_eq!(got.is_ok(), wanted, "{} {:?}", event, got);
            }
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = found(&["a"], &bytes, Duplicates::LastWins);
        let _ = crate::Pattern::parse(&bytes, &crate::ParseOptions::default());
    }
}
