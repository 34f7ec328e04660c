//! The everyday commands: the real binary against a real bus.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::commands::{Said, run};
use super::deliver::{self, play};
use crate::support::guests;
use crate::support::server::{Home, Server, binary, wait_for};

/// Runs a command against a server; what follows `--` in a pipe goes in as input.
pub(super) fn told(server: &Server, arguments: &[&str]) -> Said {
    told_with(server, arguments, "")
}

fn told_with(server: &Server, arguments: &[&str], input: &str) -> Said {
    let url = format!("http://{}", server.address);
    run(&[arguments, &["--url", &url]].concat(), input)
}

pub(super) fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A bus with this manifest and nothing in it.
fn serve(manifest: &str) -> (Home, Server) {
    let home = Home::new(manifest);
    let server = home.serve();
    (home, server)
}

/// Publishes the text of one event as it is.
fn publish_text(server: &Server, event: &str) {
    server
        .post(
            "/v1/events",
            "application/cloudevents+json",
            event.as_bytes(),
        )
        .expect(202);
}

fn event(id: &str, kind: &str, rest: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"/test","type":"{kind}"{rest}}}"#)
}

#[test]
fn a_log_is_listed_in_four_formats_and_in_pages() {
    let (_home, server) = serve("version: 1\n");
    let nothing = told(&server, &["events", "ls"]).succeeds();
    assert_eq!(nothing.out, "");
    assert!(nothing.err.contains("edgebus publish"), "{}", nothing.err);
    assert_eq!(
        told(&server, &["events", "ls", "-o", "json"])
            .succeeds()
            .out,
        "[]\n"
    );
    for id in 1..=5 {
        publish_text(
            &server,
            &event(&format!("e{id}"), "t", r#","data":{"n": 1.00e1}"#),
        );
    }
    // The command prints what the bus sent.
    let page = server.get("/v1/buses/default/events").expect(200).json();
    let oldest = page["events"].as_array().unwrap();
    let log: Vec<Value> = oldest.iter().rev().cloned().collect();
    let jsonl = told(&server, &["events", "ls", "-o", "jsonl"])
        .succeeds()
        .out;
    assert_eq!(lines(&jsonl), log);
    assert!(
        jsonl.contains(r#""data":{"n":1.00e1}"#),
        "spelling is kept: {jsonl}"
    );
    let array = told(&server, &["events", "ls", "-o", "json"])
        .succeeds()
        .out;
    assert_eq!(serde_json::from_str::<Vec<Value>>(&array).unwrap(), log);
    assert!(array.contains("1.00e1"), "{array}");
    let yaml = told(&server, &["events", "ls", "-o", "yaml"])
        .succeeds()
        .out;
    assert_eq!(yaml.matches("- position: ").count(), 5, "{yaml}");
    let table = told(&server, &["events", "ls"]).succeeds();
    let rows: Vec<&str> = table.out.lines().collect();
    assert_eq!(rows.len(), 6);
    assert!(rows[0].starts_with("POSITION  ACCEPTED"), "{}", rows[0]);
    assert!(rows[1].ends_with("e5"), "{}", rows[1]);
    assert!(rows[5].ends_with("e1"), "{}", rows[5]);
    assert_eq!(table.err, "");
    // What is told for more is typed, until there is no more.
    let mut next = vec![
        "events".to_owned(),
        "ls".to_owned(),
        "--limit".to_owned(),
        "2".to_owned(),
        "-o".to_owned(),
        "jsonl".to_owned(),
    ];
    let mut seen = Vec::new();
    loop {
        let words: Vec<&str> = next.iter().map(String::as_str).collect();
        let url = format!("http://{}", server.address);
        let said = run(&[&words[..], &["--url", &url]].concat(), "").succeeds();
        seen.extend(lines(&said.out));
        let Some(more) = said.err.trim().strip_prefix("more: edgebus ") else {
            break;
        };
        next = more.split(' ').map(str::to_owned).collect();
        // The test gives the address itself.
        let url = next.iter().position(|word| word == "--url").unwrap();
        next.drain(url..url + 2);
    }
    assert_eq!(seen, log);
    let all = told(&server, &["events", "ls", "--all", "-o", "jsonl"]).succeeds();
    assert_eq!(lines(&all.out), log);
    let forward = [
        "events",
        "ls",
        "--oldest-first",
        "--after",
        "2",
        "-o",
        "jsonl",
    ];
    assert_eq!(lines(&told(&server, &forward).succeeds().out), oldest[2..]);
    told(&server, &["events", "ls", "--limit", "0"]).fails(2, &["--limit"]);
    told(&server, &["events", "ls", "-o", "xml"]).fails(2, &["jsonl"]);
    told(&server, &["events", "ls", "--since", "soon"]).fails(2, &["15m"]);
}

#[test]
fn a_log_is_filtered_on_the_bus() {
    let (home, server) = serve("version: 1\n");
    for id in 1..=6 {
        let kind = if id % 2 == 0 { "even" } else { "odd" };
        publish_text(
            &server,
            &event(&format!("e{id}"), kind, &format!(r#","data":{{"n":{id}}}"#)),
        );
    }
    let ids = |arguments: &[&str]| -> Vec<u64> {
        let said = told(
            &server,
            &[&["events", "ls", "-o", "jsonl"], arguments].concat(),
        )
        .succeeds();
        lines(&said.out)
            .iter()
            .map(|row| row["position"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(ids(&["--type", "even"]), [6, 4, 2]);
    assert_eq!(
        ids(&["--type", "even", "--after", "6", "--limit", "1"]),
        [4]
    );
    let pattern = r#"{"detail": {"n": [{"numeric": [">", 4]}]}}"#;
    assert_eq!(ids(&["--match", pattern]), [6, 5]);
    assert_eq!(ids(&["--match", pattern, "--type", "odd"]), [5]);
    let file = home.data().with_file_name("pattern.json");
    std::fs::write(&file, format!("{pattern}\n")).unwrap();
    assert_eq!(ids(&["--match", &format!("@{}", file.display())]), [6, 5]);
    assert_eq!(ids(&["--since", "1h"]).len(), 6);
    assert_eq!(ids(&["--until", "1h"]).len(), 0);
    assert_eq!(ids(&["--since", "2100-01-01T00:00:00Z"]).len(), 0);
    told(
        &server,
        &[
            "events",
            "ls",
            "--match",
            r#"{"data":{"n":[{"numerc":[]}]}}"#,
        ],
    )
    .fails(1, &["/match/data/n/0/numerc", "numeric"]);
    told(&server, &["events", "ls", "--match", "@/nowhere"]).fails(2, &["/nowhere"]);
    let tail = told(&server, &["events", "tail", "-n", "2", "--type", "odd"]).succeeds();
    let shown: Vec<&str> = tail.out.lines().collect();
    assert_eq!(shown.len(), 2);
    assert!(
        shown[0].contains("#3  odd") && shown[1].contains("#5  odd"),
        "{shown:?}"
    );
    let last = server
        .get("/v1/buses/default/events?last=1&type=odd")
        .expect(200)
        .json();
    assert_eq!(
        (
            last["newest"].as_u64(),
            last["events"].as_array().unwrap().len()
        ),
        (Some(6), 1)
    );
}

/// A command that goes on, whose lines are read as they come.
pub(super) struct Going {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Going {
    pub(super) fn start(server: &Server, arguments: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .args(arguments)
            .args(["--url", &format!("http://{}", server.address)])
            .env_remove("EDGEBUS_URL")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    pub(super) fn line(&mut self) -> String {
        self.lines
            .next()
            .unwrap_or_else(|| {
                let mut notes = String::new();
                let stderr = self.child.stderr.as_mut().unwrap();
                stderr.read_to_string(&mut notes).unwrap();
                panic!("the command ended: {notes}")
            })
            .unwrap()
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_tail_follows_and_comes_back_after_the_bus() {
    let (home, server) = serve("version: 1\n");
    publish_text(&server, &event("before", "t", ""));
    publish_text(&server, &event("other", "u", ""));
    let follow = ["events", "tail", "-f", "-o", "jsonl", "--type", "t"];
    let mut tail = Going::start(&server, &follow);
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["event"]["id"].clone();
    assert_eq!(id(&tail.line()), "before");
    publish_text(&server, &event("one", "t", ",\"data\":{\n\"n\":1}"));
    publish_text(&server, &event("no", "u", ""));
    publish_text(&server, &event("two", "t", ""));
    assert_eq!(id(&tail.line()), "one");
    assert_eq!(id(&tail.line()), "two");
    let address = server.address;
    server.kill();
    let server = Server::start(&mut home.command_at(address));
    publish_text(&server, &event("three", "t", ""));
    assert_eq!(id(&tail.line()), "three");
    tail.child.kill().unwrap();
    let mut notes = String::new();
    tail.child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut notes)
        .unwrap();
    assert!(notes.contains("as soon as the bus is back"), "{notes}");
    assert!(notes.contains("the bus is back"), "{notes}");
    told(&server, &["events", "tail", "-f", "--bus", "nowhere"]).fails(1, &["nowhere"]);
}

#[test]
fn a_tail_begins_again_where_the_log_was_replaced() {
    let (home, server) = serve("version: 1\n");
    for number in 1..=5 {
        publish_text(&server, &event(&format!("old-{number}"), "t", ""));
    }
    let mut tail = Going::start(&server, &["events", "tail", "-f", "-n", "1", "-o", "jsonl"]);
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["event"]["id"].clone();
    assert_eq!(id(&tail.line()), "old-5");
    let address = server.address;
    server.kill();
    std::fs::remove_dir_all(home.data()).unwrap();
    let server = Server::start(&mut home.command_at(address));
    for number in 1..=3 {
        publish_text(&server, &event(&format!("new-{number}"), "t", ""));
    }
    for number in 1..=3 {
        assert_eq!(id(&tail.line()), format!("new-{number}"));
    }
    tail.child.kill().unwrap();
    let mut notes = String::new();
    let mut stderr = tail.child.stderr.take().unwrap();
    stderr.read_to_string(&mut notes).unwrap();
    assert!(notes.contains("another log"), "{notes}");
}

#[test]
fn an_export_is_taken_back_unchanged() {
    let (home, server) = serve("version: 1\n");
    let texts = [
        event("plain", "t", ""),
        event(
            "spelled",
            "t",
            r#","n":7,"yes":true,"data":{"n": 1.00e1,  "a":[]}"#,
        ),
        event(
            "text",
            "t",
            r#","datacontenttype":"text/plain","data":"two\nlines""#,
        ),
        event(
            "bytes",
            "t",
            r#","datacontenttype":"image/png","data_base64":"AAEC/w==""#,
        ),
        event(
            "broken",
            "t",
            ",\"datacontenttype\":\"application/json\",\"data\":{\r\n  \"n\": 1.0,\n  \"m\": 2\n}",
        ),
    ];
    for text in &texts {
        publish_text(&server, text);
    }
    let file = home.data().with_file_name("out.jsonl");
    let path = file.to_str().unwrap();
    let said = told(&server, &["events", "export", "--file", path]).succeeds();
    assert_eq!(said.out, "");
    assert!(said.err.contains("5 events exported to"), "{}", said.err);
    let exported = std::fs::read_to_string(&file).unwrap();
    assert_eq!(exported.lines().count(), 5);
    assert!(
        exported.contains(r#""data":{"n": 1.00e1,  "a":[]}"#),
        "{exported}"
    );
    let left: Vec<_> = std::fs::read_dir(file.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().ends_with(".half")),
        "{left:?}"
    );
    // Elsewhere they are new and the same, byte for byte; here they are duplicates.
    let (_other_home, other) = serve("version: 1\n");
    let publish = |server: &Server| told(server, &["publish", "--file", path]).succeeds().out;
    assert!(publish(&other).starts_with("5 new (#"));
    assert!(publish(&server).starts_with("0 new, 5 duplicates"));
    for position in 1..=5 {
        let of = |server: &Server| {
            let text = server
                .get(&format!("/v1/buses/default/events/{position}"))
                .expect(200)
                .text();
            text[text.find(r#""event":"#).unwrap()..].to_owned()
        };
        assert_eq!(of(&server), of(&other));
    }
    let one = told(
        &server,
        &["events", "export", "--after", "1", "--limit", "1"],
    )
    .succeeds();
    assert_eq!(one.out.trim(), texts[1]);
    let none = told(&server, &["events", "export", "--type", "none"]).succeeds();
    assert!(
        none.out.is_empty() && none.err.contains("0 events exported"),
        "{}",
        none.err
    );
    told(&server, &["events", "export", "--file", "/nowhere/x"]).fails(1, &["/nowhere/x"]);
}

#[test]
fn an_export_of_roots_leaves_emitted_events_out() {
    let home = Home::new(&deliver::manifest("timeout: 5s", "attempts: 1"));
    let server = home.serve();
    play(&server, "published", "emit other");
    server.settle();
    let ids = |arguments: &[&str]| -> Vec<String> {
        let said = told(&server, &[&["events", "export"], arguments].concat()).succeeds();
        let events = lines(&said.out).into_iter();
        events
            .map(|event| event["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&[]).len(), 2);
    assert_eq!(ids(&["--roots"]), ["published"]);
    assert_eq!(ids(&["--roots", "--type", "other"]), Vec::<String>::new());
    told(&server, &["events", "export", "--roots", "--match", "{}"]).fails(2, &["--roots"]);
}

#[test]
fn what_nobody_reads_ends_quietly() {
    let (_home, server) = serve("version: 1\n");
    let data = format!(r#","data":"{}""#, "x".repeat(50_000));
    for id in 0..10 {
        publish_text(&server, &event(&format!("e{id}"), "t", &data));
    }
    for arguments in [
        &["events", "ls", "-o", "jsonl"][..],
        &["events", "export"],
        &["events", "tail"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(binary())
            .args(arguments)
            .args(["--url", &format!("http://{}", server.address)])
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let said = Said::of(&output).succeeds();
        assert!(!said.err.contains("error"), "{arguments:?}: {}", said.err);
    }
}

#[test]
fn a_follower_ends_with_its_reader() {
    let (_home, server) = serve("version: 1\n");
    for arguments in [
        &["events", "tail", "-f"][..],
        &["functions", "logs", "f", "-f"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut child = Command::new(binary())
            .args(arguments)
            .args(["--url", &format!("http://{}", server.address)])
            .stdout(writer)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        drop(reader);
        wait_for("the end of the follower", || {
            child.try_wait().unwrap().is_some()
        });
        assert!(arguments[0] == "functions" || child.wait().unwrap().success());
    }
}

#[test]
fn a_delivery_is_told_as_a_story() {
    let home = Home::new(&deliver::manifest("timeout: 5s", "attempts: 2"));
    let server = home.serve();
    let good = play(&server, "good", "log hello\nemit other");
    let bad = play(&server, "bad", "log before\ntrap over");
    server.settle();
    let id = |position: u64| format!("1-{position}");
    let story = told(&server, &["deliveries", "get", &id(bad)])
        .succeeds()
        .out;
    for word in [
        "dead: attempts-exhausted",
        "play",
        "\"do\":",
        "plays → play",
        "\"type\": [\"play\", \"again\"]",
        "2 attempts",
        "Attempt 2",
        "trap",
        "fall_over",
        "│ INFO before",
        "2 of 2 attempts failed",
        "edgebus functions invoke play",
    ] {
        assert!(story.contains(word), "`{word}` is not told:\n{story}");
    }
    assert!(!story.contains('\x1b'), "no colours in a pipe: {story}");
    assert_eq!(
        told(&server, &["dead-letters", "get", &id(bad)])
            .succeeds()
            .out
            .lines()
            .count(),
        story.lines().count()
    );
    let success = told(&server, &["deliveries", "get", &id(good)])
        .succeeds()
        .out;
    assert!(
        success.contains("succeeded") && success.contains("1 event emitted"),
        "{success}"
    );
    let raw = told(&server, &["deliveries", "get", &id(good), "-o", "json"])
        .succeeds()
        .out;
    let raw: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(
        (&raw["bus"], &raw["stage"]),
        (&json!("default"), &json!("succeeded"))
    );
    told(&server, &["dead-letters", "get", &id(good)]).fails(1, &["404", "no dead letter"]);
    told(&server, &["deliveries", "get", "9-9"]).fails(1, &["404"]);
    told(&server, &["deliveries", "get", "x"]).fails(1, &["SUBSCRIPTION-POSITION"]);
}

#[test]
fn what_a_story_tells_to_try_can_be_tried() {
    let home = Home::new(&deliver::manifest("timeout: 5s", "attempts: 2"));
    let server = home.serve();
    play(&server, "good", "log hello");
    let bad = play(&server, "bad", "log before\ntrap over");
    server.settle();
    let id = |position: u64| format!("1-{position}");
    let file = home.data().with_file_name("event.json");
    let path = file.to_str().unwrap();
    told(
        &server,
        &[
            "events",
            "export",
            "--after",
            &(bad - 1).to_string(),
            "--limit",
            "1",
            "--file",
            path,
        ],
    )
    .succeeds();
    let tried = told(&server, &["functions", "invoke", "play", "--event", path]);
    assert_eq!(tried.code, 1, "{}", tried.out);
    assert!(
        tried.out.contains("fall_over") && tried.out.contains("Nothing of this was committed"),
        "{}",
        tried.out
    );
    // The rule's input is applied, as it was for the delivery itself.
    let story = told(&server, &["deliveries", "get", &id(bad)])
        .succeeds()
        .out;
    let hint = format!("edgebus functions invoke play --delivery {}", id(bad));
    assert!(story.contains(&hint), "{story}");
    let tried = told(
        &server,
        &["functions", "invoke", "play", "--delivery", &id(bad)],
    );
    assert_eq!(tried.code, 1, "{}", tried.out);
    assert!(tried.out.contains("fall_over"), "{}", tried.out);
    let event = told(&server, &["events", "get", &bad.to_string()])
        .succeeds()
        .out;
    assert!(
        event.contains("plays/play  dead after 2 attempts"),
        "{event}"
    );
    assert!(
        event.contains(&format!("edgebus deliveries get {}", id(bad))),
        "{event}"
    );
    // Listings, with their filters.
    let count = |arguments: &[&str]| {
        lines(
            &told(&server, &[arguments, &["-o", "jsonl"]].concat())
                .succeeds()
                .out,
        )
        .len()
    };
    assert_eq!(count(&["deliveries", "ls"]), 0);
    assert_eq!(count(&["deliveries", "ls", "--stage", "succeeded"]), 1);
    assert_eq!(
        count(&[
            "deliveries",
            "ls",
            "--stage",
            "dead",
            "--function",
            "play",
            "--rule",
            "plays",
            "--since",
            "1h"
        ]),
        1
    );
    assert_eq!(
        count(&[
            "deliveries",
            "ls",
            "--stage",
            "dead",
            "--subscription",
            "plays/play",
            "--since",
            "2100-01-01T00:00:00Z"
        ]),
        0
    );
    assert_eq!(count(&["dead-letters", "ls", "--function", "play"]), 1);
    told(&server, &["dead-letters", "ls", "--function", "none"]).fails(1, &["404", "none"]);
    let table = told(&server, &["dead-letters", "ls"]).succeeds().out;
    assert!(
        table.contains("attempts-exhausted") && table.contains("trap: panicked"),
        "{table}"
    );
}

#[test]
fn deliveries_are_asked_for_over_http_by_event_and_newest_first() {
    let home = Home::new(&deliver::manifest("timeout: 5s", "attempts: 1"));
    let server = home.serve();
    let first = play(&server, "a", "log first");
    let second = play(&server, "b", "reject no");
    server.settle();
    let get = |query: &str| server.get(&format!("/v1/deliveries?{query}"));
    let of_event = get(&format!("position={second}&bus=default"))
        .expect(200)
        .json();
    assert_eq!(of_event["deliveries"][0]["stage"], "dead");
    assert_eq!(of_event["deliveries"].as_array().unwrap().len(), 1);
    let last = get("last=5&output=true").expect(200).json();
    let positions: Vec<_> = last["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["position"].as_u64().unwrap())
        .collect();
    assert_eq!(positions, [first, second]);
    assert!(
        last["deliveries"][0]["attempts"][0]["output"]
            .as_str()
            .unwrap()
            .contains("first")
    );
    assert!(get("last=5").expect(200).json()["deliveries"][0]["last_attempt"]["output"].is_null());
    for bad in [
        "last=0",
        "last=1&after=1-1",
        "position=1&stage=dead",
        "bus=default",
        "position=x",
        "since=now",
        "output=maybe",
        "stage=any",
    ] {
        get(bad).expect(400);
    }
    get("position=999").expect(404);
    for bad in [
        "last=1&limit=1",
        "last=1001",
        "match=%7B",
        "since=2026",
        "match=%5B%5D",
    ] {
        server
            .get(&format!("/v1/buses/default/events?{bad}"))
            .expect(400);
    }
    let error = server
        .get("/v1/buses/default/events/stream?match=%7B%22a%22%3A%5B%7B%22x%22%3A1%7D%5D%7D")
        .expect(400)
        .json();
    assert_eq!(error["errors"][0]["pointer"], "/match/a/0/x");
}

#[test]
fn functions_are_deployed_tried_and_taken_away() {
    let home = Home::new(&deliver::manifest("timeout: 2s", "attempts: 1"));
    let server = home.serve();
    let component = guests::path("hostile");
    let core = home.data().with_file_name("core.wasm");
    std::fs::write(&core, b"\0asm\x01\0\0\0").unwrap();
    told(
        &server,
        &["functions", "deploy", "spare", core.to_str().unwrap()],
    )
    .fails(1, &["a core module", "wasm32-wasip2"]);
    told(&server, &["functions", "deploy", "spare", "/nowhere.wasm"]).fails(1, &["/nowhere.wasm"]);
    let said = told(
        &server,
        &["functions", "deploy", "spare", component.to_str().unwrap()],
    )
    .succeeds();
    assert!(
        said.out.starts_with("spare revision 1, digest "),
        "{}",
        said.out
    );
    assert_eq!(said.err, "", "a script needs no word of progress");
    let names: Vec<Value> = lines(
        &told(&server, &["functions", "ls", "-o", "jsonl"])
            .succeeds()
            .out,
    );
    assert_eq!(names.len(), 2);
    let one = told(&server, &["functions", "get", "play"]).succeeds().out;
    assert!(
        one.contains("GREETING = hello") && one.contains("2.0 s"),
        "{one}"
    );
    told(&server, &["functions", "get", "none"]).fails(1, &["404", "none"]);
    // A trial leaves nothing behind.
    let event = event(
        "t",
        "play",
        r#","data":{"do":"count n\nemit again\nconfig GREETING"}"#,
    );
    let invoke = ["functions", "invoke", "play", "--event", "-"];
    for _ in 0..2 {
        let said = told_with(&server, &[&invoke[..], &["-o", "json"]].concat(), &event).succeeds();
        let tried: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(tried["outcome"], "success", "{tried}");
        assert_eq!(tried["state"], json!([{"key": "n", "value": "1"}]));
        assert_eq!(tried["emitted"][0]["event"]["type"], "again");
        assert_eq!(tried["emitted"][0]["subscriptions"], json!(["plays/play"]));
        assert_eq!(tried["committed"], false);
        assert!(tried["output"].as_str().unwrap().contains("hello"));
    }
    assert_eq!(server.log().len(), 0);
    let story = told_with(&server, &invoke, &event).succeeds().out;
    assert!(
        story.contains("n = 1") && story.contains("Emits"),
        "{story}"
    );
    let data = [&invoke[..], &["--type", "play"]].concat();
    let timeout = told_with(&server, &data, r#"{"do":"hang"}"#);
    assert_eq!(timeout.code, 1);
    assert!(
        timeout.out.contains("timeout") && timeout.out.contains("2000 ms"),
        "{}",
        timeout.out
    );
    told_with(&server, &invoke, "{}").fails(1, &["specversion", "--type"]);
    told_with(&server, &data, "{").fails(1, &["not JSON"]);
    told_with(
        &server,
        &["functions", "invoke", "none", "--event", "-"],
        &event,
    )
    .fails(1, &["404", "none"]);
    told_with(&server, &[&invoke[..], &["--bus", "none"]].concat(), &event)
        .fails(1, &["404", "none"]);
    server
        .post(
            "/v1/functions/play/invoke",
            "application/cloudevents-batch+json",
            b"[]",
        )
        .expect(415);
    // Taken away only if asked for, and not while a rule names it.
    told(&server, &["functions", "rm", "spare"]).fails(2, &["--yes"]);
    told(&server, &["functions", "rm", "play", "--yes"]).fails(1, &["409", "plays"]);
    told(&server, &["functions", "rm", "spare", "--yes"]).succeeds();
    told(&server, &["functions", "rm", "spare", "--yes"]).fails(1, &["404"]);
}

#[test]
fn logs_tell_what_a_function_wrote_and_follow() {
    let home = Home::new(&deliver::manifest("timeout: 5s", "attempts: 2"));
    let server = home.serve();
    let none = told(&server, &["functions", "logs", "play"]).succeeds();
    assert!(
        none.out.is_empty() && none.err.contains("edgebus functions ls"),
        "{}",
        none.err
    );
    for number in 1..=3 {
        play(
            &server,
            &format!("p{number}"),
            &format!("log line {number}"),
        );
        server.settle();
    }
    play(&server, "r", "log rejected\nreject no");
    server.settle();
    let logs = |arguments: &[&str]| {
        lines(
            &told(
                &server,
                &[&["functions", "logs", "play", "-o", "jsonl"], arguments].concat(),
            )
            .succeeds()
            .out,
        )
    };
    let outputs: Vec<String> = logs(&[])
        .iter()
        .map(|row| row["output"].as_str().unwrap().trim().to_owned())
        .collect();
    assert_eq!(
        outputs,
        ["INFO line 1", "INFO line 2", "INFO line 3", "INFO rejected"]
    );
    assert_eq!(logs(&["-n", "2"]).len(), 2);
    assert_eq!(logs(&["--outcome", "reject"]).len(), 1);
    let text = told(&server, &["functions", "logs", "play", "-n", "1"])
        .succeeds()
        .out;
    assert!(
        text.contains("reject") && text.contains("  │ INFO rejected"),
        "{text}"
    );
    let mut going = Going::start(
        &server,
        &["functions", "logs", "play", "-f", "-n", "1", "-o", "jsonl"],
    );
    let first: Value = serde_json::from_str(&going.line()).unwrap();
    assert_eq!(first["outcome"], "reject");
    play(&server, "live", "log live");
    let live: Value = serde_json::from_str(&going.line()).unwrap();
    assert_eq!(live["output"], "INFO live\n");
    assert_eq!(
        (&live["rule"], &live["attempt"]),
        (&json!("plays"), &json!(1))
    );
    assert!(live["started_at"].is_string());
    told(&server, &["functions", "logs", "none"]).fails(1, &["404", "none"]);
    told(&server, &["functions", "logs", "play", "--outcome", "good"]).fails(2, &["success"]);
}

#[test]
fn rules_and_subscriptions_are_shown() {
    let home = Home::new(&deliver::manifest(
        "timeout: 60s, concurrency: 1",
        "attempts: 3",
    ));
    let server = home.serve();
    let rules = told(&server, &["rules", "ls"]).succeeds().out;
    assert!(
        rules.contains("plays") && rules.contains(r#"{"type":["play","again"]}"#),
        "{rules}"
    );
    let rule = told(&server, &["rules", "get", "plays"]).succeeds().out;
    assert!(
        rule.contains("3 attempts") && rule.contains("kept for 14 d"),
        "{rule}"
    );
    told(&server, &["rules", "get", "none"]).fails(1, &["none", "edgebus rules ls"]);
    let yaml = told(&server, &["rules", "get", "plays", "-o", "yaml"])
        .succeeds()
        .out;
    assert!(yaml.starts_with("name: plays\n"), "{yaml}");
    let get = ["subscriptions", "get", "plays/play"];
    assert!(
        told(&server, &get)
            .succeeds()
            .out
            .contains("nothing is pending")
    );
    play(&server, "long", "hang");
    play(&server, "next", "ok");
    wait_for("the lag to show", || {
        let row = told(&server, &["subscriptions", "ls", "-o", "jsonl"])
            .succeeds()
            .out;
        lines(&row)[0]["behind"] == 2
    });
    let story = told(&server, &get).succeeds().out;
    assert!(
        story.contains("2 events") && story.contains("edgebus deliveries get 1-1"),
        "{story}"
    );
    told(&server, &["subscriptions", "get", "x/y"]).fails(1, &["x/y"]);
    assert_eq!(
        told(&server, &["deliveries", "ls"])
            .succeeds()
            .out
            .lines()
            .count(),
        3
    );
}
