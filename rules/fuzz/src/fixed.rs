//! Rules and events that raw bytes are held against.

use crate::compare::Rules;
use edgebus_rules::{ParseOptions, Pattern, RuleIndex, RuleSet};

/// One rule for each operator and shape, over `a`, `b`, `a.b`, `a.c` and `c.b.a`.
const RULES: [&str; 24] = [
    r#"{"a":["x",1,null,"::1"]}"#,
    r#"{"a":[{"prefix":"x"},{"suffix":{"equals-ignore-case":"É"}}]}"#,
    r#"{"a":[{"equals-ignore-case":"straße"},{"wildcard":"*a*b"}]}"#,
    r#"{"a":[{"anything-but":["x","y"]}],"b":[{"anything-but":[1,2]}]}"#,
    r#"{"a":[{"numeric":[">",0,"<=",5]},true],"b":[{"exists":false}]}"#,
    r#"{"a":[{"cidr":"10.0.0.0/8"},{"regex":"[a-c]+"}]}"#,
    r#"{"a":[12345678901234567890,1e400,0.1]}"#,
    r#"{"a":{"b":["x",1],"c":["y",2]}}"#,
    r#"{"a":{"b":["x",1],"c":[{"exists":false}]}}"#,
    r#"{"a.b":[{"exists":true}]}"#,
    r#"{"a":{"b":[{"numeric":["=",1]}]},"c":{"b":{"a":[{"suffix":"z"}]}}}"#,
    r#"{"a":{"b":[{"contains-all":["x",1]}]}}"#,
    r#"{"a":[{"exactly":["x",1]}]}"#,
    r#"{"$or":[{"a":["y"]},{"b":["y"]},{"a":{"b":["y"]}}]}"#,
    r#"{"b":[{"not":["x",{"prefix":"y"}]}]}"#,
    r#"{"b":[{"all":[{"prefix":"x"},{"suffix":"z"}]}]}"#,
    r#"{"b":[{"exists":false}]}"#,
    r#"{"b":[false,{"numeric":["<",-1]}]}"#,
    r#"{"c":{"b":{"a":["x"]}}}"#,
    r#"{"c":{"b":{"a":[{"exists":false}]}},"a":[{"exists":true}]}"#,
    r#"{"c":[{"wildcard":{"equals-ignore-case":"É*x"}}]}"#,
    r#"{"":["x"],"a":{"":[1]}}"#,
    r#"{"c":["0123456789abcdef0123456789abcdef0123456789abcdef"]}"#,
    r#"{"c":[{"anything-but":{"prefix":["x"]}},{"anything-but":{"wildcard":"a*"}}]}"#,
];

/// Events over the same paths.
pub const EVENTS: [&str; 8] = [
    r#"{"a":"x","b":"xz","c":"Éx","":"x"}"#,
    r#"{"a":[{"b":"x","c":"y"},{"b":1,"c":[2]},"x",1,null],"b":[1,"y",true]}"#,
    r#"{"a":{"b":["x",1,"y"],"c":"z"},"c":{"b":{"a":["x","xz"]}}}"#,
    r#"{"a.b":1,"a":[{"b":2},{"c":2.0e0}],"c.b":{"a":"x"},"c":{"b.a":null}}"#,
    r#"{"a":12345678901234567890,"b":-1e400,"c":0.1}"#,
    r#"{"a":"STRASSE","b":"10.1.2.3","c":"\u00c9\ud83d\ude00x"}"#,
    r#"{"a":[[1,[2,{"b":[[]]}]],{"b":{},"c":[[["y"]]]}],"b":false}"#,
    r#"{}"#,
];

/// The fixed rules, in both matchers.
///
/// # Panics
/// Where one of them isn't valid.
pub fn rules() -> Rules {
    let parsed = RULES.iter().map(|text| {
        let pattern = Pattern::parse(text.as_bytes(), &ParseOptions::default());
        pattern.unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
    });
    let rules: Vec<(u32, Pattern)> = (0..).zip(parsed).collect();
    of(rules)
}

/// These rules in both matchers, and explained.
pub fn of(rules: Vec<(u32, Pattern)>) -> Rules {
    Rules {
        index: rules.iter().cloned().collect::<RuleIndex<u32>>(),
        plain: RuleSet::new(rules.clone()),
        explained: rules,
    }
}
