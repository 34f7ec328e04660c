//! Tables of requests and what they hold; and that no request makes the reader panic or blame itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use edgebus_model::limits::BATCH_EVENTS_MAX;
use edgebus_model::{Attribute, Data};

type Read = Result<Vec<Event>, (u16, Vec<String>)>;

fn headers(list: &[(&str, &str)]) -> HeaderMap {
    list.iter()
        .map(|(name, value)| {
            (
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            )
        })
        .fold(HeaderMap::new(), |mut all, (name, value)| {
            all.append(name, value);
            all
        })
}

fn read(headers: &HeaderMap, body: impl Into<Bytes>) -> Read {
    mode(headers)
        .and_then(|mode| decode(mode, headers, body.into()))
        .map_err(|problem| {
            let pointers = problem.errors.iter().map(|error| error.pointer.clone());
            (problem.status(), pointers.collect())
        })
}

fn structured(body: &str) -> Read {
    let headers = headers(&[("content-type", "application/cloudevents+json")]);
    read(&headers, body.to_owned())
}

fn batch(body: &str) -> Read {
    let headers = headers(&[(
        "Content-Type",
        "Application/CloudEvents-Batch+JSON; charset=UTF-8",
    )]);
    read(&headers, body.to_owned())
}

const NAMED: &str = r#""specversion":"1.0","id":"1","source":"/s","type":"t""#;

fn data_of(members: &str) -> Result<Data, (u16, Vec<String>)> {
    structured(&format!("{{{NAMED},{members}}}")).map(|mut events| events.remove(0).data)
}

fn json(text: &'static str) -> Data {
    Data::Json(Bytes::from_static(text.as_bytes()))
}

fn opaque(text: &'static str) -> Data {
    Data::Opaque(Bytes::from_static(text.as_bytes()))
}

#[test]
fn structured_data_is_what_the_format_says() {
    let check = |members, data| assert_eq!(data_of(members), Ok(data), "{members}");
    check(r#""subject":null"#, Data::Absent);
    check(r#""data":null"#, json("null"));
    check(
        r#""data": {"a" : 1.50, "a":1e400 , "b":"\ud800"} "#,
        json(r#"{"a" : 1.50, "a":1e400 , "b":"\ud800"}"#),
    );
    check(r#""data":"text""#, json(r#""text""#));
    check(
        r#""datacontenttype":"text/json","data":"text""#,
        json(r#""text""#),
    );
    check(
        r#""datacontenttype":"a/b+json; x=y","data":[1]"#,
        json("[1]"),
    );
    check(
        r#""data":"a\n<b>","datacontenttype":"text/xml""#,
        opaque("a\n<b>"),
    );
    check(
        r#""data":"plain","datacontenttype":"text/plain""#,
        opaque("plain"),
    );
    check(r#""data_base64":"AGE=""#, opaque("\0a"));
    check(
        r#""data_base64":"WzFd","datacontenttype":"application/json""#,
        json("[1]"),
    );
    check(
        r#""data_base64":"","data_base64x":"""#.split(',').next().unwrap(),
        opaque(""),
    );
    let refuse = |members: &str, pointer: &str| {
        assert_eq!(
            data_of(members),
            Err((400, vec![pointer.to_owned()])),
            "{members}"
        );
    };
    refuse(r#""data":1,"data_base64":"AA==""#, "/data_base64");
    refuse(r#""data":1,"data":2"#, "/data");
    refuse(r#""data_base64":"AA""#, "/data_base64");
    refuse(r#""data_base64":"A A=""#, "/data_base64");
    refuse(r#""data_base64":7"#, "/data_base64");
    refuse(
        r#""data_base64":"e30x","datacontenttype":"text/json""#,
        "/data_base64",
    );
    refuse(r#""data":{},"datacontenttype":"text/plain""#, "/data");
    refuse(r#""data":"\ud800","datacontenttype":"text/plain""#, "/data");
    refuse(
        &format!(r#""data":{}{}"#, "[".repeat(64), "]".repeat(64)),
        "/data",
    );
    refuse(
        &format!(r#""data":{}{}"#, "[".repeat(9000), "]".repeat(9000)),
        "/data",
    );
}

#[test]
fn structured_attributes_keep_their_values_and_order() {
    let event = structured(
        r#" {"zeta":"\u00fc","type":"t","\u0069d":"1","alpha":-7,"source":"/s","specversion":"1.0",
            "on":true,"gone":null,"time":"2026-11-21T06:30:16.5+01:00","subject":"s","dataschema":"urn:d"} "#,
    )
    .unwrap()
    .remove(0);
    assert_eq!((&*event.id, &*event.source, &*event.kind), ("1", "/s", "t"));
    assert_eq!(event.time.as_deref(), Some("2026-11-21T06:30:16.5+01:00"));
    assert_eq!(event.subject.as_deref(), Some("s"));
    assert_eq!(event.data_schema.as_deref(), Some("urn:d"));
    let extension = |name: &str, value| (name.to_owned(), value);
    assert_eq!(
        event.extensions,
        [
            extension("zeta", Attribute::Text("ü".into())),
            extension("alpha", Attribute::Integer(-7)),
            extension("on", Attribute::Boolean(true)),
        ]
    );
}

#[test]
fn structured_errors_have_their_places() {
    let check = |body: &str, pointers: &[&str]| {
        let pointers = pointers.iter().map(|&pointer| pointer.to_owned()).collect();
        assert_eq!(structured(body), Err((400, pointers)), "{body}");
    };
    for not_json in [
        "",
        "{",
        "nul",
        "[]",
        "7",
        "\"x\"",
        "{}x",
        "{\"a\":1,}",
        "{\"a\":'b'}",
    ] {
        check(not_json, &[""]);
    }
    check("{}", &["/specversion", "/id", "/source", "/type"]);
    check(
        r#"{"specversion":"1.0","id":"1","source":null,"type":"t"}"#,
        &["/source"],
    );
    check(
        r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#,
        &["/specversion"],
    );
    check(
        r#"{"specversion":1.0,"id":1,"source":"/s","type":{}}"#,
        &["/specversion", "/id", "/type"],
    );
    let with = |members: &str| format!("{{{NAMED},{members}}}");
    check(&with(r#""id":"2""#), &["/id"]);
    check(&with(r#""id":null"#), &["/id"]);
    check(&with(r#""x":"a","x":"b""#), &["/x"]);
    check(&with(r#""x":1.5"#), &["/x"]);
    check(&with(r#""x":2147483648"#), &["/x"]);
    check(&with(r#""x":[1,[2]]"#), &["/x"]);
    check(&with(r#""x":{"y":{}},"z":[]"#), &["/x", "/z"]);
    check(&with(r#""Upper":"a""#), &["/Upper"]);
    check(&with(r#""a/b~c":"a""#), &["/a~1b~0c"]);
    check(&with(r#""subject":"""#), &["/subject"]);
    check(&with(r#""subject":"a\u0000b""#), &["/subject"]);
    check(&with(r#""time":"yesterday""#), &["/time"]);
    check(
        &with(&format!(r#""subject":"{}""#, "x".repeat(2049))),
        &["/subject"],
    );
    let many: Vec<String> = (0..200).map(|n| format!("\"x{n}\":1")).collect();
    check(&with(&many.join(",")), &["/x32"]);
    let some: Vec<String> = (0..33).map(|n| format!("\"x{n}\":1")).collect();
    check(&with(&some.join(",")), &["/x32"]);
    let headers = headers(&[("content-type", "application/cloudevents+json")]);
    let bad_utf_8 = [format!("{{{NAMED},\"data\":\"").as_bytes(), b"\xff\"}"].concat();
    assert_eq!(read(&headers, bad_utf_8).unwrap_err().0, 400);
}

#[test]
fn a_batch_is_read_in_order_or_blamed_by_index() {
    assert_eq!(batch(" [] ").unwrap(), []);
    let event = format!("{{{NAMED},\"data\":[1]}}");
    let events = batch(&format!("[{event}, {event}]")).unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].data, json("[1]"));
    let invalid = format!(
        r#"[{event},{{"specversion":"1.0","id":"2","type":"t"}},7,"x",[{event}],null,true,1.5,{{{NAMED},"x":[]}}]"#
    );
    let pointers = ["/1/source", "/2", "/3", "/4", "/5", "/6", "/7", "/8/x"];
    assert_eq!(
        batch(&invalid),
        Err((400, pointers.map(str::to_owned).to_vec()))
    );
    assert_eq!(batch(&event), Err((400, vec![String::new()])));
    assert_eq!(batch(&format!("[{event}")), Err((400, vec![String::new()])));
    let full = |count| format!("[{}]", vec![event.as_str(); count].join(","));
    assert_eq!(
        batch(&full(BATCH_EVENTS_MAX)).unwrap().len(),
        BATCH_EVENTS_MAX
    );
    assert_eq!(batch(&full(BATCH_EVENTS_MAX + 1)), Err((413, vec![])));
    let many_errors = format!("[{}]", vec!["{}"; 900].join(","));
    assert_eq!(batch(&many_errors).unwrap_err().1.len(), ERRORS_MAX);
}

#[test]
fn an_event_that_is_too_large_is_told_by_its_index() {
    let event = |bytes: usize| format!("{{{NAMED},\"data\":\"{}\"}}", "x".repeat(bytes));
    let bytes_max = EVENT_BYTES_MAX - "1/st".len() - "\"\"".len();
    assert!(structured(&event(bytes_max)).is_ok());
    let over = event(bytes_max + 1);
    assert_eq!(structured(&over), Err((413, vec![String::new()])));
    let both = format!("[{},{over}]", event(1));
    assert_eq!(batch(&both), Err((413, vec!["/1".into()])));
}

#[test]
fn the_mode_follows_from_the_content_type() {
    let check = |content_type: &str, expected: Result<Mode, u16>| {
        let got = mode(&headers(&[("content-type", content_type)]));
        assert_eq!(
            got.map_err(|problem| problem.status()),
            expected,
            "{content_type}"
        );
    };
    check("application/cloudevents+json", Ok(Mode::Structured));
    check(
        " APPLICATION/CLOUDEVENTS+JSON ; charset=utf-8",
        Ok(Mode::Structured),
    );
    check("application/cloudevents-batch+json", Ok(Mode::Batch));
    check("application/json", Ok(Mode::Binary));
    check("application/x-cloudevents+json", Ok(Mode::Binary));
    for unknown in [
        "application/cloudevents",
        "application/cloudevents+avro",
        "application/cloudevents+xml",
        "application/cloudevents-batch",
        "application/cloudevents-batch+avro",
        "application/cloudeventsfoo+json",
        "application/cloudevents+json; charset=utf-16",
    ] {
        check(unknown, Err(415));
    }
    assert_eq!(mode(&HeaderMap::new()), Ok(Mode::Binary));
    let twice = headers(&[("content-type", "a/b"), ("content-type", "c/d")]);
    assert_eq!(mode(&twice).unwrap_err().status(), 400);
}

fn binary(more: &[(&str, &str)], body: &'static str) -> Read {
    let mut list = vec![
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
    ];
    list.retain(|(name, _)| {
        !more
            .iter()
            .any(|(own, value)| own == name && value.is_empty())
    });
    list.extend(more.iter().filter(|(_, value)| !value.is_empty()));
    read(&headers(&list), body)
}

#[test]
fn binary_data_is_the_body() {
    let check = |more: &[(&str, &str)], body, data| {
        assert_eq!(binary(more, body).unwrap()[0].data, data, "{more:?} {body}");
    };
    check(&[], "", Data::Absent);
    check(&[], "{", opaque("{"));
    check(
        &[],
        r#" {"n": 1, "t": "\u00fc"}"#,
        json(r#" {"n": 1, "t": "\u00fc"}"#),
    );
    check(&[], "7", json("7"));
    check(&[], "plain text", opaque("plain text"));
    check(
        &[("content-type", "application/json")],
        " [1 ,2]\n",
        json(" [1 ,2]\n"),
    );
    check(&[("content-type", "application/json")], "", Data::Absent);
    check(&[("content-type", "text/plain")], "{", opaque("{"));
    for body in ["{", "1 2", "nul"] {
        let read = binary(&[("content-type", "application/json")], body);
        assert_eq!(read, Err((400, vec!["/data".into()])), "{body}");
    }
}

#[test]
fn binary_attributes_are_unquoted_and_decoded_once() {
    let check = |value: &str, expected: Option<&str>| {
        let got = binary(&[("ce-subject", value)], "");
        match expected {
            Some(text) => assert_eq!(got.unwrap()[0].subject.as_deref(), Some(text), "{value}"),
            None => assert_eq!(got, Err((400, vec!["/subject".into()])), "{value}"),
        }
    };
    check("plain", Some("plain"));
    check("Euro%20%E2%82%AC%20%F0%9F%98%80", Some("Euro € 😀"));
    check("%2541", Some("%41"));
    check("\"a \\\"b\\\" %41\"", Some("a \"b\" A"));
    check("two words", Some("two words"));
    check("a\"b", Some("a\"b"));
    check("€", Some("€"));
    for bad in [
        "%", "%4", "%zz", "%C0%A0", "%ff", "\"open", "\"a\"b", "\"a\\", "%00", "%0A", "\"\"",
    ] {
        check(bad, None);
    }
}

#[test]
fn binary_errors_have_their_places() {
    let check = |more: &[(&str, &str)], pointers: &[&str]| {
        let pointers = pointers.iter().map(|&pointer| pointer.to_owned()).collect();
        assert_eq!(binary(more, ""), Err((400, pointers)), "{more:?}");
    };
    check(&[("ce-id", "")], &["/id"]);
    check(&[("ce-specversion", "")], &["/specversion"]);
    check(
        &[("ce-specversion", ""), ("ce-specversion", "0.3")],
        &["/specversion"],
    );
    check(&[("ce-datacontenttype", "a/b")], &["/datacontenttype"]);
    check(&[("ce-x", "a"), ("ce-x", "b")], &["/x"]);
    check(&[("ce-id", "2")], &["/id"]);
    check(&[("ce-data", "x")], &["/data"]);
    check(&[("ce-under_score", "x")], &["/under_score"]);
    check(&[("ce-time", "noon")], &["/time"]);
    let extended = binary(
        &[("ce-TraceParent", "00-a"), ("traceparent", "not ours")],
        "",
    )
    .unwrap();
    let text = Attribute::Text("00-a".into());
    assert_eq!(extended[0].extensions, [("traceparent".to_owned(), text)]);
    // What `curl -d` sends by itself.
    let bare = headers(&[("content-type", "application/x-www-form-urlencoded")]);
    let (status, pointers) = read(&bare, "{}").unwrap_err();
    assert_eq!((status, pointers.len()), (400, 4));
}

#[test]
fn names_and_forms_are_those_of_the_specification() {
    let taken = |members: &str| structured(&format!("{{{NAMED},{members}}}")).map(drop);
    let long = format!(r#""{}":"1""#, "x".repeat(64));
    for good in [
        // Debezium's, and the longest.
        r#""iodebeziumtxtotalorder":"1","iodebeziumtxdatacollectionorder":"1""#,
        &long,
        r#""dataschema":"https://example.com/s.json#x""#,
        r#""datacontenttype":"application/json; charset=utf-8""#,
    ] {
        assert_eq!(taken(good), Ok(()), "{good}");
    }
    let longer = format!(r#""{}":"1""#, "x".repeat(65));
    for (bad, pointer) in [
        (&*longer, format!("/{}", "x".repeat(64))),
        (r#""methodName":"x""#, "/methodName".to_owned()),
        (r#""dataschema":"not a uri""#, "/dataschema".to_owned()),
        (r#""dataschema":"/s""#, "/dataschema".to_owned()),
        (r#""datacontenttype":"json""#, "/datacontenttype".to_owned()),
    ] {
        assert_eq!(taken(bad), Err((400, vec![pointer])), "{bad}");
    }
    for source in ["my source", "%zz", "http://[::1"] {
        let body = format!(r#"{{"specversion":"1.0","id":"1","source":"{source}","type":"t"}}"#);
        assert_eq!(
            structured(&body),
            Err((400, vec!["/source".into()])),
            "{source}"
        );
    }
    let told = |value: &str| {
        let headers = headers(&[
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", value),
            ("ce-type", "t"),
        ]);
        let problem = decode(Mode::Binary, &headers, Bytes::new()).unwrap_err();
        problem.errors[0].remedy.clone()
    };
    assert_eq!(
        told("/a%20b"),
        "in the header ce-source, % stands for itself only as %25"
    );
    assert_eq!(told("/a|b"), "");
}

/// However an event comes, rules see the same of it.
#[test]
fn an_event_is_the_same_in_every_mode() {
    use edgebus_manifest::view::View;
    let seen = |event: &Event| {
        let view = View::new(event);
        let parts = view.parts().into_iter().map(|part| match part {
            edgebus_rules::Part::Text { name, value } => format!("{name}={value:?}"),
            edgebus_rules::Part::Raw { name, json } => {
                format!("{name}:{}", String::from_utf8_lossy(json))
            }
        });
        parts.collect::<Vec<String>>()
    };
    for (attributes, headers_of_it, data, body) in [
        (
            r#""priority":5,"on":true"#,
            &[("ce-priority", "5"), ("ce-on", "true")][..],
            r#""data":{"n":1}"#,
            r#"{"n":1}"#,
        ),
        (
            r#""n":"5""#,
            &[("ce-n", "5")],
            r#""data_base64":"eyJuIjoxfQ==""#,
            r#"{"n":1}"#,
        ),
        (
            r#""n":"-1""#,
            &[("ce-n", "-1")],
            r#""data_base64":"e24=""#,
            "{n",
        ),
        (
            r#""datacontenttype":"text/plain""#,
            &[("content-type", "text/plain")],
            r#""data":"{}""#,
            "{}",
        ),
        (
            r#""datacontenttype":"application/json""#,
            &[("content-type", "application/json")],
            r#""data_base64":"WzFd""#,
            "[1]",
        ),
    ] {
        let json = format!("{{{NAMED},{attributes},{data}}}");
        let structured = structured(&json).unwrap().remove(0);
        let batch = batch(&format!("[{json}]")).unwrap().remove(0);
        let binary = binary(headers_of_it, body).unwrap().remove(0);
        assert_eq!(seen(&structured), seen(&binary), "{json}");
        assert_eq!(seen(&structured), seen(&batch), "{json}");
        assert!(structured.says_the_same(&binary), "{json}");
    }
    let deep = "[".repeat(64) + &"]".repeat(64);
    assert_eq!(
        data_of(&format!(r#""data":{deep}"#)),
        Err((400, vec!["/data".into()]))
    );
    let typed = [("content-type", "application/json")];
    assert_eq!(
        binary(&typed, deep.leak()),
        Err((400, vec!["/data".into()]))
    );
    // Where nothing says that it is JSON, it is bytes, however deep.
    for levels in [64, 100, 200] {
        let deep = "[".repeat(levels) + &"]".repeat(levels);
        let deep: &'static str = deep.leak();
        let event = binary(&[], deep).unwrap().remove(0);
        assert_eq!(event.data, opaque(deep));
        let members = format!(r#""data_base64":"{}""#, STANDARD.encode(deep));
        assert_eq!(data_of(&members), Ok(opaque(deep)));
    }
    let repeated = r#"{"a":1,"b":{"c":1,"c":2}}"#;
    let event = binary(&[], repeated).unwrap().remove(0);
    assert_eq!(event.data, opaque(repeated));
    let event = binary(&typed, repeated).unwrap().remove(0);
    assert_eq!(event.data, json(repeated));
}

#[test]
fn a_batch_is_also_read_event_by_event() {
    let event = format!("{{{NAMED},\"data\":[1]}}");
    let invalid =
        format!(r#"[{event},{{"specversion":"1.0","id":"2"}},7,{{{NAMED},"x":[]}},{event}]"#);
    let each = decode_each(&Bytes::from(invalid)).unwrap();
    let pointers = |problem: &Problem| -> Vec<String> {
        let errors = problem.errors.iter();
        errors.map(|error| error.pointer.clone()).collect()
    };
    let found: Vec<Vec<String>> = each
        .iter()
        .map(|one| one.as_ref().map_or_else(pointers, |_| Vec::new()))
        .collect();
    let expected: [&[&str]; 5] = [&[], &["/1/source", "/1/type"], &["/2"], &["/3/x"], &[]];
    assert_eq!(found, expected);
    // What is no array has no events.
    for body in [&*event, "[", "", &format!("[{event}")] {
        assert!(
            decode_each(&Bytes::from(body.to_owned())).is_err(),
            "{body}"
        );
    }
    assert_eq!(decode_each(&Bytes::from("[]")).unwrap().len(), 0);
    let over = format!("[{}]", vec![event.as_str(); BATCH_EVENTS_MAX + 1].join(","));
    assert_eq!(decode_each(&Bytes::from(over)).unwrap_err().status(), 413);
    let many: Vec<String> = (0..200).map(|n| format!("\"X{n}\":[]")).collect();
    let body = format!("[{{{NAMED},{}}}]", many.join(","));
    let told = decode_each(&Bytes::from(body))
        .unwrap()
        .remove(0)
        .unwrap_err();
    assert_eq!(told.errors.len(), ERRORS_OF_ENTRY_MAX);
    let large = format!("[{{{NAMED},\"data\":\"{}\"}}]", "x".repeat(EVENT_BYTES_MAX));
    let told = decode_each(&Bytes::from(large))
        .unwrap()
        .remove(0)
        .unwrap_err();
    assert_eq!(
        (told.status(), told.errors[0].pointer.as_str()),
        (413, "/0")
    );
}

#[test]
fn what_is_before_and_around_json_is_told_or_passed_over() {
    let event = format!("\u{feff}{{{NAMED},\"data\":[1]}}");
    assert_eq!(structured(&event).unwrap()[0].data, json("[1]"));
    assert_eq!(batch("\u{feff}[]").unwrap(), []);
    let words = |mode: Mode, body: &str| {
        let json = headers(&[
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/s"),
            ("ce-type", "t"),
        ]);
        let problem = decode(mode, &json, Bytes::from(body.to_owned())).unwrap_err();
        let error = &problem.errors[0];
        format!("{} {}; {}", error.pointer, error.reason, error.remedy)
    };
    for (mode, body, expected) in [
        (
            Mode::Binary,
            "\u{feff}{}",
            "/data is not JSON: it begins with a byte order mark",
        ),
        (
            Mode::Structured,
            " [{}]",
            "application/cloudevents-batch+json",
        ),
        (
            Mode::Batch,
            "{}",
            "send one event as application/cloudevents+json",
        ),
    ] {
        let told = words(mode, body);
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn an_event_is_printed_as_it_was_read() {
    for members in [
        r#""subject":"s","time":"2026-11-21T06:30:16Z","b":true,"n":-7,"x":"\"ü""#,
        r#""data":{"a" : 1.50, "a":1e400 }"#,
        r#""datacontenttype":"text/xml","data":"<a b=\"c\"/>\n""#,
        r#""datacontenttype":"image/png","data_base64":"/wD+""#,
        r#""data_base64":"/wD+""#,
        r#""data":null"#,
        r#""datacontenttype":"text/plain","data_base64":"/w==""#,
    ] {
        let body = format!("{{{NAMED},{members}}}");
        let event = structured(&body).unwrap().remove(0);
        let mut out = Vec::new();
        encode(&mut out, &event);
        assert_eq!(String::from_utf8(out).unwrap(), body);
    }
}

fn words() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just(NAMED.to_owned()),
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just(",".to_owned()),
        Just("\"data\":".to_owned()),
        Just("\"data_base64\":\"AAAA\"".to_owned()),
        Just("\"datacontenttype\":\"text/plain\"".to_owned()),
        Just("\"x\":null".to_owned()),
        "\"[a-z\\\\\"%]{0,4}\":",
        "[ -~]{0,6}",
        any::<String>(),
    ];
    proptest::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_request_is_our_fault(
        content_type in prop_oneof![
            Just("application/cloudevents+json".to_owned()),
            Just("application/cloudevents-batch+json".to_owned()),
            Just("application/json".to_owned()),
            "application/[a-z+;=/ -]{0,20}",
        ],
        names in proptest::collection::vec(("ce-[a-z0-9_-]{1,8}|ce-id|ce-source|ce-type|ce-specversion", proptest::collection::vec(0x20u8..=0xff, 0..12)), 0..8),
        text in words(),
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
        as_text in any::<bool>(),
    ) {
        let mut all = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(&content_type) {
            all.insert(CONTENT_TYPE, value);
        }
        for (name, value) in names {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&value))
            {
                all.append(name, value);
            }
        }
        let body = if as_text { Bytes::from(text) } else { Bytes::from(bytes) };
        match read(&all, body) {
            Ok(events) => {
                // What was read is valid, and reads back as the same.
                for event in events {
                    prop_assert!(event.check().is_ok());
                    let mut out = Vec::new();
                    encode(&mut out, &event);
                    let again = structured(std::str::from_utf8(&out).unwrap());
                    let mut again = again.unwrap();
                    prop_assert_eq!(again.remove(0).id, event.id);
                }
            }
            Err((status, _)) => prop_assert!((400..500).contains(&status)),
        }
    }
}
