//! Matches whole patterns with whole events. Every special case of the specification has a test.

use super::*;
use crate::ParseOptions;
use crate::flatten::tests::json;
use proptest::prelude::*;

fn parse(pattern: &str) -> Pattern {
    let options = ParseOptions {
        aliases: &[("detail", "data"), ("detail-type", "type")],
        ..ParseOptions::default()
    };
    Pattern::parse(pattern.as_bytes(), &options)
        .unwrap_or_else(|errors| unreachable!("{pattern}: {errors:?}"))
}

fn check(pattern: &str, matched: &[&str], missed: &[&str]) {
    let rules = RuleSet::new([((), parse(pattern))]);
    let all = matched.iter().map(|event| (event, true));
    for (event, wanted) in all.chain(missed.iter().map(|event| (event, false))) {
        let keys = rules.matches_json(event.as_bytes(), Duplicates::LastWins);
        assert_eq!(
            keys.map(|keys| !keys.is_empty()),
            Ok(wanted),
            "{pattern} on {event}"
        );
    }
}

#[test]
fn keys_are_anded_and_alternatives_ored() {
    check(
        r#"{"a":[1,"x"],"b":[true]}"#,
        &[r#"{"a":1,"b":true}"#, r#"{"a":"x","b":true,"c":1}"#],
        &[r#"{"a":1}"#, r#"{"a":2,"b":true}"#, r#"{"b":true}"#, "{}"],
    );
    check(
        r#"{"a":{"b":{"c":[1]}}}"#,
        &[r#"{"a":{"b":{"c":1}}}"#, r#"{"a":{"b":{"c":[0,1]}}}"#],
        &[r#"{"a":{"b":[{"d":1}]}}"#, r#"{"a":{"c":1}}"#, r#"{"a":1}"#],
    );
}

#[test]
fn dots_and_nesting_are_the_same() {
    let events = [
        r#"{"a":{"b":{"c":1}}}"#,
        r#"{"a.b":{"c":1}}"#,
        r#"{"a":{"b.c":1}}"#,
        r#"{"a.b.c":1}"#,
        r#"{"a":[{"b.c":[0,1]}]}"#,
        r#"{"a.b":{"c":2},"a":{"b":{"c":1}}}"#,
    ];
    for pattern in [
        r#"{"a":{"b":{"c":[1]}}}"#,
        r#"{"a.b":{"c":[1]}}"#,
        r#"{"a.b.c":[1]}"#,
    ] {
        check(
            pattern,
            &events,
            &[r#"{"a":{"b":1}}"#, r#"{"a.b.c":2}"#, r#"{"a.b":1,"c":1}"#],
        );
    }
    // The later of two equal paths counts, in whatever way they are spelled.
    check(
        r#"{"a.b":[1],"a":{"b":[2]}}"#,
        &[r#"{"a":{"b":2}}"#],
        &[r#"{"a":{"b":1}}"#],
    );
    check(
        r#"{"a.b":[1],"a":{"c":[2]}}"#,
        &[r#"{"a":{"b":1,"c":2}}"#],
        &[r#"{"a":{"c":2}}"#],
    );
}

#[test]
fn aliases_rename_the_first_segment_only() {
    let event = [r#"{"type":"t","data":{"detail":1}}"#];
    check(
        r#"{"detail-type":["t"],"detail":{"detail":[1]}}"#,
        &event,
        &[],
    );
    check(r#"{"detail.detail":[1]}"#, &event, &[]);
    check(
        r#"{"$or":[{"detail.detail":[2]},{"detail-type":["t"]}]}"#,
        &event,
        &[],
    );
    check(
        r#"{"detail":{"$or":[{"detail":[1]},{"x":[1]}]}}"#,
        &event,
        &[],
    );
    check(r#"{"detail":{"data":[1]}}"#, &[], &event);
    check(r#"{"data":{"detail":[1]}}"#, &event, &[]);
    // An alias and its meaning are one path.
    check(r#"{"type":["u"],"detail-type":["t"]}"#, &event, &[]);
}

#[test]
fn array_consistency() {
    check(
        r#"{"a":{"b":[1],"c":[2]}}"#,
        &[
            r#"{"a":{"b":1,"c":2}}"#,
            r#"{"a":[{"b":0},{"b":1,"c":2}]}"#,
            r#"{"a":[{"b":[0,1],"c":[2,3]}]}"#,
            r#"{"a":[[{"b":1,"c":2}]]}"#,
            // Arrays beside each other don't affect each other.
            r#"{"a":{"b":[0,1],"c":[2]}}"#,
            r#"{"a.b":[0,1],"a":[{"c":2},{"c":3}]}"#,
        ],
        &[
            r#"{"a":[{"b":1},{"c":2}]}"#,
            r#"{"a":[[{"b":1}],[{"c":2}]]}"#,
            r#"{"a":[{"b":1,"c":3},{"b":3,"c":2}]}"#,
            r#"{"a":[{"b":1,"c":[]}]}"#,
        ],
    );
    check(
        r#"{"a":{"b":{"x":[1]},"c":{"y":[2]}}}"#,
        &[r#"{"a":[{"b":[{"x":0},{"x":1}],"c":[{"y":2}]}]}"#],
        &[r#"{"a":[{"b":[{"x":1}],"c":[]},{"b":[],"c":[{"y":2}]}]}"#],
    );
    // A scalar and an object in one array are different elements.
    check(
        r#"{"a":[1],"a.b":[2]}"#,
        &[r#"{"a":[[1],[{"b":2}]],"a.b":2}"#],
        &[r#"{"a":[1,{"b":2}]}"#],
    );
}

#[test]
fn absence() {
    let absent = r#"{"a":{"b":[{"exists":false}]}}"#;
    check(
        absent,
        &[
            "{}",
            r#"{"a":1}"#,
            r#"{"a":{"b":{}}}"#,
            r#"{"a":{"b":[]}}"#,
            r#"{"a":{"b":[[],{}]}}"#,
            r#"{"a":{"b":{"c":1}}}"#,
        ],
        &[
            r#"{"a":{"b":null}}"#,
            r#"{"a":{"b":""}}"#,
            // With no other condition in the array, it must be absent in the whole array.
            r#"{"a":[{"b":1},{"c":2}]}"#,
            r#"{"a":[{"c":2},{"b":1}]}"#,
        ],
    );
    // With another condition in the array, it must be absent in that one's element. The order of the fields
    // doesn't matter.
    for fields in [
        r#""b":[{"exists":false}],"c":[2]"#,
        r#""c":[2],"b":[{"exists":false}]"#,
    ] {
        check(
            &format!("{{\"a\":{{{fields}}}}}"),
            &[
                r#"{"a":[{"b":1},{"c":2}]}"#,
                r#"{"a":[{"b":1,"c":2},{"c":2}]}"#,
                r#"{"a":{"c":[1,2]}}"#,
            ],
            &[
                r#"{"a":[{"b":1,"c":2}]}"#,
                r#"{"a":[{"b":1},{"c":3}]}"#,
                r#"{"a":[{"c":2}],"a.b":1}"#,
                r#"{"a":{"b":[1],"c":2}}"#,
            ],
        );
    }
    let either = r#"{"a":{"b":[{"anything-but":["x"]},{"exists":false}],"c":[2]}}"#;
    check(
        either,
        &[
            r#"{"a":{"c":2}}"#,
            r#"{"a":{"b":"y","c":2}}"#,
            r#"{"a":[{"b":"x"},{"c":2}]}"#,
        ],
        &[r#"{"a":{"b":"x","c":2}}"#, r#"{"a":[{"b":"x","c":2}]}"#],
    );
    check(
        r#"{"a":[{"exists":true}]}"#,
        &[r#"{"a":null}"#, r#"{"a":[[],0]}"#],
        &[r#"{"a":[]}"#, r#"{"a":{}}"#, r#"{"a":{"b":1}}"#],
    );
}

#[test]
fn anything_but_needs_a_value() {
    check(
        r#"{"a":[{"anything-but":"x"}]}"#,
        &[r#"{"a":null}"#, r#"{"a":["x",1]}"#],
        &["{}", r#"{"a":[]}"#, r#"{"a":{}}"#, r#"{"a":["x","x"]}"#],
    );
    check(
        r#"{"a":[null]}"#,
        &[r#"{"a":null}"#, r#"{"a":[1,null]}"#],
        &["{}", r#"{"a":[]}"#],
    );
}

#[test]
fn disjunctions() {
    check(
        r#"{"x":[1],"$or":[{"a":[1]},{"b":[2]}]}"#,
        &[r#"{"x":1,"a":1}"#, r#"{"x":1,"b":2,"a":3}"#],
        &[r#"{"x":1}"#, r#"{"a":1,"b":2}"#],
    );
    check(
        r#"{"d":{"$or":[{"a":[1],"b":[1]},{"$or":[{"c":[1]},{"e":[1]}]}]}}"#,
        &[r#"{"d":{"a":1,"b":1}}"#, r#"{"d":{"e":1}}"#],
        &[r#"{"d":{"a":1}}"#, r#"{"e":1}"#],
    );
    // The sub-objects have the same place: the same array and the same element.
    check(
        r#"{"d":{"$or":[{"a":[1]},{"b":[1]}],"c":[2]}}"#,
        &[r#"{"d":[{"b":1,"c":2}]}"#],
        &[r#"{"d":[{"a":1},{"c":2}]}"#],
    );
    // A condition inside of `$or` replaces one on the same path outside.
    check(
        r#"{"a":[1],"$or":[{"a":[2]},{"b":[3]}]}"#,
        &[r#"{"a":2}"#, r#"{"a":1,"b":3}"#],
        &[r#"{"a":1}"#, r#"{"b":3}"#],
    );
    check(
        r#"{"$or":[{"a":[2]},{"b":[3]}],"a":[1]}"#,
        &[r#"{"a":1}"#],
        &[r#"{"a":2,"b":3}"#],
    );
}

#[test]
fn duplicate_keys_of_a_pattern() {
    check(r#"{"a":[1],"a":[2]}"#, &[r#"{"a":2}"#], &[r#"{"a":1}"#]);
    check(
        r#"{"a":{"b":[1]},"a":{"c":[2]}}"#,
        &[r#"{"a":{"c":2}}"#],
        &[r#"{"a":{"b":1}}"#],
    );
}

#[test]
fn many_sets_on_one_field() {
    let rules = RuleSet::new((0..300).map(|number| {
        let pattern = format!(
            r#"{{"a":[{{"anything-but":{number}}}],"b":[{{"numeric":[">",{number},"<",{}]}}]}}"#,
            number + 10
        );
        (number, parse(&pattern))
    }));
    assert_eq!((rules.len(), rules.is_empty()), (300, false));
    let keys = rules.matches_json(br#"{"a":5,"b":12}"#, Duplicates::Refuse);
    assert_eq!(keys, Ok(vec![&3, &4, &6, &7, &8, &9, &10, &11]));
    let none: RuleSet<u8> = RuleSet::new([]);
    assert_eq!(
        none.matches_json(b"{\"a\":[1]}", Duplicates::Refuse),
        Ok(vec![])
    );
    assert!(
        none.matches_json(b"{\"a\":[1}", Duplicates::Refuse)
            .is_err()
    );
}

/// Patterns over the paths and values of `json()`.
fn pattern() -> impl Strategy<Value = Pattern> {
    let alternative = prop_oneof![
        (0..4_i32).prop_map(|number| number.to_string()),
        Just("null".to_owned()),
        Just(r#"{"exists":true}"#.to_owned()),
        Just(r#"{"exists":false}"#.to_owned()),
        Just(r#"{"prefix":"x"}"#.to_owned()),
        (0..4_i32).prop_map(|number| format!(r#"{{"anything-but":[{number},7]}}"#)),
        (0..4_i32).prop_map(|number| format!(r#"{{"numeric":["<",{number}]}}"#)),
    ];
    let list = prop::collection::vec(alternative, 1..3).prop_map(|list| list.join(","));
    let field =
        ("[ab](\\.[ab]){0,2}", list).prop_map(|(path, list)| format!("\"{path}\":[{list}]"));
    let fields = prop::collection::vec(field, 1..3).prop_map(|fields| fields.join(","));
    (fields.clone(), fields.clone(), fields)
        .prop_map(|(and, one, other)| parse(&format!("{{{and},\"$or\":[{{{one}}},{{{other}}}]}}")))
}

proptest! {
    #[test]
    fn a_set_is_its_patterns_alone(
        patterns in prop::collection::vec(pattern(), 1..8),
        a in json(),
        b in json(),
    ) {
        let (a, b) = (a.to_string(), b.to_string());
        let event = format!("{{\"a\":{a},\"b\":{b}}}");
        let parts = [
            Part::Raw { name: "a", json: a.as_bytes() },
            Part::Raw { name: "b", json: b.as_bytes() },
        ];
        let mut wanted = Vec::new();
        for (key, pattern) in patterns.iter().enumerate() {
            let alone = RuleSet::new([(key, pattern.clone())]);
            let alone = alone.matches_json(event.as_bytes(), Duplicates::Refuse).expect("valid");
            wanted.extend(alone.into_iter().copied());
            let explained = crate::explain(pattern, &parts).expect("the event is valid");
            prop_assert_eq!(explained.matched, wanted.last() == Some(&key));
        }
        let rules = RuleSet::new(patterns.into_iter().enumerate());
        for got in [
            rules.matches_json(event.as_bytes(), Duplicates::Refuse),
            rules.matches(&parts, Duplicates::LastWins),
        ] {
            let got: Vec<usize> = got.expect("the event is valid").into_iter().copied().collect();
            prop_assert_eq!(&got, &wanted);
        }
    }
}
