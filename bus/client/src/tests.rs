//! Against a server of a few lines: what is sent, and what is made of the answers.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::api::{Event, EventQuery, EventStreamQuery, ProblemType};
use super::*;

/// Reads a request, answers it, and gives what came.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = stream.read(&mut piece).await.unwrap();
        request.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            line.strip_prefix("content-length: ")
                .map(|length| length.parse::<usize>().unwrap())
        });
        if body.len() >= length.unwrap_or(0) {
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            return text;
        }
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A server that gives one answer; its address, and what it was asked.
async fn once(answer: String) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream, &answer).await
    });
    (url, asked)
}

const ACCEPTED: &str = r#"{"id":"1","position":6,"duplicate":false,"new":1}"#;

#[tokio::test]
async fn an_event_is_published_with_the_token() {
    let (url, asked) = once(answer("202 Accepted", "", ACCEPTED)).await;
    let builder = Client::builder(&url).bearer("secret");
    assert!(!format!("{builder:?}").contains("secret"));
    let client = builder.build().unwrap();
    let event = Event::new("1", "/s", "t").with_data(&[1]).unwrap();
    let accepted = client.bus("a/b").publish(&event).await.unwrap();
    assert_eq!((accepted.position, accepted.duplicate), (6, false));
    let asked = asked.await.unwrap();
    assert!(
        asked.starts_with("POST /v1/buses/a%2Fb/events HTTP/1.1\r\n"),
        "{asked}"
    );
    for wanted in [
        "authorization: Bearer secret\r\n",
        "content-type: application/cloudevents+json\r\n",
        r#""datacontenttype":"application/json","data":[1]}"#,
    ] {
        assert!(asked.contains(wanted), "{asked}");
    }
    assert!(!format!("{client:?}").contains("secret"));
}

#[tokio::test]
async fn a_query_is_written_with_its_values_encoded() {
    let (url, asked) = once(answer("200 OK", "", r#"{"events":[],"next":null}"#)).await;
    let query = EventQuery {
        last: Some(3),
        pattern: Some(r#"{"type":["ü +"]}"#.to_owned()),
        ..EventQuery::default()
    };
    let client = Client::new(&url).unwrap();
    let page = client.bus("default").events(&query).await.unwrap();
    assert!(page.events.is_empty());
    let asked = asked.await.unwrap();
    let line = "GET /v1/buses/default/events?last=3&match=%7B%22type%22%3A%5B%22%C3%BC%20%2B%22%5D%7D HTTP/1.1";
    assert!(asked.starts_with(line), "{asked}");
}

#[tokio::test]
async fn a_refusal_has_its_problem() {
    let problem = r#"{"type":"urn:edgebus:problem:busy","code":"EB0307","title":"Full","status":503,"detail":"later"}"#;
    let check = async |body: &str| {
        let (url, _asked) = once(answer(
            "503 Service Unavailable",
            "retry-after: 2\r\n",
            body,
        ))
        .await;
        Client::new(&url).unwrap().version().await.unwrap_err()
    };
    let error = check(problem).await;
    assert_eq!(error.to_string(), "the bus answered 503 Full: later");
    assert_eq!(error.problem().unwrap().kind, ProblemType::Busy);
    let Error::Refused { retry_after, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(retry_after, Some(Duration::from_secs(2)));
    let nameless = check("<html>").await;
    assert_eq!(nameless.status(), Some(503));
    assert_eq!(
        nameless.to_string(),
        "the bus answered 503 Service Unavailable"
    );
}

#[tokio::test]
async fn a_refusal_of_others_has_its_reason() {
    let check = async |status: &str, media_type: &str, body: &str| {
        let headers = format!("content-type: {media_type}\r\n");
        let (url, _asked) = once(answer(status, &headers, body)).await;
        let error = Client::new(&url).unwrap().ready().await.unwrap_err();
        error.to_string()
    };
    let proxy = r#"{"title":"Unauthorized","detail":"token expired"}"#;
    assert_eq!(
        check("401 Unauthorized", "application/json", proxy).await,
        "the bus answered 401 Unauthorized: token expired"
    );
    let text = "text/plain; charset=utf-8";
    assert_eq!(
        check("503 Service Unavailable", text, "the store failed\n").await,
        "the bus answered 503 Service Unavailable: the store failed"
    );
}

#[tokio::test]
async fn no_answer_is_told_apart() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let client = Client::builder(&url).timeout(Duration::from_millis(1));
    let error = client.build().unwrap().ready().await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    let (url, _asked) = once(String::new()).await;
    let error = Client::new(&url).unwrap().ready().await.unwrap_err();
    assert!(
        matches!(error, Error::Unreachable { reached: true, .. }),
        "{error:?}"
    );
    for bad in ["", "ftp://a", "http://", "a b"] {
        assert!(
            matches!(Client::new(bad), Err(Error::Address { .. })),
            "{bad}"
        );
    }
    let token = Client::builder("localhost").bearer("a\nb").build();
    assert!(matches!(token, Err(Error::Address { .. })));
    for bad in [
        "http://u:secret@a",
        "u:secret@a/b",
        "http://a?b=c",
        "http://a#b",
    ] {
        let error = Client::new(bad).unwrap_err().to_string();
        assert!(
            error.contains("it can't have") && !error.contains("secret"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_not_sent() {
    let client = Client::new("http://127.0.0.1:1").unwrap();
    let check = async |request: Request<'_>| match request.send().await {
        Err(Error::Unwritable(why)) => why,
        other => panic!("{other:?}"),
    };
    let get = |path: &str| client.request("GET", path);
    assert_eq!(
        check(get("/").header("a b", "1")).await,
        "`a b` is no header"
    );
    let secret = check(get("/").header("x-key", "se\ncret")).await;
    assert_eq!(secret, "this value can't stand in the header x-key");
    for path in ["/v1//events", "/v1/functions/", "/v1/./a?b=//", "/v1/.."] {
        check(get(path)).await;
    }
    for name in ["", ".", ".."] {
        let error = client.remove_function(name).await.unwrap_err();
        assert!(matches!(error, Error::Unwritable(_)), "{error}");
        let error = client.bus(name).event(1).await.unwrap_err();
        assert!(matches!(error, Error::Unwritable(_)), "{error}");
    }
    let sent = get("/v1/...?a=//b/../").send().await;
    assert!(matches!(sent, Err(Error::Unreachable { .. })), "{sent:?}");
}

#[tokio::test]
async fn a_stream_that_does_not_open_ends() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let client = Client::builder(&url).timeout(Duration::from_millis(1));
    let client = client.build().unwrap();
    let query = EventStreamQuery::default();
    let mut follow = client.bus("default").follow(&query).unwrap();
    let opened = follow.next().await;
    assert!(matches!(opened, Err(Error::TimedOut { .. })), "{opened:?}");
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_no_answer() {
    let (url, _asked) = once(answer("200 OK", "", &"x".repeat((64 << 20) + 1))).await;
    let error = Client::new(&url).unwrap().metrics().await.unwrap_err();
    assert!(matches!(error, Error::Unreadable(_)), "{error}");
}

#[tokio::test]
async fn a_stream_brings_its_events() {
    let stream = "HTTP/1.1 200 OK\r\n\r\n: 2 lost\n\nid: 6\ndata: {\"position\":6,\"accepted_at\":\"\",\ndata: \"event\":{\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"}}\n\n";
    let (url, asked) = once(stream.to_owned()).await;
    let client = Client::new(&url).unwrap();
    let query = EventStreamQuery {
        after: Some(5),
        ..EventStreamQuery::default()
    };
    let mut follow = client.bus("default").follow(&query).unwrap();
    assert!(matches!(
        follow.next().await,
        Ok(Followed::Opened { again: false })
    ));
    assert!(matches!(follow.next().await, Ok(Followed::Missed(_))));
    assert_eq!(follow.next_item().await.unwrap().event.kind, "t");
    assert!(matches!(follow.next().await, Ok(Followed::Lost(_))));
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("GET /v1/buses/default/events/stream?after=5 "));
}

#[tokio::test]
async fn a_bus_behind_tls_is_reached_if_its_certificate_is_trusted() {
    let certificate = include_bytes!("tests/localhost.pem");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tests/localhost.key")).unwrap();
    let chain = CertificateDer::pem_slice_iter(certificate).map(Result::unwrap);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.collect(), key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that does not trust the certificate ends the handshake.
            if let Ok(stream) = acceptor.accept(stream).await {
                let body = r#"{"name":"edgebus","version":"0.1.0"}"#;
                return serve(stream, &answer("200 OK", "", body)).await;
            }
        }
    });
    let builder = || Client::builder(&url);
    if let Ok(client) = builder().build() {
        let distrusted = client.version().await;
        assert!(
            matches!(distrusted, Err(Error::Unreachable { .. })),
            "{distrusted:?}"
        );
    }
    let client = builder()
        .root_certificates(&certificate[..])
        .build()
        .unwrap();
    assert_eq!(client.version().await.unwrap().version, "0.1.0");
    assert!(server.await.unwrap().starts_with("GET /version"));
}
