//! What HTTP costs for one event: reading it from a request, and printing it.

use bytes::Bytes;
use divan::Bencher;
use edgebus_http::wire;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

fn main() {
    divan::main();
}

/// JSON data of about 1 KiB, like a webhook's.
fn data() -> String {
    let labels: Vec<String> = (0..12)
        .map(|n| format!(r#"{{"id":{n},"name":"label-{n}","color":"ededed","default":false}}"#))
        .collect();
    format!(
        r#"{{"action":"opened","issue":{{"number":7,"title":"It \"breaks\"","labels":[{}],"author_association":"NONE"}},"repository":{{"id":186853002,"full_name":"octo/demo"}}}}"#,
        labels.join(",")
    )
}

fn event() -> String {
    format!(
        r#"{{"specversion":"1.0","id":"0b9a8f6e-4c0d-4f4e-8c86-000000000001","source":"https://github.com/octo/demo","type":"com.github.issues","time":"2026-11-21T06:30:16Z","datacontenttype":"application/json","partitionkey":"186853002","data":{}}}"#,
        data()
    )
}

fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
    list.iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect()
}

#[divan::bench]
fn decode_structured(bencher: Bencher) {
    let headers = headers(&[("content-type", "application/cloudevents+json")]);
    let body = Bytes::from(event());
    bencher.bench(|| wire::decode_request(&headers, body.clone()).expect("the event is valid"));
}

#[divan::bench]
fn decode_binary(bencher: Bencher) {
    let headers = headers(&[
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "0b9a8f6e-4c0d-4f4e-8c86-000000000001"),
        ("ce-source", "https://github.com/octo/demo"),
        ("ce-type", "com.github.issues"),
        ("ce-time", "2026-11-21T06:30:16Z"),
        ("ce-partitionkey", "186853002"),
    ]);
    let body = Bytes::from(data());
    bencher.bench(|| wire::decode_request(&headers, body.clone()).expect("the event is valid"));
}

#[divan::bench]
fn decode_batch_of_100(bencher: Bencher) {
    let headers = headers(&[("content-type", "application/cloudevents-batch+json")]);
    let body = Bytes::from(format!("[{}]", vec![event(); 100].join(",")));
    bencher.bench(|| wire::decode_request(&headers, body.clone()).expect("the events are valid"));
}

#[divan::bench]
fn encode(bencher: Bencher) {
    let headers = headers(&[("content-type", "application/cloudevents+json")]);
    let mut events =
        wire::decode_request(&headers, Bytes::from(event())).expect("the event is valid");
    let event = events.remove(0);
    bencher.bench(|| {
        let mut out = Vec::new();
        wire::encode(&mut out, &event);
        out
    });
}
