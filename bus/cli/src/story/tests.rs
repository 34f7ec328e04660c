//! Each story against its golden file; EDGEBUS_REWRITE_GOLDEN=1 rewrites them.

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::output::{Paint, parse_time};

const NOW: &str = "2026-11-21T06:35:16.500Z";

/// Compares with the golden file of this name.
fn check(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/formats/stories")
        .join(format!("{name}.txt"));
    if std::env::var_os("EDGEBUS_REWRITE_GOLDEN").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        text,
        golden,
        "{} differs; EDGEBUS_REWRITE_GOLDEN=1 rewrites it",
        file.display()
    );
    assert!(
        text.lines().all(|line| !line.ends_with(' ')),
        "{name}: a line ends with a blank"
    );
}

const EVENT: &str = r#"{"specversion":"1.0","id":"o-1004","source":"/shop","type":"com.example.order.placed","subject":"o-1004","datacontenttype":"application/json","correlationid":"c-7","data":{"id":"o-1004","customer":"kenji","total": 12000.00,"lines":[{"sku":"vase","quantity":1,"unit_cents":1200000},{"sku":"lamp","quantity":2,"unit_cents":6900}],"note":"ring \u001b[31m twice"}}"#;
const RULE: &str = r#"{"name":"orders","bus":"default","enabled":true,"match":{"type":["com.example.order.placed"],"data":{"total":[{"numeric":[">",100.00]}]}},"where":["$.data.lines[?@.quantity > 0]"],"to":[{"function":"enricher","name":"orders/enricher","retry":{"attempts":3,"initial_ms":200,"factor":2.0,"max_ms":1000,"jitter":true,"max_age_ms":86400000},"dead_letter_ms":1209600000}]}"#;

fn attempt(
    number: u32,
    started_at: &str,
    outcome: &str,
    message: Option<&str>,
    output: &str,
) -> Value {
    let mut attempt = json!({
        "number": number, "started_at": started_at, "duration_us": 311 * number,
        "outcome": outcome, "output": output,
    });
    if let Some(message) = message {
        attempt["message"] = message.into();
    }
    attempt
}

fn delivery(stage: &str, attempts: &[Value], more: Value) -> String {
    let mut delivery = json!({
        "id": "3-13", "stage": stage, "bus": "default", "subscription": "orders/enricher",
        "subscription": "orders/enricher", "rule": "orders", "function": "enricher", "position": 13,
        "accepted_at": "2026-11-21T06:30:16.000Z",
        "attempts_made": attempts.last().map_or(0, |last| last["number"].as_u64().unwrap()),
        "attempts": attempts,
    });
    for (name, value) in more.as_object().unwrap() {
        delivery[name] = value.clone();
    }
    delivery.to_string()
}

fn tell(delivery: &str, event: Option<&str>, rule: Option<&str>, on: bool) -> String {
    tell_full(delivery, event, rule, on, false)
}

/// Reads what the API would have sent.
fn read<T: serde::de::DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).unwrap()
}

fn tell_full(
    delivery: &str,
    event: Option<&str>,
    rule: Option<&str>,
    on: bool,
    full: bool,
) -> String {
    let (event, rule) = (event.map(read), rule.map(read));
    let story = Story {
        delivery: &read(delivery),
        event: event.as_ref(),
        erased: None,
        rule: rule.as_ref(),
        now: parse_time(NOW).unwrap(),
        full,
        paint: Paint { on },
    };
    story.tell()
}

const TRAP: &str = "panicked at src/lib.rs:17:5: no rate \u{1b}[2J for JPY\n  at __rustc::rust_panic\n  at std::panicking::panic_with_hook\n  at core::panicking::panic_fmt\n  at enricher::rate\n  at enricher::handle\n  at <edgebus_sdk::host::Guest as Export>::handle\n  at wit_bindgen::rt::run";

#[test]
fn a_dead_letter_tells_each_attempt() {
    let letter = delivery(
        "dead",
        &[
            attempt(
                1,
                "2026-11-21T06:30:16.001Z",
                "retry",
                Some("config `RATE_JPY` is not set"),
                "",
            ),
            attempt(
                2,
                "2026-11-21T06:30:16.207Z",
                "timeout",
                Some("took longer than 30000 ms (limits.timeout)"),
                "INFO converting\n",
            ),
            attempt(
                3,
                "2026-11-21T06:31:47.900Z",
                "trap",
                Some(TRAP),
                "INFO converting\nthread 'main' panicked at src/lib.rs:17:5:\nno rate \u{1b}[2J for JPY\n",
            ),
        ],
        json!({"reason": "attempts-exhausted", "died_at": "2026-11-21T06:31:48.000Z",
               "event": "EVENT"}),
    );
    // Spelling and order are kept, as in the bus's own answer.
    let letter = letter.replace("\"EVENT\"", EVENT);
    check("dead-letter", &tell(&letter, None, Some(RULE), false));
    let coloured = tell(&letter, None, Some(RULE), true);
    assert!(
        coloured.contains("\x1b[31m") && !coloured.contains("\x1b[2J"),
        "{coloured}"
    );
    check("dead-letter-coloured", &coloured.replace('\x1b', "ESC"));
}

/// A delivery that was a dead letter says how often it died, and what a job did with it.
#[test]
fn a_delivery_tells_that_it_was_redriven_or_purged() {
    let died = |more: Value| {
        let mut died = json!({
            "deaths": 2, "redriven_at": "2026-11-21T06:32:00.000Z", "died_of": "attempts-exhausted", "job": 17,
        });
        if let (Some(own), Value::Object(more)) = (died.as_object_mut(), more) {
            own.extend(more);
        }
        died
    };
    let again = died(json!({"due_at": "2026-11-21T06:35:20.000Z"}));
    let again = delivery("pending", &[], again);
    check("redriven", &tell(&again, Some(EVENT), Some(RULE), false));
    let purged =
        died(json!({"job": 18, "discarded": "purged", "settled_at": "2026-11-21T06:33:00.000Z"}));
    let purged = delivery("discarded", &[], purged);
    check("purged", &tell(&purged, Some(EVENT), None, false));
}

#[test]
fn attempts_that_ended_the_same_are_told_once() {
    let output = "thread 'main' panicked at src/lib.rs:17:5:\nno rate for JPY\n";
    let trapped = |number, second| {
        let started = format!("2026-11-21T06:30:{second}.001Z");
        attempt(number, &started, "trap", Some(TRAP), output)
    };
    let letter = delivery(
        "dead",
        &[
            trapped(1, 16),
            trapped(2, 17),
            trapped(3, 19),
            attempt(
                4,
                "2026-11-21T06:30:23.001Z",
                "timeout",
                Some("took longer than 30000 ms"),
                "",
            ),
            trapped(7, 30),
            trapped(8, 40),
        ],
        json!({"reason": "attempts-exhausted", "died_at": "2026-11-21T06:31:48.000Z"}),
    );
    check("dead-letter-folded", &tell(&letter, None, None, false));
    check(
        "dead-letter-full",
        &tell_full(&letter, None, None, false, true),
    );
}

#[test]
fn a_success_tells_its_event_as_it_was_published() {
    let settled = delivery(
        "succeeded",
        &[attempt(1, "2026-11-21T06:30:16.000Z", "success", None, "")],
        json!({"settled_at": "2026-11-21T06:30:16.002Z", "emitted": 1}),
    );
    check("succeeded", &tell(&settled, Some(EVENT), Some(RULE), false));
}

#[test]
fn what_is_pending_tells_when_it_is_tried_again() {
    let unconditional =
        r#"{"name":"orders","bus":"default","enabled":true,"match":null,"where":[],"to":[]}"#;
    let long = (1..=60)
        .map(|line| format!("INFO line {line}\n"))
        .collect::<String>();
    let pending = delivery(
        "pending",
        &[
            attempt(
                1,
                "2026-11-21T06:30:16.001Z",
                "conflict",
                Some("state that it read was changed by another attempt"),
                &long,
            ),
            attempt(
                9,
                "2026-11-21T06:35:10.000Z",
                "retry",
                Some("the rates' service is down"),
                "",
            ),
        ],
        json!({"due_at": "2026-11-21T06:37:00.000Z"}),
    );
    let bare = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"AAEC"}"#;
    check(
        "pending",
        &tell(&pending, Some(bare), Some(unconditional), false),
    );
    let fresh = delivery("pending", &[], json!({}));
    check("pending-fresh", &tell(&fresh, None, None, false));
}

#[test]
fn an_event_tells_its_deliveries() {
    let stored =
        format!(r#"{{"position":13,"accepted_at":"2026-11-21T06:30:16.000Z","event":{EVENT}}}"#);
    let row = |id: &str, subscription: &str, stage: &str, made: u64, last: Value| {
        let row = json!({
            "id": id, "subscription": subscription, "stage": stage, "attempts_made": made, "position": 13,
            "accepted_at": "2026-11-21T06:30:16.000Z", "last_attempt": last,
        });
        read(&row.to_string())
    };
    let mut last = attempt(3, NOW, "retry", Some("config `RATE_JPY` is not set"), "");
    let dead = row("3-13", "orders/enricher", "dead", 3, last);
    last = attempt(1, NOW, "success", None, "");
    let rows = [dead, row("4-13", "audit/archive", "succeeded", 1, last)];
    let paint = Paint { on: false };
    check("event", &event(&read(&stored), "default", &rows, paint));
    let bare = r#"{"position":1,"accepted_at":"2026-11-21T06:30:16.000Z","event":{"specversion":"1.0","id":"1","source":"/s","type":"t"}}"#;
    check(
        "event-unmatched",
        &event(&read(bare), "default", &[], paint),
    );
}

#[test]
fn a_trial_tells_what_would_have_been() {
    let answer = format!(
        r#"{{"function":"enricher","revision":2,"digest":"ab","committed":false,"outcome":"success","duration_us":311,"output":"INFO converted\n","emitted":[{{"bus":"default","subscriptions":["enriched-orders/order-totals"],"event":{EVENT}}}],"state":[{{"key":"total/kenji","value":"12"}},{{"key":"old","deleted":true}},{{"key_base64":"AP8=","value_base64":"/wA="}}]}}"#
    );
    let paint = Paint { on: false };
    check("trial", &trial(&read(&answer), paint));
    let failed = json!({"function": "enricher", "revision": 2, "digest": "ab", "committed": false,
                        "outcome": "trap", "message": TRAP, "duration_us": 99, "output": "", "emitted": [], "state": []});
    check("trial-failed", &trial(&read(&failed.to_string()), paint));
}

#[test]
fn a_log_has_a_line_for_each_attempt() {
    let attempt = json!({"id": "3-13", "bus": "default", "position": 13, "type": "t", "rule": "orders",
                         "function": "enricher", "age_ms": 1, "attempt": 2, "outcome": "trap", "message": TRAP,
                         "started_at": "2026-11-21T06:30:16.000Z", "duration_us": 311,
                         "output": "INFO one\nINFO two\n"});
    check(
        "log",
        &log_lines(&read(&attempt.to_string()), Paint { on: false }),
    );
}

/// Verdicts of rules, written as a manifest is, on the event of all stories.
fn verdicts(rules: &str) -> Vec<edgebus_manifest::view::Verdict> {
    let text = format!("version: 1\nfunctions: {{ f: {{ component: f.wasm }} }}\nrules:\n{rules}");
    let manifest = edgebus_manifest::parse(&text).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let event = edgebus_http::wire::decode_structured(&EVENT.into()).unwrap();
    let view = edgebus_manifest::view::View::new(&event);
    let now = parse_time(NOW).unwrap();
    let judged = manifest.rules.iter();
    judged
        .map(|rule| edgebus_manifest::view::judge(rule, &view, now).unwrap())
        .collect()
}

const RULES: &str = "  large: { match: { type: [com.example.order.placed], data: { total: [{ numeric: ['>', 100000] }] } }, to: [{ function: f }] }
  audit: { to: [{ function: f }] }
  refunds: { match: { type: [com.example.order.refunded] }, to: [{ function: f }] }
  kenji: { match: { data: { customer: [Kenji], lines: { sku: [vase] } } }, to: [{ function: f }] }
  heaps: { match: { type: [com.example.order.placed] }, where: '$.data.lines[?@.quantity > 100]', to: [{ function: f }] }
  lamps: { match: { $or: [{ data: { lines: { sku: [lamp] } } }, { subject: [o-1] }] }, to: [{ function: f }] }
";

fn explained(rules: &str, got: &[&str], all: bool, on: bool) -> String {
    let got: Vec<String> = got.iter().map(|&rule| rule.into()).collect();
    let story = Explained {
        kind: "com.example.order.placed",
        id: "o-1004",
        source: "/shop",
        stored: Some(Stored {
            position: 13,
            bus: "default",
            rules: &got,
        }),
        verdicts: verdicts(rules),
        all,
        paint: Paint { on },
    };
    story.tell()
}

#[test]
fn an_explanation_tells_what_matched_and_what_came_nearest() {
    let got = ["audit", "lamps"];
    check("explained", &explained(RULES, &got, false, false));
    check("explained-all", &explained(RULES, &got, true, false));
    let coloured = explained(RULES, &got, false, true);
    check("explained-coloured", &coloured.replace('\x1b', "ESC"));
    // The rules were others when the event came.
    check(
        "explained-changed",
        &explained(RULES, &["large", "audit"], false, false),
    );
    check(
        "explained-no-rules",
        &explained("  {}\n", &[], false, false),
    );
}

#[test]
fn a_verdict_of_the_api_is_the_one_that_the_bus_made() {
    let rules = "  numbers: { match: { type: [com.example.order.placed] }, where: '$.data.lines', to: [{ function: f, input: '$.data.total' }] }
  nothing: { match: { subject: [o-1004] }, to: [{ function: f, input: '$.data.none' }] }
  off: { enabled: false, to: [{ function: f }] }
";
    for verdict in verdicts(&format!("{rules}{RULES}")) {
        let json = serde_json::to_string(&edgebus_http::verdict::of_rule(verdict.clone())).unwrap();
        let again = verdict_of(serde_json::from_str(&json).unwrap());
        let style = edgebus_rules::Style::Plain;
        assert_eq!(again.render(style), verdict.render(style));
        assert!(again.nearer(&verdict).is_eq());
    }
}

#[test]
fn what_a_typed_pattern_makes_of_an_event_has_no_rule() {
    let mut verdict = verdicts(RULES).remove(0);
    verdict.rule.clear();
    let story = Explained {
        kind: "a\x1b[2Jb",
        id: "1",
        source: "/s",
        stored: None,
        verdicts: vec![verdict],
        all: true,
        paint: Paint { on: false },
    };
    check("explained-typed", &story.tell());
}
