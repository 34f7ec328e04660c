//! The edge: for whom requests are, how connections end, and what reaches a terminal.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::support::http::Connection;
use crate::support::server::{Home, PATIENCE, Server};

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
