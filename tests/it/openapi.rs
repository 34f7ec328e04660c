//! The description of the API is true: it is valid OpenAPI, every route answers as described, every example
//! fits its schema, and every route takes what is described.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use edgebus_client::api::Stage;
use serde_json::{Value, json};

use crate::support::guests;
use crate::support::http::{self, Answer, Connection};
use crate::support::python::{self, succeeded};
use crate::support::server::{Home, Server, binary, wait_for};

/// The document of a running server.
struct Description(Value);

impl Description {
    fn of(server: &Server) -> Self {
        let answer = server.get("/openapi.json").expect(200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        Self(answer.json())
    }

    /// Every operation: its method, its path, itself.
    fn operations(&self) -> Vec<(&str, &str, &Value)> {
        let mut all = Vec::new();
        for (path, methods) in self.0["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                all.push((method.as_str(), path.as_str(), operation));
            }
        }
        all
    }

    fn operation(&self, id: &str) -> &Value {
        let mut all = self.operations().into_iter();
        let found = all.find(|(_, _, operation)| operation["operationId"] == id);
        found
            .unwrap_or_else(|| panic!("there is no operation {id}"))
            .2
    }

    /// Fails unless `value` fits `schema` and has no member that the schema does not name.
    fn fits(&self, schema: &Value, value: &Value, what: &str) {
        let mut root = schema.clone();
        root["components"] = self.0["components"].clone();
        close(&mut root);
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(&root)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let errors: Vec<String> = validator
            .iter_errors(value)
            .map(|input_error| format!("{}: {input_error}", input_error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{what}: {errors:#?}\n{value:#}");
    }

    /// Fails unless the answer is one that the operation describes.
    fn holds(&self, id: &str, answer: &Answer) {
        let what = format!("{id} → {}", answer.status);
        let described = &self.operation(id)["responses"][answer.status.to_string()];
        assert!(
            described.is_object(),
            "{what} is not described: {}",
            answer.text()
        );
        let Some(contents) = described["content"].as_object() else {
            assert!(
                answer.body.is_empty(),
                "{what} has a body: {}",
                answer.text()
            );
            return;
        };
        let media_type = answer.header("content-type").unwrap_or_default();
        let media = contents
            .get(media_type)
            .unwrap_or_else(|| panic!("{what}: {media_type} is not described"));
        let value = if media_type.ends_with("json") {
            answer.json()
        } else {
            Value::from(answer.text())
        };
        self.fits(&media["schema"], &value, &what);
    }
}

/// Lets no object have members that are not described: a client may ignore them, a test must not.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.contains_key("properties") && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), json!(false));
            }
            members
                .iter_mut()
                .filter(|(name, _)| !matches!(name.as_str(), "examples" | "example"))
                .for_each(|(_, member)| close(member));
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// One request that shows an operation at work.
struct Ask {
    id: &'static str,
    path: String,
    media_type: &'static str,
    body: Vec<u8>,
    status: u16,
}

fn ask(id: &'static str, path: &str, media_type: &'static str, body: &[u8], status: u16) -> Ask {
    Ask {
        id,
        path: path.to_owned(),
        media_type,
        body: body.to_vec(),
        status,
    }
}

const EVENT: &str = "application/cloudevents+json";

fn event(id: &str, data: &Value) -> Vec<u8> {
    json!({"specversion": "1.0", "id": id, "source": "/test", "type": "play", "note": "x", "data": data})
        .to_string()
        .into_bytes()
}

/// A bus where something of everything has happened.
fn lively() -> (Home, Server) {
    let home = Home::new(&format!(
        "version: 1
functions:
  play:
    component: {}
    limits: {{ timeout: 5s }}
    config: {{ GREETING: hello }}
rules:
  plays:
    match: {{ type: [play] }}
    where: $.data
    to: [{{ function: play, retry: {{ attempts: 2, backoff: {{ initial: 10ms, max: 50ms }} }} }}]
",
        json!(guests::path("hostile"))
    ));
    let server = home.serve();
    for (id, script) in [
        ("well", "log said"),
        ("trap", "trap now"),
        ("reject", "reject never"),
        ("later", "retry 3600000 in an hour"),
        // The last one, so that what it emits comes behind them all.
        ("emits", "emit other"),
    ] {
        server
            .post("/v1/events", EVENT, &event(id, &json!({"do": script})))
            .expect(202);
    }
    wait_for("all but one delivery to end", || {
        let pending = server.deliveries(Stage::Pending);
        pending.len() == 1 && pending[0].due_at.is_some()
    });
    (home, server)
}

/// Every operation but the streams, in an order in which each has what it needs.
#[rustfmt::skip]
fn asks() -> Vec<Ask> {
    let (component, other) = (guests::component("idle"), guests::component("tally"));
    let batch = [b"[", &event("b1", &json!(1))[..], b",", &event("b2", &json!(2)), b"]"].concat();
    let trial = br#"{"match":{"type":["play"],"data":{"n":[{"numeric":[">",1]}]}},"where":"$.data","event":{"type":"play","data":{"n":1}}}"#;
    let input = br#"{"input":{"n":"{$.data.n}"},"event":{"type":"play","data":{"n":1}}}"#;
    let uninput = br#"{"input_paths":{"n":"$["},"input_template":"<n>","event":{}}"#;
    let untried = br#"{"where":["$.type"],"event":{"type":"play"}}"#;
    let unread = br#"{"match":{"a":[{"prefx":"b"}]},"event":{}}"#;
    let staged = format!("/v1/components/{}", blake3::hash(&component));
    let enveloped = json!({
        "manifest": "version: 1\nfunctions: { other: {}, late: {} }\n",
        "components": {"other": format!("blake3:{}", blake3::hash(&component)), "late": "0".repeat(64)},
    });
    let enveloped = enveloped.to_string().into_bytes();
    let pattern = "match=%7B%22type%22%3A%5B%22play%22%5D%7D";
    let now = "2026-11-21T06:30:16Z";
    let (json, yaml, wasm, many) = ("application/json", "application/yaml", "application/wasm", "application/cloudevents-batch+json");
    let get = |id, path: &str| ask(id, path, "", b"", 200);
    let none = |id, path: &str| ask(id, path, "", b"", 404);
    vec![
        ask("publish", "/v1/events", EVENT, &event("p1", &json!({})), 202),
        ask("publish", "/v1/events", EVENT, b"{}", 400),
        ask("publishOnBus", "/v1/buses/default/events", many, &batch, 202),
        ask("publishOnBus", "/v1/buses/nowhere/events", EVENT, &event("p1", &json!({})), 404),
        get("listEvents", "/v1/buses/default/events?limit=3&type=play&after=1"),
        get("listEvents", "/v1/buses/default/events"),
        get("listEvents", &format!("/v1/buses/default/events?{pattern}&since=2020-01-01T00:00:00Z&until={now}")),
        get("listEvents", "/v1/buses/default/events?last=2"),
        ask("listEvents", "/v1/buses/default/events?last=2&after=1", "", b"", 400),
        ask("listEvents", "/v1/buses/default/events?match=%7B", "", b"", 400),
        get("getEvent", "/v1/buses/default/events/1"),
        none("getEvent", "/v1/buses/default/events/999"),
        get("explainEvent", "/v1/buses/default/events/1/explain"),
        get("explainEvent", "/v1/buses/default/events/1/explain?rule=plays"),
        get("explainEvent", "/v1/buses/default/events/1/explain?after=plays"),
        none("explainEvent", "/v1/buses/default/events/1/explain?rule=none"),
        none("explainEvent", "/v1/buses/default/events/999/explain"),
        ask("explainEvent", "/v1/buses/default/events/1/explain?rule=plays&after=plays", "", b"", 400),
        ask("deployFunction", "/v1/functions/spare", wasm, &component, 201),
        ask("deployFunction", "/v1/functions/spare", wasm, &other, 200),
        ask("deployFunction", "/v1/functions/spare", wasm, b"no", 400),
        get("listFunctions", "/v1/functions"),
        get("getFunction", "/v1/functions/play"),
        none("getFunction", "/v1/functions/none"),
        ask("invokeFunction", "/v1/functions/play/invoke", EVENT, &event("t1", &json!({"do": "log said\ncount n\nemit other"})), 200),
        ask("invokeFunction", "/v1/functions/play/invoke?bus=default", EVENT, &event("t2", &json!({"do": "trap now"})), 200),
        ask("invokeFunction", "/v1/functions/none/invoke", EVENT, &event("t1", &json!({})), 404),
        ask("invokeFunction", "/v1/functions/play/invoke", many, &batch, 415),
        ask("stageComponent", &staged, wasm, &component, 204),
        ask("stageComponent", &staged, wasm, &other, 400),
        ask("removeFunction", "/v1/functions/play", "", b"", 409),
        ask("removeFunction", "/v1/functions/spare", "", b"", 204),
        none("removeFunction", "/v1/functions/spare"),
        get("getManifest", "/v1/manifest"),
        ask("applyManifest", "/v1/manifest?dry_run=true", yaml, b"version: 1\nbuses: { b: {} }\n", 200),
        ask("applyManifest", "/v1/manifest?dry_run=true", json, &enveloped, 200),
        ask("applyManifest", "/v1/manifest", json, &enveloped, 400),
        ask("applyManifest", "/v1/manifest?dry_run=true", yaml, b"version: 2\n", 400),
        ask("applyManifest", "/v1/manifest?dry_run", yaml, b"version: 1\nfunctions: { f: {} }\n", 400),
        get("listRules", "/v1/rules"),
        ask("testRule", "/v1/rules/test", json, trial, 200),
        ask("testRule", "/v1/rules/test", json, untried, 200),
        ask("testRule", "/v1/rules/test", json, unread, 400),
        ask("testRule", "/v1/rules/test", json, input, 200),
        ask("testRule", "/v1/rules/test", json, uninput, 400),
        ask("testRule", "/v1/rules/test", json, br#"{"match":{"a":[1]},"event":[]}"#, 400),
        get("listSubscriptions", "/v1/subscriptions"),
        get("listDeliveries", "/v1/deliveries"),
        get("listDeliveries", "/v1/deliveries?stage=succeeded&limit=1"),
        get("listDeliveries", "/v1/deliveries?stage=dead&subscription=plays/play&after=1-1"),
        none("listDeliveries", "/v1/deliveries?subscription=no"),
        get("listDeliveries", &format!("/v1/deliveries?function=play&rule=plays&since={now}")),
        get("listDeliveries", "/v1/deliveries?stage=dead&output"),
        get("listDeliveries", "/v1/deliveries?position=1&bus=default"),
        get("listDeliveries", "/v1/deliveries?last=9&output=true"),
        none("listDeliveries", "/v1/deliveries?position=1&bus=none"),
        none("listDeliveries", "/v1/deliveries?function=none"),
        ask("listDeliveries", "/v1/deliveries?last=9&after=1-1", "", b"", 400),
        get("getDelivery", "/v1/deliveries/1-1"),
        get("getDelivery", "/v1/deliveries/1-3"),
        get("getDelivery", "/v1/deliveries/1-4"),
        none("getDelivery", "/v1/deliveries/1-999"),
        get("listDeadLetters", "/v1/dead-letters?limit=1"),
        get("listDeadLetters", &format!("/v1/dead-letters?rule=plays&function=play&since={now}")),
        get("getDeadLetter", "/v1/dead-letters/1-3"),
        none("getDeadLetter", "/v1/dead-letters/1-1"),
        get("live", "/livez"),
        get("ready", "/readyz?verbose"),
        get("version", "/version"),
        get("metrics", "/metrics?collect=all"),
        get("openapi", "/openapi.json"),
    ]
}

/// Requests about dead letters and jobs, after the others: they change what is there.
#[rustfmt::skip]
fn asks_of_jobs() -> Vec<Ask> {
    let json = "application/json";
    let get = |id, path: &str| ask(id, path, "", b"", 200);
    let none = |id, path: &str| ask(id, path, "", b"", 404);
    vec![
        get("listDeadLetters", "/v1/dead-letters?reason=rejected&type=t&until=2026-01-01T00:00:00Z"),
        get("listDeadLetters", "/v1/dead-letters?last=3&match=%7B%22type%22%3A%5B%22none%22%5D%7D"),
        get("listDeadLetters", "/v1/dead-letters?whole"),
        ask("listDeadLetters", "/v1/dead-letters?match=%7B", "", b"", 400),
        ask("redriveDeadLetters", "/v1/dead-letters/redrive?dry_run=true", json, br#"{"all":true}"#, 200),
        ask("redriveDeadLetters", "/v1/dead-letters/redrive", json, b"{}", 400),
        ask("redriveDeadLetters", "/v1/dead-letters/redrive", json, br#"{"match":{"data":1}}"#, 400),
        ask("redriveDeadLetters", "/v1/dead-letters/redrive", json, br#"{"all":true,"rate":1}"#, 202),
        ask("purgeDeadLetters", "/v1/dead-letters/purge", json, br#"{"rule":"none"}"#, 404),
        ask("purgeDeadLetters", "/v1/dead-letters/purge?dry_run", json, br#"{"ids":["1-3"]}"#, 200),
        ask("purgeDeadLetters", "/v1/dead-letters/purge", json, br#"{"ids":["1-999"]}"#, 202),
        get("listJobs", "/v1/jobs?limit=1"),
        get("listJobs", "/v1/jobs?after=2"),
        ask("listJobs", "/v1/jobs?after=x", "", b"", 400),
        // It does one a second, so that it still runs.
        ask("changeJob", "/v1/jobs/1", json, br#"{"state":"paused","rate":5}"#, 200),
        ask("changeJob", "/v1/jobs/1", json, br#"{"state":"cancelled"}"#, 200),
        ask("changeJob", "/v1/jobs/1", json, br#"{"state":"running"}"#, 409),
        ask("changeJob", "/v1/jobs/1", json, br#"{"state":"done"}"#, 400),
        ask("changeJob", "/v1/jobs/99", json, br#"{"rate":0}"#, 404),
        get("getJob", "/v1/jobs/1"),
        none("getJob", "/v1/jobs/99"),
        ask("getJob", "/v1/jobs/x", "", b"", 400),
        ask("startReplay", "/v1/replays?dry_run=true", json, br#"{"from":1}"#, 200),
        ask("startReplay", "/v1/replays", json, br#"{"from":0}"#, 409),
        ask("startReplay", "/v1/replays", json, br#"{"bus":"none"}"#, 404),
        ask("startReplay", "/v1/replays", json, br#"{"speed":1}"#, 400),
        ask("startReplay", "/v1/replays", json, br#"{"match":{"data":1}}"#, 400),
        ask("startReplay", "/v1/replays", json, br#"{"type":"none"}"#, 202),
        ask("startErasure", "/v1/erasures?dry_run=true", json, br#"{"subject":"none"}"#, 200),
        ask("startErasure", "/v1/erasures", json, br#"{}"#, 400),
        ask("startErasure", "/v1/erasures", json, br#"{"subject":"a","bus":"none"}"#, 404),
        ask("startErasure", "/v1/erasures", json, br#"{"match":{"data":1}}"#, 400),
        ask("startErasure", "/v1/erasures", json, br#"{"subject":"none"}"#, 202),
        ask("startShadow", "/v1/replays/shadow", json, br#"{"type":"none"}"#, 202),
        ask("startShadow", "/v1/replays/shadow", json, br#"{"from":0}"#, 409),
        ask("startShadow", "/v1/replays/shadow", json, br#"{"function":"none"}"#, 404),
        ask("startShadow", "/v1/replays/shadow", json, br#"{"limit":0}"#, 400),
        ask("startShadow", "/v1/replays/shadow", json, br#"{"match":{"data":1}}"#, 400),
        ask("seekSubscription", "/v1/subscriptions/1/seek?dry_run", json, br#"{"to_start":true}"#, 200),
        ask("seekSubscription", "/v1/subscriptions/none/seek", json, br#"{"to_end":true}"#, 404),
        ask("seekSubscription", "/v1/subscriptions/1/seek", json, b"{}", 400),
        ask("seekSubscription", "/v1/subscriptions/1/seek", json, br#"{"to_position":0}"#, 409),
    ]
}

/// The concrete path of each operation, for requests that are to be refused.
fn places(description: &Description) -> BTreeMap<String, String> {
    let mut places: BTreeMap<String, String> = asks()
        .into_iter()
        .chain(asks_of_jobs())
        .map(|ask| {
            (
                ask.id.to_owned(),
                ask.path.split('?').next().unwrap().to_owned(),
            )
        })
        .collect();
    places.insert(
        "streamEvents".into(),
        "/v1/buses/default/events/stream".into(),
    );
    places.insert("streamAttempts".into(), "/v1/deliveries/stream".into());
    let described: BTreeSet<&str> = description
        .operations()
        .iter()
        .map(|(_, _, operation)| operation["operationId"].as_str().unwrap())
        .collect();
    let shown: BTreeSet<&str> = places.keys().map(String::as_str).collect();
    assert_eq!(
        shown, described,
        "each operation is shown at work here, and no other"
    );
    places
}

/// An address that a request can be sent to, with the operation's method.
fn send(server: &Server, method: &str, path: &str, media_type: &str, body: &[u8]) -> Answer {
    let headers = [("content-type", media_type)];
    let headers = if media_type.is_empty() {
        &headers[..0]
    } else {
        &headers[..]
    };
    server.request(&method.to_uppercase(), path, headers, body)
}

#[test]
fn every_route_answers_as_it_is_described() {
    let (_home, server) = lively();
    let description = Description::of(&server);
    places(&description);
    for ask in asks().into_iter().chain(asks_of_jobs()) {
        let mut all = description.operations().into_iter();
        let (method, ..) = all
            .find(|(_, _, own)| own["operationId"] == ask.id)
            .unwrap();
        let answer = send(&server, method, &ask.path, ask.media_type, &ask.body);
        assert_eq!(
            answer.status,
            ask.status,
            "{} {}: {}",
            ask.id,
            ask.path,
            answer.text()
        );
        description.holds(ask.id, &answer);
    }
    let (manifest, headers) = (
        b"version: 1\n",
        [("content-type", "application/yaml"), ("if-match", "\"9\"")],
    );
    let changed = server
        .request("PUT", "/v1/manifest", &headers, manifest)
        .expect(412);
    description.holds("applyManifest", &changed);
    assert_eq!(changed.json()["code"], "EB0315");
    let dead = server.get("/v1/dead-letters/1-3").json();
    assert_eq!(dead["reason_code"], "EB0412", "{dead}");
    assert_eq!(dead["attempts"][0]["code"], "EB0412", "{dead}");
}

/// The data of the next server-sent event.
fn next_data(lines: &mut impl Iterator<Item = String>) -> Value {
    let mut data = lines
        .find_map(|line| line.strip_prefix("data: ").map(str::to_owned))
        .unwrap();
    for line in lines {
        match line.strip_prefix("data: ") {
            Some(more) => data.push_str(more),
            None => break,
        }
    }
    serde_json::from_str(&data).unwrap()
}

#[test]
fn what_streams_send_is_as_described() {
    let (_home, server) = lively();
    let description = Description::of(&server);
    let data = |id: &str| {
        description.operation(id)["responses"]["200"]["content"]["text/event-stream"]["x-sse-data"]
            .clone()
    };
    let stream = |path: &str| Connection::open(server.address).unwrap().lines(path, "");
    let mut log = stream("/v1/buses/default/events/stream?after=0");
    description.fits(&data("streamEvents"), &next_data(&mut log), "streamEvents");
    let mut live = stream("/v1/deliveries/stream?every=1&function=play&rule=plays&output");
    for (id, script) in [("s1", "ok"), ("s2", "trap now"), ("s3", "reject no")] {
        server
            .post("/v1/events", EVENT, &event(id, &json!({"do": script})))
            .expect(202);
    }
    // One that succeeds, one that fails twice, one that is rejected.
    let mut codes = BTreeSet::new();
    for _ in 0..4 {
        let told = next_data(&mut live);
        description.fits(&data("streamAttempts"), &told, "streamAttempts");
        codes.extend(told["code"].as_str().map(str::to_owned));
        codes.extend(told["reason_code"].as_str().map(str::to_owned));
    }
    assert_eq!(
        codes.into_iter().collect::<Vec<_>>(),
        ["EB0412", "EB0413", "EB0421"]
    );
}

#[test]
fn a_route_takes_what_is_described_and_nothing_else() {
    let (_home, server) = lively();
    let description = Description::of(&server);
    let places = places(&description);
    for (method, path, operation) in description.operations() {
        let id = operation["operationId"].as_str().unwrap();
        let place = &places[id];
        let none = Vec::new();
        let parameters = operation["parameters"].as_array().unwrap_or(&none);
        let queries: Vec<&Value> = parameters
            .iter()
            .filter(|own| own["in"] == "query")
            .collect();
        if id != "metrics" {
            let answer = send(
                &server,
                method,
                &format!("{place}?zz=1"),
                "application/json",
                b"{}",
            )
            .expect(400);
            description.holds(id, &answer);
            let remedy = answer.json()["errors"][0]["remedy"]
                .as_str()
                .unwrap()
                .to_owned();
            let taken: BTreeSet<&str> = match remedy.strip_prefix("there are ") {
                Some("none here") | None => BTreeSet::new(),
                Some(list) => list.split(", ").collect(),
            };
            let described: BTreeSet<&str> = queries
                .iter()
                .map(|own| own["name"].as_str().unwrap())
                .collect();
            assert_eq!(taken, described, "{method} {path}");
        }
        for query in queries {
            bounds_hold(&server, place, query);
        }
        if let Some(content) = operation["requestBody"]["content"].as_object() {
            media_types_hold(
                &server,
                method,
                place,
                content.keys().map(String::as_str).collect(),
            );
        }
    }
}

/// The bounds of a number in a query, one step beyond each.
fn bounds_hold(server: &Server, place: &str, query: &Value) {
    let name = query["name"].as_str().unwrap();
    let status = |value: u64| server.get(&format!("{place}?{name}={value}")).status;
    if let Some(most) = query["schema"]["maximum"].as_u64() {
        assert_eq!(status(most + 1), 400, "{place}: {name}");
        // A stream has no end to wait for.
        assert!(
            place.ends_with("/stream") || status(most) == 200,
            "{place}: {name}"
        );
    }
    if let Some(least) = query["schema"]["minimum"]
        .as_u64()
        .filter(|least| *least > 0)
    {
        assert_eq!(status(least - 1), 400, "{place}: {name}");
    }
}

/// The media types that a route says it takes when it gets another.
fn media_types_hold(server: &Server, method: &str, place: &str, described: BTreeSet<&str>) {
    if described.contains("*/*") {
        return;
    }
    let answer = send(server, method, place, "application/x-other", b"x").expect(415);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    let taken: BTreeSet<&str> = detail
        .strip_prefix("Content-Type must be ")
        .unwrap()
        .split(" or ")
        .collect();
    assert_eq!(taken, described, "{method} {place}");
}

#[test]
fn a_path_has_the_methods_that_are_described() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let description = Description::of(&server);
    for (path, methods) in description.0["paths"].as_object().unwrap() {
        let place = path
            .replace("{bus}", "default")
            .replace("{id}", "1-1")
            .replace(['{', '}'], "");
        let answer = http::try_request(server.address, "OPTIONS", &place, &[], b"")
            .unwrap()
            .expect(405);
        description.fits(
            &json!({"$ref": "#/components/schemas/Problem"}),
            &answer.json(),
            path,
        );
        let allowed: BTreeSet<String> = answer
            .header("allow")
            .unwrap()
            .split(',')
            .map(|method| method.trim().to_lowercase())
            .collect();
        let mut described: BTreeSet<String> =
            methods.as_object().unwrap().keys().cloned().collect();
        if described.contains("get") {
            described.insert("head".into());
        }
        assert_eq!(allowed, described, "{path}");
    }
}

#[test]
fn every_example_fits_its_own_schema() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let description = Description::of(&server);
    let mut checked = 0;
    for (method, path, operation) in description.operations() {
        let what = format!("{method} {path}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            description.fits(&parameter["schema"], &parameter["example"], &what);
            checked += 1;
        }
        let answers = operation["responses"].as_object().unwrap().values();
        let contents = answers
            .chain(operation.get("requestBody"))
            .filter_map(|own| own["content"].as_object());
        for (media_type, media) in contents.flatten() {
            for (name, example) in media["examples"].as_object().unwrap() {
                let value = match example["$ref"].as_str() {
                    Some(reference) => &description.0.pointer(&reference[1..]).unwrap()["value"],
                    None => &example["value"],
                };
                // Of this document an example can show the beginning only.
                if path != "/openapi.json" || media_type != "application/json" {
                    description.fits(
                        &media["schema"],
                        value,
                        &format!("{what} {media_type} {name}"),
                    );
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 150, "only {checked} examples");
}

#[test]
fn the_document_is_valid_openapi_and_the_golden_one() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let text = server.get("/openapi.json").expect(200).text();
    let root = crate::support::root().to_owned();
    let golden = std::fs::read_to_string(root.join("tests/formats/openapi.json")).unwrap();
    assert!(
        text == golden,
        "the server says something else than tests/formats/openapi.json"
    );
    let file = home.data().with_file_name("openapi.json");
    std::fs::write(&file, text).unwrap();
    let said = Command::new(python::with("openapi-spec-validator==0.9.0"))
        .args(["-m", "openapi_spec_validator", "--schema", "3.1.0"])
        .arg(&file)
        .output();
    let said = succeeded("openapi-spec-validator", said);
    assert!(said.contains("OK"), "{said}");
}

#[test]
fn the_reference_shows_every_route_and_its_commands_work() {
    let root = crate::support::root().to_owned();
    let text = std::fs::read_to_string(root.join("docs/http-api.md")).unwrap();
    // The demo builds the same functions; this way only one of them waits for cargo.
    guests::path("triage");
    let home = Home::new("");
    let folder = home.data();
    std::fs::create_dir(&folder).unwrap();
    let mut demo = Command::new(binary());
    demo.args(["demo", "--keep", "--listen", "127.0.0.1:0"])
        .env("TMPDIR", &folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let server = Server::start(&mut demo);
    wait_for("the demo's dead letter", || {
        !server.dead_letters().is_empty()
    });
    for (method, path, _) in Description::of(&server).operations() {
        let shown = format!("`{} {path}`", method.to_uppercase());
        assert!(
            path == "/openapi.json" || text.contains(&shown),
            "{shown} is not in docs/http-api.md"
        );
    }
    // An answer of 400 or above fails the command.
    std::fs::write(folder.join(".curlrc"), "fail-with-body\nshow-error\n").unwrap();
    let blocks: Vec<&str> = text
        .split("```sh\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .collect();
    assert!(blocks.len() > 15);
    for block in blocks {
        let said = Command::new("bash")
            .args(["-e", "-c", block])
            .current_dir(&root)
            .env("BUS", format!("http://{}", server.address))
            .env("CURL_HOME", &folder)
            .output();
        let said = succeeded(block, said);
        assert!(
            !said.is_empty() || block.contains("DELETE"),
            "{block} said nothing"
        );
    }
}
