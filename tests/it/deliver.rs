//! What happens to deliveries: success, retry, dead letter, emitted events, state, backlog.

use std::collections::BTreeMap;

use edgebus_client::api::{DeadReason, Stage};
use serde_json::{Value, json};

use crate::support::guests;
use crate::support::server::{Home, Server, wait_for};

/// One rule that sends `play` events to the scripted guest, and one for what it emits.
pub(crate) fn manifest(limits: &str, retry: &str) -> String {
    format!(
        "version: 1
functions:
  play:
    component: {}
    limits: {{ {limits} }}
    config: {{ GREETING: hello }}
rules:
  plays:
    match: {{ type: [play, again] }}
    to: [{{ function: play, retry: {{ {retry}, backoff: {{ initial: 10ms, max: 50ms }} }} }}]
",
        json!(guests::path("hostile"))
    )
}

/// Publishes an event that makes the guest do `script`; its position.
pub(crate) fn play(server: &Server, id: &str, script: &str) -> u64 {
    server.publish(id, "play", &json!({ "do": script }))
}

/// The value of a counter in the guest's state, as the guest tells it.
pub(crate) fn counter(server: &Server, id: &str, key: &str) -> i64 {
    let position = play(server, id, &format!("show {key}"));
    let path = format!("/v1/deliveries/1-{position}");
    wait_for("the counter to be told", || {
        server.get(&path).json()["stage"] == "succeeded"
    });
    let story = server.get(&path).json();
    let output = story["attempts"].as_array().unwrap().last().unwrap()["output"]
        .as_str()
        .unwrap()
        .to_owned();
    output
        .trim()
        .rsplit(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap_or(0)
}

#[test]
fn each_outcome_ends_where_it_should() {
    let home = Home::new(&manifest("timeout: 5s", "attempts: 3"));
    let server = home.serve();
    // script → stage, attempts made, class of the last outcome, reason of the dead letter
    let table = [
        ("ok", "succeeded", 1, "success", None),
        ("until 2", "succeeded", 2, "success", None),
        ("until 3", "succeeded", 3, "success", None),
        ("until 4", "dead", 3, "retry", Some("attempts-exhausted")),
        ("reject never", "dead", 1, "reject", Some("rejected")),
        ("trap now", "dead", 3, "trap", Some("attempts-exhausted")),
        ("config GREETING", "succeeded", 1, "success", None),
    ];
    let positions: Vec<u64> = table
        .iter()
        .enumerate()
        .map(|(index, row)| play(&server, &format!("o{index}"), row.0))
        .collect();
    server.settle();
    for (position, (script, stage, attempts, class, reason)) in positions.iter().zip(table) {
        let story = server
            .get(&format!("/v1/deliveries/1-{position}"))
            .expect(200)
            .json();
        assert_eq!(story["stage"], stage, "{script}: {story}");
        let made = story["attempts"].as_array().unwrap();
        assert_eq!(made.len(), attempts, "{script}: {story}");
        assert_eq!(made.last().unwrap()["outcome"], class, "{script}: {story}");
        assert_eq!(story["reason"].as_str(), reason, "{script}: {story}");
    }
    let greeting = server
        .get(&format!("/v1/deliveries/1-{}", positions[6]))
        .json();
    assert!(
        greeting["attempts"][0]["output"]
            .as_str()
            .unwrap()
            .contains("hello"),
        "{greeting}"
    );
}

#[test]
fn state_counts_each_event_once_however_attempts_collide() {
    let home = Home::new(&manifest("concurrency: 16", "attempts: 5"));
    let server = home.serve();
    let events: Vec<Value> = (0..400)
        .map(|number| json!({"specversion": "1.0", "id": format!("c{number}"), "source": "/test", "type": "play", "data": {"do": "count total"}}))
        .collect();
    for batch in events.chunks(100) {
        server
            .post(
                "/v1/events",
                "application/cloudevents-batch+json",
                json!(batch).to_string().as_bytes(),
            )
            .expect(202);
    }
    server.settle();
    assert_eq!(server.dead_letters().len(), 0);
    assert_eq!(server.deliveries(Stage::Succeeded).len(), 400);
    assert_eq!(counter(&server, "tell", "total"), 400);
}

#[test]
fn a_failed_attempt_leaves_no_state_and_no_events() {
    let home = Home::new(&manifest("timeout: 5s", "attempts: 2"));
    let server = home.serve();
    play(&server, "half", "count half\nemit again\ntrap after both");
    play(&server, "late", "count half\nuntil 2");
    server.settle();
    assert_eq!(
        counter(&server, "tell", "half"),
        1,
        "only the attempt that succeeded counts"
    );
    let log = server.log();
    assert!(log.iter().all(|row| row.event.kind != "again"), "{log:?}");
}

#[test]
fn an_emitted_event_names_its_cause_and_a_loop_ends() {
    // `again` events go to the same function, whose data is then a number: it rejects them.
    let home = Home::new(&manifest("timeout: 5s", "attempts: 1"));
    let server = home.serve();
    play(&server, "cause", "emit again");
    server.settle();
    let log = server.events::<Value>();
    assert_eq!(log.len(), 2);
    let emitted = &log[1].event;
    assert_eq!(emitted["causationid"], "cause");
    assert_eq!(emitted["correlationid"], "cause");
    assert_eq!(emitted["source"], "/functions/play");
    let dead = server.dead_letters();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].reason, Some(DeadReason::Rejected));
}

#[test]
fn a_backlog_larger_than_the_queues_is_worked_off_from_the_store() {
    let home = Home::new(&manifest("concurrency: 1", "attempts: 1"));
    let server = home.serve();
    for batch in 0..5 {
        let events: Vec<Value> = (0..1_000)
            .map(|number| json!({"specversion": "1.0", "id": format!("{batch}-{number}"), "source": "/test", "type": "play", "data": {"do": "ok"}}))
            .collect();
        server
            .post(
                "/v1/events",
                "application/cloudevents-batch+json",
                json!(events).to_string().as_bytes(),
            )
            .expect(202);
    }
    server.settle();
    let mut seen = BTreeMap::new();
    for row in server.deliveries(Stage::Succeeded) {
        *seen.entry(row.position).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 5_000);
    assert!(seen.values().all(|count| *count == 1));
}

#[test]
fn a_changed_manifest_keeps_subscriptions_and_history() {
    let home = Home::new(&manifest("timeout: 5s", "attempts: 1"));
    let server = home.serve();
    let first = play(&server, "one", "ok");
    server.settle();
    let text = server.get("/v1/manifest").expect(200).text();
    let changed = text
        .replace("type: [play, again]", "type: [play]")
        .replace("attempts: 1", "attempts: 2");
    assert_ne!(text, changed);
    let dry = server
        .request(
            "PUT",
            "/v1/manifest?dry_run=true",
            &[("content-type", "application/yaml")],
            changed.as_bytes(),
        )
        .expect(200);
    let rule = &dry.json()["changes"][0];
    assert_eq!(
        (&rule["kind"], &rule["what"], &rule["name"]),
        (&json!("change"), &json!("rule"), &json!("plays"))
    );
    assert_eq!(
        server.get("/v1/manifest").text(),
        text,
        "a dry run changes nothing"
    );
    server
        .request(
            "PUT",
            "/v1/manifest",
            &[("content-type", "application/yaml")],
            changed.as_bytes(),
        )
        .expect(200);
    let second = play(&server, "two", "until 2");
    server.settle();
    for position in [first, second] {
        let story = server
            .get(&format!("/v1/deliveries/1-{position}"))
            .expect(200)
            .json();
        assert_eq!(story["stage"], "succeeded", "{story}");
    }
    let broken = server
        .request(
            "PUT",
            "/v1/manifest",
            &[("content-type", "application/yaml")],
            b"version: 1\nrulez: {}\nrules: { r: { to: [] } }\n",
        )
        .expect(400);
    let errors = broken.json()["errors"].as_array().unwrap().len();
    assert!(errors >= 2, "all errors at once: {}", broken.text());
    assert_eq!(server.get("/v1/manifest").text(), changed);
    server
        .request("DELETE", "/v1/functions/play", &[], b"")
        .expect(409);
}
