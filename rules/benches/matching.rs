//! One event of 1 KiB against 1, 10 and 100 rules, by the plain matcher.

use rules::{Duplicates, ParseOptions, Part, Pattern, RuleSet};

fn main() {
    divan::main();
}

/// An event like a webhook's: nested objects, an array, mixed scalars; some 1,024 bytes of data.
fn data() -> String {
    let filler = "The quick brown fox jumps over the lazy dog. ".repeat(8);
    format!(
        r#"{{"action":"opened","number":4711,"issue":{{"id":1296269,"title":"Crash on \"start\"",
        "state":"open","locked":false,"comments":3,"user":{{"login":"octocat","id":1,"type":"User",
        "site_admin":false,"html_url":"https://example.com/octocat"}},"labels":[{{"name":"bug",
        "color":"d73a4a","default":true}},{{"name":"p1","color":"a2eeef","default":false}}],
        "assignee":null,"score":0.75,"body":"{filler}"}},"repository":{{"id":35129377,
        "full_name":"example/project","private":false,"owner":{{"login":"example","id":6752317}},
        "stargazers_count":80,"language":"Rust"}},"sender":{{"login":"octocat","address":"10.1.2.3"}}}}"#
    )
}

/// Rule number `number`: one of five shapes over the same handful of fields.
fn rule(number: usize) -> Pattern {
    let text = match number % 5 {
        0 => format!(r#"{{"type":["issue.opened"],"data":{{"repository":{{"id":[{number}]}}}}}}"#),
        1 => format!(
            r#"{{"data":{{"action":["opened"],"issue":{{"title":[{{"prefix":"Crash {number}"}}]}}}}}}"#
        ),
        2 => format!(
            r#"{{"data":{{"number":[{{"numeric":[">",{number}]}}],"issue":{{"state":["open"]}}}}}}"#
        ),
        3 => format!(
            r#"{{"data":{{"issue":{{"labels":{{"name":["bug"],"color":["{number}"]}}}}}}}}"#
        ),
        _ => format!(
            r#"{{"data":{{"sender":{{"login":[{{"anything-but":["robot-{number}"]}}]}}}}}}"#
        ),
    };
    Pattern::parse(text.as_bytes(), &ParseOptions::default()).expect("the rule is valid")
}

#[divan::bench(args = [1, 10, 100])]
fn event_of_1_kib(bencher: divan::Bencher<'_, '_>, rules: usize) {
    let data = data();
    assert!((950..1050).contains(&data.len()), "{} bytes", data.len());
    let set = RuleSet::new((0..rules).map(|number| (number, rule(number))));
    let event = [
        Part::Text {
            name: "id",
            value: "8f1f9d6c-0000-4000-8000-000000000000",
        },
        Part::Text {
            name: "source",
            value: "https://example.com/project",
        },
        Part::Text {
            name: "type",
            value: "issue.opened",
        },
        Part::Raw {
            name: "data",
            json: data.as_bytes(),
        },
    ];
    let matches = || {
        set.matches(&event, Duplicates::Refuse)
            .expect("the event is valid")
            .len()
    };
    assert!(rules == 1 || matches() > 0);
    bencher.bench_local(matches);
}
