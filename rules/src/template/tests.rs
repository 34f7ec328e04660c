//! Tests what transforms make of events, and which transforms are refused.

use super::*;
use crate::event::Part;
use crate::filter::{Step, Steps};
use crate::flatten::tests::json;
use proptest::prelude::*;
use serde_json::Value;

const ALIASES: [(&str, &str); 2] = [("detail-type", "type"), ("detail", "data")];

const CONTEXT: Context<'static> = Context {
    rule_name: "large \"orders\"",
    rule_arn: None,
    ingested_at: "2026-07-01T12:00:00Z",
};

const DATA: &str = r#" {"issue": {"title":"say \"hi\"\n\u00e4/\\", "id" : 12345678901234567890123, "n":1.50,
  "labels":[{"name":"bug","id":1.0},{"name":"p1","id":20000000000000000000001}], "user-id": 7,
  "open":true, "by":null, "empty":{}, "none":[], "x":1, "x":2}, "a.b":"dotted", "a":{"b":"nested"}} "#;

fn apply(spec: &TransformSpec<'_>, data: &str) -> Result<String, String> {
    let transform = Transform::parse(spec, &ALIASES).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        errors.join("\n")
    })?;
    let parts = [
        Part::Text {
            name: "id",
            value: "1\u{1}\"",
        },
        Part::Text {
            name: "type",
            value: "issue.opened",
        },
        Part::Raw {
            name: "sequence",
            json: b"12",
        },
        Part::Raw {
            name: "data",
            json: data.as_bytes(),
        },
    ];
    let made = transform.apply(&EventDocument::new(&parts), &CONTEXT);
    let made = made.map_err(|error| error.to_string())?;
    let text = String::from_utf8(made).expect("an input is UTF-8");
    assert!(
        serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok(),
        "{spec:?} made {text}, which isn't JSON"
    );
    if !transform.needs_event() {
        let without = transform.apply(&EventDocument::new(&[]), &CONTEXT);
        assert_eq!(without.as_deref(), Ok(text.as_bytes()));
    }
    Ok(text)
}

#[track_caller]
fn path(path: &str, wanted: &str) {
    assert_eq!(
        apply(&TransformSpec::Path(path), DATA).as_deref(),
        Ok(wanted),
        "{path}"
    );
}

#[track_caller]
fn template(json: &str, wanted: &str) {
    let spec = TransformSpec::Template(json.as_bytes());
    assert_eq!(apply(&spec, DATA).as_deref(), Ok(wanted), "{json}");
}

const NAMES: [(&str, &str); 9] = [
    ("title", "$.detail.issue.title"),
    ("id", "$.detail.issue.id"),
    ("by", "$.data.issue.by"),
    ("user", "$.detail.issue.user-id"),
    ("labels", "$.detail.issue.labels[*].name"),
    ("first", "$.detail.issue.labels[0]"),
    ("kind", "$.detail-type"),
    ("none", "$.detail.none"),
    ("all", "$"),
];

#[track_caller]
fn eventbridge(template: &str, wanted: &str) {
    let paths = &NAMES;
    let spec = TransformSpec::EventBridge { paths, template };
    assert_eq!(apply(&spec, DATA).as_deref(), Ok(wanted), "{template}");
}

/// Checks that a transform is refused and that the error contains these parts.
#[track_caller]
fn refused(spec: &TransformSpec<'_>, parts: &[&str]) {
    let error = apply(spec, DATA).expect_err("it is refused");
    for part in parts {
        assert!(error.contains(part), "{error:?} should contain {part:?}");
    }
}

#[test]
fn lines_that_are_a_string_each_are_one_string() {
    let made = |template: &str| {
        let paths = [("state", "$.data.state"), ("who", "$.data.who")];
        let spec = TransformSpec::EventBridge {
            paths: &paths,
            template,
        };
        apply(&spec, r#"{"state":"on \"x\"","who":7}"#)
    };
    for (template, expected) in [
        (
            "\"State is <state>\"\n\"by <who>\"",
            r#""State is on \"x\"\nby 7""#,
        ),
        (" \"a\" \r\n\n\t\"<who>\\n\"\n\"\"\n", r#""a\n7\n\n""#),
        ("\n\"<who>\"\n", r#""7""#),
        ("{\n\"a\":\n\"<who>\"\n}", r#"{"a":"7"}"#),
    ] {
        assert_eq!(made(template).as_deref(), Ok(expected), "{template}");
    }
    for template in [
        "\"a\"\nb",
        "\"a\"\n\"b",
        "\"a\" \"b\"\n\"c\"",
        "\"a\",\n\"b\"",
        "\"<none>\"\n\"b\"",
    ] {
        assert!(made(template).is_err(), "{template}");
    }
}

#[test]
fn a_path_takes_a_value_as_it_is_written() {
    path("$.data.issue.id", "12345678901234567890123");
    path("$.data.issue.n", "1.50");
    path("$.data.issue.title", r#""say \"hi\"\n\u00e4/\\""#);
    path("$.data.issue.labels[-1].name", r#""p1""#);
    path("$['data']['a.b']", r#""dotted""#);
    path("$.data.a.b", r#""nested""#);
    path("$.data.issue.x", "2");
    path("$.type", r#""issue.opened""#);
    path("$.id", r#""1\u0001\"""#);
    path("$.sequence", "12");
    path("$.data.issue.empty", "{}");
    // EventBridge's names mean the same.
    path("$.detail.issue.n", "1.50");
    // A missing value is null. So is an element beyond either end, and anything below a string.
    for missing in [
        "$.data.nothing",
        "$.nothing",
        "$.type.x",
        "$.data.issue.labels[2]",
        "$.data.issue.labels[-3]",
        "$.data.issue.labels.name",
        "$.data.issue[0]",
        "$.data.issue.by.x",
    ] {
        path(missing, "null");
    }
}

#[test]
fn a_query_that_may_select_several_makes_a_list() {
    path("$.data.issue.labels[*].id", "[1.0,20000000000000000000001]");
    path("$.data.issue.labels[?@.name == 'bug'].id", "[1.0]");
    path("$.data.issue.labels[?@.name == 'x']", "[]");
    path("$.detail..name", r#"["bug","p1"]"#);
    path("$['id','type']", r#"["1\u0001\"","issue.opened"]"#);
    path("$.data.issue.labels[0:1].name", r#"["bug"]"#);
}

#[test]
fn a_query_sees_numbers_beyond_binary64_and_gives_them_as_they_stand() {
    let made = apply(&TransformSpec::Path("$.data[?@ > 1]"), "[1, 1e400, -1e400]");
    assert_eq!(made.as_deref(), Ok("[1e400]"));
}

#[test]
fn the_whole_event() {
    let whole = apply(&TransformSpec::Path("$"), "[1]");
    let wanted = r#"{"id":"1\u0001\"","type":"issue.opened","sequence":12,"data":[1]}"#;
    assert_eq!(whole.as_deref(), Ok(wanted));
}

#[test]
fn placeholders_in_json() {
    template(
        r#"{"a":[1.0,"x",null,true,{},[]]}"#,
        r#"{"a":[1.0,"x",null,true,{},[]]}"#,
    );
    template(r#""{$.data.issue.id}""#, "12345678901234567890123");
    template(
        r#"{"id": "{ $.data.issue.id }", "k": 2}"#,
        r#"{"id":12345678901234567890123,"k":2}"#,
    );
    template(
        r#""id {$.data.issue.id}!""#,
        r#""id 12345678901234567890123!""#,
    );
    template(r#""{$.data.issue.title}.""#, r#""say \"hi\"\n\u00e4/\\.""#);
    template(
        r#""{$.id} {$.data.issue.by} {$.data.issue.open}""#,
        r#""1\u0001\" null true""#,
    );
    template(
        r#""see {$.data.issue.labels[0]}""#,
        r#""see {\"name\":\"bug\",\"id\":1.0}""#,
    );
    // Inside of text, one selected value is that value, several are a list, and none is nothing.
    template(r#""<{$.data..name}>""#, r#""<[\"bug\",\"p1\"]>""#);
    template(
        r#""<{$.data.issue.labels[?@.name == 'p1'].name}>""#,
        r#""<p1>""#,
    );
    template(
        r#""<{$.data.issue.labels[?@.name == 'x']}{$.nothing}>""#,
        r#""<>""#,
    );
    template(r#"["{$.nothing}"]"#, "[null]");
    template(
        r#""{{}} {{$.id}} {$.data['a.b']} {{{$.type}}}""#,
        r#""{} {$.id} dotted {issue.opened}""#,
    );
    template(r#""{$.data.issue.labels[?@.name == '}'].name}""#, "[]");
    template(r#"{"{}":1,"a{b":"\u0001"}"#, r#"{"{}":1,"a{b":"\u0001"}"#);
    let constant = TransformSpec::Constant(br#" {"a": "{$.id} {", "b":[ ]} "#);
    assert_eq!(
        apply(&constant, DATA).as_deref(),
        Ok(r#"{"a":"{$.id} {","b":[]}"#)
    );
}

#[test]
fn names_in_eventbridges_form() {
    eventbridge("<title>", r#""say \"hi\"\n\u00e4/\\""#);
    eventbridge(
        r#"{"title": <title>, "id":<id>, "labels":<labels>, "first" : [<first>, <user>]}"#,
        r#"{"title":"say \"hi\"\n\u00e4/\\","id":12345678901234567890123,"labels":["bug","p1"],"first":[{"name":"bug","id":1.0},7]}"#,
    );
    eventbridge(
        r#""<kind>: \"<title>\" <first> <by>""#,
        r#""issue.opened: \"say \"hi\"\n\u00e4/\\\" {\"name\":\"bug\",\"id\":1.0} null""#,
    );
    let spec = TransformSpec::EventBridge {
        paths: &[
            ("a", "$.detail.*.user-id"),
            ("b", "$.detail.issue.labels[?@.name == 'p1'].id"),
            ("c", "$.detail.issue.labels[*]['name']"),
            ("d", "$..user"),
        ],
        template: "[<a>,<b>,<c>,<d>]",
    };
    assert_eq!(
        apply(&spec, DATA).as_deref(),
        Ok(r#"[[7],[20000000000000000000001],["bug","p1"],[]]"#)
    );
    // As recorded from AWS: a missing value is nothing in a string, and "" outside.
    eventbridge(r#"{"a":<none>,"b":"[<none>]"}"#, r#"{"a":"","b":"[]"}"#);
    eventbridge(
        r#"{"r":<aws.events.rule-name>,"t":"at <aws.events.event.ingestion-time>","n":<aws.events.rule-arn>}"#,
        r#"{"r":"large \"orders\"","t":"at 2026-07-01T12:00:00Z","n":""}"#,
    );
    eventbridge(
        r#"[<aws.events.event>]"#,
        r#"[{"id":"1\u0001\"","type":"issue.opened","sequence":12}]"#,
    );
    let spec = TransformSpec::EventBridge {
        paths: &[],
        template: r#"[<aws.events.event.json>,"<aws.events.event.json>"]"#,
    };
    assert_eq!(
        apply(&spec, "{\"a\" : \"b\\\"c\"}").as_deref(),
        Ok(
            r#"[{"id":"1\u0001\"","type":"issue.opened","sequence":12,"data":{"a" : "b\"c"}},"{\"id\":\"1\\u0001\\\"\",\"type\":\"issue.opened\",\"sequence\":12,\"data\":{\"a\":\"b\\\"c\"}}"]"#
        )
    );
    // A template that isn't JSON is text.
    eventbridge(
        "<kind> is \"<title>\"\n",
        r#""issue.opened is \"say \"hi\"\n\u00e4/\\\"\n""#,
    );
    eventbridge("5 < 6, a<b c>, <>", r#""5 < 6, a<b c>, <>""#);
    eventbridge(
        r#"{"a":"1 < 2 \u003ckind>"}"#,
        r#"{"a":"1 < 2 \u003ckind>"}"#,
    );
    eventbridge(" true ", "true");
    eventbridge("{ }", "{}");
}

#[test]
fn what_is_refused() {
    refused(&TransformSpec::Path("$.a["), &["not a JSONPath query"]);
    refused(&TransformSpec::Path("$..a..b..c"), &["more than 2 `..`"]);
    let json = |json: &'static str| TransformSpec::Template(json.as_bytes());
    refused(
        &json(r#"{"a":["x","{$.b["]}"#),
        &["byte 10, at /a/1", "is not a placeholder"],
    );
    refused(
        &json(r#"{"a":["x","{$.b[}"]}"#),
        &["at /a/1", "not a JSONPath query"],
    );
    refused(
        &json(r#""a } b""#),
        &["`} b` is not a placeholder", "{{ and }}"],
    );
    refused(
        &json(r#"{"{$.a}":1}"#),
        &["byte 1", "a placeholder can't be a key"],
    );
    refused(
        &json(r#"{"a":1,"a":2}"#),
        &["byte 7", "the key \"a\" occurs twice"],
    );
    refused(&json("{\"a\":1"), &["byte 6", "the text ends too early"]);
    // All errors are found.
    refused(&json(r#"["{","{$","}"]"#), &["at /0", "at /1", "at /2"]);
    let many: Vec<String> = (0..101)
        .map(|index| format!("\"{{$.a{index}}}\""))
        .collect();
    let many = format!("[{}]", many.join(","));
    refused(
        &TransformSpec::Template(many.as_bytes()),
        &["more than 100 different paths"],
    );
    let many = format!("\"{}\"", "{$.a}".repeat(1001));
    refused(
        &TransformSpec::Template(many.as_bytes()),
        &["more than 1000 placeholders"],
    );
}

#[test]
fn what_is_refused_in_eventbridges_form() {
    let refuse = |template: &str, parts: &[&str]| {
        let paths = &NAMES;
        refused(&TransformSpec::EventBridge { paths, template }, parts);
    };
    refuse(
        "{\"a\":\"<x>\"}",
        &["byte 6, at /input_template", "<x> has no path", "add \"x\""],
    );
    refuse("<x> and <y>", &["byte 0", "<x>", "byte 8", "<y>"]);
    refuse(
        "<aws.events.time>",
        &["the reserved names are aws.events.rule-arn"],
    );
    refuse(
        "{<id>:1}",
        &[
            "byte 1",
            ": a placeholder can't be a key",
            "write a constant key",
        ],
    );
    refuse("{\"1 < <id>\":1}", &["byte 1", "can't be a key"]);
    refuse("{<id:1}", &["isn't JSON"]);
    refuse(
        "{\"a\":<id>,\"\\u0061\":2}",
        &["byte 10", "the key \"a\" occurs twice"],
    );
    refuse(
        "see <b>",
        &[
            "byte 4",
            "<b> has no path",
            "write the template as a JSON string",
        ],
    );
    refuse(
        "{\"a <id>\":1}",
        &["byte 1", "a placeholder can't be a key"],
    );
    refuse(
        "{\"a\":<id> <title>}",
        &["isn't JSON", "expected `,` or `}`"],
    );
    refuse("{\"a\":< id >}", &["expected a JSON value or a <name>"]);
    refuse(
        "\"one\"\ntwo",
        &["byte 6", "isn't JSON", "a line break in a string is \\n"],
    );
    refuse("", &["a template of 0 characters"]);
    refuse(&"x".repeat(8193), &["8193 characters"]);
    let paths = |paths: &[(&str, &str)], parts: &[&str]| {
        let template = "x";
        refused(&TransformSpec::EventBridge { paths, template }, parts);
    };
    paths(&[("a b", "$")], &["at /input_paths/a b", "is not a name"]);
    paths(&[("AWSx", "$")], &["begins with aws"]);
    paths(
        &[("a", "$.b["), ("c", "x")],
        &["at /input_paths/a", "at /input_paths/c"],
    );
    paths(&[("a", "$"), ("a", "$.b")], &["two paths"]);
    // Even if the template doesn't use it.
    paths(&[("unused", "$.b[")], &["at /input_paths/unused"]);
    let many: Vec<String> = (0..101).map(|index| format!("a{index}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "$")).collect();
    paths(&many, &["101 paths; the limit is 100"]);
}

#[test]
fn what_an_input_needs() {
    let needs = |spec: TransformSpec<'_>| {
        let transform = Transform::parse(&spec, &[]).expect("it is valid");
        (
            transform.constant().map(str::to_owned),
            transform.needs_event(),
            transform.needs_tree(),
        )
    };
    let constant = Some("{\"a\":1}".to_owned());
    assert_eq!(
        needs(TransformSpec::Template(b"{\"a\": 1}")),
        (constant, false, false)
    );
    assert_eq!(needs(TransformSpec::Path("$.a[0]")), (None, true, false));
    assert_eq!(needs(TransformSpec::Path("$.a[*]")), (None, true, true));
    let template = "<aws.events.rule-name>";
    let spec = TransformSpec::EventBridge {
        paths: &[],
        template,
    };
    assert_eq!(needs(spec), (None, false, false));
    // A path without a placeholder isn't evaluated. The others keep their values.
    let paths = &[("a", "$.data.a[*]"), ("b", "$.data.*.id"), ("c", "$..x")];
    let spec = TransformSpec::EventBridge { paths, template };
    assert_eq!(needs(spec), (None, false, false));
    let template = "[<b>,<c>,<b>]";
    let spec = TransformSpec::EventBridge { paths, template };
    let made = apply(&spec, r#"{"o":{"id":1},"a":[2],"p":{"x":3}}"#);
    assert_eq!(made.as_deref(), Ok("[[1],[3],[1]]"));
    let meant = |json: &'static str, text| TransformSpec::of_input(json.as_bytes(), text);
    assert!(matches!(
        meant("\"$.a\"", Some("$.a")),
        TransformSpec::Path("$.a")
    ));
    assert!(matches!(
        meant("\"$\"", Some("$")),
        TransformSpec::Path("$")
    ));
    assert!(matches!(
        meant("\"$5\"", Some("$5")),
        TransformSpec::Template(_)
    ));
    assert!(matches!(meant("1", None), TransformSpec::Template(_)));
}

#[test]
fn names_without_use_cost_nothing() {
    let spec = TransformSpec::EventBridge {
        paths: &[("b", "$..x"), ("a", "$.a"), ("c", "$.c")],
        template: "{\"a\":<a>}",
    };
    let transform = Transform::parse(&spec, &[]).expect("it is valid");
    assert_eq!(transform.unused_names().collect::<Vec<_>>(), ["b", "c"]);
    assert!(!transform.needs_tree());
    assert_eq!(transform.slots, 1);
}

#[test]
fn inputs_are_bounded() {
    let long = format!("[\"{}\"]", "x".repeat(600 * 1024));
    let once = apply(&TransformSpec::Path("$.data"), &long);
    assert_eq!(once.as_deref(), Ok(long.as_str()));
    for json in [
        r#"["{$.data}","{$.data}"]"#,
        r#"["{$.data..*}","{$.data..*}"]"#,
    ] {
        refused_when_applied(
            &TransformSpec::Template(json.as_bytes()),
            &long,
            "larger than 1048576",
        );
    }
    let many = format!("[{}0]", "0,".repeat(10_000));
    refused_when_applied(
        &TransformSpec::Path("$.data[*]"),
        &many,
        "more than 10000 values",
    );
    refused_when_applied(&TransformSpec::Path("$.data.a"), "{\"a\":1", "of \"data\"");
    refused_when_applied(&TransformSpec::Path("$.data.*"), "{\"a\":1", "of \"data\"");
    // As deep as an event may be.
    let deep = format!("{}1{}", "[".repeat(63), "]".repeat(63));
    let path = format!("$.data{}", "[0]".repeat(63));
    assert_eq!(
        apply(&TransformSpec::Path(&path), &deep).as_deref(),
        Ok("1")
    );
}

#[track_caller]
fn refused_when_applied(spec: &TransformSpec<'_>, data: &str, part: &str) {
    let error = apply(spec, data).expect_err("it has no input");
    assert!(error.contains(part), "{error}");
}

/// A path from the top in JSONPath.
fn steps_of(steps: &[Step]) -> String {
    let step = |step: &Step| match step {
        Step::Member(name) => format!("[{}]", serde_json::json!(name)),
        Step::Element(index) => format!("[{index}]"),
    };
    steps.iter().map(step).collect()
}

fn at<'v>(value: &'v Value, steps: &[Step]) -> Option<&'v Value> {
    steps.iter().try_fold(value, |value, step| match step {
        Step::Member(name) => value.as_object()?.get(&**name),
        Step::Element(index) => {
            let list = value.as_array()?;
            let length = i64::try_from(list.len()).ok()?;
            let index = if *index < 0 { length + index } else { *index };
            list.get(usize::try_from(index).ok()?)
        }
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        "[ab](\\.[ab])?".prop_map(|name| Step::Member(name.into())),
        (-2..3_i64).prop_map(Step::Element),
    ];
    prop::collection::vec(step, 0..4)
}

proptest! {
    #[test]
    fn cuts_agree_with_the_tree(data in json(), paths in prop::collection::vec(steps(), 1..6)) {
        let text = data.to_string();
        let list: Vec<String> =
            paths.iter().map(|path| format!("{{$.data{}}}", steps_of(path))).collect();
        let made = apply(&TransformSpec::Template(serde_json::json!(list).to_string().as_bytes()), &text);
        let made: Value = serde_json::from_str(&made.expect("it is valid")).expect("it is JSON");
        let tree: Value = serde_json::from_str(&text).expect("it is JSON");
        for (index, path) in paths.iter().enumerate() {
            prop_assert_eq!(&made[index], at(&tree, path).unwrap_or(&Value::Null));
        }
    }

    #[test]
    fn queries_cut_what_they_select(data in json(), which in 0..4_usize) {
        let query = ["$..*", "$.data[*]", "$..[?@ != 1]", "$..['a','b','a.b']"][which];
        let made = apply(&TransformSpec::Path(query), &data.to_string()).expect("it is valid");
        let made: Value = serde_json::from_str(&made).expect("it is JSON");
        let event = serde_json::json!({"id": "1\u{1}\"", "type": "issue.opened", "sequence": 12, "data": data});
        let filter = Filter::parse(query).expect("it is valid");
        let wanted: Vec<&Value> = filter.select(&event, 10_000, &mut Steps::of_event())
            .expect("they are within the budget").expect("few enough").iter()
            .map(|place| at(&event, place).expect("it is there")).collect();
        prop_assert_eq!(made, serde_json::json!(wanted));
    }

    #[test]
    fn any_text_is_inserted_whole(key in any::<String>(), value in any::<String>()) {
        let data = serde_json::json!({ &key: &value, "o": [{ &key: &value }] });
        let path = format!("$.data[{}]", serde_json::json!(&key));
        let text = serde_json::json!({"t": format!("«{{{path}}}» {{$.data.o}}")}).to_string();
        // The library refuses DEL and similar characters in its strings. Then there is nothing to insert.
        if let Ok(made) = apply(&TransformSpec::Template(text.as_bytes()), &data.to_string()) {
            let made: Value = serde_json::from_str(&made).expect("it is JSON");
            let wanted = format!("«{value}» {}", data["o"]);
            if key != "o" {
                prop_assert_eq!(made["t"].as_str(), Some(wanted.as_str()));
            }
        }
        let spec = TransformSpec::EventBridge { paths: &[("v", "$.data.*")], template: "{\"t\":\"<v>\"}" };
        prop_assert!(apply(&spec, &data.to_string()).is_ok());
    }

    #[test]
    fn spliced_templates_are_compiled_or_refused(parts in prop::collection::vec(0..14_usize, 0..12)) {
        const PARTS: [&str; 14] = [
            "{", "}", "\"", "<", ">", "title", ":", ",", "[", "]", "{$.data}", "\\", "$.a", " ",
        ];
        let text: String = parts.iter().map(|part| PARTS[*part]).collect();
        let _ = apply(&TransformSpec::Template(text.as_bytes()), DATA);
        let _ = apply(&TransformSpec::Path(&text), DATA);
        let _ = apply(&TransformSpec::EventBridge { paths: &NAMES, template: &text }, DATA);
    }
}
