//! Retention over the real binary: what goes, what readers are told of it, what kills change, and the space.
//!
//! `EDGEBUS_RETENTION_KILLS` sets how many kills (3 by default). `EDGEBUS_SOAK_SECONDS` sets for how long events
//! come in the soak (6 by default), `EDGEBUS_SOAK_RATE` how many a second (500), `EDGEBUS_SOAK_AGE_SECONDS` for how
//! long they are kept (2).

use std::time::{Duration, Instant};

use edgebus_client::api::Stage;
use serde_json::{Value, json};

use super::commands::run;
use super::deliver;
use crate::support::guests;
use crate::support::http::Connection;
use crate::support::server::{Home, Server, wait_for};

const BATCH: &str = "application/cloudevents-batch+json";

/// A manifest whose default bus keeps events so, with the hostile function for events of type `play`.
fn manifest(retention: &str, target: &str) -> String {
    format!(
        "version: 1
buses: {{ default: {{ retention: {retention} }} }}
functions:
  play: {{ component: {}, limits: {{ timeout: 60s, concurrency: 1 }} }}
rules:
  play: {{ match: {{ type: [play] }}, to: [{{ function: play{target} }}] }}
",
        json!(guests::path("hostile"))
    )
}

/// Publishes events of one request, of type `t`, with so many bytes of data each.
fn publish(server: &Server, ids: std::ops::Range<u64>, bytes: usize) {
    let filling = "x".repeat(bytes);
    let events: Vec<_> = ids
        .map(|id| json!({"specversion": "1.0", "id": format!("e{id}"), "source": "/t", "type": "t", "data": filling}))
        .collect();
    server
        .post("/v1/events", BATCH, &serde_json::to_vec(&events).unwrap())
        .expect(202);
}

/// The first page of the log behind a position.
fn page(server: &Server, after: u64) -> Value {
    let path = format!("/v1/buses/default/events?limit=5&after={after}");
    server.get(&path).expect(200).json()
}

fn oldest(server: &Server) -> u64 {
    page(server, 0)["oldest"].as_u64().unwrap()
}

/// Waits until the log weighs no more than so many mebibytes.
fn wait_for_size(server: &Server, mib: u64) {
    wait_for("the log to be small enough", || {
        let metrics = server.get("/metrics").text();
        let start = "edgebus_bus_bytes{bus=\"default\"} ";
        let bytes = metrics.lines().find_map(|line| line.strip_prefix(start));
        let bytes = bytes.and_then(|bytes| bytes.parse::<u64>().ok());
        bytes.is_some_and(|bytes| (1..=mib << 20).contains(&bytes)) && oldest(server) > 1
    });
}

fn fsck(home: &Home) {
    let said = run(&["fsck", "--data", home.data().to_str().unwrap()], "");
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(said.out.contains(" 0 corrupt"), "{}", said.out);
}

#[test]
fn a_log_stays_as_large_as_it_may_be_and_tells_what_is_gone() {
    let home = Home::new(&manifest("{ size: 1MiB }", ""));
    let server = home.serve();
    for first in (1..501).step_by(50) {
        publish(&server, first..first + 50, 4_000);
    }
    wait_for_size(&server, 1);
    let first = oldest(&server);
    assert!(
        (200..300).contains(&first),
        "{first}: more than needed went"
    );
    let rows = page(&server, 0);
    assert_eq!(rows["events"][0]["position"], first);
    assert_eq!(rows["events"].as_array().unwrap().len(), 5);
    let last = server
        .get("/v1/buses/default/events?last=2")
        .expect(200)
        .json();
    assert_eq!(last["oldest"], first);
    let gone = server.get("/v1/buses/default/events/3").expect(404).json();
    let detail = gone["detail"].as_str().unwrap();
    assert!(
        detail.contains("retention removed") && detail.contains(&format!("the oldest is {first}")),
        "{detail}"
    );
    let never = server
        .get("/v1/buses/default/events/5000")
        .expect(404)
        .json();
    let detail = never["detail"].as_str().unwrap();
    assert!(!detail.contains("retention"), "{detail}");
    // A stream says how much it has not read.
    let path = "/v1/buses/default/events/stream?after=10";
    let mut lines = Connection::open(server.address).unwrap().lines(path, "");
    let comment = lines.find(|line| line.starts_with(": "));
    assert_eq!(
        comment.unwrap(),
        format!(
            ": {} positions behind 10 were removed by retention; the oldest is {first}",
            first - 11
        )
    );
    let id = lines.find(|line| line.starts_with("id: "));
    assert_eq!(id.unwrap(), format!("id: {first}"));
    drop(lines);
    // A repeated event is known, whether it is there or not.
    let repeated = json!([{"specversion": "1.0", "id": "e3", "source": "/t", "type": "t", "data": "x".repeat(4_000)}]);
    let answer = server
        .post("/v1/events", BATCH, repeated.to_string().as_bytes())
        .expect(202)
        .json();
    assert_eq!(answer["results"][0]["position"], 3);
    assert_eq!(answer["results"][0]["duplicate"], true);
    let metrics = server.get("/metrics").text();
    let removed = format!(
        "edgebus_retention_events_removed_total{{bus=\"default\"}} {}",
        first - 1
    );
    assert!(metrics.contains(&removed), "{removed}\n{metrics}");
    assert!(server.stop().success());
    fsck(&home);
    let server = home.serve();
    assert_eq!(oldest(&server), first);
    assert_eq!(server.publish("next", "t", &json!(1)), 501);
}

/// A log that retention has emptied says so.
#[test]
fn an_emptied_log_tells_of_the_gap() {
    let home = Home::new(&manifest("{ age: 1s }", ""));
    let server = home.serve();
    let url = format!("http://{}", server.address);
    let list = || run(&["events", "ls", "--url", &url], "");
    let said = list().succeeds();
    assert!(!said.err.contains("retention"), "{}", said.err);
    publish(&server, 1..6, 10);
    wait_for("all to go", || oldest(&server) == 6);
    let said = list().succeeds();
    assert!(
        said.err
            .contains("the events up to position 5 were removed by retention"),
        "{}",
        said.err
    );
}

#[test]
fn what_is_pending_keeps_its_event_and_what_is_dead_its_own() {
    let retry = ", retry: { attempts: 2, backoff: { initial: 8s, max: 8s, jitter: false } }, dead_letter: { retention: 2s }";
    let home = Home::new(&manifest("{ age: 1s }", retry));
    let server = home.serve();
    publish(&server, 1..11, 10);
    deliver::play(&server, "waits", "retry later");
    publish(&server, 11..21, 10);
    let waits = || server.get("/v1/deliveries/1-11").json();
    wait_for("everything else to go", || oldest(&server) == 22);
    assert_eq!(waits()["stage"], "pending", "{}", waits());
    let rows = page(&server, 0);
    let there: Vec<_> = rows["events"].as_array().unwrap().iter().collect();
    assert_eq!(there.len(), 1, "{rows}");
    assert_eq!(there[0]["position"], 11);
    // It ends, and its event goes at once; the dead letter has its own.
    wait_for("the dead letter", || {
        server.deliveries(Stage::Pending).is_empty()
    });
    server.get("/v1/buses/default/events/11").expect(404);
    wait_for("the dead letter to go", || {
        server.get("/v1/dead-letters").json()["dead_letters"]
            .as_array()
            .is_some_and(Vec::is_empty)
    });
    let gone = server.get("/v1/deliveries/1-11").expect(404).json();
    let detail = gone["detail"].as_str().unwrap();
    assert!(detail.contains("retention removed"), "{detail}");
    let metrics = server.get("/metrics").text();
    let dead = "edgebus_retention_dead_letters_removed_total 1";
    assert!(metrics.contains(dead), "{metrics}");
    assert!(server.stop().success());
    fsck(&home);
}

/// A dead letter whose event the log no longer has can be tried on its own copy.
#[test]
fn a_dead_letter_is_tried_although_its_event_is_gone() {
    let home = Home::new(&manifest("{ age: 1s }", ", input: '$.data'"));
    let server = home.serve();
    deliver::play(&server, "dies", "reject oh");
    deliver::play(&server, "ends", "ok");
    wait_for("both to go", || oldest(&server) == 3);
    let url = format!("http://{}", server.address);
    let invoke = |id: &str| {
        let arguments = [
            "functions",
            "invoke",
            "play",
            "--delivery",
            id,
            "--url",
            &url,
        ];
        run(&arguments, "")
    };
    let said = invoke("1-1");
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(said.out.contains("oh"), "{}", said.out);
    // What has succeeded went with its event, and the answer says so.
    let said = invoke("1-2");
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(said.err.contains("retention removed"), "{}", said.err);
    // It is of this event alone.
    let path = "/v1/buses/default/events/2/explain?rule=play&dead_letter=1-1";
    server.get(path).expect(404);
    let path = "/v1/buses/default/events/1/explain?rule=play&dead_letter=x";
    server.get(path).expect(400);
}

/// A plan says how many events and dead letters a shorter retention removes.
#[test]
fn a_plan_counts_what_a_shorter_retention_removes() {
    let home = Home::new(&manifest("{ age: 7d }", ""));
    let server = home.serve();
    publish(&server, 1..8, 1_000);
    for id in ["x", "y"] {
        deliver::play(&server, id, "reject oh");
    }
    server.settle();
    let dry_run = |retention: &str, target: &str| {
        let file = home.data().with_file_name("shorter.yaml");
        std::fs::write(&file, manifest(retention, target)).unwrap();
        let url = format!("http://{}", server.address);
        let said = run(
            &["apply", file.to_str().unwrap(), "--dry-run", "--url", &url],
            "",
        );
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        said.out
    };
    let plan = dry_run("{ age: 1d, size: 1MiB }", "");
    assert!(
        plan.contains("no event past the limits is there now"),
        "{plan}"
    );
    // Older than a second, as soon as they are.
    wait_for("the events to be older than a second", || {
        let plan = dry_run("{ age: 1s }", ", dead_letter: { retention: 1s }");
        plan.contains(": 9 events past the limits are removed for good")
            && plan.contains(": 2 dead letters older than 1s are removed for good")
    });
    assert_eq!(oldest(&server), 1, "nothing was changed");
}

#[test]
fn kills_while_events_go_lose_nothing_else() {
    let kills: u64 = std::env::var("EDGEBUS_RETENTION_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(3);
    let home = Home::new(&manifest("{ age: 1s, size: 1MiB }", ""));
    let mut next = 1;
    for _ in 0..kills {
        let server = home.serve();
        let before = oldest(&server);
        for _ in 0..20 {
            publish(&server, next..next + 50, 2_000);
            next += 50;
        }
        wait_for("a removal", || oldest(&server) > before);
        server.kill();
    }
    let server = home.serve();
    assert_eq!(server.publish("next", "t", &json!(1)), next);
    wait_for("all to go", || oldest(&server) == next + 1);
    let metrics = server.get("/metrics").text();
    assert!(
        metrics.contains("edgebus_corrupt_records_found_total 0"),
        "{metrics}"
    );
    assert!(server.stop().success());
    fsck(&home);
}

#[test]
fn compaction_makes_the_file_small_and_needs_a_bus_that_is_stopped() {
    let home = Home::new(&manifest("{ size: 1MiB }", ""));
    let server = home.serve();
    for first in (1..401).step_by(50) {
        publish(&server, first..first + 50, 10_000);
    }
    wait_for_size(&server, 1);
    let data = home.data();
    let compact = || run(&["compact", "--data", data.to_str().unwrap()], "");
    let said = compact();
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(
        said.err.contains("in use by another process"),
        "{}",
        said.err
    );
    let first = oldest(&server);
    let rows = server.list("/v1/buses/default/events", "events");
    assert!(server.stop().success());
    let length = || std::fs::metadata(data.join("edgebus.redb")).unwrap().len();
    let before = length();
    let said = compact();
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.out.contains(" given back: the file had "),
        "{}",
        said.out
    );
    assert!(length() * 2 < before, "{} of {before}", length());
    fsck(&home);
    let server = home.serve();
    assert_eq!(oldest(&server), first);
    assert_eq!(server.list("/v1/buses/default/events", "events"), rows);
    // A replay can't bring back what was removed.
    let answer = server.post("/v1/replays", "application/json", br#"{"from": 1}"#);
    let problem = answer.expect(409).json();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("which is at {first}")), "{detail}");
}

/// A compaction that is killed at some moment leaves a store with all that it had.
#[test]
fn a_killed_compaction_leaves_a_good_store() {
    let home = Home::new(&manifest("{ size: 1MiB }", ""));
    let server = home.serve();
    for first in (1..601).step_by(50) {
        publish(&server, first..first + 50, 10_000);
    }
    wait_for_size(&server, 1);
    let rows = server.list("/v1/buses/default/events", "events");
    assert!(server.stop().success());
    let length = || {
        std::fs::metadata(home.data().join("edgebus.redb"))
            .unwrap()
            .len()
    };
    let before = length();
    for millis in [5, 60] {
        let mut child = std::process::Command::new(crate::support::server::binary())
            .args(["compact", "--data"])
            .arg(home.data())
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        wait_for("a moment", || {
            began.elapsed() > Duration::from_millis(millis) || length() < before
        });
        child.kill().unwrap();
        child.wait().unwrap();
        fsck(&home);
    }
    let said = run(&["compact", "--data", home.data().to_str().unwrap()], "");
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(length() * 2 < before, "{} of {before}", length());
    let server = home.serve();
    assert_eq!(server.list("/v1/buses/default/events", "events"), rows);
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Events come at a rate and are kept for a while: from some time on the file stays as it is. Prints its length over
/// time.
#[test]
fn under_load_the_file_stops_growing() {
    let seconds = number("EDGEBUS_SOAK_SECONDS").unwrap_or(10);
    let rate = number("EDGEBUS_SOAK_RATE").unwrap_or(500);
    let age = number("EDGEBUS_SOAK_AGE_SECONDS").unwrap_or(2);
    let home = Home::new(&manifest(&format!("{{ age: {age}s }}"), ""));
    let server = home.serve();
    let length = || {
        std::fs::metadata(home.data().join("edgebus.redb"))
            .unwrap()
            .len()
    };
    let (began, mut next) = (Instant::now(), 1);
    let mut lengths = Vec::new();
    for second in 0..seconds {
        for part in 0..10 {
            let count = rate / 10;
            publish(&server, next..next + count, 1_000);
            next += count;
            let due = Duration::from_millis(second * 1_000 + (part + 1) * 100);
            wait_for("the next tenth of a second", || began.elapsed() >= due);
        }
        let there = next - oldest(&server);
        println!("{second} s: {} KiB, {there} events", length() >> 10);
        lengths.push((length(), there));
    }
    // The bus keeps a second more, and some on a machine that does other work besides.
    let most = (age + 5) * rate;
    let (_, there) = lengths[lengths.len() - 1];
    assert!(there <= most, "{there} events are kept, of {most}");
    let settled = usize::try_from(age * 3).unwrap().min(lengths.len() / 2);
    let (then, now) = (lengths[settled].0, lengths[lengths.len() - 1].0);
    if lengths.len() > 2 * settled {
        assert!(now <= then * 2, "{then} bytes, and {now} in the end");
    }
    assert!(server.stop().success());
    fsck(&home);
}
