//! `where` queries on trees: what natural ones cost on events of 1 KiB and 1 MiB, what those cost that use up
//! the budget of steps, and what a step costs.

use edgebus_rules::{Filter, Steps};

fn main() {
    divan::main();
}

/// Queries with the event that each is asked of, by name.
const QUERIES: [(&str, &str); 9] = [
    ("a place", "$.data.lines[0].sku"),
    ("one field", "$.data.lines[?@.ref == 7]"),
    ("two fields", "$.data.lines[?@.ref == 7 && @.sku != 'X']"),
    ("regex", "$.data.lines[?search(@.sku, '^X-.*z$')]"),
    (
        "the whole event of each line",
        "$.data.lines[?count($.data.lines[?@.ref == 7]) > 9]",
    ),
    ("descent", "$..[?@.ref == 'none']"),
    ("every number", "$.data.numbers[?@ > 5]"),
    ("descents, past the budget", "$..[?@..[?@.x]]"),
    (
        "regex, past the budget",
        "$.data.text[?search(@, 'a.{300}z')]",
    ),
];

const NAMES: [&str; 9] = {
    let mut names = [""; 9];
    let mut at = 0;
    while at < names.len() {
        names[at] = QUERIES[at].0;
        at += 1;
    }
    names
};

fn event(bytes: usize) -> serde_json::Value {
    let share = bytes / 5;
    let lines =
        (0..share / 32).map(|number| format!(r#"{{"ref":"r{number}","sku":"X-{number}"}}"#));
    let lines: Vec<String> = lines.collect();
    let numbers = vec!["1"; share / 2].join(",");
    let deep = format!("{}1{}", "[".repeat(30), "]".repeat(30));
    let deep = vec![deep; share / 62].join(",");
    let text = "ab aa ba ".repeat(share / 9);
    let text = format!(
        r#"{{"data":{{"lines":[{}],"numbers":[{numbers}],"deep":[{deep}],"text":["{text}"]}}}}"#,
        lines.join(",")
    );
    serde_json::from_str(&text).expect("it is JSON")
}

fn asked(bencher: divan::Bencher<'_, '_>, name: &str, bytes: usize) {
    let query = QUERIES.iter().find(|(own, _)| *own == name);
    let filter = Filter::parse(query.expect("it is there").1).expect("it is valid");
    let event = event(bytes);
    let mut steps = Steps::of_event();
    let _ = filter.holds(&event, &mut steps);
    bencher
        .counter(divan::counter::ItemsCount::new(steps.used()))
        .bench_local(|| filter.holds(&event, &mut Steps::of_event()));
}

#[divan::bench(args = NAMES)]
fn event_of_1_kib(bencher: divan::Bencher<'_, '_>, name: &str) {
    asked(bencher, name, 1 << 10);
}

#[divan::bench(args = NAMES, sample_count = 10, sample_size = 1)]
fn event_of_1_mib(bencher: divan::Bencher<'_, '_>, name: &str) {
    asked(bencher, name, 1 << 20);
}
