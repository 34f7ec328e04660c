//! Tests which patterns are refused, the place that the error names, and its text.

use super::*;
use crate::{Part, explain};
use proptest::prelude::*;

fn errors_of(pattern: &[u8], dialect: Dialect) -> Vec<String> {
    let options = ParseOptions {
        dialect,
        aliases: &[("detail", "data")],
        ..ParseOptions::default()
    };
    match Pattern::parse(pattern, &options) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

fn check(pattern: &str, wanted: &[&str]) {
    let found = errors_of(pattern.as_bytes(), Dialect::Edgebus);
    assert_eq!(found, wanted, "{pattern}");
}

#[test]
fn structure() {
    check(r#"{"a":[1]}"#, &[]);
    check(EVERYTHING, &[]);
    check(
        "{}",
        &["byte 0: an empty object; write at least one field, or leave the object out"],
    );
    check(
        "[1,2]",
        &["byte 0: a pattern is an object, not a list; write {\"field\": [\"value\"]}"],
    );
    check(
        "\"a\"",
        &["byte 0: a pattern is an object, not a string; write {\"field\": [\"value\"]}"],
    );
    check(
        r#"{"a":{"b":{}}}"#,
        &["byte 10, at /a/b: an empty object; write at least one field, or leave the object out"],
    );
    check(
        r#"{"a":[]}"#,
        &[
            "byte 5, at /a: an empty list; write at least one value; [{\"exists\": false}] means none",
        ],
    );
    check(
        r#"{"a":42}"#,
        &["byte 5, at /a: a field takes a list or an object, not a number; write [42]"],
    );
    check(
        r#"{"a":"x"}"#,
        &["byte 5, at /a: a field takes a list or an object, not a string; write [\"x\"]"],
    );
    check(
        r#"{"a":[[1]]}"#,
        &[
            "byte 6, at /a/0: a list inside a field's list; write its values without the inner brackets",
        ],
    );
    let one = "write one object for each operator: [{\"prefix\": \"a\"}, {\"suffix\": \"z\"}]";
    check(
        r#"{"a":[{}]}"#,
        &[&format!(
            "byte 6, at /a/0: 0 keys where one operator is needed; {one}"
        )],
    );
    check(
        r#"{"a":[1,{"prefix":"x","foo":[]}]}"#,
        &[&format!(
            "byte 8, at /a/1: 2 keys where one operator is needed; {one}"
        )],
    );
}

#[test]
fn text_that_is_not_json_has_one_error() {
    for (pattern, start) in [
        ("", "byte 0: the text ends too early"),
        (
            "{'a':[1]}",
            "byte 1: expected a key in double quotes, found '\\''",
        ),
        (r#"{"a":[1 2]}"#, "byte 8: expected `,` or `]`, found '2'"),
        (r#"{"a":[1]} x"#, "byte 10: expected the end, found 'x'"),
        (r#"{"a":["\ud800"]}"#, "byte 7: a surrogate"),
    ] {
        let found = errors_of(pattern.as_bytes(), Dialect::Edgebus);
        assert!(
            found.len() == 1 && found[0].starts_with(start),
            "{pattern}: {found:?}"
        );
    }
    assert!(errors_of(b"{\"a\":[\"\xff\"]}", Dialect::Edgebus)[0].starts_with("byte 7: not UTF-8"));
}

#[test]
fn all_errors_are_found_together_in_reading_order() {
    let pattern =
        r#"{"a/b":[{"prefx":1},{"prefix":2}],"c":{"~":7,"$or":[{"d":[]},3]},"e":[{"cidr":"x"}]}"#;
    let options = ParseOptions::default();
    let errors = Pattern::parse(pattern.as_bytes(), &options).expect_err("it has errors");
    let pointers: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
    let wanted = [
        "/a~1b/0/prefx",
        "/a~1b/1/prefix",
        "/c/~0",
        "/c/$or/0/d",
        "/c/$or/1",
        "/e/0/cidr",
    ];
    assert_eq!(pointers, wanted);
    assert!(errors.is_sorted_by_key(|error| error.offset));
    for error in &errors {
        assert!(!error.reason.is_empty() && !error.remedy.is_empty());
    }
    let many = format!("{{\"a\":[{}0]}}", "[],".repeat(1000));
    let errors = Pattern::parse(many.as_bytes(), &options).expect_err("it has errors");
    assert_eq!(errors.len(), 100);
    let long = format!("{{\"{}\":[[],{{\"{0}\":1}}]}}", "k".repeat(20_000));
    let errors = Pattern::parse(long.as_bytes(), &options).expect_err("it has errors");
    assert!(
        errors.iter().all(|error| error.to_string().len() < 1000),
        "errors are bounded"
    );
    // A key that a later one replaces has to follow the same rules.
    check(
        r#"{"a":[],"a":[1]}"#,
        &[
            "byte 5, at /a: an empty list; write at least one value; [{\"exists\": false}] means none",
        ],
    );
}

#[test]
fn disjunctions() {
    let remedy = "write {\"$or\": [{…}, {…}]}";
    check(
        r#"{"$or":{"a":[1]}}"#,
        &[&format!(
            "byte 7, at /$or: $or takes a list of objects, not an object; {remedy}"
        )],
    );
    check(
        r#"{"$or":["x",{"a":[1]}]}"#,
        &[&format!("byte 8, at /$or/0: a string in $or; {remedy}")],
    );
    check(
        r#"{"$or":[{"a":[1]}]}"#,
        &[&format!(
            "byte 7, at /$or: $or takes two or more objects; {remedy}"
        )],
    );
    check(
        r#"{"$or":[]}"#,
        &[&format!(
            "byte 7, at /$or: $or takes two or more objects; {remedy}"
        )],
    );
    check(
        r#"{"b":{"$or":[{"a":[1]},{}]}}"#,
        &[
            "byte 23, at /b/$or/1: an empty object; write at least one field, or leave the object out",
        ],
    );
    for key in [
        "prefix",
        "exists",
        "cidr",
        "exactly",
        "regex",
        "date-after",
        "ip-address-in",
        "not-x",
    ] {
        let found = errors_of(
            format!(r#"{{"$or":[{{"{key}":["x"]}},{{"a":[1]}}]}}"#).as_bytes(),
            Dialect::Edgebus,
        );
        let start =
            format!("byte 9, at /$or/0/{key}: \"{key}\" can't be a field's name inside $or");
        assert!(
            found.len() == 1 && found[0].starts_with(&start),
            "{found:?}"
        );
        check(&format!(r#"{{"{key}":["x"]}}"#), &[]);
        check(
            &format!(r#"{{"$or":[{{"b":{{"{key}":["x"]}}}},{{"a":[1]}}]}}"#),
            &[],
        );
    }
}

/// A pattern at the limit is accepted. One above it is refused, and the error names the limit.
fn limit(at: String, over: String, name: &str) {
    assert_eq!(
        errors_of(at.as_bytes(), Dialect::Edgebus),
        Vec::<String>::new()
    );
    let found = errors_of(over.as_bytes(), Dialect::Edgebus);
    assert!(
        found.iter().any(|error| error.contains(name)),
        "{name}: {found:?}"
    );
    assert!(found.iter().all(|error| error.len() < 500));
}

#[test]
fn limits() {
    let fields = |count: usize| {
        let fields: Vec<String> = (0..count)
            .map(|number| format!("\"{number}\":[1]"))
            .collect();
        format!("{{{}}}", fields.join(","))
    };
    limit(fields(256), fields(257), "more than 256 fields, the limit");

    let product = |last: usize| {
        let or = |name: &str, count: usize| {
            let objects: Vec<String> = (0..count)
                .map(|at| format!("{{\"{name}{at}\":[1]}}"))
                .collect();
            format!("\"{name}\":{{\"$or\":[{}]}}", objects.join(","))
        };
        format!("{{{},{},{}}}", or("a", 10), or("b", 10), or("c", last))
    };
    limit(product(10), product(11), "more than 1000 sub-rules");

    let text = |length: usize| format!("{{\"a\":[\"{}\"]}}", "x".repeat(length - 10));
    limit(text(65_536), text(65_537), "longer than 65536 bytes");
    let eventbridge = |length: usize| {
        // The limit counts characters, not bytes.
        let pattern = format!("{{\"a\":[\"{}\"]}}", "é".repeat(length - 10));
        errors_of(pattern.as_bytes(), Dialect::EventBridge)
    };
    assert!(eventbridge(4096).is_empty());
    assert!(eventbridge(4097)[0].contains("longer than 4096 characters, EventBridge's limit"));

    let dotted = |count: usize| format!("{{\"{}\":[1]}}", vec!["a"; count].join("."));
    limit(dotted(64), dotted(65), "more than 64 segments");

    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let wide = errors_of(deep(128).as_bytes(), Dialect::Edgebus);
    assert!(wide[0].contains("a pattern is an object"), "{wide:?}");
    assert!(
        errors_of(deep(129).as_bytes(), Dialect::Edgebus)[0].contains("deeper than 128 brackets")
    );
    let objects = "{\"a\":".repeat(10_000);
    assert!(errors_of(objects.as_bytes(), Dialect::Edgebus)[0].contains("deeper than 128"));
}

#[test]
fn patterns_are_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Pattern>();
    fn set<T: Send + Sync>() {}
    set::<crate::RuleSet<String>>();
    set::<crate::Filter>();
}

/// A valid pattern with every operator, which tests cut and splice.
const EVERYTHING: &str = r#"{"a.b":["x",1,null,{"prefix":"p"},{"suffix":{"equals-ignore-case":"ß"}}],
"$or":[{"c":{"d":[{"numeric":[">=",1,"<",2e3]}]}},{"e":[{"anything-but":{"wildcard":["*\\**","y"]}}],
"$or":[{"f":[{"cidr":"::/0"}]},{"g":[{"exists":false},{"anything-but":[1,2]}]}]}]}"#;

const TOKENS: [&str; 16] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "*",
    "$or",
    "{\"exists\":true}",
    "[]",
    "1e999",
    "null",
    "\u{e9}",
    ".",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    /// However the pattern is changed, nothing panics. A valid one can be matched and explained. For an
    /// invalid one, the error's place is inside the text.
    #[test]
    fn spliced_patterns_are_parsed_or_refused(
        from in 0..EVERYTHING.len(),
        cut in 0..30_usize,
        tokens in prop::collection::vec(prop::sample::select(&TOKENS[..]), 0..4),
    ) {
        let characters: Vec<char> = EVERYTHING.chars().collect();
        let from = from.min(characters.len());
        let to = (from + cut).min(characters.len());
        let (before, after) = (&characters[..from], &characters[to..]);
        let text: String = before.iter().chain(after).collect();
        let place: usize = before.iter().map(|character| character.len_utf8()).sum();
        let text = format!("{}{}{}", &text[..place], tokens.concat(), &text[place..]);
        match Pattern::parse(text.as_bytes(), &ParseOptions::default()) {
            Ok(pattern) => {
                prop_assert!(!pattern.branches().is_empty());
                let event = [Part::Raw { name: "e", json: br#"[{"x":[1]},"y"]"# }];
                let explained = explain(&pattern, &event).expect("the event is valid");
                prop_assert!(!explained.to_string().is_empty());
            }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                prop_assert!(errors.iter().all(|error| error.offset <= text.len()));
            }
        }
    }
}

/// A number or boolean in a condition on a member that is a string in every event means the string.
#[test]
fn numbers_and_booleans_of_texts_are_read_as_texts() {
    let options = ParseOptions {
        texts_but: &["data"],
        ..ParseOptions::default()
    };
    let check = |pattern: &str, text: &str, expected: bool| {
        let pattern = Pattern::parse(pattern.as_bytes(), &options).expect(pattern);
        let event = format!(r#"{{"a": "{text}", "data": {{"a": {text}}}}}"#);
        let set = crate::RuleSet::new([((), pattern)]);
        let found = set.matches_json(event.as_bytes(), crate::Duplicates::Refuse);
        assert_eq!(
            found.is_ok_and(|found| !found.is_empty()),
            expected,
            "{text}"
        );
    };
    for (alternatives, text, expected) in [
        ("5", "5", true),
        ("5.0, 7", "5", true),
        ("5e0", "5", true),
        ("-0.0", "0", false),
        ("123456789012", "123456789012", true),
        ("true", "true", true),
        (r#"{"anything-but": 5}"#, "5", false),
        (r#"{"anything-but": [4, 5]}"#, "6", true),
        (r#"{"not": {"anything-but": [5]}}"#, "5", true),
        (r#"{"all": [5, {"prefix": "5"}]}"#, "5", true),
        (r#"{"prefix": "5"}"#, "51", true),
        (r#"{"numeric": [">", 3]}"#, "5", false),
        (r#"{"exists": true}"#, "5", true),
    ] {
        check(&format!(r#"{{"a": [{alternatives}]}}"#), text, expected);
    }
    check(r#"{"data": {"a": [5]}}"#, "5", true);
    check(r#"{"data": {"a": [{"numeric": [">", 3]}]}}"#, "5", true);
    check(r#"{"$or": [{"a": [5]}, {"b": [1]}]}"#, "5", true);
}
