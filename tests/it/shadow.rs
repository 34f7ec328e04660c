//! Functions that are run again without effects: what a candidate changes is found, and nothing takes effect.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::commands::{Said, run};
use crate::deliver::play;
use crate::support::guests;
use crate::support::server::{Home, Server, wait_for};

const JSON: &str = "application/json";

/// The sample that enriches orders.
fn manifest(rate: &str) -> String {
    format!(
        "version: 1
functions:
  enricher:
    component: {}
    config: {{ CURRENCY: EUR, RATE_USD: '{rate}' }}
rules:
  orders:
    match: {{ type: [com.example.order.placed] }}
    to: [{{ function: enricher, retry: {{ attempts: 1 }} }}]
",
        json!(guests::path("enricher"))
    )
}

fn order(server: &Server, id: &str, currency: &str) {
    let data = json!({
        "id": id, "currency": currency, "lines": [{ "sku": "tea", "quantity": 3, "unit_cents": 333 }],
    });
    server.publish(id, "com.example.order.placed", &data);
}

/// The sample with another type of event in it, of the same length.
fn changed(home: &Home) -> PathBuf {
    let (from, to) = (b"com.example.order.enriched", b"com.example.order.annotate");
    let mut component = guests::component("enricher");
    let at = component
        .windows(from.len())
        .position(|bytes| bytes == from)
        .expect("the component emits it");
    component[at..at + to.len()].copy_from_slice(to);
    let path = home.data().with_extension("wasm");
    std::fs::write(&path, component).unwrap();
    path
}

fn cli(server: &Server, arguments: &[&str]) -> Said {
    let url = format!("http://{}", server.address);
    let mut all = vec!["replays", "shadow"];
    all.extend_from_slice(arguments);
    all.extend(["--wait", "-o", "json", "--url", &url]);
    run(&all, "")
}

/// What the command found, and its exit code.
fn report(said: &Said) -> Value {
    let job: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| {
        panic!("{error}: {} {}", said.out, said.err);
    });
    assert_eq!(job["state"], "done", "{job}");
    job["shadow"]["report"].clone()
}

/// All that a run could have changed.
fn everything(server: &Server) -> Value {
    json!([
        server.list("/v1/buses/default/events", "events"),
        server.list("/v1/deliveries?stage=succeeded", "deliveries"),
        server.list("/v1/dead-letters", "dead_letters"),
        server.get("/v1/functions").json(),
    ])
}

#[test]
fn a_change_of_behaviour_is_found_in_a_candidate_and_none_in_what_is_deployed() {
    let home = Home::new(&manifest("0.92"));
    let server = home.serve();
    for (id, currency) in [("a", "EUR"), ("b", "USD"), ("c", "euro")] {
        order(&server, id, currency);
        server.settle();
    }
    let before = everything(&server);
    // Against what happened then.
    let said = cli(&server, &[]).succeeds();
    let found = report(&said);
    let counts = [&found["runs"], &found["same"], &found["different"]];
    assert_eq!(counts, [3, 3, 0], "{found}");
    // The deployed component as its own candidate.
    let same = guests::path("enricher");
    let same = same.to_str().unwrap();
    let said = cli(&server, &["--function", "enricher", "--component", same]).succeeds();
    assert_eq!(report(&said)["same"], 3);
    // Another one.
    let path = changed(&home);
    let path = path.to_str().unwrap();
    let said = cli(&server, &["--function", "enricher", "--component", path]);
    assert_eq!(said.code, 1, "{}", said.err);
    let found = report(&said);
    let counts = [
        &found["runs"],
        &found["same"],
        &found["different"],
        &found["emitted"],
        &found["outcome"],
        &found["state"],
        &found["different_then"],
    ];
    assert_eq!(counts, [3, 1, 2, 2, 0, 0, 2], "{found}");
    let first = &found["differences"][0];
    assert_eq!(first["delivery"], "1-1", "{found}");
    assert_eq!(first["differs"], json!(["emitted"]));
    let kinds =
        ["reference", "shadow"].map(|side| first[side]["events"][0]["event"]["type"].clone());
    assert_eq!(
        kinds,
        ["com.example.order.enriched", "com.example.order.annotate"]
    );
    // The same component with another configuration, out of a manifest that is not applied.
    let other = home.data().with_extension("yaml");
    std::fs::write(&other, manifest("0.5")).unwrap();
    let other = other.to_str().unwrap();
    let said = cli(&server, &["--function", "enricher", "--manifest", other]);
    assert_eq!(said.code, 1, "{}", said.err);
    let found = report(&said);
    assert_eq!([&found["same"], &found["different"]], [2, 1], "{found}");
    let sums = ["reference", "shadow"].map(|side| {
        found["differences"][0][side]["events"][0]["event"]["data"]["base_total_cents"].clone()
    });
    assert_eq!(sums, [json!(919), json!(500)]);
    assert_eq!(everything(&server), before);
    assert!(server.stop().success());
}

#[test]
fn a_killed_bus_goes_on_with_a_shadow_replay_and_leaves_no_trace() {
    let home = Home::new(&crate::deliver::manifest("timeout: 5s", "attempts: 1"));
    let server = home.serve();
    let count = 120;
    for number in 0..count {
        play(&server, &format!("e{number}"), "count n\nemit told");
    }
    server.settle();
    let before = everything(&server);
    // A component that does nothing is the candidate.
    let idle = guests::component("idle");
    let digest = edgebus_model::Digest::of(&idle);
    let path = format!("/v1/components/{digest}");
    server
        .request("PUT", &path, &[("content-type", "application/wasm")], &idle)
        .expect(204);
    let body = json!({
        "function": "play", "component": format!("blake3:{digest}"), "type": "play", "rate": 60,
    });
    let body = body.to_string();
    let answer = server.post("/v1/replays/shadow", JSON, body.as_bytes());
    let id = answer.expect(202).json()["id"].clone();
    let path = format!("/v1/jobs/{id}");
    wait_for("some to be run", || {
        server.get(&path).json()["done"].as_u64() > Some(10)
    });
    server.kill();
    let server = home.serve();
    server
        .request("PATCH", &path, &[("content-type", JSON)], br#"{"rate": 0}"#)
        .expect(200);
    wait_for("the job to be done", || {
        server.get(&path).json()["state"] != "running"
    });
    let job = server.get(&path).json();
    assert_eq!(
        (&job["state"], &job["done"]),
        (&json!("done"), &json!(count)),
        "{job}"
    );
    let found = &job["shadow"]["report"];
    assert_eq!(
        [&found["different"], &found["emitted"], &found["state"]],
        [count, count, count],
        "{found}"
    );
    // The first hundred are kept, each with both sides.
    let kept = found["differences"].as_array().unwrap();
    assert_eq!(kept.len(), 100);
    assert_eq!(kept[99]["reference"]["state"][0]["key"], "n");
    assert_eq!(kept[99]["shadow"]["writes"], 0);
    assert_eq!(everything(&server), before);
    assert!(server.stop().success());
    let said = run(&["fsck", "--data", home.data().to_str().unwrap()], "");
    said.succeeds();
}

#[test]
fn shadow_replays_that_can_not_be_are_told_why() {
    let home = Home::new(&manifest("0.92"));
    let server = home.serve();
    order(&server, "a", "EUR");
    server.settle();
    let digest = "0".repeat(64);
    for (body, status, words) in [
        (json!({"function": "none"}), 404, "`none`"),
        (
            json!({"component": format!("blake3:{digest}")}),
            400,
            "say which one",
        ),
        (
            json!({"function": "enricher", "component": format!("blake3:{digest}")}),
            400,
            "PUT /v1/components/",
        ),
        (
            json!({"function": "enricher", "component": "x"}),
            400,
            "not a digest",
        ),
        (
            json!({"function": "enricher", "manifest": "version: 1\n"}),
            400,
            "does not declare the function",
        ),
        (
            json!({"function": "enricher", "manifest": "version: 2\n"}),
            400,
            "/version",
        ),
        (json!({"limit": 0}), 400, "/limit"),
        (json!({"from": 9}), 400, "behind the newest event"),
        (json!({"as_matched": true}), 400, "unknown field"),
    ] {
        let text = body.to_string();
        let answer = server.post("/v1/replays/shadow", JSON, text.as_bytes());
        let (got, answered) = (answer.status, answer.text());
        assert!(
            got == status && answered.contains(words),
            "{body}: {got} {answered}"
        );
    }
    assert!(server.list("/v1/jobs", "jobs").is_empty());
    let url = format!("http://{}", server.address);
    run(
        &["replays", "shadow", "--component", "x.wasm", "--url", &url],
        "",
    )
    .fails(2, &["--function"]);
    assert!(server.stop().success());
}
