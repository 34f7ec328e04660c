//! What `events tail` and `functions logs` show: several buses, and attempts since a time.

use serde_json::{Value, json};

use super::deliver::{self, play};
use super::everyday::{Going, lines, told};
use crate::support::server::{Home, Server};

/// A bus beside `default`, and one that is empty.
const BUSES: &str = "version: 1\nbuses: { billing: {}, empty: {} }\n";

fn publish(server: &Server, bus: &str, id: &str) {
    let event = json!({"specversion": "1.0", "id": id, "source": "/s", "type": "t", "data": 1});
    server
        .post(
            &format!("/v1/buses/{bus}/events"),
            "application/cloudevents+json",
            event.to_string().as_bytes(),
        )
        .expect(202);
}

/// The bus and the id of each event.
fn named(rows: &[Value]) -> Vec<(&str, &str)> {
    rows.iter()
        .map(|row| {
            (
                row["bus"].as_str().unwrap_or("-"),
                row["event"]["id"].as_str().unwrap(),
            )
        })
        .collect()
}

#[test]
fn a_tail_shows_several_buses() {
    let home = Home::new(BUSES);
    let server = home.serve();
    for (bus, id) in [("default", "a"), ("billing", "b"), ("default", "c")] {
        publish(&server, bus, id);
    }
    let tail = |arguments: &[&str]| {
        let told = told(&server, &[&["events", "tail"], arguments].concat()).succeeds();
        (told.out, told.err)
    };
    // One bus is not named, whether it was given or not.
    let (out, _) = tail(&["-o", "jsonl"]);
    assert_eq!(named(&lines(&out)), [("-", "a"), ("-", "c")]);
    let (out, _) = tail(&["-o", "jsonl", "--bus", "billing", "--bus", "billing"]);
    assert_eq!(named(&lines(&out)), [("-", "b")]);
    // Several are in one order, and each line has its bus.
    let every = [("default", "a"), ("billing", "b"), ("default", "c")];
    let both = ["-o", "jsonl", "--bus", "default", "--bus", "billing"];
    assert_eq!(named(&lines(&tail(&both).0)), every);
    let (out, _) = tail(&["-o", "jsonl", "--all-buses"]);
    assert_eq!(named(&lines(&out)), every);
    let (out, _) = tail(&["-o", "jsonl", "--all-buses", "-n", "2"]);
    assert_eq!(named(&lines(&out)), every[1..]);
    let (out, _) = tail(&["--all-buses"]);
    let shown: Vec<&str> = out.lines().collect();
    assert!(
        shown.len() == 3
            && shown[0].contains("  default  #1  t  /s  1")
            && shown[1].contains("  billing  #1  t  /s  1"),
        "{out}"
    );
    let (out, err) = tail(&["--bus", "empty"]);
    assert!(
        out.is_empty() && err.contains("no events on bus `empty`"),
        "{err}"
    );
    told(
        &server,
        &["events", "tail", "--bus", "default", "--bus", "none"],
    )
    .fails(1, &["none"]);
    told(
        &server,
        &["events", "tail", "--bus", "billing", "--all-buses"],
    )
    .fails(2, &["--all-buses"]);
    let many: Vec<String> = (1..=33).map(|number| format!("--bus=b{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    told(&server, &[&["events", "tail"], &many[..]].concat()).fails(2, &["33 buses", "32"]);
}

#[test]
fn a_tail_follows_several_buses() {
    let home = Home::new(BUSES);
    let server = home.serve();
    publish(&server, "billing", "before");
    let follow = [
        "events",
        "tail",
        "-f",
        "--all-buses",
        "-n",
        "1",
        "-o",
        "jsonl",
    ];
    let mut tail = Going::start(&server, &follow);
    let mut next = || {
        let row: Value = serde_json::from_str(&tail.line()).unwrap();
        (row["bus"].clone(), row["event"]["id"].clone())
    };
    assert_eq!(next(), (json!("billing"), json!("before")));
    for (bus, id) in [("default", "one"), ("empty", "two"), ("billing", "three")] {
        publish(&server, bus, id);
        assert_eq!(next(), (json!(bus), json!(id)));
    }
    told(
        &server,
        &["events", "tail", "-f", "--bus", "default", "--bus", "none"],
    )
    .fails(1, &["none"]);
}

#[test]
fn a_pattern_on_standard_input_holds_for_all_that_is_read() {
    let home = Home::new(BUSES);
    let server = home.serve();
    for (bus, id) in [("default", "a"), ("billing", "a"), ("billing", "b")] {
        publish(&server, bus, id);
    }
    let url = format!("http://{}", server.address);
    let tail = [
        "events",
        "tail",
        "--all-buses",
        "--match",
        "@-",
        "-o",
        "jsonl",
        "--url",
        &url,
    ];
    let said = super::commands::run(&tail, r#"{"id": ["a"]}"#).succeeds();
    assert_eq!(
        named(&lines(&said.out)),
        [("default", "a"), ("billing", "a")]
    );
}

#[test]
fn logs_begin_at_a_time() {
    let home = Home::new(&deliver::manifest("timeout: 60s", "attempts: 1"));
    let server = home.serve();
    for number in 1..=25 {
        play(
            &server,
            &format!("p{number}"),
            &format!("log line {number}"),
        );
    }
    server.settle();
    let logs = |arguments: &[&str]| {
        let words = [&["functions", "logs", "play", "-o", "jsonl"], arguments].concat();
        lines(&told(&server, &words).succeeds().out)
    };
    assert_eq!(logs(&[]).len(), 20);
    let all = logs(&["--since", "1h"]);
    assert_eq!(all.len(), 25);
    assert_eq!(logs(&["--since", "1h", "-n", "3"]), all[22..]);
    assert_eq!(logs(&["--since", "2100-01-01T00:00Z"]), Vec::<Value>::new());
    // Those that started at this time or later.
    let middle = all[10]["started_at"].as_str().unwrap();
    let since: Vec<Value> = logs(&["--since", middle]);
    let later = all
        .iter()
        .filter(|row| row["started_at"].as_str().unwrap() >= middle);
    assert_eq!(since, later.cloned().collect::<Vec<_>>());
    told(&server, &["functions", "logs", "play", "--since", "13:00"]).fails(2, &["2h30m"]);
    let mut going = Going::start(
        &server,
        &[
            "functions",
            "logs",
            "play",
            "-f",
            "--since",
            "1h",
            "-o",
            "jsonl",
        ],
    );
    for row in &all {
        assert_eq!(serde_json::from_str::<Value>(&going.line()).unwrap(), *row);
    }
    play(&server, "live", "log live");
    let live: Value = serde_json::from_str(&going.line()).unwrap();
    assert_eq!(live["output"], "INFO live\n");
}

#[test]
fn logs_since_a_time_have_the_new_attempts_for_old_events() {
    let home = Home::new(&deliver::manifest("timeout: 60s", "attempts: 3"));
    let server = home.serve();
    play(&server, "dies", "log again\nretry later");
    server.settle();
    let logs = |since: &str| {
        let words = ["functions", "logs", "play", "-o", "jsonl", "--since", since];
        lines(&told(&server, &words).succeeds().out)
    };
    let all = logs("1h");
    assert_eq!(all.len(), 3, "{all:?}");
    // The event was accepted before its second attempt began.
    let second = all[1]["started_at"].as_str().unwrap();
    assert_eq!(logs(second), all[1..]);
}
