//! The edge: for whom requests are, how connections end, and what reaches a terminal.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::json;

use super::commands::run;
use super::deliver::{self, play};
use crate::support::http::Connection;
use crate::support::server::{Home, PATIENCE, Server, wait_for};

const STRUCTURED: &str = "application/cloudevents+json";

/// Sends bytes as they are, all before anything is read, and gives all that comes back.
fn exchange(address: SocketAddr, bytes: &[u8], half_close: bool) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    if half_close {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn event(id: &str, pad: usize) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/t","type":"t","data":"{}"}}"#,
        "x".repeat(pad)
    )
}

/// A whole request; `head` is its lines without the length.
fn request(head: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").into_bytes()
}

fn last_position(server: &Server) -> u64 {
    let page = server.get("/v1/buses/default/events?last=1").expect(200);
    page.json()["newest"].as_u64().unwrap()
}

#[test]
fn a_page_that_rebinds_its_name_gets_nothing() {
    let home = Home::new("version: 1\n");
    let mut command = home.command();
    command.args(["--allowed-host", "edge.example.org"]);
    let server = Server::start(&mut command);
    let publish = format!("POST /v1/events HTTP/1.1\r\ncontent-type: {STRUCTURED}");
    let manifest = "PUT /v1/manifest HTTP/1.1\r\ncontent-type: application/yaml";
    let mut number = 0;
    for route in [
        &publish,
        "GET /v1/rules HTTP/1.1",
        "GET /v1/buses/default/events HTTP/1.1",
        manifest,
        "PUT /v1/functions/evil HTTP/1.1\r\ncontent-type: application/wasm",
        "GET /livez HTTP/1.1",
        "GET /metrics HTTP/1.1",
        "GET /nowhere HTTP/1.1",
    ] {
        for (headers, code) in [
            ("host: rebind.evil.example:7070", "EB0316"),
            (
                "host: evil.example\r\norigin: http://evil.example",
                "EB0316",
            ),
            ("host: 127.0.0.1\r\norigin: http://evil.example", "EB0317"),
            ("host: 127.0.0.1\r\norigin: null", "EB0317"),
        ] {
            let body = event("evil", 0);
            let bytes = request(&format!("{route}\r\n{headers}"), &body);
            let answer = exchange(server.address, &bytes, false);
            assert!(answer.starts_with("HTTP/1.1 403 "), "{route}: {answer}");
            assert!(answer.contains(code), "{route}: {answer}");
        }
        for headers in ["accept: */*", "host: localhost\r\nhost: localhost"] {
            let bytes = request(&format!("{route}\r\n{headers}"), "");
            let answer = exchange(server.address, &bytes, false);
            assert!(answer.starts_with("HTTP/1.1 400 "), "{route}: {answer}");
        }
    }
    assert_eq!(last_position(&server), 0);
    for headers in [
        "host: localhost:7070",
        "host: [::1]:7070",
        "host: 192.0.2.1",
        "host: edge.example.org",
        "host: 127.0.0.1:7070\r\norigin: http://localhost:7070",
        "host: 127.0.0.1\r\norigin: https://edge.example.org",
    ] {
        number += 1;
        let body = event(&format!("good-{number}"), 0);
        let bytes = request(&format!("{publish}\r\n{headers}"), &body);
        let answer = exchange(server.address, &bytes, false);
        assert!(answer.starts_with("HTTP/1.1 202 "), "{headers}: {answer}");
    }
    assert_eq!(last_position(&server), number);
}

#[test]
fn a_body_over_the_limit_is_refused_so_that_every_client_sees_it() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let head = format!("POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: {STRUCTURED}");
    for pad in [(1 << 20) + 1, 2 << 20, 8 << 20] {
        let answer = exchange(server.address, &request(&head, &event("large", pad)), false);
        assert!(answer.starts_with("HTTP/1.1 413 "), "{pad}: {answer}");
        assert!(answer.contains("EB0308"), "{answer}");
    }
    assert_eq!(last_position(&server), 0);
}

#[test]
fn a_client_that_ends_its_side_gets_its_answer() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let head = format!("POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: {STRUCTURED}");
    for number in 1..=6 {
        let body = event(&format!("half-{number}"), 0);
        let answer = exchange(server.address, &request(&head, &body), true);
        assert!(answer.starts_with("HTTP/1.1 202 "), "{number}: {answer:?}");
    }
    assert_eq!(last_position(&server), 6);
}

#[test]
fn a_transfer_coding_that_nothing_undoes_is_refused() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /t\r\nce-type: t\r\ncontent-type: text/plain";
    for (coding, status) in [
        ("transfer-encoding: gzip, chunked", "501"),
        ("transfer-encoding: frobnicate, chunked", "501"),
        ("transfer-encoding: chunked, chunked", "501"),
        (
            "transfer-encoding: gzip\r\ntransfer-encoding: chunked",
            "501",
        ),
        // Without an end that can be told.
        ("transfer-encoding: gzip", "400"),
        ("transfer-encoding: Chunked", "202"),
    ] {
        let bytes = format!("{head}\r\n{coding}\r\nconnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        let answer = exchange(server.address, bytes.as_bytes(), false);
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{coding}: {answer}");
    }
    assert_eq!(last_position(&server), 1);
}

#[test]
fn silent_connections_from_one_address_keep_nobody_out() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    // More than one address had once.
    let silent: Vec<Connection> = (0..200)
        .map(|_| Connection::open(server.address).unwrap())
        .collect();
    for _ in 0..20 {
        server.get("/v1/rules").expect(200);
    }
    drop(silent);
}

#[test]
fn a_stream_that_would_wait_beyond_the_log_is_refused() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    server.publish("1", "t", &json!(1));
    let stream = "/v1/buses/default/events/stream";
    let refused = server.get(&format!("{stream}?after=2")).expect(409).json();
    assert_eq!(refused["code"], "EB0319");
    assert!(refused["detail"].as_str().unwrap().contains("position 1"));
    server
        .request("GET", stream, &[("last-event-id", "9999999")], b"")
        .expect(409);
    let lines = Connection::open(server.address)
        .unwrap()
        .lines(stream, "last-event-id: 0\r\n");
    assert!(lines.take(2).any(|line| line == "id: 1"));
}

/// What is in no text of ours and must reach no terminal as it is.
const MISLEADING: [char; 8] = [
    '\u{61c}',
    '\u{200b}',
    '\u{200e}',
    '\u{202e}',
    '\u{2028}',
    '\u{2066}',
    '\u{feff}',
    '\u{e0041}',
];

#[test]
fn what_nobody_sees_is_written_out() {
    let home = Home::new(&deliver::manifest("timeout: 5s", "attempts: 1"));
    let server = home.serve();
    let hidden: String = MISLEADING.iter().collect();
    let position = play(
        &server,
        &format!("id{hidden}"),
        &format!("log a{hidden}b\nreject c{hidden}d"),
    );
    server.settle();
    let url = format!("http://{}", server.address);
    let delivery = format!("1-{position}");
    let position = position.to_string();
    for command in [
        &["events", "ls"][..],
        &["events", "tail"],
        &["events", "get", &position],
        &["events", "explain", &position],
        &["deliveries", "ls"],
        &["deliveries", "get", &delivery],
        &["dead-letters", "ls"],
        &["functions", "logs", "play"],
        &["top", "--once", "--every", "100ms"],
        &["events", "get", &format!("none{hidden}")],
        &["functions", "get", &hidden],
    ] {
        for format in ["table", "json", "jsonl", "yaml"] {
            let mut arguments = [command, &["--url", &url]].concat();
            if command[0] != "top" {
                arguments.extend(["-o", format]);
            }
            let said = run(&arguments, "");
            for text in [&said.out, &said.err] {
                let raw = text.chars().find(|own| MISLEADING.contains(own));
                assert_eq!(raw, None, "{arguments:?}: {text}");
            }
            // Programs get what is in the data all the same.
            if format == "jsonl" && command == ["events", "ls"] {
                let row: serde_json::Value = serde_json::from_str(said.out.trim()).unwrap();
                assert_eq!(row["event"]["id"], format!("id{hidden}"));
            }
        }
    }
}

#[test]
fn secrets_do_not_come_out_with_what_a_function_writes() {
    let manifest = deliver::manifest("timeout: 5s", "attempts: 1")
        .replace("    config:", "    secrets: [TOKEN]\n    config:");
    let home = Home::new(&manifest);
    let mut command = home.command();
    command.env("EDGEBUS_SECRET_TOKEN", "s3cr3t-t0ken");
    let server = Server::start(&mut command);
    let script = "log has s3cr3t-t0ken inside\nreject since s3cr3t-t0ken is wrong";
    let position = play(&server, "1", script);
    server.settle();
    let path = format!("/v1/deliveries/1-{position}");
    wait_for("the delivery to end", || {
        server.get(&path).json()["stage"] == "dead"
    });
    let attempt = server.get(&path).json()["attempts"][0].clone();
    assert_eq!(attempt["output"], "INFO has [secret TOKEN] inside\n");
    assert_eq!(attempt["message"], "since [secret TOKEN] is wrong");
    let trial = server.post(
        "/v1/functions/play/invoke",
        STRUCTURED,
        json!({"specversion": "1.0", "id": "2", "source": "/t", "type": "play", "data": {"do": script}})
            .to_string()
            .as_bytes(),
    );
    let trial = trial.expect(200).text();
    assert!(trial.contains("[secret TOKEN]"), "{trial}");
    assert!(!trial.contains("s3cr3t"), "{trial}");
}

#[test]
fn what_is_printed_without_a_line_end_is_kept() {
    let home = Home::new(&deliver::manifest("timeout: 5s", "attempts: 1"));
    let server = home.serve();
    for (id, script, expected) in [
        (
            "1",
            "print whole\nprint-part and a part",
            "whole\nand a part",
        ),
        ("2", "print-part a part\nreject no", "a part"),
    ] {
        let position = play(&server, id, script);
        server.settle();
        let story = server.get(&format!("/v1/deliveries/1-{position}")).json();
        assert_eq!(story["attempts"][0]["output"], expected, "{story}");
    }
}
