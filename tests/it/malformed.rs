//! Malformed input on every surface: an answer below 500 or a closed connection, and a bus that goes on.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use edgebus_client::api::Stage;

use super::deliver;
use crate::support::guests;
use crate::support::http::{Answer, Connection, Silence};
use crate::support::server::{Home, PATIENCE, Server, binary, wait_for};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
const EVENT: &str = r#"{"specversion":"1.0","id":"i","source":"/t","type":"t","data":1}"#;

/// The only check: whatever was sent, no answer is a server error, and an answer is missing only if the
/// connection ended.
fn check(answer: &Result<Answer, Silence>) -> Result<(), String> {
    match answer {
        // Deployments are refused while others compile. That is not a failure.
        Ok(answer) if answer.status == 503 && answer.text().contains("problem:busy") => Ok(()),
        Ok(answer) if answer.status >= 500 => Err(format!("{}: {}", answer.status, answer.text())),
        Err(Silence::Waiting) => Err("no answer, and the connection hangs".to_owned()),
        _ => Ok(()),
    }
}

#[test]
fn the_check_would_catch_a_failure_and_a_hang() {
    let answer = |status| {
        Ok(Answer {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        })
    };
    for (answer, good) in [
        (answer(202), true),
        (answer(431), true),
        (answer(500), false),
        (answer(503), false),
        (Err(Silence::Closed), true),
        (Err(Silence::Waiting), false),
    ] {
        assert_eq!(check(&answer).is_ok(), good, "{answer:?}");
    }
}

/// Sends bytes and reads an answer. A server that waits for more gets no more, and must end the connection.
fn ask(connection: &mut Connection, bytes: &[u8]) -> Result<Answer, Silence> {
    connection.send(bytes);
    match connection.answer(Duration::from_millis(250)) {
        Err(Silence::Waiting) => {
            connection.end();
            connection.answer(PATIENCE)
        }
        answer => answer,
    }
}

/// Sends what is no good request and wants a refusal, or the end of the connection.
fn refused(server: &Server, what: &str, bytes: &[u8], statuses: RangeInclusive<u16>) {
    let mut connection = Connection::open(server.address).unwrap();
    let answer = ask(&mut connection, bytes);
    check(&answer).unwrap_or_else(|reason| panic!("{what}: {reason}"));
    if let Ok(answer) = answer {
        assert!(
            statuses.contains(&answer.status),
            "{what}: {} {}",
            answer.status,
            answer.text()
        );
    }
}

/// A request with a body that fits its length; an answer must come.
fn refused_body(server: &Server, route: &str, headers: &[(&str, &str)], body: &[u8]) {
    let (method, path) = route.split_once(' ').unwrap();
    let answer = server.request(method, path, headers, body);
    let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
    assert!(
        (400..500).contains(&answer.status),
        "{route} {headers:?} {shown}: {} {}",
        answer.status,
        answer.text()
    );
}

/// The bus publishes, delivers and has nothing corrupt.
fn still_works(home: &Home, server: Server) {
    let function = [("content-type", "application/wasm")];
    let component = guests::component("hostile");
    let put = server.request("PUT", "/v1/functions/play", &function, &component);
    assert!(put.status < 300, "{}", put.text());
    let manifest = std::fs::read(home.manifest()).unwrap();
    server
        .request(
            "PUT",
            "/v1/manifest",
            &[("content-type", "application/yaml")],
            &manifest,
        )
        .expect(200);
    let position = deliver::play(&server, "afterwards", "ok");
    let mine = |stage: Stage| {
        let rows = server.deliveries(stage);
        rows.iter().any(|row| row.position == position)
    };
    wait_for("a delivery afterwards", || mine(Stage::Succeeded));
    server.get("/readyz").expect(200);
    server.settle();
    assert!(server.stop().success());
    let fsck = std::process::Command::new(binary())
        .arg("fsck")
        .arg("--data")
        .arg(home.data())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&fsck.stdout);
    assert!(said.contains(" 0 corrupt"), "{said}");
}

fn home() -> Home {
    Home::new(&deliver::manifest("timeout: 5s", "attempts: 1"))
}

fn nested(open: &str, inner: &str, close: &str, depth: usize) -> String {
    format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
}

fn bad_json() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        "",
        "{",
        "[",
        "null",
        "1",
        "\"",
        "{}}",
        "{\"a\":}",
        "{\"specversion\":\"1.0\"}",
        "\u{feff}{}",
        "nul\0",
        r#"{"specversion":"1.0","id":"i","source":"/t","type":"t","type":"u"}"#,
        r#"{"specversion":"1.0","id":"i","source":"/t","type":"t","data":1,"data":2}"#,
        r#"{"specversion":"1.0","id":"i","source":"/t","type":"t","data":1,"data_base64":"AA=="}"#,
        r#"{"specversion":"1.0","id":"i","source":"/t","type":"t","data_base64":"*"}"#,
        r#"{"specversion":"0.3","id":"i","source":"/t","type":"t"}"#,
        r#"{"specversion":"1.0","id":"","source":"/t","type":"t"}"#,
        r#"{"specversion":"1.0","id":7,"source":"/t","type":"t"}"#,
        r#"{"specversion":"1.0","id":"i","source":"/t","type":"t","Upper":"x"}"#,
        r#"{"specversion":"1.0","id":"i","source":"/t","type":"t","time":"yesterday"}"#,
        r#"{"specversion":"1.0","id":"i","source":"/t","type":"t","x":{"a":1}}"#,
        r#"{"specversion":"1.0","id":"\ud800","source":"/t","type":"t"}"#,
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    all.push(
        b"{\"specversion\":\"1.0\",\"id\":\"\xff\xfe\",\"source\":\"/t\",\"type\":\"t\"}".to_vec(),
    );
    all.push(nested("[", "", "]", 100_000).into_bytes());
    all.push(nested("{\"a\":", "1", "}", 100_000).into_bytes());
    all
}

#[test]
fn bodies_that_can_not_be_read_are_refused() {
    let home = home();
    let server = home.serve();
    for body in bad_json() {
        refused_body(
            &server,
            "POST /v1/events",
            &[("content-type", STRUCTURED)],
            &body,
        );
        refused_body(
            &server,
            "POST /v1/rules/test",
            &[("content-type", "application/json")],
            &body,
        );
        if body != b"[]" {
            refused_body(
                &server,
                "POST /v1/events",
                &[("content-type", BATCH)],
                &body,
            );
        }
        let batch = [b"[".as_slice(), EVENT.as_bytes(), b",", &body, b"]"].concat();
        refused_body(
            &server,
            "POST /v1/buses/default/events",
            &[("content-type", BATCH)],
            &batch,
        );
        refused_body(
            &server,
            "PUT /v1/functions/f",
            &[("content-type", "application/wasm")],
            &body,
        );
    }
    let deep = format!(
        r#"{{"event":{{"type":"t","data":{}}},"match":{{"type":["t"]}},"where":"$.a"}}"#,
        nested("[", "", "]", 5_000)
    );
    refused_body(
        &server,
        "POST /v1/rules/test",
        &[("content-type", "application/json")],
        deep.as_bytes(),
    );
    still_works(&home, server);
}

#[test]
fn manifests_that_can_not_be_read_are_refused() {
    let home = home();
    let server = home.serve();
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
        + &(b'b'..=b'j')
            .map(|name| {
                format!(
                    "{}: &{} [{}]\n",
                    name as char,
                    name as char,
                    vec![format!("*{}", (name - 1) as char); 9].join(",")
                )
            })
            .collect::<String>();
    let texts = [
        "".to_owned(),
        "\0".to_owned(),
        "version: 2\n".to_owned(),
        "version: 1\nversion: 1\n".to_owned(),
        "version: 1\nrules: {r: {to: [{function: none}]}}\n".to_owned(),
        "version: 1\nrules: {r: {match: {a: [{prefx: b}]}, to: []}}\n".to_owned(),
        "version: 1\nfunctions: {f: {component: 7}}\n".to_owned(),
        "version: 1\nfunctions: {f: {component: nowhere.wasm}}\n".to_owned(),
        "version: 1\n\tx: 1\n".to_owned(),
        "version: 1\nx: [\n".to_owned(),
        "- 1\n".to_owned(),
        "*a\n".to_owned(),
        nested("[", "", "]", 100_000),
        nested("{a: ", "1", "}", 50_000),
        "- ".repeat(100_000),
        bomb,
    ];
    for text in &texts {
        for path in ["PUT /v1/manifest", "PUT /v1/manifest?dry_run"] {
            refused_body(
                &server,
                path,
                &[("content-type", "application/yaml")],
                text.as_bytes(),
            );
        }
    }
    refused_body(
        &server,
        "PUT /v1/manifest",
        &[("content-type", "application/yaml")],
        b"version: \xff\n",
    );
    refused_body(
        &server,
        "PUT /v1/manifest",
        &[("content-type", "application/yaml")],
        &vec![b'#'; (1 << 20) + 1],
    );
    still_works(&home, server);
}

#[test]
fn attributes_in_headers_are_refused_when_wrong() {
    let home = home();
    let server = home.serve();
    let good = [
        ("ce-specversion", "1.0"),
        ("ce-id", "i"),
        ("ce-source", "/t"),
        ("ce-type", "t"),
        ("content-type", "text/plain"),
    ];
    for (name, value) in [
        ("ce-specversion", "2.0"),
        ("ce-id", ""),
        ("ce-id", "%ff"),
        ("ce-source", ""),
        ("ce-type", "%"),
        ("ce-type", "%zz"),
        ("ce-time", "now"),
        ("ce-datacontenttype", "text/plain"),
        ("ce-data", "x"),
        ("ce-", "x"),
        ("ce-under_score", "x"),
        (
            "ce-a2345678901234567890123456789012345678901234567890123456789012345",
            "x",
        ),
        ("content-encoding", "gzip"),
        ("idempotency-key", "k"),
    ] {
        let mut headers: Vec<(&str, &str)> =
            good.into_iter().filter(|(own, _)| *own != name).collect();
        headers.push((name, value));
        refused_body(&server, "POST /v1/events", &headers, b"x");
    }
    for missing in 0..4 {
        let mut headers = good.to_vec();
        headers.remove(missing);
        refused_body(&server, "POST /v1/events", &headers, b"x");
    }
    let mut twice = good.to_vec();
    twice.push(good[1]);
    refused_body(&server, "POST /v1/events", &twice, b"x");
    for kind in [
        "application/cloudevents+xml",
        "application/cloudevents-batch+avro",
        "application/cloudevents",
    ] {
        refused_body(
            &server,
            "POST /v1/events",
            &[("content-type", kind)],
            b"\xff",
        );
    }
    for route in [
        "PUT /v1/manifest",
        "PUT /v1/functions/f",
        "POST /v1/rules/test",
    ] {
        for kind in ["", "text/html", ";", "application/wasmm", "\u{e9}"] {
            refused_body(&server, route, &[("content-type", kind)], EVENT.as_bytes());
        }
    }
    still_works(&home, server);
}

#[test]
fn paths_queries_and_methods_are_refused_when_wrong() {
    let home = home();
    let server = home.serve();
    let paths = [
        "/",
        "//",
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v1/events/1",
        "/v1/buses//events",
        "/v1/buses/%ff/events",
        "/v1/buses/a%2Fb/events",
        "/v1/buses/../events",
        "/v1/buses/default/events/x",
        "/v1/buses/default/events/-1",
        "/v1/buses/default/events/+1",
        "/v1/buses/default/events/18446744073709551615",
        "/v1/buses/default/events/18446744073709551616",
        "/v1/buses/default/events/%00",
        "/v1/functions/.",
        "/v1/functions/%20",
        "/v1/functions/none",
        "/v1/deliveries/1",
        "/v1/deliveries/1-",
        "/v1/deliveries/-1-1",
        "/v1/deliveries/4294967295-18446744073709551615-r4294967295",
        "/v1/deliveries/4294967296-1",
        "/v1/dead-letters/x",
        "/v1/dead-letters/1-1",
        "/v1/buses/default/events?after=-1",
        "/v1/buses/default/events?after=18446744073709551616",
        "/v1/buses/default/events?limit=0",
        "/v1/buses/default/events?limit=1001",
        "/v1/buses/default/events?limit=%",
        "/v1/buses/default/events?type=%ff",
        "/v1/buses/default/events?x=1",
        "/v1/buses/default/events?limit=1&limit=1",
        "/v1/buses/default/events/1?x",
        "/v1/buses/default/events/stream?after=x",
        "/v1/deliveries/stream?after=1",
        "/v1/deliveries?after=x",
        "/v1/deliveries?stage=",
        "/v1/deliveries?subscription=none",
        "/v1/dead-letters?after=1-x",
        "/v1/functions?limit=1",
        "/v1/manifest?dry_run=true",
        "/v1/rules?x",
        "/v1/subscriptions?x",
        "/livez?x",
        "/readyz?verbose=perhaps",
        "/version?x",
    ];
    for path in paths {
        refused_body(&server, &format!("GET {path}"), &[], b"");
    }
    // The ends of what is allowed.
    for path in [
        "/v1/buses/default/events?after=18446744073709551615&limit=1000",
        "/v1/deliveries?after=4294967295-18446744073709551615",
        "/v1/dead-letters?after=4294967295-18446744073709551615-r4294967295",
    ] {
        let answer = server.get(path);
        assert!(answer.status < 500, "{path}: {}", answer.text());
    }
    for path in [
        "/v1/events",
        "/v1/buses/default/events",
        "/v1/functions/f",
        "/v1/manifest",
        "/v1/rules",
        "/v1/deliveries",
        "/livez",
        "/metrics",
    ] {
        for method in ["PATCH", "OPTIONS", "TRACE", "BREW", "get"] {
            refused_body(&server, &format!("{method} {path}"), &[], b"");
        }
    }
    refused_body(
        &server,
        "POST /v1/events?x=1",
        &[("content-type", STRUCTURED)],
        EVENT.as_bytes(),
    );
    refused_body(
        &server,
        "PUT /v1/manifest?dry_run=perhaps",
        &[("content-type", "application/yaml")],
        b"version: 1\n",
    );
    refused_body(&server, "DELETE /v1/functions/none", &[], b"");
    still_works(&home, server);
}

#[test]
fn what_is_no_request_is_refused_or_cut_off() {
    let home = home();
    let server = home.serve();
    let post = |headers: &str, body: &str| {
        format!("POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: {STRUCTURED}\r\n{headers}\r\n{body}").into_bytes()
    };
    let many: String = (0..70).map(|number| format!("x-{number}: y\r\n")).collect();
    let very_many: String = (0..5_000)
        .map(|number| format!("x-{number}: y\r\n"))
        .collect();
    let table: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("noise", (0..4_096_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("line ends only", b"\r\n".repeat(1_000)),
        ("zeros", vec![0; 70_000]),
        ("HTTP/2 without frames", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage that is no frame at all".to_vec()),
        ("a version that isn't", b"GET / HTTP/9.9\r\n\r\n".to_vec()),
        ("a space in a name", post("a b: c\r\n", EVENT)),
        ("a length that is no number", post("content-length: x\r\n", EVENT)),
        ("a negative length", post("content-length: -1\r\n", EVENT)),
        ("two lengths", post("content-length: 1\r\ncontent-length: 2\r\n", EVENT)),
        ("a length past every number", post("content-length: 99999999999999999999999\r\n", EVENT)),
        ("the largest length", post("content-length: 18446744073709551614\r\n", EVENT)),
        ("a length that is too long", post("content-length: 4000\r\n", EVENT)),
        ("length and chunks", post("content-length: 3\r\ntransfer-encoding: chunked\r\n", "zz\r\n")),
        ("chunks that are none", post("transfer-encoding: chunked\r\n", "zz\r\nxx\r\n")),
        ("a chunk past every number", post("transfer-encoding: chunked\r\n", "fffffffffffffffff\r\nx")),
        ("a chunk that ends early", post("transfer-encoding: chunked\r\n", "40\r\n{}")),
        ("endless chunk extensions", post("transfer-encoding: chunked\r\n", &format!("1;{}\r\n", "x".repeat(100_000)))),
        ("another transfer encoding", post("transfer-encoding: gzip\r\n", EVENT)),
        ("many headers", post(&many, EVENT)),
        ("very many headers", post(&very_many, EVENT)),
        ("a huge header", post(&format!("x: {}\r\n", "y".repeat(100_000)), EVENT)),
        ("a huge path", format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(100_000)).into_bytes()),
        ("header bytes past ASCII", b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\nce-id: \xff\xfe\r\nce-type: t\r\ncontent-length: 0\r\n\r\n".to_vec()),
    ];
    for (what, bytes) in table {
        refused(&server, what, &bytes, 400..=499);
    }
    still_works(&home, server);
}

/// Steele, Lea and Flood's generator: small, and the same everywhere.
struct Splitmix(u64);

impl Splitmix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let from = self.below(length + 1);
        let to = from + self.below((length - from + 1).min(64));
        from..to
    }
}

/// A request that is right: head without its length, and body.
fn valid(random: &mut Splitmix, number: u64) -> (String, Vec<u8>) {
    let event = format!(
        r#"{{"specversion":"1.0","id":"m{number}","source":"/m","type":"play","subject":"é","data":{{"do":"ok"}}}}"#
    );
    let head =
        |line: &str, headers: &str| format!("{line} HTTP/1.1\r\nhost: localhost\r\n{headers}");
    let structured = format!("content-type: {STRUCTURED}\r\n");
    let yaml = "content-type: application/yaml\r\n";
    match random.below(9) {
        0 => (head("POST /v1/events", &structured), event.into_bytes()),
        1 => (head("POST /v1/buses/default/events", &format!("content-type: {BATCH}\r\n")), format!("[{event},{event}]").into_bytes()),
        2 => {
            let binary = format!("ce-specversion: 1.0\r\nce-id: b{number}\r\nce-source: /m\r\nce-type: play\r\nce-time: 2026-11-21T08:00:00Z\r\nce-subject: caf%C3%A9\r\ncontent-type: application/json\r\n");
            (head("POST /v1/events", &binary), br#"{"do":"ok"}"#.to_vec())
        }
        3 => (head("PUT /v1/manifest?dry_run=true", yaml), b"version: 1\nrules:\n  r:\n    match: { type: [a, { prefix: b }], data: { n: [{ numeric: ['>', 1] }] } }\n    where: $.data.list[?@.name == 'x']\n    to: [{ function: play, retry: { attempts: 2 } }]\n".to_vec()),
        4 => (head("POST /v1/rules/test", "content-type: application/json\r\n"), br#"{"match":{"type":[{"wildcard":"a*b"}],"data":{"n":[{"numeric":[">",1]}]}},"where":["$.data.list[?@ == 2]"],"event":{"type":"ab","data":{"n":2,"list":[1,2]}}}"#.to_vec()),
        5 => (head("PUT /v1/functions/mutant", "content-type: application/wasm\r\n"), b"\0asm\x0d\0\x01\0\x00\x04\x03abc\x07\x05\x01\x40\x00\x01\x00".to_vec()),
        6 => (head("GET /v1/buses/default/events?after=1&limit=3&type=play", ""), Vec::new()),
        7 => (head("GET /v1/deliveries?stage=succeeded&limit=2&subscription=plays/play", ""), Vec::new()),
        _ => (head("GET /v1/deliveries/1-1", ""), Vec::new()),
    }
}

fn mutate(random: &mut Splitmix, bytes: &mut Vec<u8>) {
    let range = random.range(bytes.len());
    match random.below(5) {
        0 if !bytes.is_empty() => {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        1 => drop(bytes.drain(range)),
        2 => {
            let doubled = bytes[range.clone()].to_vec();
            bytes.splice(range.start..range.start, doubled);
        }
        3 => {
            let spliced = valid(random, 0).1;
            let piece = random.range(spliced.len());
            bytes.splice(range, spliced[piece].iter().copied());
        }
        _ => {
            let noise: Vec<u8> = range
                .clone()
                .map(|_| random.next().to_be_bytes()[0])
                .collect();
            bytes.splice(range, noise);
        }
    }
}

/// Half of the inputs keep a valid frame, so that the error reaches the code behind it.
fn input(random: &mut Splitmix, number: u64) -> Vec<u8> {
    let (mut head, mut body) = valid(random, number);
    let inside = !body.is_empty() && random.below(2) == 0;
    if inside {
        for _ in 0..=random.below(3) {
            mutate(random, &mut body);
        }
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut bytes = [head.into_bytes(), body].concat();
    if !inside {
        for _ in 0..=random.below(3) {
            mutate(random, &mut bytes);
        }
    }
    bytes
}

/// Sends `count` inputs; how many were answered.
fn storm(address: SocketAddr, seed: u64, count: u64) -> u64 {
    let mut random = Splitmix(seed);
    let mut connection = None;
    let mut answered = 0;
    for number in 0..count {
        let bytes = input(&mut random, seed << 32 | number);
        let mut open: Connection = connection
            .take()
            .unwrap_or_else(|| Connection::open(address).unwrap());
        let answer = ask(&mut open, &bytes);
        answered += u64::from(answer.is_ok());
        check(&answer).unwrap_or_else(|reason| {
            panic!(
                "seed {seed}, input {number}: {reason}\n{}",
                String::from_utf8_lossy(&bytes)
            )
        });
        connection = answer.is_ok().then_some(open);
    }
    answered
}

#[test]
fn mutated_requests_never_fail_the_server() {
    let count: u64 =
        std::env::var("EDGEBUS_MALFORMED").map_or(10_000, |count| count.parse().unwrap());
    let home = home();
    let server = home.serve();
    let (threads, address) = (8, server.address);
    let answered: u64 = std::thread::scope(|scope| {
        let storms: Vec<_> = (1..=threads)
            .map(|seed| scope.spawn(move || storm(address, seed, count / threads)))
            .collect();
        storms.into_iter().map(|storm| storm.join().unwrap()).sum()
    });
    assert!(
        answered > count / 2,
        "only {answered} of {count} were answered: the test looks at too little"
    );
    still_works(&home, server);
}
