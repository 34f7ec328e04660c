//! Erasure over the real binary: what is left of an event wherever it is shown, what ends, and through `kill -9`; a
//! compacted file holds nothing of it.

use std::collections::BTreeSet;

use edgebus_client::api::Stage;
use serde_json::{Value, json};

use crate::commands::{Said, run};
use crate::deliver::manifest;
use crate::support::http::Connection;
use crate::support::server::{Home, Server, wait_for};

const JSON: &str = "application/json";
const BATCH: &str = "application/cloudevents-batch+json";
/// Whose data is erased.
const ALICE: &str = "alice-4711@example.com";

fn told(server: &Server, arguments: &[&str]) -> Said {
    let url = format!("http://{}", server.address);
    let mut all = arguments.to_vec();
    all.extend(["--url", &url]);
    run(&all, "")
}

/// An event about somebody that makes the guest do `script`.
fn about(subject: &str, id: &str, script: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/test", "type": "play", "subject": subject, "who": subject,
        "datacontenttype": "application/json", "data": {"do": script, "email": subject},
    })
}

/// Publishes events; their positions.
fn publish(server: &Server, events: &[Value]) -> Vec<u64> {
    let body = json!(events).to_string();
    let answer = server.post("/v1/events", BATCH, body.as_bytes());
    let answer = answer.expect(202).json();
    let results = answer["results"].as_array().unwrap();
    let positions = results.iter().map(|row| row["position"].as_u64().unwrap());
    positions.collect()
}

fn get(server: &Server, path: &str) -> Value {
    server.get(path).expect(200).json()
}

/// How often the store's file holds the text.
fn found(home: &Home, text: &str) -> usize {
    let file = std::fs::read(home.data().join("edgebus.redb")).unwrap();
    let text = text.as_bytes();
    file.windows(text.len()).filter(|own| *own == text).count()
}

fn compact(home: &Home) -> Said {
    run(&["compact", "--data", home.data().to_str().unwrap()], "").succeeds()
}

fn fsck(home: &Home) {
    let said = run(&["fsck", "--data", home.data().to_str().unwrap()], "").succeeds();
    assert!(said.out.contains(" 0 corrupt"), "{}", said.out);
}

/// What everybody can read of the bus.
fn everything(server: &Server) -> String {
    let mut all = String::new();
    for path in [
        "/v1/buses/default/events?limit=1000",
        "/v1/deliveries?stage=pending&output=true",
        "/v1/deliveries?stage=succeeded&output=true",
        "/v1/deliveries?stage=discarded&output=true",
        "/v1/dead-letters?whole=true",
        "/v1/jobs",
    ] {
        all.push_str(&server.get(path).expect(200).text());
    }
    all
}

/// The log, in each of its forms, says what is left.
fn is_shown_in_the_log(server: &Server, at: &[u64]) {
    let row = get(server, &format!("/v1/buses/default/events/{}", at[0]));
    assert_eq!(row["erased"]["job"], 1, "{row}");
    let event = json!({"specversion": "1.0", "id": "ok", "source": "/test", "type": "play"});
    assert_eq!(row["event"], event);
    let bob = get(server, &format!("/v1/buses/default/events/{}", at[1]));
    assert_eq!(
        (&bob["erased"], &bob["event"]["subject"]),
        (&Value::Null, &json!("bob"))
    );
    let said = told(server, &["events", "get", &at[0].to_string()]).succeeds();
    assert!(said.out.contains("by job 1"), "{}", said.out);
    let said = told(server, &["events", "ls"]).succeeds();
    assert_eq!(
        said.out.matches("[erased by job 1]").count(),
        4,
        "{}",
        said.out
    );
    let path = "/v1/buses/default/events/stream?after=0";
    let mut lines = Connection::open(server.address).unwrap().lines(path, "");
    let first = lines.find(|line| line.starts_with("data: ")).unwrap();
    let first: Value = serde_json::from_str(first.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(first["erased"]["job"], 1, "{first}");
    drop(lines);
    let said = told(server, &["events", "export"]).succeeds();
    let first: Value = serde_json::from_str(said.out.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["erasedjob"], &first["data"]),
        (&json!("1"), &Value::Null)
    );
}

/// Deliveries in every stage say nothing of it any more.
fn is_shown_with_what_came_of_it(server: &Server, at: &[u64], waits: u64) {
    let of = |position: u64| get(server, &format!("/v1/deliveries/1-{position}"));
    assert_eq!(of(at[0])["attempts"][0]["output"], "[erased by job 1]");
    assert!(
        of(at[1])["attempts"][0]["output"]
            .as_str()
            .unwrap()
            .contains("bob")
    );
    let dead = of(at[2]);
    assert_eq!(
        (&dead["stage"], &dead["erased"]["job"]),
        (&json!("dead"), &json!(1))
    );
    assert_eq!(
        dead["event"],
        json!({"specversion": "1.0", "id": "dead", "source": "/test", "type": "play"})
    );
    let message = dead["attempts"][0]["message"].as_str().unwrap();
    assert!(message.contains("[erased by job 1]"), "{message}");
    let ended = of(waits);
    assert_eq!(
        (&ended["stage"], &ended["discarded"]),
        (&json!("discarded"), &json!("erased"))
    );
    for words in [
        ["deliveries", "get", &format!("1-{}", at[2])],
        ["deliveries", "get", &format!("1-{}", at[0])],
    ] {
        let said = told(server, &words).succeeds();
        assert!(said.out.contains("erased"), "{}", said.out);
    }
    let invoke = [
        "functions",
        "invoke",
        "play",
        "--delivery",
        &format!("1-{}", at[2]),
    ];
    told(server, &invoke).fails(1, &["was erased by job 1"]);
}

/// Neither a redrive nor a replay gives it to anybody, and it is still known.
fn never_runs_again(server: &Server, at: &[u64]) {
    let redrive = ["dead-letters", "redrive", "--all", "--wait"];
    // It did not do all that it was to do.
    let said = told(server, &redrive);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.out.contains("1 skipped (1 erased)"), "{}", said.out);
    let replay = ["replays", "start", "--wait", "-o", "json"];
    let replayed: Value = serde_json::from_str(&told(server, &replay).succeeds().out).unwrap();
    assert_eq!(replayed["done"], 1, "{replayed}");
    // A repeat is a duplicate, whatever it says.
    let again = publish(
        server,
        &[about(ALICE, "ok", "ok"), about("carol", "dead", "ok")],
    );
    assert_eq!(again, [at[0], at[2]]);
}

#[test]
fn what_is_left_of_an_erased_event_is_shown_as_such_everywhere() {
    let home = Home::new(&manifest("timeout: 5s", "attempts: 3"));
    let server = home.serve();
    let at = publish(
        &server,
        &[
            about(ALICE, "ok", &format!("log {ALICE}")),
            about("bob", "bob", "log bob"),
            about(ALICE, "dead", &format!("reject no {ALICE}")),
            about(ALICE, "retried", "until 2"),
        ],
    );
    server.settle();
    // One that waits for its next attempt for an hour.
    let waits = publish(&server, &[about(ALICE, "waits", "retry 3600000 later")])[0];
    wait_for("the first attempt", || {
        get(&server, &format!("/v1/deliveries/1-{waits}"))["attempts_made"] == 1
    });
    let words = ["events", "erase", "--subject", ALICE, "--dry-run"];
    let said = told(&server, &words).succeeds();
    assert_eq!(
        said.out,
        format!(
            "it would erase 4 events and 1 dead letter (positions 1 to {waits} of bus default); nothing was erased\n"
        )
    );
    assert!(everything(&server).contains(ALICE));
    assert!(found(&home, ALICE) > 0);
    let said = told(&server, &["events", "erase", "--subject", ALICE, "--wait"]).succeeds();
    let words = "4 events, 1 dead letter, what 4 attempts said; 1 pending delivery ended";
    assert!(said.out.contains(words), "{}", said.out);
    assert!(!everything(&server).contains(ALICE));
    let job = get(&server, "/v1/jobs/1");
    assert_eq!(
        (&job["kind"], &job["state"]),
        (&json!("erase"), &json!("done"))
    );
    assert_eq!((&job["done"], &job["skipped"]), (&json!(5), &json!(0)));
    let erasure = json!({
        "bus": "default", "from": 1, "to": waits, "events": 4, "dead_letters": 1, "attempts": 4, "deliveries": 1,
    });
    assert_eq!(job["erasure"], erasure);
    is_shown_in_the_log(&server, &at);
    is_shown_with_what_came_of_it(&server, &at, waits);
    never_runs_again(&server, &at);
    // What comes later is not erased.
    let later = publish(&server, &[about(ALICE, "later", "ok")])[0];
    let row = get(&server, &format!("/v1/buses/default/events/{later}"));
    assert_eq!(row["event"]["subject"], ALICE);
    let pattern = json!({"data": {"email": [ALICE]}}).to_string();
    told(&server, &["events", "erase", "--match", &pattern, "--wait"]).succeeds();
    assert!(!everything(&server).contains(ALICE));
    server.settle();
    assert!(server.stop().success());
    fsck(&home);
    compact(&home);
    assert_eq!(found(&home, ALICE), 0);
    fsck(&home);
    let server = home.serve();
    let row = get(&server, &format!("/v1/buses/default/events/{}", at[0]));
    assert_eq!(row["erased"]["job"], 1, "{row}");
    assert!(server.stop().success());
    assert_eq!(found(&home, ALICE), 0);
}

#[test]
fn an_erasure_goes_on_through_kill_nine_and_forgets_nobody() {
    const EVENTS: u64 = 1_200;
    let home = Home::new(&manifest("timeout: 5s, concurrency: 8", "attempts: 1"));
    let mut server = home.serve();
    // Of three events one is hers; of hers, one of three is a dead letter, and one waits.
    let script = |number: u64| match number / 3 % 3 {
        0 => "reject no",
        1 => "ok",
        _ => "log hers",
    };
    let events: Vec<Value> = (0..EVENTS)
        .map(|number| {
            let subject = if number % 3 == 0 { ALICE } else { "bob" };
            about(subject, &format!("k{number}"), script(number))
        })
        .collect();
    for part in events.chunks(300) {
        publish(&server, part);
    }
    server.settle();
    let hers = EVENTS / 3;
    let letters = server.list("/v1/dead-letters", "dead_letters");
    let body = json!({"subject": ALICE, "rate": 100}).to_string();
    server
        .post("/v1/erasures", JSON, body.as_bytes())
        .expect(202);
    let done = |server: &Server| get(server, "/v1/jobs/1")["done"].as_u64().unwrap();
    for kill in 1..=5_u64 {
        wait_for("the job to move", || done(&server) >= kill * 40);
        server.kill();
        server = home.serve();
    }
    assert!(done(&server) < hers, "it was killed on its way");
    // A redrive waits until the erasure has ended.
    told(&server, &["jobs", "pause", "1"]).succeeds();
    told(&server, &["dead-letters", "redrive", "--all"]).succeeds();
    told(&server, &["jobs", "resume", "1", "--rate", "0", "--wait"]).succeeds();
    let erased_letters = u64::try_from(letters.len()).unwrap() / 3;
    let job = get(&server, "/v1/jobs/1");
    assert_eq!(job["state"], "done", "{job}");
    assert_eq!(job["erasure"]["events"], hers, "{job}");
    assert_eq!(job["erasure"]["dead_letters"], erased_letters, "{job}");
    assert_eq!(job["skipped"], 0, "{job}");
    // It skipped what was erased.
    let redriven = told(&server, &["jobs", "get", "2", "--wait"]);
    assert_eq!(redriven.code, 1, "{}", redriven.err);
    let redrive = get(&server, "/v1/jobs/2");
    assert_eq!(
        redrive["skips"],
        json!([{"reason": "erased", "count": erased_letters}])
    );
    server.settle();
    let log = server.list("/v1/buses/default/events", "events");
    let erased: BTreeSet<u64> = log
        .iter()
        .filter(|row| row["erased"]["job"] == 1)
        .map(|row| row["position"].as_u64().unwrap())
        .collect();
    let expected: BTreeSet<u64> = (0..EVENTS).step_by(3).map(|number| number + 1).collect();
    assert_eq!(erased, expected);
    assert!(!everything(&server).contains(ALICE));
    assert_eq!(server.deliveries(Stage::Pending).len(), 0);
    assert!(server.stop().success());
    fsck(&home);
    compact(&home);
    assert_eq!(found(&home, ALICE), 0);
    fsck(&home);
}

#[test]
fn erasures_that_can_not_be_are_told_why() {
    let home = Home::new(&manifest("timeout: 5s", "attempts: 1"));
    let server = home.serve();
    publish(&server, &[about("bob", "b", "ok")]);
    server.settle();
    let table = [
        (json!({}), 400, "nothing says which events"),
        (json!({"subject": ""}), 400, "empty subject"),
        (json!({"subject": "a", "bus": "none"}), 404, "none"),
        (
            json!({"subject": "a", "from": 9}),
            400,
            "behind the newest event",
        ),
        (json!({"subject": "a", "from": 1, "to": 0}), 202, ""),
        (
            json!({"subject": "a", "since": "2099-01-01T00:00:00Z"}),
            400,
            "in the future",
        ),
        (json!({"match": {"data": 1}}), 400, ""),
    ];
    for (body, status, words) in table {
        let answer = server.post("/v1/erasures", JSON, body.to_string().as_bytes());
        let text = answer.text();
        assert_eq!(answer.status, status, "{body}: {text}");
        assert!(text.contains(words), "{body}: {text}");
    }
    told(&server, &["events", "erase"]).fails(2, &["--subject"]);
    let said = told(
        &server,
        &["events", "erase", "--subject", "nobody", "--wait"],
    )
    .succeeds();
    assert!(
        said.out.contains("0 events, 0 dead letters"),
        "{}",
        said.out
    );
    assert!(server.stop().success());
}
