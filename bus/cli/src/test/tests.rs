use std::fs;

use super::*;

const MANIFEST: &str = "version: 1
buses: { other: {} }
functions: { f: {} }
rules:
  small: { match: { type: [order], data: { total: [{ numeric: ['<', 10] }] } }, to: [{ function: f }] }
  large:
    match: { type: [order], $or: [{ data: { total: [{ numeric: ['>=', 10] }] } }, { data: { vip: [true] } }] }
    to: [{ function: f }]
  filtered: { match: { type: [order] }, where: '$.data.lines[?@.n > 1]', to: [{ function: f }] }
  elsewhere: { bus: other, to: [{ function: f }] }
tests:
";

/// Runs one test, written as the lines behind `- name: t`, and gives the text of its report without the time.
fn check(lines: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("edgebus.yaml");
    let lines = lines.replace('\n', "\n    ");
    fs::write(&path, format!("{MANIFEST}  - name: t\n    {lines}\n")).expect("it is written");
    let file = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect(name);
    let event = |total: u32| {
        format!(
            r#"{{"specversion":"1.0","id":"1","source":"/s","type":"order","data":{{"total":{total}}}}}"#
        )
    };
    // More than binary64 holds.
    let beyond = r#"{"specversion":"1.0","id":"1","source":"/s","type":"order","data":{"lines":[{"n":1e400}]}}"#;
    file("beyond.json", beyond);
    file("small.json", &format!("\n{}\n", event(1)));
    file("both.json", &format!("[{},\n {}]", event(1), event(2)));
    file("lines.jsonl", &format!("{}\n\n{}\r\n", event(1), event(50)));
    let checked = Checked::read(&path, Purpose::Test, None).expect("it can be read");
    if !checked.errors.is_empty() {
        return checked.show(edgebus_manifest::Style::Plain);
    }
    let manifest = &checked.document.manifest;
    let rulebook = Rulebook::new(manifest).expect("the rules compile");
    let results: Vec<Ran> = manifest
        .tests
        .iter()
        .map(|test| run_one(&checked, &rulebook, &mut Reached::new(manifest), test))
        .collect();
    let report = Report {
        file: "x.yaml".to_owned(),
        results,
        unreached: Vec::new(),
        micros: 0,
    };
    let passed = report.failed() == 0;
    assert_eq!(report::json(&report)["tests"][0]["passed"], passed);
    let text = report::text(&report, false);
    let (tests, _) = text.rsplit_once("\n\n").expect("there is a summary");
    tests.to_owned()
}

#[test]
fn what_is_expected_passes() {
    for lines in [
        "event: { type: order, data: { total: 1 } }\nexpect: [small]",
        "event: small.json\nexpect: [small]",
        "event: both.json\nexpect: [small]",
        "event: [small.json, both.json, { type: order, data: { total: 3 } }]\nexpect: [small]",
        "event: { type: order, data: { total: 12, lines: [{ n: 2 }] } }\nexpect: [filtered, large]",
        "event: { type: order, data: { vip: true } }\nexpect: [large]",
        "event: beyond.json\nexpect: [filtered]",
        "event: { type: nothing }\nexpect: []",
        "event: lines.jsonl\nexpect_not: [filtered]",
        "event: { type: order }\nbus: other\nexpect: [elsewhere]",
        "event: { id: a, source: /b, specversion: '1.0', type: order, data: { total: 1 } }\nexpect: [small]\nexpect_not: [large]",
    ] {
        assert_eq!(check(lines), "ok   t", "{lines}");
    }
}

#[test]
fn a_failure_says_what_was_missed_and_what_held() {
    let table = [
        (
            "event: { type: order, data: { total: 5 } }\nexpect: [large]",
            "FAIL t
     the event in the manifest (order)
     - large: expected, and it did not match
         data.total: wanted a number >= 10; saw 5 ($or choice 1 of 2, the nearest)
     + small: not expected, and it matched
         type: wanted \"order\"; saw \"order\"
         data.total: wanted a number < 10; saw 5",
        ),
        (
            "event: { type: order, data: { total: 50, lines: [{ n: 1 }] } }\nexpect: [filtered, large]",
            "FAIL t
     the event in the manifest (order)
       large
     - filtered: expected, and it did not match
         where $.data.lines[?@.n > 1]: selects nothing",
        ),
        (
            "event: { type: order }\nexpect: [elsewhere]",
            "FAIL t
     the event in the manifest (order)
     - elsewhere: expected, and it did not match
         the rule looks at bus `other`, and the event is on `default`",
        ),
        (
            "event: { type: order }\nbus: other\nexpect_not: [elsewhere]",
            "FAIL t
     the event in the manifest (order)
     + elsewhere: not expected, and it matched
         it has no `match`: every event of its bus matches",
        ),
        (
            "event: lines.jsonl\nexpect: [small]",
            "FAIL t
     lines.jsonl line 3 (order)
     - small: expected, and it did not match
         data.total: wanted a number < 10; saw 50
     + large: not expected, and it matched
         type: wanted \"order\"; saw \"order\"
         data.total: wanted a number >= 10; saw 50",
        ),
    ];
    for (lines, expected) in table {
        assert_eq!(check(lines), expected, "{lines}");
    }
}

#[test]
fn an_event_that_is_none_is_an_error_of_the_manifest() {
    for (lines, words) in [
        ("event: { data: 1 }\nexpect: []", "`type`"),
        (
            "event: { type: order, id: 7 }\nexpect: []",
            "edgebus.yaml:13:27: ",
        ),
        ("event: nowhere.json\nexpect: []", "edgebus.yaml:13:12: "),
        (
            "event: [small.json, nowhere.json]\nexpect: []",
            "edgebus.yaml:13:25: ",
        ),
        (
            "event: edgebus.yaml\nexpect: []",
            "edgebus.yaml is not JSON",
        ),
    ] {
        let said = check(lines);
        assert!(said.contains(words), "{lines}: {said}");
    }
}

#[test]
fn what_no_test_reached_is_told() {
    let check = |events: &[&str]| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("edgebus.yaml");
        let rules = MANIFEST.replace("tests:\n", "  every: { to: [{ function: f }] }\n");
        let tests: String = events
            .iter()
            .map(|event| format!("  - {{ name: t, event: {event}, expect_not: [] }}\n"))
            .collect();
        fs::write(&path, format!("{rules}tests:\n{tests}")).expect("it is written");
        let checked = Checked::read(&path, Purpose::Test, None).expect("it can be read");
        assert!(
            checked.errors.is_empty(),
            "{}",
            checked.show(edgebus_manifest::Style::Plain)
        );
        let manifest = &checked.document.manifest;
        let rulebook = Rulebook::new(manifest).expect("the rules compile");
        let mut reached = Reached::new(manifest);
        for test in &manifest.tests {
            run_one(&checked, &rulebook, &mut reached, test);
        }
        let report = Report {
            file: "x.yaml".to_owned(),
            results: Vec::new(),
            unreached: reached.unreached(),
            micros: 0,
        };
        let text = report::text(&report, false);
        let lines = text.lines().filter_map(|line| line.strip_prefix("  rule "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let none = "it matches no event of any test";
    assert_eq!(
        check(&["{ type: order, data: { total: 1, lines: [{ n: 1 }] } }"]),
        [
            format!("large: {none}"),
            // Its pattern takes the event, and its filter does not.
            format!("filtered: {none}"),
            format!("elsewhere: {none}"),
        ]
    );
    assert_eq!(
        check(&[
            "{ type: order, data: { total: 10, lines: [{ n: 2 }] } }",
            "{ type: order, data: { total: 1 } }"
        ]),
        [
            "large: data.vip: true",
            "large: $or choice 2 of 2",
            "elsewhere: it matches no event of any test",
        ]
    );
}

#[test]
fn junit_is_escaped() {
    let report = Report {
        file: "a & b.yaml".to_owned(),
        results: vec![Ran {
            name: "<\"quoted\">\u{1}".to_owned(),
            events: 1,
            micros: 1_500_000,
            failures: vec![Failed {
                event: "x".to_owned(),
                kind: "t".to_owned(),
                right: Vec::new(),
                missed: vec![(
                    Name::new("r").expect("a name"),
                    vec!["wanted \"<\"".to_owned()],
                )],
                surplus: Vec::new(),
                inputs: Vec::new(),
                error: None,
            }],
        }],
        unreached: Vec::new(),
        micros: 1_500_001,
    };
    insta::assert_snapshot!(junit::document(&report));
}

#[test]
fn inputs_are_held_against_what_targets_get() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("edgebus.yaml");
    let check = |test: &str| {
        let text = format!(
            "version: 1
functions: {{ f: {{}}, g: {{}} }}
rules:
  part: {{ match: {{ type: [order] }}, to: [{{ function: f, input: $.data.total }}, {{ function: g, input: {{ id: '{{$.id}}', t: '{{$.data.total}}' }} }}] }}
  aws:
    match: {{ type: [order] }}
    to: [{{ function: f, input_paths: {{ t: $.detail.total }}, input_template: '{{\"said\": \"total <t>\"}}' }}]
  whole: {{ match: {{ type: [order] }}, to: [{{ function: f }}] }}
  not: {{ match: {{ type: [refund] }}, to: [{{ function: f }}] }}
tests:
  - {{ name: t, event: {{ type: order, id: a1, data: {{ total: 7, big: 12345678901234567890123 }} }}, expect: [part, aws, whole], expect_input: {test} }}
"
        );
        fs::write(&path, text).expect("it is written");
        let checked = Checked::read(&path, Purpose::Test, None).expect("it can be read");
        if !checked.errors.is_empty() {
            return checked.show(edgebus_manifest::Style::Plain);
        }
        let manifest = &checked.document.manifest;
        let rulebook = Rulebook::new(manifest).expect("the rules compile");
        let mut reached = Reached::new(manifest);
        let ran = run_one(&checked, &rulebook, &mut reached, &manifest.tests[0]);
        let unreached: Vec<String> = reached
            .unreached()
            .iter()
            .map(|one| one.rule.to_string())
            .collect();
        assert_eq!(unreached, ["not"]);
        let lines = ran.failures.iter().flat_map(report::diff).skip(1);
        lines.map(|(_, line)| line + "\n").collect()
    };
    for good in [
        "{ part/f: 7, part/g: { t: 7.0, id: a1 }, aws: { said: total 7 }, whole: { total: 7, big: 12345678901234567890123 } }",
        "{}",
    ] {
        assert_eq!(check(good), "", "{good}");
    }
    let wrong = |test: &str, line: &str| {
        let said = check(test);
        assert!(said.contains(line), "{test}: {said}");
    };
    wrong(
        "{ whole: { total: 7, big: 12345678901234567890124 } }",
        "\"big\":12345678901234567890123}\n",
    );
    wrong("{ part/f: 8 }", "  input of part/f\n- 8\n+ 7\n");
    wrong("{ part: 7 }", "+ the rule `part` has several targets");
    wrong("{ part/h: 7 }", "+ the rule `part` has no target `h`");
    wrong("{ not: 7 }", "+ nothing: the rule `not` did not match");
    wrong("{ prat/f: 7 }", "did you mean `part`?");
}
