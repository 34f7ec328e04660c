//! What both sides rely on: bytes that go in and out unchanged, and readers that are older than the bus.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;

/// Reads `json` and writes the same again.
fn same<T: Serialize + DeserializeOwned>(json: &str) -> T {
    let read: T = serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
    assert_eq!(serde_json::to_string(&read).unwrap(), json);
    read
}

#[test]
fn an_event_keeps_its_data_and_its_extensions() {
    for json in [
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#,
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"a","time":"2026-11-21T06:30:16Z","datacontenttype":"application/json","dataschema":"urn:a","n":7,"yes":true,"tenant":"acme","data":{"n": 1.00, "n":2}}"#,
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":null}"#,
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"AAE="}"#,
    ] {
        same::<Event>(json);
    }
    let event = Event::new("1", "/s", "t")
        .with_data(&[1, 2])
        .unwrap()
        .with_subject("a")
        .with_extension("tenant", Attribute::Text("acme".to_owned()));
    assert_eq!(event.read_data::<Vec<u64>>().unwrap(), [1, 2]);
    assert_eq!(
        serde_json::to_string(&event).unwrap(),
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"a","datacontenttype":"application/json","tenant":"acme","data":[1,2]}"#
    );
    assert!(serde_json::from_str::<Event>(r#"{"id":"1","source":"/s"}"#).is_err());
    let key = r#"{"id":"1","source":"/s","type":"t"}"#;
    assert_eq!(serde_json::from_str::<Event>(key).unwrap().kind, "t");
}

#[test]
fn an_older_reader_takes_a_newer_answer() {
    let json = r#"{"id":"1-2","stage":"resting","subscription":"a/b","position":2,
        "accepted_at":"2026-11-21T06:30:16.007Z","attempts_made":0,"mood":{"of":["the","day"]}}"#;
    let delivery: Delivery = serde_json::from_str(json).unwrap();
    assert_eq!(delivery.stage, Stage::Other("resting".to_owned()));
    assert_eq!(delivery.stage.to_string(), "resting");
    assert!(delivery.event.is_none() && delivery.attempts.is_none());
    assert_eq!(Stage::from("dead"), Stage::Dead);
}

#[test]
fn a_request_with_an_unknown_member_is_refused() {
    for json in [
        r#"{"event":{},"x":1}"#,
        r#"{"event":{},"where":[1]}"#,
        r#"{"match":{}}"#,
    ] {
        assert!(serde_json::from_str::<RuleTest>(json).is_err(), "{json}");
    }
    let many = format!(
        r#"{{"event":{{}},"where":[{}"$"]}}"#,
        r#""$","#.repeat(FILTERS_MAX)
    );
    assert!(serde_json::from_str::<RuleTest>(&many).is_err());
    let one: RuleTest = serde_json::from_str(r#"{"where":"$.x","event":{"n":1.0}}"#).unwrap();
    assert_eq!(one.filters.0, ["$.x"]);
    assert_eq!(one.event.get(), r#"{"n":1.0}"#);
    assert!(serde_json::from_str::<ManifestEnvelope>(r#"{"manifest":"","x":1}"#).is_err());
}

#[test]
fn rows_can_be_kept_as_they_were_sent() {
    use serde_json::value::RawValue;

    let json = r#"{"events":[{"position":1,"new":[1.0]}],"next":"1","older":null,"newest":9}"#;
    let page: EventPage<Box<RawValue>> = serde_json::from_str(json).unwrap();
    let rows = page.into_rows();
    assert_eq!(rows.rows[0].get(), r#"{"position":1,"new":[1.0]}"#);
    assert_eq!((rows.next.as_deref(), rows.older), (Some("1"), None));
    same::<EventPage>(r#"{"events":[],"next":null}"#);
    let older = r#"{"deliveries":[],"next":null,"older":"1.3-13"}"#;
    let rows = same::<DeliveryPage>(older).into_rows();
    assert_eq!(rows.older.as_deref(), Some("1.3-13"));
}

#[test]
fn each_entry_of_a_batch_is_accepted_or_refused() {
    let json = r#"{"results":[{"id":"1","position":6,"duplicate":false},{"problem":{"type":"urn:edgebus:problem:invalid","code":"EB0302","title":"The input is invalid","status":400,"detail":"/1/type: is required","errors":[{"pointer":"/1/type","reason":"is required"}]}}],"refused":1}"#;
    let answer: AcceptedEach = same(json);
    let [Settled::Accepted(accepted), Settled::Refused(refused)] = &answer.results[..] else {
        panic!("{answer:?}");
    };
    assert_eq!(accepted.position, 6);
    assert_eq!(refused.problem.kind, ProblemType::Invalid);
}

#[test]
fn a_query_has_what_is_given() {
    let query = EventQuery {
        last: Some(3),
        kind: Some("t".to_owned()),
        ..EventQuery::default()
    };
    assert_eq!(
        serde_json::to_string(&query).unwrap(),
        r#"{"last":3,"type":"t"}"#
    );
}

/// A type's schema as answers have it.
fn schema<T: schemars::JsonSchema>() -> serde_json::Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

#[test]
fn schemas_name_pages_without_their_parameter() {
    let page = schema::<EventPage>();
    assert_eq!(page["title"], "EventPage");
    assert!(page["$defs"]["StoredEvent"].is_object(), "{page:#}");
    assert_eq!(
        page["required"],
        serde_json::json!(["events", "next"]),
        "{page:#}"
    );
    assert_eq!(schema::<Stage>()["enum"], serde_json::json!(Stage::WORDS));
}
