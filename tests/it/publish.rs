//! Publishing in each mode, reading back, duplicates, pages, the streams, limits, problem documents.

use edgebus_client::api::EventQuery;
use serde_json::{Value, json};

use super::deliver;
use crate::support::http::{Answer, Connection};
use crate::support::server::{Home, Server, done};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

#[test]
fn what_is_published_comes_back_unchanged() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    // Data that a parse-and-print would change: spelling, order, large numbers, white space, escapes.
    let data =
        r#"{ "b":1.0 , "a":123456789012345678901234567890, "e":1e3,"u":"\u00e9é" ,"n":null}"#;
    let structured = format!(
        r#"{{"specversion":"1.0","id":"s","source":"/t","type":"t","n":7,"flag":true,"data":{data}}}"#
    );
    server
        .post(
            "/v1/events",
            "application/cloudevents+json",
            structured.as_bytes(),
        )
        .expect(202);
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "b"),
        ("ce-source", "/t"),
        ("ce-type", "t"),
        ("ce-subject", "caf%C3%A9"),
        ("content-type", "application/json"),
    ];
    server
        .request("POST", "/v1/buses/default/events", &binary, data.as_bytes())
        .expect(202);
    let mut opaque = binary;
    opaque[1] = ("ce-id", "o");
    opaque[5] = ("content-type", "application/octet-stream");
    server
        .request("POST", "/v1/events", &opaque, &[0, 159, 146, 150])
        .expect(202);
    for position in [1, 2] {
        let text = server
            .get(&format!("/v1/buses/default/events/{position}"))
            .expect(200)
            .text();
        assert!(text.contains(data), "{text}");
    }
    let first = server.get("/v1/buses/default/events/1").json();
    assert_eq!(
        (&first["event"]["n"], &first["event"]["flag"]),
        (&json!(7), &json!(true))
    );
    assert_eq!(
        server.get("/v1/buses/default/events/2").json()["event"]["subject"],
        "café"
    );
    assert_eq!(
        server.get("/v1/buses/default/events/3").json()["event"]["data_base64"],
        "AJ+Slg=="
    );
}

#[test]
fn a_repeat_is_a_duplicate_also_after_a_restart() {
    let home = Home::new("version: 1\n");
    let event = |id: &str| json!({"specversion": "1.0", "id": id, "source": "/t", "type": "t"});
    let publish = |server: &crate::support::server::Server, events: &[Value]| {
        server
            .post(
                "/v1/events",
                "application/cloudevents-batch+json",
                json!(events).to_string().as_bytes(),
            )
            .expect(202)
            .json()
    };
    let server = home.serve();
    let answer = publish(&server, &[event("a"), event("b"), event("a")]);
    assert_eq!(
        answer,
        json!({"results": [
            {"id": "a", "position": 1, "duplicate": false},
            {"id": "b", "position": 2, "duplicate": false},
            {"id": "a", "position": 1, "duplicate": true},
        ]})
    );
    server.kill();
    let server = home.serve();
    let answer = publish(&server, &[event("c"), event("b")]);
    assert_eq!(answer["results"][0]["position"], 3);
    assert_eq!(
        answer["results"][1],
        json!({"id": "b", "position": 2, "duplicate": true})
    );
    assert_eq!(publish(&server, &[]), json!({"results": []}));
    assert_eq!(server.log().len(), 3);
}

#[test]
fn the_log_is_read_in_pages_and_by_type() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    for number in 0..7 {
        server.publish(
            &format!("e{number}"),
            if number % 2 == 0 { "even" } else { "odd" },
            &json!(number),
        );
    }
    let page = server
        .get("/v1/buses/default/events?limit=3")
        .expect(200)
        .json();
    assert_eq!(page["events"].as_array().unwrap().len(), 3);
    assert!(!page["next"].is_null());
    let odd = EventQuery {
        kind: Some("odd".to_owned()),
        ..EventQuery::default()
    };
    let all = done(server.client.bus("default").events(&odd)).events;
    let ids: Vec<&str> = all.iter().map(|row| row.event.id.as_str()).collect();
    assert_eq!(ids, ["e1", "e3", "e5"]);
    server.get("/v1/buses/default/events/8").expect(404);
    server.get("/v1/buses/nowhere/events").expect(404);
}

/// The next message of a stream: the lines up to a blank one, comments left out.
fn message(lines: &mut impl Iterator<Item = String>) -> Vec<String> {
    let message: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    message
        .into_iter()
        .filter(|line| !line.starts_with(':'))
        .collect()
}

fn data(message: &[String]) -> Value {
    let text: String = message
        .iter()
        .filter_map(|line| line.strip_prefix("data: "))
        .collect();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{message:?}: {error}"))
}

#[test]
fn a_stream_begins_where_it_is_asked_to_and_goes_on() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    for id in ["a", "b", "c"] {
        server.publish(id, "t", &json!({ "is": id }));
    }
    let open = |query: &str, headers: &str| {
        let path = format!("/v1/buses/default/events/stream{query}");
        Connection::open(server.address)
            .unwrap()
            .lines(&path, headers)
    };
    let mut from_one = open("?after=1", "");
    // A browser that comes back says how far it was, and that counts more than the address.
    let mut from_two = open("?after=0", "last-event-id: 2\r\n");
    let mut from_end = open("?after=3", "");
    for (position, id) in [(2, "b"), (3, "c")] {
        let told = message(&mut from_one);
        assert_eq!(told[0], format!("id: {position}"));
        assert_eq!(data(&told)["event"]["id"], id);
        assert_eq!(data(&told)["event"]["data"], json!({ "is": id }));
    }
    assert_eq!(data(&message(&mut from_two))["event"]["id"], "c");
    server.publish("d", "t", &json!(null));
    for lines in [&mut from_one, &mut from_two, &mut from_end] {
        let told = message(lines);
        assert_eq!(told[0], "id: 4");
        assert_eq!(data(&told)["event"]["id"], "d");
    }
    server.get("/v1/buses/nowhere/events/stream").expect(404);
    server
        .get("/v1/buses/default/events/stream?after=x")
        .expect(400);
    assert!(server.stop().success());
    // The stop ends each stream in order.
    for mut lines in [from_one, from_two, from_end] {
        assert_eq!(lines.next(), None);
    }
}

#[test]
fn attempts_are_told_as_they_end() {
    let home = Home::new(&deliver::manifest("timeout: 5s", "attempts: 2"));
    let server = home.serve();
    let mut lines = Connection::open(server.address)
        .unwrap()
        .lines("/v1/deliveries/stream", "");
    let position = deliver::play(&server, "late", "until 2");
    deliver::play(&server, "never", "reject no");
    let mut told = Vec::new();
    while told.len() < 3 {
        let message = message(&mut lines);
        assert_eq!(message[0], "event: attempt", "{message:?}");
        told.push(data(&message));
    }
    let late: Vec<&Value> = told
        .iter()
        .filter(|attempt| attempt["position"] == position)
        .collect();
    assert_eq!(late.len(), 2);
    assert_eq!(
        (&late[0]["attempt"], &late[0]["outcome"]),
        (&json!(1), &json!("retry"))
    );
    assert!(late[0]["retry_at"].is_string(), "{told:?}");
    assert_eq!(
        (&late[1]["attempt"], &late[1]["outcome"]),
        (&json!(2), &json!("success"))
    );
    let never = told
        .iter()
        .find(|attempt| attempt["outcome"] == "reject")
        .unwrap();
    assert_eq!(never["reason"], "rejected");
    assert_eq!(never["rule"], "plays");
}

/// The answer as a problem document with this status, complete.
fn problem(answer: Answer, status: u16) -> Value {
    let answer = answer.expect(status);
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    let problem = answer.json();
    for member in ["type", "title", "detail", "instance"] {
        let text = problem[member].as_str().unwrap_or("");
        assert!(!text.is_empty(), "`{member}` is missing: {problem}");
    }
    assert_eq!(problem["status"], status);
    problem
}

fn event_of(size: usize) -> String {
    let head = r#"{"specversion":"1.0","id":"large","source":"/t","type":"t","data":""#;
    let fill = "x".repeat(size - head.len() - 2);
    format!("{head}{fill}\"}}")
}

#[test]
fn sizes_are_bounded_and_a_refused_one_leaves_nothing() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let publish = |kind: &str, body: &str| server.post("/v1/events", kind, body.as_bytes());
    problem(publish(STRUCTURED, &event_of((1 << 20) + 1)), 413);
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "large"),
        ("ce-source", "/t"),
        ("ce-type", "t"),
        ("content-type", "text/plain"),
    ];
    let body = vec![b'x'; (1 << 20) + 1];
    problem(server.request("POST", "/v1/events", &binary, &body), 413);
    // Small events, and too many bytes of them.
    let events = vec![event_of(100 << 10); 42];
    problem(publish(BATCH, &format!("[{}]", events.join(","))), 413);
    // One event in a batch may not be larger than one alone; there, JSON's own signs don't count.
    problem(publish(BATCH, &format!("[{}]", event_of(1025 << 10))), 413);
    let many = |count: usize| {
        let event = |number| json!({"specversion": "1.0", "id": format!("{number}"), "source": "/t", "type": "t"});
        Value::Array((0..count).map(event).collect()).to_string()
    };
    problem(publish(BATCH, &many(1_001)), 413);
    assert!(server.log().is_empty());
    // What just fits is taken.
    publish(STRUCTURED, &event_of(1 << 20)).expect(202);
    publish(BATCH, &many(1_000)).expect(202);
    assert_eq!(server.log().len(), 1_001);
}

#[test]
fn a_lenient_batch_is_stored_event_by_event() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let event = |id: &str, kind: &str| json!({"specversion": "1.0", "id": id, "source": "/t", "type": kind});
    let mut bad = event("2", "t");
    bad.as_object_mut().unwrap().remove("type");
    let batch = json!([
        event("1", "t"),
        bad,
        7,
        event("1", "other"),
        event("3", "t"),
        event("1", "t")
    ]);
    let post = |prefer: Option<&'static str>| {
        let mut headers = vec![("content-type", BATCH)];
        headers.extend(prefer.map(|prefer| ("prefer", prefer)));
        server.request("POST", "/v1/events", &headers, batch.to_string().as_bytes())
    };
    // All or nothing, unless it is asked for otherwise.
    for prefer in [None, Some("handling=strict"), Some("respond-async")] {
        let answer = post(prefer);
        assert!(answer.header("preference-applied").is_none());
        problem(answer, 400);
    }
    let answer = post(Some("respond-async, handling=lenient"));
    assert_eq!(
        answer.header("preference-applied"),
        Some("handling=lenient")
    );
    let answer = answer.expect(202).json();
    let results = answer["results"].as_array().unwrap();
    let told: Vec<Value> = results
        .iter()
        .map(|result| match &result["problem"] {
            Value::Null => json!([result["position"], result["duplicate"]]),
            own => json!([own["status"], own["code"], own["errors"][0]["pointer"]]),
        })
        .collect();
    let expected = json!([
        [1, false],
        [400, "EB0302", "/1/type"],
        [400, "EB0302", "/2"],
        [409, "EB0321", "/3/id"],
        [2, false],
        [1, true],
    ]);
    assert_eq!(json!(told), expected, "{answer}");
    assert_eq!(answer["refused"], 3);
    // What is no batch can't be taken apart.
    let headers = [("content-type", BATCH), ("prefer", "handling=lenient")];
    problem(server.request("POST", "/v1/events", &headers, b"[{"), 400);
    problem(
        server.request("POST", "/v1/buses/nowhere/events", &headers, b"[]"),
        404,
    );
}

#[test]
fn a_refusal_is_a_problem_document() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let event = r#"{"specversion":"1.0","id":"i","source":"/t","type":"t"}"#;
    let keyed = |server: &Server| {
        let headers = [("content-type", STRUCTURED), ("idempotency-key", "k")];
        server.request("POST", "/v1/events", &headers, event.as_bytes())
    };
    let refused = problem(keyed(&server), 400);
    assert!(
        refused["errors"][0]["remedy"]
            .as_str()
            .unwrap()
            .contains("(source, id)"),
        "{refused}"
    );
    problem(server.get("/nowhere"), 404);
    problem(server.get("/v1/functions/none"), 404);
    problem(server.get("/v1/deliveries/1-1"), 404);
    problem(server.get("/v1/deliveries/what"), 400);
    problem(server.get("/v1/deliveries?stage=lost"), 400);
    problem(server.request("DELETE", "/v1/events", &[], b""), 405);
    problem(server.post("/v1/manifest", "application/yaml", b""), 405);
    problem(
        server.request("PUT", "/v1/manifest", &[("content-type", "text/html")], b""),
        415,
    );
    let missing = problem(
        server.post(
            "/v1/buses/default/events",
            BATCH,
            format!(r#"[{event},{{"specversion":"1.0","id":"j","type":"t"}}]"#).as_bytes(),
        ),
        400,
    );
    assert_eq!(missing["instance"], "/v1/buses/default/events");
    assert!(
        missing["errors"][0]["pointer"]
            .as_str()
            .unwrap()
            .starts_with("/1"),
        "{missing}"
    );
    assert!(server.log().is_empty());
}
