use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use edgebus_model::Name;

const EXAMPLE: &str = include_str!("golden/example.yaml");
const BROKEN: &str = include_str!("golden/broken.yaml");

fn good(text: &str) -> Manifest {
    parse(text)
        .map_err(|errors| show(&errors, text, "good.yaml", Style::Plain))
        .expect("it has no error")
}

/// The errors of a manifest, one line each: `line:column pointer: reason | remedy`.
fn errors_of(text: &str) -> Vec<String> {
    let errors = parse(text).expect_err(text);
    let line = |error: &InputError| {
        let (line, column) = error.place.unwrap_or_default();
        format!(
            "{line}:{column} {}: {} | {}",
            error.pointer, error.reason, error.remedy
        )
    };
    errors.iter().map(line).collect()
}

/// A manifest with one function `f` and one rule `r` with these lines.
fn rule(lines: &str) -> String {
    let lines = lines.replace('\n', "\n    ");
    format!("version: 1\nfunctions: {{ f: {{ component: f.wasm }} }}\nrules:\n  r:\n    {lines}")
}

#[test]
fn the_example_of_the_design_is_good() {
    insta::assert_debug_snapshot!(good(EXAMPLE));
}

#[test]
fn all_errors_are_told_together() {
    let found = parse(BROKEN).expect_err("it is broken");
    insta::assert_snapshot!(show(&found, BROKEN, "broken.yaml", Style::Plain));
}

#[test]
fn the_pointers_of_errors_are_json_pointers() {
    insta::assert_snapshot!(errors_of(BROKEN).join("\n"));
}

#[test]
fn the_smallest_manifest_has_the_default_bus_alone() {
    let manifest = good("version: 1");
    assert_eq!(manifest.version, 1);
    assert_eq!(manifest.buses.len(), 1);
    assert_eq!(manifest.buses[0].name.as_str(), "default");
    assert!(manifest.rules.is_empty());
    for same in [
        "version: 1\nbuses:\nfunctions:\nrules:\ntests:\n",
        "{\"version\": 1, \"buses\": {\"default\": {}}}",
        "---\nversion: 1\n...\n",
        "\u{feff}version: 1\n",
        "version: 1\r\nrules: {}\r\n",
        "# a comment\nversion: 1 # and one more",
    ] {
        assert_eq!(good(same), manifest, "{same}");
    }
}

#[test]
fn anchors_aliases_and_merges_are_what_they_stand_for() {
    let rules = |rules: &str| good(&format!("version: 1\nfunctions: {{ f: {{}} }}\n{rules}"));
    let written = rules(
        "rules:
  a: { match: { type: [a] }, to: [{ function: f, retry: { attempts: 3, backoff: { initial: 2s } } }] }
  b: { match: { type: [b] }, to: [{ function: f, retry: { attempts: 5, backoff: { initial: 2s } } }] }",
    );
    for same in [
        "x-retry: &retry { attempts: 3, backoff: { initial: 2s } }
rules:
  a: { match: { type: [a] }, to: [{ function: f, retry: *retry }] }
  b: { match: { type: [b] }, to: [{ function: f, retry: { <<: *retry, attempts: 5 } }] }",
        "x-all: { <<: [], one: &one { attempts: 3 }, two: &two { attempts: 9, backoff: &wait { initial: 2s } } }
rules:
  a: { match: { type: [&a a] }, to: &to [{ function: f, retry: { <<: [*one, *two] } }] }
  b: { match: { type: [b] }, to: [{ function: f, retry: { attempts: 5, <<: *two } }] }",
        "rules:
  a: { match: { type: [a] }, to: [{ function: f, retry: &r { attempts: 3, backoff: { initial: 2s } } }] }
  b: { match: { type: [b] }, to: [{ function: f, retry: { attempts: 5, <<: { attempts: 1, backoff: { initial: 2s } } } }] }",
    ] {
        assert_eq!(rules(same), written, "{same}");
    }
    let told = |text: &str| errors_of(&format!("version: 1\n{text}")).remove(0);
    for (text, words) in [
        ("x-a: *b", "no anchor before this alias has its name"),
        ("x-a: &a [*a]", "this alias stands inside what it names"),
        (
            "x-a: &a [1]\nrules: { <<: *a }",
            "`<<` takes a mapping or a list of mappings, not a single value",
        ),
        (
            "x-a: { <<: x }",
            "`<<` takes a mapping or a list of mappings",
        ),
        ("x-a: { <<: {}, <<: {} }", "`<<` is given twice"),
        ("xa: 1", "the manifest has no key `xa`"),
        (
            "rules: { r: { x-a: 1, to: [] } }",
            "a rule has no key `x-a`",
        ),
    ] {
        let told = told(text);
        assert!(told.contains(words), "{text}: {told}");
    }
    let told = errors_of("%YAML 1.2\n---\nversion: 1").remove(0);
    assert!(
        told.ends_with("leave the line out: a manifest is YAML 1.2 without it"),
        "{told}"
    );
    // What aliases stand for is bounded as if it were written.
    let mut bomb = "x-0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
    for level in 1..12 {
        let all = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("x-{level}: &a{level} [{all}]\n"));
    }
    let told = errors_of(&format!("version: 1\n{bomb}"));
    assert!(
        told[0].contains("more than 1048576 bytes") || told[0].contains("more than 200000 values"),
        "{told:?}"
    );
    let long = format!(
        "x-a: &a {}\nx-b: [{}]\n",
        "y".repeat(500_000),
        vec!["*a"; 1_000].join(", ")
    );
    let told = errors_of(&format!("version: 1\n{long}"));
    assert!(told[0].contains("more than 1048576 bytes"), "{told:?}");
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let deep = format!(
        "x-a: &a {}\nx-b: {}",
        nested(40),
        nested(40).replace('1', "*a")
    );
    let told = errors_of(&format!("version: 1\n{deep}"));
    assert!(told[0].contains("deeper than 64 levels"), "{told:?}");
}

#[test]
fn keys_that_no_event_has_are_errors() {
    for (pattern, words) in [
        (
            "detailType: [x]",
            "no event has an attribute `detailType`: their names are 1 to 64 lower-case letters and digits | did you mean `detail-type`?",
        ),
        ("detail_type: [x]", "did you mean `detail-type`?"),
        ("DetailType: [x]", "did you mean `detail-type`?"),
        ("Source: [x]", "did you mean `source`?"),
        ("Data: { n: [1] }", "did you mean `data`?"),
        ("data_base64: [x]", "write `data`"),
        ("order-id: [x]", "write `data: { order-id: … }`"),
        ("Data.n: [1]", "did you mean `data`?"),
        (
            "$or: [{ type: [a] }, { Type: [b] }]",
            "did you mean `type`?",
        ),
    ] {
        let told = errors_of(&rule(&format!(
            "match: {{ {pattern} }}\nto: [{{ function: f }}]"
        )));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(words), "{pattern}: {}", told[0]);
    }
    for fine in [
        "account: ['1']",
        "iodebeziumtxdatacollectionorder: ['1']",
        "detail: { Source: [1], a-b: [2] }",
        "data.Order: [1]",
        "$or: [{ detail-type: [a] }, { detail.B: [b] }]",
    ] {
        good(&rule(&format!(
            "match: {{ {fine} }}\nto: [{{ function: f }}]"
        )));
    }
}

#[test]
fn a_query_may_stand_in_a_block() {
    for block in [
        "where: |\n  $.data.x",
        "where: |\n  $.data.x\n",
        "where: >\n  $.data.x\n",
        "where: |-\r\n  $.data.x\r\n",
    ] {
        let manifest = good(&rule(&format!("to: [{{ function: f }}]\n{block}")));
        assert_eq!(manifest.rules[0].filters, ["$.data.x"], "{block:?}");
    }
    let told = errors_of(&rule("where: '$.data.x '\nto: [{ function: f }]"));
    assert!(told[0].contains("white space after it"), "{told:?}");
}

#[test]
fn patterns_keep_the_spelling_of_every_scalar() {
    let table = [
        (
            "data: { n: [300, 3.0e2, 12345678901234567890, -0, 1E+9] }",
            r#"{"data":{"n":[300,3.0e2,12345678901234567890,-0,1E+9]}}"#,
        ),
        ("data: { n: [\"300\", '007', !!x] }", ""),
        (
            "data: { n: [\"300\", '007'] }",
            r#"{"data":{"n":["300","007"]}}"#,
        ),
        (
            "data: { n: [true, False, null, ~, yes, no] }",
            r#"{"data":{"n":[true,false,null,null,"yes","no"]}}"#,
        ),
        (
            "data: { n: [\"tab\\t\\u0000\\\"\", ünïcode] }",
            r#"{"data":{"n":["tab\t\u0000\"","ünïcode"]}}"#,
        ),
        ("detail-type: [a]", r#"{"type":["a"]}"#),
        (
            "detail: { detail: [a], type: [b] }",
            r#"{"data":{"detail":["a"],"type":["b"]}}"#,
        ),
        ("detail.a.b: [1]", r#"{"data.a.b":[1]}"#),
        ("details: [1]", r#"{"details":[1]}"#),
        (
            "$or: [{ detail-type: [a] }, { detail: { x: [1] }, $or: [{ detail.y: [1] }, { source: [s] }] }]",
            r#"{"$or":[{"type":["a"]},{"data":{"x":[1]},"$or":[{"data.y":[1]},{"source":["s"]}]}]}"#,
        ),
        (
            "data: { $or: [{ detail: [1] }, { type: [2] }] }",
            r#"{"data":{"$or":[{"detail":[1]},{"type":[2]}]}}"#,
        ),
    ];
    for (pattern, json) in table {
        let text = rule(&format!("match: {{ {pattern} }}\nto: [{{ function: f }}]"));
        match parse(&text) {
            Ok(manifest) => {
                assert_eq!(
                    manifest.rules[0].pattern.as_deref(),
                    Some(json),
                    "{pattern}"
                );
            }
            Err(found) => assert_eq!(json, "", "{}", show(&found, &text, "x", Style::Plain)),
        }
    }
}

#[test]
fn two_spellings_of_one_key_in_a_rule_are_an_error() {
    for pattern in [
        "{ type: [a], detail-type: [b] }",
        "{ detail: { x: [1] }, data: { y: [1] } }",
        "{ detail.x: [1], data.x: [1] }",
        "{ type: [a], $or: [{ detail-type: [b] }, { source: [c] }] }",
    ] {
        let found = errors_of(&rule(&format!("match: {pattern}\nto: [{{ function: f }}]")));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("two names of one key"), "{found:?}");
    }
}

#[test]
fn single_errors_say_where_and_how_to_write_it() {
    let table = [
        (
            "",
            "1:1 : the manifest is empty | begin it with `version: 1`",
        ),
        (
            "# nothing",
            "1:1 : the manifest is empty | begin it with `version: 1`",
        ),
        (
            "rules: {}",
            "1:1 : the manifest needs `version` | write it as in `version: 1`",
        ),
        (
            "version: '1'",
            "1:10 /version: this version of the manifest is not known | write `version: 1`, without quotes",
        ),
        (
            "[1]",
            "1:1 : the manifest must be a mapping, not a list | write it as in `version: 1`",
        ),
        (
            "version: 1\nrule: {}",
            "2:1 /rule: the manifest has no key `rule` | did you mean `rules`?",
        ),
        (
            "version: 1\nzzzzz: {}",
            "2:1 /zzzzz: the manifest has no key `zzzzz` | it has `version`, `buses`, `functions`, `rules` and `tests`",
        ),
        (
            "version: 1\nversion: 1",
            "2:1 /version: `version` is given twice, first on line 1 | keep one of the two",
        ),
        (
            "version: 1\n---\nversion: 1",
            "2:1 : a second document starts here | keep one document: leave `---` out",
        ),
        (
            "version: 1\nbuses: { a/b: {} }",
            "2:10 /buses/a~1b: `a/b` is not a name: it holds another character | use 1 to 64 letters, digits, `.`, `_` or `-`, with a letter or digit first",
        ),
        (
            "version: 1\nbuses: { a: { dedupe: 1.5h } }",
            "2:23 /buses/a/dedupe: `dedupe` must be a duration, not `1.5h` | write a whole number with ms, s, m, h or d behind it, from 1s to 30d",
        ),
        (
            "version: 1\nbuses: { a: { dedupe: 99999999999999999999d } }",
            "2:23 /buses/a/dedupe: `dedupe` is too large: `99999999999999999999d` | write a whole number with ms, s, m, h or d behind it, from 1s to 30d",
        ),
        (
            "version: 1\nbuses: { a: { differing: ignore } }",
            "2:26 /buses/a/differing: `differing` can't be `ignore` | write one of `refuse` and `duplicate`",
        ),
        (
            "version: 1\nfunctions: { f: { limits: { memory: 5GiB } } }",
            "2:37 /functions/f/limits/memory: `limits.memory` is too large: `5GiB` | write a whole number with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB behind it, from 1MiB to 4GiB",
        ),
        (
            "version: 1\nfunctions: { f: { component: blake3:12 } }",
            "2:30 /functions/f/component: this is not a digest | write `blake3:` and 64 hexadecimal digits, or a path",
        ),
        (
            "version: 1\nfunctions: { f: { config: { A: } } }",
            "2:29 /functions/f/config/A: a value of `config` must be a text, not nothing | write one text behind the key, in quotes if it holds special characters",
        ),
        (
            "version: 1\n? [a]\n: b",
            "2:3 : a key must be a single text | write `key: value`; quote a text that starts with [ or {",
        ),
        (
            "version: 1\ntests: {}",
            "2:8 /tests: `tests` must be a list, not a mapping | write it as in `- { name: opened, event: events/opened.json, expect: [opened] }`",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(errors_of(text), [expected], "{text}");
    }
}

#[test]
fn errors_of_rules_say_where_and_how_to_write_it() {
    let table = [
        (
            "match: { source: [s] }",
            "5:5 /rules/r: a rule needs `to` | write it as in `opened: { match: { type: [com.github.issues] }, to: [{ function: triage }] }`",
        ),
        (
            "to: []",
            "5:9 /rules/r/to: `to` has 0 targets | write 1 to 100, as in `to: [{ function: triage }]`",
        ),
        (
            "to: [{ function: g }]",
            "5:22 /rules/r/to/0/function: function `g` is not declared | did you mean `f`?",
        ),
        (
            "to: [{ function: greeter }]",
            "5:22 /rules/r/to/0/function: function `greeter` is not declared | declare it under `functions`; `greeter: {}` takes the component that is deployed under that name",
        ),
        (
            "to: [{ function: f, order_by: $.id }]",
            "5:25 /rules/r/to/0/order_by: `order_by` is not supported yet | leave it out: deliveries of one subscription may run side by side",
        ),
        (
            "to: [{ function: f, input: '$.data[' }]",
            "5:32 /rules/r/to/0/input: not a JSONPath query: [ is never closed | write a query as in RFC 9535: $.data.labels[?@.name == 'bug']",
        ),
        (
            "to: [{ function: f, input: { a: '{$.data.x' } }]",
            "5:34 /rules/r/to/0/input/a: `{$.data.x` is not a placeholder | write a placeholder as in {$.data.issue}, and the braces themselves as {{ and }}",
        ),
        (
            "to: [{ function: f, input_paths: { t: $.detail } }]",
            "5:38 /rules/r/to/0/input_paths: `input_paths` names what nothing uses | write `input_template: '{ \"title\": <title> }'` beside it",
        ),
        (
            "to: [{ function: f, input: 1, input_template: '<x>' }]",
            "5:51 /rules/r/to/0/input_template: a target has either `input` or EventBridge's `input_paths` and `input_template` | keep one of the two",
        ),
        (
            "to: [{ function: f, input_template: '{\"a\": <nope>}' }]",
            "5:25 /rules/r/to/0/input_template: the placeholder <nope> has no path, at character 7 of the template | add \"nope\" to the paths, or write \\u003c for a < inside a JSON string",
        ),
        (
            "to: [{ function: f, input_template: \"{\\n \\\"a\\\": 1,,}\" }]",
            "5:25 /rules/r/to/0/input_template: the template isn't JSON: expected a key in double quotes, found ',', at line 2, character 9 of the template | write JSON with <name> for a value, or one string in double quotes; a line break in a string is \\n",
        ),
        (
            "match:\nto: [{ function: f }]",
            "5:5 /rules/r/match: an empty `match` would match nothing that can be named | leave `match` out to get every event of the bus",
        ),
        (
            "match: all\nto: [{ function: f }]",
            "5:12 /rules/r/match: `match` must be a mapping, not a single value | write it as in `match: { type: [com.github.issues] }`",
        ),
        (
            "where: []\nto: [{ function: f }]",
            "5:12 /rules/r/where: `where` has 0 filters | write 1 to 16, or leave `where` out",
        ),
        (
            "where: [$.detail.x]\nto: [{ function: f }]",
            "5:13 /rules/r/where/0: `$.detail.x`: `$.detail` is EventBridge's name, which `where` does not know | write `$.data`",
        ),
        (
            "where: $.data[\nto: [{ function: f }]",
            "5:12 /rules/r/where: `$.data[`: not a JSONPath query: [ is never closed | write a query as in RFC 9535: $.data.labels[?@.name == 'bug']",
        ),
        (
            "match: { detail: { a: [{ prefx: x }] } }\nto: [{ function: f }]",
            "5:30 /rules/r/match/detail/a/0/prefx: unknown operator \"prefx\" | write \"prefix\"",
        ),
        (
            "match: { $or: [{ detail-type: [{ prefix: 1 }] }, { source: [s] }] }\nto: [{ function: f }]",
            "5:38 /rules/r/match/$or/0/detail-type/0/prefix: prefix takes a string, not a number | write {\"prefix\": \"…\"}, once for each alternative",
        ),
        (
            "match: { source: s, subject: [] }\nto: [{ function: f }]",
            "5:14 /rules/r/match/source: a field takes a list or an object, not a string | write [\"s\"]\n5:25 /rules/r/match/subject: an empty list | write at least one value; [{\"exists\": false}] means none",
        ),
    ];
    for (lines, expected) in table {
        let found = errors_of(&rule(lines));
        assert_eq!(found.join("\n"), expected, "{lines}");
    }
}

#[test]
fn targets_that_are_not_built_and_names_at_error_are_told() {
    let table = [
        (
            "to: [{ webhook: 'https://x' }]",
            "5:12 /rules/r/to/0/webhook: `webhook` is not supported yet | webhook targets are not built yet: let a client follow the bus with `edgebus events tail` and make the call",
        ),
        (
            "to: [{ bus: b }]",
            "5:12 /rules/r/to/0/bus: `bus` is not supported yet | bus targets are not built yet: send to a function that emits the event on the other bus",
        ),
        (
            "to: [{ queue: q }]",
            "5:12 /rules/r/to/0/queue: `queue` is not supported yet | queue targets are not built yet: send to a function, or let a client follow the bus with `edgebus events tail`",
        ),
        (
            "to: [{ function: f }, { function: f }]",
            "5:27 /rules/r/to/1: another target of this manifest has the name `r/f` | give each target a `name` of its own; without one it is RULE/FUNCTION",
        ),
        (
            "to: [{ function: f, name: a }, { function: f, name: a }]",
            "5:57 /rules/r/to/1/name: another target of this manifest has the name `a` | give each target a `name` of its own; without one it is RULE/FUNCTION",
        ),
        (
            "to: [{ function: f, name: '7' }]",
            "5:31 /rules/r/to/0/name: `7` is not a name of a subscription: digits alone are a subscription's number | write a letter into it",
        ),
        (
            "to: [{ function: f, name: a/b/c }]",
            "5:31 /rules/r/to/0/name: `b/c` is not a name: it holds another character | use 1 to 64 letters, digits, `.`, `_` or `-`, with a letter or digit first",
        ),
    ];
    for (lines, expected) in table {
        let found = errors_of(&rule(lines));
        assert_eq!(found.join("\n"), expected, "{lines}");
    }
}

#[test]
fn what_is_left_out_has_the_documented_defaults() {
    let manifest = good(&rule("to: [{ function: f }]"));
    let rule = &manifest.rules[0];
    assert_eq!(rule.bus.as_str(), "default");
    assert_eq!(rule.pattern, None);
    assert!(rule.filters.is_empty());
    assert_eq!(rule.targets[0].retry, edgebus_model::RetryPolicy::default());
    assert_eq!(rule.targets[0].dead_letter_ms, DEAD_LETTER_MS_DEFAULT);
    let function = &manifest.functions[0].config;
    assert_eq!(function, &edgebus_model::FunctionConfig::default());
}

#[test]
fn nothing_grows_without_bound() {
    let deep = format!("version: 1\nrules: {}", "[".repeat(100_000));
    let wide = format!("version: 1\nrules: [{}]", "1,".repeat(300_000));
    let large = format!(
        "version: 1\nrules: {{}}\n{}",
        "#".repeat(MANIFEST_BYTES_MAX)
    );
    let nested: String = (0..500)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    let key = format!("version: 1\n? {}\n: 1", "x".repeat(5_000));
    let pattern = rule(&format!(
        "match: {{ a: [{}] }}\nto: [{{ function: f }}]",
        "x,".repeat(40_000)
    ));
    let targets = rule(&format!("to: [{}]", "{ function: f },".repeat(101)));
    for text in [deep, wide, large, nested, key, pattern, targets] {
        assert_eq!(errors_of(&text).len(), 1);
    }
    let unknown: String = (0..5_000)
        .map(|index| format!("zzzz{index}: 1\n"))
        .collect();
    let found = errors_of(&format!("version: 1\n{unknown}"));
    assert_eq!(found.len(), ERRORS_MAX + 1);
    assert!(found[ERRORS_MAX].contains("4800 more errors are not shown"));
}

#[test]
fn a_plan_tells_each_change() {
    let old = good(include_str!("golden/plan-old.yaml"));
    let new = good(include_str!("golden/plan-new.yaml"));
    let replaced = BTreeSet::from([Name::new("rebuilt").expect("a name")]);
    let mut pending = |whose: PendingOf<'_>| match whose {
        PendingOf::Function(name) if name.as_str() == "a" => Some(PendingCount {
            count: 1_000,
            more: true,
            about: false,
        }),
        PendingOf::Function(_) => Some(PendingCount::default()),
        PendingOf::Rule(_) => Some(PendingCount {
            count: 1,
            ..PendingCount::default()
        }),
        PendingOf::Subscription(name) if name.as_str() == "edited/b" => None,
        PendingOf::Subscription(_) => Some(PendingCount {
            count: 12,
            ..PendingCount::default()
        }),
        PendingOf::Events(_) | PendingOf::Letters(..) => None,
    };
    let changes = plan(&old, &new, &replaced, &mut pending);
    let lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
    let none = BTreeSet::new();
    let mut nobody = |_: PendingOf<'_>| None;
    assert!(plan(&new, &new, &none, &mut nobody).is_empty());
    let (empty, least) = (Manifest::default(), good("version: 1"));
    assert!(plan(&empty, &least, &none, &mut nobody).is_empty());
    assert!(plan(&least, &empty, &none, &mut nobody).is_empty());
}

/// A shorter retention says what it removes, before it does.
#[test]
fn a_plan_tells_what_a_shorter_retention_removes() {
    let manifest = |age: &str, kept: &str| {
        good(&format!(
            "version: 1
buses: {{ default: {{ retention: {{ age: {age} }} }} }}
functions: {{ f: {{ component: f.wasm }} }}
rules: {{ r: {{ match: {{ type: [t] }}, to: [{{ function: f, dead_letter: {{ retention: {kept} }} }}] }} }}
"
        ))
    };
    let (long, short) = (manifest("7d", "14d"), manifest("2h", "1d"));
    let lines = |old: &Manifest, new: &Manifest, found: Option<PendingCount>| -> Vec<String> {
        let mut counting = |whose: PendingOf<'_>| match whose {
            PendingOf::Events(bus) => {
                assert_eq!(bus.retention_age_ms, 2 * 3_600_000);
                found
            }
            PendingOf::Letters(name, kept_ms) => {
                assert_eq!((name.as_str(), kept_ms), ("r/f", 24 * 3_600_000));
                found
            }
            _ => None,
        };
        let changes = plan(old, new, &BTreeSet::new(), &mut counting);
        changes.into_iter().map(|change| change.effect).collect()
    };
    let found = |count, more, about| Some(PendingCount { count, more, about });
    let table = [
        (
            None,
            [
                "events past the limits are removed for good",
                "dead letters older than 1d are removed for good",
            ],
        ),
        (
            found(0, false, false),
            [
                "no event past the limits is there now",
                "no dead letter older than 1d is there now",
            ],
        ),
        (
            found(1, false, false),
            [
                "1 event past the limits is removed for good",
                "1 dead letter older than 1d is removed for good",
            ],
        ),
        (
            found(12, false, true),
            [
                "about 12 events past the limits are removed for good",
                "about 12 dead letters older than 1d are removed for good",
            ],
        ),
        (
            found(9, true, false),
            [
                "9 events or more past the limits are removed for good",
                "9 dead letters or more older than 1d are removed for good",
            ],
        ),
    ];
    for (found, expected) in table {
        let expected = expected.map(|words| format!("{words}; no delivery changes"));
        assert_eq!(lines(&long, &short, found), expected);
    }
    // What keeps more removes nothing.
    let longer = lines(&short, &long, None);
    assert!(
        longer.iter().all(|words| words.starts_with("concerns")),
        "{longer:?}"
    );
}

/// What a mapping at `place` needs besides the key that is looked at.
fn siblings(place: &str) -> Vec<(&'static str, &'static str)> {
    match place {
        "" => vec![
            ("version", "1"),
            ("functions", "{ triage: { component: x.wasm } }"),
            (
                "rules",
                "{ opened: { to: [{ function: triage }] }, outside-bugs: { to: [{ function: triage }] }, large-orders: { to: [{ function: triage }] } }",
            ),
        ],
        "functions.NAME" => vec![("component", "x.wasm")],
        "functions.NAME.build" => vec![("command", "make")],
        "rules.NAME" => vec![("to", "[{ function: triage }]")],
        "rules.NAME.to[]" => vec![("function", "triage")],
        "tests[]" => vec![("name", "t"), ("event", "{ type: t }"), ("expect", "[]")],
        _ => Vec::new(),
    }
}

/// A whole manifest with this key and value at `place`; without a value, without the key.
fn wrapped(place: &str, key: &str, value: Option<&str>) -> String {
    let mapping = |place: &str, key: &str, value: Option<&str>| {
        let mut entries: Vec<String> = siblings(place)
            .into_iter()
            .filter(|(name, _)| *name != key)
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        entries.extend(value.map(|value| format!("{key}: {value}")));
        format!("{{ {} }}", entries.join(", "))
    };
    let mut inner = mapping(place, key, value);
    let mut place = place;
    while !place.is_empty() {
        let (above, own) = place.rsplit_once('.').unwrap_or(("", place));
        if own == "NAME" {
            let name = match above {
                "buses" => "default",
                "functions" => "triage",
                _ => "opened",
            };
            inner = mapping("", above, Some(&format!("{{ {name}: {inner} }}")));
            break;
        }
        inner = match own.strip_suffix("[]") {
            Some(list) => mapping(above, list, Some(&format!("[{inner}]"))),
            None => mapping(above, own, Some(&inner)),
        };
        place = above;
    }
    inner
}

/// Calls `look` with each key and the place of its mapping.
fn each_key(mut look: impl FnMut(&str, &shape::Key)) {
    let mut all = Vec::new();
    reference::collect(&shape::ROOT, &mut all);
    assert!(all.len() >= 12, "the shapes are all found");
    for shape in all {
        for key in shape.keys {
            look(shape.place, key);
        }
    }
}

/// A key's value as it is written between braces.
fn in_flow(key: &shape::Key, value: &str) -> String {
    match key.form {
        shape::Form::Named(_) => format!("{{ {value} }}"),
        shape::Form::OneOrMany(shape::Form::Query(_), _) => {
            format!("'{}'", value.replace('\'', "''"))
        }
        _ => value.to_owned(),
    }
}

fn validator() -> jsonschema::Validator {
    let schema = serde_json::from_str(&schema()).expect("the schema is JSON");
    jsonschema::draft202012::meta::validate(&schema).expect("the schema is a schema");
    jsonschema::draft202012::new(&schema).expect("the schema compiles")
}

/// The errors that the schema finds in a manifest.
fn by_schema(validator: &jsonschema::Validator, text: &str) -> Vec<String> {
    let value: serde_json::Value = serde_saphyr::from_str(text).expect(text);
    validator
        .iter_errors(&value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

#[test]
fn the_default_of_a_key_is_what_its_absence_means() {
    let mut checked = 0;
    each_key(|place, key| {
        if let shape::Absent::Is(default) = key.absent {
            let with = wrapped(place, key.name, Some(&in_flow(key, default)));
            let without = wrapped(place, key.name, None);
            assert_eq!(good(&with), good(&without), "{place} {}", key.name);
            checked += 1;
        }
        let required = key.absent == shape::Absent::Error;
        let refused = parse(&wrapped(place, key.name, None)).is_err();
        assert!(!required || refused, "{place} {} is not required", key.name);
    });
    assert!(checked > 20, "{checked}");
}

#[test]
fn the_example_of_a_key_is_good() {
    let validator = validator();
    each_key(|place, key| {
        // Names without a template are an error; both together stand below.
        if key.name == "input_paths" {
            return;
        }
        let text = wrapped(place, key.name, Some(&in_flow(key, key.example)));
        let manifest = good(&text);
        assert_eq!(by_schema(&validator, &text), Vec::<String>::new(), "{text}");
        // An example shows something, where there is something to show.
        if let shape::Absent::Is(default) = key.absent
            && default != key.example
        {
            let without = good(&wrapped(place, key.name, None));
            assert_ne!(manifest, without, "{place} {}", key.name);
        }
        assert!(key.about.ends_with('.'), "{place} {}", key.name);
    });
    for text in [
        EXAMPLE,
        include_str!("golden/plan-old.yaml"),
        include_str!("golden/plan-new.yaml"),
        include_str!("../../../samples/edgebus.yaml"),
        "version: 1\nbuses:\nfunctions:\nrules:\ntests:\n",
        "version: 1\nfunctions: { f: {} }\nrules: { r: { to: [{ function: f, input_paths: { t: $.detail.t }, input_template: '{\"t\": <t>}' }] } }\n",
    ] {
        good(text);
        assert_eq!(by_schema(&validator, text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn the_schema_refuses_what_the_parser_refuses() {
    let validator = validator();
    for text in [
        "rules: {}",
        "version: '1'",
        "version: 2",
        "[1]",
        "version: 1\nrule: {}",
        "version: 1\nbuses: { a/b: {} }",
        "version: 1\nbuses: { a: { dedupe: 1.5h } }",
        "version: 1\nbuses: { a: { retention: { size: 10 gigabytes } } }",
        "version: 1\nbuses: { a: { retention: 7d } }",
        "version: 1\nbuses: { a: { retention: { age: unlimited } } }",
        "version: 1\nbuses: { a: { retention: { size: forever } } }",
        "version: 1\nbuses: { a: { dedupe: forever } }",
        "version: 1\nfunctions: { f: { component: blake3:12 } }",
        "version: 1\nfunctions: { f: { component: '' } }",
        "version: 1\nfunctions: { f: { limits: { concurrency: 0 } } }",
        "version: 1\nfunctions: { f: { limits: { concurrency: '32' } } }",
        "version: 1\nfunctions: { f: { limits: { emits: 1001 } } }",
        "version: 1\nfunctions: { f: { secrets: [GITHUB-TOKEN] } }",
        "version: 1\nfunctions: { f: { allow_http: [api.github.com] } }",
        "version: 1\nfunctions: { f: { component: f.wasm, build: {} } }",
        "version: 1\nfunctions: { f: { component: f.wasm, build: { command: a, watch: src } } }",
        "version: 1\nfunctions: { f: { config: { A: [1] } } }",
        &rule("match: { type: [a] }"),
        &rule("to: []"),
        &rule("to: { function: f }"),
        &rule("match: {}\nto: [{ function: f }]"),
        &rule("match: { type: a }\nto: [{ function: f }]"),
        &rule("match: { type: [] }\nto: [{ function: f }]"),
        &rule("where: []\nto: [{ function: f }]"),
        &rule("to: [{ function: f, order_by: $.id }]"),
        &rule("to: [{ webhook: 'https://x' }]"),
        &rule("to: [{ function: f, name: '7' }]"),
        &rule("to: [{ function: f, name: a/b/c }]"),
        &rule("to: [{ function: f, retry: { attempts: 101 } }]"),
        &rule("to: [{ function: f, retry: { backoff: { factor: 0.5 } } }]"),
        &rule("to: [{ function: f, retry: { backoff: { jitter: maybe } } }]"),
        &rule("to: [{ function: f, dead_letter: 14d }]"),
        "version: 1\ntests: [{ event: a.json, expect: [] }]",
        "version: 1\ntests: [{ name: t, event: a.json }]",
        "version: 1\ntests: [{ name: t, event: [], expect: [] }]",
        "version: 1\ntests: [{ name: t, event: 7, expects: [] }]",
    ] {
        assert!(parse(text).is_err(), "the parser takes {text}");
        assert!(
            !by_schema(&validator, text).is_empty(),
            "the schema takes {text}"
        );
    }
}

/// The page is part of the interface: its tables are rewritten only with EDGEBUS_REWRITE_GOLDEN set.
#[test]
fn the_reference_has_every_key() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/manifest.md");
    let page = std::fs::read_to_string(&file).expect("the page is there");
    let made = reference::rewritten(&page);
    if std::env::var_os("EDGEBUS_REWRITE_GOLDEN").is_some() {
        std::fs::write(&file, &made).expect("it can be written");
    }
    let page = std::fs::read_to_string(&file).expect("the page is there");
    assert!(
        page == made,
        "docs/manifest.md differs from the shape; EDGEBUS_REWRITE_GOLDEN=1 rewrites its tables"
    );
    let validator = validator();
    let blocks = page.split("```yaml\n").skip(1);
    let mut examples = 0;
    for block in blocks {
        let (text, _) = block.split_once("```").expect("the block has an end");
        if text.contains("version: 1") {
            good(text);
            assert_eq!(by_schema(&validator, text), Vec::<String>::new(), "{text}");
            examples += 1;
        }
    }
    assert!(examples >= 2, "{examples}");
}

/// The warnings of a manifest without errors, one line each.
fn warned(text: &str) -> Vec<String> {
    let document = Document::read(text);
    assert!(document.errors.is_empty(), "{:?}", document.errors);
    let found = warnings(&document, &|secret| secret == "SET");
    let line = |warning: &Warning| {
        let warning = &warning.error;
        let (line, column) = warning.place.expect("it has a place");
        format!("{line}:{column} {}", warning.reason)
    };
    found.iter().map(line).collect()
}

#[test]
fn what_may_not_be_meant_is_warned_of() {
    let rule = |lines: &str| rule(&format!("to: [{{ function: f, {lines} }}]"));
    let outgrown = "the query may take far more steps than the event is long: \
                    `..` below another `..` looks at a node once for each level above it";
    let before =
        |filters: &str| rule("retry: {}").replace("to:", &format!("where: {filters}\n    to:"));
    let table: [(&str, &[&str]); 20] = [
        ("version: 1", &[]),
        (
            &before("\"$.data[?$.priority == 5 || $.urgent == true]\""),
            &[
                "5:12 the attribute `priority` is a text, which is never equal to the number 5, larger or smaller",
                "5:12 the attribute `urgent` is a text, which is never equal to the boolean true, larger or smaller",
            ],
        ),
        (
            &before("['$.data.a', '$[?1 < $.sequence]']"),
            &[
                "5:25 the attribute `sequence` is a text, which is never equal to the number 1, larger or smaller",
            ],
        ),
        (
            &before("\"$[?$.priority == '5' && $.data.n == 5 && $.data != 5]\""),
            &[],
        ),
        (
            &rule("input: '$.data..a..b'"),
            &[&format!("5:10 {outgrown}")],
        ),
        (&before("'$..[?@..a]'"), &[&format!("5:12 {outgrown}")]),
        (
            &before("['$.a[?$..b]', '$..a..b']"),
            &[&format!("5:27 {outgrown}")],
        ),
        (
            &rule("input_paths: { a: $.id, b: $..b }, input_template: 'x <a>'"),
            &["5:49 `input_template` has no <b>"],
        ),
        (
            "version: 1\nbuses:\n  a: { retention: { age: 1d }, dedupe: 1h }",
            &[],
        ),
        (
            "version: 1\nfunctions: { f: { secrets: [SET, UNSET], allow_http: ['https://x'] } }",
            &[
                "2:14 no rule sends events to function `f`",
                "2:34 the secret `UNSET` is not set here",
                "2:42 `allow_http` allows nothing yet: there is no outgoing HTTP",
            ],
        ),
        (&rule("dead_letter: { retention: 14d }"), &[]),
        (&rule("dead_letter: { retention: 1d }"), &[]),
        (&rule("dead_letter: { retention: forever }"), &[]),
        (
            &rule("retry: { attempts: 1, max_age: 1s, backoff: { initial: 1h } }"),
            &[],
        ),
        (&rule("retry: { attempts: 5, max_age: 10s }"), &[]),
        (
            &rule("retry: { attempts: 9, max_age: 10s }"),
            &["5:32 a delay of 128s is longer than `max_age` (10s): such an attempt is never made"],
        ),
        (
            &rule("retry: { attempts: 2, max_age: 1m, backoff: { initial: 1h } }"),
            &["5:80 a delay of 1h is longer than `max_age` (1m): such an attempt is never made"],
        ),
        (
            &rule("retry: { attempts: 9, max_age: 1m, backoff: { max: 90s } }"),
            &["5:76 a delay of 90s is longer than `max_age` (1m): such an attempt is never made"],
        ),
        (
            "version: 1\nfunctions: { f: {} }\nrules: { a: { match: { type: [a] }, to: [{ function: f }] }, b: { match: { type: [b] }, to: [{ function: f }] } }\ntests: [{ name: t, event: { type: a }, expect: [a] }]",
            &["3:62 no test expects rule `b`"],
        ),
        (include_str!("../../../samples/edgebus.yaml"), &[]),
    ];
    for (text, expected) in table {
        assert_eq!(warned(text), expected, "{text}");
    }
}

#[test]
fn pointers_lead_to_places() {
    let document = Document::read("version: 1\nfunctions:\n  f: { secrets: [A, B] }\n");
    let table = [
        ("", Side::Key, (1, 1)),
        ("/functions/f", Side::Key, (3, 3)),
        ("/functions/f", Side::Value, (3, 6)),
        ("/functions/f/secrets/1", Side::Key, (3, 21)),
        ("/functions/f/secrets/7", Side::Value, (3, 17)),
        ("/nowhere/at/all", Side::Value, (1, 1)),
    ];
    for (pointer, side, place) in table {
        assert_eq!(document.place(pointer, side), Some(place), "{pointer}");
    }
    assert_eq!(Document::read("").place("/x", Side::Key), None);
}

#[test]
fn colours_change_no_words() {
    let found = parse(BROKEN).expect_err("it is broken");
    let warn = |error: &InputError| Lint::UnusedPath.warning(error.clone());
    let warnings: Vec<Warning> = found[..3].iter().map(warn).collect();
    let plain = show_all(&found, &warnings, BROKEN, "x.yaml", Style::Plain);
    let coloured = show_all(&found, &warnings, BROKEN, "x.yaml", Style::Coloured);
    assert_eq!(plain.matches("warning[unused-path]: ").count(), 3);
    let mut bare = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        bare.push_str(before);
        rest = after.split_once('m').expect("a colour ends").1;
    }
    bare.push_str(rest);
    let trimmed = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.trim_end().to_owned())
            .collect()
    };
    assert_eq!(trimmed(&bare), trimmed(&plain));
}

#[test]
fn a_line_fits_into_the_terminal_and_the_caret_stands_under_its_spot() {
    let check = |text: &str, columns: u16, expected: &str| {
        let found = parse(text).expect_err("it is broken");
        let shown = show_within(&found[..1], &[], text, "x", Style::Plain, Some(columns));
        let lines: Vec<&str> = shown.lines().skip(2).take(2).collect();
        assert_eq!(lines.join("\n"), expected);
    };
    let long = format!(
        "version: 1\nbuses: {{ a: {{ retentoin: 1d, {} }} }}\n",
        "x: 1, ".repeat(30)
    );
    check(
        &long,
        40,
        "2 | buses: { a: { retentoin: 1d, x: 1, …
  |               ^^^^^^^^^",
    );
    let far = format!(
        "version: 1\nbuses: {{ default: {{ {}retentoin: 1d }} }}\n",
        " ".repeat(60)
    );
    check(
        &far,
        40,
        "2 | …            retentoin: 1d } }
  |              ^^^^^^^^^",
    );
    let wide = "version: 1\nbuses: { a: { \"注文\": 1, retentoin: 1d } }\n";
    check(
        wide,
        40,
        "2 | buses: { a: { \"注文\": 1, retentoin:…
  |               ^^^^^^",
    );
}

#[test]
fn nothing_shown_steers_the_terminal() {
    let text = "version: 1\n\"\\e[2Jx\\u202E\": \u{85}1\n'a\tb': \u{feff}\n";
    let found = parse(text).expect_err("its keys are unknown");
    let shown = show(&found, text, "x.yaml", Style::Plain);
    assert!(
        !shown
            .chars()
            .any(|character| character.is_control() && character != '\n'),
        "{shown:?}"
    );
    let long = format!("version: 1\nrules: {{ {} }}", "abcdefgh: 1, ".repeat(100));
    let shown = show(
        &parse(&long).expect_err("rules"),
        &long,
        "x.yaml",
        Style::Plain,
    );
    assert!(
        shown.lines().all(|line| line.chars().count() < 200),
        "{shown}"
    );
}

/// A manifest with some of its bytes replaced, removed or repeated.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (
        any::<prop::sample::Index>(),
        0..40_usize,
        "[-\\[\\]{}:,&*!|>'\"#%@` \t\n\\\\~$a0]{0,6}",
    );
    (
        prop::sample::select(vec![EXAMPLE, BROKEN]),
        prop::collection::vec(edit, 1..8),
    )
        .prop_map(|(text, edits)| {
            let mut characters: Vec<char> = text.chars().collect();
            for (at, length, with) in edits {
                let from = at.index(characters.len() + 1);
                let to = (from + length).min(characters.len());
                characters.splice(from..to, with.chars());
            }
            characters.into_iter().collect()
        })
}

fn never_panics(text: &str) {
    if let Err(found) = parse(text) {
        assert!(!found.is_empty());
        let _ = show(&found, text, "x.yaml", Style::Plain);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        never_panics(&text);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        never_panics(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_mutation_is_read_or_refused(text in mutated()) {
        never_panics(&text);
    }

    #[test]
    fn errors_show_on_any_text(text in any::<String>(), line in any::<u64>(), column in any::<u64>()) {
        let error = InputError { pointer: String::new(), place: Some((line, column)), reason: text.clone(), remedy: text.clone() };
        let near = InputError { place: Some((line % 4, column % 90)), ..error.clone() };
        let _ = show(&[error, near], &text, "x.yaml", Style::Plain);
    }
}

#[test]
fn what_becomes_of_differing_events_is_a_word() {
    use edgebus_model::Differing;
    for (text, expected) in [
        ("{ dedupe: 1h }", Differing::Refuse),
        ("{ differing: refuse }", Differing::Refuse),
        ("{ differing: duplicate }", Differing::Duplicate),
    ] {
        let manifest = parse(&format!("version: 1\nbuses: {{ a: {text} }}")).unwrap();
        let bus = manifest.buses.iter().find(|bus| bus.name.as_str() == "a");
        assert_eq!(bus.unwrap().differing, expected, "{text}");
    }
}

#[test]
fn retention_is_two_limits_and_each_may_be_none() {
    use edgebus_model::rule::UNLIMITED;
    let (week, large) = (7 * 86_400_000, 10 << 30);
    for (text, expected) in [
        ("{}", (week, large)),
        ("{ retention: {} }", (week, large)),
        ("{ retention: { age: 60s } }", (60_000, large)),
        ("{ retention: { size: 1MiB } }", (week, 1 << 20)),
        ("{ retention: { age: forever } }", (UNLIMITED, large)),
        (
            "{ retention: { age: forever, size: unlimited } }",
            (UNLIMITED, UNLIMITED),
        ),
    ] {
        let manifest = parse(&format!("version: 1\nbuses: {{ a: {text} }}")).unwrap();
        let bus = manifest.buses.iter().find(|bus| bus.name.as_str() == "a");
        let bus = bus.unwrap();
        assert_eq!(
            (bus.retention_age_ms, bus.retention_bytes),
            expected,
            "{text}"
        );
    }
}

#[test]
fn every_kind_of_target_has_its_key() {
    for kind in edgebus_model::TargetKind::ALL {
        let target = &shape::rules::TARGET;
        let is_key = target.key(kind.word()).is_some();
        let is_to_come = target.later.iter().any(|(word, _)| *word == kind.word());
        assert_eq!(
            (is_key, is_to_come),
            (kind.is_built(), !kind.is_built()),
            "`{}` belongs to the keys of a target when it is built, and to `later` until then: shape/rules.rs",
            kind.word()
        );
    }
}
