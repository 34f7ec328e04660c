//! Compares explanations with the expected text, word for word.

use super::*;
use crate::{ParseOptions, Part};

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
            r#"  yes  type: wanted a string starting with "order." or "x"; saw "order.opened"; met by a string starting with "order.""#,
            "  yes  data.n: wanted a number > 5; saw 7",
            "  yes  data.z: wanted no value; saw nothing",
        ],
    );
    check(
        pattern,
        r#"{"n":[1,2,3,4,5,0,null],"z":1}"#,
        &[
            "not matched",
            r#"  yes  type: wanted a string starting with "order." or "x"; saw "order.opened"; met by a string starting with "order.""#,
            "  NO   data.n: wanted a number > 5; saw 1, 2, 3, 4, 5 and 2 more",
            "  no   data.z: wanted no value; saw 1",
        ],
    );
}

#[test]
fn operators_in_words() {
    let pattern = r#"{"data":{
        "a":[{"suffix":{"equals-ignore-case":".png"}}],
        "b":[{"numeric":[">=",1,"<",2]},{"numeric":["=",7]}],
        "c":[{"wildcard":"a*b"},{"cidr":"10.0.0.0/8"},{"exists":true}],
        "d":[{"anything-but":["x","y"]},null,true],
        "e":[{"anything-but":{"prefix":["a","b"]}},1,2,3,4,5,6,7,8,9]
    }}"#;
    check(
        pattern,
        r#"{"d":"x","e":"ab"}"#,
        &[
            "not matched",
            r#"  NO   data.a: wanted a string ending with ".png" in any letter case; saw nothing"#,
            "  no   data.b: wanted a number >= 1 and < 2 or a number = 7; saw nothing",
            r#"  no   data.c: wanted a string like "a*b" or an IP address in 10.0.0.0/8 or any value; saw nothing"#,
            r#"  no   data.d: wanted anything but one of ("x", "y") or null or true; saw "x""#,
            r#"  no   data.e: wanted anything but one of (a string starting with "a", a string starting with "b") or 1 or 2 or 3 or 4 or 5 or 6 or 7 or 2 more; saw "ab""#,
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
            "$or choice 1 of 2: 1 of 2 conditions hold",
            "  NO   data.a: wanted 1; saw nothing",
            r#"  yes  type: wanted anything but one of ("x", "y"); saw "order.opened""#,
            "$or choice 2 of 2: matched",
            "  yes  data.b: wanted 2; saw 2",
            r#"  yes  type: wanted anything but one of ("x", "y"); saw "order.opened""#,
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
            "  yes  data.a.b: wanted 1; saw 1",
            "  yes  data.a.c: wanted 2; saw 2",
            "  NO   each condition holds by itself, but not all of them in the same element of an array",
        ],
    );
    let either = r#"{"data":{"a":{"b":[{"exists":false},"x"],"c":[2]}}}"#;
    check(
        either,
        r#"{"a":[{"b":1},{"c":2}]}"#,
        &[
            "matched",
            r#"  yes  data.a.b: wanted no value or "x"; saw 1, but in other elements of the array"#,
            "  yes  data.a.c: wanted 2; saw 2",
        ],
    );
}

#[test]
fn absence_in_another_element_is_not_what_was_missed() {
    let pattern = r#"{"data":{"a":{"b":[{"exists":false}],"c":[2]}}}"#;
    check(
        pattern,
        r#"{"a":[{"b":1},{"c":3}]}"#,
        &[
            "not matched",
            "  yes  data.a.b: wanted no value; saw 1, but in other elements of the array",
            "  NO   data.a.c: wanted 2; saw 3",
        ],
    );
    for elements in [r#"[{"b":1,"c":2},{"d":1}]"#, r#"[{"b":1,"c":3},{"d":1}]"#] {
        let text = explained(pattern, &format!("{{\"a\":{elements}}}")).summary();
        assert_eq!(text, "data.a.b: wanted no value; saw 1", "{elements}");
    }
}

#[test]
fn hints() {
    let hint = |pattern: &str, data: &str| {
        let explanation = explained(&format!("{{\"data\":[{pattern}]}}"), data);
        explanation.branches[0].conditions[0].hint.clone()
    };
    let table = [
        (r#""5""#, "5", Some("the value is a number: write 5")),
        ("5", r#""5""#, Some(r#"the value is a string: write "5""#)),
        (
            r#""true""#,
            "true",
            Some("the value is a boolean: write true"),
        ),
        (
            r#""null""#,
            "null",
            Some("the value is null, not text: write null"),
        ),
        (
            r#""a","Opened""#,
            r#"["x","opened"]"#,
            Some(r#"only the letter case differs: write {"equals-ignore-case": "Opened"}"#),
        ),
        (r#""5""#, "6", None),
        (r#""5""#, r#""5""#, None),
        (r#"{"prefix":"a"}"#, r#""A""#, None),
        ("5", r#"[5,"5"]"#, None),
    ];
    for (pattern, data, wanted) in table {
        assert_eq!(
            hint(pattern, data).as_deref(),
            wanted,
            "{pattern} on {data}"
        );
    }
    let text = explained(r#"{"data":["5"]}"#, "5").to_string();
    assert!(
        text.ends_with("\n       hint: the value is a number: write 5\n"),
        "{text}"
    );
}

#[test]
fn the_nearest_miss() {
    let summary = |pattern: &str, data: &str| explained(pattern, data).summary();
    let or = r#"{"type":["order.opened"],"$or":[{"data.a":[1]},{"data.b":[2],"data.c":[3]}]}"#;
    assert_eq!(summary(or, r#"{"a":1}"#), "matched");
    assert_eq!(summary(or, r#"{"a":2}"#), "data.a: wanted 1; saw 2");
    assert_eq!(summary(or, r#"{"c":3}"#), "data.b: wanted 2; saw nothing");
    assert_eq!(
        summary(
            r#"{"data":{"action":["opened","reopened"]}}"#,
            r#"{"action":"closed"}"#
        ),
        r#"data.action: wanted "opened" or "reopened"; saw "closed""#
    );
    assert_eq!(
        summary(
            r#"{"data":{"a":{"b":[1],"c":[2]}}}"#,
            r#"{"a":[{"b":1},{"c":2}]}"#
        ),
        "data.a.b, data.a.c: each condition holds by itself, but not all of them in the same element of an array"
    );
    // Sorted from far to near.
    let patterns = [
        r#"{"data":{"a":[2],"b":[2]}}"#,
        r#"{"type":["order.opened"],"data":{"a":[2],"b":[2]}}"#,
        r#"{"data":{"a":[1],"b":[1],"x":[1],"y":[1]}}"#,
        r#"{"data":{"a":[1],"x":[1]}}"#,
        r#"{"data":{"a":[1],"b":[1],"x":[1]}}"#,
        r#"{"data":{"c":{"d":[1],"e":[2]}}}"#,
        r#"{"data":{"a":[1]}}"#,
    ];
    let near =
        |pattern: &str| explained(pattern, r#"{"a":1,"b":1,"c":[{"d":1},{"e":2}]}"#).nearness();
    for pair in patterns.windows(2) {
        assert!(near(pair[0]) < near(pair[1]), "{pair:?}");
    }
}

#[test]
fn the_alternative_that_held_is_in_the_element_that_matched() {
    let held = |data: &str| {
        let pattern = r#"{"data":{"a":{"b":["x","y",{"exists":false}],"c":[1]}}}"#;
        let explanation = explained(pattern, data);
        assert!(explanation.matched, "{data}");
        explanation.branches[0].conditions[0].held_by.clone()
    };
    for (data, wanted) in [
        (r#"{"a":[{"b":"x","c":2},{"b":"y","c":1}]}"#, r#""y""#),
        (r#"{"a":[{"b":"x"},{"c":1}]}"#, r#"{"exists": false}"#),
        (r#"{"a":[{"b":["y","x"],"c":1}]}"#, r#""x""#),
    ] {
        assert_eq!(held(data).as_deref(), Some(wanted), "{data}");
    }
}

#[test]
fn the_nearest_of_very_many_is_shown() {
    let objects: Vec<String> = (0..100)
        .map(|number| match number {
            90 => r#"{"data.a":[1],"data.b":[2]}"#.to_owned(),
            _ => format!("{{\"data.c\":[{number}],\"data.d\":[2]}}"),
        })
        .collect();
    let pattern = format!("{{\"$or\":[{}]}}", objects.join(","));
    let explanation = explained(&pattern, r#"{"a":1}"#);
    assert_eq!(explanation.branches.len(), 50);
    assert_eq!(explanation.summary(), "data.b: wanted 2; saw nothing");
    let nearest = explanation.nearest_branch().map(|branch| branch.sub_rule);
    assert_eq!(nearest, Some(90));
}

#[test]
fn colours_and_control_characters() {
    let explanation = explained(
        r#"{"data":{"\u001b":["x\u009b2J"],"b":[1]}}"#,
        r#"{"\u001b":"\u009b\u007f","b":1}"#,
    );
    let plain = explanation.to_string();
    assert!(
        plain
            .chars()
            .all(|character| character == '\n' || !character.is_control()),
        "{plain:?}"
    );
    assert!(
        plain.contains(r#"data.\u001b: wanted "x\u009b2J"; saw "\u009b\u007f""#),
        "{plain}"
    );
    let coloured = explanation.render(Style::Ansi);
    assert!(
        coloured.starts_with("\u{1b}[1;31mnot matched\u{1b}[0m\n  \u{1b}[1;31mNO \u{1b}[0m  data."),
        "{coloured:?}"
    );
    let stripped = ["\u{1b}[1;31m", "\u{1b}[32m", "\u{1b}[31m", "\u{1b}[0m"]
        .iter()
        .fold(coloured, |text, code| text.replace(code, ""));
    assert_eq!(stripped, plain);
}

#[test]
fn a_whole_document_is_explained_alike() {
    let pattern =
        Pattern::parse(br#"{"a":[1],"b":[2]}"#, &ParseOptions::default()).expect("it is valid");
    let explanation = explain_json(&pattern, br#"{"a":1,"b":3}"#).expect("the event is valid");
    assert_eq!(explanation.summary(), "b: wanted 2; saw 3");
    assert!(explain_json(&pattern, b"[1]").is_err());
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
    assert!(
        many.to_string()
            .ends_with("150 more choices of $or not shown\n")
    );
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
                "path": "data.a", "wanted": ["1"], "wanted_in_words": ["1"],
                "seen": ["2"], "seen_total": 1,
                "held": false, "held_by": null, "held_alternative": null, "hint": null,
            }],
        }],
    });
    assert_eq!(json.ok(), Some(wanted));
}
