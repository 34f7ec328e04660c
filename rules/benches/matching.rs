//! One event of 1 KiB against 1, 10 and 100 rules: by the rule index, every byte checked, as a bus
//! matches what comes in; trusting what was vouched for; and by the plain matcher.

use edgebus_rules::{Duplicates, ParseOptions, Part, Pattern, RuleIndex, RuleSet, Scratch, Trust};

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

fn event(data: &str) -> [Part<'_>; 4] {
    assert!((950..1050).contains(&data.len()), "{} bytes", data.len());
    let text = |name, value| Part::Text { name, value };
    [
        text("id", "8f1f9d6c-0000-4000-8000-000000000000"),
        text("source", "https://example.com/project"),
        text("type", "issue.opened"),
        Part::Raw {
            name: "data",
            json: data.as_bytes(),
        },
    ]
}

fn by_index(bencher: divan::Bencher<'_, '_>, rules: usize, vouched: bool) {
    let data = data();
    let event = event(&data);
    let index: RuleIndex<usize> = (0..rules).map(|number| (number, rule(number))).collect();
    let trust = match vouched {
        true => Trust::of(&event).expect("the event is valid"),
        false => Trust::Unchecked,
    };
    let mut scratch = Scratch::new();
    let mut matches = || {
        let found = index.matches(&mut scratch, &event, Duplicates::Refuse, trust);
        found.expect("the event is valid").len()
    };
    assert!(rules == 1 || matches() > 0);
    bencher.bench_local(matches);
}

#[divan::bench(args = [1, 10, 100])]
fn checked(bencher: divan::Bencher<'_, '_>, rules: usize) {
    by_index(bencher, rules, false);
}

#[divan::bench(args = [1, 10, 100])]
fn vouched_for(bencher: divan::Bencher<'_, '_>, rules: usize) {
    by_index(bencher, rules, true);
}

#[divan::bench(args = [1, 10, 100])]
fn plain_matcher(bencher: divan::Bencher<'_, '_>, rules: usize) {
    let data = data();
    let event = event(&data);
    let set = RuleSet::new((0..rules).map(|number| (number, rule(number))));
    let matches = || {
        let found = set.matches(&event, Duplicates::Refuse);
        found.expect("the event is valid").len()
    };
    assert!(rules == 1 || matches() > 0);
    bencher.bench_local(matches);
}
