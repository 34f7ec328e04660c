//! Clients that are not ours: the CloudEvents SDKs for Rust and Python, and curl.

use std::process::Command;

use cloudevents::binding::http::{Builder, Serializer};
use cloudevents::message::BinaryDeserializer;
use cloudevents::{AttributesReader, Event, EventBuilder, EventBuilderV10};
use serde_json::{Value, json};

use crate::support::python::{self, succeeded};
use crate::support::server::{Home, Server};

/// What the SDK makes of an event: headers and body.
type Message = (Vec<(String, String)>, Vec<u8>);

#[derive(Default)]
struct Collect(Vec<(String, String)>);

/// The SDK's trait speaks of the `http` crate's values; they are only passed on.
impl Builder<Message> for Collect {
    fn header(&mut self, key: &str, value: hyper::header::HeaderValue) {
        let value = String::from_utf8(value.as_bytes().to_vec()).unwrap();
        self.0.push((key.to_owned(), value));
    }

    fn body(&mut self, bytes: Vec<u8>) -> cloudevents::message::Result<Message> {
        Ok((std::mem::take(&mut self.0), bytes))
    }

    fn finish(&mut self) -> cloudevents::message::Result<Message> {
        self.body(Vec::new())
    }
}

fn event(id: &str, subject: &str) -> Event {
    EventBuilderV10::new()
        .id(id)
        .source("/rust?q=1#part")
        .ty("com.example.rust")
        .subject(subject)
        .time("2026-11-21T08:00:00.125Z")
        .extension("partitionkey", "a,b;c")
        .data(
            "application/json",
            json!({"id": id, "list": [1, null, 2.5]}),
        )
        .build()
        .unwrap()
}

fn stored(server: &Server, position: &Value) -> Event {
    let answer = server
        .get(&format!("/v1/buses/default/events/{position}"))
        .expect(200);
    serde_json::from_value(answer.json()["event"].clone()).unwrap()
}

#[test]
fn the_rust_sdk_publishes_and_reads_back() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    // The SDK writes header values as they are, so that the binary one keeps to ASCII.
    let (binary, structured) = (
        event("binary", "plain"),
        event("structured \"100%\"", "Zürich – 東京"),
    );
    let (headers, body) =
        BinaryDeserializer::deserialize_binary(binary.clone(), Serializer::new(Collect::default()))
            .unwrap();
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let answer = server
        .request("POST", "/v1/events", &headers, &body)
        .expect(202)
        .json();
    assert_eq!(stored(&server, &answer["position"]), binary);
    let body = serde_json::to_vec(&structured).unwrap();
    let answer = server
        .post("/v1/events", "application/cloudevents+json", &body)
        .expect(202)
        .json();
    assert_eq!(stored(&server, &answer["position"]), structured);
    let batch = [event("batch 1", "x"), event("batch 2", "é")];
    let body = serde_json::to_vec(&batch).unwrap();
    let answer = server
        .post("/v1/events", "application/cloudevents-batch+json", &body)
        .expect(202)
        .json();
    for (event, result) in batch.iter().zip(answer["results"].as_array().unwrap()) {
        assert_eq!(result["id"], event.id());
        assert_eq!(&stored(&server, &result["position"]), event);
    }
}

#[test]
fn the_python_sdk_publishes_and_reads_back() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let script = crate::support::root().join("tests/clients/publish.py");
    let said = Command::new(python::with("cloudevents==2.2.0"))
        .arg(script)
        .arg(server.address.to_string())
        .output();
    assert_eq!(succeeded("publish.py", said), "4 events\n");
    assert_eq!(server.log().len(), 4);
}

#[test]
fn curl_publishes_in_each_mode() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let url = format!("http://{}/v1/events", server.address);
    let curl = |arguments: &[&str]| {
        let output = Command::new("curl")
            .args(["-sS", "--fail-with-body", &url])
            .args(arguments)
            .output();
        serde_json::from_str::<Value>(&succeeded("curl", output)).unwrap()
    };
    let event = |id: &str| json!({"specversion": "1.0", "id": id, "source": "/curl", "type": "t"});
    let binary = [
        "-H",
        "ce-specversion: 1.0",
        "-H",
        "ce-id: b",
        "-H",
        "ce-source: /curl",
        "-H",
        "ce-type: t",
        "-H",
        "content-type: text/plain",
        "-d",
        "hello",
    ];
    assert_eq!(curl(&binary)["position"], 1);
    let structured = event("s").to_string();
    assert_eq!(
        curl(&[
            "-H",
            "content-type: application/cloudevents+json; charset=utf-8",
            "-d",
            &structured
        ])["position"],
        2
    );
    let batch = json!([event("s"), event("t")]).to_string();
    let answer = curl(&[
        "-H",
        "content-type: application/cloudevents-batch+json",
        "-d",
        &batch,
    ]);
    assert_eq!(
        (
            &answer["results"][0]["duplicate"],
            &answer["results"][1]["position"]
        ),
        (&json!(true), &json!(3))
    );
    // HTTP/2 without an upgrade, and a body in chunks.
    let http2 = event("h2").to_string();
    assert_eq!(
        curl(&[
            "--http2-prior-knowledge",
            "-H",
            "content-type: application/cloudevents+json",
            "-d",
            &http2
        ])["position"],
        4
    );
    let chunked = event("c").to_string();
    assert_eq!(
        curl(&[
            "-H",
            "transfer-encoding: chunked",
            "-H",
            "content-type: application/cloudevents+json",
            "-d",
            &chunked
        ])["position"],
        5
    );
    assert_eq!(
        server.get("/v1/buses/default/events/1").json()["event"]["data"],
        "hello"
    );
}
