//! Dead letters that are also published on a bus, where a rule handles them.

use serde_json::json;

use super::commands::run;
use crate::support::guests;
use crate::support::server::{Home, wait_for};

fn manifest(bus: &str) -> String {
    format!(
        "version: 1
buses: {{ default: {{}}, failed: {{}} }}
functions:
  play: {{ component: {0} }}
  idle: {{ component: {1} }}
rules:
  plays:
    match: {{ type: [play] }}
    to:
      - function: play
        retry: {{ attempts: 2, backoff: {{ initial: 10ms, max: 20ms }} }}
        dead_letter: {{ bus: {bus} }}
  repairs:
    bus: failed
    match: {{ deadsubscription: [plays/play], deadreason: [attempts-exhausted] }}
    to: [{{ function: idle }}]
",
        json!(guests::path("hostile")),
        json!(guests::path("idle")),
    )
}

#[test]
fn what_dies_is_handled_by_a_rule_of_the_bus_for_dead_letters() {
    let home = Home::new(&manifest("failed"));
    let server = home.serve();
    let rejected = server.publish("no", "play", &json!({"do": "reject not mine"}));
    let failed = server.publish("tired", "play", &json!({"do": "retry 0 not now"}));
    let log = || server.get("/v1/buses/failed/events").json()["events"].clone();
    wait_for("both to be published", || {
        log().as_array().is_some_and(|events| events.len() == 2)
    });
    for (id, position, reason, attempts) in [
        ("no", rejected, "rejected", 1),
        ("tired", failed, "attempts-exhausted", 2),
    ] {
        let events = log();
        let mut events = events.as_array().unwrap().iter();
        let event = events.find(|event| event["event"]["deadid"] == id);
        let event = &event.unwrap()["event"];
        assert_eq!(event["type"], "play");
        assert_eq!(event["deadreason"], reason);
        assert_eq!(event["deadattempts"], attempts);
        assert_eq!(event["deadbus"], "default");
        assert_eq!(event["deadposition"], position.to_string());
        assert_eq!(event["deadsubscription"], "plays/play");
        assert_eq!(event["causationid"], id);
    }
    // The dead letters are kept as well; the rule has handled the one that it asks for.
    let letters = server.get("/v1/dead-letters").json();
    assert_eq!(letters.to_string().matches("\"stage\":\"dead\"").count(), 2);
    wait_for("the repair", || {
        let deliveries = server.get("/v1/deliveries?stage=succeeded").json();
        deliveries.to_string().contains("repairs")
    });
}

#[test]
fn a_bus_for_dead_letters_must_be_declared_and_no_loop_without_a_word() {
    let home = Home::new(&manifest("faild"));
    let file = home.manifest().display().to_string();
    let wanted = ["bus `faild` is not declared", "did you mean `failed`"];
    run(&["validate", &file], "").fails(78, &wanted);
    // Over another bus and back again.
    let looped = manifest("failed").replace(
        "to: [{ function: idle }]",
        "to: [{ function: idle, dead_letter: { bus: default } }]",
    );
    home.write_manifest(&looped);
    let said = run(&["validate", &file], "").succeeds();
    for words in [
        "warning[dead-letter-loop]",
        "over the dead letters of `repairs`",
    ] {
        assert!(said.err.contains(words), "{}", said.err);
    }
    assert_eq!(
        said.err.matches("dead-letter-loop").count(),
        1,
        "{}",
        said.err
    );
    // One that takes no dead letters ends the loop.
    let ended = looped.replace(
        "deadreason: [attempts-exhausted]",
        "deadreason: [{ exists: false }]",
    );
    home.write_manifest(&ended);
    let said = run(&["validate", &file], "").succeeds();
    assert!(!said.err.contains("dead-letter-loop"), "{}", said.err);
    home.write_manifest(&manifest("default"));
    let said = run(&["validate", &file], "").succeeds();
    assert!(
        said.err.contains("warning[dead-letter-loop]"),
        "{}",
        said.err
    );
}

/// A rule of the bus `system` hears of dead letters and jobs; nobody else publishes there.
#[test]
fn a_rule_hears_of_what_happens_to_the_bus() {
    let home = Home::new(&format!(
        "version: 1
functions:
  play: {{ component: {0} }}
  idle: {{ component: {1} }}
rules:
  plays: {{ match: {{ type: [play] }}, to: [{{ function: play }}] }}
  alert: {{ bus: system, match: {{ type: [dev.edgebus.dead-letter.created] }}, to: [{{ function: idle }}] }}
",
        json!(guests::path("hostile")),
        json!(guests::path("idle")),
    ));
    let file = home.manifest().display().to_string();
    run(&["validate", &file], "").succeeds();
    let server = home.serve();
    let position = server.publish("no", "play", &json!({"do": "reject not mine"}));
    let told = |kind: &str| {
        let log = server.get("/v1/buses/system/events").json()["events"].clone();
        let mut events = log.as_array().unwrap().clone();
        events.retain(|stored| stored["event"]["type"] == format!("dev.edgebus.{kind}"));
        events
    };
    wait_for("the death to be told", || {
        !told("dead-letter.created").is_empty()
    });
    let event = told("dead-letter.created")[0]["event"].clone();
    assert_eq!(event["subject"], "plays/play");
    let data = &event["data"];
    assert_eq!(data["count"], 1, "{data}");
    assert_eq!(data["function"], "play");
    assert_eq!(
        (&data["last"]["position"], &data["last"]["reason"]),
        (&json!(position), &json!("rejected"))
    );
    assert!(!event.to_string().contains("not mine"), "{event}");
    wait_for("the alert", || {
        let deliveries = server.get("/v1/deliveries?stage=succeeded").json();
        deliveries.to_string().contains("alert/idle")
    });
    let body = json!({"all": true}).to_string();
    server
        .post(
            "/v1/dead-letters/purge",
            "application/json",
            body.as_bytes(),
        )
        .expect(202);
    wait_for("the end of the job to be told", || {
        told("job.ended").iter().any(|stored| {
            stored["event"]["data"]["kind"] == "purge" && stored["event"]["data"]["done"] == 1
        })
    });
    // Nobody else publishes there.
    let event = json!({"specversion": "1.0", "id": "a", "source": "/t", "type": "t"}).to_string();
    let answer = server.post(
        "/v1/buses/system/events",
        "application/cloudevents+json",
        event.as_bytes(),
    );
    let detail = answer.expect(409).json()["detail"].to_string();
    assert!(detail.contains("publish on another one"), "{detail}");
    home.write_manifest(&manifest("system"));
    run(&["validate", &file], "").fails(78, &["takes the bus's own events alone"]);
}
