//! Costly filters: they end, their answers come, and the bus keeps doing everything else meanwhile.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::guests;
use crate::support::server::{Home, Server};

/// What a look at the health or a publish of a small event may take meanwhile; a hundred times what it takes
/// on a quiet machine, and a small part of what a filter without bounds takes.
const MEANWHILE_MAX: Duration = Duration::from_secs(5);

fn manifest() -> String {
    let function = json!(guests::path("idle"));
    format!(
        "version: 1
functions: {{ idle: {{ component: {function} }} }}
rules:
  often: {{ match: {{ type: [lines] }}, where: '$.data.lines[?count($.data.lines[?@.ref == 1]) > 5]', to: [{{ function: idle }}] }}
  found: {{ match: {{ type: [skus] }}, where: '$.data.lines[?search(@.sku, \"^X-.*9$\")]', to: [{{ function: idle }}] }}
  below: {{ match: {{ type: [deep] }}, where: '$..[?@..x]', to: [{{ function: idle }}] }}
  plain: {{ match: {{ type: [lines, skus, deep, small] }}, to: [{{ function: idle }}] }}
"
    )
}

/// The labels of the subscriptions that got the event at this position.
fn got(server: &Server, position: u64) -> Vec<String> {
    let path = format!("/v1/buses/default/events/{position}/explain?rule=plain");
    let explained = server.get(&path).expect(200).json();
    let labels = explained["subscriptions"].as_array().unwrap().iter();
    labels
        .map(|label| label.as_str().unwrap().to_owned())
        .collect()
}

fn lines(count: usize, line: impl Fn(usize) -> Value) -> Value {
    json!({ "lines": (0..count).map(line).collect::<Vec<_>>() })
}

/// Lists so deep that `..` below `..` uses up the budget.
fn deep() -> Value {
    let one = (0..30).fold(json!(1), |inner, _| json!([inner]));
    Value::from(vec![one; 16_000])
}

/// What `rules/test` says of this `where` query and this data.
fn tried(server: &Server, query: &str, data: &Value) -> Value {
    let body = json!({"where": [query], "event": {"type": "t", "data": data}});
    let body = body.to_string();
    server
        .post("/v1/rules/test", "application/json", body.as_bytes())
        .expect(200)
        .json()
}

/// Looks at the health and publishes small events until `done`; the longest that either took.
fn meanwhile(server: &Server, done: impl Fn() -> bool) -> Duration {
    let mut longest = Duration::ZERO;
    for count in 0.. {
        if count > 3 && done() {
            break;
        }
        let began = Instant::now();
        server.get("/livez").expect(200);
        longest = longest.max(began.elapsed());
        let began = Instant::now();
        server.publish(&format!("small-{count}"), "small", &json!({}));
        longest = longest.max(began.elapsed());
    }
    longest
}

#[test]
fn costly_filters_end_and_hold_up_nothing_else() {
    let home = Home::new(&manifest());
    let server = home.serve();
    let nested = "$.data[?@[?$.data[?@[0]==99999]]]";
    let pairs = Value::from(
        (0..20_000)
            .map(|number| json!([number]))
            .collect::<Vec<_>>(),
    );
    let refs = lines(16_000, |number| json!({ "ref": number % 2_000 }));
    let longest = thread::scope(|scope| {
        let server = &server;
        let mut all = Vec::new();
        for _ in 0..2 {
            all.push(scope.spawn(|| {
                let told = tried(server, nested, &pairs);
                assert_eq!(told["where"][0], json!({"query": nested, "held": false}));
            }));
        }
        for number in 0..3 {
            let refs = &refs;
            all.push(scope.spawn(move || {
                let position = server.publish(&format!("lines-{number}"), "lines", refs);
                assert_eq!(got(server, position), ["often/idle", "plain/idle"]);
            }));
        }
        let longest = meanwhile(server, || {
            all.iter().all(thread::ScopedJoinHandle::is_finished)
        });
        for one in all {
            one.join().unwrap();
        }
        longest
    });
    assert!(longest < MEANWHILE_MAX, "something else took {longest:?}");
}

#[test]
fn a_filter_past_its_budget_does_not_hold_and_is_counted_and_told() {
    let home = Home::new(&manifest());
    let server = home.serve();
    let deep = deep();
    let longest = thread::scope(|scope| {
        let server = &server;
        let mut all = Vec::new();
        for _ in 0..2 {
            all.push(scope.spawn(|| {
                let told = tried(server, "$..[?@..x]", &deep);
                assert_eq!(told["matched"], false);
                assert_eq!(told["where"][0]["held"], false);
                assert_eq!(told["where"][0]["used_up"], true, "{}", told["where"]);
            }));
        }
        all.push(scope.spawn(|| {
            let position = server.publish("deep", "deep", &deep);
            assert_eq!(got(server, position), ["plain/idle"]);
            let path = format!("/v1/buses/default/events/{position}/explain?rule=below");
            let explained = server.get(&path).expect(200).json();
            assert_eq!(explained["verdicts"][0]["where"][0]["used_up"], true);
        }));
        let longest = meanwhile(server, || {
            all.iter().all(thread::ScopedJoinHandle::is_finished)
        });
        for one in all {
            one.join().unwrap();
        }
        longest
    });
    assert!(longest < MEANWHILE_MAX, "something else took {longest:?}");
    let metrics = server.get("/metrics").expect(200).text();
    let counted = "edgebus_filter_budgets_used_up_total 1";
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
}

#[test]
fn a_regex_over_a_large_event_gives_the_right_answer() {
    let home = Home::new(&manifest());
    let server = home.serve();
    for (last, wanted) in [
        ("X-1", vec!["plain/idle"]),
        ("X-19", vec!["found/idle", "plain/idle"]),
    ] {
        let skus = lines(60_000, |number| match number {
            59_999 => json!({ "sku": last }),
            _ => json!({ "sku": "9X-18" }),
        });
        let position = server.publish(last, "skus", &skus);
        assert_eq!(got(&server, position), wanted);
    }
}
