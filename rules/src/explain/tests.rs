//! What explanations say, word for word.

use super::*;
use crate::ParseOptions;

fn explained(pattern: &str, data: &str) -> Explanation {
    let pattern = Pattern::parse(pattern.as_bytes(), &ParseOptions::default());
    let event = [
        Part::Text {
            name: "type",
            value: "order.opened",
        },
        Part::Raw {
            name: "data",
            json: data.as_bytes(),
        },
    ];
    explain(&pattern.expect("the pattern is valid"), &event).expect("the event is valid")
}

fn check(pattern: &str, data: &str, wanted: &[&str]) {
    let text = explained(pattern, data).to_string();
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        wanted,
        "{pattern} on {data}"
    );
}

#[test]
fn one_sub_rule() {
    let pattern = r#"{"type":[{"prefix":"order."},"x"],"data":{"n":[{"numeric":[">",5]}],"z":[{"exists":false}]}}"#;
    check(
        pattern,
        r#"{"n":7}"#,
        &[
            "matched",
            r#"  held   type: wanted {"prefix": "order."} or "x"; saw "order.opened"; held by {"prefix": "order."}"#,
            r#"  held   data.n: wanted {"numeric": [">", 5]}; saw 7"#,
            r#"  held   data.z: wanted {"exists": false}; no value"#,
        ],
    );
    check(
        pattern,
        r#"{"n":[1,2,3,4,5,0,null],"z":1}"#,
        &[
            "not matched",
            r#"  held   type: wanted {"prefix": "order."} or "x"; saw "order.opened"; held by {"prefix": "order."}"#,
            r#"  MISSED data.n: wanted {"numeric": [">", 5]}; saw 1, 2, 3, 4, 5 and 2 more"#,
            r#"  missed data.z: wanted {"exists": false}; saw 1"#,
        ],
    );
}

#[test]
fn several_sub_rules() {
    check(
        r#"{"$or":[{"data.a":[1]},{"data.b":[2]}],"type":[{"anything-but":["x","y"]}]}"#,
        r#"{"b":2}"#,
        &[
            "matched",
            "sub-rule 1 of 2: missed",
            "  MISSED data.a: wanted 1; no value",
            r#"  held   type: wanted {"anything-but": ["x", "y"]}; saw "order.opened""#,
            "sub-rule 2 of 2: matched",
            "  held   data.b: wanted 2; saw 2",
            r#"  held   type: wanted {"anything-but": ["x", "y"]}; saw "order.opened""#,
        ],
    );
}

#[test]
fn arrays() {
    let pattern = r#"{"data":{"a":{"b":[1],"c":[2]}}}"#;
    check(
        pattern,
        r#"{"a":[{"b":1},{"c":2}]}"#,
        &[
            "not matched",
            "  held   data.a.b: wanted 1; saw 1",
            "  held   data.a.c: wanted 2; saw 2",
            "  each condition holds, but not within the same element of an array",
        ],
    );
    let either = r#"{"data":{"a":{"b":[{"exists":false},"x"],"c":[2]}}}"#;
    check(
        either,
        r#"{"a":[{"b":1},{"c":2}]}"#,
        &[
            "matched",
            r#"  held   data.a.b: wanted {"exists": false} or "x"; saw 1; held by {"exists": false}"#,
            "  held   data.a.c: wanted 2; saw 2",
        ],
    );
}

#[test]
fn what_is_shown_is_bounded() {
    let long = "é".repeat(10_000);
    let one = explained(
        &format!("{{\"data\":[\"{long}\"]}}"),
        &format!("\"{long}\""),
    );
    assert!(one.matched && one.to_string().len() < 1000);
    let objects: Vec<String> = (0..200)
        .map(|number| format!("{{\"data\":[{number}]}}"))
        .collect();
    let many = explained(&format!("{{\"$or\":[{}]}}", objects.join(",")), "150");
    assert_eq!(
        (many.matched, many.sub_rules, many.branches.len()),
        (true, 200, 50)
    );
    let matched = many.branches.iter().filter(|branch| branch.matched);
    assert_eq!(
        matched.map(|branch| branch.sub_rule).collect::<Vec<_>>(),
        [150]
    );
    assert!(many.to_string().ends_with("150 more sub-rules not shown\n"));
}

#[test]
fn it_is_data_too() {
    let json = serde_json::to_value(explained(r#"{"data":{"a":[1]}}"#, r#"{"a":[2]}"#));
    let wanted = serde_json::json!({
        "matched": false,
        "sub_rules": 1,
        "branches": [{
            "sub_rule": 0,
            "matched": false,
            "first_missed": 0,
            "array_inconsistent": false,
            "conditions": [{
                "path": "data.a", "wanted": ["1"], "seen": ["2"], "seen_total": 1,
                "held": false, "held_by": null,
            }],
        }],
    });
    assert_eq!(json.ok(), Some(wanted));
}
