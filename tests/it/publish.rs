//! Publishing in each mode, reading back, duplicates, pages, the stream.

use serde_json::{Value, json};

use crate::support::server::Home;

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
    assert_eq!(server.list("/v1/buses/default/events", "events").len(), 3);
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
    let all = server.list("/v1/buses/default/events?type=odd", "events");
    let ids: Vec<&str> = all
        .iter()
        .map(|row| row["event"]["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["e1", "e3", "e5"]);
    server.get("/v1/buses/default/events/8").expect(404);
    server.get("/v1/buses/nowhere/events").expect(404);
}
