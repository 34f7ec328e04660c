//! Lines on standard input: a stream has events as they come, whatever becomes of the bus meanwhile.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::commands::{events, publish};
use crate::support::canned::Canned;
use crate::support::server::{Home, PATIENCE, Server, binary, signal_to, wait_for};

#[test]
fn lines_on_standard_input_are_events_of_their_own() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    // The example of the help: the type alone does not keep lines from being read.
    let lines = "{\"level\":\"warn\",\"m\":1}\n{\"level\":\"info\",\"m\":2}\n";
    let app = ["--type", "app.{$.level}", "--source", "/app"];
    let said = publish(&server, &app, lines).succeeds();
    assert_eq!((&*said.out, &*said.err), ("2 new (#1 to #2)\n", ""));
    let log = events(&server);
    assert_eq!(
        (&log[0]["type"], &log[0]["data"]["m"]),
        (&json!("app.warn"), &json!(1))
    );
    assert_eq!(
        (&log[1]["type"], &log[1]["data"]["m"]),
        (&json!("app.info"), &json!(2))
    );
    // A stream with equal lines has a new event for each, unless --stable-id is given.
    let tick = ["--type", "tick", "--source", "/cron"];
    for position in [3, 4] {
        let said = publish(&server, &tick, "{\"tick\":true}\n").succeeds();
        assert!(
            said.out.starts_with(&format!("1 new (#{position}, id ")),
            "{}",
            said.out
        );
    }
    let stable = [&tick[..], &["--stable-id"]].concat();
    assert!(
        publish(&server, &stable, "{}\n")
            .succeeds()
            .out
            .starts_with("1 new (#5")
    );
    let again = publish(&server, &stable, "{}\n").succeeds();
    assert_eq!(again.out, "0 new, 1 duplicate\n");
    assert!(again.err.contains("--new-id"), "{}", again.err);
    let other = ["--type", "tock", "--source", "/cron", "--stable-id"];
    assert!(
        publish(&server, &other, "{}\n")
            .succeeds()
            .out
            .starts_with("1 new (#6")
    );
    // Values may go on over lines, and an array holds events.
    let event = json!({"specversion": "1.0", "id": "p", "source": "/p", "type": "t"});
    let pretty = serde_json::to_string_pretty(&event).unwrap();
    let said = publish(
        &server,
        &["--new-id"],
        &format!("{pretty}\n[{pretty},{pretty}]"),
    );
    assert_eq!(said.succeeds().out, "3 new (#7 to #9)\n");
    // Answers for programs.
    let said = publish(
        &server,
        &[
            "--id", "{$.n}", "--type", "t", "--source", "/o", "-o", "jsonl",
        ],
        "{\"n\":\"a\"}\n{\"n\":\"b\"}\n",
    )
    .succeeds();
    assert_eq!(
        said.out,
        "{\"id\":\"a\",\"position\":10,\"duplicate\":false}\n{\"id\":\"b\",\"position\":11,\"duplicate\":false}\n"
    );
    let said = publish(&server, &tick, "").succeeds();
    assert!(
        said.err.contains("standard input has no events"),
        "{}",
        said.err
    );
    assert_eq!(events(&server).len(), 11);
    // Without lines there is nothing to fill a template.
    publish(&server, &[&app[..], &["--data", "{}"]].concat(), "")
        .fails(2, &["--type", "placeholder"]);
}

#[test]
fn a_bad_line_is_told_and_passed_over_where_that_is_wanted() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let lines = "{\"n\":\"a\"}\n{bad\n{\"m\":1}\n{\"n\":\"b\"}\n";
    let arguments = ["--type", "t.{$.n}", "--source", "/s"];
    // What was read before it is published.
    publish(&server, &arguments, lines).fails(1, &["line 2: ", "--skip-invalid", "1 new (#1"]);
    let said = publish(
        &server,
        &[&arguments[..], &["--skip-invalid"]].concat(),
        lines,
    )
    .succeeds();
    assert_eq!(said.out, "2 new (#2 to #3), 2 lines skipped\n");
    assert!(
        said.err.contains("skipped: line 2: the line is not JSON")
            && said
                .err
                .contains("skipped: line 3: /type `$.n` selects nothing"),
        "{}",
        said.err
    );
}

#[test]
fn an_event_that_the_bus_refuses_costs_no_other_event() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let arguments = ["--type", "t", "--source", "/s", "--id", "{$.id}"];
    let skipping = [&arguments[..], &["--skip-invalid"]].concat();
    publish(&server, &arguments, "{\"id\":\"1\",\"n\":1}\n").succeeds();
    // The second line has the id of another event.
    let lines = |name: &str| {
        format!("{{\"id\":\"{name}\"}}\n{{\"id\":\"1\",\"n\":2}}\n{{\"id\":\"{name}{name}\"}}\n")
    };
    publish(&server, &arguments, &lines("a")).fails(
        1,
        &[
            "error[EB0321]: line 2: the bus answered 409",
            "--skip-invalid skips it",
            "2 new (#2 to #3)",
        ],
    );
    let said = publish(&server, &skipping, &lines("b")).succeeds();
    assert_eq!(said.out, "2 new (#4 to #5), 1 line skipped\n");
    assert!(said.err.contains("skipped: line 2: "), "{}", said.err);
    // What comes behind the first request is read only if what is refused is skipped.
    let one = ["--batch", "1", "-o", "jsonl"];
    let said = publish(&server, &[&skipping[..], &one].concat(), &lines("c")).succeeds();
    assert_eq!(
        said.out,
        "{\"id\":\"c\",\"position\":6,\"duplicate\":false}\n{\"id\":\"cc\",\"position\":7,\"duplicate\":false}\n"
    );
    publish(&server, &[&arguments[..], &one[..2]].concat(), &lines("d"))
        .fails(1, &["line 2: ", "1 new (#8"]);
}

#[test]
fn an_event_from_flags_has_any_data_and_extensions() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let flags = [
        "--type",
        "t",
        "--source",
        "/s",
        "--extension",
        "tenant=acme",
    ];
    let text = [
        &flags[..],
        &["--data", "hello", "--content-type", "text/plain"],
    ]
    .concat();
    publish(&server, &text, "").succeeds();
    publish(
        &server,
        &[&flags[..], &["--data", "@-"]].concat(),
        "{\"n\": 1}",
    )
    .succeeds();
    publish(
        &server,
        &[&flags[..4], &["--extension", "level={$.l}"]].concat(),
        "{\"l\":3}",
    )
    .succeeds();
    let log = events(&server);
    assert_eq!(log[0]["data"], "hello");
    assert_eq!(
        (&log[0]["datacontenttype"], &log[0]["tenant"]),
        (&json!("text/plain"), &json!("acme"))
    );
    assert_eq!(log[1]["data"], json!({"n": 1}));
    assert_eq!(log[2]["level"], "3");
    publish(&server, &[&flags[..], &["--data", "hello"]].concat(), "")
        .fails(1, &["--content-type"]);
    publish(&server, &["--source", "/s"], "{}").fails(2, &["--type"]);
    publish(&server, &[&flags[..4], &["--extension", "x"]].concat(), "").fails(2, &["NAME=VALUE"]);
}

#[test]
fn a_stream_is_sent_while_it_goes_on_and_waits_for_a_restart() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let address = server.address;
    let mut child = Command::new(binary())
        .args([
            "publish",
            "--url",
            &format!("http://{address}"),
            "--type",
            "t",
            "--source",
            "/s",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = child.stdin.take().unwrap();
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
    // The batch is far from full, and the pipe stays open.
    lines.write_all(b"{\"n\":1}\n").unwrap();
    wait_for("the first line to be an event", || {
        events(&server).len() == 1
    });
    server.kill();
    lines.write_all(b"{\"n\":2}\n").unwrap();
    let away = said.next().unwrap().unwrap();
    assert!(
        away.contains("no bus answers") && away.contains("waiting"),
        "{away}"
    );
    lines.write_all(b"{\"n\":3}\n").unwrap();
    let server = Server::start(&mut home.command_at(address));
    let back = said.next().unwrap().unwrap();
    assert_eq!(back, "the bus is back");
    drop(lines);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    // The bus may have died between the commit of the first event and its answer. Then the event is
    // sent again, and counted once.
    let summary = String::from_utf8(output.stdout).unwrap();
    let answered_in_time = "3 new (#1 to #3)\n";
    let answer_was_lost = "2 new (#2 to #3), 1 duplicate\n";
    assert!(
        [answered_in_time, answer_was_lost].contains(&summary.as_str()),
        "{summary}"
    );
    assert_eq!(events(&server).len(), 3);
}

/// A process that publishes lines to the bus at this address.
fn streaming(url: &str) -> Child {
    Command::new(binary())
        .args(["publish", "--url", url, "--type", "t", "--source", "/s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

const FULL: (&str, &str) = ("507 Insufficient Storage\r\nretry-after: 3600", "{}");
const ACCEPTED: (&str, &str) = (
    "202 Accepted",
    r#"{"results":[{"id":"a","position":1,"duplicate":false}],"refused":0}"#,
);

#[test]
fn a_signal_ends_a_stream_with_what_was_read() {
    // The event waits for a long time when the signal comes, and is sent at once.
    let bus = Canned::new(&[FULL, ACCEPTED]);
    let mut child = streaming(&bus.url());
    let mut lines = child.stdin.take().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    lines.write_all(b"{\"n\":1}\n").unwrap();
    let mut away = String::new();
    said.read_line(&mut away).unwrap();
    assert!(away.contains("waiting until it is back"), "{away}");
    signal_to(&child, rustix::process::Signal::TERM);
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest}");
    assert!(
        rest.contains("stopped by a signal") && rest.contains("1 new (#1"),
        "{rest}"
    );
    assert_eq!(bus.requests.iter().count(), 2);
    drop(lines);
}

#[test]
fn a_signal_ends_the_last_request_too() {
    // What came before a bad line waits for the bus; after a signal, the bus may be silent.
    for (answers, lines) in [
        (&[FULL][..], "{\"n\":1}\n{bad\n"),
        (&[FULL, ("", "")], "{\"n\":1}\n"),
    ] {
        let bus = Canned::new(answers);
        let mut child = streaming(&bus.url());
        let mut input = child.stdin.take().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        input.write_all(lines.as_bytes()).unwrap();
        let mut away = String::new();
        said.read_line(&mut away).unwrap();
        assert!(away.contains("waiting until it is back"), "{away}");
        for _ in answers {
            bus.requests.recv_timeout(PATIENCE).unwrap();
            signal_to(&child, rustix::process::Signal::TERM);
        }
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{rest}");
        assert!(rest.contains("0 new"), "{rest}");
    }
}
