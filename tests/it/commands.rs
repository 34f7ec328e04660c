//! The command line: what it prints, where, and how it exits.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use edgebus_client::api::Stage;
use serde_json::{Value, json};

use super::deliver;
use crate::support::server::{Home, Server, binary, wait_for};

/// What a command came to.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Exits with `code` and names all of `words` on standard error, and nothing on standard output.
    pub(crate) fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        assert_eq!(self.out, "", "{}", self.err);
        for word in words {
            assert!(
                self.err.contains(word),
                "`{word}` is not said: {}",
                self.err
            );
        }
        self
    }

    pub(crate) fn succeeds(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self
    }
}

pub(crate) fn run(arguments: &[&str], input: &str) -> Said {
    let mut command = Command::new(binary());
    // What is set around the tests neither changes defaults nor shows in the help.
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("EDGEBUS_") || name == "COLUMNS")
    {
        command.env_remove(name);
    }
    let mut child = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails early reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    Said::of(&child.wait_with_output().unwrap())
}

pub(crate) fn publish(server: &Server, arguments: &[&str], input: &str) -> Said {
    let url = format!("http://{}", server.address);
    let mut all = vec!["publish", "--url", &url];
    all.extend(arguments);
    run(&all, input)
}

/// The events of the log, in order.
pub(crate) fn events(server: &Server) -> Vec<Value> {
    server.events().into_iter().map(|row| row.event).collect()
}

#[test]
fn events_come_from_flags_a_file_and_lines() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let flags = [
        "--type",
        "t",
        "--source",
        "/f",
        "--id",
        "one",
        "--subject",
        "café",
        "--data",
        r#"{"n":1.0}"#,
    ];
    let said = publish(&server, &flags, "").succeeds();
    let answer: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        answer,
        json!({"id": "one", "position": 1, "duplicate": false})
    );
    let file = home.data().with_file_name("events.jsonl");
    let line =
        |id: &str| json!({"specversion": "1.0", "id": id, "source": "/l", "type": "t"}).to_string();
    std::fs::write(
        &file,
        format!("{}\n\n{}\n{}", line("a"), line("b"), line("c")),
    )
    .unwrap();
    let said = publish(
        &server,
        &["--file", file.to_str().unwrap(), "--batch", "2"],
        "",
    )
    .succeeds();
    assert_eq!(said.out, "3 new (#2 to #4)\n");
    let said = publish(&server, &[], &format!("{}\r\n{}\n", line("c"), line("d"))).succeeds();
    assert_eq!(said.out, "1 new (#5), 1 duplicate\n");
    let mapping = [
        "--type",
        "log.{$.level}",
        "--source",
        "/app",
        "--data-path",
        "$.body",
        "--file",
        "-",
    ];
    publish(
        &server,
        &mapping,
        "{\"level\":\"warn\",\"body\":{\"x\":1e2}}\n",
    )
    .succeeds();
    let data = file.with_file_name("data.json");
    std::fs::write(&data, "[1,2]").unwrap();
    publish(
        &server,
        &[
            "--type",
            "t",
            "--source",
            "/f",
            "--data",
            &format!("@{}", data.display()),
        ],
        "",
    )
    .succeeds();
    let log = events(&server);
    let ids: Vec<&str> = log[..5]
        .iter()
        .map(|event| event["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["one", "a", "b", "c", "d"]);
    assert_eq!(log[0]["subject"], "café");
    assert_eq!(
        (&log[5]["type"], &log[5]["data"]),
        (&json!("log.warn"), &json!({"x": 100.0}))
    );
    assert_eq!(log[6]["data"], json!([1, 2]));
    assert_eq!(log.len(), 7);
}

#[test]
fn a_json_file_is_one_event_or_an_array() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let file = home.data().with_file_name("event.json");
    let from_file = |text: &str, more: &[&str]| {
        std::fs::write(&file, text).unwrap();
        publish(
            &server,
            &[&["--file", file.to_str().unwrap()], more].concat(),
            "",
        )
    };
    let event = |id: &str| json!({"specversion": "1.0", "id": id, "source": "/j", "type": "t", "data": {"n": 1}});
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap();
    let summary = |said: Said, expected: &str| {
        let said = said.succeeds();
        assert!(said.out.starts_with(expected), "{}", said.out);
        said
    };
    summary(from_file(&pretty(&event("a")), &[]), "1 new (#");
    let again = summary(from_file(&pretty(&event("a")), &[]), "0 new, 1 duplicate");
    assert!(again.err.contains("--new-id"), "{}", again.err);
    summary(from_file(&pretty(&event("a")), &["--new-id"]), "1 new (#");
    let both = pretty(&json!([event("b"), event("c")]));
    summary(from_file(&both, &["--batch", "1"]), "2 new (#");
    let mapped = [
        "--type",
        "t.{$.k}",
        "--source",
        "/m",
        "--data-path",
        "$.data",
    ];
    summary(
        from_file("[{\"k\": 1,\n \"data\": {\"n\":  1}}]", &mapped),
        "1 new (#",
    );
    // Lines under this name are lines still.
    let lines = format!("{}\n{}\n", event("d"), event("e"));
    summary(from_file(&lines, &[]), "2 new (#");
    from_file("{\n  \"id\": 1,\n}\n", &[]).fails(1, &["event.json", "line 3 column 1"]);
    from_file(&pretty(&json!([event("f"), {"id": "g"}])), &[])
        .fails(1, &["event 2 is not a CloudEvent", "1 new (#8"]);
    assert_eq!(events(&server).len(), 8);
}

#[test]
fn what_can_not_be_published_is_said_with_its_line() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let lines = ["--type", "t{$.a}", "--source", "/s", "--file", "-"];
    publish(&server, &lines, "{\"a\":1}\nnot json\n").fails(
        1,
        &[
            "line 2: ",
            "the line is not JSON",
            "1 new (#1",
            "--skip-invalid",
        ],
    );
    publish(&server, &lines, "{\"a\":1}\n{\"b\":1}\n").fails(1, &["line 2: /type", "$.a"]);
    let one = [&["--batch", "1"], &lines[..]].concat();
    publish(&server, &one, "{\"a\":1}\n{}\n").fails(1, &["line 2: ", "1 new (#3"]);
    publish(&server, &[], "{\"id\":\"x\"}\n")
        .fails(1, &["line 1 is not a CloudEvent", "--data-path"]);
    publish(&server, &["--type", "t"], "").fails(2, &["--source"]);
    publish(
        &server,
        &["--type", "t", "--source", "/s", "--data", "{"],
        "",
    )
    .fails(1, &["not JSON"]);
    publish(
        &server,
        &["--type", "t", "--source", "/s", "--data", "@/nowhere"],
        "",
    )
    .fails(1, &["/nowhere"]);
    publish(
        &server,
        &["--type", "t", "--source", "/s", "--time", "now"],
        "{}",
    )
    .fails(1, &["time"]);
    publish(
        &server,
        &["--type", "{$.", "--source", "/s", "--file", "-"],
        "{}\n",
    )
    .fails(2, &["--type"]);
    publish(&server, &["--file", "/nowhere"], "").fails(1, &["/nowhere"]);
    publish(
        &server,
        &["--bus", "nowhere", "--type", "t", "--source", "/s"],
        "{}",
    )
    .fails(1, &["404", "nowhere"]);
    publish(&server, &["--batch", "0"], "").fails(2, &["--batch"]);
    run(&["publish", "--colour"], "").fails(2, &["--colour"]);
    run(
        &[
            "publish", "--url", "ftp://x", "--type", "t", "--source", "/s",
        ],
        "",
    )
    .fails(1, &["http://HOST:PORT"]);
    assert_eq!(events(&server).len(), 3);
    let url = format!("http://{}", server.address);
    server.kill();
    run(
        &["publish", "--url", &url, "--type", "t", "--source", "/s"],
        "{}",
    )
    .fails(1, &[&url, "edgebus serve", "--url"]);
}

/// Serves with more arguments; it must not start.
fn no_start(home: &Home, arguments: &[&str]) -> Said {
    Said::of(
        &home
            .command()
            .args(arguments)
            .stderr(Stdio::piped())
            .output()
            .unwrap(),
    )
}

#[test]
fn serve_refuses_a_wrong_configuration_and_changes_nothing() {
    let home = Home::new(
        "version: 1\nrules:\n  r:\n    match: { type: [{ prefx: a }] }\n    to: [{ function: none }]\n",
    );
    let said = no_start(&home, &[]).fails(
        78,
        &["edgebus.yaml:4:", "prefx", "nothing was changed", "none"],
    );
    assert!(
        said.err.contains('^'),
        "the spot is not marked: {}",
        said.err
    );
    assert!(!home.data().exists(), "a store was made");
    home.write_manifest("version: 1\nfunctions:\n  f:\n    component: none.wasm\n    build: { command: make none.wasm }\n");
    no_start(&home, &[]).fails(78, &["`f`", "none.wasm", "`make none.wasm`"]);
    // A file that is there and no component, before the store is made.
    std::fs::write(home.data().with_file_name("none.wasm"), b"\0asm\x01\0\0\0").unwrap();
    no_start(&home, &[]).fails(78, &["none.wasm", "a core module", "wasm32-wasip2"]);
    assert!(!home.data().exists(), "a store was made");
    home.write_manifest("version: 1\n");
    for address in ["0.0.0.0:0", "[::]:0"] {
        let mut command = home.command();
        command.env_remove("EDGEBUS_LISTEN");
        let arguments: Vec<String> = command
            .get_args()
            .map(|word| word.to_string_lossy().replace("127.0.0.1:0", address))
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run(&arguments, "").fails(78, &["loopback"]);
    }
    std::fs::remove_file(home.manifest()).unwrap();
    no_start(&home, &[]).fails(78, &["edgebus.yaml"]);
    assert!(!home.data().exists(), "a store was made");
}

#[test]
fn a_wrong_manifest_leaves_the_store_as_it_was() {
    let home = Home::new("version: 1\nbuses: { other: {} }\n");
    assert!(home.serve().stop().success());
    home.write_manifest("version: 1\nbusses: { more: {} }\n");
    let before = std::fs::read(home.data().join("edgebus.redb")).unwrap();
    no_start(&home, &[]).fails(78, &["edgebus.yaml:2:", "busses", "buses"]);
    assert!(
        before == std::fs::read(home.data().join("edgebus.redb")).unwrap(),
        "the store was changed"
    );
    home.write_manifest("version: 1\nbuses: { other: {} }\n");
    home.serve().get("/v1/buses/other/events").expect(200);
}

#[test]
fn serve_refuses_a_port_in_use() {
    let home = Home::new("version: 1\n");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments: Vec<String> = home
        .command()
        .get_args()
        .map(|word| word.to_string_lossy().replace("127.0.0.1:0", &address))
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(&arguments, "").fails(1, &[&address, "--listen"]);
    assert!(!home.data().exists(), "a store was made");
}

fn running(server: &Server) -> bool {
    let pending = server.deliveries(Stage::Pending);
    !pending.is_empty()
}

#[test]
fn a_stop_lets_attempts_end_and_a_second_signal_does_not_wait() {
    let home = Home::new(&deliver::manifest(
        "timeout: 30s, concurrency: 1",
        "attempts: 3",
    ));
    let server = home.serve();
    let position = deliver::play(&server, "long", "nap 100");
    wait_for("the attempt", || running(&server));
    let began = Instant::now();
    assert!(server.stop().success());
    assert!(began.elapsed() < Duration::from_secs(30));
    let server = home.serve();
    let path = format!("/v1/deliveries/1-{position}");
    wait_for("the delivery", || {
        server.get(&path).json()["stage"] == "succeeded"
    });
    let endless = deliver::play(&server, "endless", "hang");
    wait_for("the attempt", || running(&server));
    let began = Instant::now();
    server.terminate();
    // The second one counts only after the first was seen.
    wait_for("the stop to begin", || {
        std::net::TcpStream::connect(server.address).is_err()
    });
    server.terminate();
    assert_eq!(server.wait().code(), Some(1));
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    let server = home.serve();
    assert_eq!(
        server.get(&format!("/v1/deliveries/1-{endless}")).json()["stage"],
        "pending"
    );
}

fn fsck(home: &Home) -> Said {
    run(&["fsck", "--data", home.data().to_str().unwrap()], "")
}

/// Serves with its log in a file, stops in order, and gives the log.
fn log_of_a_start(home: &Home) -> String {
    let path = home.data().with_file_name("log");
    let log = File::create(&path).unwrap();
    let server = Server::start(home.command().env("EDGEBUS_LOG", "info").stderr(log));
    assert!(server.stop().success());
    std::fs::read_to_string(path).unwrap()
}

const UNCLEAN: &str = "unclean shutdown detected";

#[test]
fn fsck_finds_nothing_in_a_good_store_and_leaves_it_clean() {
    let home = Home::new(&deliver::manifest(
        "timeout: 60s, concurrency: 1",
        "attempts: 3",
    ));
    let server = home.serve();
    // Plenty stays pending over each stop here: one runs after the other.
    for number in 0..200 {
        deliver::play(&server, &format!("n{number}"), "nap 5");
    }
    assert!(server.stop().success());
    let good = fsck(&home).succeeds();
    assert!(good.out.ends_with(" records, 0 corrupt\n"), "{}", good.out);
    fsck(&home).succeeds();
    let log = log_of_a_start(&home);
    assert!(!log.contains(UNCLEAN), "{log}");
    home.serve().kill();
    fsck(&home).succeeds();
    let log = log_of_a_start(&home);
    assert!(log.contains(UNCLEAN), "after a kill it is not clean: {log}");
}

#[test]
fn fsck_names_what_is_corrupt() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    for number in 0..50 {
        server.publish(&format!("h{number}"), "t", &json!("find-me-and-flip-me"));
    }
    assert!(server.stop().success());
    let path = home.data().join("edgebus.redb");
    let mut bytes = std::fs::read(&path).unwrap();
    let word = b"find-me-and-flip-me";
    let places: Vec<usize> = (0..bytes.len() - word.len())
        .filter(|at| bytes[*at..].starts_with(word))
        .collect();
    assert!(places.len() >= 50);
    // Old pages hold copies, so every place is hit.
    for at in places {
        bytes[at + 5] ^= 1;
    }
    std::fs::write(&path, bytes).unwrap();
    let said = fsck(&home);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    // Either it names records, or the engine itself refuses the page.
    assert!(
        said.out.contains("corrupt") || said.err.contains("can't"),
        "{}{}",
        said.out,
        said.err
    );
    assert!(!said.out.contains(" 0 corrupt"), "{}", said.out);
    run(&["fsck", "--data", "/nowhere/at/all"], "").fails(1, &["/nowhere/at/all"]);
}

#[test]
fn the_version_is_told() {
    let said = run(&["version"], "").succeeds();
    assert_eq!(said.out, format!("edgebus {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(run(&["--version"], "").succeeds().out, said.out);
}
