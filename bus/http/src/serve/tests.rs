//! Tests the server with clients that are slow, silent, greedy or wrong, over real sockets and with small
//! limits.

use super::*;

use bytes::Bytes;
use hyper::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::body::{self, ByteBudget};

/// Answers a body with its length. A request for `/hang` notifies `entered` and then waits for `release`.
#[derive(Clone)]
struct Echo {
    limits: Limits,
    release: watch::Receiver<bool>,
    entered: Arc<Notify>,
    /// Notified when a handler that hangs is over, however it ends.
    left: Arc<Notify>,
}

struct Left(Arc<Notify>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Handler for Echo {
    fn call(
        &self,
        request: Request<Inward>,
        access: Access,
    ) -> impl Future<Output = Response<Payload>> + Send + 'static {
        let mut echo = self.clone();
        async move {
            if request.uri().path() == "/hang" {
                let _left = Left(Arc::clone(&echo.left));
                echo.entered.notify_one();
                let _ = echo.release.wait_for(|go| *go).await;
            }
            if request.uri().path() == "/large" {
                return Response::new(Payload::whole(Bytes::from(vec![b'x'; 64 << 20])));
            }
            let (head, body) = request.into_parts();
            let byte_budget = ByteBudget::new(1 << 20);
            let (status, text) =
                match body::read(&head.headers, body, 16, &echo.limits, &byte_budget).await {
                    Ok((bytes, _reservation)) => {
                        (StatusCode::OK, format!("{access:?} {}", bytes.len()))
                    }
                    Err(problem) => {
                        let response = problem.render("/");
                        return response.map(|body| Payload::stream(body, None));
                    }
                };
            let mut response = Response::new(Payload::whole(text));
            *response.status_mut() = status;
            response
        }
    }
}

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    release: watch::Sender<bool>,
    entered: Arc<Notify>,
    left: Arc<Notify>,
    task: JoinHandle<io::Result<()>>,
}

/// Short times, so that no test waits long. The client's side waits only for the server.
fn short() -> Limits {
    Limits {
        first_byte_ms_max: 250,
        header_ms_max: 250,
        body_ms_max: 250,
        idle_ms_max: 500,
        stalled_ms_max: 250,
        half_closed_ms_max: 250,
        leaving_ms_max: 500,
        leaving_quiet_ms_max: 250,
        drain_ms_max: 500,
        ..Limits::default()
    }
}

async fn start(limits: Limits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let (release, released) = watch::channel(false);
    let entered = Arc::new(Notify::new());
    let left = Arc::new(Notify::new());
    let echo = Echo {
        limits: limits.clone(),
        release: released,
        entered: Arc::clone(&entered),
        left: Arc::clone(&left),
    };
    let task = tokio::spawn(run(listener, limits, echo, async {
        let _ = stopped.await;
    }));
    Server {
        address,
        stop,
        release,
        entered,
        left,
        task,
    }
}

/// Sends `bytes` and reads until the server closes the connection.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut client = TcpStream::connect(address).await.unwrap();
    // The server may close the connection before it has read everything.
    let _ = client.write_all(bytes).await;
    let mut out = Vec::new();
    let _ = client.read_to_end(&mut out).await;
    String::from_utf8_lossy(&out).into_owned()
}

async fn check(limits: Limits, request: &[u8], expected: &[&str]) {
    let server = start(limits).await;
    let answer = exchange(server.address, request).await;
    let lines: Vec<&str> = answer
        .match_indices("HTTP/1.1 ")
        .filter_map(|(start, _)| answer[start..].lines().next())
        .collect();
    assert_eq!(lines, expected, "{:?}", String::from_utf8_lossy(request));
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn slow_and_silent_clients_are_cut_off() {
    // No bytes at all, half of a head, half of an HTTP/2 preface, a head without its body, and silence after
    // an answer.
    check(short(), b"", &[]).await;
    check(short(), b"GET / HTTP/1.1\r\nHost: x\r\nX: ", &[]).await;
    check(short(), b"PRI * HTTP/2.0\r\n", &[]).await;
    check(short(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[]).await;
    let head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc";
    check(short(), head, &["HTTP/1.1 408 Request Timeout"]).await;
    let chunk = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    check(short(), chunk, &["HTTP/1.1 408 Request Timeout"]).await;
    check(
        short(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &["HTTP/1.1 200 OK"],
    )
    .await;
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off_too() {
    let server = start(short()).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let mut drip = interval(Duration::from_millis(10));
    let started = tokio::time::Instant::now();
    loop {
        drip.tick().await;
        if client.write_all(b"a: b\r\n").await.is_err() {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "it drips on");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let limits = Limits::default;
    let announced = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n";
    check(limits(), announced, &["HTTP/1.1 413 Payload Too Large"]).await;
    let chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n0123456789abcdef0123456789abcdef\r\n";
    check(limits(), chunked, &["HTTP/1.1 413 Payload Too Large"]).await;
    let mut fields = b"GET / HTTP/1.1\r\nHost: x\r\n".to_vec();
    fields.extend(b"a: b\r\n".repeat(200));
    fields.extend(b"\r\n");
    check(
        limits(),
        &fields,
        &["HTTP/1.1 431 Request Header Fields Too Large"],
    )
    .await;
    let mut head = b"GET / HTTP/1.1\r\nHost: x\r\na: ".to_vec();
    head.extend(b"b".repeat(40_000));
    check(
        limits(),
        &head,
        &["HTTP/1.1 431 Request Header Fields Too Large"],
    )
    .await;
}

#[tokio::test]
async fn garbage_is_a_bad_request_and_what_came_before_it_is_answered() {
    check(
        Limits::default(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        &["HTTP/1.1 400 Bad Request"],
    )
    .await;
    check(
        Limits::default(),
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: x\r\n\r\n\0\0\0 garbage\r\n\r\n",
        &["HTTP/1.1 200 OK", "HTTP/1.1 200 OK", "HTTP/1.1 400 Bad Request"],
    )
    .await;
    for bad in [
        &b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"[..],
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ] {
        check(Limits::default(), bad, &["HTTP/1.1 400 Bad Request"]).await;
    }
    check(
        Limits::default(),
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        &["HTTP/1.1 400 Bad Request"],
    )
    .await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_off() {
    // There is one place in all, so a second client is served only after the first has lost it.
    let server = start(Limits {
        connections_max: 1,
        connections_reserved: 0,
        ..short()
    })
    .await;
    let mut stalled = TcpStream::connect(server.address).await.unwrap();
    stalled
        .write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    stalled.readable().await.unwrap();
    let freed = timeout(Duration::from_secs(20), async {
        while exchange(server.address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
    });
    freed.await.expect("the place was not given back");
    let mut out = Vec::new();
    let _ = stalled.read_to_end(&mut out).await;
    assert!(out.len() < 64 << 20, "the whole answer came");
}

#[tokio::test]
async fn a_full_house_still_has_places_for_observers() {
    let server = start(Limits {
        connections_per_address_max: 1,
        connections_reserved: 1,
        ..Limits::default()
    })
    .await;
    let ask = async |client: &mut TcpStream| {
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = vec![0; 512];
        let length = client.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    let mut guest = TcpStream::connect(server.address).await.unwrap();
    assert!(ask(&mut guest).await.ends_with("Full 0"));
    let mut observer = TcpStream::connect(server.address).await.unwrap();
    assert!(ask(&mut observer).await.ends_with("HealthOnly 0"));
    assert_eq!(
        exchange(server.address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await,
        ""
    );
    assert!(ask(&mut guest).await.ends_with("Full 0"));
}

#[tokio::test]
async fn a_stop_lets_running_requests_end_and_refuses_new_ones() {
    let server = start(Limits::default()).await;
    let mut quiet = TcpStream::connect(server.address).await.unwrap();
    let mut running = TcpStream::connect(server.address).await.unwrap();
    running
        .write_all(
            b"POST /hang HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
        )
        .await
        .unwrap();
    server.entered.notified().await;
    server.stop.send(()).unwrap();
    // The quiet connection ends at once. This also shows that the stop has begun.
    assert_eq!(quiet.read(&mut [0; 8]).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(server.address).await.is_err());
    server.release.send_replace(true);
    running.write_all(b"abc").await.unwrap();
    let mut answer = String::new();
    running.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.contains("200 OK") && answer.ends_with("Full 3"),
        "{answer}"
    );
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_has_a_deadline() {
    let server = start(short()).await;
    let mut running = TcpStream::connect(server.address).await.unwrap();
    running
        .write_all(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    server.entered.notified().await;
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
    assert_eq!(running.read(&mut [0; 8]).await.unwrap_or(0), 0);
}

/// A head that announces a body, or chunks.
fn head(length: Option<usize>) -> String {
    match length {
        Some(length) => format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"),
        None => "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
    }
}

#[tokio::test]
async fn a_client_that_sends_everything_first_sees_the_refusal() {
    let server = start(Limits::default()).await;
    for bytes in [(1 << 20) + 1, 2 << 20, 8 << 20] {
        let body = vec![b'x'; bytes];
        let mut chunked = head(None).into_bytes();
        for piece in body.chunks(64 << 10) {
            chunked.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            chunked.extend(piece);
            chunked.extend(b"\r\n");
        }
        chunked.extend(b"0\r\n\r\n");
        let whole = [head(Some(bytes)).as_bytes(), &body].concat();
        for request in [whole, chunked] {
            let mut client = TcpStream::connect(server.address).await.unwrap();
            client.write_all(&request).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 413 "), "{bytes}: {answer}");
        }
    }
}

#[tokio::test]
async fn what_is_read_on_after_a_refusal_is_bounded() {
    // The client sends this many bytes, then no more.
    let server = start(Limits {
        leaving_bytes_max: 256 << 10,
        ..Limits::default()
    })
    .await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client
        .write_all(head(Some(1 << 30)).as_bytes())
        .await
        .unwrap();
    let piece = vec![b'x'; 64 << 10];
    let sent = timeout(Duration::from_secs(20), async {
        while client.write_all(&piece).await.is_ok() {}
    });
    sent.await.expect("it reads on and on");
    // A client that sends no more and stays connected.
    let server = start(Limits {
        connections_max: 1,
        connections_reserved: 0,
        first_yields_after_ms: 60_000,
        ..short()
    })
    .await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(head(Some(99)).as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let freed = timeout(Duration::from_secs(20), async {
        while exchange(server.address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
    });
    freed.await.expect("the place was not given back");
}

#[tokio::test]
async fn a_client_that_ends_its_side_gets_its_answer() {
    let server = start(Limits::default()).await;
    for _ in 0..6 {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client
            .write_all(b"POST /hang HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
            .await
            .unwrap();
        client.shutdown().await.unwrap();
        // The client's end is known before the answer begins.
        server.entered.notified().await;
        server.release.send_replace(true);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("Full 3"), "{answer}");
        server.release.send_replace(false);
    }
}

#[tokio::test]
async fn a_client_that_is_gone_takes_its_request_along() {
    let server = start(short()).await;
    let hang = b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n";
    // The client closes its side in order, which looks as if it still waited for its answer, or resets the
    // connection, like a process that is killed while it has unread bytes.
    for reset in [false, true] {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(hang).await.unwrap();
        server.entered.notified().await;
        if reset {
            client.set_zero_linger().unwrap();
        }
        drop(client);
        timeout(Duration::from_secs(20), server.left.notified())
            .await
            .expect("its request runs on");
    }
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    for silent in [64, 200, 1_024] {
        let server = start(Limits {
            connections_max: silent,
            connections_reserved: 0,
            first_yields_after_ms: 0,
            ..Limits::default()
        })
        .await;
        let mut held = Vec::new();
        for _ in 0..silent {
            held.push(TcpStream::connect(server.address).await.unwrap());
        }
        for _ in 0..50 {
            let answer = exchange(
                server.address,
                b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            )
            .await;
            assert!(answer.ends_with("Full 0"), "{silent}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_request_that_runs_never_gives_way() {
    let server = start(Limits {
        connections_max: 1,
        connections_reserved: 0,
        first_yields_after_ms: 0,
        idle_yields_after_ms: 0,
        ..Limits::default()
    })
    .await;
    let mut running = TcpStream::connect(server.address).await.unwrap();
    running
        .write_all(b"GET /hang HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    server.entered.notified().await;
    assert_eq!(
        exchange(server.address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await,
        ""
    );
    server.release.send_replace(true);
    let mut answer = String::new();
    running.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("Full 0"), "{answer}");
}

#[test]
fn a_lasting_lack_of_sockets_is_told_once_a_minute() {
    let mut complaint = Complaint::default();
    let error = io::Error::from_raw_os_error(24);
    let start = Instant::now();
    let said = (0..2_400).filter(|tick| {
        let now = start + Duration::from_millis(50 * tick);
        complaint.say(&error, now)
    });
    assert_eq!(said.count(), 2);
    assert_eq!(complaint.unsaid, 1_199);
}
