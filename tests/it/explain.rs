//! Explaining: why rules took an event, or didn't, over HTTP and on the command line.

use serde_json::{Value, json};

use super::commands::{Said, run};
use crate::support::guests;
use crate::support::server::{Home, Server};

const EVENT: &str = r#"{"specversion":"1.0","id":"o-1","source":"/shop","type":"order","data":{"total":12000.00,"customer":"kenji"}}"#;

/// Rules of which one takes the event, three come near, and one is far.
fn manifest() -> String {
    let function = json!(guests::path("idle"));
    format!(
        "version: 1
buses: {{ audit: {{}} }}
functions: {{ idle: {{ component: {function} }} }}
rules:
  large: {{ match: {{ type: [order], data: {{ total: [{{ numeric: ['>', 100] }}] }} }}, to: [{{ function: idle }}] }}
  huge: {{ match: {{ type: [order], data: {{ total: [{{ numeric: ['>', 100000] }}] }} }}, to: [{{ function: idle }}] }}
  kenji: {{ match: {{ detail: {{ customer: [Kenji] }} }}, to: [{{ function: idle }}] }}
  listed: {{ match: {{ type: [order] }}, where: '$.data.lines', to: [{{ function: idle }}] }}
  refunds: {{ match: {{ type: [refund] }}, to: [{{ function: idle }}] }}
  elsewhere: {{ bus: audit, to: [{{ function: idle }}] }}
"
    )
}

fn told(server: &Server, arguments: &[&str]) -> Said {
    let url = format!("http://{}", server.address);
    run(&[arguments, &["--url", &url]].concat(), "")
}

/// A bus with the manifest and the event.
fn serve() -> (Home, Server) {
    let home = Home::new(&manifest());
    let server = home.serve();
    server
        .post(
            "/v1/events",
            "application/cloudevents+json",
            EVENT.as_bytes(),
        )
        .expect(202);
    (home, server)
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The rules of an answer, in order, each with whether it matched.
fn verdicts(answer: &Value) -> Vec<(String, bool)> {
    let list = answer["verdicts"].as_array().unwrap();
    list.iter()
        .map(|verdict| {
            let name = verdict["rule"].as_str().unwrap().to_owned();
            (name, verdict["matched"].as_bool().unwrap())
        })
        .collect()
}

#[test]
fn an_event_is_explained_rule_by_rule() {
    let (_home, server) = serve();
    let explain = ["events", "explain", "1"];
    let said = told(&server, &explain).succeeds();
    assert_eq!(said.err, "");
    assert!(!said.out.contains('\x1b'), "{}", said.out);
    assert_eq!(
        said.out,
        r#"Event       order  #1 on bus default, o-1 from /shop

large: matched
listed: not matched
    yes  type: wanted "order"; saw "order"
    NO   where $.data.lines: selects nothing
huge: not matched
    yes  type: wanted "order"; saw "order"
    NO   data.total: wanted a number > 100000; saw 12000.00
kenji: not matched
    NO   data.customer: wanted "Kenji"; saw "kenji"
         hint: only the letter case differs: write {"equals-ignore-case": "Kenji"}
refunds: not matched; type: wanted "refund"; saw "order"

--all shows each condition of every rule
"#
    );
    let one = told(&server, &[&explain[..], &["--rule", "refunds"]].concat()).succeeds();
    let wanted = "refunds: not matched\n    NO   type: wanted \"refund\"; saw \"order\"\n";
    assert!(one.out.ends_with(wanted), "{}", one.out);
    let all = told(&server, &[&explain[..], &["--all"]].concat()).succeeds();
    assert!(all.out.ends_with(wanted), "{}", all.out);
    assert!(
        all.out.contains("large: matched\n    yes  type"),
        "{}",
        all.out
    );
    let path = "/v1/buses/default/events/1/explain";
    let answer = server.get(path).expect(200).json();
    let json = told(&server, &[&explain[..], &["-o", "json"]].concat()).succeeds();
    assert_eq!(parsed(&json.out), answer);
    let taken = [
        ("large", true),
        ("huge", false),
        ("kenji", false),
        ("listed", false),
        ("refunds", false),
    ];
    // In the manifest's order.
    let taken = taken.map(|(name, matched)| (name.to_owned(), matched));
    assert_eq!(verdicts(&answer), taken);
    assert_eq!(answer["subscriptions"], json!(["large/idle"]));
    assert_eq!(
        (answer["next"].clone(), answer["more"].clone()),
        (json!(null), json!(0))
    );
}

#[test]
fn an_event_is_named_by_its_id() {
    let (_home, server) = serve();
    let publish = |source: &str, id: &str| {
        let event = EVENT.replace("/shop", source).replace("o-1", id);
        let kind = "application/cloudevents+json";
        server
            .post("/v1/events", kind, event.as_bytes())
            .expect(202);
    };
    for (source, id) in [("/other", "o-1"), ("/shop", "7"), ("/shop", "::1")] {
        publish(source, id);
    }
    // More than the bus looks through for the newest at once.
    let batch: Vec<String> = (0..500)
        .map(|number| {
            let event = EVENT.replace("\"order\"", "\"other\"");
            event.replace("o-1", &format!("n-{number}"))
        })
        .collect();
    let batch = format!("[{}]", batch.join(","));
    let kind = "application/cloudevents-batch+json";
    for round in 0..40 {
        let batch = batch.replace("\"n-", &format!("\"n-{round}-"));
        server
            .post("/v1/events", kind, batch.as_bytes())
            .expect(202);
    }
    for (words, position) in [
        (&["o-1", "--source", "/shop"][..], 1),
        (&["o-1", "--source", "/other"], 2),
        (&["--id", "7"], 3),
        (&["::1"], 4),
        (&["n-0-0"], 5),
        (&["n-39-499"], 20_004),
    ] {
        for command in ["explain", "get"] {
            let line = [&["events", command][..], words].concat();
            let said = told(&server, &line).succeeds();
            let place = format!("#{position} on bus default");
            assert!(said.out.contains(&place), "{line:?}: {}", said.out);
            assert_eq!(said.err, "");
        }
    }
    told(&server, &["events", "explain", "0::1"]).fails(1, &["has the id `0::1`"]);
    let several = ["#1 from /shop", "#2 from /other", "--source"];
    told(&server, &["events", "explain", "o-1"]).fails(1, &several);
    // A whole number is a position.
    let said = told(&server, &["events", "explain", "3"]).succeeds();
    assert!(
        said.out.contains("#3 on bus default, 7 from"),
        "{}",
        said.out
    );
}

#[test]
fn what_is_not_there_is_not_explained() {
    let (_home, server) = serve();
    let explain = |more: &[&str]| told(&server, &[&["events", "explain"], more].concat());
    explain(&["9"]).fails(
        1,
        &["404", "position 9", "EB0304", "if it is an id: --id 9"],
    );
    explain(&["1", "--bus", "none"]).fails(1, &["404", "no bus `none`"]);
    explain(&["1", "--rule", "none"]).fails(1, &["404", "no rule `none`"]);
    explain(&["1", "--rule", "elsewhere"]).fails(1, &["bus `audit`, not `default`"]);
    explain(&["one"]).fails(
        1,
        &["no event on bus `default` has the id `one`", "events ls"],
    );
    explain(&["o-1", "--source", "/other"]).fails(1, &["from `/other`"]);
    explain(&["o-1", "--bus", "none"]).fails(1, &["404", "no bus `none`"]);
    explain(&[]).fails(2, &["POSITION|ID"]);
    explain(&["1", "--source", "/shop"]).fails(2, &["is a position", "--id 1"]);
    explain(&["1", "--id", "o-1"]).fails(2, &["cannot be used with"]);
    let path = "/v1/buses/default/events/1/explain";
    server
        .get(&format!("{path}?rule=large&after=large"))
        .expect(400);
    // What is told for an event that went nowhere is what to type.
    let event = EVENT.replace("o-1", "o-2").replace("\"order\"", "\"odd\"");
    let event = event.replace("\"customer\"", "\"name\"");
    let kind = "application/cloudevents+json";
    server
        .post("/v1/events", kind, event.as_bytes())
        .expect(202);
    let got = told(&server, &["events", "get", "2"]).succeeds();
    let next = got.out.lines().last().unwrap();
    let (_, typed) = next.split_once("edgebus ").expect("a command to type");
    let words: Vec<&str> = typed.split(' ').collect();
    let said = told(&server, &words).succeeds();
    assert!(said.out.contains("huge: not matched"), "{}", said.out);
}

#[test]
fn rules_that_changed_since_the_event_say_so() {
    let (_home, server) = serve();
    let text = manifest().replace("'>', 100]", "'>', 50000]");
    let text = text.replace("[refund]", "[order]");
    server
        .request(
            "PUT",
            "/v1/manifest",
            &[("content-type", "application/yaml")],
            text.as_bytes(),
        )
        .expect(200);
    let said = told(&server, &["events", "explain", "1"]).succeeds();
    assert!(
        said.out
            .contains("refunds: matched\n    but the event was not delivered for it"),
        "{}",
        said.out
    );
    assert!(
        said.out
            .contains("saw 12000.00\n    but the event was delivered for it"),
        "{}",
        said.out
    );
}

#[test]
fn more_rules_than_an_answer_holds_are_explained_page_by_page() {
    let function = json!(guests::path("idle"));
    let mut text =
        format!("version: 1\nfunctions: {{ idle: {{ component: {function} }} }}\nrules:\n");
    let count = 1_003;
    for number in 0..count {
        text.push_str(&format!(
            "  r{number}: {{ match: {{ data: {{ n: [{number}] }} }}, to: [{{ function: idle }}] }}\n"
        ));
    }
    let home = Home::new(&text);
    let server = home.serve();
    let event = EVENT.replace("\"total\":12000.00", "\"n\":1001");
    let kind = "application/cloudevents+json";
    server
        .post("/v1/events", kind, event.as_bytes())
        .expect(202);
    let path = "/v1/buses/default/events/1/explain";
    let first = server.get(path).json();
    assert_eq!(first["more"], 3);
    let mut names = verdicts(&first);
    assert_eq!(names.len(), 1_000);
    let next = first["next"].as_str().unwrap();
    let rest = server.get(&format!("{path}?after={next}")).json();
    assert_eq!((&rest["more"], &rest["next"]), (&json!(0), &json!(null)));
    names.extend(verdicts(&rest));
    let json = told(&server, &["events", "explain", "1", "-o", "json"]).succeeds();
    let json = parsed(&json.out);
    assert_eq!(verdicts(&json), names);
    assert_eq!((&json["more"], &json["next"]), (&json!(0), &json!(null)));
    let matched: Vec<_> = names.iter().filter(|(_, matched)| *matched).collect();
    assert_eq!(matched, [&("r1001".to_owned(), true)]);
    let said = told(&server, &["events", "explain", "1"]).succeeds();
    assert_eq!(said.out.matches("not matched").count(), count - 1);
    assert!(said.out.contains("\n\nr1001: matched\n"), "{}", said.out);
    assert_eq!(said.err, "");
}

#[test]
fn a_rule_is_explained_on_an_event_from_a_file() {
    let (home, server) = serve();
    let file = home.data().with_file_name("event.json");
    std::fs::write(&file, EVENT).unwrap();
    let (file, manifest) = (file.to_str().unwrap(), home.manifest());
    let manifest = manifest.to_str().unwrap();
    let answer = server.get("/v1/buses/default/events/1/explain").json();
    for (name, line) in [
        ("large", "large: matched\n    yes  type"),
        ("kenji", "kenji: not matched\n    NO   data.customer"),
        ("elsewhere", "elsewhere: matched\n    yes  the rule has no"),
    ] {
        let explain = ["rules", "explain", name, "--event", file];
        // A manifest's rule needs no bus: nothing listens there.
        let offline = ["--manifest", manifest, "--url", "http://127.0.0.1:9"];
        let text = told(&server, &explain).succeeds();
        assert!(text.out.contains(line), "{}", text.out);
        assert_eq!(
            run(&[&explain[..], &offline].concat(), "").succeeds().out,
            text.out
        );
        let json = told(&server, &[&explain[..], &["-o", "json"]].concat()).succeeds();
        let known = answer["verdicts"].as_array().unwrap();
        let known = known.iter().find(|verdict| verdict["rule"] == name);
        if let Some(known) = known {
            assert_eq!(parsed(&json.out), *known);
        } else {
            assert_eq!(parsed(&json.out)["bus"], "audit");
        }
        let offline = run(&[&explain[..], &offline, &["-o", "json"]].concat(), "").succeeds();
        assert_eq!(offline.out, json.out);
    }
}

#[test]
fn a_pattern_is_explained_without_a_rule() {
    let (home, server) = serve();
    let pattern = r#"{"detail":{"total":[{"numeric":[">",20000]}]}}"#;
    let file = home.data().with_file_name("pattern.json");
    std::fs::write(&file, format!("{pattern}\n")).unwrap();
    let at_file = format!("@{}", file.display());
    let explain = ["rules", "explain", "--event", "-"];
    let typed = |more: &[&str]| run(&[&explain[..], more].concat(), EVENT).succeeds().out;
    let wanted = "Event       order  o-1 from /shop

not matched
    NO   data.total: wanted a number > 20000; saw 12000.00
    NO   where $.data.lines: selects nothing
";
    let filter = ["--where", "$.data.lines"];
    for pattern in [pattern, &at_file] {
        assert_eq!(
            typed(&[&["--match", pattern][..], &filter].concat()),
            wanted
        );
    }
    let both = typed(&["--where", "$.data.total", "--where", "$.type"]);
    assert!(both.contains("\nmatched\n"), "{both}");
    assert_eq!(both.matches("selects something").count(), 2);
    // The same as the bus says.
    let json = typed(&[&["--match", pattern, "-o", "json"][..], &filter].concat());
    let body = format!(r#"{{"match":{pattern},"where":["$.data.lines"],"event":{EVENT}}}"#);
    let answer = server
        .post("/v1/rules/test", "application/json", body.as_bytes())
        .expect(200)
        .json();
    assert_eq!(parsed(&json), answer);
}

#[test]
fn what_can_not_be_explained_is_told() {
    let (home, server) = serve();
    let manifest = home.manifest();
    let manifest = manifest.to_str().unwrap();
    let check = |arguments: &[&str], input: &str, code: i32, words: &[&str]| {
        let url = format!("http://{}", server.address);
        let line = [&["rules", "explain", "--url", &url], arguments].concat();
        run(&line, input).fails(code, words);
    };
    let event = ["--event", "-"];
    let with = |more: &[&'static str]| [&event[..], more].concat();
    check(&event, EVENT, 2, &["NAME", "--match"]);
    check(&["large"], EVENT, 2, &["--event"]);
    check(
        &with(&["large", "--match", "{}"]),
        EVENT,
        2,
        &["cannot be used with"],
    );
    check(&with(&["--where", "$["]), EVENT, 2, &["--where", "EB0303"]);
    let theirs = ["EB0303", "EventBridge's name", "write `$.data`"];
    check(&with(&["--where", "$.detail.total"]), EVENT, 2, &theirs);
    let body = format!(r#"{{"where":"$.detail.total","event":{EVENT}}}"#);
    server
        .post("/v1/rules/test", "application/json", body.as_bytes())
        .expect(400);
    let bad = with(&["--match", r#"{"type":[{"prefx":"a"}]}"#]);
    check(&bad, EVENT, 2, &["EB0303", "/type/0/prefx", "prefix"]);
    check(
        &with(&["--match", "@/nowhere"]),
        EVENT,
        2,
        &["/nowhere", "can't be read"],
    );
    check(
        &["large", "--event", "/nowhere"],
        "",
        1,
        &["EB0503", "/nowhere"],
    );
    check(
        &with(&["large"]),
        r#"{"type":"order"}"#,
        1,
        &["EB0302", "specversion"],
    );
    // Publishing refuses what repeats a key that the rule mentions.
    let twice = EVENT.replace("\"total\":", "\"total\":1,\"total\":");
    let words = ["EB0302", "a bus would refuse the event", "occurs twice"];
    check(&with(&["large"]), &twice, 1, &words);
    let kind = "application/cloudevents+json";
    server
        .post("/v1/events", kind, twice.as_bytes())
        .expect(400);
    let body = format!(r#"{{"match":{{"data":{{"total":[1]}}}},"event":{twice}}}"#);
    server
        .post("/v1/rules/test", "application/json", body.as_bytes())
        .expect(400);
    run(
        &["rules", "explain", "--event", "-", "--where", "$.data"],
        &twice,
    )
    .succeeds();
    check(
        &with(&["none"]),
        EVENT,
        1,
        &["no active rule `none`", "edgebus rules ls", "--manifest"],
    );
    let none = [&event[..], &["none", "--manifest", manifest]].concat();
    check(&none, EVENT, 1, &["no rule `none`", "it has", "refunds"]);
    let nowhere = with(&["large", "--manifest", "/nowhere"]);
    check(&nowhere, EVENT, 78, &["EB0102"]);
    server.kill();
    let gone = ["rules", "explain", "large", "--event", "-", "--url"];
    run(&[&gone[..], &["http://127.0.0.1:9"]].concat(), EVENT).fails(1, &["EB0501"]);
}

#[test]
fn a_number_that_binary64_cannot_hold_is_shown_as_it_came() {
    let (_home, server) = serve();
    let event = r#"{"specversion":"1.0","id":"beyond","source":"/shop","type":"order","data":{"total":1e400,"lines":[12345678901234567890123]}}"#;
    let answer = server.post(
        "/v1/events",
        "application/cloudevents+json",
        event.as_bytes(),
    );
    answer.expect(202);
    let said = told(&server, &["events", "explain", "beyond"]).succeeds();
    for line in ["large: matched\n", "listed: matched\n", "huge: matched\n"] {
        assert!(said.out.contains(line), "{}", said.out);
    }
    let said = told(&server, &["events", "get", "beyond"]).succeeds();
    let data = r#"{"total": 1e400, "lines": [12345678901234567890123]}"#;
    assert!(said.out.contains(data), "{}", said.out);
    assert!(
        told(&server, &["events", "ls"])
            .succeeds()
            .out
            .contains("beyond")
    );
}
