//! A prober: one connection that requests `/livez` at fixed times. It has a thread of its own, so that it
//! measures the bus and not the load's client.
//!
//! A request is due even if the one before is not answered yet. One that is due while another waits is
//! answered with it; its latency is the rest of that wait. Never here: other requests.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::latency::{histogram, record};
use crate::Failure;

/// How often it asks.
const INTERVAL: Duration = Duration::from_millis(10);
/// How long it waits for an answer before it connects again.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The longest answer that it reads, in bytes.
const ANSWER_BYTES_MAX: usize = 4 << 10;

/// What the prober saw.
pub(super) struct Probed {
    pub(super) latencies: Histogram<u64>,
    /// Questions without a good answer; they count as slow as they were.
    pub(super) failed: u64,
}

/// Asks for `duration` from now on.
pub(super) fn start(
    authority: String,
    duration: Duration,
) -> Result<std::thread::JoinHandle<Probed>, Failure> {
    let mut probed = Probed {
        latencies: histogram()?,
        failed: 0,
    };
    let began = Instant::now();
    std::thread::Builder::new()
        .name("prober".to_owned())
        .spawn(move || {
            let mut connection = None;
            let mut due = began;
            while due < began + duration {
                if let Some(rest) = due.checked_duration_since(Instant::now()) {
                    std::thread::sleep(rest);
                }
                if ask(&mut connection, &authority).is_err() {
                    connection = None;
                    probed.failed += 1;
                }
                // What was due meanwhile would have waited for the same answer.
                let answered = Instant::now();
                while due <= answered && due < began + duration {
                    record(&mut probed.latencies, answered.duration_since(due));
                    due += INTERVAL;
                }
            }
            probed
        })
        .map_err(|error| Failure::new(format!("the system gives no threads: {error}")))
}

/// Asks once, over the connection that is there or a new one.
fn ask(connection: &mut Option<TcpStream>, authority: &str) -> std::io::Result<()> {
    let stream = match connection {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(authority)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWER_MAX))?;
            stream.set_write_timeout(Some(ANSWER_MAX))?;
            connection.insert(stream)
        }
    };
    stream.write_all(format!("GET /livez HTTP/1.1\r\nhost: {authority}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1 << 10];
    while !is_whole(&answer) {
        let count = stream.read(&mut buffer)?;
        if count == 0 || answer.len() > ANSWER_BYTES_MAX {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&buffer[..count]);
    }
    if answer.starts_with(b"HTTP/1.1 200 ") {
        Ok(())
    } else {
        Err(ErrorKind::InvalidData.into())
    }
}

/// True if the answer's head is there, and as much of a body as it names.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let named = name.eq_ignore_ascii_case("content-length");
        named.then(|| value.trim().parse::<usize>().ok())?
    });
    body.len() >= length.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn an_answer_is_whole_with_its_body() {
        let table = [
            ("", false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n", true),
            ("HTTP/1.1 204 No Content\r\n\r\n", true),
        ];
        for (answer, whole) in table {
            assert_eq!(is_whole(answer.as_bytes()), whole, "{answer:?}");
        }
    }
}
