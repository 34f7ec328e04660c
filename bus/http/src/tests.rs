//! The routes over a real socket, as far as they need no working bus.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use edgebus_engine::bus::Bus;
use edgebus_engine::clock::Clock;
use edgebus_engine::pipeline::{Parts, Pipeline};
use edgebus_engine::telemetry::Telemetry;
use edgebus_model::Timestamp;
use edgebus_runtime::fake::FakeRuntime;
use edgebus_store::Store;
use edgebus_store::memory::MemoryStore;

/// A bus that has stopped: it takes no publishes, and what it reads is empty.
async fn stopped_bus() -> Bus {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let pipeline = Pipeline::start(Parts {
        catalog: store.catalog().unwrap(),
        store,
        runtime: Arc::new(FakeRuntime),
        clock: Clock::system(Timestamp(0)),
        telemetry: Telemetry::new(),
        limits: edgebus_engine::pipeline::Limits::of(64 << 30, usize::MAX),
        space: Box::new(|| u64::MAX),
        secrets: Arc::new(|_| None),
        hold: false,
    });
    let pipeline = pipeline.await.unwrap();
    pipeline.stop().await;
    Bus::new(pipeline)
}

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

async fn start(limits: Limits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let metrics: Metrics = Arc::new(|| "edgebus_up 1\n".to_owned());
    let task = tokio::spawn(serve(
        listener,
        stopped_bus().await,
        metrics,
        limits,
        async {
            let _ = stopped.await;
        },
    ));
    Server {
        address,
        stop,
        task,
    }
}

/// One request on a connection of its own: status line, headers, body.
async fn ask(
    address: SocketAddr,
    line: &str,
    headers: &[&str],
    body: &str,
) -> (u16, String, String) {
    let mut client = TcpStream::connect(address).await.unwrap();
    let mut request = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
const STRUCTURED: &str = "Content-Type: application/cloudevents+json";

/// Asks, and checks the status; every problem is a problem document that names its path.
async fn check(server: &Server, line: &str, headers: &[&str], body: &str, expected: u16) {
    let (status, head, answer) = ask(server.address, line, headers, body).await;
    assert_eq!(status, expected, "{line}: {answer}");
    if status >= 400 && !line.contains("/readyz") {
        assert!(head.contains("application/problem+json"), "{line}: {head}");
        let path = line.split([' ', '?']).nth(1).unwrap();
        let instance = format!(r#""instance":"{path}""#);
        assert!(answer.contains(&instance), "{line}: {answer}");
    }
}

#[tokio::test]
async fn a_bus_that_stopped_takes_nothing_and_still_reads() {
    let server = start(Limits::default()).await;
    let yaml = "Content-Type: text/yaml";
    let wasm = "Content-Type: application/wasm";
    for (line, headers, body, status) in [
        ("POST /v1/events", STRUCTURED, EVENT, 503),
        ("POST /v1/buses/default/events", STRUCTURED, EVENT, 503),
        ("POST /v1/buses/%64efault/events", STRUCTURED, EVENT, 503),
        (
            "GET /v1/buses/default/events?after=3&limit=5&type=t",
            "Accept: */*",
            "",
            200,
        ),
        ("GET /v1/buses/nowhere/events", "Accept: */*", "", 404),
        (
            "GET /v1/buses/default/events?last=3&match=%7B%22detail%22:%7B%22a%22:%5B1%5D%7D%7D",
            "Accept: */*",
            "",
            200,
        ),
        (
            "GET /v1/buses/nowhere/events?last=3",
            "Accept: */*",
            "",
            404,
        ),
        (
            "GET /v1/buses/default/events?since=2026-11-21T06:30:16Z&until=2026-11-21T06:30:17%2B01:00",
            "Accept: */*",
            "",
            200,
        ),
        (
            "GET /v1/deliveries?last=5&output=true",
            "Accept: */*",
            "",
            200,
        ),
        (
            "GET /v1/deliveries?position=1&bus=default",
            "Accept: */*",
            "",
            404,
        ),
        ("GET /v1/deliveries?function=a", "Accept: */*", "", 404),
        ("GET /v1/dead-letters?rule=a", "Accept: */*", "", 404),
        ("POST /v1/functions/a/invoke", STRUCTURED, EVENT, 503),
        ("GET /v1/deliveries?stage=dead", "Accept: */*", "", 200),
        ("GET /v1/dead-letters/1-2", "Accept: */*", "", 404),
        ("PUT /v1/manifest?dry_run=true", yaml, "version: 1", 200),
        ("PUT /v1/manifest", yaml, "version: 1", 503),
        ("PUT /v1/functions/a", wasm, "no script", 400),
        ("DELETE /v1/functions/a", "Accept: */*", "", 404),
    ] {
        check(&server, line, &[headers], body, status).await;
    }
}

#[tokio::test]
async fn what_needs_no_bus_is_answered() {
    let server = start(Limits::default()).await;
    check(&server, "GET /v1/functions", &[], "", 200).await;
    check(&server, "GET /v1/rules", &[], "", 200).await;
    check(&server, "GET /v1/subscriptions", &[], "", 200).await;
    check(&server, "GET /livez", &[], "", 200).await;
    check(&server, "GET /readyz?verbose", &[], "", 503).await;
    check(&server, "GET /version", &[], "", 200).await;
    check(&server, "GET /metrics", &[], "", 200).await;
    check(&server, "HEAD /metrics", &[], "", 200).await;
    check(
        &server,
        "POST /v1/rules/test",
        &["Content-Type: application/json"],
        r#"{"event":{}}"#,
        200,
    )
    .await;
}

#[tokio::test]
async fn what_is_not_there_is_told() {
    let server = start(Limits::default()).await;
    check(&server, "GET /", &[], "", 404).await;
    check(&server, "GET /v1", &[], "", 404).await;
    check(&server, "GET /v1/events/", &[], "", 404).await;
    check(&server, "GET /v1/functions/a", &[], "", 404).await;
    check(&server, "GET /v1/manifest", &[], "", 404).await;
    check(&server, "GET /v1/events", &[], "", 405).await;
    check(&server, "DELETE /v1/rules", &[], "", 405).await;
    check(&server, "POST /livez", &[], "", 405).await;
}

#[tokio::test]
async fn malformed_input_is_a_client_error() {
    let server = start(Limits::default()).await;
    check(&server, "POST /v1/events", &[STRUCTURED], "{", 400).await;
    check(&server, "POST /v1/events", &[], "", 400).await;
    check(&server, "POST /v1/events?x=1", &[STRUCTURED], EVENT, 400).await;
    check(
        &server,
        "POST /v1/events",
        &[STRUCTURED, "Idempotency-Key: k"],
        EVENT,
        400,
    )
    .await;
    check(
        &server,
        "POST /v1/buses/-bad/events",
        &[STRUCTURED],
        EVENT,
        400,
    )
    .await;
    check(
        &server,
        "POST /v1/buses/%ff/events",
        &[STRUCTURED],
        EVENT,
        400,
    )
    .await;
    check(
        &server,
        "GET /v1/buses/default/events?limit=0",
        &[],
        "",
        400,
    )
    .await;
    check(
        &server,
        "GET /v1/buses/default/events?limit=1001",
        &[],
        "",
        400,
    )
    .await;
    check(
        &server,
        "GET /v1/buses/default/events?after=-1",
        &[],
        "",
        400,
    )
    .await;
    check(
        &server,
        "GET /v1/buses/default/events?before=1",
        &[],
        "",
        400,
    )
    .await;
    check(&server, "GET /v1/buses/default/events/x", &[], "", 400).await;
    check(
        &server,
        "GET /v1/buses/default/events/stream",
        &["Last-Event-ID: x"],
        "",
        400,
    )
    .await;
    check(&server, "GET /v1/deliveries?stage=gone", &[], "", 400).await;
    check(&server, "GET /v1/deliveries/7", &[], "", 400).await;
    check(
        &server,
        "PUT /v1/functions/-",
        &["Content-Type: application/wasm"],
        "x",
        400,
    )
    .await;
    check(
        &server,
        "PUT /v1/manifest?dry_run=maybe",
        &["Content-Type: text/yaml"],
        "",
        400,
    )
    .await;
    check(
        &server,
        "POST /v1/rules/test",
        &["Content-Type: application/json"],
        "{}",
        400,
    )
    .await;
}

#[tokio::test]
async fn an_unknown_type_or_encoding_is_told() {
    let server = start(Limits::default()).await;
    check(
        &server,
        "POST /v1/events",
        &["Content-Type: application/cloudevents+avro"],
        EVENT,
        415,
    )
    .await;
    check(
        &server,
        "POST /v1/events",
        &[STRUCTURED, "Content-Encoding: gzip"],
        EVENT,
        415,
    )
    .await;
    check(
        &server,
        "PUT /v1/functions/a",
        &["Content-Type: text/plain"],
        "x",
        415,
    )
    .await;
    check(&server, "PUT /v1/manifest", &[], "version: 1", 415).await;
    check(&server, "POST /v1/rules/test", &[], "{}", 415).await;
}

#[tokio::test]
async fn a_wrong_filter_or_trial_is_a_client_error() {
    let server = start(Limits::default()).await;
    for query in [
        "buses/default/events?match=%7B",
        "buses/default/events?match=%7B%22a%22:%5B%7B%22x%22:1%7D%5D%7D",
        "buses/default/events?since=now",
        "buses/default/events?last=0",
        "buses/default/events?last=1&after=1",
        "buses/default/events/stream?match=1",
        "deliveries?position=1&stage=pending",
        "deliveries?last=1&after=1-1",
        "deliveries?bus=default",
        "deliveries?position=1&bus=-",
        "deliveries?output=2",
        "deliveries/stream?output=2",
        "dead-letters?stage=pending",
    ] {
        check(&server, &format!("GET /v1/{query}"), &[], "", 400).await;
    }
    for (path, body) in [
        ("a/invoke", "{}"),
        ("-/invoke", EVENT),
        ("a/invoke?x=1", EVENT),
    ] {
        let line = format!("POST /v1/functions/{path}");
        check(&server, &line, &[STRUCTURED], body, 400).await;
    }
}

#[tokio::test]
async fn only_so_many_functions_are_tried_at_once() {
    let server = start(Limits {
        trials_max: 0,
        ..Limits::default()
    })
    .await;
    let line = "POST /v1/functions/a/invoke";
    let (status, head, answer) = ask(server.address, line, &[STRUCTURED], EVENT).await;
    assert_eq!(status, 503);
    assert!(head.contains("retry-after:"), "{head}");
    assert!(answer.contains("are being tried"), "{answer}");
    let batch = "Content-Type: application/cloudevents-batch+json";
    check(&server, line, &[batch], "[]", 415).await;
}

#[tokio::test]
async fn only_so_many_events_are_explained_at_once() {
    let server = start(Limits {
        explanations_max: 0,
        ..Limits::default()
    })
    .await;
    let line = "GET /v1/buses/default/events/1/explain";
    let (status, head, answer) = ask(server.address, line, &[], "").await;
    assert_eq!(status, 503);
    assert!(head.contains("retry-after:"), "{head}");
    assert!(answer.contains("are being explained"), "{answer}");
    for wrong in ["?rule=a&after=b", "?rule=a&rule=b", "?x=1"] {
        check(&server, &format!("{line}{wrong}"), &[], "", 400).await;
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let server = start(Limits::default()).await;
    let (status, head, _) = ask(server.address, "PATCH /v1/functions/a", &[], "").await;
    assert_eq!(status, 405);
    let allow = head
        .lines()
        .find(|line| line.starts_with("allow:"))
        .unwrap();
    for method in ["get", "head", "put", "delete"] {
        assert!(allow.contains(method), "{allow}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_by_its_kind() {
    let limits = Limits {
        event_bytes_max: 100,
        batch_bytes_max: 200,
        headers_max: 8,
        ..Limits::default()
    };
    let server = start(limits).await;
    let body = " ".repeat(150);
    let batch = "Content-Type: application/cloudevents-batch+json";
    let post = "POST /v1/events";
    assert_eq!(ask(server.address, post, &[STRUCTURED], &body).await.0, 413);
    assert_eq!(ask(server.address, post, &[batch], &body).await.0, 400);
    assert_eq!(
        ask(server.address, post, &[batch], &" ".repeat(201))
            .await
            .0,
        413
    );
    let fields = ["A: 1", "B: 2", "C: 3", "D: 4", "E: 5", "F: 6"];
    assert_eq!(ask(server.address, "GET /livez", &fields, "").await.0, 431);
}

#[tokio::test]
async fn a_full_house_answers_for_its_health() {
    let server = start(Limits {
        connections_max: 1,
        ..Limits::default()
    })
    .await;
    let mut guest = TcpStream::connect(server.address).await.unwrap();
    guest
        .write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert!(guest.read(&mut [0; 512]).await.unwrap() > 0);
    for path in ["/livez", "/metrics", "/version"] {
        let (status, ..) = ask(server.address, &format!("GET {path}"), &[], "").await;
        assert_eq!(status, 200, "{path}");
    }
    let (status, head, _) = ask(server.address, "POST /v1/events", &[STRUCTURED], EVENT).await;
    assert_eq!(status, 503);
    assert!(
        head.contains("retry-after:") && head.contains("connection: close"),
        "{head}"
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Each case is many requests on one server: 4xx at worst, or the 503 of a bus that starts.
    #[test]
    fn malformed_input_is_never_our_fault(requests in proptest::collection::vec(request(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answers = runtime.block_on(async {
            let server = start(Limits::default()).await;
            let mut answers = Vec::new();
            for request in &requests {
                let mut client = TcpStream::connect(server.address).await.unwrap();
                let _ = client.write_all(request).await;
                client.shutdown().await.unwrap();
                let mut answer = Vec::new();
                let _ = client.read_to_end(&mut answer).await;
                answers.push(String::from_utf8_lossy(&answer).into_owned());
            }
            answers
        });
        for (request, answer) in requests.iter().zip(answers) {
            let shown = String::from_utf8_lossy(request);
            if let Some(rest) = answer.strip_prefix("HTTP/1.1 ") {
                let status: u16 = rest[..3].parse().unwrap();
                // The head of an answer has no words that would say it.
                let starting = shown.starts_with("HEAD")
                    || answer.contains("starting")
                    || answer.contains("not ready");
                proptest::prop_assert!(
                    status < 500 || status == 503 && starting,
                    "{shown:?}: {answer}"
                );
            } else {
                proptest::prop_assert!(answer.is_empty(), "{shown:?}: {answer}");
            }
        }
    }
}

fn request() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
    use proptest::prelude::*;
    let path = prop_oneof![
        "/v1/(events|rules|rules/test|functions|functions/a|manifest|deliveries|dead-letters|subscriptions)",
        "/v1/buses/[a-z%0-9.-]{0,6}/events(/[a-z0-9-]{0,4})?",
        "/(livez|readyz|version|metrics)",
        "/[!-~]{0,16}",
    ];
    let query = prop_oneof![
        Just(String::new()),
        r"\?(after|limit|type|stage|x)=[!-~]{0,6}"
    ];
    let header = prop_oneof![
        Just("Content-Type: application/cloudevents+json".to_owned()),
        Just("Content-Type: application/json".to_owned()),
        Just("Content-Type: application/wasm".to_owned()),
        "ce-[a-z]{1,6}: [ -~]{0,8}",
        "[A-Za-z-]{1,8}:[ -~]{0,8}",
        "[ -~]{0,12}",
    ];
    (
        "GET|POST|PUT|DELETE|HEAD|OPTIONS|[A-Z]{0,4}",
        path,
        query,
        proptest::collection::vec(header, 0..6),
        prop_oneof![
            Just(EVENT.as_bytes().to_vec()),
            proptest::collection::vec(any::<u8>(), 0..40)
        ],
        any::<bool>(),
    )
        .prop_map(|(method, path, query, headers, body, honest)| {
            let mut request = format!("{method} {path}{query} HTTP/1.1\r\nHost: localhost\r\n");
            for header in headers {
                request.push_str(&header);
                request.push_str("\r\n");
            }
            let length = if honest { body.len() } else { body.len() + 7 };
            request.push_str(&format!("Content-Length: {length}\r\n\r\n"));
            [request.into_bytes(), body].concat()
        })
}

#[tokio::test]
async fn http_2_is_served_on_the_same_port() {
    use http_body_util::{BodyExt as _, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let server = start(Limits::default()).await;
    let socket = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    for (host, path, status) in [
        ("localhost", "/metrics", 200),
        ("evil.example", "/metrics", 403),
        ("localhost", "/v1/nothing", 404),
        ("localhost", "/version", 200),
    ] {
        let request = Request::get(format!("http://{host}{path}"))
            .body(Full::new(bytes::Bytes::new()))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert!(!response.collect().await.unwrap().to_bytes().is_empty());
    }
    // A stop ends the connection in order, without the client's doing.
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_page_ends_by_rows_or_by_bytes_and_says_where_to_go_on() {
    use edgebus_engine::bus::Page;

    let check =
        async |rows: usize, limit: usize, bytes: usize, count: usize, next: Option<&str>| {
            let page = page::collect(
                limit,
                None,
                |after, wanted| async move {
                    let start = after.map_or(0, |after: String| after.parse().unwrap());
                    let end = rows.min(start + wanted);
                    Ok(Page {
                        items: (start..end).collect(),
                        next: (end < rows).then(|| end.to_string()),
                    })
                },
                |_: &usize| call::raw(&"x".repeat(bytes)),
            );
            let page = page.await.unwrap();
            assert_eq!(page.rows.len(), count);
            assert_eq!(page.next.as_deref(), next);
        };
    check(0, 100, 1, 0, None).await;
    check(50, 100, 1, 50, None).await;
    check(500, 100, 1, 100, Some("100")).await;
    check(500, 500, 1, 500, None).await;
    check(500, 500, 1 << 18, 16, Some("16")).await;
    // A filter that skips much ends the page, and the reader decides whether to go on.
    let few = |after: Option<String>, _| async move {
        assert_eq!(after, None);
        Ok(Page {
            items: vec![1, 2],
            next: Some("900".to_owned()),
        })
    };
    let page = page::collect(100, None, few, |row: &u64| call::raw(row))
        .await
        .unwrap();
    let page = edgebus_api::EventPage {
        events: page.rows,
        next: page.next,
        older: None,
        newest: None,
        oldest: None,
    };
    assert_eq!(call::written(&page), br#"{"events":[1,2],"next":"900"}"#);
}
